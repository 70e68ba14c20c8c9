"""The section `serve:` of a spec: who may ask `strongroom serve` for what, and where it listens."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from strongroom.plugins import Plugin
from strongroom.spec import references
from strongroom.spec.models import _Model
from strongroom.tenancy import check_tenant_id

__all__ = ["SERVE", "Client", "Serve", "Tls", "host_and_port", "is_loopback", "is_open", "why_bad_pattern"]

CLIENT_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$"
MIN_TOKEN_CHARACTERS = 16
ALL_TENANTS = "*"
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_MOST_PORTS = 65535


def host_and_port(address: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; an IPv6 host is in brackets.

    Raises:
        ValueError: It is not of that form.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not int(found["port"]) <= _MOST_PORTS:
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:8300 or [::1]:8300")
    return found["six"] or found["host"], int(found["port"])


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an address, can only be this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def why_bad_pattern(pattern: str) -> str | None:
    """Return what is wrong with a pattern for keys, None if nothing is."""
    segments = pattern.split("/")
    if "" in segments:
        return "an empty segment in a pattern; segments are joined by single slashes"
    if any("**" in one and one != "**" for one in segments):
        return "'**' stands for whole segments, so it must be a segment of its own"
    if not {".", ".."}.isdisjoint(segments):
        return "a segment '.' or '..' in a pattern; no key has one"
    return None


def is_open(text: str) -> bool:
    """Return whether `text` has a reference that is not filled in yet."""
    return references.has_reference(text)


def _pattern(text: str) -> str:
    why = None if is_open(text) else why_bad_pattern(text)
    if why is not None:
        raise ValueError(why)
    return text


def _tenant(text: str) -> str:
    if text != ALL_TENANTS and not is_open(text):
        check_tenant_id(text)
    return text


def _all_tenants(given: object) -> object:
    return [ALL_TENANTS] if given == ALL_TENANTS else given


def _address(text: str) -> str:
    if not is_open(text):
        host_and_port(text)
    return text


def _mount(text: str) -> str:
    if not {"", ".", ".."}.isdisjoint(text.split("/")):
        raise ValueError("segments joined by single slashes, such as secret or team/kv")
    return text


KeyPattern = Annotated[str, AfterValidator(_pattern)]
Operation = Literal["get", "list", "describe", "history", "set", "delete"]


class Client(_Model):
    """One client: how it is recognised, and what it may do; what is not allowed is refused."""

    name: str = Field(pattern=CLIENT_NAME, description="Its name, which is the actor of what it does.")
    token: str | None = Field(
        default=None,
        min_length=MIN_TOKEN_CHARACTERS,
        description="The token that it sends, 16 characters or more; a reference keeps it out of the spec.",
        repr=False,
    )
    uid: int | None = Field(
        default=None, ge=0, description="The user of the process at the other end of the socket."
    )
    allow: list[KeyPattern] = Field(
        default=[],
        description="Patterns of keys: `*` is any characters within a segment, `**` one or more segments.",
    )
    deny: list[KeyPattern] = Field(default=[], description="Patterns of keys that are refused all the same.")
    operations: list[Operation] = Field(default=["get"], description="What it may do with those keys.")
    tenants: Annotated[list[Annotated[str, AfterValidator(_tenant)]], BeforeValidator(_all_tenants)] = Field(
        default=[], description="The tenants that it may act for; `*`, also without a list, is all of them."
    )
    admin: bool = Field(default=False, description="Whether it may look at the pages under /ui/.")


class Tls(_Model):
    """Certificate and key of the address."""

    cert: Path = Field(description="The certificate with its chain, PEM.")
    key: Path = Field(description="Its private key, PEM.")


class Serve(_Model):
    """What `strongroom serve` offers, where, and to which clients."""

    socket: Path | None = Field(default=None, description="The Unix socket.")
    socket_mode: str = Field(
        default="0600", pattern=r"^0?[0-7]{3}$", description="Its permissions, as octal text."
    )
    socket_group: str | None = Field(default=None, min_length=1, description="Its group, by name.")
    listen: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="HOST:PORT; an address that is not loopback needs `tls`."
    )
    tls: Tls | None = Field(default=None, description="Certificate and key for `listen`.")
    mount: Annotated[str, AfterValidator(_mount)] = Field(
        default="secret", description="The KV mount that clients name."
    )
    hosts: list[str] = Field(default=[], description="Host names that are answered beside loopback's.")
    clients: list[Client] = Field(default=[], description="Who may ask; everybody else is refused.")
    ui: bool = Field(
        default=False, description="Whether clients with `admin: true` see the pages under /ui/."
    )


SERVE = Plugin(name="serve", summary="`strongroom serve`", config=Serve, factory="strongroom_serve:serve")
"""The section as a component, so that its options are checked and filled in as all others are."""
