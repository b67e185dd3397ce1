"""T5 training in transformers and torch; runs in the environment of that peer.

`python t5_speed.py FOLDER REPEATS` reads a checkpoint and `batch.npz` (`tokens`, `labels`), trains
once to warm up and REPEATS times more, and prints JSON: wall and CPU seconds, the first loss, and
the rate of torch's matrix product, which on some processors is far from what they can do.
"""

import json
import os
import sys
import time

import numpy as np
import torch
import transformers


def main(folder: str, repeats: int) -> None:
    """Prints the timings."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = transformers.T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.train()
    with np.load(f"{folder}/batch.npz") as given:
        tokens, labels = (torch.from_numpy(given[n]).long() for n in ("tokens", "labels"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)

    def step():
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    first, wall, cpu = step(), [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    told = {"check": first, "version": torch.__version__, "product": product()}
    print(json.dumps({"wall": wall, "cpu": cpu, **told}))


def product(size: int = 2048, repeats: int = 5) -> float:
    """GFLOP/s of the best of some float32 matrix products."""
    a, b, times = torch.randn(size, size), torch.randn(size, size), []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main(sys.argv[1], int(sys.argv[2]))
