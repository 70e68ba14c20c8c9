"""A copy of a store that is in use, and a new root for a store that is a copy, or of an older format."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom_file import files
from strongroom_file.errors import translated
from strongroom_file.leftovers import remove_leftovers, remove_temporary
from strongroom_file.store import database
from strongroom_file.store.format import ROOT
from strongroom_file.store.root import Root
from strongroom_file.store.session import ROW

if TYPE_CHECKING:
    from strongroom_file.store.row_cipher import RowCipher

__all__ = ["copied", "write_root"]


@contextmanager
def copied(origin: Path, target: Path, timeout: float, *, read_only: bool) -> Iterator[Path]:
    """Give a copy of `origin` under a temporary name beside `target`."""
    remove_leftovers(target)
    with files.translated_os(target, "write"):
        copy = files.temporary_beside(target)
    try:
        opened = database.connect_read_only if read_only else database.connect
        with translated(), closing(opened(origin, timeout)) as connection:
            database.check_schema(connection, origin)
            # One read transaction: a consistent copy, without the content of free pages.
            # Bytes: a name that is not UTF-8 cannot be sent as text.
            connection.execute("VACUUM INTO CAST(? AS TEXT)", (os.fsencode(copy),))
        yield copy
    finally:
        remove_temporary(copy)


def write_root(cursor: sqlite3.Cursor, sealer: RowCipher, root: Root) -> None:
    """Replace the root by one of the present format."""
    body = sealer.seal(ROOT, ROW, root._replace(seals=root.seals + 1).pack())
    cursor.execute("UPDATE root SET body=? WHERE id=?", (body, ROW))
    database.set_format(cursor)
