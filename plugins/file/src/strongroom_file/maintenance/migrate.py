"""Brings a store of an older format to the present one, and keeps a copy.

Format 2 has another root than format 1, and all other rows are the same. So the transaction replaces one row,
and says which format the file is of now: a crash leaves the one or the other, and the copy.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from strongroom.errors import ConflictError

from strongroom_file import files
from strongroom_file.errors import translated
from strongroom_file.integrity import TYPE_NAME
from strongroom_file.maintenance.copies import copied, write_root
from strongroom_file.store import database
from strongroom_file.store.format import FORMAT_VERSION
from strongroom_file.store.session import ROW, SELECT, Session

__all__ = ["migrate"]


def migrate(session: Session) -> None:
    """Bring a store to the present format. Damaged rows stay so, and are reported where a read meets them.

    Raises:
        ConflictError: The name of the copy is taken by another file.
        TamperedError: The root is damaged; nothing is changed.
    """
    with (
        session.writing,
        translated(),
        closing(database.connect(session.path, session.timeout)) as connection,
    ):
        cursor = connection.cursor()
        with connection:
            database.begin(cursor)
            if database.format_of(cursor) != FORMAT_VERSION:  # unless another process was faster
                state = session.verified(cursor)
                _keep_copy(session, state.root.commits, state.body)
                write_root(cursor, session.sealer, state.root._replace(commits=state.root.commits + 1))


def _keep_copy(session: Session, commits: int, root: bytes) -> None:
    """Copy the store as it is, unless an interrupted migration has done so. Others wait to write."""
    target = session.path.with_name(f"{session.path.name}.format-{session.format}-{commits}")
    if files.check_file(target) is None:
        with (
            copied(session.path, target, session.timeout, read_only=False) as copy,
            files.translated_os(target, "write"),
        ):
            if files.place_new(copy, target):
                return
    if _root_of(target, session.timeout) != root:
        raise ConflictError(
            f"{target} already exists, and the store is copied there before its format changes",
            provider=TYPE_NAME,
            hint="move it away",
        )


def _root_of(copy: Path, timeout: float) -> object:
    with closing(database.connect_read_only(copy, timeout)) as connection:
        database.check_schema(connection, copy)
        found = connection.execute(SELECT["root"], (ROW,)).fetchone()
    return found[0] if found is not None else None
