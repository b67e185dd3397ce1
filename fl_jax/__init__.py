"""Learning: one model, or thousands of clients, on one pure step.

`core` holds trees, keys, types and numerics; `train` the step, optimizers, the cohort
executor, checkpoints and the loop; `data` where examples come from and how they are split;
`nn` the layers; `federated` clients, rounds, aggregators, attacks and defences.

Importing this package imports no JAX: name the module you need.
"""

__version__ = "0.1.0"
