"""Clients of `serve:` that no request can be of. Without pydantic, for the server's start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["unseen_clients"]


def unseen_clients(clients: Iterable[Any]) -> str | None:
    """Return in words which clients a server without a Unix socket never sees; None where it sees all."""
    names = [one.name for one in clients if one.uid is not None]
    if not names:
        return None
    who = f"the client{'s' if len(names) > 1 else ''} {', '.join(names)}"
    return f"serve: no request can be from {who}: a uid is seen on a Unix socket alone; say serve.socket"
