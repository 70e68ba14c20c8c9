"""Workers share what each would do for all modules in a fresh clone: rewriting assertions, finding constants.

Neither pytest nor hypothesis has a public name for it; their versions are pinned.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.assertion import rewrite
from hypothesis.internal.constants_ast import constants_from_module


def rewrite_share(config: pytest.Config, worker: int, workers: int) -> int:
    """Write pytest's cache for each `workers`-th of the modules to collect; return how many it lacked.

    All workers collect the same modules in the same order, at the same time: without this, each of them
    rewrites each module. What another worker has not written by the time it is needed is rewritten as ever.
    """
    if sys.dont_write_bytecode:
        return 0
    state = config.stash[rewrite.assertstate_key]
    written = 0
    for module in _modules(config)[worker::workers]:
        folder = rewrite.get_cache_dir(module)
        cached = folder / (module.stem + rewrite.PYC_TAIL)
        if rewrite.try_makedirs(folder) and rewrite._read_pyc(module, cached) is None:
            try:
                source, code = rewrite._rewrite_test(module, config)
            except (SyntaxError, ValueError):
                continue  # the collection says so, with the place
            rewrite._write_pyc(state, code, source, cached)
            written += 1
    return written


def _modules(config: pytest.Config) -> list[Path]:
    """Return the modules that the command line names, the largest first."""
    patterns = [*config.getini("python_files"), "conftest.py"]
    found: dict[Path, int] = {}
    for argument in config.args:
        place = config.invocation_params.dir / argument.partition("::")[0]
        modules = [place] if place.is_file() else [path for each in patterns for path in place.rglob(each)]
        found |= {path: path.stat().st_size for path in modules if path.suffix == ".py"}
    return sorted(found, key=lambda path: (-found[path], path))


def find_share_of_constants(root: Path, worker: int, workers: int) -> None:
    """Write hypothesis' cache of the constants in each `workers`-th module that ships; it draws from these."""
    modules = [path for folder in ("core", "plugins/*") for path in root.glob(f"{folder}/src/**/*.py")]
    for path in sorted(modules)[worker::workers]:
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        constants_from_module(module)
