"""What authors of plugins test with: the conformance kit that every shipped provider passes.

Importing this package needs nothing; `ProviderConformance` needs pytest.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.testing.conformance import ProviderConformance

__all__ = ["ProviderConformance"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = f"{__name__}.conformance"
    if home not in sys.modules:
        import pytest

        # A failing `assert` of the kit then shows both sides, as one in the author's own tests does.
        pytest.register_assert_rewrite(home)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return list(__all__)
