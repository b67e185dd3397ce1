"""Plots: Matplotlib without a window, imported when something is drawn."""


def pyplot():
    """`matplotlib.pyplot`, drawing to files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def floor(axes, usual: float) -> None:
    """The axes begin at `usual`, or below their lowest point where that is less: none is cut off.

    Call it when everything is drawn.
    """
    lowest = min(axis.dataLim.ymin for axis in axes)
    for axis in axes:
        axis.set_ylim(bottom=usual if lowest >= usual else lowest - 0.03)
