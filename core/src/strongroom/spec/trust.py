"""Which specs that were found are used: root's, closed ones, and those that this user has trusted.

A spec decides which plugins and programs run, which variables and files are read, and where values go. A spec
that lies in a folder, such as a cloned repository, comes from the author of the folder, and working in the
folder does not mean agreeing with it.

Each trusted spec or folder is a file in the user's state folder: programs that trust something at the same
time lose nothing, and damage concerns one entry. A plain `get` imports this module, so it does without
pathlib.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

from strongroom.errors import ConfigurationError, UntrustedSpecError
from strongroom.paths.ownership import others_may_write, roots_own
from strongroom.runtime import digests
from strongroom.runtime.frozen import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Trusted", "all_asked", "forget", "is_trusted", "require", "state_folder", "trust", "trusted"]

_MARK = "strongroom trusts"
_FOLDER = "folder"
_MAX_BYTES = 1 << 16


class Trusted(NamedTuple):
    """One thing that this user trusts.

    Attributes:
        path: The spec, or the folder, with no symbolic link in it.
        digest: The SHA-256 of the spec's bytes in hexadecimal; None for a folder.
        at: When it was trusted, in seconds since 1970.
    """

    path: str
    digest: str | None
    at: float


def all_asked() -> bool:
    """Return whether the environment says that every spec is trusted."""
    return os.environ.get("STRONGROOM_TRUST_SPEC") == "1"


def require(path: str, data: bytes, status: os.stat_result, openings: Iterable[str]) -> bool:
    """Return whether the spec that was found at `path` is closed.

    Args:
        path: Where it was found.
        data: Its bytes, as they are used.
        status: The status of the file that they were read from.
        openings: What it does beyond a closed one; read only if that matters.

    Raises:
        UntrustedSpecError: It is neither root's, nor closed, nor trusted.
    """
    if all_asked() or roots_own(path, status):
        return False
    real = os.path.realpath(path)
    opening = _second_name(real, status) or next(iter(openings), None)
    if opening is None:
        return True
    if is_trusted(real, data, status):
        return False
    changed = any(one.path == real for one in trusted())
    why = "it has changed since you trusted it" if changed else "you have not trusted it"
    here = os.path.dirname(os.path.abspath(path)) == os.path.abspath("")
    command = "strongroom trust" if here else f"strongroom trust {_quoted(path)}"
    raise UntrustedSpecError(
        f"the spec {path} is not used: {why}, and {opening}",
        hint=f"read it, then run `{command}`; or name it with --spec",
    )


def _second_name(real: str, status: os.stat_result) -> str | None:
    """Return a phrase if another user may have given a spec the name that it has here."""
    if status.st_nlink > 1:
        with suppress(OSError):
            if others_may_write(os.stat(os.path.dirname(real))):
                return "it has another name somewhere (a hard link), and others may write this folder"
    return None


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)


def is_trusted(real: str, data: bytes, status: os.stat_result) -> bool:
    """Return whether this user trusts these bytes at this path, or their own files in a folder above it.

    Args:
        real: The path of the spec, with no symbolic link in it.
        data: Its bytes.
        status: The status of the file that they were read from.

    Raises:
        UntrustedSpecError: The entry is damaged, or is not this user's.
    """
    if _is_kept(real, digests.sha256(data).hexdigest()):
        return True
    folder = os.path.dirname(real)
    try:
        mine = not others_may_write(os.stat(folder)) and not others_may_write(status)
    except OSError:
        return False
    if not mine or status.st_uid != os.geteuid():
        return False
    while not _is_kept(folder, _FOLDER):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return False
    return True


def trust(real: str, data: bytes | None) -> None:
    """Trust these bytes at this path; without bytes, this user's own files in this folder and below.

    Args:
        real: The path, with no symbolic link in it.
        data: The bytes of a spec; None if the path is that of a folder.

    Raises:
        ConfigurationError: There is no place to keep the entry, or it cannot be written.
    """
    from pathlib import Path

    from strongroom.paths.atomic_write import write_atomically

    place = _place()
    if place is None:
        raise ConfigurationError(
            "this user has no home folder to keep the list of trusted specs in",
            hint="set HOME, name the spec with --spec, or set STRONGROOM_TRUST_SPEC=1",
        )
    what = _FOLDER if data is None else digests.sha256(data).hexdigest()
    try:
        Path(place).mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(Path(place) / _name(real, what), _text(real, what))
    except OSError as error:
        why = f"{place}: {error.strerror}"
    else:
        return
    raise ConfigurationError(f"the list of trusted specs cannot be written: {why}")


def forget(real: str) -> list[Trusted]:
    """Trust nothing at this path any more, and return what was trusted there."""
    from pathlib import Path

    found = [one for one in trusted() if one.path == real]
    for one in found:
        Path(_place() or "", _name(one.path, one.digest or _FOLDER)).unlink(missing_ok=True)
    return found


def trusted() -> Iterator[Trusted]:
    """Yield what this user trusts; damaged entries are left out, since they do not count."""
    place = _place()
    try:
        names = sorted(os.listdir(place)) if place is not None else []
    except OSError:
        return
    for name in names:
        found = _read(f"{place}/{name}")
        if isinstance(found, tuple):
            data, at = found
            head, _, path = data.removesuffix(b"\n").partition(b"\n")
            what = head.decode("ascii", errors="replace").removeprefix(f"{_MARK} ")
            real = os.fsdecode(path)
            if data == _text(real, what) and name == _name(real, what):
                yield Trusted(real, None if what == _FOLDER else what, at)


def _is_kept(real: str, what: str) -> bool:
    place = _place()
    if place is None:
        return False
    path = f"{place}/{_name(real, what)}"
    found = _read(path)
    if found is None:
        return False
    why = found if isinstance(found, str) else "is damaged" if found[0] != _text(real, what) else None
    if why is not None:
        raise UntrustedSpecError(
            f"cannot tell whether {real} is trusted: {path} {why}",
            hint="remove that file, then run `strongroom trust` again",
        )
    return True


def _read(path: str) -> tuple[bytes, float] | str | None:
    """Return an entry and its time, None if there is none, or why it must not be used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file"
        if status.st_uid not in {os.geteuid(), 0}:
            return f"belongs to user {status.st_uid}, not to you"
        if status.st_mode & 0o077:
            return "is open to others; chmod it to 600"
        return os.read(descriptor, _MAX_BYTES), status.st_mtime
    finally:
        os.close(descriptor)


def _text(real: str, what: str) -> bytes:
    return f"{_MARK} {what}\n".encode() + os.fsencode(real) + b"\n"


def _name(real: str, what: str) -> str:
    return digests.sha256(_text(real, what)).hexdigest()


def _place() -> str | None:
    """Return where the entries are kept; None for a user without a home."""
    folder = state_folder()
    return None if folder is None else f"{folder}/trusted"


def state_folder() -> str | None:
    """Return the user's state folder, never in the current folder; None without a home."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base) and os.environ.get("HOME") != "":
        own = "Library/Application Support" if sys.platform == "darwin" else ".local/state"
        home = os.path.expanduser("~")
        # A home that does not exist, as for some system users, is not made.
        base = f"{home}/{own}" if os.path.isdir(home) else ""
    return f"{base}/strongroom" if os.path.isabs(base) else None
