"""What a spec declares under `secrets:`, as plain data.

They are named tuples, in a module of their own, because `strongroom run` must start fast and dataclasses take
long to import.
"""

from __future__ import annotations

from collections.abc import Mapping

from strongroom.runtime.frozen import NamedTuple

__all__ = ["Position", "SecretPlan"]


class Position(NamedTuple):
    """Where something is written; line 0 means that it did not come from a file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class SecretPlan(NamedTuple):
    """One secret that the application declares; the members are those of `secrets:` in the spec."""

    name: str
    key: str
    """Empty if it is composed of others."""
    position: Position
    required: bool = True
    default: str | None = None
    field: str | None = None
    description: str = ""
    type: str = "string"
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    one_of: tuple[str, ...] | None = None
    forbid: tuple[str, ...] = ()
    generate: Mapping[str, Any] | None = None
    rotate_days: int | None = None
    rotate: Mapping[str, Any] | None = None
    as_file: bool = False
    mask: bool = True
    groups: tuple[str, ...] = ()
    allow_placeholder: bool = False
    placeholders: tuple[str, ...] = ()
    """The spec's own placeholders, besides those that strongroom knows."""
    deprecated: str | None = None
    compose: str | None = None
    parts: tuple[str, ...] = ()
    """The declared names that `compose` needs."""

    def __repr__(self) -> str:
        return f"<SecretPlan {self.name}: {self.key}>"


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Declarations(Protocol):
        """An object with declared secrets: a `Plan`."""

        @property
        def secrets(self) -> Mapping[str, SecretPlan]:
            """The declarations by name."""
