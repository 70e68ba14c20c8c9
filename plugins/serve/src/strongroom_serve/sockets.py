"""The listening sockets: the server's own, or those that systemd hands over."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import resource
import socket
import stat
import struct
from typing import TYPE_CHECKING

from strongroom.errors import BackendUnavailableError, ConfigurationError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path  # what has a path imports it itself

__all__ = [
    "HIDDEN_BYTES",
    "Listener",
    "allow_open_files",
    "bound_tcp",
    "bound_unix",
    "peer_uid",
    "taken_over",
]

HIDDEN_BYTES = 5
"""Of the name under which a socket is first made: few, for its whole path has 107 at most."""
_FIRST_DESCRIPTOR = 3
_BACKLOG = 1024
_PATIENCE_SECONDS = 5.0


class Listener:
    """A listening socket, and its file, which is removed at the end."""

    def __init__(self, sock: socket.socket, address: str, path: Path | None = None) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.address = address
        self._path = path
        self._identity = _identity(path) if path is not None else None

    @property
    def is_tcp(self) -> bool:
        """Whether it is a TCP socket."""
        return self.socket.family != socket.AF_UNIX

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return (
            not self.is_tcp
            or ipaddress.ip_address(self.socket.getsockname()[0].partition("%")[0]).is_loopback
        )

    def close(self) -> None:
        """Close it, and remove its file, if that is still its own."""
        self.socket.close()
        if self._path is not None and _identity(self._path) == self._identity:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()


def bound_unix(path: Path, mode: int, group: str | None) -> Listener:
    """Return a listener at `path`; the socket of a dead server is replaced.

    Raises:
        ConflictError: A server listens there, or something else is there.
        ConfigurationError: There is no such folder or group.
        BackendUnavailableError: Another process keeps the folder locked.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Under another name first: at `path` there is never one that more may use, or that nobody hears.
    # By chance, and not by the process's number: in containers that is the same after each start, and a file
    # that a killed server has left would be in the way for ever.
    hidden = path.with_name(f".{os.urandom(HIDDEN_BYTES // 2).hex()}")
    try:
        with _alone_in(path.parent):
            _refuse_taken(path)
            sock.bind(str(hidden))
            try:
                hidden.chmod(mode)
                if group is not None:
                    os.chown(hidden, -1, _group_id(group))
                sock.listen(_BACKLOG)
                hidden.rename(path)
            except BaseException:
                hidden.unlink()
                raise
    except BackendUnavailableError:  # which is an error of the system, too
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise ConfigurationError(
            f"the socket {path} cannot be made: {error.strerror or error}", hint=_next_step(error, path)
        ) from error
    except BaseException:
        sock.close()
        raise
    return Listener(sock, f"unix:{path}", path)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other servers of `folder` from starting during the block.

    Two that find the same stale socket would both replace it, and nobody would reach the first one.
    """
    from strongroom.providers.files import folder_locked  # a server on TCP alone has no use for it

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(PermissionError):  # it may be written and not read: then it has no lock
            stack.enter_context(folder_locked(folder, seconds=_PATIENCE_SECONDS, provider="serve"))
        yield


def _next_step(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT:
        return f"make its folder: mkdir -m 0750 {path.parent}"
    if isinstance(error, PermissionError):
        return "let this user write in its folder, or name another one"
    return "name another path"


def bound_tcp(host: str, port: int) -> Listener:
    """Return a listener at an address.

    Raises:
        ConflictError: Somebody listens there.
        ConfigurationError: This machine does not have the address.
    """
    # Text would be encoded as IDNA, by modules that are then imported; what is ASCII is the same in it.
    name: bytes | str = host.encode() if host.isascii() else host
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(
            f"the address {host} is not known: {error.strerror}", hint="name an address of this machine"
        ) from error
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"another server listens at {shown} already", hint="end it, or listen elsewhere"
            ) from error
        hint = "name an address of this machine, and a port that this user may listen at"
        raise ConfigurationError(f"cannot listen at {shown}: {error.strerror}", hint=hint) from error
    return Listener(sock, _tcp_name(sock))


def taken_over() -> list[Listener]:
    """Return the sockets that systemd hands over, if any; its variables are removed from the environment."""
    count, owner = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or owner != str(os.getpid()):
        return []
    listeners = []
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count)):
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        address = f"unix:{sock.getsockname()}" if sock.family == socket.AF_UNIX else _tcp_name(sock)
        listeners.append(Listener(sock, address))
    return listeners


def allow_open_files(wanted: int) -> int:
    """Let this process have `wanted` files open, if the system allows it, and return how many it may have.

    By default it may have 1,024, and more if it asks for them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    except (OSError, ValueError):
        return soft
    return more


def peer_uid(descriptor: int) -> int | None:
    """Return the user of the process at the other end of a Unix socket, as it was when it connected."""
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        return _peer_uid(sock)


def _peer_uid(sock: socket.socket) -> int | None:
    if hasattr(socket, "SO_PEERCRED"):
        data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", data)[1])
    if hasattr(socket, "LOCAL_PEERCRED"):  # macOS: struct xucred, whose second member is the user
        data = sock.getsockopt(0, socket.LOCAL_PEERCRED, 76)  # SOL_LOCAL
        return int(struct.unpack_from("II", data)[1])
    return None


def _refuse_taken(path: Path) -> None:
    status = None
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
    if status is not None and not stat.S_ISSOCK(status.st_mode):
        raise ConflictError(f"{path} is there, and is not a socket", hint="name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(str(path))  # also if nothing is there: no client could use too long a path
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    raise ConflictError(f"a server listens at {path} already", hint="stop it, or name another --socket")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _group_id(name: str) -> int:
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError(f"there is no group {name!r}", hint="correct serve.socket_group") from None


def _tcp_name(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
