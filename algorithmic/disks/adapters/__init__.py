"""Outputs of ANDES, the notebook, DALI, ProDiMo and UCLCHEM as a `table.Table`."""

from algorithmic.disks.adapters.andes import read_andes
from algorithmic.disks.adapters.columns import Column, read_columns
from algorithmic.disks.adapters.notebook import read_notebook
from algorithmic.disks.adapters.prodimo import read_prodimo
from algorithmic.disks.adapters.uclchem import read_uclchem

__all__ = [
    "Column", "read_andes", "read_columns", "read_notebook", "read_prodimo", "read_uclchem"
]  # fmt: skip
