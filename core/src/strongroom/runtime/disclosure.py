"""What an error of somebody else's code may give away: a value that nobody but that code has seen yet.

A write knows the value that no error may hold. A read that fails does not, so it looks at what the code could
reach as it failed: the locals of its frames, what they refer to, and the globals that it names. An error that
shows one of those texts, or quotes one that is neither in the code nor in the set-up, is kept back.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import (
    FrameType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, Final

__all__ = ["chain_of", "discloses", "may_show", "shows_one_of"]

_LEAST: Final = 4
"""Characters: shorter texts are in everything."""
_ALLOWED: Final = "\0"
"""Stands for a text that may be shown."""
_DEEPEST: Final = 4
_MOST: Final = 100_000
"""Characters of errors, and texts that could be in them; with more of either an error is kept back."""
_MOST_COMPARED: Final = 1_000_000_000
"""Characters that are looked through for those texts, in less than a second."""
_QUOTED: Final = re.compile(r"""(['"])(.{4,}?)\1""", re.DOTALL)
_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{6,}")
"""What may be base64, in either alphabet, or hexadecimal."""
_SECRET: Final = re.compile(r"token|secret|pass|credential|auth|private|_?key$", re.IGNORECASE)
_CODE: Final = (type, ModuleType, FunctionType, MethodType)


def chain_of(error: BaseException) -> Iterable[BaseException]:
    """Return `error` and all that it leads to: causes, contexts, and the members of groups."""
    chain: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is not None and id(current) not in chain:
            chain[id(current)] = current
            waiting += (current.__cause__, current.__context__)
            if isinstance(current, BaseExceptionGroup):
                waiting += current.exceptions
    return chain.values()


def discloses(error: BaseException, asked: Iterable[str], provider: Any) -> bool:
    """Return whether `error`, or one that it leads to, may show a value that the code which raised it had.

    Args:
        error: What was raised.
        asked: The keys that the caller named: they may be shown.
        provider: Whose code it is; the plain texts among its attributes are its set-up, and may be shown too.
    """
    try:
        return _shows_what_was_at_hand(list(chain_of(error)), asked, provider)
    except Exception:  # noqa: BLE001  # what cannot be read, such as a proxy of nothing, is not shown
        return True


def may_show(error: BaseException, written: Iterable[object], asked: Iterable[str], provider: Any) -> bool:
    """Return whether `error`, or one that it leads to, may show one of `written` or what else the code had.

    The value of a read is not known, nor what a write or a list had read before it failed: see `discloses`.
    """
    return shows_one_of(error, written) or discloses(error, asked, provider)


def shows_one_of(error: BaseException, written: Iterable[object]) -> bool:
    """Return whether `error`, or one that it leads to, shows one of the texts `written`, plain or encoded."""
    forms = _forms_of_all(written)
    return any(_shows(one, forms) for one in chain_of(error))


def _forms_of_all(written: Iterable[object]) -> frozenset[str]:
    """Return the forms in which a text may hold a value of `written`: plain and encoded."""
    import base64
    import json
    from urllib.parse import quote, quote_plus

    forms: set[str] = set()
    for value in written:
        if not isinstance(value, str) or not value:
            continue
        raw = value.encode(errors="surrogatepass")
        encoded = base64.b64encode(raw).decode().rstrip("=")
        forms |= {value, repr(value)[1:-1], repr(raw)[2:-1], ascii(value)[1:-1], raw.hex()}
        forms |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        forms |= {quote(raw), quote(raw, safe=""), quote_plus(raw)}
        forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    return frozenset(forms)


def _shows(error: BaseException, forms: Iterable[str]) -> bool:
    try:
        texts = [str(error), repr(error)]
        # As text, too: `repr` escapes characters.
        for member in (*error.args, *vars(error).values(), *getattr(error, "__notes__", ())):
            texts += (str(member), repr(member))
    except Exception:  # noqa: BLE001  # what cannot be read is not shown
        return True
    return any(form in text for form in forms for text in texts)


def _shows_what_was_at_hand(errors: list[BaseException], asked: Iterable[str], provider: Any) -> bool:
    known = [text for text in {*asked, *_set_up(provider)} if len(text) > 1]
    known.sort(key=len, reverse=True)
    shown = [text for one in errors for text in _texts(one, known)]
    if not shown:
        return False
    if sum(map(len, shown)) > _MOST:
        return True
    frames = [frame for one in errors for frame in _frames(one)]
    known_text = "\n".join((*known, *_literals(frames)))
    if any(
        quoted not in known_text
        for text in shown
        for _, quoted in _QUOTED.findall(text)
        if _ALLOWED not in quoted
    ):
        return True
    whole = "\n".join(reading for text in shown for reading in _readings(text))
    most = min(_MOST, _MOST_COMPARED // len(whole))
    for seen, text in enumerate(_at_hand(frames)):
        rest = _without(text, known)
        made_of_it = _ALLOWED in rest and all(one in known_text for one in rest.split(_ALLOWED))
        if seen > most or (not made_of_it and any(form in whole for form in _forms(rest))):
            return True
    return False


def _readings(text: str) -> Iterator[str]:
    """Yield what an error shows, and what that is decoded: of a URL, HTML, base64 or hexadecimal."""
    import html
    from base64 import urlsafe_b64decode
    from urllib.parse import unquote, unquote_plus

    yield from {text, unquote(text), unquote_plus(text), html.unescape(text)}
    for run in _RUN.findall(text):
        for start in range(4):  # what comes before it may be of the same characters
            digits = run[start:].replace("+", "-").replace("/", "_")
            digits = digits[:-1] if len(digits) % 4 == 1 else digits  # that one would be of no byte
            yield urlsafe_b64decode(digits + "=" * (-len(digits) % 4)).decode(errors="replace")
        with suppress(ValueError):
            yield bytes.fromhex(run).decode(errors="replace")


def _texts(error: BaseException, known: Iterable[str]) -> Iterator[str]:
    """Yield what `error` shows, without the texts that may be shown."""
    members = (*error.args, *vars(error).values(), *getattr(error, "__notes__", ()))
    texts = [
        member if isinstance(member, str) else repr(member)
        for member in members
        if not (member is None or isinstance(member, bool | int | float))
    ]
    # A class that writes its own text may take more into it than its members.
    written = [write(error) for write in (str, repr) if _is_own(type(error), write.__name__)]
    parts = sorted((text for text in texts if len(text) >= _LEAST), key=len, reverse=True)
    for text in (*texts, *(_without(one, parts) for one in written)):
        rest = _without(text, known)
        if len(rest.strip(f"{_ALLOWED}'\" ")) >= _LEAST:
            yield rest


def _is_own(kind: type, name: str) -> bool:
    """Return whether the `__str__` or `__repr__` of a class is written in Python."""
    return isinstance(getattr(kind, f"__{name}__"), FunctionType)


def _without(text: str, known: Iterable[str]) -> str:
    for one in known:
        text = text.replace(one, _ALLOWED)
    return text


def _set_up(provider: Any) -> Iterator[str]:
    for name, value in getattr(provider, "__dict__", {}).items():
        if isinstance(value, str) and not _SECRET.search(name):
            yield value


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        if not str(trace.tb_frame.f_globals.get("__name__", "")).startswith("strongroom."):
            yield trace.tb_frame
        trace = trace.tb_next


def _literals(frames: Iterable[FrameType]) -> Iterator[str]:
    for frame in frames:
        for constant in frame.f_code.co_consts:
            if isinstance(constant, str):
                yield constant


def _at_hand(frames: Iterable[FrameType]) -> Iterator[str]:
    """Yield the texts that the code of `frames` could name as it failed."""
    waiting: list[tuple[Any, int]] = []
    for frame in frames:
        waiting += ((value, 0) for value in frame.f_locals.values())
        waiting += ((frame.f_globals.get(name), 0) for name in frame.f_code.co_names)
    met: set[int] = set()
    while waiting:
        thing, depth = waiting.pop()
        if isinstance(thing, str):
            if len(thing) >= _LEAST:
                yield thing
        elif isinstance(thing, bytes | bytearray | memoryview):
            if len(text := bytes(thing).decode(errors="replace")) >= _LEAST:
                yield text
        elif depth < _DEEPEST and id(thing) not in met:
            met.add(id(thing))
            waiting += ((one, depth + 1) for one in _parts(thing))


def _parts(thing: Any) -> Iterable[Any]:
    if thing is None or isinstance(thing, (*_CODE, BaseException, int, float)):
        return ()
    if isinstance(thing, dict | MappingProxyType):
        return list(thing.values())
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return list(thing)
    return [*getattr(thing, "__dict__", {}).values(), *_slots(thing)]


def _slots(thing: Any) -> Iterator[Any]:
    """Yield the values of an object's `__slots__`; no code of its own runs for that."""
    for kind in type(thing).__mro__:
        for member in vars(kind).values():
            if isinstance(member, MemberDescriptorType):
                with suppress(AttributeError):  # it has no value yet
                    yield member.__get__(thing)


def _forms(text: str) -> Iterator[str]:
    yield text
    if not text.isprintable() or "'" in text or '"' in text or "\\" in text:
        yield repr(text)[1:-1]
