"""Binary classifiers of updates: a random forest, logistic regression, a small network.

Features are standardised with the training set's own mean and deviation, as the last rule of
`features` has it; a feature that never varies there counts for nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fl_jax.core import errors
from fl_jax.core.types import Float, Int
from fl_jax.nn import loss as losses
from fl_jax.train import optimizer

Score = Callable[[np.ndarray], np.ndarray]


class Classifier(NamedTuple):
    """How to learn which updates have the property."""

    name: str
    fit: Callable[[np.ndarray, np.ndarray], Score]
    """(features (n, f), labels (n,) 0 or 1) -> score, which takes features (m, f) to (m,): the
    higher, the more likely the property"""


def random_forest(*, trees: int = 100, leaf: int = 5, split: int = 5, seed: int = 0) -> Classifier:
    """The authors' classifier: scikit-learn's random forest.

    Args:
        trees: how many [authors' code].
        leaf: fewest records in a leaf [authors' code].
        split: fewest records to split [authors' code].
        seed: of bootstrap and features.
    """

    def fit(features, labels):
        from sklearn import ensemble

        forest = ensemble.RandomForestClassifier(
            trees, min_samples_leaf=leaf, min_samples_split=split, random_state=seed, n_jobs=-1
        )
        forest.fit(features, labels)
        forest.n_jobs = 1  # threads would add up the trees' votes in any order
        return lambda found: forest.predict_proba(found)[:, 1]

    return Classifier("random forest", _checked(fit))


def logistic(*, seed: int = 0, steps: int = 1500, decay: float = 1e-2) -> Classifier:
    """Logistic regression. Arguments as in `mlp`."""
    return Classifier("logistic", _checked(_network((), seed, steps, 3e-3, decay)))


def mlp(
    *,
    hidden: tuple[int, ...] = (64,),
    seed: int = 0,
    steps: int = 1500,
    rate: float = 1e-3,
    decay: float = 1e-2,
) -> Classifier:
    """A multi-layer perceptron with ReLU, trained by AdamW.

    Args:
        hidden: units of each hidden layer.
        seed: of weights and order.
        steps: of training, on batches of 64 auxiliary updates.
        rate: learning rate, which falls to 0 along a cosine.
        decay: decoupled weight decay.
    """
    return Classifier("mlp", _checked(_network(hidden, seed, steps, rate, decay)))


def make(name: str, *, seed: int = 0) -> Classifier:
    """`random forest`, `logistic` or `mlp` with the settings of their factories."""
    known = {"random forest": random_forest, "logistic": logistic, "mlp": mlp}
    return known[errors.one_of("classifier", name, known)](seed=seed)


def standardise(features: Float[np.ndarray, "n f"]) -> Callable[[np.ndarray], np.ndarray]:
    """features -> (features - mean) / deviation, both of these; constant features become 0.

    Example:
        >>> import numpy as np
        >>> x = np.array([[1.0, 7.0], [3.0, 7.0]], np.float32)
        >>> print(standardise(x)(x))
        [[-1.  0.]
         [ 1.  0.]]
    """
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = features.std(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.where(deviation > 1e-12, 1 / np.maximum(deviation, 1e-12), 0).astype(np.float32)
    return lambda found: (found - mean) * scale


def _checked(fit: Callable[[np.ndarray, np.ndarray], Score]):
    """`fit` behind the checks that every classifier needs, on standardised features."""

    def checked(features: Float[np.ndarray, "n f"], labels: Int[np.ndarray, " labels"]) -> Score:
        features, labels = np.asarray(features), np.asarray(labels)
        if set(np.unique(labels)) != {0, 1}:
            raise errors.DataError(
                "a property classifier learns from updates with (1) and without (0) the property,"
                f" but the labels are {np.unique(labels).tolist()}; give it auxiliary data of both."
            )
        if len(features) != len(labels):
            raise errors.DataError(
                f"each update needs a label, got {len(features)} updates and {len(labels)} labels."
            )
        _finite("auxiliary", features)
        prepare = standardise(features)
        score = fit(prepare(features), labels)

        def asked(found):
            if np.ndim(found) != 2 or found.shape[1] != features.shape[1]:
                raise errors.DataError(
                    f"the classifier learnt from {features.shape[1]} features an update, but"
                    f" {np.shape(found)} came; take the same extractor, (updates, features)."
                )
            _finite("observed", found)
            return score(prepare(found))

        return asked

    return checked


def _finite(what: str, features) -> None:
    if not np.all(np.isfinite(features)):
        raise errors.DataError(
            f"{what} updates hold NaN or infinity: the model has diverged; lower the learning rate."
        )


def _network(hidden, seed, steps, rate, decay, batch=64):
    def init(key, sizes):
        keys = jax.random.split(key, len(sizes) - 1)
        layers = [
            {"kernel": jax.random.normal(k, (i, o)) * (2 / i) ** 0.5, "bias": jnp.zeros(o)}
            for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]
        layers[-1]["kernel"] *= 0.0  # nothing is said before something is learnt
        return layers

    def apply(layers, x):
        for layer in layers[:-1]:
            x = jax.nn.relu(x @ layer["kernel"] + layer["bias"][None])
        return x @ layers[-1]["kernel"] + layers[-1]["bias"][None]

    def fit(features, labels):
        count = len(labels)
        size = min(batch, count)
        order = np.random.default_rng(seed)
        epochs = -(-steps * size // count)
        orders = np.concatenate([order.permutation(count) for _ in range(epochs)])
        orders = orders[: steps * size].reshape(steps, size).astype(np.int32)
        rates = optax.cosine_decay_schedule(rate, steps)
        descent = optimizer.make(
            optimizer.Optimizer("adamw", rate=rate, weight_decay=decay),
            decay_mask=optimizer.decay_matrices,
            rate=rates,
        )
        layers = init(jax.random.key(seed), (features.shape[1], *hidden, 2))

        @jax.jit
        def train(layers, x, y):
            def one(carry, taken):
                layers, state = carry
                objective = lambda p: jnp.mean(losses.cross_entropy(apply(p, x[taken]), y[taken]))
                updates, state = descent.update(jax.grad(objective)(layers), state, layers)
                return (optax.apply_updates(layers, updates), state), None

            return jax.lax.scan(one, (layers, descent.init(layers)), orders)[0][0]

        trained = train(layers, jnp.asarray(features, jnp.float32), jnp.asarray(labels, jnp.int32))
        forward = jax.jit(lambda x: jnp.diff(apply(trained, x), axis=1)[:, 0])
        return lambda found: np.asarray(forward(jnp.asarray(found, jnp.float32)))

    return fit
