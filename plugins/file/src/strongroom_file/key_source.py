"""The source of the key: given, or in a file that the first write makes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.encryption.keyfiles import (
    NEXT,
    NEXT_FOR_ALL,
    content_of,
    next_for_all,
    next_key_file,
    place,
    plain_path,
    read_bytes,
    replace,
    text_in,
)
from strongroom.encryption.keys import HoldsKey, KeyMaterial, format_key, generate_key, read_key
from strongroom.errors import ConfigurationError, ConflictError, StrongroomError

from strongroom_file.files import translated_os
from strongroom_file.integrity import TYPE_NAME

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "FileKey",
    "GivenKey",
    "KeySource",
    "key_source",
    "key_text",
    "next_key_file",
    "read_key_file",
]

ENVIRONMENT_VARIABLE = "STRONGROOM_ENCRYPTION_KEY"
_MOST_TRIED = 32
"""The derivation of a key from a passphrase takes long."""


class GivenKey(HoldsKey):
    """A key that the caller gives."""

    path: Path | None = None

    def __init__(self, material: KeyMaterial, older: Sequence[KeyMaterial] = ()) -> None:
        self._material = material
        self._older = tuple(older)

    def candidates(self) -> list[KeyMaterial]:
        return [self._material, *self._older]

    def create(self) -> KeyMaterial:
        return self._material

    def kept_old(self, opens: Callable[[KeyMaterial], bool]) -> Path | None:
        """Return nothing: beside a key that is given no rekey leaves one."""

    def opened_by(self, material: KeyMaterial) -> None:
        """Note the key that opened the store."""

    def replace(self, material: KeyMaterial) -> None:
        self._material = material

    def prepare(self, material: KeyMaterial | None, opened: KeyMaterial) -> KeyMaterial:
        """Return the next key, which the caller has to give, unless an older one opened the store.

        Raises:
            ConfigurationError: None is given, and a generated one would be lost with this process.
        """
        if material is None and opened == self._material:
            raise ConfigurationError(
                "this store's key is not in a key file: give the new one",
                provider=TYPE_NAME,
                hint="make a key with `strongroom keygen`",
            )
        return self._material if material is None else material


class FileKey(HoldsKey):
    """A key in a file. During a rekey the next one is beside it."""

    def __init__(self, path: str | os.PathLike[str], older: Sequence[KeyMaterial] = ()) -> None:
        self._place = plain_path(path)
        self._older = tuple(older)

    @cached_property
    def path(self) -> Path:
        """The key file."""
        from pathlib import Path  # a plain read needs no `pathlib`

        return Path(self._place)

    def candidates(self) -> list[KeyMaterial]:
        """Return the keys that may open the store, the likeliest first.

        Raises:
            ConfigurationError: There is no key file, or it holds no key.
        """
        # The next keys are read first: a rekey may move one to the key file while this looks.
        waiting = [read_key_file(self._place + NEXT), read_key_file(self._place + NEXT_FOR_ALL)]
        found = [read_key_file(self._place), *waiting]
        known = [material for material in found if material is not None]
        if not known:
            raise ConfigurationError(
                f"the key file {self._place} is missing, and the store cannot be read without it",
                provider=TYPE_NAME,
                hint="put the key file back; a new key would not open what is stored",
            )
        return [*known, *self._older]

    def create(self) -> KeyMaterial:
        """Return the key for a new store, and make the file if there is none.

        Raises:
            ConfigurationError: The key file vanished as soon as it was made.
        """
        found = read_key_file(self.path)
        if found is not None:
            return found
        write_key_file(self.path, generate_key())
        material = read_key_file(self.path)
        if material is None:  # pragma: no cover  # somebody deletes it as fast as it is made
            raise ConfigurationError(
                f"the key file {self.path} vanished as soon as it was made",
                provider=TYPE_NAME,
                hint="see which program removes it, then try again",
            )
        return material

    def kept_old(self, opens: Callable[[KeyMaterial], bool]) -> Path | None:
        """Return the first of the keys that rekeys have left beside the key file which `opens`.

        Its name says which store it was left for, and the key may be that of others, too.
        """
        begin, kept = f"{self.path.name}.old-", []
        with suppress(OSError):
            kept = sorted(one for one in self.path.parent.iterdir() if one.name.startswith(begin))
        for old in kept[:_MOST_TRIED]:
            with suppress(StrongroomError):  # it is not a key file, or may not be read
                material = read_key_file(old, older=True)
                if material is not None and opens(material):
                    return old
        return None

    def opened_by(self, material: KeyMaterial) -> None:
        """Finish a rekey that was interrupted: the key that opened the store takes the key file's place.

        Who may not do that reads all the same, and leaves it to the next one.
        """
        if read_key_file(self._place + NEXT) == material:
            with suppress(StrongroomError):
                self.replace(material)

    def replace(self, material: KeyMaterial) -> None:
        """Replace the key file by the next key, under which the store is now."""
        waiting = next_key_file(self.path)
        if read_key_file(waiting) == material:
            try:
                with _of_the_store():
                    replace(waiting, self.path)
            except StrongroomError:
                if read_key_file(self.path) != material:  # else another process has just done it
                    raise

    def prepare(self, material: KeyMaterial | None, opened: KeyMaterial) -> KeyMaterial:
        """Write the next key beside the key file, and return it.

        If none is given, it is the one that an earlier rekey left there, or a new one; if an older key opened
        the store, it is the one in the key file.

        Raises:
            ConfigurationError: A file cannot hold the new key.
            ConflictError: Another process has just put another one there.
        """
        if material is None and opened in self._older:
            return self.create()
        waiting = next_key_file(self.path)
        found = read_key_file(waiting)
        if found is not None and material in {None, found}:
            return found
        with _of_the_store():
            waiting.unlink(missing_ok=True)
        write_key_file(waiting, generate_key() if material is None else key_text(material))
        written = read_key_file(waiting)
        if written is None or (material is not None and written != material):  # pragma: no cover  # a race
            raise ConflictError(
                f"another rekey with {self.path} has just begun", provider=TYPE_NAME, hint="try again"
            )
        return written

    def refuse_another_rekey(self) -> None:
        """Raise if another process is replacing the key everywhere.

        Raises:
            ConflictError: One is.
        """
        if next_for_all(self.path).exists():
            raise ConflictError(
                f"a rekey of all that uses {self.path} is under way, or was interrupted",
                provider=TYPE_NAME,
                hint="run `strongroom rekey --all` again",
            )


KeySource = GivenKey | FileKey


def key_text(material: KeyMaterial) -> str:
    """Return the text of a key for a key file."""
    if material.kind == "passphrase":
        return material.secret.decode()
    return format_key(material.secret)


def key_source(
    encryption_key: str | bytes | None,
    key_file: str | os.PathLike[str] | None,
    older_keys: Iterable[str | bytes] = (),
) -> KeySource:
    """Choose the source of the key, without looking at any file; older ones open the store as well.

    Raises:
        ConfigurationError: None is given, or two are, or what is given is not a key.
    """
    if encryption_key is not None and key_file is not None:
        raise ConfigurationError(
            "both encryption_key and key_file are given", provider=TYPE_NAME, hint="leave one of them out"
        )
    older = [read_key(one, older=True) for one in older_keys]
    if key_file is not None:
        return FileKey(key_file, older)
    key = encryption_key if encryption_key is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    if key is None:
        raise ConfigurationError(
            "the file store has no key: give encryption_key or key_file, or set " + ENVIRONMENT_VARIABLE,
            provider=TYPE_NAME,
            hint="make a key with `strongroom keygen`",
        )
    try:
        return GivenKey(read_key(key), older)
    except ConfigurationError as error:
        error.provider = TYPE_NAME
        if encryption_key is None:
            error.message = f"{ENVIRONMENT_VARIABLE}: {error.message}"
        raise


def read_key_file(path: str | os.PathLike[str], *, older: bool = False) -> KeyMaterial | None:
    """Return the key in a file; None if there is no file. See `read_key` for `older`.

    Raises:
        ConfigurationError: It holds no key, or is not a plain file of this user or root.
        PermissionDeniedError: It may not be read.
    """
    with _of_the_store():
        data = read_bytes(path)
    if data is None:
        return None
    text = text_in(data)
    if text is None:
        raise ConfigurationError(
            f"the key file {path} holds no key",
            provider=TYPE_NAME,
            hint="make one with `strongroom keygen`",
        )
    try:
        return read_key(text, older=older)
    except ConfigurationError as error:
        wrong = ConfigurationError(f"{path}: {error.message}", provider=TYPE_NAME, hint=error.hint)
    raise wrong


def write_key_file(path: Path, text: str) -> bool:
    """Make a key file, unless there is one; return whether it was made."""
    with translated_os(path, "make"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _of_the_store():
        return place(path, content_of(text))


@contextmanager
def _of_the_store() -> Iterator[None]:
    """Name this provider in errors about key files."""
    try:
        yield
    except StrongroomError as error:
        error.provider = TYPE_NAME
        raise
