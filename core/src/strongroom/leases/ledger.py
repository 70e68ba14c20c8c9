"""The ledger: which leases running and dead processes hold, without their values.

Each process that holds leases has a file of its own in the platform's state folder, and a lock on it while it
lives. Each line of a file is encrypted under the key of the ledger and bound to the file's name. It says that
a lease was issued, when it ends now, or that it is over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Self

from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.encryption.keyfiles import place, read_bytes
from strongroom.errors import ConfigurationError, DecryptionError, StrongroomError
from strongroom.parallel import renew_after_fork
from strongroom.providers import Lease
from strongroom.providers.base import innermost
from strongroom.tenancy import current_tenant

__all__ = ["LeaseFile", "LeaseLedger", "LedgerEntry", "ProcessLedger", "issuer_of", "state_folder"]

_SUFFIX: Final = ".leases"
_CUT: Final = b"~\n"
"""Ends what may be a part of a line, which a crash or a full disk has cut short; no whole line ends so."""
_LINES: Final = 1000
"""With more lines than this, a file is written again if most of its leases are over."""
_log = logging.getLogger("strongroom.leases")


def state_folder() -> Path:
    """Return where the ledger is."""
    import platformdirs

    return Path(platformdirs.user_state_dir("strongroom")) / "leases"


def issuer_of(chain: Any) -> str:
    """Return a hash of what issues the leases of a chain: its address, without what is asked for there."""
    provider = innermost(chain)
    address = getattr(provider, "address", None)
    if not callable(address):
        return ""
    # Mappings (roles, parameters) say what is issued, not by which server.
    where = {name: str(one) for name, one in address().items() if not isinstance(one, Mapping)}
    text = json.dumps([getattr(provider, "type_name", ""), where], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One lease in the ledger; it has no values.

    Attributes:
        id, key, issued_at, expires_at, renewable: See `Lease`.
        spec: The whole path of the spec's file, or what else it came from.
        pipeline: The pipeline that issued it.
        tenant: The tenant that it is for, if any.
        pid: The process that holds it, or held it.
        life_seconds: How long it lived when it was new, before any renewal.
        issuer: What `issuer_of` gave for the pipeline; empty if its provider has no address.
    """

    id: str
    key: str
    spec: str
    pipeline: str
    tenant: str | None
    issued_at: datetime
    expires_at: datetime
    renewable: bool
    pid: int
    life_seconds: float = 0.0
    issuer: str = ""

    def as_lease(self) -> Lease:
        """Return the lease without its values, for revoking it."""
        return Lease(self.id, self.key, {}, self.issued_at, self.expires_at, self.renewable)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is written to the ledger."""
        plain = asdict(self)
        return plain | {name: plain[name].isoformat() for name in ("issued_at", "expires_at")}

    def shown(self) -> dict[str, Any]:
        """Return it as commands show it."""
        plain = self.to_json()
        del plain["issuer"]
        return plain

    def is_of(self, spec: str) -> bool:
        """Return whether it came from the spec at this location, by whatever path either was named."""
        if self.spec == spec:
            return True
        return Path(self.spec).is_absolute() and os.path.realpath(self.spec) == os.path.realpath(spec)

    def is_from(self, issuer: str) -> bool:
        """Return whether `issuer` may have issued it: only that server can revoke it."""
        return not self.issuer or not issuer or self.issuer == issuer

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the entry that `to_json` gave, also in a newer version: unknown members are left out."""
        known = {one.name: plain[one.name] for one in fields(cls) if one.name in plain}
        times = {name: datetime.fromisoformat(plain[name]) for name in ("issued_at", "expires_at")}
        return cls(**{**known, **times})


class LeaseLedger:
    """All files of the ledger.

    Args:
        folder: Where they are; by default `state_folder()`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_folder()
        self._sealer: AESGCMEncryption | None = None

    def sealer(self) -> AESGCMEncryption:
        """Return the cipher of lines; its key is made at the first use."""
        if self._sealer is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / "ledger.key"
            key = read_bytes(path, "the ledger's key")
            if key is None:
                place(path, generate_key().encode())
                key = read_bytes(path, "the ledger's key")
            self._sealer = _cipher_of(key or b"", path)
        return self._sealer

    def sealed(self, text: str, bound_to: bytes) -> str:
        """Return `text` encrypted, bound to no tenant: `lease list` and `lease sweep` read it without one."""
        return Context().run(self.sealer().encrypt, text, context=bound_to)

    def opened(self, token: str, bound_to: bytes) -> str:
        """Return the text that `sealed` encrypted; raises `DecryptionError`.

        What an earlier version bound to a tenant is read while that tenant is active.
        """
        try:
            return Context().run(self.sealer().decrypt, token, context=bound_to)
        except DecryptionError:
            if current_tenant() is None:
                raise
            return self.sealer().decrypt(token, context=bound_to)

    def files(self) -> list[LeaseFile]:
        """Return the file of each process, the oldest first.

        Raises:
            OSError: The folder is there, and cannot be read: leases that live may be noted in it.
        """
        try:
            paths = [path for path in self.folder.iterdir() if path.suffix == _SUFFIX]
        except OSError:
            if os.path.exists(self.folder):  # noqa: PTH110  # false also behind what may not be entered
                raise
            return []
        return [LeaseFile(self, path) for path in sorted(paths, key=_age)]


def _cipher_of(key: bytes, path: Path) -> AESGCMEncryption:
    try:
        return AESGCMEncryption(key.decode().strip())
    except (
        UnicodeDecodeError,
        ConfigurationError,
    ):  # without its path
        pass
    raise ConfigurationError(
        f"the ledger's key {path} is damaged",
        hint="put it back, or remove it: another one is made then, and leases noted under it stay unread",
    )


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class LeaseFile:
    """The leases of one process."""

    def __init__(self, ledger: LeaseLedger, path: Path) -> None:
        self._ledger = ledger
        self.path = path

    def alive(self) -> bool:
        """Return whether the process that it belongs to lives: it holds a lock on the file."""
        with self.taken() as dead:
            return not dead and self.path.exists()

    @contextlib.contextmanager
    def taken(self) -> Iterator[bool]:
        """Take a dead process's file for the block, which gets whether it is the only one to have it."""
        try:
            file = self._opened_for_lock()
        except OSError:
            yield False
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            try:
                yield True
            finally:  # a child that was forked meanwhile has a copy of the descriptor
                fcntl.flock(file, fcntl.LOCK_UN)

    def _opened_for_lock(self) -> IO[bytes]:
        try:
            return self.path.open("rb+")  # a network's file system locks only what may be written
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
        return self.path.open("rb")

    def entries(self) -> list[LedgerEntry]:
        """Return the leases that are not over; what cannot be read or decrypted is left out."""
        living: dict[str, LedgerEntry] = {}
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError:
            return []
        for line in lines:
            record = self._opened(line)
            if record is None:
                continue
            if "entry" in record:
                entry = LedgerEntry.from_json(record["entry"])
                living[entry.id] = entry
            elif record.get("over"):
                living.pop(record["id"], None)
        return list(living.values())

    def has_unread(self) -> bool:
        """Return whether it, or whole lines of it, cannot be read: these may be of leases that live."""
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return any(line and line[-1:] != _CUT[:1] and self._opened(line) is None for line in lines)

    def _opened(self, line: bytes) -> dict[str, Any] | None:
        if not line:
            return None
        try:
            record: dict[str, Any] = json.loads(self._ledger.opened(line.decode(), _context(self.path)))
        except (DecryptionError, ValueError):  # a line that a crash cut short, or somebody else's
            return None
        return record

    def sealed(self, record: Mapping[str, Any]) -> bytes:
        """Return the line of `record`."""
        return self._ledger.sealed(json.dumps(record), _context(self.path)).encode() + b"\n"

    def over(self, lease_id: str) -> None:
        """Note that a lease is over, also in the file of another process, unless that has removed it.

        Raises:
            OSError: It cannot be written.
        """
        line = _CUT + self.sealed({"id": lease_id, "over": True})
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self.path.unlink()


def _context(path: Path) -> bytes:
    return b"strongroom lease ledger 1\0" + path.name.encode()


class _OwnFile:
    """This process's file; it stays open, with the lock on it."""

    def __init__(self, ledger: LeaseLedger) -> None:
        self.path = ledger.folder / f"{os.getpid()}-{secrets.token_hex(6)}{_SUFFIX}"
        self.file = LeaseFile(ledger, self.path)
        self.held: dict[str, LedgerEntry] = {}
        self.lines = 0
        self.is_cut = False
        ledger.sealer()
        # It gets its name once it is locked: a file without a lock belongs to a dead process.
        unnamed = self.path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.descriptor = os.open(unnamed, flags, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            unnamed.rename(self.path)
        except BaseException:  # a file system without locks, or an interrupt
            unnamed.unlink(missing_ok=True)
            os.close(self.descriptor)
            raise

    def append(self, line: bytes) -> None:
        """Write a line.

        Raises:
            OSError: It is not written, or only a part of it, as on a full disk.
        """
        whole = _CUT + line if self.is_cut else line
        self.is_cut = os.write(self.descriptor, whole) < len(whole)
        if self.is_cut:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.lines += 1

    def is_gone(self) -> bool:
        """Return whether somebody has removed it, as a cleaner of old files does."""
        return os.fstat(self.descriptor).st_nlink == 0

    def close(self) -> None:
        self.file.remove()
        os.close(self.descriptor)


_lock = threading.RLock()
_files: dict[Path, _OwnFile] = {}
"""This process's file in each folder."""


class ProcessLedger:
    """Notes the leases of a registry; all registries of a process write to one file.

    A ledger that cannot be written is reported once, and leases work without it.

    Args:
        spec: The whole path of the spec's file, or what else it came from.
        folder: Where the ledger is; by default `state_folder()`.
        issuer: What `issuer_of` gives for the pipeline that issues them.
    """

    def __init__(self, spec: str, folder: Path | None = None, *, issuer: str = "") -> None:
        self._spec = spec
        self._issuer = issuer
        self._folder = folder
        self._warned = False

    def issued(self, lease: Lease, tenant: str | None, pipeline: str) -> None:
        """Note a lease."""
        if not lease.id:
            return  # there is nothing to revoke
        entry = LedgerEntry(
            lease.id, lease.key, self._spec, pipeline, tenant, lease.issued_at.astimezone(UTC),
            lease.expires_at.astimezone(UTC), lease.renewable, os.getpid(),
            (lease.expires_at - lease.issued_at).total_seconds(), self._issuer,
        )  # fmt: skip
        self._note(lambda own: self._put(own, entry), is_new=True)

    def renewed(self, lease: Lease) -> None:
        """Note the new end of a lease."""

        def note(own: _OwnFile) -> None:
            known = own.held.get(lease.id)
            if known is not None:
                plain = known.to_json() | {"expires_at": lease.expires_at.astimezone(UTC).isoformat()}
                self._put(own, LedgerEntry.from_json(plain))

        self._note(note)

    def ended(self, lease: Lease) -> None:
        """Note that a lease is over."""

        def note(own: _OwnFile) -> None:
            if own.held.pop(lease.id, None) is not None:
                if own.held:
                    own.append(own.file.sealed({"id": lease.id, "over": True}))
                else:  # the last one: a process without leases has no file
                    self._drop(own)

        self._note(note)

    def _put(self, own: _OwnFile, entry: LedgerEntry) -> None:
        own.held[entry.id] = entry
        if own.lines > _LINES and own.lines > 2 * len(own.held):
            self._rewrite(own)
            return
        own.append(own.file.sealed({"entry": entry.to_json()}))

    def _rewrite(self, own: _OwnFile) -> None:
        """Replace `own` by another file with the same leases."""
        fresh = self._new_file()
        fresh.held = own.held
        try:
            for one in fresh.held.values():
                fresh.append(fresh.file.sealed({"entry": one.to_json()}))
        except BaseException:  # a full disk, or an interrupt
            fresh.close()
            raise
        _files[fresh.path.parent] = fresh
        own.close()

    def _drop(self, own: _OwnFile) -> None:
        _files.pop(own.path.parent, None)
        own.close()

    def _new_file(self) -> _OwnFile:
        return _OwnFile(LeaseLedger(self._folder))

    def _note(self, note: Callable[[_OwnFile], object], *, is_new: bool = False) -> None:
        try:
            with _lock:
                folder = self._folder or state_folder()
                own = _files.get(folder)
                if own is None and is_new:  # of an older lease nothing is left to be noted without a file
                    own = _files[folder] = self._new_file()
                if own is not None:
                    note(own)
                    if _files.get(folder) is own and own.is_gone():
                        self._rewrite(own)
        except (OSError, StrongroomError) as error:
            if not self._warned:
                self._warned = True
                _log.warning(
                    "the ledger of leases cannot be written (%s): `strongroom lease sweep` will not know of "
                    "what this process leaves behind", type(error).__name__,
                )  # fmt: skip


def _begin_again() -> None:
    """Close the parent's files in the child: an open descriptor would keep their locks past its end."""
    global _lock  # noqa: PLW0603  # another thread may have held it
    _lock = threading.RLock()
    for own in _files.values():
        with contextlib.suppress(OSError):
            os.close(own.descriptor)
    _files.clear()


# A file that is just being made is in no list yet: the child would keep it open, and so its lock.
renew_after_fork(LeaseLedger, lambda _: _begin_again(), rest=lambda _, take: take(_lock))
