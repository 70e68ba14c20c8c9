"""One way for all of these modules: a name is looked up in strongroom when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["forward"]


def forward(
    module: str, source: str, submodules: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for `module`, which has the public names of `source`."""

    def __getattr__(name: str) -> Any:  # noqa: N807  # it becomes the module's
        if name in submodules:
            return importlib.import_module(f"{module}.{name}")
        if name == "__all__" or not name.startswith("_"):  # the former is what `import *` asks for
            try:
                return getattr(importlib.import_module(source), name)
            except AttributeError:
                pass
        message = f"module {module!r} has no attribute {name!r}, for {source!r} has none"
        raise AttributeError(message)

    def __dir__() -> list[str]:  # noqa: N807  # as above
        public = getattr(importlib.import_module(source), "__all__", ())
        return sorted({*public, *submodules})

    return __getattr__, __dir__
