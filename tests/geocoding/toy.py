"""A geocoder over the embedded cities, trained for seconds: shared by the tests that need one."""

import functools

import jax

from experiments.geocoding import config, task
from fl_jax.geocoding import geocoder, network, train
from fl_jax.train import optimizer, state, step

SETTINGS = config.SMOKE


@functools.cache
def pieces():
    """(task, knowledge, tokenizer, config of the network)."""
    with _no_data():
        found = task.load(SETTINGS)
    return found, *train.prepare(SETTINGS, found.corpus)


@functools.cache
def trained(steps: int = 25) -> geocoder.Geocoder:
    """The geocoder after so many steps."""
    found, *start = pieces()
    start = train.Start(*start)
    data = train.encode(SETTINGS, found.corpus, start)
    rule = optimizer.make(optimizer.Optimizer("adamw", rate=3e-3))
    params = network.init(jax.random.key(0), start.net)
    current = state.init(state.Variables(params, {}), rule)
    losses = network.losses(start.net, network.tables(start.known))
    compiled = jax.jit(step.make(losses, rule))
    for n in range(steps):
        current, _ = compiled(current, data.batch(n), jax.random.key(n))
    made = start.geocoder(current.variables.params)
    made.told = train.tell(found.corpus, start.known)
    return made


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
