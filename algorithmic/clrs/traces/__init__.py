"""The thirty algorithms, and two of SALSA-CLRS, as machines that show one hint per step."""

from algorithmic.clrs.traces import (
    depth_first,
    dynamic_programming,
    geometry,
    kruskal,
    layers,
    paths,
    sequences,
    sorting,
    strings,
)

MACHINES = {
    **depth_first.MACHINES,
    **dynamic_programming.MACHINES,
    **geometry.MACHINES,
    **kruskal.MACHINES,
    **layers.MACHINES,
    **paths.MACHINES,
    **sequences.MACHINES,
    **sorting.MACHINES,
    **strings.MACHINES,
}
"""name -> Machine"""
