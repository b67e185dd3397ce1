"""The thirty algorithms of CLRS-30 and the probes each of them shows.

A probe is a value on the nodes, the edges or the graph, seen as an input, as a hint at every
step, or as an output [Veličković et al. 2022, "The CLRS Algorithmic Reasoning Benchmark", 3].
NumPy only: nothing here imports JAX.
"""

import re
import types
from collections.abc import Mapping
from typing import NamedTuple

from fl_jax.core import errors

INPUT, HINT, OUTPUT = "input", "hint", "output"
NODE, EDGE, GRAPH = "node", "edge", "graph"
SCALAR, CATEGORICAL, MASK, MASK_ONE = "scalar", "categorical", "mask", "mask_one"
POINTER, PERMUTATION = "pointer", "permutation"
MASKED = -1  # what a mask or a class holds where nothing is asked


class Probe(NamedTuple):
    """One probe: shape is (), (n,) or (n, n) by location, with a class axis if categorical."""

    stage: str  # input, hint or output
    location: str  # node, edge or graph
    kind: str  # scalar, categorical, mask, mask_one, pointer or permutation
    classes: int = 0  # categorical only


_KINDS = {"sc": SCALAR, "m": MASK, "m1": MASK_ONE, "ptr": POINTER, "perm": PERMUTATION}
_PLACES = {"N": NODE, "E": EDGE, "G": GRAPH}
_PROBE = re.compile(r"(\w+):([NEG])\.(?:(sc|m|m1|ptr|perm)|cat([1-9]\d*))")

# inputs | outputs | hints, as `name:place.kind`
_TABLE = """
articulation_points  pos:N.sc A:E.sc adj:E.m | is_cut:N.m | is_cut_h:N.m pi_h:N.ptr color:N.cat3
    d:N.sc f:N.sc low:N.sc child_cnt:N.sc s_prev:N.ptr s:N.m1 u:N.m1 v:N.m1 s_last:N.m1 time:G.sc
activity_selector  pos:N.sc s:N.sc f:N.sc | selected:N.m | pred_h:N.ptr selected_h:N.m m:N.m1 k:N.m1
bellman_ford  pos:N.sc s:N.m1 A:E.sc adj:E.m | pi:N.ptr | pi_h:N.ptr d:N.sc msk:N.m
bfs  pos:N.sc s:N.m1 A:E.sc adj:E.m | pi:N.ptr | reach_h:N.m pi_h:N.ptr
binary_search  pos:N.sc key:N.sc target:G.sc | return:N.m1 | pred_h:N.ptr low:N.m1 high:N.m1
    mid:N.m1
bridges  pos:N.sc A:E.sc adj:E.m | is_bridge:E.m | is_bridge_h:E.m pi_h:N.ptr color:N.cat3 d:N.sc
    f:N.sc low:N.sc s_prev:N.ptr s:N.m1 u:N.m1 v:N.m1 s_last:N.m1 time:G.sc
bubble_sort  pos:N.sc key:N.sc | pred:N.perm | pred_h:N.ptr i:N.m1 j:N.m1
dag_shortest_paths  pos:N.sc s:N.m1 A:E.sc adj:E.m | pi:N.ptr | pi_h:N.ptr d:N.sc mark:N.m
    topo_h:N.ptr topo_head_h:N.m1 color:N.cat3 s_prev:N.ptr u:N.m1 v:N.m1 s_last:N.m1 phase:G.m
dfs  pos:N.sc A:E.sc adj:E.m | pi:N.ptr | pi_h:N.ptr color:N.cat3 d:N.sc f:N.sc s_prev:N.ptr
    s:N.m1 u:N.m1 v:N.m1 s_last:N.m1 time:G.sc
dijkstra  pos:N.sc s:N.m1 A:E.sc adj:E.m | pi:N.ptr | pi_h:N.ptr d:N.sc mark:N.m in_queue:N.m u:N.m1
find_maximum_subarray_kadane  pos:N.sc key:N.sc | start:N.m1 end:N.m1 | pred_h:N.ptr best_low:N.m1
    best_high:N.m1 best_sum:G.sc i:N.m1 j:N.m1 sum:G.sc
floyd_warshall  pos:N.sc A:E.sc adj:E.m | Pi:E.ptr | Pi_h:E.ptr D:E.sc msk:E.m k:N.m1
graham_scan  pos:N.sc x:N.sc y:N.sc | in_hull:N.m | best:N.m1 atans:N.sc in_hull_h:N.m
    stack_prev:N.ptr last_stack:N.m1 i:N.m1 phase:G.cat5
heapsort  pos:N.sc key:N.sc | pred:N.perm | pred_h:N.ptr parent:N.ptr i:N.m1 j:N.m1 largest:N.m1
    heap_size:N.m1 phase:G.cat3
insertion_sort  pos:N.sc key:N.sc | pred:N.perm | pred_h:N.ptr i:N.m1 j:N.m1
jarvis_march  pos:N.sc x:N.sc y:N.sc | in_hull:N.m | pred_h:N.ptr in_hull_h:N.m best:N.m1
    last_point:N.m1 endpoint:N.m1 i:N.m1 phase:G.cat2
kmp_matcher  string:N.m pos:N.sc key:N.cat4 | match:N.m1 | pred_h:N.ptr pi:N.ptr is_reset:N.m k:N.m1
    k_reset:G.m q:N.m1 q_reset:G.m s:N.m1 i:N.m1 phase:G.m
lcs_length  string:N.m pos:N.sc key:N.cat4 | b:E.cat4 | pred_h:N.ptr b_h:E.cat4 c:E.sc
matrix_chain_order  pos:N.sc p:N.sc | s:E.ptr | pred_h:N.ptr m:E.sc s_h:E.ptr msk:E.m
minimum  pos:N.sc key:N.sc | min:N.m1 | pred_h:N.ptr min_h:N.m1 i:N.m1
mst_kruskal  pos:N.sc A:E.sc adj:E.m | in_mst:E.m | in_mst_h:E.m pi:N.ptr u:N.m1 v:N.m1 root_u:N.m1
    root_v:N.m1 mask_u:N.m mask_v:N.m phase:G.cat3
mst_prim  pos:N.sc s:N.m1 A:E.sc adj:E.m | pi:N.ptr | pi_h:N.ptr key:N.sc mark:N.m in_queue:N.m
    u:N.m1
naive_string_matcher  string:N.m pos:N.sc key:N.cat4 | match:N.m1 | pred_h:N.ptr s:N.m1 i:N.m1
    j:N.m1
optimal_bst  pos:N.sc p:N.sc q:N.sc | root:E.ptr | pred_h:N.ptr root_h:E.ptr e:E.sc w:E.sc msk:E.m
quickselect  pos:N.sc key:N.sc | median:N.m1 | pred_h:N.ptr p:N.m1 r:N.m1 i:N.m1 j:N.m1 i_rank:G.sc
    target:G.sc pivot:N.m1
quicksort  pos:N.sc key:N.sc | pred:N.perm | pred_h:N.ptr p:N.m1 r:N.m1 i:N.m1 j:N.m1
segments_intersect  pos:N.sc x:N.sc y:N.sc | intersect:G.m | i:N.m1 j:N.m1 k:N.m1 dir:N.sc
    on_seg:N.m
strongly_connected_components  pos:N.sc A:E.sc adj:E.m | scc_id:N.ptr | scc_id_h:N.ptr A_t:E.m
    color:N.cat3 d:N.sc f:N.sc s_prev:N.ptr s:N.m1 u:N.m1 v:N.m1 s_last:N.m1 time:G.sc phase:G.m
task_scheduling  pos:N.sc d:N.sc w:N.sc | selected:N.m | pred_h:N.ptr selected_h:N.m i:N.m1 t:G.sc
topological_sort  pos:N.sc A:E.sc adj:E.m | topo:N.ptr topo_head:N.m1 | topo_h:N.ptr
    topo_head_h:N.m1 color:N.cat3 s_prev:N.ptr s:N.m1 u:N.m1 v:N.m1 s_last:N.m1
"""

# Two algorithms of SALSA-CLRS that CLRS-30 lacks, with hints of our own.
_MORE = """
eccentricity  pos:N.sc s:N.m1 A:E.sc adj:E.m | ecc:G.sc | reach_h:N.m ecc_h:G.sc
mis  pos:N.sc key:N.sc A:E.sc adj:E.m | in_mis:N.m | in_mis_h:N.m alive_h:N.m
"""


def parse(text: str) -> Mapping[str, Probe]:
    """The probes of one algorithm, written `inputs | outputs | hints`, each `name:place.kind`.

    Places are N, E and G; kinds sc, m, m1, ptr, perm, and cat with a number of classes.

    Raises:
        ConfigError: what is not written so, or a name that comes twice.

    Example:
        >>> parse("pos:N.sc key:N.sc | min:N.m1 | min_h:N.m1")["min"].kind
        'mask_one'
    """
    stages = text.split("|")
    if len(stages) != 3:
        raise errors.ConfigError(f"probes are written inputs | outputs | hints, got {text!r}.")
    probes: dict[str, Probe] = {}
    for stage, words in zip((INPUT, OUTPUT, HINT), stages, strict=True):
        for word in words.split():
            found = _PROBE.fullmatch(word)
            if found is None or found[1] in probes:
                raise errors.ConfigError(
                    f"a probe is written once, as name:place.kind with a place N, E or G and a"
                    f" kind sc, m, m1, ptr, perm or catK, got {word!r}."
                )
            name, place, kind, classes = found.groups()
            kind = CATEGORICAL if classes else _KINDS[kind]
            probes[name] = Probe(stage, _PLACES[place], kind, int(classes or 0))
    return types.MappingProxyType(probes)


def _parse(table: str) -> dict[str, Mapping[str, Probe]]:
    lines = table.replace("\n    ", " ").strip().splitlines()
    pairs = (line.partition(" ") for line in lines)
    return {name: parse(rest) for name, _, rest in pairs}


SPECS = types.MappingProxyType(_parse(_TABLE))
"""name -> {probe name: Probe}, the thirty in the order of the benchmark."""
ALGORITHMS = tuple(SPECS)
MORE = types.MappingProxyType(_parse(_MORE))
"""The same of algorithms that are not among the thirty: `of`, `trace` and `sample` know them."""
OWN: dict[str, Mapping[str, Probe]] = {}
"""The same of algorithms that `algorithmic.clrs.own` made known."""
OWN_SMALLEST: dict[str, int] = {}
SALSA = ("bfs", "dfs", "dijkstra", "mst_prim", "eccentricity", "mis")
"""What SALSA-CLRS runs on sparse graphs [Minder et al. 2023]."""

STRINGS = ("kmp_matcher", "lcs_length", "naive_string_matcher")
MATCHERS = ("kmp_matcher", "naive_string_matcher")
SORTS = ("bubble_sort", "heapsort", "insertion_sort", "quicksort")

# Hints `pred_h` that never change: the paper hands them over as the input `pred` instead
# [Ibarz et al. 2022, 3.1; the list is that of the reference].
STATIC_PRED = (
    "activity_selector",
    "binary_search",
    "find_maximum_subarray_kadane",
    "jarvis_march",
    "kmp_matcher",
    "lcs_length",
    "matrix_chain_order",
    "minimum",
    "naive_string_matcher",
    "optimal_bst",
    "task_scheduling",
)

FAMILIES = types.MappingProxyType(
    {
        "graphs": (
            "articulation_points", "bellman_ford", "bfs", "bridges", "dag_shortest_paths", "dfs",
            "dijkstra", "floyd_warshall", "mst_kruskal", "mst_prim",
            "strongly_connected_components", "topological_sort",
        ),
        "geometry": ("graham_scan", "jarvis_march", "segments_intersect"),
        "strings": ("kmp_matcher", "naive_string_matcher"),
        "dynamic programming": ("lcs_length", "matrix_chain_order", "optimal_bst"),
        "divide and conquer": ("find_maximum_subarray_kadane",),
        "greedy": ("activity_selector", "task_scheduling"),
        "search": ("binary_search", "minimum", "quickselect"),
        "sorting": SORTS,
    }
)  # fmt: skip
"""The eight families, over which the paper takes its own mean."""

# Test samples are 32 times this: more where one output per sample is scored.
TEST_MULTIPLIER = types.MappingProxyType(
    dict.fromkeys(ALGORITHMS, 1)
    | {"find_maximum_subarray_kadane": 32}
    | dict.fromkeys(
        ("quickselect", "minimum", "binary_search", "segments_intersect", *MATCHERS), 64
    )
)


def of(name: str) -> Mapping[str, Probe]:
    """The probes of an algorithm.

    Raises:
        ConfigError: there is no such algorithm.

    Example:
        >>> of("bfs")["pi"]
        Probe(stage='output', location='node', kind='pointer', classes=0)
    """
    known = {**SPECS, **MORE, **OWN}
    return known[errors.one_of("algorithm", name, known)]


def stage(name: str, which: str) -> dict[str, Probe]:
    """The probes of one stage, in the order of the benchmark."""
    return {probe: p for probe, p in of(name).items() if p.stage == which}


def smallest(name: str) -> int:
    """The fewest nodes that the algorithm and its default sampler are defined for."""
    of(name)
    if name in OWN:
        return OWN_SMALLEST[name]
    if name in ("segments_intersect", "strongly_connected_components"):
        return 4  # two segments; four communities
    return 2 if name not in ("graham_scan", "jarvis_march") else 3


def permutation(name: str) -> str | None:
    """The output that is a permutation, if the algorithm has one."""
    return next((k for k, p in of(name).items() if p.kind == PERMUTATION), None)


def training_spec(name: str) -> dict[str, Probe]:
    """The probes that the network sees: a static `pred_h` becomes the input `pred`, and a
    permutation stays one, with the mask of its first node beside it [Ibarz et al. 2022, 3.1]."""
    spec = {}
    for probe, p in of(name).items():
        if probe == "pred_h" and name in STATIC_PRED:
            spec["pred"] = p._replace(stage=INPUT)
        else:
            spec[probe] = p
        if p.kind == PERMUTATION:
            spec[f"{probe}_mask"] = p._replace(kind=MASK_ONE)
    return spec
