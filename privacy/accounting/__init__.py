"""Privacy accounting in NumPy and SciPy: bounds, Renyi, loss distributions, ledger, calibration."""
