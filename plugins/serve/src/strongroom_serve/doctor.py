"""The findings of `strongroom doctor --serve` about the section `serve:`; no server is started."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from strongroom.encryption.keyfiles import others_may_read
from strongroom.errors import StrongroomError, UnsupportedOperationError
from strongroom.tenancy import TenantContext

from strongroom_serve.config import Client, ServeConfig, config_of
from strongroom_serve.sockets import HIDDEN_BYTES

__all__ = ["Finding", "findings"]

Finding = tuple[str, bool | None, str, str | None]
"""Subject, whether it is right (None: for information), finding, and hint."""

_MOST_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
"""The longest path in `sun_path`, without its NUL: 108 bytes with it on Linux, 104 on BSD and macOS."""
_SOON: Final = timedelta(days=14)
_SECONDS: Final = 3.0
_OWN_PORTS: Final = 1024


def findings(registry: Any) -> Iterator[Finding]:
    """Look at the section `serve:` of the registry's spec.

    Args:
        registry: A `SecretProviderRegistry`, which stays open.
    """
    try:
        config = config_of(registry.serve_options(), registry.plan.source)
    except StrongroomError as error:
        yield "serve", False, error.message, error.hint
        return
    if config.socket is None and config.listen is None:
        hint = "give serve.socket or serve.listen, unless systemd or an option of `strongroom serve` does"
        yield "serve", None, "the spec does not say where to listen", hint
    certificate = None
    if config.cert is not None and config.key is not None:
        found, certificate = _tls(config.cert, config.key)
        yield from found
    if config.socket is not None:
        yield from _socket(config, config.socket)
    if config.listen is not None:
        yield from _address(config, *config.listen, certificate)
    yield from _clients(registry, config)


# --- the socket ---


def _socket(config: ServeConfig, path: Path) -> Iterator[Finding]:
    subject, folder = f"socket {path}", path.parent
    # It is first made under another name beside it.
    hidden = len(os.fsencode(folder)) + 1 + HIDDEN_BYTES
    if max(len(os.fsencode(path)), hidden) > _MOST_PATH_BYTES:
        problem = f"its path is longer than {_MOST_PATH_BYTES} bytes"
        if len(os.fsencode(path)) <= _MOST_PATH_BYTES:
            problem = f"the path of its folder is longer than {_MOST_PATH_BYTES - 1 - HIDDEN_BYTES} bytes"
        yield subject, False, problem, "name a shorter path in serve.socket"
        return
    why = _why_bad_folder(folder)
    if why is not None:
        yield subject, False, *why
        return
    if config.socket_group is not None and not _is_group(config.socket_group):
        yield subject, False, f"there is no group {config.socket_group!r}", "correct serve.socket_group"
    mode = config.socket_mode
    if mode & stat.S_IWOTH:
        hint = "set serve.socket_group and `socket_mode: '0660'`, unless that is intended"
        yield subject, None, f"with mode {mode:04o} every user of this machine may connect", hint
    elif mode & stat.S_IWGRP and config.socket_group is None:
        hint = "set serve.socket_group"
        yield subject, None, f"mode {mode:04o} lets in a group, which is not named", hint
    if not mode & stat.S_IWUSR:
        yield subject, False, f"with mode {mode:04o} its owner cannot connect", "use `socket_mode: '0600'`"
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        yield subject, None, _NOT_RUNNING, None
        return
    if not is_socket:
        yield subject, False, "something that is not a socket is there", "move it, or name another path"
        return
    yield from _healthy(subject, _OverUnix(path))


def _why_bad_folder(folder: Path) -> tuple[str, str] | None:
    try:
        status = folder.stat()
    except OSError as error:
        return f"its folder {folder} cannot be used: {error.strerror}", f"mkdir -m 0750 {folder}"
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder", "name another path in serve.socket"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return f"every user may write in its folder {folder}, and put another socket there", (
            f"chmod o-w {folder}"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"you may not write in its folder {folder}", "run this as the user that the server runs as"
    return None


def _is_group(name: str) -> bool:
    import grp

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


# --- the address ---


def _address(config: ServeConfig, host: str, port: int, certificate: bytes | None) -> Iterator[Finding]:
    subject = f"address {f'[{host}]' if ':' in host else host}:{port}"
    try:
        (family, kind, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        yield subject, False, f"the host is not known: {error.strerror}", "correct serve.listen"
        return
    with socket.socket(family, kind) as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind(address)
        except OSError as error:
            taken, why = error.errno == errno.EADDRINUSE, error.strerror
        else:
            taken, why = False, None
    if taken:
        wild = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound
        own = str(address[0])
        at = (wild.get(own, own), port)
        yield from _healthy(subject, _tcp(at, tls=config.cert is not None), certificate)
    elif why is not None:
        hint = "correct serve.listen"
        if port < _OWN_PORTS:
            hint = f"use a port from {_OWN_PORTS} on, or have systemd make the socket"
        yield subject, False, f"this user cannot listen there: {why}", hint
    else:
        yield subject, None, _NOT_RUNNING, None


# --- a server that runs ---

_NOT_RUNNING: Final = "free: no server listens there"


class _OverUnix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def _tcp(at: tuple[str, int], *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(*at, timeout=_SECONDS)
    context = ssl.create_default_context()
    # Nothing secret is sent; what the server shows is compared with the certificate's file.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(*at, timeout=_SECONDS, context=context)


def _healthy(
    subject: str, connection: http.client.HTTPConnection, certificate: bytes | None = None
) -> Iterator[Finding]:
    """Ask /healthz without a token."""
    shown = None
    with contextlib.closing(connection):
        try:
            connection.connect()
            if isinstance(connection.sock, ssl.SSLSocket):
                shown = connection.sock.getpeercert(binary_form=True)
            connection.request("GET", "/healthz", headers={"Host": "localhost"})
            status = connection.getresponse().status
        except (ConnectionRefusedError, FileNotFoundError):
            yield subject, None, "a server that is gone left it; the next one replaces it", None
            return
        except PermissionError:
            yield subject, False, "you may not connect", "run this as a user whom serve.socket_mode lets in"
            return
        except TimeoutError:
            problem = f"what listens there did not answer within {_SECONDS:.0f} s"
            yield subject, False, problem, "look at its log, and restart it"
            return
        except (OSError, http.client.HTTPException):
            problem = "what listens there does not answer as `strongroom serve` would with this spec"
            yield (
                subject,
                False,
                problem,
                "name another place, or restart the server after a change of serve.tls",
            )
            return
    if status == http.client.OK:
        yield subject, True, "a server runs there, and is healthy", None
    elif status == http.client.SERVICE_UNAVAILABLE:
        hint = "/healthz with a token names the pipeline"
        yield (
            subject,
            False,
            "a server runs there, and a backend or an audit trail of it is not available",
            hint,
        )
    else:
        problem = f"what listens there answers /healthz with {status}"
        yield subject, False, problem, "is it another program? name another place"
    if certificate is not None and shown is not None and shown != certificate:
        hint = "send it SIGHUP, so that it reads the file again"
        yield subject, False, "the server shows another certificate than the one in the file", hint


def _tls(cert: Path, key: Path) -> tuple[list[Finding], bytes | None]:
    """Return the findings, and the certificate that clients get."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    subject = f"certificate {cert}"
    findings: list[Finding] = []
    for path in (cert, key):
        try:
            path.read_bytes()
        except OSError as error:
            hint = "correct serve.tls, or let the server's user read the file"
            findings.append((subject, False, f"{path} cannot be read: {error.strerror}", hint))
    if findings:
        return findings, None
    if others_may_read(key) is not None:
        findings.append((subject, False, f"others may read its key {key}", f"chmod 600 {key}"))
    try:
        # An empty password, so that OpenSSL does not ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
        first = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except (OSError, ValueError):
        problem = f"it and the key {key} are not a pair in PEM that can be read without a password"
        return [*findings, (subject, False, problem, "issue both again")], None
    begins, ends, now = first.not_valid_before_utc, first.not_valid_after_utc, datetime.now(UTC)
    renew = "renew it, then send the server SIGHUP"
    if now >= ends:
        findings.append((subject, False, f"it ended on {ends:%Y-%m-%d %H:%M} UTC", renew))
    elif now < begins:
        hint = "set this machine's clock, or issue it again"
        findings.append((subject, False, f"it begins on {begins:%Y-%m-%d %H:%M} UTC", hint))
    else:
        soon = ends - now < _SOON
        findings.append((subject, not soon, f"it ends on {ends:%Y-%m-%d %H:%M} UTC", renew if soon else None))
    return findings, first.public_bytes(Encoding.DER)


# --- clients ---


def _clients(registry: Any, config: ServeConfig) -> Iterator[Finding]:
    if config.ui and not any(one.admin for one in config.clients):
        hint = "set `admin: true` on a client"
        yield "pages", None, "serve.ui is on, and no client may look at them", hint
    listings: dict[str | None, list[str] | str] = {}
    for client in config.clients:
        subject = f"client {client.name}"
        if client.uid is not None and config.socket is None and config.listen is not None:
            problem = "it is known by its uid, which only a Unix socket shows"
            yield subject, False, problem, "give serve.socket, or give the client a token"
        if client.token is not None and not _can_be_sent(client.token):
            problem = "its token has white space or characters that HTTP does not carry"
            yield subject, False, problem, "make a new one: openssl rand -hex 32"
        yield _rules(subject, client, [_stored(registry, tenant, listings) for tenant in _tenants(client)])


def _can_be_sent(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def _tenants(client: Client) -> list[str | None]:
    return [*sorted(one for one in client.tenants if one != "*")] or [None]


def _stored(
    registry: Any, tenant: str | None, listings: dict[str | None, list[str] | str]
) -> list[str] | str:
    """Return the keys, listed once per tenant; or the reason, in words, that they cannot be."""
    if tenant not in listings:
        with contextlib.nullcontext() if tenant is None else TenantContext(tenant):
            try:
                listings[tenant] = registry.list_secrets()
            except UnsupportedOperationError:
                listings[tenant] = "a backend does not list its keys"
            except StrongroomError as error:
                listings[tenant] = error.message
    return listings[tenant]


def _rules(subject: str, client: Client, stored: list[list[str] | str]) -> Finding:
    lists = [one for one in stored if not isinstance(one, str)]
    matched = sum(client.rules.permits(key) for keys in lists for key in keys)
    if matched:
        return subject, True, f"its rules match {matched} stored keys", None
    if client.admin and not client.rules.allow:
        return subject, True, "it may look at the pages, and at no key", None
    if not client.rules.allow:
        return subject, False, "it has no `allow`, so every key is refused", "give it an `allow`"
    if len(lists) < len(stored):
        why = next(one for one in stored if isinstance(one, str))
        return subject, None, f"its rules were not compared with what is stored: {why}", None
    if "set" in client.operations or not any(lists):
        return subject, None, "its rules match nothing that is stored yet", None
    hint = "compare its `allow`, `deny` and `tenants` with `strongroom list`"
    return subject, False, "its rules match nothing that is stored", hint
