"""The names that annotations use.

Shapes are written with jaxtyping (`Float[Array, "batch features"]`) and checked in the tests,
where an import hook turns every annotation into an assertion. jaxtyping is a development
dependency only: without it the same names stand for `Any` and cost nothing.
"""

from typing import TYPE_CHECKING, Any

import jax

try:
    from jaxtyping import Array, Bool, Float, Int, Key, Num, PyTree, Shaped, UInt8
except ModuleNotFoundError:
    if TYPE_CHECKING:
        raise

    class _Unchecked:
        """Stands in for a jaxtyping dtype: `Float[Array, "n"]` is simply `Any`."""

        def __class_getitem__(cls, item):
            return Any

    Array = jax.Array
    Bool = Float = Int = Key = Num = Shaped = UInt8 = _Unchecked
    PyTree = Any

__all__ = ["Array", "Bool", "Float", "Int", "Key", "Num", "PyTree", "Shaped", "UInt8"]
