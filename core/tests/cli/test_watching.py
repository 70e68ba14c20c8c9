"""What `run --watch` does between a watch and a child: pauses, outages, files that change together."""

from __future__ import annotations

import errno
import fcntl
import logging
import math
import os
import signal
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry
from strongroom.cli.actions import watched_run
from strongroom.cli.app import run_app
from strongroom.cli.child import control as watching
from strongroom.cli.child import supervisor
from strongroom.cli.child.control import ChildControl
from strongroom.cli.child.secret_files import SecretFiles
from strongroom.cli.child.supervisor import Job, Supervisor
from strongroom.cli.declared.selection import read_all, select_secrets
from strongroom.errors import AuthenticationError, BackendUnavailableError, PermissionDeniedError

SPEC = {
    "version": 1,
    "pipelines": {"app": {"provider": {"type": "memory"}}},
    "secrets": {"PASSWORD": {"key": "password"}},
}


class Clock:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def made():
    """Return what makes a control that is out of reach of its registry for some reads, and what it warned of."""
    with SecretProviderRegistry(SPEC) as registry:
        registry.set_secret("password", "first-one")
        chosen = select_secrets(registry.plan)
        warned, renewed = [], []

        def make(failures=0, clock=None, error=BackendUnavailableError):
            outage = iter(range(failures))

            def read():
                if next(outage, None) is not None:
                    raise error("away")
                return read_all(registry, chosen)

            control = ChildControl(
                read, number=None, stop_timeout=1.0,
                renew_files=lambda before, after: renewed.append((before, after)) or [], warn=warned.append,
                clock=clock or Clock(),
            )  # fmt: skip
            controls.append(control)
            control.begin(read_all(registry, chosen))
            renewed.clear()
            registry.set_secret("password", "second-one")
            return control, warned, renewed

        controls = []
        make.registry = registry
        yield make
        for control in controls:
            control.close()


def test_a_child_that_is_restarted_again_and_again_waits_longer_each_time(made):
    """From one second to a minute; one that has lived for ten seconds is started at once."""
    clock = Clock()
    control, *_ = made(clock=clock)

    def live(seconds):
        control.started()
        clock.seconds += seconds
        return control.pause_before_restart()

    assert live(0.1) == 0.0  # the first end for a change is not that of a restarted child
    assert [live(9.9) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert live(10.0) == 0.0
    assert [live(1.0) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("error", [BackendUnavailableError, AuthenticationError, PermissionDeniedError])
def test_what_cannot_be_read_in_an_outage_reaches_the_child_afterwards(made, monkeypatch, error):
    """With one warning. A token may have ended, and be renewed in a minute."""
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.001)
    control, warned, renewed = made(failures=3, error=error)
    control.changed([])
    assert control.take()
    assert not control.take()
    assert renewed == [({"PASSWORD": "first-one"}, {"PASSWORD": "second-one"})]
    assert len(warned) == 1
    assert "keeps the secrets" in warned[0]


def test_what_cannot_be_written_reaches_the_child_afterwards(made, monkeypatch):
    """As to a full disk: the change is not reported twice."""
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.001)
    control, warned, renewed = made()
    renew, left = control._renew_files, [OSError(errno.ENOSPC, "No space left on device")] * 3

    def renew_files(before, after):
        if left:
            raise left.pop()
        return renew(before, after)

    control._renew_files = renew_files
    control.changed([])
    assert control.take()
    assert renewed == [({"PASSWORD": "first-one"}, {"PASSWORD": "second-one"})]
    assert warned == [
        "the program keeps the secrets that it has: a file cannot be written: [Errno 28] No space left on device"
    ]


def test_an_outage_at_the_start_is_one_line(tmp_path, capsys, caplog):
    """That of the read: the watch, which has begun before it, would say the same."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        'version: 1\npipelines: {app: {provider: {type: vault, url: "http://127.0.0.1:1", token: hvs.x}}}\n'
        "secrets: {PASSWORD: {key: password}, OTHER: {key: other}}\n"
    )
    assert run_app(["--spec", str(spec), "run", "--watch", "--", "true"]) == 5
    assert capsys.readouterr().err.count("\n") == 1
    assert caplog.messages == []
    assert logging.getLogger("strongroom.watch").filters == []


def test_what_a_watch_says_as_it_ends_with_a_failed_start_is_not_said(tmp_path, monkeypatch, capsys, caplog):
    """Its thread may be in the middle of a request when the first read fails."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\npipelines: {app: {provider: {type: memory}}}\nsecrets: {PASSWORD: {key: password}}\n"
    )

    def watch(stack, *_):
        stack.callback(logging.getLogger("strongroom.watch").warning, "too late")

    monkeypatch.setattr(watched_run, "_watch", watch)
    assert run_app(["--spec", str(spec), "run", "--watch", "--", "true"]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert caplog.messages == []


@pytest.mark.parametrize("succeeds", [True, False])
def test_what_the_watch_says_before_the_first_read_is_said_after_it(caplog, succeeds):
    """If the secrets come from a cache, nothing else tells that no change is heard of."""
    log = logging.getLogger("strongroom.watch")
    with watched_run._watch_held_back() as pass_on:
        log.warning("no pipeline can be asked for %s", "changes")
        assert caplog.messages == []
        if succeeds:
            pass_on()
    assert caplog.messages == ["no pipeline can be asked for changes"] * succeeds
    log.warning("later")
    assert caplog.messages[-1] == "later"


def test_an_end_does_not_wait_for_an_outage(made):
    """What was not read is not read any more."""
    control, *_ = made(failures=100)
    control.stop()
    control.changed([])
    assert not control.take()


def test_what_was_being_read_as_it_ended_reaches_nobody(made):
    """Not as a file that nobody would remove, nor through a descriptor that is somebody else's by then."""
    control, _, renewed = made()
    read = control._read
    control._read = lambda: control.stop() or read()
    control.changed([])
    assert (renewed, control.take()) == ([], False)


def test_what_was_replaced_is_masked_for_a_bounded_number_of_changes(made):
    """A child that runs for months has thousands."""
    control, *_ = made()
    for number in range(100):
        made.registry.set_secret("password", f"password-{number}")
        control.changed([])
    assert len(control.earlier) == 32
    assert control.resolutions["PASSWORD"].text == "password-99"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_also_while_it_waits_to_start_the_child_again(monkeypatch, number):
    """There is no child to get it."""
    monkeypatch.setattr(watched_run.time, "sleep", lambda _: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert watched_run._ended_within(60.0) == number
    assert signal.getsignal(number) == before
    assert watched_run._ended_within(0.0) is None


class Changes:
    """A control with changes that the child has not got."""

    reader, number, stop_timeout = 99, None, 10.0

    def take(self):
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_change_does_not_restart_a_child_that_a_signal_may_be_ending(monkeypatch, number, typed, before):
    """Whichever comes first; one that lives on has its restart later, unless it was asked to end."""
    clock = Clock()
    monkeypatch.setattr(supervisor.time, "monotonic", clock)
    child = Supervisor(Job(["true"], {}, None, Changes()))
    child.pid, sent = 1, []
    monkeypatch.setattr(child, "_send", sent.append)
    meet = [
        lambda: child._heed_control({99: 1}),
        lambda: child._met_typed(number) if typed else child._received(number, None),
    ]
    for step in meet if before else reversed(meet):
        step()
    assert not child.stopping
    assert child.kill_at is None
    sent.clear()
    clock.seconds += 9.9
    child._heed_control({})
    assert not child.stopping
    clock.seconds += 0.2
    child._heed_control({})
    assert child.stopping == (number != signal.SIGTERM)
    assert sent == ([] if number == signal.SIGTERM else [signal.SIGTERM])


@pytest.mark.parametrize("seconds", [math.inf, 1e12])
def test_a_child_may_have_any_time_to_end(seconds):
    """As by `--stop-timeout inf`: a wait of so long ends all the same as soon as something comes."""
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x")
        assert supervisor._ready({reading: supervisor.READABLE}, seconds) == {reading: supervisor.READABLE}
    finally:
        os.close(reading)
        os.close(writing)


def test_a_signal_in_the_very_moment_of_a_restart_is_not_lost(monkeypatch):
    """Its handler runs between two steps: the program would be started again, though it was asked to end."""
    child = Supervisor(Job(["true"], {}, None, Changes()))
    child.pid, sent = 1, []
    monkeypatch.setattr(child, "_send", sent.append)

    class Moment(float):
        def __ge__(self, other):
            due = float.__ge__(self, other)
            child._received(signal.SIGTERM, None)
            return due

    monkeypatch.setattr(supervisor.time, "monotonic", lambda: Moment(1000.0))
    child._heed_control({99: 1})
    assert (child.stopping, child.kill_at, sent) == (False, None, [signal.SIGTERM])


@pytest.mark.parametrize(("mode", "is_used"), [(0o700, True), (0o777, False)])
def test_files_are_in_no_folder_that_others_may_write(tmp_path, monkeypatch, mode, is_used):
    """As the variable may name after `su`: they could exchange the files."""
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with SecretFiles() as files:
        path = Path(files.put({"A": "one"})["A"])
        assert path.read_text() == "one"
        assert path.is_relative_to(folder) == is_used
    monkeypatch.setenv("XDG_RUNTIME_DIR", "run")  # not a whole path
    monkeypatch.chdir(tmp_path)
    with SecretFiles() as files:
        assert Path(files.put({"A": "one"})["A"]).is_absolute()


def test_files_change_together(tmp_path):
    """A key never stands beside the certificate of another one, and what is open stays readable."""
    with SecretFiles(tmp_path) as files:
        paths = files.put({"KEY": "key-1", "CHAIN": "chain-1"})
        folder = Path(paths["KEY"]).parent
        before = folder.resolve()
        with Path(paths["KEY"]).open() as reading:
            again = files.put({"KEY": "key-2", "CHAIN": "chain-2"})
            assert again == paths
            assert reading.read() == "key-1"
        assert folder.resolve() != before
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            "KEY": "key-2",
            "CHAIN": "chain-2",
        }
        assert {path.name: path.read_text() for path in before.iterdir()} == {
            "KEY": "key-1",
            "CHAIN": "chain-1",
        }
        for path in paths.values():
            assert Path(path).lstat().st_mode & 0o777_777 == 0o100_600
        files.put({"KEY": "key-3", "CHAIN": "chain-3"})
        assert not before.exists()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):  # by the thread of the watch, which may still be at it
        files.put({"KEY": "key-4"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["fdopen", "replace"])
def test_files_that_cannot_be_written_leave_those_that_are_there(tmp_path, monkeypatch, place):
    """As on a full disk; what a program has open of them stays through the next change, too."""

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    with SecretFiles(tmp_path) as files:
        path = Path(files.put({"KEY": "key-1"})["KEY"])
        before = path.parent.resolve()
        with monkeypatch.context() as patched:
            patched.setattr(os if place == "fdopen" else Path, place, full)
            with pytest.raises(OSError, match="full") as refused:
                files.put({"KEY": "key-2"})
        assert refused.value.filename == str(before.parent)  # for the message: which disk it is
        assert path.read_text() == "key-1"
        files.put({"KEY": "key-3"})
        assert path.read_text() == "key-3"
        assert (before / "KEY").read_text() == "key-1"
        assert {one.name for one in before.parent.iterdir()} == {".lock", "1", "2", "current"}


def test_a_folder_that_cannot_be_locked_is_removed(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with SecretFiles(tmp_path) as files, pytest.raises(OSError, match="no locks") as refused:
        files.put({"KEY": "key-1"})
    assert refused.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
