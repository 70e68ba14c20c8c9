"""The table that KeePassXC exports: `keepassxc-cli export --format csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from strongroom.cli.errors import UsageError
from strongroom.errors import show_key

__all__ = ["read_keepass_export"]

_COLUMNS: Final = ("Group", "Title", "Password")
_BIN: Final = "Recycle Bin"


def read_keepass_export(path: Path, text: str, warn: Callable[[str], object]) -> Iterator[tuple[str, str]]:
    """Yield the name of each entry, `group/title` without the topmost group, and its password.

    Entries without a password, and those of the recycle bin, are left out, with a warning.

    Raises:
        UsageError: It is not such a table, or a password is a reference to another entry.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    wrong = None
    try:
        missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
        entries = [] if missing else [tuple(row[name] for name in _COLUMNS) for row in rows]
    except csv.Error:
        missing, entries = [], []
        wrong = (
            f"{path}:{rows.line_num}: not a table in CSV"  # raised below: the context could quote the file
        )
    if wrong is None and missing:
        wrong = f"{path}: not an export of KeePassXC, without the columns {', '.join(missing)}"
    if wrong is not None:
        raise UsageError(wrong, hint="make it by `keepassxc-cli export --format csv DATABASE`")
    for number, entry in enumerate(entries, 1):
        if any(part is None for part in entry):
            raise UsageError(f"{path}: entry {number} has fewer columns than the table")
        group, title, password = entry
        groups = group.split("/")[1:]  # the first is the database's own
        name = "/".join([*groups, title])
        if groups[:1] == [_BIN]:
            warn(f"{show_key(name)} is left out: it is in the recycle bin")
        elif not password:
            warn(f"{show_key(name)} is left out: it has no password")
        elif password.upper().startswith("{REF:"):
            raise UsageError(
                f"{path}: {show_key(name)} is a reference to another entry", hint="write the value there"
            )
        else:
            yield name, password
