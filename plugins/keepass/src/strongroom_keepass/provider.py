"""The provider for KeePass databases."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from strongroom.deadlines import check_limits
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    DecryptionError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    ValidationError,
    show_key,
)
from strongroom.keys import check_key, check_keys, check_prefix, check_value, visible_keys
from strongroom.parallel import Take, forks_wait, renew_after_fork
from strongroom.plugins.credentials import newest
from strongroom.providers import BaseProvider, SecretMetadata, SecretVersion, expect_version
from strongroom.providers.files import (
    file_error,
    file_version,
    folder_locked,
    replace_file,
    version_of,
)

from strongroom_keepass.database import NOT_XML, Database, saved

__all__ = ["KeePassSecretProvider"]

_ATTEMPTS: Final = 5
"""How often a call begins again after a write of another program."""


class _State(NamedTuple):
    """The file as it was read: its version, None where there is none, and what is in it."""

    version: str | None
    database: Database


class KeePassSecretProvider(BaseProvider):
    """Secrets in a KeePass database, by pykeepass; a key is the path of an entry: `group/entry`.

    The key that is derived from password and key file, which takes a second or so, is kept in this process.
    KDBX 4 and 3.1 are read and written as they are; a new database is KDBX 4.

    Args:
        path: The database; made on the first write.
        password: Its master password.
        key_file: Its key file.
        field: The field of entries that is the secret: password, username, url, notes, or an attribute.
        timeout: Seconds that a write waits for the writes of other processes.

    Raises:
        ConfigurationError: Neither `password` nor `key_file` is given, or an option makes no sense.
    """

    type_name = "keepass"

    def __init__(
        self,
        path: str | os.PathLike[str],
        password: str | None = None,
        *,
        key_file: str | os.PathLike[str] | None = None,
        field: str = "password",
        timeout: float = 10.0,
    ) -> None:
        check_limits(self.type_name, counts={}, timeout=timeout)
        if password is None and key_file is None:
            raise ConfigurationError(
                "keepass: neither password nor key_file is given",
                provider=self.type_name,
                hint='give one of them, such as password: "${env:KEEPASS_PASSWORD}"',
            )
        if not isinstance(field, str) or not field or field.lower() == "title":
            raise ConfigurationError(
                f"keepass: the field {show_key(field)} cannot be a secret", provider=self.type_name
            )
        self._path = Path(path).expanduser().absolute()
        self._given = self._password = password
        self._key_file = None if key_file is None else Path(key_file).expanduser().absolute()
        self._field = field.lower() if field.lower() in {"password", "username", "url", "notes"} else field
        self._timeout = timeout
        self._state: _State | None = None
        self._derived: bytes | None = None
        self._begin_again()
        renew_after_fork(self, KeePassSecretProvider._begin_again, rest=KeePassSecretProvider._rest)

    def _begin_again(self) -> None:
        self._lock = threading.RLock()

    def _rest(self, take: Take) -> None:
        take(self._lock)  # a child must not have half a change

    def address(self) -> dict[str, str]:
        """Return what decides which secret is meant."""
        return {"path": str(self._path), "field": self._field}

    def absent(self) -> str | None:
        """Return, in words, that there is no database yet; None if there is one."""
        return None if os.path.lexists(self._path) else f"there is no database {self._path}"

    def get_secret(self, key: str) -> str:
        check_key(key)
        with self._lock:
            database = self._read()
            return database.value(self._there(database, key)[0])

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = check_keys(keys)
        with self._lock:
            database = self._read()
            return {key: database.value(database.entries[key][0]) for key in asked if key in database.entries}

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return the keys of all entries that have the field; those in the recycle bin are left out."""
        check_prefix(prefix)
        with self._lock:
            return visible_keys(self._read().entries, prefix)

    def describe_secret(self, key: str) -> SecretMetadata:
        check_key(key)
        with self._lock:
            database = self._read()
            entry = self._there(database, key)[0]
            return SecretMetadata(key, database.version(entry), *database.times(entry))

    def list_versions(self, key: str) -> list[SecretVersion]:
        """Return the entry and its history: ten earlier versions where the database does not say how many."""
        check_key(key)
        with self._lock:
            database = self._read()
            self._there(database, key)
            return [
                SecretVersion(
                    database.version(one), database.times(one)[1], "previous" if number else "current"
                )
                for number, one in enumerate(database.versions(key))
            ]

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)
        with self._lock:
            database = self._read()
            self._there(database, key)
            for one in database.versions(key):
                if database.version(one) == version:
                    return database.value(one)
        raise SecretNotFoundError(key, f"secret {show_key(key)} has no such version", provider=self.type_name)

    def set_secret(self, key: str, value: str) -> None:
        self.set_secrets({key: value})

    def set_secrets(self, values: Mapping[str, str]) -> None:
        """Write all of `values`, with one replacement of the file."""
        checked = {check_key(key): self._checked(value, key) for key, value in values.items()}

        def change(database: Database) -> None:
            for key, value in checked.items():
                database.set(key, value)

        if checked:
            self._write(change)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        check_key(key)
        self._checked(value, key)

        def change(database: Database) -> str:
            there = database.version(database.entries[key][0]) if key in database.entries else None
            expect_version(self.type_name, key, there, expected_version)
            database.set(key, value)
            return database.version(database.entries[key][0])

        return str(self._write(change))

    def check_new_value(self, key: str, old: str, new: str) -> None:  # noqa: ARG002  # core's signature
        """Raise if `new` cannot be written, before a rotation changes anything else.

        Raises:
            ValidationError: It holds a character that a database cannot.
        """
        self._checked(new, check_key(key))

    def delete_secret(self, key: str) -> None:
        """Delete the entry with its history, not into the recycle bin.

        If the field is an attribute, an entry that holds something else keeps that, and loses the attribute.
        """
        check_key(key)

        def change(database: Database) -> None:
            self._there(database, key)
            database.delete(key)

        self._write(change)

    def close(self) -> None:
        """Forget the open database and the derived key; the next call opens it again."""
        with self._lock:
            self._state = self._derived = None

    def diagnose(self) -> dict[str, str]:
        """Return the facts for `strongroom doctor`."""
        with self._lock:
            self._check_key_file()
            database = self._read()
            if database.opened is None:
                return {"file": f"{self._path} is not there; the first write makes it"}
            major, minor = database.opened.version
            report = {"file": str(self._path), "format": f"KDBX {major}.{minor}"}
            report["can_list"] = f"yes, {len(database.entries)} keys"
            twins = sum(len(found) > 1 for found in database.entries.values())
            if twins:
                report["entries of one name"] = f"{twins} keys, of which the first entry is read"
            return report

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self._path)!r}>"

    # --- reading ---

    def _there(self, database: Database, key: str) -> list[Any]:
        found = database.entries.get(key)
        if found is None:
            raise SecretNotFoundError(key, provider=self.type_name)
        return found

    def _checked(self, value: str, key: str) -> str:
        if NOT_XML.search(check_value(value, key)):
            raise ValidationError(
                f"keepass: the value for {show_key(key)} holds a character that a database cannot",
                key=key,
                provider=self.type_name,
                hint="store binary data as base64 text",
            )
        return value

    def _read(self) -> Database:
        state = self._state
        if state is None or state.version != self._seen():
            state = self._state = self._loaded()
        return state.database

    def _seen(self) -> str | None:
        return version_of(self._path, provider=self.type_name)

    def _loaded(self) -> _State:
        for _ in range(_ATTEMPTS):
            version = self._seen()
            if version is None:
                self._check_key_file()
                # Making a new one derives its key, which takes long: only the first write does it.
                return _State(None, Database(None, self._field))
            try:
                data = self._path.read_bytes()
            except OSError as error:
                failed = file_error(error, f"read {self._path}", provider=self.type_name)
            else:
                if self._seen() != version:  # somebody wrote it meanwhile
                    continue
                return _State(version, Database(self._opened(data), self._field))
            raise failed
        raise BackendUnavailableError(
            f"keepass: {self._path} is written again and again", provider=self.type_name, hint="call again"
        )

    def _opened(self, data: bytes) -> Any:
        with forks_wait():
            from pykeepass import PyKeePass
        from pykeepass.exceptions import CredentialsError

        damaged = None
        if self._derived is not None:
            try:
                return PyKeePass(io.BytesIO(data), transformed_key=self._derived, **self._credentials())
            except CredentialsError:
                pass  # another program derives another key for each file that it writes
            except Exception as error:  # noqa: BLE001  # whatever a damaged file makes of its parser
                damaged = self._error(error)
        if damaged is not None:  # outside of the handler: a parser's error may show what was decrypted
            raise damaged
        self._check_key_file()
        try:
            opened = PyKeePass(io.BytesIO(data), **self._credentials())
            self._derived = opened.transformed_key
        except Exception as error:  # noqa: BLE001  # as above
            failed = self._error(error)
        else:
            return opened
        if isinstance(failed, DecryptionError) and (now := newest(self._given)) != self._password:
            self._password, self._derived = now, None
            return self._opened(data)
        raise failed

    def _credentials(self) -> dict[str, Any]:
        return {
            "password": self._password,
            "keyfile": None if self._key_file is None else str(self._key_file),
        }

    def _error(self, error: Exception) -> StrongroomError:
        kind = type(error).__name__
        if kind == "CredentialsError":
            return DecryptionError(
                f"keepass: {self._path}: the password or the key file does not open it",
                provider=self.type_name,
                hint="check both: a database that has a key file needs it as well as the password",
            )
        if kind == "HeaderChecksumError" and "Not a KeePass" in str(error):
            return ConfigurationError(
                f"keepass: {self._path} is not a KeePass database",
                provider=self.type_name,
                hint="correct path",
            )
        return TamperedError(
            f"keepass: {self._path} is damaged, or was changed ({kind})",
            provider=self.type_name,
            hint="restore a copy of it",
        )

    def _blank(self) -> Any:
        """Return a new database in memory, with these credentials."""
        with forks_wait():
            from pykeepass import PyKeePass
            from pykeepass.pykeepass import BLANK_DATABASE_LOCATION, BLANK_DATABASE_PASSWORD
        self._derived = None  # that of a database that was removed does not fit the salt of this one
        opened = PyKeePass(BLANK_DATABASE_LOCATION, BLANK_DATABASE_PASSWORD)
        opened.password = self._password
        if self._key_file is not None:
            opened.keyfile = str(self._key_file)
        return opened

    def _check_key_file(self) -> None:
        """Check that there is a key in the key file, as KeePassXC does.

        Raises:
            ConfigurationError: It is not there, is empty, or is damaged: an XML file whose hash is another.
        """
        if self._key_file is None:
            return
        with forks_wait():
            from pykeepass.kdbx_parsing.common import compute_key_composite
        hint = "correct key_file"
        try:
            if not (data := self._key_file.read_bytes()):
                reason, hint = "is empty", "restore a copy of it, or correct key_file"
            else:
                compute_key_composite(keyfile=io.BytesIO(data))
                return
        except FileNotFoundError:
            reason = "is not there"
        except OSError as error:
            raise file_error(error, f"read {self._key_file}", provider=self.type_name) from None
        except Exception:  # noqa: BLE001  # whatever a damaged one makes of its parser
            reason, hint = "is damaged", "restore a copy of it"
        raise ConfigurationError(
            f"keepass: the key file {self._key_file} {reason}", provider=self.type_name, hint=hint
        )

    # --- writing ---

    def _write(self, change: Callable[[Database], Any]) -> Any:
        """Return the result of `change`, after writing the changed database.

        What another program writes meanwhile is not overwritten: the change begins again on its file.
        """
        target = Path(os.path.realpath(self._path))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (
                # First the one that may take long to come: readers do not need it.
                folder_locked(target.parent, seconds=self._timeout, provider=self.type_name),
                self._lock,
            ):
                for _ in range(_ATTEMPTS):
                    database = self._read()
                    state = self._state
                    self._state = None  # until it is on the disk, what is in memory is nothing to read
                    if database.opened is None:
                        database = Database(self._blank(), self._field)
                    result = change(database)
                    if self._saved(database, None if state is None else state.version, target):
                        return result
        except StrongroomError:
            raise  # some of which are the operating system's for Python as well
        except OSError as error:
            failed = file_error(error, f"write {self._path}", provider=self.type_name)
        else:
            raise BackendUnavailableError(
                f"keepass: {self._path} is written by others again and again",
                provider=self.type_name,
                hint="call again",
            )
        raise failed

    def _saved(self, database: Database, version: str | None, target: Path) -> bool:
        """Write the database; tell whether nobody else had written it since it was read."""
        data = saved(database.opened, self._derived)

        def unchanged(_: object) -> None:
            if self._seen() != version:
                raise _MeanwhileError

        try:
            status = replace_file(target, data, check=unchanged)
        except _MeanwhileError:
            return False
        if self._derived is None:  # a new database: its key is derived at the next read, from its own salt
            return True
        self._state = _State(file_version(status), database)
        return True


class _MeanwhileError(Exception):
    pass
