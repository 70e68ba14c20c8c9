"""Masks streams of bytes, in whatever pieces they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from strongroom.masking.finder import Finder, Occurrence
from strongroom.masking.limits import MARK, MIN_CHARACTERS
from strongroom.masking.partial import begin_of_character
from strongroom.masking.parts import expanded, lines
from strongroom.masking.steps import width

__all__ = ["Masker", "MaskingStream"]


class Masker:
    """Knows values, and masks bytes and text. Safe to share between threads.

    Args:
        values: The secrets. Those under 4 characters are left out.
        mark: What replaces a found value.
    """

    def __init__(self, values: Iterable[str] = (), *, mark: bytes = MARK) -> None:
        self.mark = mark
        self.finder = Finder()
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask `value` and its lines from now on, too."""
        for part in (value, *lines(value), *expanded(value)):
            self.finder.add(part)

    def __bool__(self) -> bool:
        return len(self.finder) > 0

    def __repr__(self) -> str:
        return f"<Masker of {len(self.finder)} values>"

    def mask(self, data: bytes) -> bytes:
        """Return `data`, complete as it is, with every find masked."""
        finds = self.finder.find(data)
        if not finds:
            return data
        pieces: list[bytes] = []
        copied = 0
        for start, stop in merge_overlaps(data, finds):
            pieces += (data[copied:start], self.mark)
            copied = stop
        return b"".join((*pieces, data[copied:]))

    def mask_text(self, text: str) -> str:
        """Return `text` with every find masked; the same object where there is none."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            data = text.encode(errors="surrogatepass")
        masked = self.mask(data)
        return text if masked is data else masked.decode(errors="surrogatepass")

    def stream(self) -> MaskingStream:
        """Return a new stream."""
        return MaskingStream(self)


def merge_overlaps(data: bytes, finds: Iterable[Occurrence]) -> Iterator[tuple[int, int]]:
    """Yield where `finds` in `data` begin and end, in order; those that overlap become one.

    So the number of marks does not tell how many values are there. None begins or ends within a character of
    UTF-8, as a byte of it may be one of the value's in another alphabet: what is left has to be text.
    """
    start = stop = -1
    for begin, end in sorted((_whole(data, one.start), _whole(data, one.stop)) for one in finds):
        if begin < stop:
            stop = max(stop, end)
            continue
        if stop > 0:
            yield start, stop
        start, stop = begin, end
    if stop > 0:
        yield start, stop


def _whole(data: bytes, at: int) -> int:
    """Return where the character of UTF-8 ends that `at` is within; `at` where it is within none."""
    if at < len(data) and data[at] & 0xC0 != 0x80:  # noqa: PLR2004  # as nearly always
        return at
    begin = begin_of_character(data, at)
    return min(begin + width(data, begin), len(data)) if begin < at else at


_CONTEXT = 12
"""So many bytes before a plain word decide whether it is a word by itself."""
_NEAR = 80
"""The most bytes between two parts of a value: an escape, a line end, an offset, a border."""


class MaskingStream:
    """Masks one stream. Text that may still become a value is held back."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        # The last bytes that were given out, which help to decide about what follows, and then what is held.
        self._data = b""
        self._held = 0  # where in `_data` that begins
        self._evidence = 0
        # Up to where `_data` was given out, and up to where a mark stands for it.
        self._given = 0
        self._marked = 0
        # Where a find near the end begins: the rest of its value may still come.
        self._goes_on_from = 0

    def use(self, masker: Masker) -> None:
        """Mask what is not given out yet, and what follows, by another `masker`."""
        self._masker = masker

    def feed(self, data: bytes) -> bytes:
        """Take `data`, and return what can be shown by now, masked."""
        self._data += data
        end, self._evidence = self._masker.finder.undecided(self._data)
        return self._advance(max(end, self._held), ended=False)

    @property
    def pending(self) -> int:
        """How many bytes are held and not yet given out."""
        return len(self._data) - self._given

    @property
    def holds(self) -> bool:
        """Whether a tail is held that `release` would give out."""
        unmasked = len(self._data) - max(self._marked, self._held)
        return self.pending > 0 and min(self._evidence, unmasked) < MIN_CHARACTERS

    def release(self) -> bytes:
        """Give out the undecided tail, masked, unless it ends in 4 characters of a value.

        If a value turns out to begin in what was given out, the rest of it is still masked.
        """
        if not self.holds:
            return b""
        shown, self._given, self._marked = self._shown(len(self._data), ended=True)
        return shown

    def finish(self) -> bytes:
        """Return the rest, at the end of the stream."""
        return self._advance(len(self._data), ended=True)

    def _advance(self, end: int, *, ended: bool) -> bytes:
        """Give out what is before `end`, and keep of it only what helps to decide about what follows."""
        shown, given_out, marked = self._shown(end, ended=ended)
        gone = max(0, min(end - _CONTEXT, self._goes_on_from))
        self._data = self._data[gone:]
        self._held = end - gone
        self._given = given_out - gone
        self._marked = max(0, marked - gone)
        return shown

    def _shown(self, end: int, *, ended: bool) -> tuple[bytes, int, int]:
        """Return what is before `end`, masked, with the marks of finds that begin there or follow at once.

        The second and third items are up to where `_data` is given out with it, and up to where it is marked.
        """
        data, held, copied, marked = memoryview(self._data), self._held, self._given, self._marked
        pieces: list[bytes | memoryview] = []
        finds = self._masker.finder.find(self._data, ended=ended)
        near = len(data) - _NEAR
        self._goes_on_from = min((one.start for one in finds if one.stop > near), default=len(data))
        for start, stop in merge_overlaps(self._data, finds):
            # A find that goes on behind `end` may become longer, but its beginning is sure.
            if start >= end and start > copied:
                break
            if stop <= max(marked, held):
                continue
            if start > copied:
                pieces.append(data[copied:start])
            if start >= marked:
                pieces.append(self._masker.mark)
            marked = stop
            copied = max(stop, copied)
        if copied < end:
            pieces.append(data[copied:end])
            copied = end
        return b"".join(pieces), copied, marked
