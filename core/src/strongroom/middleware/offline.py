"""The layer inside of a cache that is `offline`: nothing that goes past the cache asks the backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

from strongroom.errors import BackendUnavailableError
from strongroom.middleware.base import Middleware

__all__ = ["OfflineMiddleware", "refuse_offline"]


def refuse_offline(*_args: Any, **_options: Any) -> NoReturn:
    """Raise `BackendUnavailableError`, the error of a pipeline that is `offline`, whatever is asked."""
    raise BackendUnavailableError(
        "this pipeline is offline: it only reads what the cache holds",
        hint="remove `offline` from its caching middleware",
    )


class OfflineMiddleware(Middleware):
    """Refuses every call, by whatever way it comes: of a rotation, of a watch, or of a command."""

    _capability_methods: ClassVar[Mapping[str, Callable[..., Any]]] = dict.fromkeys(
        Middleware._capability_methods,  # noqa: SLF001  # of its own base
        refuse_offline,
    )

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is meant."""
        return {}

    def get_secret(self, key: str) -> str:
        refuse_offline(key)

    def set_secret(self, key: str, value: str) -> None:
        refuse_offline(key, value)

    def delete_secret(self, key: str) -> None:
        refuse_offline(key)

    def list_secrets(self, prefix: str = "") -> list[str]:
        refuse_offline(prefix)
