"""Reading only: every write is refused before it reaches the backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from strongroom.errors import ReadOnlyError, show_key
from strongroom.middleware.base import Middleware

__all__ = ["ReadOnlyMiddleware"]


class ReadOnlyMiddleware(Middleware):
    """Refuses `set`, `delete` and all other writes with `ReadOnlyError`."""

    def __init__(self, inner: Any) -> None:  # its signature is in the reference
        super().__init__(inner)

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def set_secret(self, key: str, value: str) -> None:  # noqa: ARG002  # refused whatever it is
        _refuse("set", key)

    def delete_secret(self, key: str) -> None:
        _refuse("delete", key)

    def set_secrets(self, values: Mapping[str, str]) -> None:
        _refuse("set", next(iter(values), None))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:  # noqa: ARG002  # refused whatever they are
        _refuse("set", key)

    def stage_secret(self, key: str, value: str) -> str:  # noqa: ARG002  # refused whatever it is
        _refuse("stage", key)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:  # noqa: ARG002  # as above
        _refuse("promote", key)

    def discard_version(self, key: str, version: str) -> None:  # noqa: ARG002  # as above
        _refuse("discard", key)


def _refuse(operation: str, key: str | None) -> NoReturn:
    about = f" {show_key(key)}" if key is not None else ""
    raise ReadOnlyError(
        f"cannot {operation}{about}: this pipeline is read-only",
        key=key,
        hint="write through another pipeline, or remove the read-only middleware from this one",
    )
