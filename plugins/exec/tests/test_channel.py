"""A channel that ends while another thread writes to its program."""

from __future__ import annotations

import os
import threading

import pytest
from strongroom.errors import BackendUnavailableError


class EndsMeanwhile:
    """A program's input: after its descriptor was asked for, and before it is used, `end` runs elsewhere.

    If the descriptor was closed, its number is that of the file `other` then.
    """

    def __init__(self, opened, end, other):
        self._opened = opened
        self._end = [end]
        self._other = other

    def fileno(self):
        number = self._opened.fileno()
        if self._end:
            thread = threading.Thread(target=self._end.pop())
            thread.start()
            thread.join(60)
            try:
                os.fstat(number)
            except OSError:
                os.dup2(self._other.fileno(), number)
        return number

    def close(self):
        self._opened.close()


def test_a_request_goes_to_no_file_that_was_opened_meanwhile(program, tmp_path):
    """The number of a descriptor is free as soon as it is closed."""
    provider = program("def reply(request, params): tell(request, 'v')\n")
    assert provider.get_secret("a") == "v"
    running = provider._channel._program
    opened = running.stdin
    with (tmp_path / "other").open("w+b", buffering=0) as other:
        running.stdin = EndsMeanwhile(opened, lambda: provider._channel.end("it was ended"), other)
        with pytest.raises(BackendUnavailableError):
            provider.set_secret("a", "hunter2")
        assert other.read() == b""
        other.seek(0)
        assert other.read() == b""
    assert opened.closed
