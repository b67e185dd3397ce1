"""FedJAX's side of `bench federated_dense`; run by FedJAX's own interpreter.

    python fedjax_w2.py IN.npz OUT.npz BACKEND,BACKEND

Files as for `fedjax_w1.py`, with the leaves of the dense EMNIST model.
"""

import sys

import fedjax
import fedjax_w1

LAYERS = {"first": "linear", "second": "linear_1", "output": "linear_2"}

if __name__ == "__main__":
    model = fedjax.models.emnist.create_dense_model()
    fedjax_w1.main(*sys.argv[1:], layers=LAYERS, model=model)
