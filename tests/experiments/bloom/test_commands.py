"""`python -m experiments bloom convert` and `generate`, and what they refuse."""

import jax
import numpy as np

from experiments import __main__ as experiments
from fl_jax import bloom
from fl_jax.bloom import generate, lora, texts
from fl_jax.data import bpe, safetensors
from fl_jax.nn.beams import Search


def test_convert_changes_dtype_and_sharding(tmp_path, capsys):
    config = bloom.Config(vocab=32, hidden=24, layers=2, heads=6)
    params = bloom.init(jax.random.key(0), config)
    source, target = tmp_path / "a", tmp_path / "b"
    bloom.save_hf(source, params, config)
    (source / "tokenizer.json").write_text("{}")
    words = ["bloom", "convert", str(source), str(target), "--dtype", "bfloat16"]
    assert experiments.main([*words, "--shard-bytes", "4000"]) == 0
    assert f"{config.parameters:,} parameters" in capsys.readouterr().out
    assert len(list(target.glob("*.safetensors"))) > 1
    assert (target / "tokenizer.json").is_file()
    again, _ = bloom.load_hf(target)
    wanted = np.asarray(params["embedding"]["table"].astype("bfloat16"))
    np.testing.assert_array_equal(np.asarray(again["embedding"]["table"]), wanted)
    assert len(safetensors.files(target)) == 29


def test_what_cannot_be_converted(tmp_path, capsys):
    same = ["bloom", "convert", str(tmp_path), str(tmp_path)]
    assert experiments.main(same) == 2
    assert "source and target are one folder" in capsys.readouterr().err
    assert experiments.main(["bloom", "convert", str(tmp_path), str(tmp_path / "b")]) == 2
    assert "has no config.json" in capsys.readouterr().err
    assert experiments.main([*same, "--nonsense"]) == 2
    assert "could not be read from '--nonsense'" in capsys.readouterr().err


def test_generate_continues_prompts(tmp_path, capsys):
    words = bpe.train(bpe.count({"x": ["The cat sat on the mat."]}), 290)
    config = bloom.Config(vocab=290, hidden=24, layers=1, heads=2, eos=2)
    params = bloom.init(jax.random.key(0), config)
    bloom.save_hf(tmp_path, params, config)
    words.save(tmp_path / "tokenizer.json")
    command = ["bloom", "generate", str(tmp_path), "The cat", "on", "--count", "4"]
    assert experiments.main(command) == 0
    first, second, _ = capsys.readouterr().out.split("\n\n")
    wanted = texts.complete(params, config, words, ["The cat", "on"], count=4)
    assert (first, second) == ("The cat" + wanted[0], "on" + wanted[1])
    rules = generate.Sampling(repetition_penalty=1.5, no_repeat=2, least=3)
    wanted = texts.complete(params, config, words, ["The cat", "on"], count=4, sampling=rules)
    more = ["--repetition-penalty", "1.5", "--no-repeat", "2", "--least", "3"]
    assert experiments.main([*command, *more]) == 0
    first, second, _ = capsys.readouterr().out.split("\n\n")
    assert (first, second) == ("The cat" + wanted[0], "on" + wanted[1])
    adapters = lora.init(jax.random.key(1), config, rank=2)
    adapters = jax.tree.map(lambda a: a + 0.3, adapters)
    bloom.save_peft(tmp_path / "adapter", adapters, config, alpha=4)
    wanted = texts.complete(
        lora.merge(params, adapters, alpha=4), config, words, ["The cat", "on"], count=4
    )
    assert experiments.main([*command, "--adapter", str(tmp_path / "adapter")]) == 0
    first, second, _ = capsys.readouterr().out.split("\n\n")
    assert (first, second) == ("The cat" + wanted[0], "on" + wanted[1])
    searched = ["--beams", "3", "--length-penalty", "0.5", "--early-stopping", "never"]
    more = ["--samples", "2", "--stop", "a", "--stop", "o", "--likelihoods"]
    assert experiments.main([*command, *searched, *more]) == 0
    wanted = texts.answers(
        params, config, words, ["The cat", "on"],
        count=4, search=Search(3, 0.5, "never"), samples=2, stop=["a", "o"],
    )  # fmt: skip
    shown = [
        f"[{answer.score:.4g}] {prompt}{answer.text}"
        for prompt, answers in zip(["The cat", "on"], wanted, strict=True)
        for answer in answers
    ]
    assert capsys.readouterr().out.split("\n\n")[:-1] == shown
    assert experiments.main([*command, "--length-penalty", "2"]) == 2
    assert "are of a search" in capsys.readouterr().err
    assert experiments.main([*command, "--beams", "2", "--early-stopping", "maybe"]) == 2
    assert "Known: no, yes, never" in capsys.readouterr().err
    assert experiments.main([*command, "--beams", "2", "--temperature", "1"]) == 2
    assert "a search by beams draws nothing" in capsys.readouterr().err
    assert experiments.main([*command[:-1], "0"]) == 2
    assert "count must be above 0" in capsys.readouterr().err
    assert experiments.main([*command, "--top-p", "0.9", "--min-p", "0.1"]) == 2
    assert "--top-p, --min-p would change nothing at temperature 0" in capsys.readouterr().err
    assert experiments.main([*command, "--top-p", "0", "--temperature", "1"]) == 2
    assert "top_p must be above 0" in capsys.readouterr().err
    assert experiments.main([*command, "--dtype", "float64"]) == 2
    assert "Known: float32, bfloat16" in capsys.readouterr().err
    (tmp_path / "tokenizer.json").unlink()
    assert experiments.main(command) == 2
    assert "tokenizer.json" in capsys.readouterr().err


def test_no_devices_are_no_plan(capsys):
    assert experiments.main(["bloom", "plan", "560m", "--devices", "0"]) == 2
    assert "devices must be above 0, got 0" in capsys.readouterr().err
