"""One running program, and its pipe for requests and answers, which may come in any order."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, cast

from strongroom.deadlines import Deadline, DeadlineExceededError, held_within
from strongroom.parallel import SingleEntryLock, start_thread
from strongroom.providers.programs import Started, kill_program

from strongroom_exec.words import Words, texts_of

__all__ = ["Channel", "ProgramEndedError"]

_LONGEST_LINE: Final = 64 << 20
_LONGEST_WORDS: Final = 64 << 10
_UNASKED: Final = 1000
"""The most notifications in a row that are ignored."""
_GRACE_SECONDS: Final = 2.0


class ProgramEndedError(Exception):
    """The program has ended, or was ended for a violation; the message says which."""


class _Waiting:
    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        # Not an event, whose lock a signal handler would keep from the thread that reads the answers.
        self.done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.answer: dict[str, Any] | None = None

    def wait(self, deadline: Deadline) -> None:
        try:
            self.done.get(timeout=min(deadline.remaining(), threading.TIMEOUT_MAX))
        except queue.Empty:
            raise DeadlineExceededError from None


class Channel:
    """Speaks JSON-RPC 2.0 with a program, one object a line."""

    def __init__(self, program: Started, words: Words) -> None:
        self._program = program
        self._words = words
        # No lock except for writing: a signal handler would keep it from the thread that reads the answers.
        self._first: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._first.put(None)  # for the one that ends it
        self._writing = SingleEntryLock("the program")
        self._waiting: dict[int, _Waiting] = {}
        self._given_up: set[int] = set()
        self._answers = 0
        self._unasked = 0
        self.ended: str | None = None
        os.set_blocking(self._input.fileno(), False)
        for work in (self._read_answers, self._read_words):
            start_thread(threading.Thread(target=work, name="strongroom-exec", daemon=True))

    def ask(self, method: str, params: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Return the program's whole answer, with `result` or `error`.

        Raises:
            DeadlineExceededError: There was none in time.
            ProgramEndedError: The program ended without one.
        """
        waiting = _Waiting()
        number = next(self._words.numbers)
        answers = self._answers
        self._waiting[number] = waiting  # before the look: whatever ends the program tells those that wait
        sent = False
        try:
            self._check_running()
            self._words.begin(number)
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            self._send(json.dumps(request).encode() + b"\n", deadline)
            sent = True
            waiting.wait(deadline)
        except BaseException as error:
            # Whatever a signal handler raises, too: the answer may still come.
            self._given_up.add(number)
            is_silent = answers == self._answers
            self._words.finish(number, may_be_answered=sent)
            if is_silent and isinstance(error, DeadlineExceededError):  # else just this one takes its time
                self.end("it hung: it answered nothing at all")
            raise
        finally:
            self._waiting.pop(number, None)
        if waiting.answer is None:
            raise ProgramEndedError(self.ended)
        return waiting.answer

    def finish(self, number: int) -> None:
        """Have the program's output of the time of the request logged."""
        self._words.finish(number)

    def end(self, why: str, *, grace: float = 0.0) -> None:
        """Wake every caller, as no answer comes any more, and end the program."""
        self.ended = self.ended or why
        for one in list(self._waiting.values()):
            one.done.put(None)
        with contextlib.suppress(queue.Empty):
            self._first.get_nowait()
            self._close_input()
            kill_program(self._program, grace=grace)
            self._words.end()

    def close(self) -> None:
        """End the program: its input ends, and it has two seconds to do so itself."""
        self.end("it was closed", grace=_GRACE_SECONDS)

    @property
    def _input(self) -> BinaryIO:
        return cast("BinaryIO", self._program.stdin)

    def _check_running(self) -> None:
        if self.ended is not None:
            raise ProgramEndedError(self.ended)

    def _close_input(self) -> None:
        """Close the program's input; if a thread writes there, leave that to this thread, when it is done.

        The number of a closed descriptor is free for the next file, which would get the request.
        """
        if self._writing.is_mine():  # it broke off, or a signal handler runs in the middle of it
            return
        with held_within(self._writing, 0) as held:
            if held:
                with contextlib.suppress(OSError):
                    self._input.close()

    def _send(self, line: bytes, deadline: Deadline) -> None:
        try:
            with held_within(self._writing, deadline.remaining()) as held:
                if not held:
                    raise DeadlineExceededError
                self._write_line(line, deadline)
        finally:
            if self.ended is not None:
                self._close_input()

    def _write_line(self, line: bytes, deadline: Deadline) -> None:
        left = memoryview(line)
        try:
            while left and self.ended is None:
                left = left[self._write(left, deadline) :]
        except (OSError, ValueError):
            # It has gone; the reader of its answers finds out how, and lets this caller know.
            return
        except BaseException as error:
            if 0 < len(left) < len(line):  # half a line is in the pipe, and nothing can follow it
                hung = isinstance(error, DeadlineExceededError)
                why = "it hung: it does not read what it is sent" if hung else "a request broke off"
                self.end(why)
            raise

    def _write(self, data: memoryview, deadline: Deadline) -> int:
        try:
            return os.write(self._input.fileno(), data[:65536])
        except BlockingIOError:
            poll = select.poll()
            poll.register(self._input.fileno(), select.POLLOUT)
            poll.poll(min(deadline.remaining(), 1e6) * 1000)
            deadline.remaining()
            return 0

    def _read_answers(self) -> None:
        output = cast("BinaryIO", self._program.stdout)
        why = None
        rest = bytearray()
        with output:
            while why is None and (part := _read(output)):
                rest += part
                if b"\n" in part:
                    *lines, last = bytes(rest).split(b"\n")
                    rest = bytearray(last)
                    for line in lines:
                        why = why or self._take(line)
                if len(rest) > _LONGEST_LINE:
                    why = f"it floods: a line of more than {_LONGEST_LINE >> 20} MiB"
            if why is None:
                why = self._how_it_ended()
            self.end(why)

    def _how_it_ended(self) -> str:
        try:
            code = self._program.wait(_GRACE_SECONDS)
        except Exception:  # noqa: BLE001  # it closed its output and goes on: it is ended in a moment
            return "it closed its standard output"
        return f"it ended with exit code {code}" if code >= 0 else f"it ended by signal {-code}"

    def _take(self, line: bytes) -> str | None:
        """Pass an answer to its caller; return why the program has to be ended, or None."""
        if not line.strip():
            return None
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            return f"it talks nonsense: a line of {len(line)} bytes is not a JSON object"
        if "method" in answer and "id" not in answer:
            self._unasked += 1
            return "it floods: notifications without end" if self._unasked > _UNASKED else None
        # Some libraries write both members, one of them null.
        if {"result", "error"} <= set(answer):
            empty = next((name for name in ("error", "result") if answer[name] is None), "")
            answer.pop(empty, None)
        number = answer.get("id")
        if type(number) is not int or ("result" in answer) == ("error" in answer):
            return "it talks nonsense: an object is not an answer of JSON-RPC 2.0"
        waiting = self._waiting.pop(number, None)
        known = waiting is not None or number in self._given_up
        self._given_up.discard(number)
        self._answers += 1
        self._unasked = 0
        if not known:
            return "it talks nonsense: it answers what was not asked"
        if waiting is None:  # nobody wants its values any more, but they are not to be logged either
            self._words.know(texts_of(answer.get("result")))
            self._words.finish(number)
        else:
            answer["id"] = number
            waiting.answer = answer
            waiting.done.put(None)
        return None

    def _read_words(self) -> None:
        words = cast("BinaryIO", self._program.stderr)
        rest = b""
        with words:
            while part := _read(words):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    if line.strip() and len(line) <= _LONGEST_WORDS:
                        self._words.hear(line)
                if len(rest) > _LONGEST_WORDS:
                    rest = rest[:1] * (_LONGEST_WORDS + 1)  # the whole line is left out, whatever its length
        if rest.strip() and len(rest) <= _LONGEST_WORDS:
            self._words.hear(rest)


def _read(stream: BinaryIO) -> bytes:
    try:
        return os.read(stream.fileno(), 65536)
    except (OSError, ValueError):
        return b""
