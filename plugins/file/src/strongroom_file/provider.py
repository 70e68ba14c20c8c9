"""The provider over an encrypted store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar, NoReturn, TypeVar

from strongroom.encryption.keyfiles import content_of, keep_old, plain_path, refuse_link
from strongroom.encryption.keys import HoldsKey, KeyMaterial
from strongroom.errors import (
    ConfigurationError,
    ConflictError,
    DecryptionError,
    SecretTooLargeError,
    TamperedError,
    show_key,
)
from strongroom.keys import check_key, check_keys, check_prefix, check_value
from strongroom.parallel import SingleEntryLock, Take, forks_wait, renew_after_fork
from strongroom.providers import BaseProvider

from strongroom_file.integrity import StaleSessionError, name_file
from strongroom_file.key_source import FileKey, key_source, key_text, read_key_file
from strongroom_file.store import queries
from strongroom_file.store.queries import not_found

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.providers import Closeable, SecretChange, SecretMetadata, SecretVersion

    from strongroom_file.store.session import Highest, Session, Snapshot, VerifiedState
    from strongroom_file.store.transaction import WriteTransaction
    from strongroom_file.watch.changes import ChangeWatcher

__all__ = ["MAX_VALUE_BYTES", "FileSecretProvider"]

MAX_VALUE_BYTES = 256 * 1024 * 1024
"""The longest value, in bytes of UTF-8."""

_REOPENINGS = 3

Result = TypeVar("Result")


def _now() -> datetime:
    return datetime.now(UTC)


@cache
def _write_transaction() -> type[WriteTransaction]:
    """Return the class, which reads do not load. It is kept, as a second import takes some 3 µs."""
    from strongroom_file.store.transaction import WriteTransaction

    return WriteTransaction


class FileSecretProvider(HoldsKey, BaseProvider):
    """Secrets in one encrypted file, for many threads and processes of one machine, with every capability.

    Args:
        file_path: The store. It is made by the first write, and so is the key file.
        encryption_key: Text of `generate_key`, 32 bytes, a Fernet key, or a passphrase.
        key_file: A file that holds one of these as text.
        older_keys: Keys that open the store as well, also passphrases that are refused otherwise; a rekey
            leads away from them.
        max_versions: Versions kept of each secret, 1 to 1,000; current and pending ones are never dropped.
        timeout: Seconds that a write waits for the writes of others.
        clock: Gives the aware time now.

    Raises:
        ConfigurationError: There is no key, two, or one that is not valid; or an option is out of bounds.
    """

    type_name = "file"
    takes_text_paths: ClassVar[bool] = True
    """Paths from a spec may be given as text: a read then needs no `pathlib`."""

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        encryption_key: str | bytes | None = None,
        *,
        key_file: str | os.PathLike[str] | None = None,
        older_keys: Iterable[str | bytes] = (),
        max_versions: int = 100,
        timeout: float = 60.0,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        if not 1 <= max_versions <= 1000:  # noqa: PLR2004  # as documented
            raise ConfigurationError(
                f"max_versions must be between 1 and 1000, got {max_versions}", provider=self.type_name
            )
        if not timeout > 0:
            raise ConfigurationError(f"timeout must be above 0, got {timeout}", provider=self.type_name)
        self._file_path = plain_path(file_path)
        self._address = os.path.abspath(self._file_path)  # noqa: PTH100  # `resolve` asks the disk, and follows links
        self._source = key_source(encryption_key, key_file, older_keys)
        self._max_versions = max_versions
        self._timeout = timeout
        self._clock = clock
        self._highest: Highest | None = None  # made with the first session, for its module takes time to load
        self._session: Session | None = None
        self._watcher: ChangeWatcher | None = None
        self._opening = SingleEntryLock(f"the store {self._file_path}")
        renew_after_fork(self, FileSecretProvider._after_fork, rest=FileSecretProvider._rest)

    @cached_property
    def _path(self) -> Path:
        from pathlib import Path  # a plain read needs no `pathlib`

        return Path(self._file_path)

    def address(self) -> dict[str, str]:
        """Return what decides which secret is meant."""
        return {"file_path": self._address}

    # --- reading ---

    def get_secret(self, key: str) -> str:
        session = self._session
        if session is not None:
            with session.reading:
                value = session.read_cached(key) if session is self._session else None
            if value is not None:
                return value  # the key was checked as it was written
        return self._get_secret(key)

    def _get_secret(self, key: str) -> str:
        # A function of its own: one with closures takes longer, even if it does not come to them.
        check_key(key)
        return self._read(lambda view: queries.get(view, key), key, lambda: self._missing(key))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = check_keys(keys)
        return self._read(lambda view: queries.get_many(view, asked), None, dict)

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        return self._read(lambda view: queries.list_keys(view, prefix), None, list)

    def describe_secret(self, key: str) -> SecretMetadata:
        check_key(key)
        return self._read(lambda view: queries.describe(view, key), key, lambda: self._missing(key))

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        asked = check_keys(keys)
        return self._read(lambda view: queries.describe_many(view, asked), None, dict)

    def list_versions(self, key: str) -> list[SecretVersion]:
        check_key(key)
        return self._read(lambda view: queries.list_versions(view, key), key, lambda: self._missing(key))

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)
        return self._read(
            lambda view: queries.get_version(view, key, version), key, lambda: self._missing(key)
        )

    # --- writing ---

    def set_secret(self, key: str, value: str) -> None:
        data = _encoded(check_key(key), value)
        self._write(lambda change: change.write(key, data), key)

    def set_secrets(self, values: Mapping[str, str]) -> None:
        encoded = {check_key(key): _encoded(key, value) for key, value in values.items()}
        if not encoded:
            return

        self._write(lambda change: change.write_all(encoded), None)

    def delete_secret(self, key: str) -> None:
        check_key(key)
        self._write(lambda change: change.delete(key), key, absent=lambda: self._missing(key))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        data = _encoded(check_key(key), value)

        def write(change: WriteTransaction) -> str:
            change.expect(key, change.entry(key.encode()), expected_version)
            return change.write(key, data)

        def absent() -> str:
            raise ConflictError(
                f"secret {show_key(key)} is not there",
                key=key,
                provider=self.type_name,
                hint="read it again, then decide",
            )

        return self._write(write, key, absent=None if expected_version is None else absent)

    def stage_secret(self, key: str, value: str) -> str:
        data = _encoded(check_key(key), value)
        return self._write(lambda change: change.stage(key, data), key)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        check_key(key)
        self._write(
            lambda change: change.promote(key, version, expected_version),
            key,
            absent=lambda: self._missing(key),
        )

    def discard_version(self, key: str, version: str) -> None:
        check_key(key)
        self._write(lambda change: change.discard(key, version), key, absent=lambda: self._missing(key))

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        """Call `callback` with what changes from now on, whichever process of this machine changes it.

        Writes of this process are reported at once, those of others within 50 ms. It ends as the provider is
        closed.
        """
        with forks_wait(), self._opening:
            if self._watcher is None:
                from strongroom_file.watch.changes import ChangeWatcher

                self._watcher = ChangeWatcher(self._path, lambda read: self._read(read, None, lambda: None))
            watcher = self._watcher
        subscription = watcher.subscribe(callback)
        if self._watcher is not watcher:  # closed meanwhile, by another thread
            watcher.close()
        return subscription

    # --- the store itself ---

    def verify(self, anchor: str | None = None) -> list[str]:
        """Read everything and return what is wrong, a line each; nothing where the store is whole or absent.

        Args:
            anchor: What `anchor` returned earlier, kept elsewhere: it shows that an older file was put back.

        Raises:
            DecryptionError: The key is a wrong one.
        """

        def read(view: Snapshot) -> list[str]:
            from strongroom_file.maintenance.verify import problems_of

            return problems_of(view, anchor)

        absent = ["there is no store, and there was one at the anchor"] if anchor is not None else []
        try:
            return self._read(read, None, lambda: absent)
        except TamperedError as error:
            return [error.message]

    def anchor(self) -> str:
        """Return the store's state in one line without secrets, to be kept elsewhere and given to `verify`.

        Raises:
            ConfigurationError: There is no store yet.
        """

        def read(view: Snapshot) -> str:
            from strongroom_file.maintenance.verify import anchor_of

            return anchor_of(view)

        return self._read(read, None, self._no_store)

    def rekey(
        self,
        new_key: str | bytes | None = None,
        *,
        new_key_file: str | os.PathLike[str] | None = None,
        keep_key_file: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path | None:
        """Encrypt everything with a new key, and finally replace the key file by it.

        A crash at any point leaves a store that opens with its key file as it is; call it again then. What
        else the old key opens, backups for one, still needs it: it stays beside the key file.

        Args:
            new_key: The new key. Without one, and with a key file, a new one is made.
            new_key_file: A file to take the new key from; it is made where it is missing.
            keep_key_file: Leave it to the caller to put the new key, which is given, into the key file.
            progress: Called with the secrets done and the secrets in all.

        Returns:
            Where the old key is, `<key_file>.old-<key id>`; None where it was not in a key file.

        Raises:
            ConfigurationError: There is no store, two new keys, or none that anybody would know; or the key
                file is a symbolic link.
            ConflictError: Another process is about to replace the key for all that uses it.
            TamperedError: Something is wrong with the store, which stays as it is.
        """
        with forks_wait():
            from strongroom_file.maintenance.rekey import key_for_rekey, rekey

        next_key = key_for_rekey(new_key, new_key_file)
        source, old_file = self._source, None
        if isinstance(source, FileKey) and not keep_key_file:
            refuse_link(source.path)
            source.refuse_another_rekey()
            if next_key is not None:
                content_of(key_text(next_key))  # refuses one before anything is left beside the key file

        def attempt(session: Session) -> Path | None:
            session.require_writable()

            def prepare() -> KeyMaterial:
                nonlocal old_file
                if isinstance(source, FileKey) and read_key_file(source.path) == session.material:
                    old_file = keep_old(source.path, session.key_id)
                if next_key is not None and keep_key_file:
                    return next_key
                return source.prepare(next_key, session.material)

            with forks_wait():
                material = rekey(session, prepare, progress)
                if not keep_key_file:
                    source.replace(material)
            self._drop(session)
            return old_file

        found = self._with_session(attempt)
        if found is None:
            self._no_store()
        return found[0]

    def key_id(self) -> str:
        """Return the id of the key that the store is under, which a backup made now needs.

        Raises:
            ConfigurationError: There is no store.
        """
        # By a read, which finds out whether it was put under another key since it was opened.
        found = self._with_session(lambda session: session.read(lambda _: session.key_id))
        if found is None:
            self._no_store()
        return found[0]

    def create(self) -> None:
        """Make the store and its key file where there is no store yet; the first write does it otherwise."""
        if self._with_session(lambda _: None) is None:
            self._create()

    def backup(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> str:
        """Write a copy of the store to one file, 0600 and whole or not at all, while others read and write.

        The copy is verified before it gets its name, and needs the same key.

        Returns:
            The id of that key. During a rekey it may be the old key or the new one.

        Raises:
            ConfigurationError: There is no store; or `path` is the store itself or holds a key, which are
                never overwritten.
            ConflictError: There is a file at `path`, and `overwrite` is not set.
            TamperedError: Something is wrong with the store.
        """

        def attempt(session: Session) -> str:
            with forks_wait():
                from pathlib import Path

                from strongroom_file.maintenance.backup import backup

                return backup(session, Path(path), self._source, overwrite=overwrite)

        found = self._with_session(attempt)
        if found is None:
            self._no_store()
        return found[0]

    def restore(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | bytes | None = None,
        key_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Put a backup in the place of the store. Version ids begin a new epoch, so none is used twice.

        A damaged store is moved aside and kept.

        Args:
            path: The backup.
            key: The key that it needs, where that is not the store's; it is put under the store's.
            key_file: A file with that key, such as a rekey leaves.

        Raises:
            ConfigurationError: There is no backup.
            DecryptionError: The key opens the backup or the present store not; the message names the key
                that it needs.
            TamperedError: The backup is damaged; the store stays as it is.
        """
        with forks_wait():
            from pathlib import Path

            from strongroom_file.maintenance.backup import key_for_backup, restore

        own = key_for_backup(key, key_file)
        try:
            with forks_wait():
                restore(
                    self._path,
                    Path(path),
                    self._source,
                    self._timeout,
                    self._reopened,
                    self._clock(),
                    self._highest.seen[0] if self._highest is not None else 0,
                    own,
                )
        except StaleSessionError:
            raise self._unsteady() from None
        finally:
            self._release()

    def absent(self) -> str | None:
        """Return, in words, that there is no store, and perhaps no key; None if there is a store."""
        if os.path.lexists(self._path):
            return None
        key = self._source.path
        also = f", and no key file {key}" if key is not None and not os.path.lexists(key) else ""
        return f"there is no store {self._path}{also}"

    def close(self) -> None:
        """Close the store; the last process that does so leaves a single file. Any call opens it again."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
        self._release()

    def _release(self) -> None:
        with self._opening:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._file_path!r}>"

    def _read(
        self, read: Callable[[Snapshot], Result], key: str | None, absent: Callable[[], Result]
    ) -> Result:
        """Return the result of `read` on the store, or `absent` if there is no store."""
        try:
            answer = self._with_session(lambda session: session.read(read))
        except DecryptionError as error:
            error.key = error.key or key
            raise
        return absent() if answer is None else answer[0]

    def _write(
        self,
        write: Callable[[WriteTransaction], Result],
        key: str | None,
        absent: Callable[[], Result] | None = None,
    ) -> Result:
        """Change the store by `write` in one transaction; if there is none, make it or call `absent`."""

        def attempt(session: Session) -> Result:
            transaction = _write_transaction()

            def work(view: Snapshot) -> tuple[VerifiedState, list[str], Result]:
                change = transaction(view, self._max_versions, queries.microseconds(self._clock()))
                result = write(change)
                return change.seal(), change.keys, result

            session.require_writable()
            return session.transaction(work)

        try:
            answer = self._with_session(attempt)
            if answer is None and absent is None:
                self._create()
                answer = self._with_session(attempt)
        except DecryptionError as error:
            error.key = error.key or key
            raise
        if self._watcher is not None:
            self._watcher.wake()
        if answer is not None:
            return answer[0]
        if absent is not None:
            return absent()
        raise TamperedError(f"{self._path} vanished as soon as it was made", key=key, provider=self.type_name)

    def _with_session(self, attempt: Callable[[Session], Result]) -> tuple[Result] | None:
        """Return the result of `attempt`; the store is opened again if another one has replaced it."""
        for _ in range(_REOPENINGS):
            session = self._session
            try:
                if session is None:
                    session = self._open()
                if session is None:
                    return None
                return (attempt(session),)
            except StaleSessionError:
                if session is not None:
                    self._drop(session)
            except TamperedError as error:
                name_file(error, f"the store {self._file_path}")
                raise
        raise self._unsteady()

    def _unsteady(self) -> ConflictError:
        return ConflictError(
            f"{self._path} is being replaced again and again", provider=self.type_name, hint="try again"
        )

    def _open(self) -> Session | None:
        with forks_wait(), self._opening:
            from strongroom_file import files

            if self._session is None:
                status = files.check_store(self._file_path)
                if status is None:
                    if self._highest is not None and self._highest.seen[0]:
                        raise TamperedError(
                            f"the store {self._path} is gone",
                            provider=self.type_name,
                            hint="restore a backup",
                        )
                    return None
                files.check_local(self._file_path, status.st_dev)
                self._session = self._opened()
            return self._session

    def _opened(self) -> Session:
        from strongroom_file.store.format import FORMAT_VERSION
        from strongroom_file.store.session import Highest, Session

        highest = self._highest = self._highest or Highest()
        session = Session(self._file_path, self._timeout, self._source, highest)
        if session.format == FORMAT_VERSION or session.read_only:  # an older one can be read as it is
            return session
        from strongroom_file.maintenance.migrate import migrate

        with closing(session):
            migrate(session)
        return Session(self._file_path, self._timeout, self._source, highest)

    def _reopened(self) -> Session | None:
        """Open the present store, without what this process knew of the old one."""
        self._release()
        self._highest = None
        return self._open()

    def _missing(self, key: str) -> NoReturn:
        error = not_found(key)
        error.message = f"{error.message}: {self.absent() or 'the store was made just now'}"
        error.hint = (
            "a fresh clone has neither the store nor its key: copy both here, or restore a backup; "
            "`set` makes new ones"
        )
        raise error

    def _no_store(self) -> NoReturn:
        raise ConfigurationError(
            f"there is no store {self._path}", provider=self.type_name, hint="the first `set` makes it"
        )

    def _create(self) -> None:
        with forks_wait():
            from strongroom_file.maintenance.create import create_store, prepare_folder

            prepare_folder(self._path)
            create_store(self._path, self._source.create(), self._timeout)

    def _drop(self, session: Session) -> None:
        with self._opening:
            if self._session is session:
                self._session = None
        session.close()

    def _rest(self, take: Take) -> None:
        """Close the store before a fork; parent and child open it again as they need it."""
        if take(self._opening) and self._session is not None and self._session.connections.rest(take):
            self._session = None

    def _after_fork(self) -> None:
        self._session = None
        self._watcher = None  # the child does not have its thread
        self._opening = SingleEntryLock(f"the store {self._file_path}")


def _encoded(key: str, value: str) -> bytes:
    data = check_value(value, key).encode()
    if len(data) > MAX_VALUE_BYTES:
        raise SecretTooLargeError(
            key, f"the value for {show_key(key)} is longer than {MAX_VALUE_BYTES} bytes", provider="file"
        )
    return data
