"""BLOOM [arXiv 2211.05100] and BLOOMZ [arXiv 2211.01786]: train, fine-tune, convert, generate.

`load_hf`, `save_hf`, `load_peft`, `save_peft` and `apply` are the names that stay; everything
else is in the modules.
"""

_PUBLIC = {
    "Config": "config",
    "apply": "model",
    "init": "model",
    "load_hf": "convert",
    "load_peft": "peft",
    "save_hf": "convert",
    "save_peft": "peft",
}

__all__ = ["Config", "apply", "init", "load_hf", "load_peft", "save_hf", "save_peft"]


def __getattr__(name: str):
    """Imports the module behind a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fl_jax.bloom' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"fl_jax.bloom.{_PUBLIC[name]}"), name)
