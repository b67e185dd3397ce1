import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.factorization import workload


def test_a_workload_is_what_a_server_makes_of_the_sums():
    draw = np.random.default_rng(0)
    sums, rates, beta = draw.normal(size=9), draw.uniform(0.1, 1, 9), 0.7
    model = velocity = plain = 0.0
    models, plains, constant = [], [], []
    for x, rate in zip(sums, rates, strict=True):
        velocity = beta * velocity + x
        model += rate * velocity
        plain += velocity
        models.append(model)
        plains.append(plain)
        constant.append(np.sum(sums[: len(models)]))
    np.testing.assert_allclose(workload.scheduled(rates, beta) @ sums, models, rtol=1e-12)
    np.testing.assert_allclose(
        workload.matrix(workload.momentum(9, beta)) @ sums, plains, rtol=1e-12
    )
    np.testing.assert_allclose(workload.matrix(workload.momentum(9)) @ sums, constant, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: workload.momentum(0), "rounds must be a whole number >= 1"),
        (lambda: workload.momentum(3, 1.0), r"momentum must lie in \[0, 1\), got 1"),
        (lambda: workload.scheduled(np.array([1.0, np.inf])), "one finite number a round"),
        (lambda: workload.matrix(np.ones((2, 2, 2))), r"got an array of shape \(2, 2, 2\)"),
        (lambda: workload.checked(np.ones((2, 3))), r"got an array of shape \(2, 3\)"),
        (lambda: workload.checked(np.array([1.0, np.nan])), "must be finite"),
        (lambda: workload.checked(np.ones((2, 2))), "no model knows of later rounds"),
    ],
)
def test_bad_workloads_are_refused(call, said):
    with pytest.raises(PrivacyError, match=said):
        call()
