"""The shape of the tree: tests mirror it, files stay short, everything public is documented."""

import ast
import doctest
import importlib
import inspect
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("fl_jax", "algorithmic", "privacy", "experiments")
FILES = sorted(
    p
    for package in PACKAGES
    for p in (ROOT / package).rglob("*.py")
    if "peers" not in p.parts[:-1] and p.name != "__init__.py"
)
# Run end to end by tests/experiments/test___main__.py, or by hand: they have no test of their own.
RUN_WHOLE = re.compile(r"experiments/(\w+/(config|run|report|stages|summary|task)|bench/\w+)\.py")
# Tested through what they are parts of: a pattern of modules, and the test that runs them.
TESTED_BY = {
    r"experiments/membership/(attacks|audits|effects|lab|online)": (
        "experiments/membership/test_run.py"
    ),
    r"experiments/backdoor/words_config": "experiments/backdoor/test_words_task.py",
    r"algorithmic/clrs/(traces/\w+|specs|inputs)": "algorithmic/clrs/test_trajectory.py",
    r"algorithmic/clrs/solutions/\w+": "algorithmic/clrs/test_valid.py",
    r"algorithmic/clrs/(decoders|encoders|initial|lanes|layout|losses|processors)": (
        "algorithmic/clrs/test_net.py"
    ),
    r"algorithmic/clrs/sparse/(evaluate|processors|segments)": (
        "algorithmic/clrs/sparse/test_net.py"
    ),
    r"algorithmic/disks/(hand|kinetics|surface)": "algorithmic/disks/test_chemistry.py",
    r"algorithmic/disks/species": "algorithmic/disks/test_readers.py",
    r"algorithmic/disks/(ionisation|model|shielding)": "algorithmic/disks/test_radiation.py",
    r"algorithmic/disks/table": "algorithmic/disks/test_population.py",
    r"algorithmic/disks/(conformal|mlp|quantile|validation)": "algorithmic/disks/test_emulator.py",
    r"algorithmic/disks/(broadcast|constants|images|lamda|tracer)": (
        "algorithmic/disks/test_lines.py"
    ),
    r"algorithmic/disks/forward": "algorithmic/disks/test_retrieval.py",
    r"algorithmic/disks/adapters/\w+": "algorithmic/disks/test_adapters.py",
    r"experiments/disks/(calibration|heldout|observation)": "experiments/disks/test_task.py",
    r"algorithmic/neighbors/(brute|buckets|distance|ranking|sharded|tree|wide)": (
        "algorithmic/neighbors/test_search.py"
    ),
    r"fl_jax/bloom/config": "bloom/test_model.py",
    r"fl_jax/federated/checks": "federated/test_round.py",
    r"fl_jax/geocoding/embedded": "geocoding/test_gazetteer.py",
    r"fl_jax/geocoding/settings": "geocoding/test_train.py",
    r"fl_jax/geocoding/service/\w+": "geocoding/service/test_app.py",
    r"fl_jax/t5/config": "t5/test_model.py",
    r"fl_jax/core/dtypes": "nn/test_attention.py",
    r"fl_jax/nn/winograd": "nn/test_conv.py",
}
NAMES = [str(p.relative_to(ROOT)) for p in FILES]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_has_its_test(name):
    if RUN_WHOLE.fullmatch(name):
        return
    through = [t for k, t in TESTED_BY.items() if re.fullmatch(k + r"\.py", name)]
    path = pathlib.Path(name.removeprefix("fl_jax/"))
    if through:
        assert (ROOT / "tests" / through[0]).is_file()
        return
    assert (ROOT / "tests" / path.parent / f"test_{path.name}").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_one_idea(name):
    assert len((ROOT / name).read_text().splitlines()) <= 600
    assert pathlib.Path(name).name not in {"utils.py", "helpers.py", "misc.py", "common.py"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_public_is_documented(name):
    tree = ast.parse((ROOT / name).read_text())
    assert ast.get_docstring(tree), "a module says what it is"
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
        if public and not name.startswith("experiments"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def modules_with_examples():
    for path, name in zip(FILES, NAMES, strict=True):
        if ">>>" in path.read_text():
            yield name.removesuffix(".py").replace("/", ".")


@pytest.mark.parametrize("module", sorted(modules_with_examples()))
def test_examples_in_docstrings_run(module):
    found = importlib.import_module(module)
    assert inspect.ismodule(found)
    failed, tried = doctest.testmod(
        found, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert tried > 0
    assert failed == 0


def test_examples_in_the_readme_run():
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_the_lock_is_hashed_and_names_no_address():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert not re.search(r"^\s*--(?!hash=)", lock, flags=re.MULTILINE)  # no option but hashes
    pinned = re.findall(r"^([a-z0-9][\w.-]*)==", lock, flags=re.MULTILINE)
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)
    for needed in ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets"):
        assert needed in pinned
    assert not {"tensorflow", "torch"} & set(pinned)


def test_no_file_is_large():
    # the folders of the layout and what lies beside them; runs and environments are elsewhere
    folders = [ROOT / name for name in (*PACKAGES, "tests", ".ci")]
    files = [
        p for p in (*ROOT.iterdir(), *(p for f in folders for p in f.rglob("*"))) if p.is_file()
    ]
    assert len(files) > 100
    for path in files:
        assert path.stat().st_size < 2**20, f"{path.relative_to(ROOT)} is over 1 MiB"
