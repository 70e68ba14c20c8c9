"""`set` at its hidden prompt, on a terminal: what is typed or pasted is stored whole, and nothing is shown."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest
from strongroom.cli import prompt
from strongroom.cli.prompt import _read, _signal_pipe, _take

PEM = "-----BEGIN PRIVATE KEY-----\nMIIB\nAAAA\n-----END PRIVATE KEY-----"
ASK = (
    "import os, sys\n"
    "from strongroom.cli.errors import UsageError\n"
    "from strongroom.cli.input import read_value\n"
    "try:\n"
    "    value = read_value('k', print, raw=False)\n"
    "    print('<' + ascii(value) + '>')\n"
    "except UsageError as error: print('<' + error.message + '>')\n"
    "except KeyboardInterrupt: print('<interrupted>')\n"
)


@pytest.fixture
def ask(on_terminal):
    """Return a function that answers the prompt twice, and returns what came of it and all that was shown."""

    def go(first, second=None):
        with on_terminal([sys.executable, "-c", ASK]) as terminal:
            terminal.until(b"Value of 'k': ")
            terminal.type(first)
            if second is not None:
                terminal.until(b"again: ")
                terminal.type(second)
            terminal.end()
            return re.search(rb"<(.*)>", terminal.all)[1].decode(), terminal.all

    return go


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        (b"x" * 10_000 + b"\r", "x" * 10_000),
        (PEM.encode() + b"\r", PEM),
        (PEM.replace("\n", "\r").encode() + b"\r", PEM),
        (b"\x1b[200~two\rlines\x1b[201~\r", "two\nlines"),
        (b"\x1b[200~a token\r\x1b[201~\r", "a token"),
    ],
    ids=["10000", "pem", "pem as terminals paste it", "marked paste", "with the end of its line"],
)
def test_what_is_pasted_arrives_whole_and_is_not_shown(ask, typed, value):
    answer, seen = ask(typed, typed)
    assert answer == ascii(value)
    assert typed[:20] not in seen.partition(b"<")[0]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (b"one\r", b"two\r", "the two values differ, and nothing was stored"),
        (b"\r", None, "nothing was typed, and nothing was stored"),
        (b"\x03", None, "interrupted"),
        (b"\x04", None, "interrupted"),
    ],
)
def test_what_is_not_a_value_twice_is_refused(ask, first, second, expected):
    assert ask(first, second)[0] == expected


def test_a_signal_that_comes_just_before_it_waits_ends_the_wait(monkeypatch):
    """Python would heed it only after the next key."""
    waits, (master, terminal) = [], os.openpty()

    def wait(*what):
        waits.append(what)
        if len(waits) == 1:
            told_by = signal.set_wakeup_fd(-1)
            os.write(told_by, bytes([signal.SIGWINCH]))  # as Python's own handler does
            signal.set_wakeup_fd(told_by)
        else:
            os.write(master, b"typed\n")
        return select(*what)

    select = prompt.select.select
    monkeypatch.setattr(prompt.select, "select", wait)
    try:
        with _signal_pipe() as signals:
            assert _read(terminal, bytearray(), signals) == b"typed"
    finally:
        os.close(master)
        os.close(terminal)
    assert len(waits) == 2


def test_typing_ahead_answers_both(ask):
    assert ask(b"secret\rsecret\r")[0] == "'secret'"


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        (b"ab\x7fc", b"ac"),
        ("aé\x7fb".encode(), b"ab"),
        (b"wrong\x15right", b"right"),
        (b"two words\x17x", b"two x"),
        (b"a\x1b[Db\x1bOAc", b"abc"),
        (b"\x1b[200~a\r\nb\x1b[201~", b"a\nb"),
    ],
)
def test_a_line_can_be_edited(typed, value):
    made = bytearray()
    assert _take(made, typed) == (len(typed), False)
    assert made == value


def test_after_a_stop_nothing_is_shown_either(on_terminal, tmp_path):
    """As a shell does: it takes the terminal back, with the modes it had, and later gives it to the job."""
    with on_terminal(["bash", "--norc", "--noediting", "-b", "-i"], PS1="@@ ") as terminal:
        (tmp_path / "ask.py").write_text(ASK)
        terminal.until(b"@@ ")
        terminal.type(f"{sys.executable} {tmp_path}/ask.py\n".encode())
        terminal.until(b"Value of 'k': ")
        terminal.type(b"\x1a")
        terminal.until(b"topped")
        terminal.type(b"fg\n")
        terminal.until(b"Value of 'k': ")
        terminal.type(b"hidden-one\r")
        terminal.until(b"again: ")
        terminal.type(b"hidden-one\r")
        terminal.until(b"<'hidden-one'>")
        terminal.type(b"exit\n")
        terminal.end()
        assert terminal.all.count(b"hidden-one") == 1


def test_set_says_what_it_stored_and_a_pipe_needs_no_answer(on_terminal, strongroom):
    with on_terminal([sys.executable, "-m", "strongroom", "set", "a"]) as terminal:
        terminal.until(b"Value of 'a': ")
        terminal.type(b"hunter22\rhunter22\r")
        terminal.until(b"stored 'a' in app")
        assert terminal.end() == 0
    assert strongroom("get", "a").stdout == "hunter22"
    assert strongroom("set", "b", stdin="x\n").stderr == ""
