"""The server of `strongroom serve`: a spec's pipelines over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_serve.server import serve

__all__ = ["serve"]


def __getattr__(name: str) -> Any:
    if name == "serve":
        from strongroom_serve.server import serve

        return serve
    raise AttributeError(name)
