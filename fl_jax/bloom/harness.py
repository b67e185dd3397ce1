"""BLOOM under lm-evaluation-harness: its three types of request, answered in batches."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import beam, generate, layout, loss, score, stops
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.core.types import PyTree
from fl_jax.nn.beams import Search


class Harness:
    """What the harness asks of a model; `make` gives it as the class that it checks for.

    A request has `args`: (context, continuation), (text,), or (context, {"until": [...],
    "max_gen_toks": n, ...}). Texts become tokens as under the harness's own `hf` model, so that
    scores compare.

    Args:
        params, config, tokenizer: the model.
        batch: sequences at once.
        seed: of what is drawn, where a request asks for `do_sample`.
        prefix: the token that stands before a text without a context; `<s>` by default, which is
            what `hf` takes. A model trained here has only seen `</s>` there.
    """

    def __init__(
        self,
        params: PyTree,
        config: Config,
        tokenizer,
        *,
        batch: int = 16,
        prefix: int | None = None,
        seed: int = 0,
    ):
        super().__init__()  # the harness's own attributes, where it is a base
        self.params, self.config, self.tokenizer, self.batch = params, config, tokenizer, batch
        self.prefix, self.seed = config.bos if prefix is None else prefix, seed

    @functools.cached_property
    def ready(self) -> layout.Ready:
        """The parameters as generation reads them, laid out when it is first asked for."""
        return layout.ready(self.params, self.config)

    def loglikelihood(self, requests) -> list[tuple[float, bool]]:
        """(log p(continuation | context), whether greedy decoding would produce it).

        Where both are too long, the context loses its beginning.

        Raises:
            DataError: a continuation that is too long, or that adds no token to its context;
                likelihoods that are NaN.
        """
        length, pieces = self.config.length, []
        for request in requests:
            before, answer = self._pair(*request.args)
            if not 0 < len(answer) <= length:
                raise errors.DataError(
                    f"a continuation must add 1 to {length} tokens to its context, but"
                    f" {request.args[1]!r:.60} adds {len(answer)}."
                )
            kept = before[-(length + 1 - len(answer)) :]
            pieces.append(score.Window(0, [*kept, *answer], len(kept)))
        sums, greedy = np.zeros(len(pieces)), np.zeros(len(pieces), bool)
        for some, tokens in score.batches(pieces, length, self.batch):
            given = jnp.asarray(tokens)
            found = np.asarray(loss.log_likelihoods(self.params, self.config, given), np.float64)
            best = np.asarray(loss.likeliest(self.params, self.config, given)) == tokens[:, 1:]
            for row, i in enumerate(some):
                own = slice(pieces[i].first - 1, len(pieces[i].tokens) - 1)
                sums[i], greedy[i] = found[row, own].sum(), best[row, own].all()
        score.check_likelihoods(sums)
        return list(zip(sums.tolist(), greedy.tolist(), strict=True))

    def _pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The tokens of both [lm-evaluation-harness, `TemplateLM._encode_pair`]: spaces between
        them belong to the continuation, whose tokens are what both together have more."""
        before = self.tokenizer.encode(context.rstrip())
        answer = self.tokenizer.encode(context + continuation)[len(before) :]
        return before or [self.prefix], answer

    def loglikelihood_rolling(self, requests) -> list[float]:
        """log p of whole texts behind the prefix, in windows that share a token, the last full.

        Raises:
            DataError: likelihoods that are NaN.
        """
        length, pieces = self.config.length, []
        for number, request in enumerate(requests):
            ids = [self.prefix, *self.tokenizer.encode(request.args[0])]
            pieces += score.windows(number, ids, length, length)
        found = score.sequence_scores(
            self.params, self.config, pieces, length=length, batch=self.batch
        )
        sums = np.zeros(len(requests))
        np.add.at(sums, [piece.text for piece in pieces], found)
        score.check_likelihoods(sums)
        return sums.tolist()

    def generate_until(self, requests) -> list[str]:
        """Texts that continue the contexts, up to the first of the stops, where a row ends.

        Greedy, unless a request says `num_beams`, or `do_sample`: then by its temperature (1),
        top_k, top_p, min_p and typical_p. The rules of transformers hold for each of them. A
        context that is too long loses its beginning, whatever other requests ask for.

        Raises:
            ConfigError: max_gen_toks that leave no room for a prompt, beams that are to draw, or
                an option that would change the text and is not known here.
            DataError: logits that are NaN.
        """
        kinds = [_kind(request.args[1]) for request in requests]
        prompts = []
        for request, kind in zip(requests, kinds, strict=True):
            room = self.config.length - kind.count
            if room < 1:
                raise errors.ConfigError(
                    f"max_gen_toks {kind.count} leaves no room for a prompt in {self.config.length}"
                    " tokens; ask for fewer."
                )
            prompts.append((self.tokenizer.encode(request.args[0]) or [self.prefix])[-room:])
        out = [""] * len(requests)
        for kind in dict.fromkeys(kinds):
            # Alike in length, since a batch is as wide as its longest.
            own = [i for i, other in enumerate(kinds) if other == kind]
            own.sort(key=lambda i: -len(prompts[i]))
            until, vocab = kind.until, self.config.vocab
            stop = stops.of_texts(until, self.tokenizer, vocab) if until else None
            for start in range(0, len(own), self.batch):
                some = own[start : start + self.batch]
                made = self._continue([prompts[i] for i in some], kind, stop, first=some[0])
                for i, row in zip(some, made, strict=True):
                    out[i] = self.tokenizer.decode(row)
                    for text in until:
                        out[i] = out[i].partition(text)[0]
        return out

    def _continue(self, prompts, kind, stop, first) -> np.ndarray:
        """(prompts, count) tokens; `first`, of the requests, tells the batches' draws apart."""
        tokens, mask = generate.pad_left(prompts, self.config.pad, multiple=64)
        given, count = (self.ready, self.config, tokens, mask), kind.count
        if kind.search is not None:
            asked = {"by": kind.search, "rules": kind.sampling}
            made = beam.search(*given, count=count, stop=stop, **asked)[0][:, 0]
        else:
            key = jax.random.fold_in(jax.random.key(self.seed), first)
            asked = {"sampling": kind.sampling, "key": key}
            made = generate.generate(*given, count=count, stop=stop, **asked)
        made = np.asarray(made)
        generate.check_drawn(made)
        return made


class _Kind(NamedTuple):
    """What a request asks for beside its context."""

    count: int
    sampling: generate.Sampling
    search: Search | None
    until: tuple[str, ...]


_RULES = {"repetition_penalty": "repetition_penalty", "no_repeat_ngram_size": "no_repeat",
          "min_new_tokens": "least"}  # fmt: skip
_DRAWS = ("temperature", "top_k", "top_p", "min_p", "typical_p")
_BEAMS = ("num_beams", "length_penalty", "early_stopping")
_KNOWN = ("until", "max_gen_toks", "do_sample", *_DRAWS, *_RULES, *_BEAMS)
_NEUTRAL = (None, False, 1)  # of options that are not known here, as num_return_sequences


def _kind(options) -> _Kind:
    """The options of one request, which are transformers'."""
    given = {name: value for name, value in options.items() if value is not None}
    other = [name for name in given if name not in _KNOWN and given[name] not in _NEUTRAL]
    if other:
        raise errors.ConfigError(
            f"this adapter does not know {', '.join(other)}, only {', '.join(_KNOWN)}; change the"
            " task's generation_kwargs."
        )
    rules = {ours: given[name] for name, ours in _RULES.items() if name in given}
    width, drawn = given.get("num_beams", 1), bool(given.get("do_sample"))
    if drawn:
        rules |= {"temperature": 1.0} | {name: given[name] for name in _DRAWS if name in given}
    search = None
    if width != 1:
        if drawn:
            raise errors.ConfigError(
                f"num_beams {width} with do_sample would draw beams, which is not done here; ask"
                " for one of them."
            )
        search = Search(width, **{name: given[name] for name in _BEAMS[1:] if name in given})
    return _Kind(int(given.get("max_gen_toks", 256)), generate.Sampling(**rules), search,
                 _until(given.get("until") or ()))  # fmt: skip


def _until(until) -> tuple[str, ...]:
    """`until` may be one text, several, or nothing."""
    return (until,) if isinstance(until, str) else tuple(stop for stop in until if stop)


def make(params: PyTree, config: Config, tokenizer, **settings):
    """The model as an `lm_eval.api.model.LM`, for `lm_eval.simple_evaluate(model=...)`; arguments
    and settings as for `Harness`.

    Raises:
        ConfigError: lm-evaluation-harness is not installed.
    """
    try:
        from lm_eval.api.model import LM
    except ModuleNotFoundError:
        raise errors.ConfigError(
            "lm-evaluation-harness is not installed; install the package lm-eval."
        ) from None
    return type("BloomLM", (Harness, LM), {})(params, config, tokenizer, **settings)
