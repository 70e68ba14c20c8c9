"""How a lock that a server keeps is held; the servers themselves are asked in the plugins' tests."""

from __future__ import annotations

import contextlib
import time

import pytest
from strongroom.deadlines import DeadlineExceededError
from strongroom.errors import BackendUnavailableError
from strongroom.sealed.locks import held_lock
from strongroom.testing.conformance.forks import Children


class Lock:
    """A lock that another holds for some requests."""

    def __init__(self, held_for=0, failure=None):
        self.held_for, self.failure, self.asked, self.released = held_for, failure, 0, 0

    def acquire(self, deadline):
        assert deadline.remaining() <= 5
        self.asked += 1
        return None if self.asked <= self.held_for else 7

    def release(self, _deadline):
        self.released += 1
        if self.failure is not None:
            raise self.failure


def test_it_is_asked_for_until_it_is_had(monkeypatch):
    lock, pauses = Lock(held_for=8), []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with held_lock(lock, wait_seconds=60, timeout=5) as token:
        assert (token, lock.asked, lock.released) == (7, 9, 0)
    assert lock.released == 1
    assert pauses == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5])


def test_what_another_holds_for_all_of_the_time_is_given_back_all_the_same():
    """A lease that was granted for it would else live on."""
    lock = Lock(held_for=1)
    with held_lock(lock, wait_seconds=0, timeout=5) as token:
        assert token is None
    assert (lock.asked, lock.released) == (1, 1)


@pytest.mark.parametrize("failure", [BackendUnavailableError("away"), DeadlineExceededError()])
def test_a_lock_that_cannot_be_given_back_ends_by_itself(failure):
    with held_lock(Lock(failure=failure), wait_seconds=0, timeout=5) as token:
        assert token == 7


def test_a_forked_child_leaves_it_to_its_parent():
    lock = Lock()
    with contextlib.ExitStack() as block:
        block.enter_context(held_lock(lock, wait_seconds=0, timeout=5))

        def leave(_):
            block.close()
            return lock.released

        assert Children(1, leave).results() == [0]
    assert lock.released == 1
