"""Finds values in bytes, whatever a program did to them on the way.

No encoder changes a value's letters and digits. The finder looks for short runs of these, all at once. Where
one turns up, it follows the value to both sides with the table of `looks`. `views` decodes base64 and lists
of numbers, and takes out colours and the like; the finder looks through each view in the same way.
`docs/decisions/0033-finding.md` has the measurements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from strongroom.masking.anchors import (
    NEITHER_LETTER_NOR_DIGIT,
    WINDOW,
)
from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.limits import MIN_CHARACTERS
from strongroom.masking.origins import LEAST, NOTHING, Known
from strongroom.masking.partial import (
    Beginnings,
    Starts,
    begin_of_character,
    begun_at_end,
    begun_broken_at_end,
    encoded_at_end,
    encoded_beginnings,
    inside_at_end,
    maybe_encoded_at_end,
    partial_at_end,
    unbroken,
)
from strongroom.masking.targets import (
    Apart,
    Form,
    Occurrence,
    Target,
    Value,
    Window,
    count_characters,
    is_plain_word,
    patterns_of,
)
from strongroom.masking.views import views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Finder", "Occurrence"]

_MOST_TARGETS = 64
_DEPTH = 2
_TAIL = 256
_BEFORE_TOKEN = compiled_later(rb"(?:\A|[^A-Za-z0-9_]|\\[abfnrtv0]|%[0-9A-Fa-f]{2}|\x1b\[[0-9;]*m)\Z")
_BOUNDS = NEITHER_LETTER_NOR_DIGIT.replace(b"_", b"")
_WRAPPED = frozenset(("base64", "hex"))
_BETWEEN = b"\xff\xff"  # in no text of UTF-8
_ESCAPES = b"\\%&\x1b"
_TOKEN_TAIL = compiled_later(rb"[A-Za-z0-9_]{1,128}\Z")
_MOST_STATES = 160_000
_NEVER_SKIPPED = tuple(bytes([byte]) * WINDOW for byte in range(0xFC, 0x100))
"""Patterns that are in no text.

With them the library does not begin by searching for one of three bytes, which may be common ones: of every
sixth value of hexadecimal digits they are, and then that takes 30 times as long.
"""
_NO_VALUE = object()
_FEW_PATTERNS = 64 - len(_NEVER_SKIPPED)
"""The library searches for up to so many patterns with instructions that compare many bytes at once."""
_MOST_GROUPS = 4
"""So many such searches take less time than one that takes each byte by itself."""
_SHORT = 256
"""One search of so many bytes takes as long as a call."""
_MOST_REACH = 1 << 16


class _Automaton:
    """Finds all patterns that were added from `first` on, and knows what each stands for.

    Other searches, each for few patterns, are several times as fast but report no overlapping matches. Where
    one reports a match, the surroundings are searched again for all.
    """

    __slots__ = ("_fast", "_longest", "_overlapping", "_short", "first", "targets", "values")

    def __init__(self, added: Sequence[tuple[bytes, Target]], first: int) -> None:
        from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind  # perhaps nothing is masked

        by_pattern: dict[bytes, list[Target]] = {}
        for pattern, target in added:
            targets = by_pattern.setdefault(pattern, [])
            if len(targets) < _MOST_TARGETS:
                targets.append(target)
        self.first = first
        self.targets = [*by_pattern.values(), *([] for _ in _NEVER_SKIPPED)]
        self.values = [
            one[0].value if len(one) == 1 and isinstance(one[0], Window) else _NO_VALUE
            for one in self.targets
        ]
        """The value whose window, and nothing else, each pattern is."""
        self._longest = max(map(len, by_pattern))
        kind = Implementation.DFA if sum(map(len, by_pattern)) <= _MOST_STATES else None
        self._overlapping = BytesAhoCorasick([*by_pattern, *_NEVER_SKIPPED], implementation=kind)
        self._fast = [
            (
                len(group),
                BytesAhoCorasick(
                    [*group, *_NEVER_SKIPPED], implementation=kind, matchkind=MatchKind.LeftmostLongest
                ),
            )
            for group in _groups(by_pattern)
        ]
        self._short = max(4 * self._longest, _SHORT * len(self._fast))

    def matches(self, data: bytes) -> list[tuple[int, int, int]]:
        """Return the number of the pattern, the start and the stop of each match; matches may overlap."""
        places: list[tuple[int, int, int]]
        if not self._fast or len(data) <= self._short:
            places = self._overlapping.find_matches_as_indexes(data, overlapping=True)
            return places
        places = []
        low = high = 0
        # A match that was passed over since it overlaps another one is as near to it as the longest pattern.
        spans = [
            (start, stop)
            for count, search in self._fast
            for which, start, stop in search.find_matches_as_indexes(data)
            if which < count
        ]
        for start, stop in sorted(spans):
            if start - self._longest > high:
                self._add_matches(places, data, low, high)
                low = max(0, start - self._longest)
            high = max(high, stop + self._longest)
        self._add_matches(places, data, low, high)
        return places

    def _add_matches(self, found: list[tuple[int, int, int]], data: bytes, low: int, high: int) -> None:
        if high:
            matches = self._overlapping.find_matches_as_indexes(data[low:high], overlapping=True)
            found += ((which, low + start, low + stop) for which, start, stop in matches)


def _groups(patterns: Iterable[bytes]) -> list[list[bytes]]:
    """Return `patterns` in groups that are searched for fast; none if that takes too many.

    Those of one length are together, since a search compares no more bytes than its shortest pattern has.
    """
    ordered = sorted(patterns, key=len)
    count = -(-len(ordered) // _FEW_PATTERNS)
    size = -(-len(ordered) // count)
    return [ordered[at : at + size] for at in range(0, len(ordered), size)] if count <= _MOST_GROUPS else []


class Finder:
    """Values that are looked for, each with a label.

    Safe to share between threads and with forked processes: there is no lock. Values are only ever appended,
    and a search builds what is missing and puts it in place at once.
    """

    def __init__(self) -> None:
        self._added: list[tuple[bytes, Target]] = []
        self._seen: set[tuple[str, Any]] = set()
        self._built: tuple[int, tuple[_Automaton, ...]] = (0, ())
        self._raws: list[bytes] = []
        self._words = False
        self._beginnings = Beginnings(0, 0, Starts.of(()), Starts.of(()), b"", Starts.of(()), b"")

    def __len__(self) -> int:
        return len(self._raws)

    @property
    def reach(self) -> int:
        """How many bytes at the end of a text must be looked through again together with what follows."""
        return _reach(max(map(len, self._raws), default=0))

    def add(self, value: str, label: Any = None, *, only: str | None = None) -> None:
        """Look for `value` from now on; a value under 4 characters is left out.

        Args:
            value: The secret.
            label: Comes with each find.
            only: A pattern; a part of the value is a find only if it has enough of what the pattern matches.
        """
        if len(value) < MIN_CHARACTERS or (value, label) in self._seen:
            return
        raw = value.encode(errors="surrogatepass")
        one = Value(raw, label, re.compile(only.encode()) if only is not None else None)
        self._words = self._words or one.word
        self._added += patterns_of(value, one)
        self._raws.append(raw)
        # Last: the thread that finds it there relies on it that the value is looked for.
        self._seen.add((value, label))

    # --- finding ---

    def find(self, data: bytes, *, depth: int = _DEPTH, ended: bool = True) -> list[Occurrence]:
        """Return every find, in order of its beginning; they may overlap.

        Args:
            data: What is looked through.
            depth: How often what was decoded is decoded again.
            ended: Whether nothing follows `data`. Else a plain word at the end may become a longer one.
        """
        if not self._added or len(data) < MIN_CHARACTERS:
            return []
        findings = self._find_as_written(data, ended)
        if depth and (len(data) >= LEAST or not data.isalnum()):
            known = Known(_without_wrapped(data, findings)) if findings else NOTHING
            for view in views(data, known, self._match_starts):
                left = depth if view.encoding == "lines" else depth - 1
                inner = self.find(view.data, depth=left) if view.text else self._find_as_written(view.data)
                for one in inner:
                    start, stop = view.origin(one.start, one.stop)
                    findings.append(Occurrence(start, stop, one.label, view.encoding))
        if findings:
            findings.sort(key=_by_position)
        return findings

    def _find_as_written(self, data: bytes, ended: bool = True) -> list[Occurrence]:
        findings: list[Occurrence] = []
        words: list[Occurrence] = []
        done: dict[Value, tuple[int, int]] = {}
        through: dict[Apart, int] = {}
        latest, begin, end = None, 0, 0  # the value found last, and where
        for automaton in self._automata():
            targets, values = automaton.targets, automaton.values
            for which, start, stop in automaton.matches(data):
                if stop <= end and values[which] is latest and begin <= start:
                    continue  # as most: a find has several windows
                for target in targets[which]:
                    if isinstance(target, Form):
                        one = Occurrence(start, stop, target.label, target.encoding)
                        if target.whole_token and not _stands_alone(data, one, ended):
                            words.append(one)
                        else:
                            findings.append(one)
                        continue
                    value = target.value
                    last = done.get(value)
                    if (last is not None and last[0] <= start and stop <= last[1]) or (
                        isinstance(target, Apart) and target.is_through(start, through)
                    ):
                        continue
                    met = target.find(data, start, stop)
                    if met is not None:
                        latest, begin, end = value, met.start, met.stop
                        done[value] = begin, end
                        findings.append(met)
        if words:
            findings += _whole_tokens(data, words, ended)
        return findings

    def _match_starts(self, data: bytes) -> Iterator[int]:
        for automaton in self._automata():
            yield from (start for _, start, _ in automaton.matches(data))

    def _automata(self) -> tuple[_Automaton, ...]:
        built, automata = self._built
        count = len(self._added)
        if built == count:
            return automata
        # New patterns are merged with the smaller old automata, so that no pattern is built often.
        kept = list(automata)
        first = built
        while kept and built - kept[-1].first <= 2 * (count - first):
            first = kept.pop().first
        made = (*kept, _Automaton(self._added[first:count], first))
        self._built = (count, made)
        return made

    # --- the end of what has come by now ---

    def undecided(self, data: bytes) -> tuple[int, int]:
        """Return where the tail begins that may become a find, and how many characters of a value it has."""
        known = self._known_beginnings()
        tail = data[-_TAIL:]
        begun = begun_at_end(tail, known.values)
        size, evidence = begun, count_characters(tail[len(tail) - begun :])
        partial = partial_at_end(tail)
        if partial:
            rest = tail[: len(tail) - partial]
            begun = begun_at_end(rest, known.values)
            if (begun or tail[len(rest)] in _ESCAPES) and partial + begun > size:
                size, evidence = partial + begun, max(evidence, begun)
        for held, strength in (
            *encoded_at_end(tail, known),
            (inside_at_end(tail, known.everything), 0),
            begun_broken_at_end(data, known),
        ):
            if held > size:
                size, evidence = held, max(evidence, strength)
        size = max(size, maybe_encoded_at_end(data, _reach(known.longest)))
        if size and self._words:
            # Several plain words may be one token.
            token = _TOKEN_TAIL.search(tail, 0, len(tail) - size)
            size += 0 if token is None else len(token[0])
        return begin_of_character(data, len(data) - size), evidence

    def _known_beginnings(self) -> Beginnings:
        known = self._beginnings
        if known.size != len(self._raws):
            raws = self._raws[: len(self._raws)]
            known = Beginnings(
                len(raws),
                max(map(len, raws), default=0),
                # What follows a plain word decides whether it is one.
                Starts.of(raw + b"_" if is_plain_word(raw) else raw[: _TAIL + 1] for raw in raws),
                Starts.of(form for raw in raws for form in encoded_beginnings(raw)),
                _BETWEEN.join(raws),
                Starts.of(unbroken(raw)[: _TAIL + 1] for raw in raws),
                _BETWEEN.join(map(unbroken, raws)),
            )
            self._beginnings = known
        return known


def _reach(longest: int) -> int:
    return min(_MOST_REACH, 512 + 8 * longest)


_by_position = itemgetter(0, 1)
_GOES_ON = compiled_later(rb"[A-Za-z0-9+/_-]{0,21}[ \t]*\r?\n(?:[0-9a-f]{4,8}: )?[ \t|>]*[A-Za-z0-9+/_-]{2}")


def _without_wrapped(data: bytes, findings: list[Occurrence]) -> Iterator[tuple[int, int]]:
    """Yield where the finds are, without those of base64 or digits that may go on with another value's line.

    There is a form of a short value's first line, and its other lines follow it in the same base64.
    """
    for one in findings:
        if one.encoding not in _WRAPPED or _GOES_ON.match(data, one.stop) is None:
            yield one.start, one.stop


def _stands_alone(data: bytes, word: Occurrence, ended: bool) -> bool:
    before, behind = data[word.start - 1 : word.start] or b" ", data[word.stop : word.stop + 1]
    return before in _BOUNDS and behind in _BOUNDS and (bool(behind) or ended)


def _whole_tokens(data: bytes, words: list[Occurrence], ended: bool) -> Iterator[Occurrence]:
    """Yield those of `words` that are whole tokens, alone or with others that they overlap."""
    words.sort(key=_by_position)
    group: list[Occurrence] = []
    stop = -1
    for word in (*words, None):
        if word is None or word.start >= stop:
            if group and (ended or stop < len(data)) and _is_token(data, group[0].start, stop):
                yield from group
            group = []
        if word is not None:
            group.append(word)
            stop = max(stop, word.stop)


def _is_token(data: bytes, start: int, stop: int) -> bool:
    if data[stop : stop + 1].isalnum() or data[stop : stop + 1] == b"_":
        return False
    return _BEFORE_TOKEN.search(data, max(0, start - 12), start) is not None
