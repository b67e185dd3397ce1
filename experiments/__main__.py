"""`python -m experiments`: the eight systems, their runs and their benchmarks."""

import ast
import errno
import importlib
import inspect
import os
import signal
import sys
import time

from experiments import arguments, systems
from fl_jax.core import errors
from fl_jax.train import allocator
from privacy.accounting.errors import PrivacyError

REFUSALS = (errors.ConfigError, errors.DataError, PrivacyError)  # sentences for the user


def main(argv: list[str]) -> int:
    """Runs one command; returns its exit status."""
    try:
        try:
            return dispatch(argv)
        finally:  # --help ends in SystemExit
            sys.stdout.flush()  # what is still in the buffer may find no reader either
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except REFUSALS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as error:
        if error.errno != errno.ENOSPC:
            if error.filename is None:
                raise
            print(f"error: {error.strerror}: {error.filename}", file=sys.stderr)
            return 1
        print(
            f"error: the disk is full ({error.filename or 'while writing the run'}); make room and"
            " go on with --resume, nothing that was saved is lost.",
            file=sys.stderr,
        )
        return 1


def dispatch(argv: list[str]) -> int:
    """What the first word asks for."""
    if not argv or argv[0] in ("-h", "--help"):
        if argv:
            print(arguments.USAGE)
        print(systems.table())
        return 0
    if argv[0] == "bench":
        return bench(argv[1:])
    return run(argv[0], argv[1:])


def run(name: str, argv: list[str]) -> int:
    """`python -m experiments NAME ...`"""
    settings = systems.module(name, "config")
    commands = getattr(settings, "COMMANDS", {})
    if argv and argv[0] in commands:
        return getattr(systems.module(name, "commands"), argv[0])(argv[1:])
    presets = settings.PRESETS
    asked = arguments.parse(name, presets, argv, commands)
    asked.config.check()

    from experiments import result
    from fl_jax.train import launch  # from here on JAX is there

    launch.initialize()
    directory = result.RunDirectory.open(name, asked.preset, asked.config, asked.out, asked.resume)
    experiment = systems.module(name, "run")
    directory.write_config()
    start = time.perf_counter()
    try:
        outcome = experiment.run(asked.config, directory, resume=asked.resume)
    except REFUSALS:
        if not asked.resume:
            directory.refused()  # or the same --out would be taken for a run
        raise
    # What the calls before a resumed one took is not known.
    directory.write_result(outcome, None if asked.resume else time.perf_counter() - start)
    if not result.first_process():
        return 0
    text = systems.module(name, "report").report(outcome, directory)
    print(text)
    print(f"\nreport, plots and checkpoints: {directory.path}")
    return 0


def bench(argv: list[str]) -> int:
    """`python -m experiments bench NAME`, for some with settings of their own behind the name"""
    docs = _benchmarks()
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, docs))
        for name, doc in docs.items():
            first = doc.splitlines()[0].removeprefix(f"`python -m experiments bench {name}`: ")
            print(f"{name:{width}}  {first[:1].upper()}{first[1:]}")
        return 0
    name = errors.one_of("benchmark", argv[0], docs)
    if argv[1:] and argv[1] in ("-h", "--help"):
        print(docs[name])
        return 0
    run_bench = importlib.import_module(f"experiments.bench.{name}").main
    if inspect.signature(run_bench).parameters:
        run_bench(argv[1:])
    elif argv[1:]:
        raise errors.ConfigError(f"bench {name} takes no settings, got {' '.join(argv[1:])}.")
    else:
        run_bench()
    return 0


def _benchmarks() -> dict[str, str]:
    """Name -> what its file says of it; nothing is imported. Files without `main` serve these."""
    found = {}
    for path in sorted((systems.HERE / "bench").glob("*.py")):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = ast.get_docstring(tree) or ""
    return found


if __name__ == "__main__":
    allocator.keep_memory()
    sys.exit(main(sys.argv[1:]))
