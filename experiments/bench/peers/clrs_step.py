"""dm-clrs's side of `bench clrs_step`; run by dm-clrs's own interpreter.

    python clrs_step.py ALGORITHM OUT.npz REPEATS

Trains the paper's single-task Triplet-GMPNN (h 128, batch 32, n = 16, float32) on one batch again
and again. OUT gets the batch as the sampler made it (before the training tricks), the number of
parameters, the CPU-seconds of the initialisation, of the first step and of every later one.
"""

import sys
import tempfile
import time

import clrs
import jax
import numpy as np

BATCH, NODES, HIDDEN = 32, 16, 128


def train(name: str, repeats: int):
    """(batch as the sampler made it, model, CPU-seconds of init, (CPU, wall) of every step)."""
    sampler, spec = clrs.build_sampler(name, seed=1, num_samples=-1, length=NODES)
    raw = sampler.next(BATCH)
    batches = iter([raw])
    processed = clrs.process_random_pos(batches, np.random.RandomState(0))
    if "pred_h" in spec and name != "insertion_sort":
        spec, processed = clrs.process_pred_as_input(spec, processed)
    spec, processed = clrs.process_permutations(spec, processed, True)
    feedback = next(processed)
    model = clrs.models.BaselineModel(
        spec=[spec],
        dummy_trajectory=[feedback],
        processor_factory=clrs.get_processor_factory(
            "triplet_gmpnn", use_ln=True, nb_triplet_fts=8, nb_heads=1
        ),
        hidden_dim=HIDDEN,
        encode_hints=True,
        decode_hints=True,
        encoder_init="xavier_on_scalars",
        use_lstm=False,
        learning_rate=1e-3,
        grad_clip_max_norm=1.0,
        checkpoint_path=tempfile.mkdtemp(),
        freeze_processor=False,
        dropout_prob=0.0,
        hint_teacher_forcing=0.0,
        hint_repred_mode="soft",
        nb_msg_passing_steps=1,
    )
    start = time.process_time()
    model.init([feedback.features], 1)
    init = time.process_time() - start
    times = []
    for i in range(repeats + 1):
        start, wall = time.process_time(), time.perf_counter()
        float(model.feedback(jax.random.PRNGKey(i), feedback, 0))
        jax.block_until_ready(model.params)
        times.append((time.process_time() - start, time.perf_counter() - wall))
    return raw, model, init, times


def main(name: str, out: str, repeats: int) -> None:
    raw, model, init, times = train(name, repeats)
    kept = {f"input {p.name}": p.data for p in raw.features.inputs}
    kept |= {f"hint {p.name}": p.data for p in raw.features.hints}
    kept |= {f"output {p.name}": p.data for p in raw.outputs}
    count = sum(leaf.size for leaf in jax.tree_util.tree_leaves(model.params))
    np.savez(out, lengths=raw.features.lengths, parameters=count, init=init, times=times, **kept)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
