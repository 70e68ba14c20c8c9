"""Names that a package offers, and loads at their first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["lazy_exports"]


def lazy_exports(
    package: str, homes: Mapping[str, str], before_import: Callable[[str], None] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package.

    Args:
        package: The package's `__name__`.
        homes: Each name, with the module of the package that defines it.
        before_import: Called with the full name of such a module before it is imported.
    """

    def find(name: str) -> Any:
        if name not in homes:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        home = f"{package}.{homes[name]}"
        if before_import is not None and home not in sys.modules:
            before_import(home)
        value = getattr(importlib.import_module(home), name)
        setattr(sys.modules[package], name, value)  # the next access does not come here
        return value

    return find, lambda: list(homes)
