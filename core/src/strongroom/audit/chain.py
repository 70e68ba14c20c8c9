"""The chain of MACs over the lines, and the head that anchors its end.

A line ends with `"seq"`, `"prev"` (the MAC of the line before) and `"mac"`: HMAC-SHA256 over all bytes of
the line before that member. The head is one record of fixed size: sequence number, MAC and end of the last
line, and the place of the file's first line in the chain, under a MAC of its own. Somebody who cuts lines off
the end cannot make the head that would fit. Lines and heads have different keys, both derived from one.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Final

from strongroom.runtime import digests
from strongroom.runtime.frozen import frozen

__all__ = ["GENESIS", "HEAD_BYTES", "Anchor", "Chain", "Head", "Link", "Mac"]

GENESIS: Final = "0" * 64
"""The MAC before the very first line."""
HEAD_BYTES: Final = 512
"""One disk sector, so that it is written whole or not at all. What a killed writer left behind it, when it
tested the disk, counts for nothing."""

_TAIL_BYTES: Final = 7 + 18 + 9 + 64 + 9 + 64 + 2
_MAC_BYTES: Final = 8 + 64 + 2
_TAG: Final = b',"tag":"'
_TAG_BYTES: Final = 64 + 2


@cache
def _tail() -> re.Pattern[bytes]:
    """Return the pattern of a line's end, which appending a line does not need."""
    return re.compile(rb',"seq":([0-9]{1,18}),"prev":"([0-9a-f]{64})","mac":"([0-9a-f]{64})"\}\Z')


@frozen
class Link:
    """The place of a line in the chain."""

    seq: int
    prev: str
    mac: str


@frozen
class Head:
    """The end of a log, and its beginning.

    Attributes:
        seq: The number of the last line; 0 where there is none yet.
        mac: Its MAC.
        size: Bytes of the file up to the end of that line.
        first: The number of the file's first line: 1, or more after a rotation of the log.
        prev: The MAC of the line before the first.
        file: Device and inode, by which a new file is distinguished from one that was cut to nothing.
    """

    seq: int
    mac: str
    size: int
    first: int
    prev: str
    file: str


class Mac:
    """HMAC-SHA256 (RFC 2104) with its key, ready to be used again and again.

    The two keyed states are kept and copied: half the time of `hmac`'s own copies, whose bytes it gives.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        self._inner, self._outer = digests.hmac_states(key)

    def after(self, data: bytes) -> Mac:
        """Return a `Mac` for texts that begin with `data`, which is hashed only here."""
        made = object.__new__(Mac)
        made._inner, made._outer = self._inner.copy(), self._outer
        made._inner.update(data)
        return made

    def of(self, data: bytes) -> str:
        """Return the MAC of `data` in hexadecimal digits."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


class Anchor:
    """Makes the heads of one file, of which only the end changes from line to line."""

    __slots__ = ("_begin", "_mac")

    def __init__(self, mac: Mac, begin: bytes) -> None:
        self._begin = begin
        self._mac = mac.after(begin)

    def pack(self, seq: int, mac: str, size: int) -> bytes:
        """Return the record, `HEAD_BYTES` long, of a head with this end."""
        end = f',"seq":{seq},"size":{size},"mac":"{mac}"'.encode("ascii")
        tag = self._mac.of(end).encode("ascii")
        return b"".join((self._begin, end, b',"tag":"', tag, b'"}')).ljust(HEAD_BYTES - 1) + b"\n"


class Chain:
    """Makes and checks the MACs of one log.

    Args:
        key: The key; any bytes, best 32 random ones.
    """

    def __init__(self, key: bytes) -> None:
        self._lines = Mac(digests.hmac_sha256(key, b"strongroom audit 1: lines"))
        self._heads = Mac(digests.hmac_sha256(key, b"strongroom audit 1: heads"))

    def seal(self, text: str, seq: int, prev: str) -> tuple[bytes, str]:
        """Return the line for the unclosed JSON object `text`, its newline included, and its MAC."""
        sealed = f'{text},"seq":{seq},"prev":"{prev}"'
        mac = self._lines.of(sealed.encode("ascii"))
        return f'{sealed},"mac":"{mac}"}}\n'.encode("ascii"), mac

    def link(self, line: bytes) -> Link | None:
        """Return the place of `line`, without its newline, in the chain; None if its MAC is not ours."""
        found = _tail().search(line, max(0, len(line) - _TAIL_BYTES))
        if found is None:
            return None
        seq, prev, mac = found.groups()
        own = self._lines.of(line[:-_MAC_BYTES])
        if not digests.compare_digest(own.encode("ascii"), mac):
            return None
        return Link(int(seq), prev.decode("ascii"), own)

    def anchor(self, first: int, prev: str, file: str) -> Anchor:
        """Return what makes the heads of a file; the arguments are those members of `Head`."""
        return Anchor(
            self._heads, f'{{"head":1,"first":{first},"prev":"{prev}","file":"{file}"'.encode("ascii")
        )

    def unpack(self, record: bytes) -> Head | None:
        """Return the head that `record` holds; None where its MAC is not ours."""
        begin, has_tag, end = record.rpartition(_TAG)
        tag = end.removesuffix(b"\n").rstrip(b" ")
        shaped = has_tag and end.endswith(b"\n") and len(tag) == _TAG_BYTES and tag.endswith(b'"}')
        if not shaped or not digests.compare_digest(self._heads.of(begin).encode("ascii"), tag[:-2]):
            return None
        members = json.loads(begin + b"}")
        return Head(**{name: members[name] for name in Head.__match_args__})
