"""Reads exports of KeePassXC and KeePass 2: a table in CSV, or XML (the format of both)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

from strongroom.cli.errors import UsageError
from strongroom.errors import show_key

__all__ = ["read_keepass_export"]

_COLUMNS: Final = ("Group", "Title", "Password")
_BIN: Final = "Recycle Bin"
_HINT: Final = "make it by `keepassxc-cli export --format csv DATABASE`, or --format xml"


class _Entry(NamedTuple):
    """An entry of an export; its `repr` shows the password, so it must not be in a message."""

    name: str
    password: str
    thrown_away: bool


def read_keepass_export(path: Path, text: str, warn: Callable[[str], object]) -> Iterator[tuple[str, str]]:
    """Yield the name of each entry, `group/title` without the topmost group, and its password.

    Entries without a password, and those of the recycle bin, are left out, with a warning; former passwords
    are left out.

    Raises:
        UsageError: It is not such a table or XML, or a password is a reference to another entry.
    """
    entries = _xml_entries(path, text) if text.lstrip().startswith("<") else _csv_entries(path, text)
    for name, password, thrown_away in entries:
        if thrown_away:
            warn(f"{show_key(name)} is left out: it is in the recycle bin")
        elif not password:
            warn(f"{show_key(name)} is left out: it has no password")
        elif password.upper().startswith("{REF:"):
            raise UsageError(
                f"{path}: {show_key(name)} is a reference to another entry", hint="write the value there"
            )
        else:
            yield name, password


def _csv_entries(path: Path, text: str) -> Iterator[_Entry]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    wrong = None
    try:
        missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
        entries = [] if missing else [tuple(row[name] for name in _COLUMNS) for row in rows]
    except csv.Error:
        missing, entries = [], []
        # Raised below: the context could quote the file.
        wrong = f"{path}:{rows.line_num}: not a table in CSV"
    if wrong is None and missing:
        wrong = f"{path}: not an export of KeePassXC, without the columns {', '.join(missing)}"
    if wrong is not None:
        raise UsageError(wrong, hint=_HINT)
    for number, entry in enumerate(entries, 1):
        if any(part is None for part in entry):
            raise UsageError(f"{path}: entry {number} has fewer columns than the table")
        group, title, password = entry
        groups = group.split("/")[1:]  # the first is the database's own
        yield _Entry("/".join([*groups, title]), password, groups[:1] == [_BIN])


def _xml_entries(path: Path, text: str) -> Iterator[_Entry]:
    """Yield the entries of `KeePassFile`, those of a group before those of the groups in it."""
    file = _parsed(path, text)
    top = file.find("Root/Group")
    if file.tag != "KeePassFile" or top is None:
        raise UsageError(f"{path}: XML, but not an export of KeePass 2 or KeePassXC", hint=_HINT)
    recycle_bin = file.findtext("Meta/RecycleBinUUID")
    groups = [(top, "", False)]  # the first is the database's own, its name is not part of a key
    while groups:
        group, before, thrown_away = groups.pop()
        for entry in group.findall("Entry"):
            fields = {field.findtext("Key"): field.find("Value") for field in entry.findall("String")}
            name = before + _text(fields.get("Title"))
            password = fields.get("Password")
            if password is not None and password.get("Protected", "").lower() == "true":
                raise UsageError(f"{path}: the password of {show_key(name)} is encrypted", hint=_HINT)
            yield _Entry(name, _text(password), thrown_away)
        inner = [
            (
                child,
                f"{before}{child.findtext('Name') or ''}/",
                thrown_away or (bool(recycle_bin) and child.findtext("UUID") == recycle_bin),
            )
            for child in group.findall("Group")
        ]
        groups.extend(reversed(inner))


def _parsed(path: Path, text: str) -> ET.Element:
    """Return the root of an XML document without entities, whose text could be of any length."""
    if "<!DOCTYPE" in text:
        raise UsageError(f"{path}: XML with a DOCTYPE, which is not read", hint=_HINT)
    try:
        return ET.fromstring(text)  # noqa: S314  # without a DOCTYPE there are no entities
    except ET.ParseError as error:
        line, column = error.position
    # Raised here: the parser's message can quote the file.
    raise UsageError(f"{path}:{line}:{column + 1}: not XML", hint=_HINT)


def _text(element: ET.Element | None) -> str:
    return "" if element is None else element.text or ""
