"""What providers over plain files share."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from strongroom import AuditLoggingHook, SecretProviderRegistry
from strongroom.encryption import keyfiles
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    ReadOnlyError,
)
from strongroom.paths.atomic_write import write_atomically
from strongroom.providers import files
from strongroom.providers.files import file_error, file_version, folder_locked, replace_file, written_at
from strongroom.spec import records
from strongroom.testing.conformance.forks import Children
from strongroom.testing.deaths import was_killed
from strongroom_file import FileSecretProvider


def test_a_file_is_replaced_whole_and_by_a_later_one(tmp_path):
    path = tmp_path / "a"
    first = replace_file(path, b"one")
    os.utime(path, ns=(0, first.st_mtime_ns + 10**12))
    seen = path.lstat()
    second = replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert second.st_mtime_ns > seen.st_mtime_ns
    assert len({file_version(one) for one in (first, seen, second)}) == 3
    assert os.listdir(tmp_path) == ["a"]
    assert second.st_mode & 0o777 == 0o600


@pytest.mark.parametrize("nanoseconds", [10**21, -(10**21), 2**62 * 1000])
def test_a_time_that_no_calendar_has_is_none(tmp_path, nanoseconds):
    status = replace_file(tmp_path / "a", b"x")
    found = written_at(status)
    assert found is not None
    assert found.utcoffset() == timedelta()
    assert found.timestamp() == pytest.approx(status.st_mtime)
    assert written_at(SimpleNamespace(st_mtime_ns=nanoseconds)) is None


def test_a_check_that_raises_leaves_what_was_there(tmp_path):
    path = tmp_path / "a"
    replace_file(path, b"one")

    def check(status):
        assert status.st_size == 3
        raise LookupError

    with pytest.raises(LookupError):
        replace_file(path, b"three", check=check)
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"one"
    with pytest.raises(LookupError):
        replace_file(tmp_path / "b", b"x", check=lambda status: [][status or 0])


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "target").write_text("mine")
    (tmp_path / "a").symlink_to("target")
    replace_file(tmp_path / "a", b"x")
    assert (tmp_path / "target").read_text() == "mine"
    assert not (tmp_path / "a").is_symlink()


def make_key(folder):
    return keyfiles.place(folder / "key", b"key")


def replace_key(folder):
    (folder / "next").write_bytes(b"key")
    keyfiles.replace(folder / "next", folder / "key")


def set_in_store(folder):
    with FileSecretProvider(folder / "store", key_file=folder / "key") as provider:
        provider.set_secret("k", "v")


def write_audit_log(folder):
    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    ) as registry:
        registry.add_hook(AuditLoggingHook(path=folder / "audit.jsonl", fsync=True))
        registry.set_secret("k", "v")


def replace_at(folder):
    replace_file(folder / "a", b"x")


def write_whole(folder):
    write_atomically(folder / "a", b"x")


def make_seal(folder):
    records.seal_key(make=True)


def cannot_make_unnamed(folder):
    """Return whether files in `folder` need a name, as on some file systems, or on macOS."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except (AttributeError, OSError):
        return True
    return not Path("/proc/self/fd").is_dir()


@pytest.mark.parametrize("write", [replace_at, write_whole, make_key, make_seal])
def test_a_process_that_is_killed_leaves_no_half_of_a_new_file(tmp_path, monkeypatch, write):
    """It may hold a key or a secret, under a name that git does not ignore."""
    if cannot_make_unnamed(tmp_path):
        pytest.skip("files without a name cannot be made here")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def work():
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        write(tmp_path)

    assert was_killed(work)
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


@pytest.mark.parametrize("write", [replace_at, write_whole, make_key, make_seal])
@pytest.mark.parametrize("flag", [True, False])
def test_a_new_file_needs_no_support_by_the_file_system(tmp_path, monkeypatch, write, flag):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if flag:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY, raising=False)  # as an old kernel reads it
    else:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    for _ in range(2):
        write(tmp_path)
        (written,) = (one for one in tmp_path.rglob("*") if one.is_file())
        assert written.stat().st_size
        assert written.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "write",
    [replace_at, make_key, replace_key, set_in_store, write_audit_log],
)
@pytest.mark.parametrize("answer", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync_folders_is_written_to(tmp_path, monkeypatch, write, answer):
    """As a folder that a virtual machine shares with its host."""
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(answer, os.strerror(answer))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path)


def test_a_disk_that_cannot_sync_a_folder_is_an_error(tmp_path, monkeypatch):
    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        replace_file(tmp_path / "a", b"x")


@pytest.fixture
def other_group():
    """A group that files of this user may have, beside the one that they get by themselves."""
    groups = [os.getegid() + 1] if os.geteuid() == 0 else os.getgroups()
    found = next((one for one in groups if one != os.getegid()), None)
    if found is None:
        pytest.skip("this user is in one group alone")
    return found


def test_the_group_of_a_file_is_kept(tmp_path, other_group):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, -1, other_group)
    path.chmod(0o640)
    replace_file(path, b"new")
    status = path.stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (other_group, 0o640)


@pytest.mark.parametrize(("before", "after"), [(0o640, 0o600), (0o664, 0o644), (0o604, 0o644)])
def test_the_rights_of_a_group_that_cannot_be_kept_go_to_no_other(
    tmp_path, other_group, monkeypatch, before, after
):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, -1, other_group)
    path.chmod(before)

    def refuse(*_):
        raise PermissionError(errno.EPERM, "not yours to give")

    monkeypatch.setattr(os, "fchown", refuse)
    replace_file(path, b"new")
    status = path.stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (os.getegid(), after)


@pytest.mark.parametrize("locks_folders", [True, False])
def test_one_writer_at_a_time(tmp_path, monkeypatch, locks_folders):
    """Also on a file system that locks files alone."""
    if not locks_folders:
        real = fcntl.flock

        def flock(descriptor, operation):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EBADF, "Bad file descriptor")
            real(descriptor, operation)

        monkeypatch.setattr(files.fcntl, "flock", flock)
    inside, most = [], []

    def work():
        for _ in range(20):
            with folder_locked(tmp_path, seconds=60, provider="t"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    with (
        folder_locked(tmp_path, seconds=1, provider="t"),
        pytest.raises(BackendUnavailableError, match="another process was writing"),
        folder_locked(tmp_path, seconds=0.01, provider="t"),
    ):
        pass


def test_who_writes_again_and_again_lets_others_have_their_turn(tmp_path):
    """Also where it gives the lock back for a moment only."""
    begun, ended = threading.Event(), threading.Event()

    def again_and_again():
        while not ended.is_set():
            with folder_locked(tmp_path, seconds=60, provider="t"):
                begun.set()
                ended.wait(0.002)

    thread = threading.Thread(target=again_and_again)
    thread.start()
    try:
        assert begun.wait(300)
        for _ in range(5):
            with folder_locked(tmp_path, seconds=60, provider="t"):
                pass
    finally:
        ended.set()
        thread.join()


def test_who_waited_too_long_holds_nothing(tmp_path):
    with folder_locked(tmp_path, seconds=1, provider="t"):
        for _ in range(3):
            with pytest.raises(BackendUnavailableError), folder_locked(tmp_path, seconds=0.01, provider="t"):
                pass
    with folder_locked(tmp_path, seconds=60, provider="t"):
        pass


def test_a_child_forked_meanwhile_does_not_hold_the_lock(tmp_path):
    def work(_):
        with folder_locked(tmp_path, seconds=60, provider="t"):
            return "held"

    with folder_locked(tmp_path, seconds=1, provider="t"):
        children = Children(2, work)
    assert children.results() == ["held"] * 2


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, PermissionDeniedError),
        (errno.EPERM, PermissionDeniedError),
        (errno.EROFS, ReadOnlyError),
        (errno.ENOSPC, BackendUnavailableError),
        (errno.EIO, BackendUnavailableError),
        (errno.EISDIR, ConfigurationError),
        (errno.ESTALE, BackendUnavailableError),
    ],
)
def test_each_error_of_the_system_is_one_of_ours(number, expected):
    found = file_error(OSError(number, os.strerror(number)), "read /x", provider="t", key="k")
    assert type(found) is expected
    assert (found.key, found.provider) == ("k", "t")
    assert found.hint
