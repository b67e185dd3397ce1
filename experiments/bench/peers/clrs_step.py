"""dm-clrs's side of `bench clrs_step`; run by dm-clrs's own interpreter.

    python clrs_step.py ALGORITHM OUT.npz REPEATS

Trains the paper's single-task Triplet-GMPNN (h 128, batch 32, n = 16, float32) on one batch again
and again. OUT gets the batch as the sampler made it (before the training tricks, but for the random
positions), the initial parameters and their number, the loss under them without Gumbel noise, the
loss of every step, the CPU-seconds of the initialisation, of the first step and of every later one.
"""

import sys
import tempfile
import time

import clrs
import clrs._src.decoders
import jax
import numpy as np

BATCH, NODES, HIDDEN = 32, 16, 128


def loss(model, feedback) -> float:
    """Of the present parameters, without the noise that training adds before a Sinkhorn."""
    sinkhorn = clrs._src.decoders.log_sinkhorn
    quiet = lambda *args, noise_rng_key, **kwargs: sinkhorn(*args, noise_rng_key=None, **kwargs)
    clrs._src.decoders.log_sinkhorn = quiet
    found = jax.jit(model._loss, static_argnums=3)(model.params, jax.random.PRNGKey(0), feedback, 0)
    clrs._src.decoders.log_sinkhorn = sinkhorn
    return float(found)


def build(name: str):
    """(batch as the sampler made it, the same for the model, model, CPU-seconds of its init)."""
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
    return raw, feedback, model, time.process_time() - start


def train(model, feedback, count: int):
    """(loss, (CPU, wall) seconds) of every step."""
    losses, times = [], []
    for i in range(count):
        start, wall = time.process_time(), time.perf_counter()
        losses.append(float(model.feedback(jax.random.PRNGKey(i), feedback, 0)))
        jax.block_until_ready(model.params)
        times.append((time.process_time() - start, time.perf_counter() - wall))
    return losses, times


def main(name: str, out: str, repeats: int) -> None:
    raw, feedback, model, init = build(name)
    kept = {f"input {p.name}": p.data for p in raw.features.inputs}
    kept |= {f"input {p.name}": p.data for p in feedback.features.inputs if p.name == "pos"}
    kept |= {f"hint {p.name}": p.data for p in raw.features.hints}
    kept |= {f"output {p.name}": p.data for p in raw.outputs}
    for module, layer in model.params.items():
        kept |= {f"parameter {module} {k}": np.array(v) for k, v in layer.items()}
    kept["loss"] = loss(model, feedback)
    losses, times = train(model, feedback, repeats + 1)
    lengths = raw.features.lengths
    np.savez(out, lengths=lengths, init=init, losses=losses, times=times, **kept)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
