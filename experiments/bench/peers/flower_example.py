"""Flower's side of `bench simulators`; run by Flower's own interpreter.

    python flower_example.py IN.npz OUT.npz CPUS

Files as for `pfl_example.py`; CPUS are the cores that Ray gives a client.
"""

import importlib.metadata
import os
import sys
import time

os.environ |= {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": os.path.dirname(os.path.abspath(__file__)),  # Ray's workers import from here too
}

import numpy as np
import torch
import torch_examples
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation


def main(source, target, cpus):
    client_app, server_app = ClientApp(), ServerApp()
    out, begun = {}, []

    @client_app.train()
    def train(message, context):
        given = torch_examples.read_file(source)
        model = torch_examples.network(given)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        x, y = torch_examples.share(source, int(context.node_config["partition-id"]))
        entropy = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(
            model.parameters(), lr=float(given["rate"]), momentum=float(given["momentum"])
        )
        batch = int(given["batch_size"])
        model.train()
        for at in range(0, len(y), batch):
            optimizer.zero_grad()
            entropy(model(x[at : at + batch]), y[at : at + batch]).backward()
            optimizer.step()
        content = RecordDict(
            {
                "arrays": ArrayRecord(model.state_dict()),
                "metrics": MetricRecord({"num-examples": len(y)}),
            }
        )
        return Message(content=content, reply_to=message)

    class Timed(FedAvg):
        def configure_train(self, server_round, arrays, config, grid):
            begun.append(time.perf_counter())
            return super().configure_train(server_round, arrays, config, grid)

        def aggregate_train(self, server_round, replies):
            arrays, metrics = super().aggregate_train(server_round, replies)
            if server_round == 1:
                model = torch_examples.network(torch_examples.read_file(source))
                model.load_state_dict(arrays.to_torch_state_dict())
                weights = torch_examples.read(model, torch_examples.read_file(source))
                out.update({f"round/{k}": v for k, v in weights.items()})
            return arrays, metrics

    @server_app.main()
    def serve(grid, context):
        model = torch_examples.network(torch_examples.read_file(source))
        clients, rounds = (
            int(torch_examples.read_file(source)["clients"]),
            int(torch_examples.read_file(source)["rounds"]),
        )
        strategy = Timed(fraction_evaluate=0.0, min_available_nodes=clients)
        strategy.start(grid=grid, initial_arrays=ArrayRecord(model.state_dict()), num_rounds=rounds)
        begun.append(time.perf_counter())

    run_simulation(
        server_app,
        client_app,
        num_supernodes=int(torch_examples.read_file(source)["clients"]),
        backend_config={"client_resources": {"num_cpus": int(cpus), "num_gpus": 0.0}},
    )
    out["seconds"] = np.diff(begun)
    names = ("flwr", "ray", "torch")
    out["versions"] = [f"{name} {importlib.metadata.version(name)}" for name in names]
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
