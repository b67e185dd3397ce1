"""Options are compared at equal settings: the fields that differ, and the table."""

import dataclasses

import pytest

from experiments import result
from experiments.clrs import config, options, task
from fl_jax.core import errors


def test_every_option_is_one_setting_away_from_the_plain_network():
    assert options.VARIANTS["plain"] == {}
    plain = task.model(config.BRIEF)
    for variant, fields in options.VARIANTS.items():
        changed = task.model(dataclasses.replace(config.BRIEF, **fields))
        differ = {k for k, v in vars(changed).items() if v != vars(plain)[k]}
        assert differ == set(fields)
        assert options.words(variant).count("--") == len(fields)


def test_the_table_shows_scores_their_mean_and_what_they_cost():
    row = {"stage": "test", "seed": 0, "n": 64, "task": "bfs", "score": 0.5}
    other = {**row, "task": "minimum", "score": 1.0}
    deciding = [{**r, "own_stop": 0.25, "in_time": 0.125} for r in (row, other)]
    found = [
        {"variant": "plain", "cpu": 12.4, "rows": [row, other]},
        {"variant": "learned stop", "cpu": None, "rows": deciding},
    ]
    lines = options.table(found).splitlines()
    assert lines[0] == "| network | bfs, n = 64 | minimum, n = 64 | mean | CPU-s of training |"
    assert lines[2:] == [
        "| plain | 50.00 | 100.00 | 75.00 | 12 |",
        "| learned stop | 50.00 | 100.00 | 75.00 |  |",
        "| learned stop, deciding itself | 25.00 | 25.00 | 25.00 |  |",
        "| learned stop, stopped in time | 12.50 | 12.50 | 12.50 |  |",
    ]


def test_what_other_settings_found_is_not_shown(tmp_path):
    """Rounds of today beside the table of yesterday."""
    base = dataclasses.replace(config.BRIEF, rounds=3)
    folder = tmp_path / "plain"
    directory = result.RunDirectory.open("clrs", "brief", base, str(folder), False)
    directory.write_config()
    found = {"variant": "plain", "cpu": 1.0, "rows": []}
    directory.write_json("options.json", found)
    assert options.measure(base, "plain", tmp_path) == found
    with pytest.raises(errors.ConfigError, match="rounds is 5 but was 3"):
        options.measure(dataclasses.replace(base, rounds=5), "plain", tmp_path)
