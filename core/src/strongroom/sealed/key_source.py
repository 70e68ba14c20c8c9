"""Where the key of a sealed store comes from: given, or in a file that is made with the store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from strongroom.encryption.keyfiles import (
    content_of,
    keep_old,
    keep_out_of_git,
    next_for_all,
    next_key_file,
    place,
    read_bytes,
    refuse_link,
    replace,
    text_in,
)
from strongroom.encryption.keys import HoldsKey, KeyMaterial, format_key, generate_key, read_key
from strongroom.errors import BackendUnavailableError, ConfigurationError, StrongroomError

__all__ = ["ENVIRONMENT_VARIABLE", "StoreKeySource"]

ENVIRONMENT_VARIABLE: Final = "STRONGROOM_ENCRYPTION_KEY"


class StoreKeySource(HoldsKey):
    """The user's key for a sealed store.

    Args:
        provider: Type name of the provider.
        encryption_key: The key, or None.
        key_file: A file that holds it, or None.
        older_keys: Keys that open the store as well.

    Raises:
        ConfigurationError: There is no key, or there are two, or one of them is not a key.
    """

    def __init__(
        self,
        provider: str,
        encryption_key: str | bytes | None,
        key_file: str | os.PathLike[str] | None,
        older_keys: Iterable[str | bytes],
    ) -> None:
        self._provider = provider
        self.path = Path(key_file) if key_file is not None else None
        self._older: Sequence[KeyMaterial] = [read_key(one, older=True) for one in older_keys]
        self._given: KeyMaterial | None = None
        if encryption_key is not None and key_file is not None:
            raise ConfigurationError(
                "both encryption_key and key_file are given", provider=provider, hint="leave one of them out"
            )
        if key_file is not None:
            return
        key = encryption_key if encryption_key is not None else os.environ.get(ENVIRONMENT_VARIABLE)
        if key is None:
            raise ConfigurationError(
                f"the {provider} store has no key: give encryption_key or key_file, "
                f"or set {ENVIRONMENT_VARIABLE}",
                provider=provider,
                hint="make a key with `strongroom keygen`",
            )
        try:
            self._given = read_key(key)
        except ConfigurationError as error:
            error.provider = provider
            if encryption_key is None:
                error.message = f"{ENVIRONMENT_VARIABLE}: {error.message}"
            raise

    def candidates(self) -> list[KeyMaterial]:
        """Return the keys that may open the store, the likeliest first.

        Raises:
            ConfigurationError: There is no key file, or it holds no key.
        """
        if self._given is not None or self.path is None:
            return [one for one in (self._given, *self._older) if one is not None]
        # The next keys are read first: a rekey may move one to the key file between two reads.
        waiting = [self.read(next_key_file(self.path)), self.read(next_for_all(self.path))]
        known = [one for one in (self.read(self.path), *waiting, *self._older) if one is not None]
        if not known:
            raise ConfigurationError(
                f"the key file {self.path} is missing, and the store cannot be read without it",
                provider=self._provider,
                hint="put the key file back; a new key would not open what is stored",
            )
        return known

    def create(self) -> KeyMaterial:
        """Return the key for a new store; make the file if there is none.

        Raises:
            BackendUnavailableError: The folder of the key file cannot be made.
            ConfigurationError: The key file vanished as soon as it was made.
        """
        if self._given is not None or self.path is None:
            return self.candidates()[0]
        return self.read_or_make(self.path)

    def read_or_make(self, path: Path) -> KeyMaterial:
        """Return the key in a file, which is made if there is none.

        Raises:
            BackendUnavailableError: Its folder cannot be made.
            ConfigurationError: The file vanished as soon as it was made.
        """
        found = self.read(path)
        if found is not None:
            return found
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BackendUnavailableError(
                f"cannot make {path.parent}: {error.strerror}", provider=self._provider
            ) from error
        return self.place(path, generate_key())

    def place(self, path: Path, text: str) -> KeyMaterial:
        """Put a key into a file unless it exists; return the key in it.

        Raises:
            ConfigurationError: A file cannot hold it, or vanished as soon as it was made.
        """
        with self._named():
            place(path, content_of(text))
        material = self.read(path)
        if material is None:
            raise ConfigurationError(
                f"the key file {path} vanished as soon as it was made",
                provider=self._provider,
                hint="see which program removes it, then try again",
            )
        return material

    def next(self, given: KeyMaterial | None) -> KeyMaterial:
        """Return the next key for a rekey, after saving it beside the key file.

        Raises:
            ConfigurationError: None is given, and there is no file to keep a generated one in; or one that
                a file cannot hold.
        """
        if self.path is None:
            if given is None and self._older:
                return self.candidates()[0]
            if given is None:
                raise ConfigurationError(
                    "this store's key is not in a key file: give the new one",
                    provider=self._provider,
                    hint="make a key with `strongroom keygen`",
                )
            return given
        with self._named():
            refuse_link(self.path)
        text = generate_key() if given is None else key_text(given)
        waiting = next_key_file(self.path)
        keep_out_of_git(self.path)
        material = self.place(waiting, text)
        if given is not None and material != given:
            raise ConfigurationError(
                f"{waiting} holds the key of another rekey that was interrupted",
                provider=self._provider,
                hint="finish that one first, with no new key given",
            )
        return material

    def finish(self, material: KeyMaterial, key_id: str) -> Path | None:
        """Replace the key by `material`, which now wraps the store's key; return the file of the old key."""
        if self.path is None:
            self._older, self._given = (
                [one for one in (self._given, *self._older) if one is not None],
                material,
            )
            return None
        waiting = next_key_file(self.path)
        if self.read(waiting) != material:
            return None
        with self._named():
            kept = keep_old(self.path, key_id)
            replace(waiting, self.path)
        return kept

    def read(self, path: Path) -> KeyMaterial | None:
        """Return the key in a file, or None if there is no file.

        Raises:
            ConfigurationError: It holds no key, or is not a plain file of this user or root.
            PermissionDeniedError: It may not be read.
        """
        with self._named():
            data = read_bytes(path)
            if data is None:
                return None
            text = text_in(data)
            if text is not None:
                try:
                    return read_key(text)
                except ConfigurationError as error:
                    wrong = ConfigurationError(f"{path}: {error.message}", hint=error.hint)
                raise wrong
            raise ConfigurationError(
                f"the key file {path} holds no key", hint="make one with `strongroom keygen`"
            )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Put the provider's name into errors about key files."""
        try:
            yield
        except StrongroomError as error:
            error.provider = self._provider
            raise


def key_text(material: KeyMaterial) -> str:
    """Return the text of a key for a key file."""
    return material.secret.decode() if material.kind == "passphrase" else format_key(material.secret)
