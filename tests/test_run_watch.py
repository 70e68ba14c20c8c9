"""`strongroom run --watch`: the child gets what changes, and nothing that is wrong."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from strongroom_file import FileSecretProvider

CHILD = """
import os, signal, sys
def show(*_):
    print(open(os.environ["CERT"]).read() if "CERT" in os.environ else "", os.environ["PASSWORD"], flush=True)
signal.signal(signal.SIGHUP, show)
if len(sys.argv) > 1: signal.signal(signal.SIGTERM, signal.SIG_IGN)
show()
while line := sys.stdin.readline():
    if line.strip() == "end": sys.exit(7)
    show()
"""
SPEC = """
version: 1
pipelines: {app: {provider: {type: file, file_path: s.enc, key_file: app.key}}}
secrets:
  PASSWORD: {key: password, min_length: 6, mask: false}
  CERT: {key: cert, as_file: true, mask: false, required: false}
"""


@pytest.fixture
def store(tmp_path):
    (tmp_path / "strongroom.yaml").write_text(SPEC)
    with FileSecretProvider(tmp_path / "s.enc", key_file=tmp_path / "app.key") as provider:
        provider.set_secrets({"password": "first-one", "cert": "cert-one"})
        yield provider


@pytest.fixture
def run(tmp_path, store):
    started = []

    def start(*options, child=()):
        command = [
            str(Path(sys.executable).parent / "strongroom"),
            "--spec",
            str(tmp_path / "strongroom.yaml"),
        ]
        command += ["run", "--watch", *options, "--", sys.executable, "-c", CHILD, *child]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, "HOME": str(tmp_path)}, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=300)


def test_a_changed_secret_restarts_the_child(store, run):
    """A pair changes together; a value that breaks its rules leaves the child; its own end is ours."""
    process = run()
    assert process.stdout.readline() == "cert-one first-one\n"
    store.set_secrets({"password": "second-one", "cert": "cert-two"})
    assert process.stdout.readline() == "cert-two second-one\n"
    store.set_secret("password", "short")
    assert "keeps the secrets" in process.stderr.readline()
    process.stdin.write("still there?\n")
    assert process.stdout.readline() == "cert-two second-one\n"
    process.stdin.write("end\n")
    assert process.wait(300) == 7
    assert process.stderr.read() == ""


def test_a_signal_tells_the_child_whose_files_are_rewritten(store, run):
    """What is not in a file is warned of once."""
    process = run("--on-change", "HUP", "--poll-seconds", "5")
    assert process.stdout.readline() == "cert-one first-one\n"
    store.set_secret("cert", "cert-two")
    assert process.stdout.readline() == "cert-two first-one\n"
    store.set_secret("password", "second-one")
    assert process.stdout.readline() == "cert-two first-one\n"
    store.set_secret("password", "third-one")
    assert process.stdout.readline() == "cert-two first-one\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 128 + signal.SIGTERM
    output = process.stderr.read()
    assert output.count("PASSWORD changed") == 1
    assert "-one" not in output


def test_a_child_that_does_not_end_is_killed(store, run):
    """After --stop-timeout."""
    process = run("--stop-timeout", "0.2", child=["stubborn"])
    assert process.stdout.readline() == "cert-one first-one\n"
    store.set_secret("cert", "cert-two")
    assert process.stdout.readline() == "cert-two first-one\n"
    process.stdin.write("end\n")
    assert process.wait(300) == 7


@pytest.mark.parametrize("value", ["holds a \0", "x" * 32 * os.sysconf("SC_PAGE_SIZE")])
def test_a_value_that_no_environment_holds_leaves_the_child(store, run, value):
    """No program could be started with it, and the present one would be gone."""
    process = run()
    assert process.stdout.readline() == "cert-one first-one\n"
    store.set_secret("password", value)
    warning = process.stderr.readline()
    assert "keeps the secrets" in warning
    assert "PASSWORD" in warning
    assert "as_file" in warning
    process.stdin.write("still there?\n")
    assert process.stdout.readline() == "cert-one first-one\n"
    store.set_secret("password", "second-one")
    assert process.stdout.readline() == "cert-one second-one\n"
    process.stdin.write("end\n")
    assert process.wait(300) == 7


def test_a_child_that_was_asked_to_end_is_not_started_again(store, run):
    """A change comes while it ends, as a pod does that is replaced during a rotation."""
    process = run(child=["stubborn"])
    assert process.stdout.readline() == "cert-one first-one\n"
    process.send_signal(signal.SIGTERM)
    store.set_secret("cert", "cert-two")
    shown = ""
    while shown != "cert-two first-one\n":  # the change has come
        process.stdin.write("again\n")
        shown = process.stdout.readline()
    process.stdin.write("end\n")
    assert process.wait(300) == 7
    assert process.stdout.read() == ""


BETWEEN = """
import os, signal, sys
from strongroom.cli.actions import watched_run
from strongroom.cli import main
deprecations, calls = watched_run.deprecations, []
def counted(found):
    calls.append(found)
    if len(calls) == 2: os.kill(os.getpid(), signal.SIGTERM)
    return deprecations(found)
watched_run.deprecations = counted

sys.exit(main(sys.argv[1:]))
"""


def test_a_signal_between_two_children_ends_it_after_the_cleanup(store, tmp_path):
    """No child gets it then; the files of secrets are removed, and leases would be revoked."""
    memory = tmp_path / "memory"
    memory.mkdir()
    command = [sys.executable, "-c", BETWEEN, "--spec", str(tmp_path / "strongroom.yaml"), "run", "--watch"]
    process = subprocess.Popen(
        [*command, "--", sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(memory)}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == "cert-one first-one\n"
    assert any(memory.iterdir())
    store.set_secret("password", "second-one")
    assert process.wait(300) == 128 + signal.SIGTERM
    assert process.stdout.read() == ""
    process.stdout.close()
    process.stdin.close()
    assert not any(memory.iterdir())


AT_THE_START = """
import sys
from strongroom.cli.actions import watched_run
from strongroom.cli import main
from strongroom_file import FileSecretProvider
folder, *words = sys.argv[1:]
read, calls = watched_run.read_all, []
def read_all(*given):
    found = read(*given)
    calls.append(found)
    if len(calls) == 1:
        with FileSecretProvider(f"{folder}/s.enc", key_file=f"{folder}/app.key") as other:
            other.set_secret("password", "second-one")
    return found
watched_run.read_all = read_all
sys.exit(main(words))
"""


def test_a_change_between_the_first_read_and_the_start_reaches_the_child(store, tmp_path):
    """Nobody would tell it later: the watch would have begun with the new value."""
    spec = str(tmp_path / "strongroom.yaml")
    command = [sys.executable, "-c", AT_THE_START, str(tmp_path), "--spec", spec, "run", "--watch"]
    process = subprocess.Popen(
        [*command, "--poll-seconds", "0.2", "--", sys.executable, "-c", CHILD], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env={**os.environ, "HOME": str(tmp_path)}, start_new_session=True,
    )  # fmt: skip
    while (line := process.stdout.readline()) != "cert-one second-one\n":
        assert line == "cert-one first-one\n"  # it may have been started already
    process.stdin.write("end\n")
    process.stdin.close()
    assert process.wait(300) == 7
    process.stdout.close()


ON_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
ENDS_SLOWLY = """
import os, signal, sys, time
def stop(*_):
    print("stopping", flush=True)
signal.signal(signal.SIGTERM, stop)
def interrupted(*_):
    print("interrupted", flush=True)
    sys.exit(3)
signal.signal(signal.SIGINT, interrupted)
print("has", os.environ["PASSWORD"], flush=True)
while True: signal.pause()
"""


class OnTerminal:
    """`run --watch` as the first job of a terminal."""

    def __init__(self, folder, *options):
        self.master, slave = pty.openpty()
        command = [str(Path(sys.executable).parent / "strongroom"), "--spec", str(folder / "strongroom.yaml")]
        command += ["run", "--watch", *options, "--", sys.executable, "-c", ENDS_SLOWLY]
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, *command], stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "HOME": str(folder)}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(300)
        os.close(self.master)

    def until(self, text):
        while text not in self.seen:
            assert select.select([self.master], [], [], 300)[0], self.seen
            self.seen += os.read(self.master, 4096).decode()


@pytest.mark.parametrize("options", [[], ["--no-mask"]])
def test_ctrl_c_during_a_restart_ends_it(store, tmp_path, options):
    """Who types that wants no other child, whether the child has a terminal of its own or ours."""
    with OnTerminal(tmp_path, *options) as run:
        run.until("has first-one")
        store.set_secret("password", "second-one")
        run.until("stopping")
        os.write(run.master, b"\x03")
        run.until("interrupted")
        assert run.process.wait(300) in {3, -signal.SIGINT}
        assert "has second-one" not in run.seen


def test_an_interrupt_that_was_sent_and_not_typed_is_passed_on(store, tmp_path):
    """On our own terminal, too, though the thread of the watch could get it."""
    with OnTerminal(tmp_path, "--no-mask") as run:
        run.until("has first-one")
        run.process.send_signal(signal.SIGINT)
        run.until("interrupted")
        assert run.process.wait(300) == 3


@pytest.mark.parametrize(
    "options", [["--on-change", "NONE"], ["--on-change", "KILL"], ["--poll-seconds", "0"], ["--replace"]]
)
def test_what_cannot_be_is_refused(run, options):
    """Before anything starts."""
    process = run(*options)
    assert process.wait(300) == 2
    assert process.stdout.read() == ""
