"""BLOOM: A 176B-Parameter Open-Access Multilingual Language Model [arXiv 2211.05100]; and
Crosslingual Generalization through Multitask Finetuning, BLOOMZ [arXiv 2211.01786].

    python -m experiments bloom                    about 10 minutes on two idle cores
    python -m experiments bloom --preset smoke     seconds
    python -m experiments bloom convert FOLDER OUT [--dtype bfloat16] [--shard-bytes N]
    python -m experiments bloom generate FOLDER PROMPT ... [--count 64] [--temperature 0.7]
    python -m experiments bloom plan 176b --devices 384 --fsdp 16 --tensor 8 --batch 48

What is expected is in RESULTS.md beside this file.
"""

import dataclasses

from experiments import ranges
from fl_jax.core import errors

DTYPES = ("float32", "bfloat16")  # to compute in; for float64 JAX would take float32 in silence


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked):
    """One run: tokenizer, pretraining, evaluation, federated adapters, fine-tuning twice."""

    seed: int = 0
    vocab: int = 4096  # tokens of the tokenizer, and rows of the embedding
    tokenizer_alpha: float = 0.5  # languages count as n^alpha when the tokenizer is trained
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    length: int = 256
    dtype: str = "float32"
    batch: int = 16  # sequences of a pretraining step
    ramp_start: int = 0  # sequences of the first steps, which grow to a batch; 0: a batch at once
    ramp_step: int = 32  # sequences that they grow by
    ramp: int = 9_765_625  # samples over which they grow
    steps: int = 500
    rate: float = 2e-3  # peak; the published 560m has 3e-4
    final_rate: float = 2e-4  # where the cosine ends
    warmup: int = 480  # samples
    decay: int = 0  # samples at which the cosine ends; 0: those of all steps
    optimizer: str = "adamw"  # adamw or muon
    micro_batches: int = 1
    mixture_alpha: float = 0.4  # languages get the published ratio ^ alpha; 1 = as published
    finetune_steps: int = 120
    finetune_batch: int = 8  # rows of a step
    finetune_length: int = 512  # tokens of a packed row of prompted examples
    finetune_rate: float = 5e-4  # the published one is 2e-5
    per_task: int = 600  # prompted examples of a task, at most
    questions: int = 100  # of a held-out task, at most
    text_bytes: int = 400_000  # of a language for the tokenizer, with the text that goes beyond
    rounds: int = 15  # of federated fine-tuning, one client for each language never seen
    lora_rank: int = 8  # of the clients' adapters, on every matrix
    client_rate: float = 5e-3  # Adam, afresh in each round
    client_rows: int = 16  # that a client has, at most
    client_length: int = 128  # tokens of such a row
    plan: str = "scan"  # how clients run: vmap, scan or chunk:K (fl_jax.train.cohort)
    stride: int = 20  # steps between two rows of metrics.jsonl
    save_every: int = 200
    data: int = 1  # mesh: examples
    fsdp: int = 1  # mesh: examples and parameters
    tensor: int = 1  # mesh: heads, MLP, vocabulary

    RANGES = ranges.Ranges(
        positive=(
            "vocab", "hidden", "layers", "heads", "length", "batch", "ramp_step", "ramp",
            "steps", "rate", "micro_batches", "finetune_steps", "finetune_batch",
            "finetune_length", "finetune_rate", "per_task", "questions", "text_bytes", "rounds",
            "lora_rank", "client_rate", "client_rows", "client_length", "stride", "save_every",
        ),
        share=("mixture_alpha", "tokenizer_alpha"),
        signed=("data", "fsdp", "tensor"),
    )  # fmt: skip

    def check(self) -> None:
        """Refuses numbers out of range, steps that the stride does not meet, a plan, a model or a
        recipe that is none, and micro-batches or devices that do not divide a batch: those of
        fine-tuning would end a run that has trained for long.

        Raises:
            ConfigError: then.
        """
        super().check()
        if self.steps % self.stride:
            raise errors.ConfigError(
                f"{self.steps} steps are no multiple of stride {self.stride}; change one."
            )
        from experiments.bloom import stages  # imports JAX
        from fl_jax.train import cohort

        cohort.Plan.parse(self.plan)
        rows = self.micro_batches * abs(self.data * self.fsdp)
        batches = {"batch": self.batch, "finetune_batch": self.finetune_batch}
        if self.ramp_start:
            batches |= {"ramp_start": self.ramp_start, "ramp_step": self.ramp_step}
        for name, size in batches.items():
            if rows and size % rows:
                raise errors.ConfigError(
                    f"{name} of {size} sequences is no multiple of {rows}, micro_batches x data x"
                    " fsdp; change one."
                )
        errors.one_of("dtype", self.dtype, DTYPES)
        stages.model_config(self)
        stages.pretraining(self)
        stages.finetuning(self)


SMOKE = Config(
    vocab=512, hidden=48, layers=2, length=256, batch=4, steps=8, stride=4, warmup=8,
    finetune_steps=4, finetune_batch=2, per_task=24, questions=8, text_bytes=20_000,
    save_every=4, rounds=2, client_rows=4, client_length=64,
)  # fmt: skip
SMALL = Config()
# BLOOM-560m: 341 billion tokens, then BLOOMZ's 13 billion; the rates and batches of its recipes.
PAPER = Config(
    vocab=250_880, hidden=1024, layers=24, heads=16, length=2048, dtype="bfloat16", batch=256,
    ramp_start=192, steps=659_500, rate=3e-4, final_rate=1e-5, warmup=183_105, decay=200_000_000,
    mixture_alpha=1.0, finetune_steps=6_200, finetune_batch=1024, finetune_rate=2e-5,
    finetune_length=2048, client_length=2048, tokenizer_alpha=0.3, per_task=100_000, stride=100,
    save_every=1000, text_bytes=10**9, micro_batches=8, data=-1,
)  # fmt: skip

PRESETS = {"smoke": SMOKE, "small": SMALL, "paper": PAPER}
COMMANDS = {
    "convert": "an HF checkpoint to another dtype or sharding, through this package",
    "generate": "texts that continue prompts, from an HF checkpoint with its tokenizer.json",
    "plan": "what one step takes of each device, compiled without weights",
}
