"""Makes a store under another name first, so that no process ever sees half of one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from strongroom.encryption.keys import KeyMaterial
from strongroom.errors import ReadOnlyError

from strongroom_file import files
from strongroom_file.errors import translated
from strongroom_file.integrity import TYPE_NAME
from strongroom_file.leftovers import remove_leftovers, remove_temporary
from strongroom_file.store import database
from strongroom_file.store.format import NODE, ROOT, Node
from strongroom_file.store.root import Root
from strongroom_file.store.row_cipher import new_header
from strongroom_file.store.session import ROW

__all__ = ["create_store", "new_epoch"]

_TOP = 1


def new_epoch() -> int:
    """Return a random number of an epoch, which another one has only with a chance of 1 in 2**32."""
    return int.from_bytes(os.urandom(4), "big")


def create_store(path: Path, material: KeyMaterial, timeout: float) -> None:
    """Make an empty store at `path`, unless there is a file."""
    prepare_folder(path)
    remove_leftovers(path)
    with files.translated_os(path, "make"):
        temporary = files.temporary_beside(path)
        try:
            files.check_local(path, temporary.stat().st_dev)
            with translated(), closing(database.connect(temporary, timeout)) as connection:
                _fill(connection, material)
            files.place_new(temporary, path)
        finally:
            remove_temporary(temporary)


def prepare_folder(path: Path) -> None:
    """Make the folder of a new file, for its owner only, and make sure that it may be written.

    Raises:
        ReadOnlyError: It may not be written.
    """
    with files.translated_os(path.parent, "make"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ReadOnlyError(
            f"the folder of {path} is read-only",
            provider=TYPE_NAME,
            hint="let this user write to it, or name another folder",
        )


def _fill(connection: sqlite3.Connection, material: KeyMaterial) -> None:
    header = new_header(material)
    sealer = header.sealer(material)
    node = sealer.seal(NODE, _TOP, Node.of(True, [], b"").pack())
    root = Root(_TOP, node[-16:], new_epoch(), _TOP, 1, 2, 0)
    rows = {"header": header.pack(material), "node": node, "root": sealer.seal(ROOT, ROW, root.pack())}
    connection.execute("PRAGMA page_size=4096")
    connection.execute("BEGIN")
    database.create_schema(connection)
    for table, body in rows.items():
        connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (ROW, body))  # noqa: S608  # own tables
    connection.execute("COMMIT")
    # Said once here: the log is made when a session opens the store under its own name.
    database.use_log(connection)
