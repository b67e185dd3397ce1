import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, rng
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


@pytest.mark.parametrize("plan", ["scan", "chunk:5", "vmap"])
def test_an_adapted_model_is_what_its_client_makes_of_the_global_one(key, plan):
    people, held, variables = toy.people(), toy.people(count=90), toy.variables(key)
    client = toy.trainer(epochs=2)
    plan = cohort.Plan.parse(plan)
    found = jax.jit(evaluation.adapted(client, LOSS, batch_size=4, plan=plan))(
        variables, people, held, key
    )
    plain = evaluation.by_participant(LOSS, batch_size=50)
    for i in range(toy.PARTICIPANTS):
        own, _ = client.train(
            variables,
            people.examples,
            people.start[i],
            people.size[i],
            rng.fold(key, "adapt", jnp.int32(i)),
            longest=people.longest,
        )
        expected = plain(own, held, jnp.array([i]))
        np.testing.assert_allclose(found["loss"][i], expected["loss"][0], rtol=1e-5)
        np.testing.assert_allclose(found["accuracy"][i], expected["accuracy"][0], atol=1e-6)


def test_no_epoch_of_adaptation_is_the_global_model(key):
    people, variables = toy.people(), toy.variables(key)
    none = evaluation.adapted(toy.trainer(epochs=0), LOSS, batch_size=50)
    plain = evaluation.by_participant(LOSS, batch_size=50)(variables, people)
    jax.tree.map(np.testing.assert_array_equal, none(variables, people, people, key), plain)
    some = none(variables, people, people, key, jnp.array([3]))
    np.testing.assert_array_equal(some["loss"], plain["loss"][3:4])


def test_what_cannot_be_adapted_is_refused(key):
    people, variables = toy.people(), toy.variables(key)
    with pytest.raises(errors.ConfigError, match="keeps nothing from round to round"):
        evaluation.adapted(
            toy.trainer()._replace(remember=lambda variables: ()), LOSS, batch_size=4
        )
    adapted = evaluation.adapted(toy.trainer(), LOSS, batch_size=4)
    with pytest.raises(errors.ConfigError, match="belongs to 6 participants, but 12 train"):
        adapted(variables, people, toy.people(participants=6), key)
