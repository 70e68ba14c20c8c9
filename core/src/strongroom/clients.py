"""What providers over a vendor's client share: repeated calls, and errors without a request's content."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import (
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
    show_key,
)
from strongroom.parallel import forks_wait, never_collect

__all__ = [
    "backoff_delays",
    "call_with_retries",
    "check_answer",
    "is_permanent",
    "leave_connections",
    "parse_http_date",
    "parse_retry_after",
    "redact_credentials",
    "redact_message",
    "redacted_copy",
    "service_error",
    "shows_value",
    "shut_down_socket",
    "splits_login",
]

if TYPE_CHECKING:
    import socket

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_MOMENT: Final = 0.01
"""Seconds by which a client's own clock may end a call before its deadline."""
_CHARACTERS: Final = 300
_PART: Final = 12
"""Characters of a value that no message may show together."""
_LEFT_OUT: Final = "(its message holds the value and is left out)"
_chance: Final = random.SystemRandom()
"""The system's generator: pauses differ even after a fork, and a program's own sequence is not disturbed."""
_LASTING: Final = re.compile(
    "CERTIFICATE_VERIFY_FAILED|Name or service not known|nodename nor servname|No address associated"
    "|Domain name not found"
)

_CREDENTIALS: Final = (
    # A token as it is sent, which a proxy may quote; a word after `bearer` is shorter.
    (re.compile(r"\b(bearer[ \t]{1,9})[\w.~+/=-]{20,}", re.IGNORECASE | re.ASCII), r"\1…"),
    # The login of a URL, which may be a token alone, as programs quote it from their set-up.
    (re.compile(r'(://)[^\s/?#"<>]+@'), r"\1…@"),
    (re.compile(r"\b(AGE-SECRET-KEY-)[0-9A-Z-]+", re.IGNORECASE | re.ASCII), r"\1…"),
    (
        re.compile(r"(-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----).*?(?=-----END|\Z)", re.DOTALL),
        r"\1…",
    ),
)
"""What no message may show of tokens, logins and private keys, and what stays of each."""
_END_OF_PLACE: Final = re.compile("[/?]")


def backoff_delays() -> Iterator[float]:
    """Yield the seconds to wait before each repetition: longer each time, and partly random."""
    longest = _FIRST_PAUSE
    while True:
        yield longest * _chance.uniform(0.5, 1.0)
        longest = min(longest * 2, _LONGEST_PAUSE)


def call_with_retries(
    send: Callable[[], T],
    deadline: Deadline,
    *,
    translate: Callable[[Exception], StrongroomError],
    is_retryable: Callable[[Exception, StrongroomError], bool],
    retry_after: Callable[[Exception], float | None],
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """Return what `send` returns; repeat the call after a growing pause if that may help and there is time.

    Args:
        send: Calls the client.
        deadline: When to give up.
        translate: Returns the provider's error for what `send` raised.
        is_retryable: Returns, given what `send` raised and the provider's error, whether another call may
            help and is harmless.
        retry_after: Returns the seconds that the service asked to wait, given what `send` raised.
        pause: Waits.

    Raises:
        StrongroomError: What `translate` returned; if time ran out, the service's last error, which says
            more.
    """
    waits: Iterator[float] | None = None
    failure: StrongroomError | None = None
    while True:
        try:
            return send()
        except Exception as error:  # noqa: BLE001  # a provider raises nothing but strongroom's errors
            failed = error
        # From here on outside the `except` block: the client's error may hold the request, and must not be
        # the context of ours.
        late = isinstance(failed, DeadlineExceededError)
        if failure is not None and (late or not deadline.allows(_MOMENT)):
            raise failure
        ours = translate(failed)
        if late or not is_retryable(failed, ours):
            raise ours
        waits = waits or backoff_delays()
        wait = max(next(waits), retry_after(failed) or 0.0)
        if not deadline.allows(wait):
            raise ours
        failure = ours
        del failed, ours
        pause(wait)


def is_permanent(message: str) -> bool:
    """Return whether the text of an error names a cause that lasts: an unknown host, an unknown CA."""
    return _LASTING.search(message) is not None


def parse_retry_after(text: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header, which is a number or a date (RFC 9110, 10.2.3).

    None is returned if it is neither, or is not a time that can be waited for: then the usual pause serves.
    """
    if text is None:
        return None
    seconds = math.nan
    with suppress(ValueError):
        seconds = float(text)
    date = parse_http_date(text) if math.isnan(seconds) else None
    if date is not None:
        seconds = date.timestamp() - time.time()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def parse_http_date(text: str | None) -> datetime | None:
    """Return the time in a header such as `Date`, in UTC; None if there is none that a calendar has."""
    try:
        date = None if text is None else parsedate_to_datetime(text)
        # One of C's `asctime`, which servers may still send, names no zone, and is in UTC.
        return None if date is None else (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def redact_message(message: str, *hidden: str | None) -> str:
    """Return a service's message in one line, shortened; nothing of it if one of `hidden` is in it.

    Credentials in it are left out, such as a bearer token: a caller of a vendor's client does not know them.
    """
    # Before lines are joined or cut off, for in what is left of a value it might not be found.
    if shows_value(message, *hidden):
        return _LEFT_OUT
    line = " ".join(redact_credentials(message).split())
    shown = line if len(line) <= _CHARACTERS else line[: _CHARACTERS - 1] + "…"
    return _LEFT_OUT if any(value and _shows_part(shown, value) for value in hidden) else shown


def shows_value(message: str, *values: str | None) -> bool:
    """Return whether one of `values` is in a message: unchanged, quoted, or in an encoding such as base64.

    A proxy may quote the request that it refuses, in which a value is as the service takes it.
    """
    looked_for = [value for value in values if value]
    if any(form in message for value in looked_for for form in _forms(value)):
        return True
    if not looked_for:
        return False
    with forks_wait():
        from strongroom.masking import Masker  # which loads much, and is needed for few errors
    return Masker(looked_for).mask_text(message) != message


def _shows_part(line: str, value: str) -> bool:
    """Return whether a line shows a part of a value, as of a quoted request that was cut off."""
    from base64 import b64encode

    data = value.encode(errors="surrogatepass")
    # In base64 three bytes are four letters: where they begin makes three forms.
    written = [b64encode(data[start:]).decode() for start in range(3)]
    forms = [" ".join(form.split()) for form in (*_forms(value), *written)]
    parts = {line[start : start + _PART] for start in range(len(line) - _PART + 1)}
    return any(part in form for form in forms for part in parts)


def redact_credentials(text: str) -> str:
    """Return `text` without bearer tokens, logins in URLs, and private keys."""
    for pattern, rest in _CREDENTIALS:
        text = pattern.sub(rest, text)
    return text


def _forms(value: str) -> set[str]:
    """Return `value` unchanged, as JSON would quote it, and as Python would."""
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}


def check_answer(provider: str, key: str, asked: str, named: str | None) -> None:
    """Make sure that an answer is about the requested secret; one that names no secret passes.

    Connections get mixed up if processes share them, after a fork that Python does not notice, and by
    proxies. A wrong secret must then be an error, and must not be cached.

    Args:
        provider: The type name.
        key: The key, for the message.
        asked: The name by which the service was asked.
        named: The name in its answer.

    Raises:
        BackendUnavailableError: The names differ.
    """
    if named is not None and named != asked:
        raise BackendUnavailableError(
            f"{provider}: reading {show_key(key)}: the service answered for another secret",
            key=key,
            provider=provider,
            hint="call again; look for connections that processes share, or a proxy that mixes answers up",
        )


def leave_connections(session: Any) -> None:
    """Give a session of requests its own connections, in a child forked from the session's process.

    Args:
        session: A `requests.Session`; anything else is left as it is.
    """
    for adapter in list((getattr(session, "adapters", None) or {}).values()):
        if hasattr(adapter, "poolmanager"):
            never_collect(adapter.poolmanager, *adapter.proxy_manager.values())
            # As after pickling: the same options, and no connections.
            adapter.__setstate__(adapter.__getstate__())


def shut_down_socket(opened: socket.socket | None) -> None:
    """End what another thread sends or reads on a socket, for that thread to close it; do nothing if None.

    The socket stays encrypted: the `shutdown` of Python's TLS sockets gives the encryption up a moment before
    the connection, and what the other thread sends in that moment would go out as plain text.
    """
    import socket

    if opened is not None:
        with suppress(OSError):  # it has been closed meanwhile
            socket.socket.shutdown(opened, socket.SHUT_RDWR)


def redacted_copy(error: Exception, message: str) -> Exception:
    """Return an error of the same class with just a text: `error` may hold requests and their tokens."""
    try:
        return type(error)(message)
    except Exception:  # noqa: BLE001  # a class that wants more arguments than its text
        return RuntimeError(f"{type(error).__module__}.{type(error).__qualname__}: {message}")


def service_error(
    kind: type[StrongroomError],
    reason: str,
    *,
    provider: str,
    doing: str,
    key: str | None,
    hint: str | None,
    retry_after: float | None = None,
    cause: Exception | None = None,
) -> StrongroomError:
    """Return an error of class `kind` that says who did what with which key, and the service's reason.

    Args:
        kind: The class, from the provider's table.
        reason: What the service said, without values and credentials (`redact_message`).
        provider: The type name.
        doing: The operation.
        key: The key it was about. For an absent secret, only the key is named.
        hint: What to do next.
        retry_after: Seconds that the service asked to wait; only a `ThrottledError` has them.
        cause: What it is raised from, without values and credentials (`redacted_copy`).
    """
    about = f"{provider}: {doing}" + (f" {show_key(key)}" if key is not None else "")
    error: StrongroomError
    if issubclass(kind, SecretNotFoundError):
        error = kind(key or "", provider=provider)
    elif issubclass(kind, ThrottledError):
        error = kind(f"{about}: {reason}", retry_after=retry_after, key=key, provider=provider, hint=hint)
    else:
        error = kind(f"{about}: {reason}", key=key, provider=provider, hint=hint)
    error.__cause__ = cause
    return error


def splits_login(url: str) -> bool:
    """Return whether the user or password of `url` seems to contain an unescaped `/` or `?`.

    A parser ends the address there: the rest of the password would be a path or an option, and be shown.
    """
    after = url.partition("://")[2]
    place = _END_OF_PLACE.split(after, maxsplit=1)[0]
    path, _, options = after[len(place) :].partition("?")
    names = (one.partition("=")[0] for one in options.split("&"))
    return place != "" and "@" not in place and ("@" in path or any("@" in one for one in names))
