"""The files that `scan` searches: those that git does not ignore, or those staged for a commit."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

from strongroom.cli.errors import NOT_FOUND, UsageError
from strongroom.cli.standard_streams import input_may_not_block, read_stdin
from strongroom.providers.programs import refuse_lost_codes

__all__ = ["Unreadable", "files", "hooks_folder", "staged"]

_OF_VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".jj"})
_SUBMODULE = b"160000"
_NOT_OPENED = re.compile(rb"warning: could not open directory '(?P<name>.*)/': (?P<why>.*)")
"""What git prints about a folder that it cannot list, though it ends with 0."""


class Unreadable(NamedTuple):
    """A file or folder that could not be opened, and why."""

    path: str
    why: str


def files(paths: Sequence[str], *, submodules: bool = True) -> Iterator[tuple[str, IO[bytes]] | Unreadable]:
    """Yield every file under `paths` with its content; `-` is standard input.

    Each of `paths` is read in any case: a link is followed, a pipe is read to its end. In a folder of a git
    work tree, the files that git ignores are left out; elsewhere only the folders of version control
    themselves. Links and pipes in a folder are left out.

    Args:
        paths: Files and folders.
        submodules: Whether the work trees of submodules, and other work trees inside, are searched too.

    Raises:
        UsageError: One of `paths` is not there, or is a link to nothing (exit code 3).
    """
    for path in paths:
        _check_is_there(path)
    for path in paths:
        if path == "-":
            yield "-", BytesIO(read_stdin()) if input_may_not_block() else sys.stdin.buffer
        elif Path(path).is_dir():
            for found in _under(Path(path), submodules=submodules):
                yield from [found] if isinstance(found, Unreadable) else _opened(found)
        else:
            yield from _opened(Path(path), named=True)


def _check_is_there(path: str) -> None:
    if path == "-" or Path(path).exists():
        return
    if Path(path).is_symlink():
        raise UsageError(f"{path}: a broken link", code=NOT_FOUND)
    raise UsageError(f"{path}: no such file or folder")


def _opened(path: Path, *, named: bool = False) -> Iterator[tuple[str, IO[bytes]] | Unreadable]:
    try:
        # Opening a device, or a pipe inside a folder, might block, so the kind is looked at first.
        mode = (path.stat() if named else path.lstat()).st_mode
        if stat.S_ISREG(mode) or (named and (stat.S_ISFIFO(mode) or _is_a_terminal(path))):
            with path.open("rb") as content:
                yield str(path), content
        elif named:
            yield Unreadable(str(path), "neither a file nor a pipe")
    except FileNotFoundError:  # git lists it, and it was deleted
        return
    except OSError as error:
        yield Unreadable(str(path), error.strerror or "cannot be read")


def _is_a_terminal(path: Path) -> bool:
    return path.is_char_device() and os.path.realpath(path).startswith(("/dev/pts/", "/dev/tty", "/dev/null"))


def staged(paths: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield every file that the next commit adds or changes, with its content as it is staged.

    Files in conflict after a merge are left out: git makes no commit before they are staged.

    Raises:
        UsageError: There is no git, or this is not a work tree.
    """
    # `--no-relative`, since `diff.relative` in git's settings would leave out what is above this folder.
    options = ("--raw", "-z", "--no-abbrev", "--no-renames", "--no-relative", "--diff-filter=du")
    raw, _ = _git("diff", "--cached", *options, "--", *paths)
    raw_fields = iter(raw.split(b"\0")[:-1])
    changes = [
        (fields.split(), os.fsdecode(path)) for fields, path in zip(raw_fields, raw_fields, strict=True)
    ]
    objects = [(fields[3], path) for fields, path in changes if fields[1] != _SUBMODULE]
    with subprocess.Popen(
        ["git", "cat-file", "--batch"],  # noqa: S607  # the user's own git
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None  # noqa: S101  # asked for above
        assert process.stdout is not None  # noqa: S101  # as above
        for name, path in objects:
            process.stdin.write(name + b"\n")
            process.stdin.flush()
            size = int(process.stdout.readline().split()[2])
            content = process.stdout.read(size)
            process.stdout.read(1)
            yield path, BytesIO(content)
        process.stdin.close()


def hooks_folder() -> Path:
    """Return the folder of git's hooks.

    Raises:
        UsageError: There is no git, or this is not a work tree.
    """
    return Path(os.fsdecode(_git("rev-parse", "--git-path", "hooks")[0].rstrip(b"\n")))


def _under(folder: Path, *, submodules: bool) -> Iterator[Path | Unreadable]:
    listed, passed_over = b"", b""
    with contextlib.suppress(UsageError):
        listed, passed_over = _git(
            "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=folder
        )
    # If git lists nothing, it ignores the whole folder, which the user has named on purpose.
    names = [os.fsdecode(name) for name in dict.fromkeys(listed.split(b"\0")) if name]
    if not names:
        yield from _walk(folder)
        return
    for line in passed_over.splitlines():
        warning = _NOT_OPENED.fullmatch(line)
        if warning is None:
            yield Unreadable(str(folder), f"git says: {os.fsdecode(line)}")
        else:
            yield Unreadable(str(folder / os.fsdecode(warning["name"])), os.fsdecode(warning["why"]))
    for name in names:
        path = folder / name
        # The work tree of a submodule, or another one inside this one.
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114  # `Path.is_dir` may raise
            yield from _under(path, submodules=submodules) if submodules else ()
        else:
            yield path


def _walk(folder: Path) -> Iterator[Path | Unreadable]:
    refused: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(set(folders) - _OF_VERSION_CONTROL)
        yield from (Path(place, name) for name in sorted(names))
    for error in refused:
        yield Unreadable(str(error.filename), error.strerror or "cannot be read")


def _git(*words: str, folder: Path | None = None) -> tuple[bytes, bytes]:
    """Return what git prints to stdout and stderr."""
    done = _ran(*words, folder=folder)
    if done.returncode:
        # Outside of a repository some commands print all their options instead of the reason.
        asked = _ran("rev-parse", "--is-inside-work-tree", folder=folder)
        reason = (asked.stderr or done.stderr).decode(errors="replace").strip().partition("\n")[0]
        raise UsageError(f"git {words[0]} failed: {reason}")
    return done.stdout, done.stderr


def _ran(*words: str, folder: Path | None) -> subprocess.CompletedProcess[bytes]:
    refuse_lost_codes("git")
    try:
        return subprocess.run(  # noqa: S603  # words of our own
            ["git", *words],  # noqa: S607  # the user's own git
            check=False,
            capture_output=True,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        problem = UsageError("git is not installed")
    except PermissionError:
        problem = UsageError(f"{folder}: Permission denied")
    raise problem
