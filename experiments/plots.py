"""Plots: Matplotlib without a window, imported when something is drawn."""


def pyplot():
    """`matplotlib.pyplot`, drawing to files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
