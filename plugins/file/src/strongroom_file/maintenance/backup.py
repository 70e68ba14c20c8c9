"""Backs up a store while it is in use, and restores it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.encryption.keyfiles import MAX_BYTES, NEXT, NEXT_FOR_ALL, plain_path
from strongroom.encryption.keys import read_key
from strongroom.errors import ConfigurationError, ConflictError, TamperedError

from strongroom_file import files
from strongroom_file.errors import translated
from strongroom_file.integrity import TYPE_NAME, name_file, tampered
from strongroom_file.key_source import GivenKey, KeySource, read_key_file
from strongroom_file.leftovers import remove_leftovers
from strongroom_file.maintenance.copies import copied, write_root
from strongroom_file.maintenance.create import new_epoch, prepare_folder
from strongroom_file.maintenance.migrate import migrate
from strongroom_file.maintenance.rekey import rekey
from strongroom_file.maintenance.verify import problems_of
from strongroom_file.store import database
from strongroom_file.store.format import FORMAT_VERSION, TABLES
from strongroom_file.store.queries import microseconds
from strongroom_file.store.root import Root
from strongroom_file.store.session import Highest, Session

if TYPE_CHECKING:
    from strongroom.encryption.keys import KeyMaterial


__all__ = ["backup", "key_for_backup", "restore"]


def backup(session: Session, target: Path, source: KeySource, *, overwrite: bool) -> str:
    """Write the present store to one file, and return the id of the key that the copy needs.

    Readers and writers go on meanwhile, and so does a rekey: the copy is under the key before it or after it.

    Raises:
        ConfigurationError: `target` is the store itself, or holds a key; neither is ever overwritten.
        ConflictError: There is a file already, and it may not be overwritten.
        TamperedError: The store is damaged; no copy is left.
    """
    is_there = files.check_file(target) is not None
    _refuse_own(session, target, source)
    if is_there and _holds_key(target):
        raise _for_key(target)
    if is_there and not overwrite:
        raise _there(target)
    prepare_folder(target)
    remove_leftovers(session.path)  # of a restore
    with copied(session.path, target, session.timeout, read_only=session.read_only) as copy:
        keys = GivenKey(session.material, source.candidates())
        key_id = _examine(copy, keys, session.timeout, session.path)
        with files.translated_os(target, "write"):
            if overwrite:
                files.replace(copy, target)
            elif not files.place_new(copy, target):
                raise _there(target)
    return key_id


def _refuse_own(session: Session, target: Path, source: KeySource) -> None:
    """Refuse to put a backup in the place of what it could not be read or restored without."""
    own = [session.path, *(session.path.with_name(f"{session.path.name}{side}") for side in files.SIDE_FILES)]
    if any(_is_same(target, one) for one in own):
        raise ConfigurationError(
            f"{target} is the store itself, or a part of it",
            provider=TYPE_NAME,
            hint="name another file for the backup",
        )
    # A next key would be looked for in it.
    endings = ("", NEXT, NEXT_FOR_ALL)
    if source.path is not None and any(_is_same(target, Path(f"{source.path}{one}")) for one in endings):
        raise _for_key(target)


def _for_key(target: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{target} is for a key, or holds one, which a backup never replaces",
        provider=TYPE_NAME,
        hint="name another file for the backup",
    )


def _is_same(target: Path, other: Path) -> bool:
    with suppress(OSError):
        return target.samefile(other)
    return target.absolute() == other.absolute()  # a file that is not there yet


def _holds_key(target: Path) -> bool:
    """Return whether a file holds a generated key: of this store, an older one, or of something else."""
    with files.translated_os(target, "read"), target.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return False
    try:
        return read_key(data.decode().strip(), older=True).kind != "passphrase"
    except (UnicodeDecodeError, ConfigurationError):
        return False


def restore(  # noqa: PLR0917  # one caller, which names them all
    path: Path,
    origin: Path,
    source: KeySource,
    timeout: float,
    opened: Callable[[], Session | None],
    now: datetime,
    least: int,
    key: KeySource | None,
) -> None:
    """Replace the store at `path` with the backup `origin`; version ids begin a new epoch.

    Where the backup is under another `key`, it is put under the store's. The count of commits goes on from
    more than anybody has seen: more than `least`, than both files say, and than there were microseconds.

    A store that can be opened is changed in one transaction, under the eyes of its readers. A damaged one is
    moved aside, and never deleted.

    Raises:
        ConfigurationError: There is no backup.
        DecryptionError: The key opens the backup or the store not.
        TamperedError: The backup is damaged.
    """
    if files.check_file(origin) is None:
        raise ConfigurationError(f"there is no backup {origin}", provider=TYPE_NAME, hint="correct the path")
    prepare_folder(path)
    least = max(least, microseconds(now))
    is_damaged = False
    with _copy_of_backup(origin, path, timeout, key or source) as copy:
        try:
            session = opened()
        except TamperedError:
            session, is_damaged = None, True
        if key is not None:
            _rekey(copy, key, timeout, source.create() if session is None else session.material)
        if session is None:
            _begin_epoch(copy, source, timeout, least)
            if is_damaged:  # last: until then every failure leaves what is there under its name
                _move_aside(path, now)
            with files.translated_os(path, "restore"):
                if not files.place_new(copy, path):
                    raise _there(path)
            return
        session.require_writable()
        with session.writing:
            _replace_rows(session, copy, source, least)


def _there(path: Path) -> ConflictError:
    return ConflictError(f"there is a file {path} already", provider=TYPE_NAME, hint="choose another name")


@contextmanager
def _copy_of_backup(origin: Path, path: Path, timeout: float, key: KeySource) -> Iterator[Path]:
    """Yield a verified copy of the backup `origin`, beside the store at `path`."""
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(copied(origin, path, timeout, read_only=not files.is_writable(origin)))
            _examine(copy, key, timeout, origin)
        except TamperedError as error:
            name_file(error, f"the backup {origin}", hint="take another backup; the store stays as it was")
            raise
        yield copy


def _examine(copy: Path, source: KeySource, timeout: float, origin: Path) -> str:
    """Return the id of the key of a copy; raise `TamperedError` if anything in it is damaged."""
    # Read-only, so that the copy stays a single file: with SQLite's log on it could not be read alone.
    with closing(Session(copy, timeout, source, Highest(), read_only=True, shown=origin)) as session:
        problems = session.read(problems_of)
        key_id = session.key_id
    if problems:
        raise tampered(f"{problems[0]} ({len(problems)} problems in all)")
    return key_id


def _move_aside(path: Path, now: datetime) -> None:
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S%fZ}")
    with files.translated_os(path, "move aside"):
        files.move_aside(path, aside)


def _rekey(copy: Path, key: KeySource, timeout: float, material: KeyMaterial) -> None:
    with closing(Session(copy, timeout, key, Highest())) as session:
        if session.format != FORMAT_VERSION:
            migrate(session)
    with closing(Session(copy, timeout, key, Highest())) as session:
        rekey(session, lambda: material, None)


def _begin_epoch(copy: Path, source: KeySource, timeout: float, least: int) -> None:
    with closing(Session(copy, timeout, source, Highest())) as session, session.writing, translated():
        cursor = session.reader.cursor()
        root = session.verified(cursor).root
        cursor.execute("BEGIN")
        write_root(cursor, session.sealer, _restored(root, root, least))
        cursor.execute("COMMIT")


def _replace_rows(session: Session, copy: Path, source: KeySource, least: int) -> None:
    with translated(), closing(database.connect(session.path, session.timeout)) as connection:
        cursor = connection.cursor()
        with closing(Session(copy, session.timeout, source, Highest(), read_only=True)) as copied:
            restored = copied.verified(copied.reader.cursor()).root
            sealer = copied.sealer
        cursor.execute("ATTACH CAST(? AS TEXT) AS restored", (os.fsencode(copy),))  # as `copied` does
        with connection:
            database.begin(cursor)
            for table in TABLES:
                cursor.execute(f"DELETE FROM main.{table}")  # noqa: S608  # own tables
                cursor.execute(f"INSERT INTO main.{table} SELECT id, body FROM restored.{table}")  # noqa: S608  # own tables
            write_root(cursor, sealer, _restored(restored, _last_known(session, restored), least))
        cursor.execute("DETACH restored")


def _last_known(session: Session, otherwise: Root) -> Root:
    """Return the root of the store that is being replaced, as far as it can be read."""
    try:
        return session.read(lambda view: view.root)
    except TamperedError:
        return otherwise


def _restored(restored: Root, replaced: Root, least: int) -> Root:
    """Return the root of a restored store: a new epoch, and counts that no earlier state has."""
    return restored._replace(
        epoch=new_epoch(),
        last_id=max(restored.last_id, replaced.last_id),
        commits=max(restored.commits, replaced.commits, least) + 1,
        seals=max(restored.seals, replaced.seals),
    )


def key_for_backup(key: str | bytes | None, key_file: str | os.PathLike[str] | None) -> GivenKey | None:
    """Return the key that a backup needs if it is not the store's, given as text or in a file.

    Raises:
        ConfigurationError: Two are given, or one that cannot be used.
    """
    if key is not None and key_file is not None:
        raise ConfigurationError(
            "both key and key_file are given", provider=TYPE_NAME, hint="give one of them"
        )
    if key_file is not None:
        material = read_key_file(plain_path(key_file), older=True)
        if material is None:
            raise ConfigurationError(
                f"there is no key file {key_file}",
                provider=TYPE_NAME,
                hint="name the file with the key that the backup needs",
            )
        return GivenKey(material)
    return GivenKey(read_key(key, older=True)) if key is not None else None
