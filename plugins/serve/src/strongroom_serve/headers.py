"""Reads the headers of a request: token, tenant, host and wishes."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from strongroom_serve import aws_agent
from strongroom_serve.request import Request

__all__ = ["is_own_host", "namespace_of", "token_of", "wants_exact", "wants_wrapping"]

_BEARER: Final = b"bearer "


def token_of(request: Request) -> bytes | None:
    """Return the token of a request; None if there is none."""
    if request.path == aws_agent.PATH:
        own = request.header(aws_agent.TOKEN_HEADER)
        if own is not None:
            return own
    vault = request.header(b"x-vault-token")
    if vault is not None:
        return vault
    bearer = request.header(b"authorization")
    if bearer is not None and bearer[: len(_BEARER)].lower() == _BEARER:
        return bearer[len(_BEARER) :].strip()
    return None


def wants_exact(request: Request) -> bool:
    """Return whether values are wanted as they are, even if they are JSON."""
    return request.header(b"x-strongroom-exact") == b"true"


def wants_wrapping(request: Request) -> bool:
    """Return whether response wrapping is wanted: a token that returns the answer once."""
    return request.header(b"x-vault-wrap-ttl") not in {None, b"", b"0", b"0s"}


def namespace_of(request: Request) -> str | None:
    """Return the tenant of a request; None if it names none."""
    sent = request.header(b"x-vault-namespace")
    return sent.decode("latin-1").strip("/") if sent is not None else None


@lru_cache(maxsize=256)
def is_own_host(header: bytes | None, hosts: frozenset[str]) -> bool:
    """Return whether a `Host` is of loopback, or one of `hosts`, which protects against DNS rebinding."""
    if header is None:
        return False
    host = header.decode("latin-1").lower()
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name = host
    bare = name.removeprefix("[").removesuffix("]") if name.startswith("[") else name
    if bare == "localhost" or bare in hosts or host in hosts:
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
