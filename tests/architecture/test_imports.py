"""The direction of imports, held by a walk over the tree."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("fl_jax", "algorithmic", "privacy", "experiments")
PEERS = ROOT / "experiments" / "bench" / "peers"  # run by the peers' own interpreters
FILES = sorted(
    p for package in PACKAGES for p in (ROOT / package).rglob("*.py") if PEERS not in p.parents
)

# What each layer may import, itself apart. A longer prefix is the more exact rule.
FLOOR = ("fl_jax.core", "fl_jax.train", "fl_jax.data", "fl_jax.nn")
ALLOWED = {
    "fl_jax": (),
    "fl_jax.core": (),
    "fl_jax.train": ("fl_jax.core",),
    "fl_jax.data": ("fl_jax.core",),
    "fl_jax.nn": ("fl_jax.core",),
    "fl_jax.federated": FLOOR,
    "fl_jax.bloom": FLOOR,
    "fl_jax.t5": FLOOR,
    "fl_jax.geocoding": (*FLOOR, "fl_jax.t5"),
    "algorithmic": (),
    "algorithmic.clrs": FLOOR,
    "algorithmic.neighbors": FLOOR,
    "algorithmic.disks": (*FLOOR, "algorithmic.neighbors"),
    "privacy": (),
    "privacy.membership": (*FLOOR, "fl_jax.federated", "fl_jax.bloom"),
    "privacy.leakage": (*FLOOR, "fl_jax.federated"),
    "privacy.shuffle": (*FLOOR, "fl_jax.federated", "privacy.accounting"),
    "privacy.accounting": (),
    "privacy.factorization": ("privacy.accounting",),
    "experiments": ("fl_jax", "algorithmic", "privacy"),
}
NEVER = {"pickle", "cloudpickle", "dill", "joblib", "tensorflow", "torch", "haiku", "yaml"}
LAZY = {"matplotlib", "sklearn", "tensorflow_datasets", "orbax", "tyro", "tokenizers", "starlette"}


def layer(name: str) -> str:
    return max((k for k in ALLOWED if name == k or name.startswith(k + ".")), key=len)


def modules(tree: ast.AST):
    """(module name, stands at the top level) of every import."""
    top = set(ast.iter_child_nodes(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node in top


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_flow_downwards(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    own = layer(name)
    for imported, top in modules(ast.parse(path.read_text())):
        root = imported.partition(".")[0]
        assert root not in NEVER, f"{imported} has no place here"
        assert not (top and root in LAZY), f"{imported} is heavy: import it where it is used"
        if root in PACKAGES:
            target = layer(imported)
            allowed = (own, *ALLOWED[own])
            assert any(target == a or target.startswith(a + ".") for a in allowed), (
                f"{name} may not import {imported}; {own} stands on {ALLOWED[own]}"
            )
        assert not imported.startswith(("jax._src", "jax.interpreters")), imported


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_evaluated_or_unpickled(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec"}, f"{called} on line {node.lineno}"
            assert not any(
                k.arg == "allow_pickle" and getattr(k.value, "value", True) for k in node.keywords
            )


def test_importing_the_packages_imports_no_jax():
    code = (
        "import sys, fl_jax, algorithmic, privacy, experiments\n"
        "print([m for m in ('jax', 'numpy', 'scipy', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_every_module_leaves_heavy_packages_alone():
    code = "import importlib, sys\n" + "".join(
        f"importlib.import_module({m!r})\n"
        for m in ("fl_jax.train.loop", "fl_jax.train.checkpoint", "fl_jax.federated.round")
    )
    code += f"print([m for m in {sorted(NEVER | LAZY)} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # what flax and JAX bring by themselves is not ours to keep out
    left = set(ast.literal_eval(done.stdout)) - {"yaml", "orbax", "pickle", "cloudpickle"}
    assert not left
