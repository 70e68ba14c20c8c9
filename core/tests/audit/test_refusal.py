"""Where the log cannot be written the operation is refused; a write is refused before it takes effect."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import resource
import signal
import subprocess
import textwrap

import pytest
import warm_command
from sampling import sample
from strongroom import AuditLoggingHook, SecretHook, SecretProviderRegistry
from strongroom.backends import MemorySecretProvider
from strongroom.errors import AuditError, ConflictError, SecretNotFoundError
from strongroom.hooks import report_source
from strongroom.pipeline import Pipeline

SPEC = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
VALUE = "a value of its own"


def everything(registry):
    """Every kind of operation, each as a call."""
    return [
        lambda: registry.get_secret("database/password"),
        lambda: registry.get_secret("absent"),
        lambda: registry.get_secrets(["database/password"]),
        lambda: registry.set_secret("written", "1"),
        lambda: registry.set_secrets({"written": "1"}),
        lambda: registry.set_secret_if("written", "1", None),
        lambda: registry.delete_secret("database/password"),
        registry.list_secrets,
        lambda: registry.describe_secret("database/password"),
        lambda: registry.list_versions("database/password"),
    ]


def refuses_everything(trail):
    for call in everything(trail.registry):
        with pytest.raises(AuditError) as caught:
            call()
        assert "value" not in str(caught.value)
    plain = trail.registry.pipeline("app").inner
    assert plain.list_secrets() == ["database/password"]


def test_a_full_device(make_trail, tmp_path):
    refuses_everything(make_trail(path="/dev/full"))
    (tmp_path / "link.jsonl").symlink_to("/dev/full")
    refuses_everything(make_trail(path=tmp_path / "link.jsonl"))


def test_a_folder_that_never_was_or_was_removed(make_trail, tmp_path):
    refuses_everything(make_trail(path=tmp_path / "none" / "audit.jsonl"))
    folder = tmp_path / "some"
    folder.mkdir()
    trail = make_trail(path=folder / "audit.jsonl")
    trail.read()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    refuses_everything(trail)
    folder.mkdir()
    trail.read()
    assert trail.verify().entries == 1


def test_a_blocked_pipe(make_trail, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refuses_everything(make_trail(path=tmp_path / "pipe"))


def test_a_folder_in_place_of_the_log_or_of_its_head(make_trail, tmp_path):
    (tmp_path / "audit.jsonl").mkdir()
    refuses_everything(make_trail())
    (tmp_path / "other.jsonl.head").mkdir()
    refuses_everything(make_trail(path=tmp_path / "other.jsonl"))


def test_a_key_file_that_holds_no_key_or_is_not_there(make_trail, tmp_path):
    trail = make_trail()
    trail.key.touch(mode=0o600)
    for wrong in ("", "\n", "   ", "srk1_mistyped"):
        trail.key.write_text(wrong)
        refuses_everything(trail)
    trail.key.unlink()
    os.mkfifo(trail.key)
    refuses_everything(trail)
    trail = make_trail(path=tmp_path / "b.jsonl", key_file=tmp_path / "absent.key")
    refuses_everything(trail)
    with pytest.raises(AuditError, match=r"absent\.key.*strongroom keygen"):
        trail.read()


def test_a_key_that_is_missing_beside_a_log_is_never_made_anew(make_trail):
    trail = make_trail()
    trail.read()
    trail.hook.close()
    trail.key.unlink()
    refuses_everything(trail)
    assert not trail.key.exists()


def test_a_log_under_another_key(make_trail):
    trail = make_trail(key="one")
    trail.read(3)
    before = trail.path.read_bytes()
    refuses_everything(make_trail(key="another"))
    assert trail.path.read_bytes() == before


def test_a_writer_that_holds_the_log_and_does_not_go_on(make_trail):
    trail = make_trail(timeout=0.01)
    trail.read()
    with trail.head.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refuses_everything(trail)
    trail.read()
    assert trail.verify().entries == 2


def test_a_process_that_may_open_one_more_file(make_trail):
    """The sync of a line needs two: it is refused, and does not keep the one that there was."""
    trail = make_trail(fsync=True)
    trail.read()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 40, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(taken[0]))
        os.close(taken.pop())
        for _ in range(3):
            with pytest.raises(AuditError):
                trail.read()
        os.close(taken.pop())
        trail.read()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
    assert trail.verify().ok


LIMITED = textwrap.dedent("""
    import os, resource, sys
    from strongroom import AuditLoggingHook, SecretProviderRegistry
    from strongroom.errors import AuditError

    path, limit = sys.argv[1], int(sys.argv[2])
    registry = SecretProviderRegistry({"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}})
    registry.set_secret("a", "1")
    registry.add_hook(AuditLoggingHook(path=path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    done = refused = written = 0
    for at in range(60):
        try:
            registry.get_secret("a") if at % 2 else registry.set_secret(f"k{at}", "1")
            done += 1
            written += not at % 2
        except AuditError:
            refused += 1
    left = set(registry.pipeline("app").inner.list_secrets()) - {"a"}
    assert len(left) == written
    print(done, refused)
""")


@pytest.mark.parametrize("limit", [4096, 5000, *sample(range(9600, 10600, 100), one_in=2)])
def test_a_file_that_may_grow_no_larger(warm_python, tmp_path, limit):
    """The disk takes part of a line: it is taken back, and no write takes effect that is not recorded.

    A write is refused while there is room for its line but not for what may follow: that it was refused is
    recorded then, at some limits.
    """
    path = tmp_path / "audit.jsonl"
    ended = warm_command.run([warm_python, "-c", LIMITED, str(path), str(limit)], check=True)
    done, refused = map(int, ended.stdout.split())
    assert refused > 30
    from strongroom import verify_audit_log

    report = verify_audit_log(path)
    outcomes = [json.loads(line)["outcome"] for line in path.read_text().splitlines()]
    assert (report.ok, report.anchored, report.entries) == (True, True, len(outcomes))
    assert outcomes.count("ok") == done
    assert len(outcomes) - done == outcomes.count("vetoed") <= refused
    assert path.stat().st_size <= limit


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_for_one_more_block(make_trail, small_disk):
    """A write is refused though there is room for a line or two in the log's own last block."""
    trail = make_trail(path=small_disk / "audit.jsonl")
    trail.read()
    filling = small_disk / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(AuditError, match="No space"):
        trail.registry.set_secret("new", "1")
    filling.unlink()
    with pytest.raises(SecretNotFoundError):
        trail.registry.get_secret("new")
    trail.registry.set_secret("new", "1")
    assert (trail.verify().ok, trail.verify().anchored) == (True, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that another user may not write")
def test_a_folder_that_may_not_be_written(make_trail, tmp_path):
    make_trail(path=tmp_path / "first.jsonl").read()  # loads what nobody else may read
    folder = tmp_path / "closed"
    folder.mkdir()
    trail = make_trail(path=folder / "audit.jsonl")
    os.seteuid(65534)
    try:
        refuses_everything(trail)
    finally:
        os.seteuid(0)
    assert list(folder.iterdir()) == []


def test_a_disk_that_takes_half_a_line_is_left_without_it(trail, monkeypatch):
    trail.read()
    before, real, calls = trail.path.read_bytes(), os.write, []

    def half(descriptor, data):
        if calls:
            raise OSError(28, "No space left on device")
        calls.append(descriptor)
        return real(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(AuditError, match="No space"):
        trail.read()
    monkeypatch.undo()
    assert trail.path.read_bytes() == before
    trail.read()
    assert trail.verify().entries == 2


def test_where_it_fails_in_between_the_error_says_that_the_write_took_effect(trail, monkeypatch):
    trail.read()
    monkeypatch.setattr(trail.hook._files[0], "check", lambda size: None)
    real = os.write

    def full(descriptor, data):
        if descriptor == trail.hook._files[0]._log_fd:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(
        AuditError, match=r"the set of 'a' took effect, but it is not recorded: .*No space"
    ) as caught:
        trail.registry.set_secret("a", "1")
    monkeypatch.undo()
    assert (caught.value.key, caught.value.pipeline) == ("a", "app")
    assert trail.registry.get_secret("a") == "1"
    assert trail.verify().entries == 2


def test_open_ended_it_warns_and_goes_on(make_trail, tmp_path, caplog):
    trail = make_trail(path=tmp_path / "none" / "audit.jsonl", fail_closed=False)
    for call in everything(trail.registry):
        with contextlib.suppress(SecretNotFoundError, ConflictError):
            call()
    assert trail.registry.get_secret("written") == "1"
    assert "not recorded" in caplog.text


@pytest.mark.parametrize("require", ["all", "one"])
def test_of_several_sinks_all_or_one_must_take_a_line(tmp_path, require, caplog):
    good = tmp_path / "audit.jsonl"
    for paths in ([good, "/dev/full"], ["/dev/full", good]):
        hook = AuditLoggingHook(path=paths, require=require)
        with SecretProviderRegistry(SPEC) as registry:
            registry.add_hook(hook)
            if require == "all":
                with pytest.raises(AuditError):
                    registry.set_secret("a", "1")
            else:
                registry.set_secret("a", "1")
                assert registry.get_secret("a") == "1"
                assert "not recorded" in caplog.text
        hook.close()


def test_one_is_not_enough_where_none_is_left():
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(AuditLoggingHook(path=["/dev/full", "/none/audit.jsonl"], require="one"))
        with pytest.raises(AuditError):
            registry.set_secret("a", "1")


class Raising(logging.Handler):
    """A handler that fails as handlers do: `logging` tells of it and drops it."""

    def emit(self, record):
        try:
            os.write(-1, b"")
        except OSError:
            self.handleError(record)


@pytest.mark.parametrize("fail_closed", [True, False])
def test_a_handler_that_fails_in_silence_is_noticed(fail_closed, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger = logging.getLogger(f"raising.{fail_closed}")
    logger.setLevel(logging.INFO)
    logger.addHandler(Raising())
    with SecretProviderRegistry(SPEC) as registry:
        registry.set_secret("a", "1")
        registry.add_hook(AuditLoggingHook(logger=logger, fail_closed=fail_closed))
        if fail_closed:
            with pytest.raises(AuditError, match="OSError"):
                registry.get_secret("a")
        else:
            assert registry.get_secret("a") == "1"


def test_a_full_device_behind_a_stream_handler(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger = logging.getLogger("full.audit")
    logger.setLevel(logging.INFO)
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        handler = logging.StreamHandler(full)
        logger.addHandler(handler)
        with SecretProviderRegistry(SPEC) as registry:
            registry.set_secret("a", "1")
            registry.add_hook(AuditLoggingHook(logger=logger))
            with pytest.raises(AuditError):
                registry.get_secret("a")
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):
            full.close()


def test_signals_of_a_file_limit_do_not_end_the_process():
    """Python ignores SIGXFSZ, which the tests above rely on, and so does the log."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN


def test_whether_operations_could_be_recorded_is_seen_without_one(make_trail, tmp_path):
    trail = make_trail()
    trail.hook.diagnose()
    trail.read()
    before = trail.path.read_bytes()
    trail.registry.pipeline("app").diagnose_hooks()
    assert trail.path.read_bytes() == before
    assert trail.verify().entries == 1

    broken = AuditLoggingHook(path="/dev/full")
    with pytest.raises(AuditError):
        broken.diagnose()
    assert broken.failures == 1
    goes_on = AuditLoggingHook(path="/dev/full", fail_closed=False)
    one_is_enough = AuditLoggingHook(path=["/dev/full", tmp_path / "other.jsonl"], require="one")
    for hook in (goes_on, one_is_enough, AuditLoggingHook()):
        hook.diagnose()
        assert hook.failures == 0
        hook.close()
    with pytest.raises(AuditError):
        AuditLoggingHook(path=["/dev/full", "/dev/full/x"], require="one").diagnose()


class _Confused(MemorySecretProvider):
    """Reports a source that is not text."""

    def get_secret(self, key):
        report_source(("l1", "of two"))
        return VALUE


@pytest.mark.parametrize("others", [[], [SecretHook()]], ids=["alone", "with another"])
def test_no_value_comes_out_of_a_read_whose_line_cannot_be_made(tmp_path, others, caplog):
    for fail_closed in (True, False):
        hook = AuditLoggingHook(path=tmp_path / "audit.jsonl", fail_closed=fail_closed)
        pipeline = Pipeline(_Confused(), name="app", hooks=[hook, *others])
        if fail_closed:
            with pytest.raises(AuditError, match="could not be made: TypeError") as raised:
                pipeline.get_secret("a")
            assert (raised.value.key, raised.value.pipeline) == ("a", "app")
        else:
            assert pipeline.get_secret("a") == VALUE
            assert "failed after get: TypeError" in caplog.text
        assert hook.failures == 1
