"""What the tests of the cache in Redis share: waiting for a condition, and caches over the server."""

from __future__ import annotations

import time

from strongroom.encryption import generate_key
from strongroom.errors import BackendUnavailableError
from strongroom.testing.faults import ends_in_time

SLACK = 30.0  # a watchdog: a machine that is busy with other things does not come near


def within(seconds, call):
    """Return what `call` raises, and check that it does so in time."""
    return ends_in_time(call, BackendUnavailableError, seconds, slack=SLACK)


def soon(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


KEY = generate_key()
