"""T5 [Raffel et al. 2020, arXiv 1910.10683]: v1.0, v1.1 and byte-level, stacked and scanned.

`load_hf`, `save_hf` and `apply` are the names that stay; everything else is in the modules.
"""

_PUBLIC = {
    "Config": "config",
    "apply": "model",
    "init": "model",
    "load_hf": "convert",
    "save_hf": "convert",
}

__all__ = ["Config", "apply", "init", "load_hf", "save_hf"]


def __getattr__(name: str):
    """Imports the module behind a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fl_jax.t5' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"fl_jax.t5.{_PUBLIC[name]}"), name)
