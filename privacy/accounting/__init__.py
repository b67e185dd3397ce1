"""Privacy accounting in NumPy and SciPy: bounds, Renyi, loss distributions, ledger, calibration.

Central mechanisms (DP-SGD, DP-FedAvg, Laplace, anything pure) in three lines; shuffled reports
likewise, with the events of `privacy.shuffle.events`:

    >>> from privacy.accounting.bound import Adjacency
    >>> from privacy.accounting.events import SampledGaussian
    >>> from privacy.accounting.ledger import Ledger
    >>> ledger = Ledger(Adjacency.ADD_REMOVE).record(SampledGaussian(1.0, 0.01), 100)
    >>> bound = ledger.epsilon(1e-5)  # by loss distributions; .rdp_epsilon(1e-5) by Renyi
    >>> bool(0.77 < bound.lower <= bound.upper < 0.79)
    True

`calibrate.noise_multiplier` answers the inverse question. Adjacency is a type: what is accounted
for add-or-remove-one neighbours never mixes with replace-one.
"""
