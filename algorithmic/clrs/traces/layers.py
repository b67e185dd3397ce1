"""Two of SALSA-CLRS's algorithms that work on all nodes at once: the eccentricity of a node, and a
maximal independent set [Minder et al. 2023; Blelloch et al. 2012].

The hints are our own: the published ones could not be had.
"""

import jax.numpy as jnp

from algorithmic.clrs.traces.machine import Machine, int8, places


def _eccentricity_start(x, n):
    return {"reach": places(x["A"]) == x["s"], "layer": jnp.int32(0)}


def _eccentricity_step(x, n, state):
    """Shows what is reached and how far it lies, then reaches the next layer."""
    reach, layer = state["reach"], state["layer"]
    hint = {"reach_h": int8(reach), "ecc_h": layer.astype(x["A"].dtype)}
    new = reach | jnp.any((x["A"] != 0) & reach[:, None], axis=0)
    last = jnp.all(new == reach)
    return {"reach": new, "layer": jnp.where(last, layer, layer + 1)}, hint, last


def _eccentricity(x, n, state):
    """The distance of the farthest node that can be reached from s."""
    return {"ecc": state["layer"].astype(x["A"].dtype)}


def _mis_start(x, n):
    alive = places(x["key"]) < n
    return {"alive": alive, "chosen": jnp.zeros(alive.shape, bool)}


def _mis_step(x, n, state):
    """Shows the sets, then chooses every node whose key is below those of all its neighbours
    alive; it and they are alive no longer. The keys are drawn once."""
    alive, chosen = state["alive"], state["chosen"]
    hint = {"in_mis_h": int8(chosen), "alive_h": int8(alive)}
    at = places(x["key"])
    edge = (x["A"] != 0) & (at[:, None] != at[None, :])
    nearby = jnp.where(edge & alive[:, None], x["key"][:, None], jnp.inf)
    new = alive & (x["key"] < jnp.min(nearby, axis=0))
    dead = new | jnp.any(edge & new[:, None], axis=0)
    return {"alive": alive & ~dead, "chosen": chosen | new}, hint, ~jnp.any(alive)


def _mis(x, n, state):
    return {"in_mis": int8(state["chosen"])}


MACHINES = {
    "eccentricity": Machine(
        _eccentricity_start, _eccentricity_step, _eccentricity, lambda n: n + 1
    ),
    "mis": Machine(_mis_start, _mis_step, _mis, lambda n: n + 1),
}
