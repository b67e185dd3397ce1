"""pfl's side of `bench simulators`; run by pfl's own interpreter.

    python pfl_example.py IN.npz OUT.npz simulate

IN holds the weights, the clients' images in the order in which they are to be visited, and the
settings; OUT gets the seconds of every round and the weights after the first.
"""

import importlib.metadata
import sys
import time
import types

import numpy as np
import torch
import torch_examples
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByUser
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel


def main(source, target, way):
    assert way == "simulate"
    given = dict(np.load(source))
    network = torch_examples.network(given)
    entropy = torch.nn.CrossEntropyLoss()

    def loss(self, x, y, eval=False):
        self.train(not eval)
        return entropy(self(x), y)

    network.loss = types.MethodType(loss, network)
    network.metrics = types.MethodType(lambda self, x, y, eval=True: {}, network)
    model = PyTorchModel(
        model=network,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(network.parameters(), 1.0),
    )
    clients = int(given["clients"])
    data = [Dataset(raw_data=list(torch_examples.tensors(given, i))) for i in range(clients)]
    place = iter(range(10**9))
    people = FederatedDataset(lambda i: data[i], lambda: next(place) % clients)
    out, seconds, begun = {}, [], time.perf_counter()

    class Clock(TrainingProcessCallback):
        def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
            nonlocal begun
            seconds.append(time.perf_counter() - begun)
            if not out:
                weights = torch_examples.read(network, given)
                out.update({f"round/{k}": v for k, v in weights.items()})
            begun = time.perf_counter()
            return False, Metrics()

    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=int(given["rounds"]),
            evaluation_frequency=10**9,
            train_cohort_size=clients,
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(people, people, postprocessors=[WeightByUser()]),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_learning_rate=float(given["rate"]),
            local_num_epochs=1,
            local_batch_size=int(given["batch_size"]),
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=None),
        callbacks=[Clock()],
    )
    out["seconds"] = np.array(seconds)
    out["versions"] = [f"{name} {importlib.metadata.version(name)}" for name in ("pfl", "torch")]
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
