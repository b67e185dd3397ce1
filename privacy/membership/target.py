"""The black box: an answer per record, counted, and nothing else."""

from collections.abc import Callable

import jax
import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Array, Float
from fl_jax.nn.network import Network
from fl_jax.train.state import Variables
from privacy.membership.mitigations import Mitigation


class OutOfQueries(errors.DataError):
    """The limit on queries is reached; nothing was answered."""


class Meter:
    """Queries asked so far, of one model behind all its wrappers."""

    def __init__(self, limit: int | None = None, cost: float = 0.0):
        self.limit, self.cost, self.count = limit, cost, 0

    @property
    def spent(self) -> float:
        """Queries times the cost of one."""
        return self.count * self.cost

    def charge(self, queries: int) -> None:
        """Counts them.

        Raises:
            OutOfQueries: there would be more than the limit; they are not counted.
        """
        if self.limit is not None and self.count + queries > self.limit:
            raise OutOfQueries(
                f"{queries} more queries exceed the limit of {self.limit}, of which {self.count}"
                " are used; ask fewer, or raise the limit."
            )
        self.count += queries


class BlackBox:
    """A model behind an interface that returns probability vectors and counts.

    Args:
        answer: (records, ...) -> (records, classes) probabilities; pure, so that loops on the
            device may call it (they charge the meter for what they ask).
        classes: length of an answer.
        meter: counts and limits; a fresh one without limit by default.

    A model of another framework answers through `jax.pure_callback`:

        >>> import jax.numpy as jnp
        >>> theirs = lambda x: np.full((len(x), 2), 0.5, np.float32)  # of NumPy arrays
        >>> shape = lambda x: jax.ShapeDtypeStruct((x.shape[0], 2), jnp.float32)
        >>> box = BlackBox(lambda x: jax.pure_callback(theirs, shape(x), x), classes=2)
        >>> box.query(np.zeros((3, 4))).shape
        (3, 2)

    Example:
        >>> import jax.numpy as jnp
        >>> from privacy.membership import mitigations
        >>> box = BlackBox(lambda x: jnp.full((x.shape[0], 2), 0.5), classes=2)
        >>> labels = box.behind(mitigations.label_only())
        >>> print(labels.query(np.zeros((3, 4)))[0], box.meter.count)
        [1. 0.] 3
    """

    def __init__(
        self,
        answer: Callable[[Array], Float[Array, "records classes"]],
        *,
        classes: int,
        meter: Meter | None = None,
    ):
        self.answer, self.classes = answer, classes
        self.meter = Meter() if meter is None else meter
        self._compiled = jax.jit(answer)

    def query(self, x: np.ndarray | Array) -> np.ndarray:
        """(records, classes) float32 probabilities; each record is one query.

        Raises:
            OutOfQueries: the meter's limit is reached.
            ConfigError: an answer that is not made of JAX's operations.
        """
        self.meter.charge(len(x))
        try:
            return np.asarray(self._compiled(x))
        except jax.errors.TracerArrayConversionError as error:
            raise errors.ConfigError(
                "the target's answer should be made of JAX's operations, but it asked for an array"
                " of NumPy; give a model of another framework through jax.pure_callback."
            ) from error

    def behind(self, *wrappers: Mitigation) -> "BlackBox":
        """The same model, its answers changed by these in order; the queries count together."""

        def answer(x):
            outputs = self.answer(x)
            for wrapper in wrappers:
                outputs = wrapper(outputs)
            return outputs

        return BlackBox(answer, classes=self.classes, meter=self.meter)


def from_network(
    network: Network,
    variables: Variables,
    *,
    classes: int,
    prepare: Callable[[Array], Array] = lambda x: x,
    meter: Meter | None = None,
) -> BlackBox:
    """The black box around a trained network whose outputs are logits.

    Args:
        network, variables: the model.
        classes: length of an answer.
        prepare: records -> what the network takes.
        meter: as `BlackBox`.
    """

    def answer(x):
        logits, _ = network.apply(*variables, prepare(x))
        return jax.nn.softmax(logits, axis=-1)

    return BlackBox(answer, classes=classes, meter=meter)
