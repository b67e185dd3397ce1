import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated import evaluation
from fl_jax.nn import loss
from fl_jax.train import cohort
from tests.federated import toy

LOSS = loss.classification(toy.NETWORK, train=False)


@pytest.mark.parametrize("plan", ["scan", "chunk:5", "vmap"])
def test_it_is_the_mean_over_each_share(key, plan):
    people, variables = toy.people(), toy.variables(key)
    evaluate = evaluation.by_participant(LOSS, batch_size=4, plan=cohort.Plan.parse(plan))
    found = jax.jit(evaluate)(variables, people)
    x, y = (np.asarray(people.examples[k]) for k in "xy")
    logits = x @ np.asarray(variables.params["kernel"]) + np.asarray(variables.params["bias"])
    own = -jax.nn.log_softmax(logits)[np.arange(len(y)), y]
    right = np.argmax(logits, axis=1) == y
    for i in range(toy.PARTICIPANTS):
        share = slice(int(people.start[i]), int(people.start[i] + people.size[i]))
        assert float(found["loss"][i]) == pytest.approx(float(own[share].mean()), rel=1e-5)
        assert float(found["accuracy"][i]) == pytest.approx(right[share].mean(), abs=1e-6)


def test_some_participants_only_and_in_the_order_asked_for(key):
    people, variables = toy.people(), toy.variables(key)
    evaluate = evaluation.by_participant(LOSS, batch_size=50)
    every, some = evaluate(variables, people), evaluate(variables, people, jnp.array([7, 2]))
    np.testing.assert_allclose(some["loss"], every["loss"][np.array([7, 2])], rtol=1e-6)


def test_a_batch_size_of_zero_is_refused():
    with pytest.raises(errors.ConfigError, match="batch_size must be a whole number of 1 or more"):
        evaluation.by_participant(LOSS, batch_size=0)


@pytest.mark.parametrize("wrong", [-1, toy.PARTICIPANTS])
def test_who_is_no_participant_is_refused(key, wrong):
    """The last one's numbers came in its place."""
    evaluate = evaluation.by_participant(LOSS, batch_size=50)
    with pytest.raises(errors.ConfigError, match=f"participant {wrong} is not one of"):
        evaluate(toy.variables(key), toy.people(), jnp.array([0, wrong]))
