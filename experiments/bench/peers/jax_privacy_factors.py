"""jax_privacy's sensitivities of factors, and the error of ours and of its own Toeplitz bands.

Arguments: two files of arrays. In: `questions` (number, 3) of (rounds, separation, participations),
`toeplitz_i` and `banded_i`, a factor for each of them; `ours_<rounds>`, coefficients. Out:
`toeplitz` and `banded` (number,), `error_<rounds>` of (ours, its own), each the root of the mean
over prefixes of the squared deviation at one participation.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax_privacy.matrix_factorization import sensitivity, toeplitz


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    found = {"toeplitz": [], "banded": []}
    with np.load(sys.argv[1]) as given:
        for i, (rounds, separation, most) in enumerate(given["questions"].tolist()):
            square = toeplitz.minsep_sensitivity_squared(
                jnp.asarray(given[f"toeplitz_{i}"]), separation, most, rounds
            )
            found["toeplitz"].append(np.sqrt(square))
            factor = jnp.asarray(given[f"banded_{i}"])
            found["banded"].append(sensitivity.get_sensitivity_banded(factor, separation, most))
        for name in given.files:
            if name.startswith("ours_"):
                rounds, ours = int(name.removeprefix("ours_")), jnp.asarray(given[name])
                own = toeplitz.optimize_banded_toeplitz(rounds, ours.size)
                errors = [np.sqrt(toeplitz.loss(c, rounds)) for c in (ours, own)]
                found[f"error_{rounds}"] = errors
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
