"""Postpones the import of modules that another package imports, and does not use for what we ask of it.

`importlib.util.LazyLoader` is made for this, but before Python 3.11.9 a second thread may use what the first
one has loaded by half (python/cpython#114763); Debian 12 has Python 3.11.2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["imported_later"]


class _Later(ModuleType):
    """What an importing module gets instead of a module, which is imported when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def imported_later(*names: str) -> Iterator[None]:
    """Postpone imports of the modules of these names during the block, until something of them is used.

    Modules that are loaded already are imported as always, and so is everything after the block.
    """
    late = {name: _Later(name) for name in names if name not in sys.modules}
    sys.modules.update(late)
    try:
        yield
    finally:
        for name, module in late.items():
            if sys.modules.get(name) is not module:
                continue
            del sys.modules[name]
            package, _, last = name.rpartition(".")
            if package in sys.modules:
                setattr(sys.modules[package], last, module)  # until the module itself is imported
