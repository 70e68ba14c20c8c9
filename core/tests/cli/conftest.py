"""The command line as a process, and in this one, in a folder with a spec."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
from pathlib import Path

import pytest
import warm_command
from strongroom.cli import main

SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
  other:
    provider: {type: file, file_path: other.enc, key_file: app.key}
default: app
secrets:
  PASSWORD: {key: database/password, min_length: 8, generate: {length: 24}}
  PORT: {key: database/port, type: port, default: "5432"}
"""


@pytest.fixture
def in_process(tmp_path, monkeypatch, capfd):
    """Return a function that writes a spec, and returns what runs a command here: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def beside(spec):
        Path("strongroom.yaml").write_text(spec)
        Path("strongroom.yaml").chmod(0o644)
        return run

    def run(*words):
        capfd.readouterr()
        code = main(list(words))
        said = capfd.readouterr()
        return code, said.out, said.err

    return beside


@pytest.fixture
def strongroom(tmp_path, monkeypatch, warm_strongroom):
    """Return a function that runs `strongroom` with words, and has a folder with `SPEC`."""
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(SPEC)
    Path("strongroom.yaml").chmod(0o644)

    def run(*words, stdin="", expected=0, **environment):
        done = warm_command.run(
            [warm_strongroom, *words],
            input=stdin,
            env={**os.environ, **environment},
        )
        assert done.returncode == expected, f"{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr or "--debug" in words
        return done

    return run


class OnTerminal:
    """A program on a terminal of its own, as the leader of its session."""

    def __init__(self, words, environment, columns):
        self.seen = self.all = b""
        self.status = None
        self.pid, self.master = pty.fork()
        if self.pid == 0:  # pragma: no cover  # another process
            with contextlib.suppress(OSError):
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.execvpe(words[0], words, environment)
            os._exit(99)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def until(self, text):
        while text not in self.seen:
            assert self.read(), self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, data):
        while data:
            select.select([], [self.master], [], 120)
            data = data[os.write(self.master, data[:1000]) :]

    def read(self):
        ready, _, _ = select.select([self.master], [], [], 120)
        assert ready, self.seen
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:  # the other side is closed
            return False
        self.seen += data
        self.all += data
        return bool(data)

    def end(self):
        while self.read():
            pass
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


@pytest.fixture
def on_terminal():
    """Return what starts a program on a terminal; it has to end within the block."""

    @contextlib.contextmanager
    def start(words, *, columns=80, **environment):
        terminal = OnTerminal(words, {**os.environ, "TERM": "xterm", **environment}, columns)
        try:
            yield terminal
        finally:
            if terminal.status is None:
                os.kill(terminal.pid, 9)
                os.waitpid(terminal.pid, 0)
            os.close(terminal.master)

    return start
