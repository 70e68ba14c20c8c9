# ruff: noqa: SLF001  # pykeepass searches by XPath, entry by entry; its elements are gone through once here
"""An open database: its entries by key, and the changes of one."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from strongroom.errors import InvalidKeyError
from strongroom.keys import ROTATION_SEGMENT, check_key, escape, unescape

__all__ = ["NOT_XML", "Database", "saved"]

NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that the XML inside of a database cannot hold."""
_MARKER: Final = "=_"
_UNSAFE: Final = re.compile("(?<==)_|[\ufffe\uffff]|^ +| +$")
_FIELDS: Final = {"password": "Password", "username": "UserName", "url": "URL", "notes": "Notes"}
_KDBX_3: Final = 3
_SECOND: Final = timedelta(seconds=1)
_LEAST_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)
_GREATEST_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)
_HISTORY: Final = 10
"""Earlier versions that KeePass keeps of an entry, if the database has no number."""
Names = tuple[str, ...]


class Database:
    """An open database of pykeepass.

    Args:
        opened: A `PyKeePass`; None for one that is not there yet, of which nothing but `entries` can be used.
        field: The field of entries that is the secret.
    """

    def __init__(self, opened: Any, field: str) -> None:
        self.opened = opened
        self._field = _FIELDS.get(field, field)
        self._is_custom = field not in _FIELDS
        self.entries: dict[str, list[Any]] = {}
        """The elements of each key; only other programs make more than one entry of a name."""
        if opened is None:
            return
        bin_ = opened.recyclebin_group
        self._thrown_away = None if bin_ is None else bin_._element
        self._index()

    def _index(self) -> None:
        entries: dict[str, list[tuple[bool, Any]]] = {}
        for names, element in self._walk(self.opened.root_group._element, ()):
            key = _key_of(names)
            if key is not None and self._has_field(element):
                entries.setdefault(key, []).append((names != _names_of(key), element))
        self.entries = {
            key: [element for _, element in sorted(some, key=lambda one: one[0])]
            for key, some in entries.items()
        }

    def _has_field(self, element: Any) -> bool:
        return not self._is_custom or _string(element, self._field) is not None

    def _walk(self, group: Any, above: Names) -> Iterator[tuple[Names, Any]]:
        for child in group:
            if child.tag == "Entry":
                yield (*above, _text(_string(child, "Title"))), child
            elif child.tag == "Group" and child is not self._thrown_away:
                yield from self._walk(child, (*above, child.findtext("Name") or ""))

    def value(self, element: Any) -> str:
        """Return the secret of an entry, or of an earlier version of one."""
        return _text(_string(element, self._field))

    def version(self, element: Any) -> str:
        """Return a text that identifies this version of an entry for all times.

        Times are whole seconds: of several versions that another program made in one, the later ones have a
        number as well.
        """
        time = self._changed(element)
        above = element.getparent()
        current = above.getparent() if above is not None and above.tag == "History" else element
        earlier = 0
        for one in _history(current):  # as they were added, the oldest first
            if one is element:
                break
            earlier += self._changed(one) == time
        more = f".{earlier}" if earlier else ""
        seconds = 0 if time == _LEAST_TIME else int(time.timestamp())
        return f"{self._id(element)}-{seconds}{more}"

    def times(self, element: Any) -> tuple[datetime | None, datetime | None]:
        """Return when an entry was made, and when it was changed last; None where the file does not say."""
        return self._time(element, "ctime"), self._time(element, "mtime")

    def _changed(self, element: Any) -> datetime:
        """Return when an entry was changed last; the least time if the file does not say."""
        return self._time(element, "mtime") or _LEAST_TIME

    def _time(self, element: Any, name: str) -> datetime | None:
        """Return a time of an entry; None for one that other programs left out, or wrote in another form."""
        try:
            time: datetime | None = getattr(self._entry(element), name)
        except (ValueError, TypeError, OverflowError, struct.error):
            return None
        return None if time is None else time.astimezone(UTC)

    def _next(self, element: Any) -> datetime:
        """Return the time of a change that is made now, later than that of the one before.

        Times are whole seconds: no two versions have the same.
        """
        now, before = datetime.now(UTC).replace(microsecond=0), self._changed(element)
        return max(now, before + _SECOND) if before < _GREATEST_TIME else before

    def _id(self, element: Any) -> str:
        """Return the id of an entry, which is text of base64 in the file; nothing if it has none."""
        try:
            return str(self._entry(element).uuid.hex)
        except (ValueError, TypeError):
            return ""

    def _stamp(self, element: Any, time: datetime) -> None:
        """Set the time of the last change; pykeepass sets it only where there is one already."""
        for name in ("Times", "LastModificationTime"):
            child = element.find(name)
            if child is None:
                child = element.makeelement(name)
                element.append(child)
            element = child
        element.text = self.opened._encode_time(time)

    def versions(self, key: str) -> list[Any]:
        """Return an entry and its earlier versions, the newest first."""
        element = self.entries[key][0]
        # The latest one first, also among those of one second.
        earlier = [one for one in _history(element)[::-1] if self._has_field(one)]
        earlier.sort(key=self._changed, reverse=True)
        return [element, *earlier]

    def set(self, key: str, value: str) -> None:
        """Create or replace the secret of `key`; the old one becomes an earlier version."""
        if key in self.entries:
            element = self.entries[key][0]
            entry = self._entry(element)
            entry.save_history()
            self._forget_oldest(entry)
            self._put(entry, value)
            self._stamp(element, self._next(element))
            return
        *groups, title = _names_of(key)
        group = self.opened.root_group
        for name in groups:
            group = self._group(group, name)
        there = {_text(_string(one, "Title")) for one in group._element if one.tag == "Entry"}
        if title in there:  # by an entry without that field, which gets it
            element = next(
                one for one in group._element if one.tag == "Entry" and _text(_string(one, "Title")) == title
            )
            entry = self._entry(element)
            when = self._next(element)  # later than that of a version that had the field
        else:
            from pykeepass.entry import Entry

            # Not by `add_entry`, which puts the title into an XPath.
            entry = Entry(title=title, username="", password="", kp=self.opened)
            group.append(entry)
            when = datetime.now(UTC).replace(microsecond=0)
        self._put(entry, value)
        self._stamp(entry._element, when)
        self.entries[key] = [entry._element]

    def delete(self, key: str) -> None:
        """Delete every entry of `key`, with its earlier versions and attachments that no other entry has.

        If the secret is an attribute, an entry that holds something else keeps that.
        """
        elements = self.entries.pop(key)
        if self._is_custom:
            shared = [element for element in elements if self._has_more(element)]
            for element in shared:
                self._take_out(element)
            elements = [element for element in elements if element not in shared]
        attached = {number for element in elements for number in _attached(element)}
        groups = [element.getparent() for element in elements]
        for element in elements:
            self._note_deletion(element)
            self.opened.delete_entry(self._entry(element))
        for group in groups:
            _drop_emptied(group)
        for number in sorted(attached - set(_attached(self.opened.tree)), reverse=True):
            self._drop_attachment(number)

    def _has_more(self, element: Any) -> bool:
        """Return whether an entry holds anything beside its title and the attribute."""
        for string in element.iterfind("String"):
            name = string.findtext("Key")
            is_empty = name in _FIELDS.values() and not _text(string.find("Value"))
            if name not in {"Title", self._field} and not is_empty:
                return True
        return element.find("Binary") is not None

    def _take_out(self, element: Any) -> None:
        """Remove the attribute from an entry and its earlier versions."""
        for one in (element, *_history(element)):
            for string in [each for each in one.iterfind("String") if each.findtext("Key") == self._field]:
                one.remove(string)
        self._stamp(element, self._next(element))

    def _note_deletion(self, element: Any) -> None:
        """Note in the file that the entry was deleted, or a merge with an older copy brings it back."""
        if not self._id(element):
            return
        root = self.opened.tree.find("Root")
        noted = root.find("DeletedObjects")
        if noted is None:
            noted = root.makeelement("DeletedObjects")
            root.append(noted)
        one = noted.makeelement("DeletedObject")
        # A merge keeps an entry that is newer than its deletion.
        when = self._next(element)
        for name, text in (
            ("UUID", element.findtext("UUID")),
            ("DeletionTime", self.opened._encode_time(when)),
        ):
            child = one.makeelement(name)
            child.text = text
            one.append(child)
        noted.append(one)

    def _drop_attachment(self, number: int) -> None:
        pool = self.opened.tree.find("Meta/Binaries")
        if pool is None:  # KDBX 4: in front of the XML, where numbers are places
            self.opened.delete_binary(number)
            return
        # KDBX 3: in any order, and pykeepass goes by places.
        for one in pool.findall(f"Binary[@ID='{number}']"):
            pool.remove(one)

    def _group(self, above: Any, name: str) -> Any:
        for child in above._element:
            is_group = child.tag == "Group" and child is not self._thrown_away
            if is_group and (child.findtext("Name") or "") == name:
                from pykeepass.group import Group

                return Group(element=child, kp=self.opened)
        return self.opened.add_group(above, name)

    def _put(self, entry: Any, value: str) -> None:
        if self._is_custom:
            entry.set_custom_property(self._field, value, protect=True)
        else:
            entry._set_string_field(self._field, value, protected=self._field == "Password")

    def _forget_oldest(self, entry: Any) -> None:
        history = entry._element.find("History")
        limit = self.opened.tree.findtext("Meta/HistoryMaxItems")
        most = int(limit) if limit and limit.lstrip("-").isdigit() else _HISTORY
        kept = [] if history is None else [one for one in history if one.tag == "Entry"]
        while 0 <= most < len(kept):
            history.remove(kept.pop(0))

    def _entry(self, element: Any) -> Any:
        from pykeepass.entry import Entry

        return Entry(element=element, kp=self.opened)


def saved(opened: Any, derived: bytes | None) -> bytes:
    """Return a database as a file, with new seeds.

    Args:
        opened: A `PyKeePass`.
        derived: The key that was derived for it; without one, it is derived from a new salt.
    """
    file = io.BytesIO()
    opened.save(file, transformed_key=derived)
    if opened.version[0] != _KDBX_3:
        return file.getvalue()
    # There the XML holds a hash of the header, which pykeepass (4.2) leaves as it was, though it changes the
    # header: KeePassXC then refuses the file.
    from pykeepass import PyKeePass
    from pykeepass.kdbx_parsing.kdbx import KDBX

    header = PyKeePass(io.BytesIO(file.getvalue()), decrypt=False).kdbx.header.data
    header_hash = opened.tree.find("Meta/HeaderHash")
    if header_hash is None:
        return file.getvalue()
    header_hash.text = base64.b64encode(hashlib.sha256(header).digest()).decode()
    file = io.BytesIO()
    KDBX.build_stream(
        opened.kdbx,
        file,
        password=opened.password,
        keyfile=opened.keyfile,
        transformed_key=derived,
        decrypt=True,
    )
    return file.getvalue()


def _string(element: Any, name: str) -> Any | None:
    for string in element.iterfind("String"):
        if string.findtext("Key") == name:
            return string.find("Value")
    return None


def _history(element: Any) -> list[Any]:
    """Return the earlier versions of an entry in the order in which they were added."""
    history = element.find("History")
    return [] if history is None else [one for one in history if one.tag == "Entry"]


def _text(value: Any | None) -> str:
    return "" if value is None or value.text is None else str(value.text)


def _drop_emptied(group: Any) -> None:
    """Drop an empty group that a rotation made for its state; other empty groups are the user's."""
    above = [group, *group.iterancestors("Group")]
    ours = [one for one in above if one.findtext("Name") == ROTATION_SEGMENT]
    if not ours:
        return
    for one in above[: above.index(ours[-1]) + 1]:
        if any(child.tag in {"Entry", "Group"} for child in one):
            return
        one.getparent().remove(one)


def _attached(element: Any) -> Iterator[int]:
    """Yield the numbers of the attachments of an entry and its earlier versions, or of the whole tree."""
    yield from (int(one.get("Ref")) for one in element.iterfind(".//Binary/Value[@Ref]"))


def _names_of(key: str) -> Names:
    return tuple(_UNSAFE.sub(lambda found: escape(_MARKER, found.group()), name) for name in key.split("/"))


def _key_of(names: Names) -> str | None:
    found = [unescape(_MARKER, name) for name in names]
    try:
        return None if None in found else check_key("/".join(map(str, found)))
    except InvalidKeyError:
        return None
