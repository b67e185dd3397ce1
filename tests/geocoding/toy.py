"""A geocoder over the embedded cities, trained for seconds: shared by the tests that need one."""

import functools

import jax

from experiments.geocoding import config, task
from fl_jax.geocoding import geocoder, network
from fl_jax.train import optimizer, state, step

SETTINGS = config.SMOKE


@functools.cache
def pieces():
    """(task, knowledge, tokenizer, config of the network)."""
    with _no_data():
        found = task.load(SETTINGS)
    known = task.know(SETTINGS, found)
    words = task.tokenizer(SETTINGS, found)
    return found, known, words, task.model(SETTINGS, known, words.size)


@functools.cache
def trained(steps: int = 25) -> geocoder.Geocoder:
    """The geocoder after so many steps."""
    found, known, words, net = pieces()
    data = task.training(SETTINGS, found, known, words)
    rule = optimizer.make(optimizer.Optimizer("adamw", rate=3e-3))
    start = network.init(jax.random.key(0), net)
    current = state.init(state.Variables(start, {}), rule)
    compiled = jax.jit(step.make(network.losses(net, network.tables(known)), rule))
    for n in range(steps):
        current, _ = compiled(current, data.batch(n), jax.random.key(n))
    return geocoder.Geocoder(current.variables.params, net, known, words)


def _no_data():
    """The embedded gazetteer, whatever data folder there is."""
    import contextlib
    import os

    @contextlib.contextmanager
    def without():
        kept = os.environ.pop("FL_JAX_DATA", None)
        try:
            yield
        finally:
            if kept is not None:
                os.environ["FL_JAX_DATA"] = kept

    return without()
