"""Masks what this process logs, and the tracebacks that it prints."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from strongroom.masking.known_values import Searched, known, mask, remember, shows

if TYPE_CHECKING:
    from strongroom.masking.stream import Masker

__all__ = ["MaskingFilter", "ValueSource", "install"]

# Attributes that Python sets: no value is in them, except for the last three, which are masked by themselves.
_LEFT_ALONE = frozenset(
    {
        *("name", "levelname", "levelno", "pathname", "filename", "module", "funcName", "lineno", "created"),
        *("msecs", "relativeCreated", "process", "thread", "msg", "args", "exc_info"),
    }
)


_REPEATED = frozenset({"threadName", "processName", "taskName"})
_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})
_SEPARATOR = "\x7f\n"  # no encoding goes on over it
_LONGEST_AT_ONCE = 1024
_MOST_ITEMS = 250_000
"""So many items of an exception's local variables are searched, which takes a second."""


class ValueSource(Protocol):
    """What a registry offers for masking."""

    def observe_values(self, seen: Callable[[str], object]) -> None:
        """Give `seen` every value that is read from now on."""


class MaskingFilter(logging.Filter):
    """Masks a record's message, arguments, traceback and other attributes. Drops no record.

    Add it to handlers: a logger's filters do not see records of the loggers below it.

    Args:
        masker: Masks these values; by default those that the process fetched.
    """

    def __init__(self, masker: Masker | None = None) -> None:
        super().__init__()
        self._masker = known if masker is None else masker
        self._clean: dict[str, tuple[int, object]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        size = len(self._masker.finder)
        if size:
            self._mask(record, size)
        return True

    def _mask(self, record: logging.LogRecord, size: int) -> None:
        masker = self._masker
        self._mask_message(record)
        if record.exc_info:
            text = record.exc_text or "".join(_formatted_exception(record.exc_info)).rstrip("\n")
            masked = masker.mask_text(text)
            if masked is not text or _locals_hold(record.exc_info, masker):
                # A second formatting of the exception would show the value after all.
                record.exc_info, record.exc_text = None, masked
        clean, members = self._clean, record.__dict__
        for name in members.keys() - _LEFT_ALONE:
            value = members[name]
            # Of the thread, of the process: the same text again and again.
            if value is None or clean.get(name) == (size, value):
                continue
            masked = mask(value, masker=masker)
            if masked is not value:
                setattr(record, name, masked)
            elif name in _REPEATED:
                clean[name] = size, value

    def _mask_message(self, record: logging.LogRecord) -> None:
        if self._is_clean(record):
            return
        if not isinstance(record.msg, str):
            # A formatter may want the mapping that it is, as structlog's does, and not its text.
            record.msg = mask(record.msg, masker=self._masker)
        # Arguments first: a format such as `%.8s` shows a part of them, in which no value is found.
        args = mask(record.args, masker=self._masker)
        try:
            plain = record.getMessage()
        except Exception as error:  # noqa: BLE001  # a wrong format, or a third party's `__str__`
            # logging itself would show the format and the arguments on stderr.
            shown = f"{mask(record.msg, masker=self._masker)} {args}"
            shown = self._masker.mask_text(shown.replace("%%", "%"))
            record.msg, record.args = f"{shown} (not formatted: {type(error).__name__})", None
            return
        if args is not record.args:
            record.args = args
            try:
                plain = record.getMessage()
            except Exception:  # noqa: BLE001  # such as `%d` for what is a mask now
                record.msg, record.args = plain, None
        masked = self._masker.mask_text(plain)
        if masked is not plain:
            record.msg, record.args = masked, None

    def _is_clean(self, record: logging.LogRecord) -> bool:
        """Look once through message and arguments, and tell whether there is surely nothing to mask."""
        args = record.args
        if type(record.msg) is not str or type(args) is not tuple:
            return False
        if not _PLAIN_TYPES.issuperset(map(type, args)):
            return False
        try:
            texts = _SEPARATOR.join([record.getMessage(), *[one for one in args if type(one) is str]])
        except Exception:  # noqa: BLE001  # a wrong format, or a third party's `getMessage`
            return False
        if len(texts) > _LONGEST_AT_ONCE or "\x1b" in texts:
            return False
        return self._masker.mask_text(texts) is texts


def install(*registries: ValueSource) -> None:
    """Mask from now on what this process logs, and the traceback with which it ends.

    Call it when logging is configured, and again when handlers were added. It replaces the hooks of an error
    reporter; a reporter that is installed later gets exceptions unmasked.

    Args:
        registries: Their values are remembered when they are read. For other values, see `remember`.
    """
    for registry in registries:
        registry.observe_values(remember)
    for handler in _handlers():
        if not any(isinstance(one, MaskingFilter) for one in handler.filters):
            handler.addFilter(MaskingFilter())
    sys.excepthook = _print_uncaught
    threading.excepthook = _print_uncaught_of_thread
    sys.unraisablehook = _print_unraisable


def _handlers() -> Iterator[logging.Handler]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            yield from logger.handlers
    if logging.lastResort is not None:
        yield logging.lastResort


def _formatted_exception(info: Any) -> list[str]:
    try:
        return traceback.format_exception(*info)
    except Exception:  # noqa: BLE001  # no exception at all, or one that cannot be shown
        return ["(the exception cannot be shown)"]


def _locals_hold(info: Any, masker: Masker) -> bool:
    """Return whether a handler that shows a traceback's local variables, or `repr`, may show a value.

    Where they have too many items to search it may: an error that is logged must not take minutes.
    """
    done = Searched(_MOST_ITEMS)
    waiting = [info[1]] if isinstance(info, tuple) else []
    seen: set[int] = set()
    while waiting:
        error = waiting.pop()
        if not isinstance(error, BaseException) or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += (error.__cause__, error.__context__)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        if shows(error, masker, done):  # its `str` may show less than its `repr`
            return True
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if any(shows(variable, masker, done) for variable in list(frame.f_locals.values())):
                return True
    return False


def _print_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _print_masked("".join(_formatted_exception((kind, error, trace))))


def _print_uncaught_of_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_type is SystemExit:
        return
    name = failure.thread.name if failure.thread is not None else "unknown"
    text = "".join(_formatted_exception((failure.exc_type, failure.exc_value, failure.exc_traceback)))
    _print_masked(f"Exception in thread {name}:\n{text}")


def _print_unraisable(failure: sys.UnraisableHookArgs) -> None:
    text = "".join(_formatted_exception((failure.exc_type, failure.exc_value, failure.exc_traceback)))
    _print_masked(f"{failure.err_msg or 'Exception ignored in'}: {mask(failure.object)!r}\n{text}")


def _print_masked(text: str) -> None:
    """Write `text` to standard error, masked, and never fail: Python would show the exception as it is."""
    stream = sys.stderr
    if stream is None:
        return
    with contextlib.suppress(Exception):  # a stream that is closed, or is a third party's
        masked = known.mask_text(text)
        try:
            stream.write(masked)
        except UnicodeError:  # its encoding has no such character
            stream.write(masked.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()
