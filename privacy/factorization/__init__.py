"""Matrix factorisations A = B C for DP-FTRL: what noise is correlated by, its error, its privacy.

The n models of a training are A x, x the clipped sums of its rounds. Releasing C x + z, z
independent Gaussian noise, and multiplying by B gives the models with noise B z: a round's sum
gets (C^-1 z)_t. What one participant can move C x by is the sensitivity, and with it the whole
training is one Gaussian mechanism:

    >>> import numpy as np
    >>> from privacy.accounting.bound import Adjacency
    >>> from privacy.accounting.ledger import Ledger
    >>> from privacy.factorization import sensitivity, toeplitz
    >>> c = toeplitz.optimise(np.ones(64), bands=8, separation=8)  # each takes part every 8th round
    >>> event = sensitivity.event(10.0, sensitivity.toeplitz(c, 64, 8))
    >>> bound = Ledger(Adjacency.ADD_REMOVE).record(event).epsilon(1e-5)
    >>> independent = sensitivity.event(10.0, sensitivity.toeplitz(np.ones(1), 64, 8))
    >>> bool(bound.upper > Ledger(Adjacency.ADD_REMOVE).record(independent).epsilon(1e-5).upper)
    True

That costs more at the same z, but the models' noise is far smaller (`toeplitz.rmse`). NumPy and
SciPy only; the rounds are `fl_jax.federated.aggregators.dp_ftrl`.
"""
