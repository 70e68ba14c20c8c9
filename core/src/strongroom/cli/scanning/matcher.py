"""Finds stored values in files for `scan`, and labels each with the name of its secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO, TYPE_CHECKING

from strongroom.cli.scanning.leased import is_leased, without_leases
from strongroom.declarations.resolve import resolve_all
from strongroom.errors import ReadOnlyError, StrongroomError, UnsupportedOperationError, ValidationError
from strongroom.masking import Masker
from strongroom.masking.limits import UNMASKED_TYPES
from strongroom.masking.parts import lines, parts
from strongroom.spec.secret_plan import Position, SecretPlan

if TYPE_CHECKING:
    from strongroom.masking.finder import Finder
    from strongroom.registry import SecretProviderRegistry

__all__ = ["MIN_SCANNED", "Match", "build_matcher", "find_matches"]

MIN_SCANNED = 6
"""Shorter values occur in files by accident."""
_MIN_DIGITS = 8
_CHUNK = 1 << 20
_NEAR = 80
"""The most bytes between two parts of a value."""
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Match:
    """The place of a stored value; line and column count from 1, and line 0 is the file's name."""

    path: str
    line: int
    column: int
    secret: str
    encoding: str


def build_matcher(registry: SecretProviderRegistry, warn: Callable[[str], object]) -> Masker:
    """Return a masker of all values that the registry lists, or the spec declares, but those of leases.

    The label of each value is the name of its secret.

    Raises:
        StrongroomError: A backend refuses, or cannot be reached, so that a value might be missed.
    """
    plans = registry.plan.secrets
    known = {plan.key for plan in plans.values() if plan.field is None}
    declared = without_leases(registry, plans)
    stored = {
        key: SecretPlan(key, key, position=Position("stored"), allow_placeholder=True)
        for key in _listed(registry, warn)
        if key not in known and not is_leased(registry, key)
    }
    masker, left_out = Masker(), []
    # Two calls, because a key may have the same name as a declared secret with another key.
    for name, resolution in [
        *resolve_all(registry, declared).items(),
        *resolve_all(registry, stored).items(),
    ]:
        unreadable = resolution.unreadable
        if isinstance(unreadable, ValidationError):  # what the backend holds is not text
            left_out.append(f"{name} ({resolution.problem})")
        elif unreadable is not None:
            raise unreadable
        text = resolution.known_text
        if text is None or text == resolution.plan.default:  # a value in the spec is not a secret
            continue
        if not resolution.plan.mask:  # the spec says that it is not a secret
            continue
        plan = resolution.plan if resolution.refused is None else resolution.plan._replace(type="string")
        reason = _unsearchable_reason(plan, text)
        if reason is not None:
            left_out.append(f"{name} ({reason})")
            continue
        inside = (part for part in (*parts(text), *lines(text)) if _unsearchable_reason(plan, part) is None)
        for part in (text, *inside):
            masker.finder.add(part, name)
    if left_out:
        warn(f"not looked for: {', '.join(left_out)}")
    return masker


def find_matches(path: str, content: IO[bytes], masker: Masker) -> Iterator[Match]:
    """Yield each place of a stored value in `content`, and in the name of the file.

    Raises:
        OSError: It cannot be read to its end; what was read before was searched.
    """
    finder = masker.finder
    for _, secret, encoding in _distinct(finder, path.encode(errors="surrogateescape"), 0):
        yield Match(path, 0, 0, secret, encoding)
    before, line, column = b"", 1, 1
    failure: OSError | None = None
    pieces = _pieces(content)
    piece = next(pieces, None)
    while piece is not None:
        try:
            following = next(pieces, None)
        except OSError as error:
            following, failure = None, error
        data = before + piece
        overlap = min(len(data), finder.reach) if following is not None else 0
        for start, secret, encoding in _distinct(finder, data, len(before), again=overlap):
            newline = data.rfind(b"\n", 0, start)
            at = start - newline if newline >= 0 else column + start
            yield Match(path, line + data.count(b"\n", 0, start), at, secret, encoding)
        gone = data[: len(data) - overlap]
        newline = gone.rfind(b"\n")
        line += gone.count(b"\n")
        column = len(gone) - newline if newline >= 0 else column + len(gone)
        before = data[len(data) - overlap :]
        piece = following
    if failure is not None:
        raise failure


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    first = content.read(_CHUNK)
    if first.startswith(_UTF_16):
        text = (first + content.read()).decode("utf-16", errors="replace")
        content = BytesIO(text.encode(errors="replace"))
        first = content.read(_CHUNK)
    while first:
        yield first
        first = content.read(_CHUNK)


def _distinct(finder: Finder, data: bytes, seen: int, *, again: int = 0) -> Iterator[tuple[int, str, str]]:
    """Yield where matches begin; matches of one secret that overlap count as one.

    Args:
        finder: Knows the values.
        data: What is searched.
        seen: So many bytes at the beginning were the end of what was searched before.
        again: So many bytes at the end are searched again, with what follows. A match in them that ends near
            the end may be the beginning of a longer one, so it is left to that search.
    """
    stop = -1
    reported: set[str] = set()
    for begin, end, secret, encoding in finder.find(data):
        if end <= seen and (begin == 0 or end <= seen - _NEAR):
            continue
        if again and begin > len(data) - again and end > len(data) - _NEAR:
            continue
        if begin >= stop:
            reported.clear()
        stop = max(stop, end)
        if secret not in reported:
            reported.add(secret)
            yield begin, secret, encoding


def _listed(registry: SecretProviderRegistry, warn: Callable[[str], object]) -> list[str]:
    try:
        return registry.list_secrets()
    except (UnsupportedOperationError, ReadOnlyError) as error:
        problem: StrongroomError = error
    warn(f"only declared secrets are looked for: {problem}")
    return []


def _unsearchable_reason(plan: SecretPlan, text: str) -> str | None:
    if plan.type in UNMASKED_TYPES:
        return f"of type {plan.type}"
    if len(text) < MIN_SCANNED:
        return f"fewer than {MIN_SCANNED} characters"
    if text.isdigit() and len(text) < _MIN_DIGITS:
        return f"a number of fewer than {_MIN_DIGITS} digits"
    return None
