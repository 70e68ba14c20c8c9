"""Makes redis-py clients from a URL: of one server, the master of sentinels, or a cluster."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from strongroom.clients import shut_down_socket, splits_login
from strongroom.errors import ConfigurationError
from strongroom.plugins.credentials import newest

__all__ = ["Options", "check", "connect", "disconnect", "load"]

_SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
_PORTS: Final = {"sentinel": 26379, "cluster": 6379}
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between questions, and questions; each system has its own of the first two."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the connection; its secrets are in no `repr`."""

    url: str = field(repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify: bool = True
    timeout: float = 0.4
    retries: int = 1

    def userinfo(self) -> str:
        """Return user and password of the URL, joined by a colon, unquoted."""
        return ":".join(unquote(one) for one in _userinfo(self.url).split(":", 1))

    def newest(self) -> Options:
        """Return the options with the present values of their references."""
        return Options(**{one.name: newest(getattr(self, one.name)) for one in fields(self)})

    def address(self) -> str:
        """Return the URL without user and password."""
        scheme, host, rest = _parted(self.url)
        return f"{scheme}://{host}{rest}"


def check(options: Options) -> None:
    """Raise `ConfigurationError` if `connect` cannot use the URL."""
    scheme, host, rest = _parted(options.url)
    if scheme not in _SCHEMES:
        raise ConfigurationError(
            f"redis: the URL's scheme is {scheme!r}", hint=f"use one of {', '.join(_SCHEMES)}"
        )
    if splits_login(options.url):
        raise ConfigurationError(
            "redis: the password in the URL holds a / or ?",
            hint="write %2F and %3F in their place, or give it as the option `password`",
        )
    if scheme.endswith("+sentinel") and not rest.strip("/").split("/")[0]:
        raise ConfigurationError(
            "redis: the URL names no service",
            hint="write redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE",
        )
    if not host and scheme != "unix":
        raise ConfigurationError("redis: the URL names no host", hint="write redis://HOST:PORT/DATABASE")
    _hosts(host, 0)
    if options.key_file is not None and options.cert_file is None:
        raise ConfigurationError(
            "redis: key_file without cert_file",
            hint="give both, or neither and no certificate is shown to the server",
        )


def load(options: Options) -> None:
    """Import the modules that `connect` and the client's first call need."""
    import redis.backoff
    import redis.retry

    scheme, _, _ = _parted(options.url)
    if scheme.endswith("+cluster"):
        import redis.cluster
    if scheme.endswith("+sentinel"):
        import redis.sentinel  # noqa: F401  # as all of these


def connect(options: Options) -> Any:
    """Return the client; it connects at its first call.

    Raises:
        ConfigurationError: The URL's numbers are not numbers.
    """
    scheme, host, rest = _parted(options.url)
    common = _common(options)
    if scheme.endswith("+cluster"):
        from redis.cluster import ClusterNode, RedisCluster

        make: Any = ClusterNode  # redis-py's own types are not complete
        nodes = [make(name, port) for name, port in _hosts(host, _PORTS["cluster"])]
        return RedisCluster(startup_nodes=nodes, **common)
    if scheme.endswith("+sentinel"):
        return _behind_sentinels(options, _hosts(host, _PORTS["sentinel"]), rest, common)
    import redis

    if scheme != "rediss":
        common = {name: one for name, one in common.items() if not name.startswith("ssl")}
    try:
        client = redis.Redis.from_url(_without_user(options.url), **common)
    except ValueError:
        client = None
    if client is None:  # outside the `except` block: the cause may hold the URL
        raise ConfigurationError(
            "redis: the URL has a database or an option that redis-py does not take",
            hint="write redis://HOST:PORT/DATABASE, and options as redis-py names them",
        )
    client.get_connection_kwargs()["decode_responses"] = False  # data is bytes, whatever the URL says
    return client


def disconnect(client: Any) -> None:
    """Close a client's connections, from any thread; a call that waits on one ends with an error.

    A connection in use is only cut: redis-py closes it in the thread that uses it. Closed from elsewhere, a
    connection loses the socket that its thread has just opened, and reads on without its parser.
    """
    for pool in _pools(client):
        with contextlib.suppress(Exception):  # what cannot be closed is gone
            pool.disconnect(inuse_connections=False)
            for connection in tuple(pool._in_use_connections):  # noqa: SLF001  # nothing else reaches them
                _abandon(connection, pool._in_use_connections)  # noqa: SLF001  # as above


def _abandon(connection: Any, in_use: set[Any]) -> None:
    """Cut a connection, and let the call that uses it fail: it sends no more, and is not repeated.

    The caller has its error by then: what is sent late could come after the caller's next call.
    """
    import redis

    def disconnect(*arguments: object, **named: object) -> None:
        for name in ("disconnect", "send_packed_command"):
            connection.__dict__.pop(name, None)
        connection.disconnect(*arguments, **named)
        if connection in in_use:  # else the call had ended, and nobody waits for an error
            raise redis.RedisError("the connection was cut")

    def send(*_: object, **__: object) -> None:
        disconnect()
        raise redis.RedisError("the connection was cut")

    connection.disconnect = disconnect  # redis-py calls it in the call's thread, before it connects again
    connection.send_packed_command = send  # for a call that connects just now
    shut_down_socket(connection._sock)  # noqa: SLF001  # nothing else ends a call of another thread


def _pools(client: Any) -> list[Any]:
    """Return the pools of connections to a server, to it and its sentinels, or to the nodes of a cluster."""
    if hasattr(client, "get_nodes"):
        nodes = [node.redis_connection for node in client.get_nodes()]
        return [node.connection_pool for node in nodes if node is not None]
    pool = client.connection_pool
    sentinels = pool.sentinel_manager.sentinels if hasattr(pool, "sentinel_manager") else []
    return [pool, *(sentinel.connection_pool for sentinel in sentinels)]


def _behind_sentinels(
    options: Options, hosts: list[tuple[str, int]], rest: str, common: dict[str, Any]
) -> Any:
    from redis.sentinel import Sentinel

    service, _, database = rest.strip("/").partition("/")
    own = {name: one for name, one in common.items() if name not in {"username", "password"}}
    make: Any = Sentinel  # as above
    sentinel = make(
        hosts,
        sentinel_kwargs={
            **own,
            "username": options.sentinel_username,
            "password": options.sentinel_password,
        },
        db=_number(database or "0"),
        **common,
    )
    return sentinel.master_for(unquote(service))


def _common(options: Options) -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    scheme, _, _ = _parted(options.url)
    name, _, secret = _userinfo(options.url).partition(":")
    arguments: dict[str, Any] = {
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.timeout,
        # Once: a kept connection may have been closed meanwhile. All scripts may run twice.
        "retry": Retry(NoBackoff(), options.retries),
    }
    if scheme != "unix":
        arguments |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
    given = {"username": options.username or unquote(name), "password": options.password or unquote(secret)}
    arguments |= {name: one for name, one in given.items() if one}
    if scheme.startswith("rediss"):
        if "+" in scheme:
            arguments["ssl"] = True
        arguments |= _tls(options)
    return arguments


def _keepalive() -> dict[int, int]:
    """Return the numbers of the system's options; before redis-py 8 a firewall could forget a connection."""
    names = {getattr(socket, name, None): number for name, number in _KEEPALIVE.items()}
    return {name: number for name, number in names.items() if name is not None}


def _tls(options: Options) -> Mapping[str, Any]:
    files = {
        "ssl_ca_certs": options.ca_file,
        "ssl_certfile": options.cert_file,
        "ssl_keyfile": options.key_file,
    }
    arguments: dict[str, Any] = {name: str(path) for name, path in files.items() if path is not None}
    if options.cert_file is not None:
        arguments["ssl_password"] = (
            ""  # else OpenSSL asks for that of a key at the terminal, where nobody may be
        )
    if not options.verify:
        arguments |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    return arguments


def _userinfo(url: str) -> str:
    return url.partition("://")[2].partition("?")[0].partition("/")[0].rpartition("@")[0]


def _without_user(url: str) -> str:
    scheme, _, after = url.partition("://")
    return f"{scheme}://{after.removeprefix(_userinfo(url)).removeprefix('@')}"


def _parted(url: str) -> tuple[str, str, str]:
    """Return scheme, hosts and the rest of a URL, without user, password, query and fragment."""
    scheme, _, after = _without_user(url).partition("://")
    after = after.partition("?")[0].partition("#")[0]
    host, slash, path = after.partition("/")
    return scheme.lower(), host, slash + path


def _hosts(addresses: str, port: int) -> list[tuple[str, int]]:
    hosts = []
    for one in addresses.split(","):
        name, colon, number = one.rpartition(":") if not one.endswith("]") else (one, "", "")
        hosts.append(((name if colon else one).strip("[]"), _number(number) if colon else port))
    return hosts


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigurationError("redis: a port or database of the URL is not a number")
    return int(text)
