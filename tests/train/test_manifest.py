import json

import pytest

from fl_jax.train import manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "data").write_bytes(bytes(range(64)))
    (tmp_path / "empty").write_bytes(b"")
    manifest.write(tmp_path, {"step": 3, "metadata": {"loss": 0.1, "text": "ü"}})
    return tmp_path


def test_reads_what_was_written(folder):
    body = manifest.read(folder)
    manifest.verify(folder, body)
    assert body["step"] == 3
    assert body["metadata"] == {"loss": 0.1, "text": "ü"}
    assert body["schema"] == manifest.SCHEMA
    assert body["files"].keys() == {"deep/data", "empty"}
    assert body["files"]["deep/data"]["bytes"] == 64
    assert [p.name for p in folder.iterdir() if p.suffix == ".tmp"] == []


def test_a_flipped_bit_is_found_wherever_it_is(folder):
    for name in (manifest.NAME, "deep/data"):
        path = folder / name
        whole = path.read_bytes()
        for bit in range(0, 8 * len(whole), 7):  # in every byte one, and each of the eight
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            with pytest.raises(manifest.Damaged):
                manifest.verify(folder, manifest.read(folder))
        path.write_bytes(whole)
    manifest.verify(folder, manifest.read(folder))


def test_lengths_and_absences_are_told(folder):
    path = folder / "deep" / "data"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(manifest.Damaged, match="deep/data has 63 bytes instead of 64"):
        manifest.verify(folder, manifest.read(folder))
    path.unlink()
    with pytest.raises(manifest.Damaged, match="deep/data cannot be read"):
        manifest.verify(folder, manifest.read(folder))
    (folder / manifest.NAME).unlink()
    with pytest.raises(manifest.Damaged, match="cannot be read"):
        manifest.read(folder)


@pytest.mark.parametrize("text", ["", "[]", "1", '"x"', "{}", "[" * 100_000, "\0", "{'a': 1}"])
def test_anything_else_is_no_manifest(folder, text):
    (folder / manifest.NAME).write_text(text)
    with pytest.raises(manifest.Damaged, match="was changed"):
        manifest.read(folder)


def test_another_schema_is_refused(folder, monkeypatch):
    monkeypatch.setattr(manifest, "SCHEMA", 2)
    with pytest.raises(manifest.Damaged, match="follows schema 1, this version reads schema 2"):
        manifest.read(folder)


def test_is_json(folder):
    assert json.loads((folder / manifest.NAME).read_text())["step"] == 3
