"""The options of the section `serve:`, checked as a whole before the server listens."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import ConfigurationError

from strongroom_serve.policy import KeyRules

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ALL_TENANTS", "PAGES", "Client", "ServeConfig", "address_of", "config_of"]

PAGES: Final = "/ui/"
"""Where the pages are, if `ui` is on."""
ALL_TENANTS = "*"


class Client:
    """One client and what it may do. Its `repr` shows nothing of that."""

    __slots__ = ("admin", "name", "operations", "rules", "tenants", "token", "uid")

    def __init__(
        self,
        *,
        name: str,
        rules: KeyRules,
        operations: frozenset[str],
        tenants: frozenset[str],
        admin: bool,
        uid: int | None,
        token: str | None,
    ) -> None:
        self.name, self.rules, self.operations, self.tenants = name, rules, operations, tenants
        self.admin, self.uid, self.token = admin, uid, token

    def has_tenant(self, tenant: str) -> bool:
        """Return whether the client may act for a tenant."""
        return tenant in self.tenants or ALL_TENANTS in self.tenants

    def tenant_for(self, asked: str | None) -> tuple[bool, str | None]:
        """Return whether the client may act for the requested tenant, and that tenant."""
        if asked:
            return self.has_tenant(asked), asked
        only = next(iter(self.tenants)) if len(self.tenants) == 1 else ALL_TENANTS
        return True, None if only == ALL_TENANTS else only


class ServeConfig:
    """The addresses and clients of the server."""

    __slots__ = (
        "cert",
        "clients",
        "hosts",
        "key",
        "listen",
        "mount",
        "socket",
        "socket_group",
        "socket_mode",
        "ui",
    )

    def __init__(
        self,
        *,
        socket: Path | None,
        socket_mode: int,
        socket_group: str | None,
        listen: tuple[str, int] | None,
        cert: Path | None,
        key: Path | None,
        mount: str,
        hosts: frozenset[str],
        clients: tuple[Client, ...],
        ui: bool,
    ) -> None:
        self.socket, self.socket_mode, self.socket_group = socket, socket_mode, socket_group
        self.listen, self.cert, self.key = listen, cert, key
        self.mount, self.hosts, self.clients, self.ui = mount, hosts, clients, ui


def config_of(options: Mapping[str, Any] | None, source: str) -> ServeConfig:
    """Check the options of `serve:`, and return them.

    Raises:
        ConfigurationError: There is no client, or two have the same name, token or user.
    """
    hint = "declare `serve: {clients: [{name: …, token: …, allow: […]}]}` in the spec"
    if options is None:
        raise ConfigurationError(f"{source} has no section `serve`", hint=hint)
    if not options["clients"]:
        raise ConfigurationError(
            f"{source}: serve has no clients, so no request could be answered", hint=hint
        )
    clients = tuple(_client(one) for one in options["clients"])
    for what in ("name", "token", "uid"):
        _refuse_twins(clients, what, source)
    tls, listen = options["tls"], options["listen"]
    return ServeConfig(
        socket=options["socket"],
        socket_mode=stat.S_IMODE(int(options["socket_mode"], 8)),
        socket_group=options["socket_group"],
        listen=None if listen is None else address_of(listen),
        cert=None if tls is None else tls.cert,
        key=None if tls is None else tls.key,
        mount=options["mount"],
        hosts=frozenset(host.lower() for host in options["hosts"]),
        clients=clients,
        ui=options["ui"],
    )


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`.

    Raises:
        ConfigurationError: It is not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):  # noqa: PLR2004  # TCP's ports
        raise ConfigurationError(
            f"cannot listen at {text!r}: not an address of the form HOST:PORT",
            hint="such as 127.0.0.1:8300 or [::1]:8300",
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def _client(one: Any) -> Client:
    return Client(
        name=one.name,
        rules=KeyRules(one.allow, one.deny),
        operations=frozenset(one.operations),
        tenants=frozenset(one.tenants),
        admin=one.admin,
        uid=one.uid,
        token=one.token,
    )


def _refuse_twins(clients: tuple[Client, ...], what: str, source: str) -> None:
    seen: dict[object, str] = {}
    for client in clients:
        identity = getattr(client, what)
        if identity is None:
            continue
        if identity in seen:
            both = "two clients" if what == "name" else f"the clients {seen[identity]} and {client.name}"
            shown = f" {client.name!r}" if what == "name" else ""
            raise ConfigurationError(
                f"{source}: serve: {both} have the same {what}{shown}",
                hint="each client needs its own, so that it is known who asked",
            )
        seen[identity] = client.name
