"""Audit lines through `logging`, whose handlers would otherwise fail in silence."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from strongroom.errors import AuditError
from strongroom.runtime.logs import logger

__all__ = ["LOGGER", "LoggerSink"]

LOGGER = "strongroom.audit"
_log = logger("strongroom.hooks")
_failed = threading.local()


class LoggerSink:
    """A logger that audit lines go to, at INFO.

    Args:
        logger: The logger, or its name.
    """

    def __init__(self, logger: logging.Logger | str) -> None:
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._warned = False

    def append(self, lines: Sequence[str]) -> None:
        """Log `lines`.

        Raises:
            AuditError: A handler could not write one of them.
        """
        # A configuration of logging that comes later disables the loggers that exist, as Django's may.
        self._logger.disabled = False
        handlers = list(_handlers(self._logger)) if self._logger.isEnabledFor(logging.INFO) else []
        if not any(map(_writes, handlers)):
            self._warn_once()
        for handler in handlers:
            _watch(handler)
        _failed.error = None
        for line in lines:
            self._logger.info(line)
        error: BaseException | None = _failed.error
        if error is not None:
            raise AuditError(
                f"a handler of the logger {self._logger.name!r} failed with {type(error).__name__}",
                hint="repair it: an operation whose audit line is lost is refused",
            )

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "audit lines go nowhere: the logger %r does not take INFO, or has no handler that does; "
                "configure logging, or give a path",
                self._logger.name,
            )

    def __repr__(self) -> str:
        return f"<LoggerSink {self._logger.name}>"


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    at: logging.Logger | None = logger
    while at is not None:
        yield from at.handlers
        at = at.parent if at.propagate else None


def _writes(handler: logging.Handler) -> bool:
    return handler.level <= logging.INFO and not isinstance(handler, logging.NullHandler)


_watched: weakref.WeakSet[logging.Handler] = weakref.WeakSet()


def _watch(handler: logging.Handler) -> None:
    """Remember what `handler` fails with; it still reports that in its own way."""
    if handler in _watched:
        return
    _watched.add(handler)
    report: Any = handler.handleError

    def handle_error(record: logging.LogRecord) -> None:
        import sys

        _failed.error = sys.exception()
        report(record)

    handler.handleError = handle_error  # type: ignore[method-assign]  # the only place where logging reports it
