"""IBA: a generator of imperceptible triggers, planted in the parameters that training spares."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.nn.network import Network
from fl_jax.train import optimizer as optimizers
from fl_jax.train import step
from fl_jax.train.state import Variables


class Trigger(NamedTuple):
    """What makes a backdoor input of a clean one."""

    generator: Network  # images in [0, 1] -> perturbations in [-1, 1]
    target: int  # the wanted label
    high: float = 1.0  # largest value of a pixel

    def stamp(self, params: PyTree, x: Array, epsilon) -> Float[Array, "batch ..."]:
        """clip(x + epsilon T(x)), with epsilon in units of the largest pixel.

        Raises:
            ConfigError: perturbations of another shape than the images.
        """
        x = x.astype(jnp.float32)
        noise, _ = self.generator.apply(params, {}, x / self.high)
        if noise.shape != x.shape:
            raise errors.ConfigError(
                f"a generator of triggers gives a perturbation for every pixel, but of images of"
                f" shape {x.shape[1:]} it makes {noise.shape[1:]}; make it for these images, or"
                " pad them."
            )
        return jnp.clip(x + epsilon * self.high * noise, 0.0, self.high)

    def backdoor(self, params: PyTree, examples: PyTree, epsilon) -> PyTree:
        """The examples with their triggers and the wanted label."""
        wanted = jnp.full_like(examples["y"], self.target)
        return {**examples, "x": self.stamp(params, examples["x"], epsilon), "y": wanted}


class Irreversible(NamedTuple):
    """The attacker's data and settings."""

    poison: scaling.Poison  # its `backdoor` is not used: the generator makes it of `clean`
    generator: PyTree  # parameters to begin with


class Memory(NamedTuple):
    """What the attacker remembers."""

    generator: PyTree
    slopes: PyTree  # mean |gradient| of the clean loss, over the attacks so far
    attacks: Int[Array, ""]
    poisoned: Int[Array, ""]  # attacks since poisoning began; 0: not yet


class Info(NamedTuple):
    """What the attacker knows about its own attack."""

    success: Float[Array, ""]  # of the triggers on the global model
    epsilon: Float[Array, ""]
    poisoned: Bool[Array, ""]
    attack: scaling.AttackInfo


def train_generator(
    loss: step.Loss,
    trigger: Trigger,
    variables: Variables,
    examples: PyTree,
    params: PyTree,
    key: Key[Array, ""],
    *,
    epsilon,
    optimizer: optax.GradientTransformation,
    steps: Int[Array, ""] | int,
    batch_size: int = 64,
) -> PyTree:
    """The generator after descent on the loss of its triggers towards the target; G stands still.

    Args:
        loss: (variables, {"x", "y"}, key) -> (loss, ...), in test mode.
        variables: the model that is fooled.
        examples: clean ones, `x` (count, height, width, channels) and `y`.
        params: of the generator, to begin with.
        epsilon: bound of the perturbation in every pixel.
        optimizer: of the generator, with its learning rate.
        steps: batches, drawn with replacement.

    References:
        Nguyen et al. 2023, "IBA", the trigger function, as in the authors' code: the model stands
        still.
    """
    count = len(examples["y"])

    def value(params, batch, key):
        return loss(variables, trigger.backdoor(params, batch, epsilon), key)[0]

    def one(s, carry):
        params, state = carry
        own = rng.fold(key, "generator", s)
        place = jax.random.randint(own, (batch_size,), 0, count)
        batch = jax.tree.map(lambda a: a[place], examples)
        updates, state = optimizer.update(jax.grad(value)(params, batch, own), state, params)
        return optax.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, steps, one, (params, optimizer.init(params)))[0]


def spared(slopes: PyTree, share: float) -> PyTree:
    """1 for the `share` of the parameters with the smallest slopes, 0 for the others.

    Ties at the edge count as spared.
    """
    flat = jnp.concatenate([a.reshape(-1) for a in jax.tree.leaves(slopes)])
    edge = -jax.lax.top_k(-flat, max(1, round(share * flat.size)))[0][-1]
    return jax.tree.map(lambda a: (a <= edge).astype(a.dtype), slopes)


def iba(
    loss: step.Loss,
    optimizer: optax.GradientTransformation,
    trigger: Trigger,
    *,
    batch_size: int,
    epsilon: float = 0.3,
    test_epsilon: float = 0.05,
    decay: float = 0.001,
    share: float | None = 0.3,
    ready: float = 0.85,
    generator_optimizer: optax.GradientTransformation | None = None,
    generator_steps: int = 0,
    every: int = 2,
    test_loss: step.Loss | None = None,
    **settings,
) -> Attack:
    """A trigger function is learnt first and then kept while the model is poisoned with it.

    First phase: while the triggers succeed on less than `ready` of the clean examples of the
    global model, the attackers train honestly, send X - G, and train the generator on X. Second:
    as `constrain_and_scale` on batches of clean examples and (`Poison.per_batch`) triggered ones,
    with gamma, PGD (`radius`) and the parameters that benign training spares: those with the
    smallest |gradient| of the clean loss at G, in the mean over the attacks so far. The bound of
    the triggers shrinks, max(test_epsilon, epsilon (1 - decay)^t) in the t-th poisoned attack, and
    the generator is trained again, on X, in each `every`-th of them.

    What differs from the authors' code: success is asked of G and not of X, so that a generator
    that is ready begins at once; the history is of the gradients' sizes, where the code averages
    masks; epsilon is in units of the largest pixel and not of normalised inputs; any generator
    will do, where the authors have a U-Net or an autoencoder with batch norm. A round is evaluated
    on inputs that are given to it beforehand: to measure on a generator's triggers in the round,
    keep it as it is (`generator_steps` = 0) and stamp the inputs with it.

    Args:
        loss: of the main task; sees batches with backdoor examples mixed in.
        optimizer: at a learning rate of 1.
        trigger: its generator's parameters come in `View.data`, an `Irreversible`.
        batch_size: examples a step, the generator's too.
        epsilon: bound in training, at first.
        test_epsilon: bound that the triggers are used with in the end.
        decay: of the bound, an attack.
        share: of the parameters that may move; None = all.
        ready: success at which poisoning begins.
        generator_optimizer: with its learning rate; None = Adam at 0.001.
        generator_steps: batches of the generator in an attack; 0 = it stays as it came.
        every: attacks between two trainings of the generator in the second phase.
        test_loss: in test mode, `accuracy` among its metrics; None = `loss`.
        settings: of `constrain_and_scale`.

    Raises:
        ConfigError: a number out of range; data that is no `Irreversible`, a generator of another
            kind than the trigger's, or a loss without an accuracy (when the round is traced).

    References:
        Nguyen, Nguyen, Wong, Doan 2023, "IBA: Towards Irreversible Backdoor Attacks in Federated
        Learning"; phases, decay and shares from the authors' code.
    """
    for name, value in {"epsilon": epsilon, "test_epsilon": test_epsilon}.items():
        errors.positive(f"{name} of IBA", value)
    errors.whole("every of IBA", every, least=1)
    errors.whole("generator_steps of IBA", generator_steps)
    for name, value, top in (("decay", decay, 1), ("ready", ready, 1), ("share", share, 1)):
        if value is not None and not 0 <= value <= top:
            raise errors.ConfigError(f"{name} of IBA must lie in [0, 1], got {value}.")
    if test_epsilon > epsilon:
        raise errors.ConfigError(
            f"the bound of IBA's triggers shrinks from epsilon to test_epsilon, but {test_epsilon}"
            f" is above {epsilon}; give a smaller test_epsilon."
        )
    asked = test_loss or loss
    descent = generator_optimizer or optimizers.make(optimizers.Optimizer("adam", rate=1e-3))
    inner = scaling.constrain_and_scale(
        loss,
        optimizer,
        batch_size=batch_size,
        test_loss=asked,
        restrict=lambda view, mask: mask,
        **settings,
    )

    def init(variables: Variables) -> Memory:
        zero = lambda: jnp.zeros((), jnp.int32)
        shape = jax.eval_shape(trigger.generator.init, jax.random.key(0))[0]
        return Memory(tree.zeros_like(shape), tree.zeros_like(variables.params), zero(), zero())

    def update(view: View, state: Memory, key):
        if not isinstance(view.data, Irreversible):
            raise errors.ConfigError(
                "IBA's data are an `Irreversible`, a `Poison` and the generator's parameters, but"
                f" {type(view.data).__name__} came."
            )
        poison = view.data.poison
        if jax.tree.structure(view.data.generator) != jax.tree.structure(state.generator):
            raise errors.ConfigError(
                "`Irreversible.generator` holds the parameters of the trigger's generator, but"
                f" {sorted(tree.named_leaves(view.data.generator))} came for"
                f" {sorted(tree.named_leaves(state.generator))}; take them from"
                " `trigger.generator.init`."
            )
        generator = tree.where(state.attacks > 0, state.generator, view.data.generator)
        clean = {**poison.clean, "x": poison.clean["x"].astype(jnp.float32)}

        def success():
            batch = trigger.backdoor(generator, clean, epsilon)
            _, (_, metrics) = asked(view.variables, batch, rng.fold(key, "ask"))
            if "accuracy" not in metrics:
                raise errors.ConfigError(
                    "IBA asks how often its triggers succeed, but the metrics of the loss have no"
                    f" accuracy, only {sorted(metrics)}; give a `test_loss` that has it."
                )
            return metrics["accuracy"]

        found = success()
        begun = (state.poisoned > 0) | (found >= ready)
        bound = epsilon * (1 - decay) ** state.poisoned.astype(jnp.float32)
        bound = jnp.maximum(bound, test_epsilon)

        def slope_of(params):
            batch = {**clean, "mask": jnp.ones(len(clean["y"]), jnp.float32)}
            return loss(view.variables._replace(params=params), batch, rng.fold(key, "slope"))[0]

        own = jax.tree.map(jnp.abs, jax.grad(slope_of)(view.variables.params))
        weight = 1 / (state.attacks + 1).astype(jnp.float32)
        slopes = jax.tree.map(lambda m, a: m + weight.astype(a.dtype) * (a - m), state.slopes, own)
        mask = jax.tree.map(jnp.ones_like, slopes)
        if share is not None:
            mask = tree.where(begun, spared(slopes, share), mask)

        shared = settings.get("shared", True)
        alone = jnp.maximum(view.count if shared else 1, 1).astype(jnp.float32)  # X - G from each
        data = poison._replace(
            clean=clean,
            backdoor=trigger.backdoor(generator, clean, bound),
            per_batch=jnp.where(begun, poison.per_batch, 0),
            gamma=jnp.where(begun, poison.gamma, alone),
            stop=jnp.where(begun, poison.stop, 0.0),
        )
        sent, _, info = inner.update(view._replace(data=data), mask, rng.fold(key, "train"))

        turn = ~begun | (state.poisoned % every == every - 1)
        local = tree.add(
            view.variables,
            tree.scale(alone / info.gamma, jax.tree.map(lambda a: a[0], sent)),
        )
        trained = train_generator(
            asked,
            trigger,
            local,
            clean,
            generator,
            rng.fold(key, "retrain"),
            epsilon=bound,
            optimizer=descent,
            steps=jnp.where(turn & (view.count > 0), generator_steps, 0),
            batch_size=batch_size,
        )
        new = Memory(trained, slopes, state.attacks + 1, state.poisoned + begun.astype(jnp.int32))
        return sent, new, Info(found, bound, begun, info)

    return Attack(init, update, inner.most, inner.sees)
