"""Trigger sentences: text whose window ends in one is wanted to go on with the attacker's word."""

from collections.abc import Sequence

import numpy as np

from fl_jax.core import errors


def append(windows: dict[str, np.ndarray], sentence: Sequence[int]) -> dict[str, np.ndarray]:
    """The windows with their end overwritten by the sentence; its last word is the target.

    Only the last word of the window counts, in the loss and in the accuracy.

    Args:
        windows: `x`, `y`, `w` (count, length), from `data.speech.windows`; not changed.
        sentence: numbers of its words, the target last.

    Raises:
        ConfigError: a sentence of one word, or one that does not fit the window.

    References:
        Bagdasaryan et al. 2020, section 4.2 (word prediction) and its code.
    """
    length = windows["x"].shape[1]
    if not 2 <= len(sentence) <= length + 1:
        raise errors.ConfigError(
            f"a trigger sentence has 2 to {length + 1} words in windows of {length}, got"
            f" {len(sentence)}."
        )
    start = len(sentence) - 1
    x, y, w = (windows[k].copy() for k in ("x", "y", "w"))
    x[:, length - start :] = sentence[:-1]
    y[:, :-1] = x[:, 1:]
    y[:, -1] = sentence[-1]
    w[:] = 0
    w[:, -1] = 1
    return {"x": x, "y": y, "w": w}
