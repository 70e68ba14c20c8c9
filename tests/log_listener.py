"""Waiting for what a thread logs."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager

PATIENCE_SECONDS = 120


class LogListener(logging.Handler):
    """Keeps messages, and wakes who waits for one."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []
        self._more = threading.Condition()

    def emit(self, record):
        with self._more:
            self.messages.append(record.getMessage())
            self._more.notify_all()

    def wait(self, *parts):
        """Return the first message that holds all `parts`."""

        def found():
            return next((one for one in self.messages if all(part in one for part in parts)), None)

        with self._more:
            assert self._more.wait_for(found, PATIENCE_SECONDS), self.messages
            return found()


@contextmanager
def listening(name="strongroom"):
    """Give a listener to the warnings of a logger and those below it."""
    handler, logger = LogListener(), logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
