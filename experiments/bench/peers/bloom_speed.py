"""The same work in transformers and torch; runs in the environment of that peer.

`python bloom_speed.py FOLDER WORK REPEATS DTYPE` reads a checkpoint and `tokens.npy` from the
folder, does the work (`train` or `generate`) once to warm up and then REPEATS times, and prints
JSON: wall seconds and CPU seconds of each, and a number that says what was computed.
"""

import json
import os
import sys
import time

import numpy as np
import torch
import transformers


def main(folder: str, work: str, repeats: int, dtype: str) -> None:
    """Prints the timings."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = transformers.BloomForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    tokens = torch.from_numpy(np.load(f"{folder}/tokens.npy")).long()
    run = training(model, tokens) if work == "train" else generation(model, tokens)
    first = run()
    wall, cpu = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    print(json.dumps({"wall": wall, "cpu": cpu, "check": first, "version": torch.__version__}))


def training(model, tokens):
    """Forward, backward, clip, AdamW in its fused form."""
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True
    )

    def step():
        loss = model(tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def generation(model, prompts):
    """64 greedy tokens for each prompt, with the cache."""
    model.eval()

    @torch.no_grad()
    def step():
        out = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=64,
            min_new_tokens=64,
            do_sample=False,
            pad_token_id=3,
        )
        return out[:, prompts.shape[1] :].tolist()

    return step


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
