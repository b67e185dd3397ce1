import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import fltrust
from tests.federated import toy


@pytest.mark.parametrize("root", [None, {"x": np.zeros((0, 4)), "y": np.zeros(0)}])
def test_without_a_root_set_it_is_refused(root):
    with pytest.raises(errors.ConfigError, match="FLTrust needs a root set"):
        fltrust.fltrust(client=toy.STILL, root=root)
