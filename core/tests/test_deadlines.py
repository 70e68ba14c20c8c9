"""A client that threads share: made once, and everything that was opened for it is closed."""

import queue
import threading

import pytest
from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor, SharedClient
from strongroom.errors import AuthenticationError
from strongroom.parallel import in_parallel


class Connection(SharedClient[object]):
    """Counts what is made and closed; `broken` fails after the login was opened."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__(timeout=60, deadline=None)
        self.broken = broken
        self.made, self.closed = [], []

    def load(self):
        """Need nothing."""

    def make(self, opened):
        opened.callback(self.closed.append, "login")
        if self.broken:
            raise OSError
        opened.callback(self.closed.append, "client")
        self.made.append(object())
        return self.made[-1]

    def translate(self, error):
        return AuthenticationError(type(error).__name__)


def test_threads_that_begin_at_once_share_one_client():
    connection = Connection()
    together = threading.Barrier(8)

    def begin(_):
        together.wait()
        return connection.start()[0]

    assert set(in_parallel(begin, range(8), 8)) == set(connection.made)
    assert len(connection.made) == 1


def test_the_client_is_closed_before_its_login_and_made_again_after_that():
    connection = Connection()
    first, _ = connection.start()
    connection.close()
    assert connection.closed == ["client", "login"]
    assert connection.start()[0] is not first


def test_a_login_is_closed_where_no_client_comes_of_it():
    connection = Connection(broken=True)
    with pytest.raises(AuthenticationError, match="OSError") as caught:
        connection.start()
    assert connection.closed == ["login"]
    assert caught.value.__context__ is None


def test_closing_does_not_wait_for_a_client_that_is_never_made():
    """As a library may hang as it is set up, in a child that was forked while a thread was in its midst."""
    hangs = threading.Event()

    class Hanging(Connection):
        def make(self, opened):
            hangs.wait(300)
            return super().make(opened)

    connection = Hanging()
    connection._timeout = 0.05
    with pytest.raises(AuthenticationError, match="DeadlineExceededError"):
        connection.start()
    closing = threading.Thread(target=connection.close)
    closing.start()
    closing.join(300)
    assert not closing.is_alive()
    hangs.set()


def test_a_call_is_not_made_whose_caller_was_gone_before_it_began():
    """It may be a write: made late, it could come after what its caller has done since."""
    runner, made, inbox = DeadlineExecutor(1), [], queue.SimpleQueue()
    runner._idle.append(inbox)  # of a thread that has no time to look there
    with pytest.raises(DeadlineExceededError):
        runner.run(lambda: made.append("late"), Deadline(0.001))
    assert not inbox.get().run()
    assert runner.run(lambda: "the slot is free", Deadline(60)) == "the slot is free"
    assert made == []
