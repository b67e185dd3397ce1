import dataclasses

import numpy as np

from experiments.leakage import config, pictures, task


def test_an_image_is_read_off_a_round(tmp_path):
    made = task.make("digits")
    settings = dataclasses.replace(config.SMOKE, inversion_steps=60)
    rows = list(pictures.run(settings, made, tmp_path))
    assert [row["name"] for row in rows] == [
        "DLG, batch 1",
        "cosine + TV, batch 1",
        "cosine + TV, batch 2",
    ]
    assert rows[0]["labels"] == 1.0
    assert min(rows[0]["psnr"]) > 12
    with np.load(tmp_path / "inversion.npz") as file:
        truth, found = file["DLG, batch 1"]
    assert truth.shape == found.shape == (4, 8, 8, 1)
    table = made._replace(x=np.zeros((len(made.y), 5), np.float32))
    assert not list(pictures.run(settings, table, tmp_path))  # nothing to look at
