"""What the two PyTorch peers of `bench simulators` share: the network, in both layouts of weights.

Ours are (height, width, in, out) and (in, out), images with channels last; PyTorch's are
(out, in, height, width) and (out, in), channels first, also where an image is flattened.
"""

import functools

import numpy as np
import torch
from torch import nn


def network(given) -> nn.Sequential:
    """The network whose weights are given, with them."""
    leaves = {k: given[k] for k in given if "/" in k}
    kernel = leaves["conv0/kernel"].shape[0]
    flower = kernel == 5  # LeNet pools after both convolutions, simple_cnn after the second
    first, second = (int(n) for n in given["features"])
    dense = sorted(k.split("/")[0] for k in leaves if k.startswith("dense") and "kernel" in k)
    layers = [nn.Conv2d(3, first, kernel), nn.ReLU()]
    layers += [nn.MaxPool2d(2)] if flower else []
    layers += [nn.Conv2d(first, second, kernel), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    for i, name in enumerate(dense):
        rows, columns = leaves[f"{name}/kernel"].shape
        layers += [nn.ReLU()] if i else []
        layers += [nn.Linear(rows, columns)]
    model = nn.Sequential(*layers)
    load(model, leaves)
    return model


def _named(model):
    """(our name, layer) of every layer with weights."""
    convs = [m for m in model if isinstance(m, nn.Conv2d)]
    dense = [m for m in model if isinstance(m, nn.Linear)]
    yield from ((f"conv{i}", m) for i, m in enumerate(convs))
    yield from ((f"dense{i}", m) for i, m in enumerate(dense))


def load(model, leaves) -> None:
    """Puts our weights into the model."""
    channels = [m for m in model if isinstance(m, nn.Conv2d)][-1].out_channels
    for name, layer in _named(model):
        kernel = leaves[f"{name}/kernel"]
        if name.startswith("conv"):
            kernel = kernel.transpose(3, 2, 0, 1)
        else:
            if name == "dense0":
                side = round((kernel.shape[0] / channels) ** 0.5)
                kernel = kernel.reshape(side, side, channels, -1).transpose(2, 0, 1, 3)
                kernel = kernel.reshape(-1, kernel.shape[-1])
            kernel = kernel.T
        bias = leaves[f"{name}/bias"].reshape(-1)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(np.ascontiguousarray(kernel)))
            layer.bias.copy_(torch.tensor(bias))


def read(model, like) -> dict[str, np.ndarray]:
    """The model's weights in our layout, under our names."""
    channels = [m for m in model if isinstance(m, nn.Conv2d)][-1].out_channels
    out = {}
    for name, layer in _named(model):
        kernel = layer.weight.detach().numpy()
        if name.startswith("conv"):
            kernel = kernel.transpose(2, 3, 1, 0)
        else:
            kernel = kernel.T
            if name == "dense0":
                side = round((kernel.shape[0] / channels) ** 0.5)
                kernel = kernel.reshape(channels, side, side, -1).transpose(1, 2, 0, 3)
                kernel = kernel.reshape(-1, kernel.shape[-1])
        out[f"{name}/kernel"] = np.array(kernel)
        out[f"{name}/bias"] = layer.bias.detach().numpy().reshape(like[f"{name}/bias"].shape).copy()
    return out


def tensors(given, client: int):
    """(images, labels) of one client, normalised as ours are."""
    size = len(given["y"]) // int(given["clients"])
    mine = slice(client * size, (client + 1) * size)
    x = given["x"][mine].astype(np.float32) / 127.5 - 1
    images = torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return images, torch.tensor(given["y"][mine].astype(np.int64))


@functools.cache
def read_file(source) -> dict[str, np.ndarray]:
    """What the bench gave, once in a process."""
    return dict(np.load(source))


@functools.cache
def share(source, client: int):
    """`tensors` of a file, kept in the process of the client."""
    return tensors(read_file(source), client)
