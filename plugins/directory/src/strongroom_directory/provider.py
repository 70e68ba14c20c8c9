"""The provider for files in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from strongroom.deadlines import check_limits
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    StrongroomError,
    ValidationError,
    show_key,
)
from strongroom.keys import check_key, check_keys, check_prefix, check_value, visible_keys
from strongroom.providers import BaseProvider, SecretMetadata, expect_version
from strongroom.providers.files import (
    file_error,
    file_version,
    folder_locked,
    replace_file,
    status_of,
    sync_folder,
    written_at,
)

from strongroom_directory.names import Names, forms_of, key_of

__all__ = ["DirectorySecretProvider"]

T = TypeVar("T")

_DATA = "..data"
"""The link in a Kubernetes mount to the folder with the files; an update replaces it. Further volumes that
are mounted below are folders beside it."""
_SWAPS = 20
"""After so many updates during one call it gives up."""
_DEEPEST = 600
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})


class _File(NamedTuple):
    data: bytes
    status: os.stat_result


class DirectorySecretProvider(BaseProvider):
    """Each file of a folder is a secret: what Kubernetes, Docker and systemd mount, or your own.

    A value is the file's bytes as they are, nothing stripped. Names that begin with a dot are left out.

    Args:
        path: The folder. Links in it are followed where they lead to files below it.
        writable: Whether secrets are written and deleted, too; the folder is made where it is missing.
        suffix: What the names of files end with and keys do not; files with another end are left out.
        timeout: Seconds that a write waits for the writes of other processes.

    Raises:
        ConfigurationError: `path` is empty, `suffix` cannot end a name, or `timeout` is not more than 0.
    """

    type_name = "directory"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        writable: bool = False,
        suffix: str = "",
        timeout: float = 10.0,
    ) -> None:
        if not isinstance(suffix, str) or "/" in suffix or not suffix.isprintable() or len(suffix) > 64:  # noqa: PLR2004  # as in the config
            raise ConfigurationError(
                f"directory: the suffix {show_key(suffix)} cannot end a file's name",
                provider=self.type_name,
                hint="use one such as .txt",
            )
        check_limits(self.type_name, counts={}, timeout=timeout)
        if path == "":  # of a variable that is not set: all files of the current folder would be secrets
            raise ConfigurationError(
                "directory: the path is empty", provider=self.type_name, hint="the current folder is '.'"
            )
        self._path = Path(path)
        self._writable = bool(writable)
        self._suffix = suffix
        self._timeout = timeout

    def address(self) -> dict[str, str]:
        """Return what decides which secret is meant."""
        return {"path": str(self._root()), "suffix": self._suffix}

    def get_secret(self, key: str) -> str:
        """Return the text of the file of `key`.

        Raises:
            ValidationError: It is not text in UTF-8, or no file that can be read to an end.
            ConfigurationError: The folder is not there, or the file is a link that leads out of it.
        """
        check_key(key)
        found = self._read_all([key]).get(key)
        if found is None:
            raise self._not_found(key)
        return found

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of those of `keys` that are there, all of one state of a Kubernetes mount."""
        return self._read_all(check_keys(keys))

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        return visible_keys(self._settled(lambda base: (True, list(self._keys(base))), []), prefix)

    def describe_secret(self, key: str) -> SecretMetadata:
        """Return a version, which any write changes, and the time of the last write."""
        check_key(key)

        def look(base: Path) -> tuple[bool, _File | None]:
            found = self._file(base, key, with_data=False)
            return found is not None, found

        secret_file = self._settled(look, None)
        if secret_file is None:
            raise self._not_found(key)
        status = secret_file.status
        return SecretMetadata(key, file_version(status), None, written_at(status))

    def set_secret(self, key: str, value: str) -> None:
        check_value(value, check_key(key))
        with self._writing(key, "write") as base:
            self._write(base, key, value)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        """Write if the file has `expected_version`.

        Writers of strongroom keep each other out. What another program changes between the last look and the
        step in which the new file replaces the old one, some microseconds, is not seen.
        """
        check_value(value, check_key(key))
        with self._writing(key, "write") as base:
            found = self._file(base, key, with_data=False)
            current = file_version(found.status) if found is not None else None
            expect_version(self.type_name, key, current, expected_version)
            return file_version(self._write(base, key, value, conditional=True))

    def delete_secret(self, key: str) -> None:
        check_key(key)
        with self._writing(key, "delete") as base:
            there = [names for names in forms_of(key, self._suffix) if self._is_file(base.joinpath(*names))]
            if not there:
                raise self._not_found(key)
            # The one that is not read first goes first: until the other is gone as well, nothing has changed.
            for names in reversed(there):
                self._remove(base, names)

    def diagnose(self) -> dict[str, str]:
        """Return the facts for `strongroom doctor`, and the usual problems of such folders."""
        keys = self.list_secrets()
        report = {"folder": str(self._root()), "can_list": f"yes, {len(keys)} keys"}
        if (self._root() / _DATA).is_symlink():
            report["mounted"] = "by Kubernetes"
        newlines = 0
        for key in keys:
            try:
                newlines += self.get_secret(key).endswith("\n")
            except (SecretNotFoundError, ValidationError):
                continue
        if newlines:
            values = "1 value" if newlines == 1 else f"{newlines} values"
            report["end in a newline"] = f"{values}, of which it is a part: write such files with printf"
        return report

    def verify(self) -> list[str]:
        """Return a line for each file that is not a secret though it looks like one, and why."""
        problems = []
        for key in self.list_secrets():
            try:
                self.get_secret(key)
            except SecretNotFoundError:
                continue
            except (ValidationError, PermissionDeniedError, ConfigurationError) as error:
                problems.append(error.message)
        return problems

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self._path)!r}>"

    # --- reading ---

    def _root(self) -> Path:
        try:
            return self._path.expanduser().absolute()
        except RuntimeError:
            message = f"directory: {show_key(str(self._path))}: this user has no home folder"
        raise ConfigurationError(message, provider=self.type_name, hint="set HOME, or write the whole path")

    def _base(self) -> Path:
        """Return the folder with the files as it is now: what the link of Kubernetes leads to, if any."""
        root = Path(os.path.realpath(self._root()))
        try:
            target = (root / _DATA).readlink()
        except OSError:
            return root
        base = Path(os.path.realpath(root / target))
        return base if base.is_relative_to(root) else root

    def _settled(self, look: Callable[[Path], tuple[bool, T]], nothing: T) -> T:
        """Return the result of `look` on one state of the folder.

        Args:
            look: Gets the folder, and tells whether it found all that it looked for, and what. Files that
                were not there may be in the folder that has meanwhile taken its place.
            nothing: What is found in a folder that the first write makes.
        """
        for _ in range(_SWAPS):
            base = self._base()
            result = self._looked(look, base)
            there = base.is_dir()
            is_current = base == self._base()
            if result is not None and there and (result[0] or is_current):
                return result[1]
            if is_current and not there:
                if self._writable:
                    return nothing
                is_file = base.exists()
                raise ConfigurationError(
                    f"directory: {self._root()} is not a folder"
                    if is_file
                    else f"directory: there is no folder {self._root()}",
                    provider=self.type_name,
                    hint="correct `path`" if is_file else "mount it, or correct `path`",
                )
        raise BackendUnavailableError(
            f"directory: {self._root()} changes again and again while it is read",
            provider=self.type_name,
            hint="call again",
        )

    def _looked(self, look: Callable[[Path], tuple[bool, T]], base: Path) -> tuple[bool, T] | None:
        """Return the result of `look`; None if a file or folder vanished meanwhile."""
        try:
            return look(base)
        except StrongroomError:
            raise  # some of which are the operating system's for Python as well
        except FileNotFoundError:
            return None
        except OSError as error:
            failed = file_error(error, f"read {self._root()}", provider=self.type_name)
        raise failed

    def _read_all(self, keys: list[str]) -> dict[str, str]:
        def look(base: Path) -> tuple[bool, dict[str, bytes]]:
            found = {key: file.data for key in keys if (file := self._file(base, key)) is not None}
            return len(found) == len(set(keys)), found

        nothing: dict[str, bytes] = {}
        return {key: self._text(key, data) for key, data in self._settled(look, nothing).items()}

    def _file(self, base: Path, key: str, *, with_data: bool = True) -> _File | None:
        for path in self._paths(base, key):
            try:
                # Without waiting: somebody may have put a pipe there.
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                if error.errno in _ABSENT:
                    continue
                if error.errno in {errno.ELOOP, errno.ENXIO}:
                    raise self._no_file(key) from None
                raise file_error(error, f"read {path}", provider=self.type_name, key=key) from None
            try:
                status = os.fstat(descriptor)
                if stat.S_ISDIR(status.st_mode):
                    continue
                if not stat.S_ISREG(status.st_mode):
                    raise self._no_file(key)
                self._check_inside(path, key)
                with os.fdopen(os.dup(descriptor), "rb") as file:
                    return _File(file.read() if with_data else b"", status)
            finally:
                os.close(descriptor)
        return None

    def _paths(self, base: Path, key: str) -> Iterator[Path]:
        """Yield where the file of `key` may be."""
        for names in forms_of(key, self._suffix):
            yield base.joinpath(*names)
            root = Path(os.path.realpath(self._root()))
            if base != root and not (root / names[0]).is_symlink():
                yield root.joinpath(*names)

    def _no_file(self, key: str) -> ValidationError:
        return ValidationError(
            f"directory: {show_key(key)} is not a file: a pipe, a socket, a device, or links in a circle",
            key=key,
            provider=self.type_name,
            hint="put a file in its place, or leave it out by `suffix`",
        )

    def _check_inside(self, path: Path, key: str) -> None:
        """Refuse a link that leads out of the folder: one from elsewhere must not name files of yours."""
        root = os.path.realpath(self._root())
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise ConfigurationError(
                f"directory: {show_key(key)} is a link that leads out of {self._root()}",
                key=key,
                provider=self.type_name,
                hint="name the folder that holds both the link and its target, or put the file itself there",
            )

    def _text(self, key: str, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass  # its `object` is the value: raised below, where it is no longer the context
        raise ValidationError(
            f"directory: {show_key(key)} is not text in UTF-8",
            key=key,
            provider=self.type_name,
            hint="store binary data as base64 text",
        )

    def _keys(self, base: Path) -> Iterator[str]:
        root = os.path.realpath(self._root())
        walks = [self._walk(root, base, (), (base,))]
        if base != Path(root):
            walks.append(self._walk(root, Path(root), (), (Path(root),), with_links=False))
        for walk in walks:
            yield from (key for names in walk if (key := key_of(names, self._suffix)))

    def _walk(
        self, root: str, folder: Path, above: Names, way: tuple[Path, ...], *, with_links: bool = True
    ) -> Iterator[Names]:
        """Yield the names of files below `folder`.

        Args:
            root: What no link may lead out of.
            folder: The folder, as it was reached.
            above: Its names.
            way: The folders from which links led here, and this one at the end; all without links.
            with_links: Whether links in this very folder count: those of Kubernetes lead to `..data`.
        """
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in found:
            names = (*above, entry.name)
            further = (*way[:-1], way[-1] / entry.name)
            if entry.is_symlink():
                if not with_links:
                    continue
                target = Path(os.path.realpath(entry.path))
                if not self._may_follow(root, target, way):
                    continue  # to elsewhere, or in a circle
                further = (*way, target)
            if entry.is_dir():
                if len(names) < _DEEPEST:
                    with contextlib.suppress(FileNotFoundError):  # removed since
                        yield from self._walk(root, Path(entry.path), names, further)
            elif entry.is_file():
                yield names

    @staticmethod
    def _may_follow(root: str, target: Path, way: tuple[Path, ...]) -> bool:
        """Return whether a link stays below the root and does not lead back to where it was come from."""
        return (
            target.exists()
            and target.is_relative_to(root)
            and not any(one.is_relative_to(target) for one in way)
        )

    def _not_found(self, key: str) -> SecretNotFoundError:
        names = "/".join(forms_of(key, self._suffix)[0])
        return SecretNotFoundError(
            key, provider=self.type_name, hint=f"there is no file {show_key(names)} in {self._root()}"
        )

    # --- writing ---

    @contextmanager
    def _writing(self, key: str, doing: str) -> Iterator[Path]:
        """Yield the folder to write to, and lock out all other writers of strongroom."""
        root = self._root()
        if not self._writable:
            raise ReadOnlyError(
                f"directory: {doing} {show_key(key)}: {root} is read-only",
                key=key,
                provider=self.type_name,
                hint="set `writable: true` if you may write to it",
            )
        try:
            if doing == "delete" and not root.exists():
                raise self._not_found(key)
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            base = Path(os.path.realpath(root))
            if (base / _DATA).is_symlink():
                raise ReadOnlyError(
                    f"directory: {doing} {show_key(key)}: {root} is written by Kubernetes",
                    key=key,
                    provider=self.type_name,
                    hint="change the Secret or ConfigMap that is mounted there",
                )
            with folder_locked(base, seconds=self._timeout, provider=self.type_name):
                yield base
        except StrongroomError:
            raise  # as in `_looked`
        except OSError as error:
            failed = file_error(error, f"{doing} {show_key(key)} in {root}", provider=self.type_name, key=key)
        else:
            return
        raise failed

    def _write(self, base: Path, key: str, value: str, *, conditional: bool = False) -> os.stat_result:
        plain, flat = forms_of(key, self._suffix)
        chosen = plain if self._make_room(base, plain, key) else flat
        if chosen is flat and not self._make_room(base, flat, key):
            raise ConfigurationError(
                f"directory: something that is not a file is in the way of {show_key(key)}",
                key=key,
                provider=self.type_name,
                hint=f"look at {'/'.join(flat)!r} in {self._root()}",
            )
        target = base.joinpath(*chosen)
        seen = status_of(target)

        def check(now: os.stat_result | None) -> None:
            if conditional:
                current, expected = (file_version(one) if one is not None else None for one in (now, seen))
                expect_version(self.type_name, key, current, expected)

        written = replace_file(target, value.encode(), check=check)
        if chosen is plain and self._is_file(base.joinpath(*flat)):
            self._remove(base, flat)
        return written

    def _make_room(self, base: Path, names: Names, key: str) -> bool:
        """Make the folders that `names` need; return whether nothing is in the way."""
        folder = base
        for name in names[:-1]:
            folder /= name
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                if not folder.is_dir():
                    return False
                self._check_inside(folder, key)
            else:
                sync_folder(folder.parent)
        return not (folder / names[-1]).is_dir()

    @staticmethod
    def _is_file(path: Path) -> bool:
        """Return whether there is a file, or a link to one, or to nothing."""
        try:
            return not path.is_dir() and stat.S_IFMT(path.lstat().st_mode) in {stat.S_IFREG, stat.S_IFLNK}
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise

    @staticmethod
    def _remove(base: Path, names: Names) -> None:
        path = base.joinpath(*names)
        path.unlink()
        sync_folder(path.parent)
        for folder in list(path.parents)[: len(names) - 1]:
            try:
                folder.rmdir()
            except OSError:
                return  # there is something else in it
