"""dm-clrs's parameters in our places, so that both networks start a comparison as the same one.

haiku numbers the linear layers of a module in the order in which they are made: `linear`,
`linear_1`, ...; those of a probe are `algo_0_<probe>_enc_linear` and `algo_0_<probe>_dec_linear`,
numbered likewise [clrs, processors.py, encoders.py, decoders.py].
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import layout, net, specs

PROCESSOR = "net/mpnn_aggr_clrs_processor"
PROBES = "net/~_construct_encoders_decoders"

# Our names of the processor's layers, in the order of dm-clrs's.
LAYERS = (
    "receiver", "sender", "edge", "graph", "out_z", "out_m",
    "t1", "t2", "t3", "e1", "e2", "e3", "tg", "t_out", "gate_z", "gate_m", "gate",
)  # fmt: skip


def read(name: str, model: net.Config, theirs: Mapping[str, np.ndarray]) -> tuple[dict, dict]:
    """(processor, encoders and decoders) of a Triplet-GMPNN that has this task alone.

    Args:
        name: the task.
        model: its sizes.
        theirs: dm-clrs's parameters by "<module> <w, b, scale or offset>".

    Raises:
        KeyError: a layer that dm-clrs does not have.
    """
    shared = {k: _linear(theirs, f"{PROCESSOR}/linear", i) for i, k in enumerate(LAYERS)}
    shared |= {f"mlp{i + 1}": _linear(theirs, f"{PROCESSOR}/mlp/~/linear_{i}", 0) for i in (0, 1)}
    norm = f"{PROCESSOR}/layer_norm"
    shared["norm"] = {k: theirs[f"{norm} {k}"] for k in ("scale", "offset")}

    group = net.Group.of((name,))
    shapes = jax.eval_shape(lambda: net.init_tasks(jax.random.key(0), group, model))
    own = jax.tree.map(lambda v: np.zeros(v.shape[1:], v.dtype), shapes)
    for stage, encoder, decoder in (
        (specs.INPUT, "encode_inputs", None),
        (specs.HINT, "encode_hints", "decode_hints"),
        (specs.OUTPUT, None, "decode_outputs"),
    ):
        slots = layout.slots(name, stage)
        if encoder:
            _fill_encoders(own[encoder], slots, theirs)
        if decoder:
            _fill_decoders(own[decoder], slots, theirs)
    return jax.tree.map(jnp.asarray, (shared, own))


def _linear(theirs, module, i):
    at = f"{module}_{i}" if i else module
    return {k: theirs[f"{at} {k}"] for k in ("w", "b")}


def _channels(probes):
    """Yields (probe, its channels)."""
    at = 0
    for probe, p in probes:
        width = max(p.classes, 1)
        yield probe, slice(at, at + width)
        at += width


def _fill_encoders(ours, slots, theirs):
    """w (C, h) and b (C, h), a probe's bias on its first channel."""
    of = lambda probe, i=0: _linear(theirs, f"{PROBES}/algo_0_{probe}_enc_linear", i)

    def put(where, at, layer):
        ours[where]["w"][at], ours[where]["b"][at.start] = layer["w"], layer["b"]

    for where in ("node", "edge", "graph"):
        for probe, at in _channels(getattr(slots, where)):
            put(where, at, of(probe))
    for probe, at in _channels(slots.pointer):
        put("pointer", at, of(probe))
    for probe, at in _channels(slots.edge_pointer):
        put("over_senders", at, of(probe, 0))
        put("over_receivers", at, of(probe, 1))


def _fill_decoders(ours, slots, theirs):
    """The layers of a probe in the order of dm-clrs: of h_t and of edges, the score last."""
    of = lambda probe, i: _linear(theirs, f"{PROBES}/algo_0_{probe}_dec_linear", i)
    for probe, at in _channels(slots.node):
        layer = of(probe, 0)
        ours["node"]["w"][:, at], ours["node"]["b"][at] = layer["w"], layer["b"]
    for where, parts in (("edge", ("from", "to", "edge")), ("graph", ("node", "graph"))):
        for probe, at in _channels(getattr(slots, where)):
            for i, part in enumerate(parts):
                layer = of(probe, i)
                ours[where][part][:, at], ours[where]["b"][i, at] = layer["w"], layer["b"]
    for where, parts in (
        ("pointer", ("from", "to", "edge")),
        ("edge_pointer", ("from", "to", "edge", "target")),
    ):
        for slot, (probe, _) in enumerate(getattr(slots, where)):
            for i, part in enumerate(parts):
                layer = of(probe, i)
                ours[where][part][slot], ours[where]["b"][slot, i] = layer["w"], layer["b"]
            score = of(probe, len(parts))
            ours[where]["score"][slot] = score["w"][:, 0]
            ours[where]["score_b"][slot] = score["b"][0]
