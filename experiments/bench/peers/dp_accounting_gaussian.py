"""dp_accounting's eps of the sampled Gaussian, by loss distributions and by Renyi, as JSON.

Arguments: noise_multiplier rate rounds delta neighbours (add or replace).
"""

import json
import sys

import dp_accounting
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import rdp_privacy_accountant as rdp


def main() -> None:
    noise, rate, rounds, delta = (float(a) for a in sys.argv[1:5])
    replace = sys.argv[5] == "replace"
    kinds = dp_accounting.NeighboringRelation
    relation = kinds.REPLACE_ONE if replace else kinds.ADD_OR_REMOVE_ONE
    ends = [
        pld.from_gaussian_mechanism(
            noise,
            sampling_prob=rate,
            pessimistic_estimate=pessimistic,
            value_discretization_interval=1e-4,
            neighboring_relation=pld.NeighboringRelation.REPLACE_ONE
            if replace
            else pld.NeighboringRelation.ADD_OR_REMOVE_ONE,
        )
        .self_compose(int(rounds))
        .get_epsilon_for_delta(delta)
        for pessimistic in (False, True)
    ]
    found = {"lower": ends[0], "upper": ends[1]}
    if not replace:
        accountant = rdp.RdpAccountant(neighboring_relation=relation)
        event = dp_accounting.GaussianDpEvent(noise)
        if rate < 1:
            event = dp_accounting.PoissonSampledDpEvent(rate, event)
        accountant.compose(event, int(rounds))
        found["rdp"] = accountant.get_epsilon(delta)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
