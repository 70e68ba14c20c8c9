"""The server of `strongroom serve`: a spec's pipelines over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_serve.server import serve

__all__ = ["serve"]

_UNUSED = (
    "asyncio.sslproto",
    "asyncio.staggered",
    "base64",
    "email.utils",
    "html",
    "importlib.metadata",
    "locale",
    "random",
    "textwrap",
    "tokenize",
)
"""What asyncio and gunicorn import, and need for nothing that this server does: a sixth of a start."""


def __getattr__(name: str) -> Any:
    if name == "serve":
        from strongroom_serve.later import imported_later

        with imported_later(*_UNUSED):
            from strongroom_serve.server import serve

        return serve
    raise AttributeError(name)
