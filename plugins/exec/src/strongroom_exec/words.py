"""The texts of a program beside its answers, without the values that went over its pipe."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from strongroom.clients import redact_credentials
from strongroom.masking import Masker
from strongroom.parallel import SingleEntryLock

__all__ = ["Words", "texts_of"]

_logger = logging.getLogger("strongroom.exec")
_KEPT_VALUES: Final = 10_000
_WAITING_LINES: Final = 1000
_LONGEST: Final = 2000
"""Characters of a line in the log."""
_SHOWN: Final = 300
"""Characters of a text in an error."""
_LINES_PER_SECOND: Final = 100
_LATE_SECONDS: Final = 60.0
_OPEN_KEY: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?!.*-----END)")
_OF_A_KEY: Final = re.compile(r"\s*(?:[A-Za-z0-9+/=]*|(?:Proc-Type|DEK-Info|Version|Comment): .*)\s*")
"""A line between the first and the last one of a private key."""


def texts_of(result: Any) -> list[str]:
    """Return the texts in the result of a request: they may be values."""
    values = result.values() if isinstance(result, dict) else [result]
    return [one for one in values if isinstance(one, str)]


class _Line(NamedTuple):
    text: str
    after: int


class Words:
    """Masks values and credentials in the output of a program.

    A line of its standard error may show a value that its answer has yet to bring: it waits for the requests
    that were under way as it came. At most 100 lines a second are logged, and the others are counted.

    Args:
        name: The program's, for the log.
        clock: Tells the time in seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self.numbers = itertools.count(1)
        """Numbers for requests; none is used twice, even if the program is started again."""
        self._lock = SingleEntryLock("the program")
        self._values: dict[str, None] = {}
        self._masker: Masker | None = None
        self._waiting: deque[_Line] = deque()
        self._requests: set[int] = set()
        self._late: dict[int, float] = {}
        """Until when lines wait for the answers of requests that nobody waits for any more."""
        self._newest = 0
        self._left_out = 0
        self._in_key = False
        """Whether the lines of a private key follow."""
        self._second, self._logged = clock(), 0

    def know(self, values: Iterable[str]) -> None:
        """Mask `values` from now on."""
        with self._lock:
            for value in values:
                if value and value not in self._values:
                    if self._masker is not None:
                        self._masker.add(value)
                    self._values[value] = None
            while len(self._values) > _KEPT_VALUES:
                del self._values[next(iter(self._values))]
                self._masker = None

    def begin(self, request: int) -> None:
        """Note that a request is sent."""
        with self._lock:
            self._requests.add(request)
            self._newest = max(self._newest, request)

    def finish(self, request: int, *, may_be_answered: bool = False) -> None:
        """Note that a request is over, and its values are known, unless it `may_be_answered` later.

        A line may show a value of the late answer, so that it waits for that, too, but not for more than a
        minute: the program may never answer.
        """
        with self._lock:
            self._requests.discard(request)
            self._late.pop(request, None)
            if may_be_answered:
                self._late[request] = self._clock() + _LATE_SECONDS
            self._report()

    def hear(self, line: bytes) -> None:
        """Accept a line of the program's standard error."""
        text = line.decode(errors="replace")
        with self._lock:
            if self._in_key and _OF_A_KEY.fullmatch(text):
                return
            self._in_key = _OPEN_KEY.search(text) is not None
            if len(self._waiting) >= _WAITING_LINES:
                self._left_out += 1
                return
            self._waiting.append(_Line(text, self._newest))
            self._report()

    def end(self) -> None:
        """Log the waiting lines, as no answer comes any more."""
        with self._lock:
            self._requests.clear()
            self._late.clear()
            self._report()

    def clean(self, text: str, hidden: Iterable[str] = ()) -> str:
        """Return a text of the program's in one line, shortened, without values.

        Args:
            text: What it said.
            hidden: Values that may be too short to be masked: where one is in it, nothing is left.
        """
        with self._lock:
            masked = self._masked(text, _SHOWN)
        return (
            "(its message holds the value and is left out)"
            if any(one and one in masked for one in hidden)
            else masked
        )

    def _report(self) -> None:
        for request in [one for one, until in self._late.items() if until <= self._clock()]:
            del self._late[request]
        while self._waiting and not any(
            one <= self._waiting[0].after for one in (*self._requests, *self._late)
        ):
            line = self._waiting.popleft()
            now = self._clock()
            if now - self._second >= 1:
                self._second, self._logged = now, 0
            if self._logged >= _LINES_PER_SECOND:
                self._left_out += 1
                continue
            self._logged += 1
            if self._left_out:
                _logger.warning("%s: %d lines were left out", self._name, self._left_out)
                self._left_out = 0
            if _logger.isEnabledFor(logging.INFO):  # masking takes long after many values
                _logger.info("%s: %s", self._name, self._masked(line.text, _LONGEST))

    def _masked(self, text: str, longest: int) -> str:
        if not text:
            return ""
        if self._masker is None:
            self._masker = Masker(self._values)
        # Before anything is joined or cut off: what is left of a value would not be found.
        masked = redact_credentials(self._masker.mask_text(text))
        line = " ".join("".join(one if one.isprintable() else " " for one in masked).split())
        return line if len(line) <= longest else line[: longest - 1] + "…"
