"""After a crash, a fork, a rotation or somebody else's hand the log goes on, and tells what happened."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interrupts import interrupted
from strongroom import AuditLoggingHook, SecretProviderRegistry, verify_audit_log
from strongroom.audit import file_sink, recovery
from strongroom.audit.chain import HEAD_BYTES
from strongroom.audit.group_commit import GroupCommit
from strongroom.audit.pieces import open_piece
from strongroom.audit.verify import verify_pieces
from strongroom.errors import AuditError, SecretNotFoundError

# From Python 3.12 on: the children here end without touching what another thread may hold.
pytestmark = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
SPEC = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}


def notes(trail):
    return [one["note"] for one in trail.entries() if one["operation"] == "note"]


@pytest.mark.parametrize("piece", [b'{"id":"1","oper', b"{", b"\0" * 100, b"\xff\xfe", b'{"id":1}'])
def test_a_line_that_was_cut_short_is_closed_and_noted(trail, piece):
    trail.read(2)
    with trail.path.open("ab") as file:
        file.write(piece)
    report = trail.verify()
    assert (report.ok, report.anchored, report.entries) == (True, True, 2)
    trail.read()
    report = trail.verify()
    assert (report.ok, report.anchored, report.entries) == (True, True, 4)
    (note,) = notes(trail)
    assert (note["what"], note["bytes"], note["kept"]) == ("cut short", len(piece), False)
    assert note["text"] == piece.decode("ascii", "backslashreplace")


def test_a_log_that_takes_nothing_away_keeps_the_piece_on_a_line_of_its_own(trail, monkeypatch):
    """As under `chattr +a`."""
    trail.read(2)
    with trail.path.open("ab") as file:
        file.write(b'{"id":"1","oper')

    cut = os.ftruncate

    def refuse(descriptor, size):
        if os.path.samestat(os.fstat(descriptor), trail.path.stat()):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        cut(descriptor, size)

    monkeypatch.setattr(os, "ftruncate", refuse)
    trail.registry.set_secret("a", "1")
    assert len(trail.lines()) == 5
    report = trail.verify()
    assert (report.ok, report.anchored, report.entries) == (True, True, 4)
    lines = trail.lines()
    trail.path.write_bytes(b"".join([*lines[:2], b'{"id":"2","oper\n', *lines[3:]]))
    assert (trail.verify().ok, trail.verify().first_bad_line) == (False, 3)
    trail.path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert trail.verify().ok  # the piece itself was nobody's entry


def test_a_log_that_became_immutable_refuses_before_anything_is_done(trail, monkeypatch):
    """As under `chattr +i` on ext4: its descriptor was opened before, and neither grows nor shrinks."""
    trail.read()
    opened, write = os.open, os.write

    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def open_others(path, *more, **options):
        return refuse() if path == str(trail.path) else opened(path, *more, **options)

    def write_others(descriptor, data):
        is_log = os.path.samestat(os.fstat(descriptor), trail.path.stat())
        return refuse() if is_log else write(descriptor, data)

    monkeypatch.setattr(os, "ftruncate", refuse)
    monkeypatch.setattr(os, "open", open_others)
    monkeypatch.setattr(os, "write", write_others)
    with pytest.raises(AuditError):
        trail.registry.set_secret("new", "1")
    monkeypatch.undo()
    with pytest.raises(SecretNotFoundError):
        trail.registry.get_secret("new")


def test_the_log_only_ever_grows_by_whole_lines(trail, monkeypatch):
    """Programs that follow it, such as log shippers, would send all of it again after it has shrunk."""
    seen = []

    def watched(call):
        def called(*given):
            try:
                return call(*given)
            finally:
                seen.append(trail.path.read_bytes())

        return called

    trail.read()
    for name in ("write", "pwrite", "ftruncate"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    trail.registry.set_secret("a", "1")
    trail.registry.set_secrets({"b": "1" * 10_000, "c": "2"})
    with pytest.raises(SecretNotFoundError):
        trail.registry.delete_secret("d")
    monkeypatch.undo()
    assert len(seen) > 10
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))
    assert all(one.endswith(b"\n") for one in seen)


def test_what_a_writer_that_was_killed_as_it_tested_the_disk_left_is_no_news(trail):
    trail.read()
    trail.hook.close()
    with trail.head.open("r+b") as file:
        file.seek(4096)
        file.write(b" " * 800)
    assert trail.verify().anchored
    trail.read()
    assert notes(trail) == []
    assert (trail.verify().ok, trail.verify().anchored, trail.verify().entries) == (True, True, 2)
    trail.registry.set_secret("a", "1")
    assert trail.head.stat().st_size == HEAD_BYTES


def test_blanks_that_a_trial_of_the_disk_by_an_older_version_left_are_no_news(trail):
    trail.read()
    with trail.path.open("ab") as file:
        file.write(b" " * 800)
    trail.read()
    assert notes(trail) == []
    assert trail.verify().entries == 2


@pytest.mark.parametrize("behind", [1, 2, 5])
def test_a_head_that_a_crash_left_behind_is_brought_up(make_trail, behind):
    trail = make_trail()
    trail.read(3)
    older = trail.head.read_bytes()
    trail.read(behind)
    trail.hook.close()
    trail.head.write_bytes(older)
    assert (trail.verify().ok, trail.verify().anchored) == (True, behind == 1)
    trail.read()
    report = trail.verify()
    assert (report.ok, report.anchored, report.entries) == (True, True, 4 + behind)


def test_a_batch_that_is_ahead_of_its_head_is_one_append(trail):
    trail.read()
    older = trail.head.read_bytes()
    trail.registry.get_secrets(["a", "b", "c"])
    trail.head.write_bytes(older)
    assert trail.verify().anchored


def test_a_writer_that_died_before_the_head_moved_is_no_tampering(trail, monkeypatch):
    trail.read(2)

    class DiedError(BaseException):
        pass

    def die(*_args):
        raise DiedError

    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", die)
    with pytest.raises(DiedError):
        trail.read()
    monkeypatch.setattr(os, "pwrite", real)
    assert (trail.verify().ok, trail.verify().anchored, trail.verify().entries) == (True, True, 3)
    trail.read()
    assert (trail.verify().ok, trail.verify().anchored, trail.verify().entries) == (True, True, 4)


def test_a_head_that_was_lost_is_made_anew_and_never_hides_it(make_trail, caplog):
    trail = make_trail()
    trail.read(3)
    trail.hook.close()
    trail.head.unlink()
    trail.read(2)
    report = trail.verify()
    assert (report.ok, report.anchored, report.entries) == (True, False, 6)
    assert "head was missing before line 4" in report.reason
    assert notes(trail) == [{"what": "head", "why": "missing"}]
    assert "strongroom audit verify" in caplog.text


@pytest.mark.parametrize("how", ["exchanged", "removed", "older"])
def test_a_head_that_is_exchanged_under_a_writer(trail, monkeypatch, how):
    """It is noticed a second later at the latest; what is written from then on is anchored again."""
    monkeypatch.setattr(file_sink, "_LOOK_SECONDS", -1)
    trail.read(2)
    older = trail.head.read_bytes()
    trail.read(2)
    if how == "removed":
        trail.head.unlink()
    else:
        other = trail.head.with_name("other")
        other.write_bytes(older if how == "older" else trail.head.read_bytes())
        other.replace(trail.head)
    trail.read(2)
    trail.hook.close()
    report = trail.verify()
    assert report.ok
    # One that was removed is noted for good; what stands in another one is all that there was.
    assert (report.anchored, report.entries) == ((False, 7) if how == "removed" else (True, 6))


def test_a_head_that_was_changed_is_made_anew_and_never_hides_it(make_trail):
    trail = make_trail()
    trail.read(3)
    trail.hook.close()
    trail.head.write_bytes(b"x" * 512)
    trail.read(2)
    report = trail.verify()
    assert (report.ok, report.anchored) == (True, False)
    assert "head was changed before line 4" in report.reason


def test_a_log_that_was_cut_stays_cut_whoever_writes_to_it(make_trail, caplog):
    trail = make_trail()
    trail.read(5)
    trail.hook.close()
    trail.path.write_bytes(b"".join(trail.lines()[:3]))
    trail.read(2)
    report = trail.verify()
    assert (report.ok, report.first_bad_line, report.entries) == (False, 4, 3)
    assert report.reason == "entries 4 to 5 are missing here: removed"
    assert "was cut" in caplog.text


def test_lines_that_somebody_appended_stay_visible(make_trail):
    trail = make_trail()
    trail.read(2)
    with trail.path.open("ab") as file:
        file.write(b'{"id":"forged"}\n')
    trail.read()
    assert (trail.verify().ok, trail.verify().first_bad_line) == (False, 3)


# --- rotation ---


@pytest.mark.parametrize("created", [True, False], ids=["create", "nocreate"])
def test_logrotate_that_renames(trail, created):
    trail.read(3)
    moved = trail.path.with_name("audit.jsonl.1")
    trail.path.rename(moved)
    if created:
        trail.path.touch(mode=0o644)
    trail.read(2)
    report = trail.verify(first=4)
    assert (report.ok, report.anchored, report.entries, report.first) == (True, True, 2, 4)
    assert len(moved.read_bytes().splitlines()) == 3
    assert trail.path.stat().st_mode & 0o777 in {0o640, 0o600, 0o644 & ~0o027}
    assert not trail.path.stat().st_mode & 0o007


def test_a_new_file_may_have_the_inode_of_the_one_that_was_removed(make_trail, monkeypatch, caplog):
    """As ext4 gives it again, once a log that nobody has open was moved to another disk, or packed."""
    trail = make_trail()
    monkeypatch.setattr(recovery, "_identity", lambda _: "1:1")
    trail.read(3)
    trail.hook.close()
    moved = trail.path.with_name("audit.jsonl.1")
    moved.write_bytes(trail.path.read_bytes())
    trail.path.unlink()
    make_trail().read(2)
    assert "was cut" not in caplog.text
    report = trail.verify(first=4)
    assert (report.ok, report.anchored, report.entries, report.first) == (True, True, 2, 4)
    report = trail.verify(earlier=moved)
    assert (report.ok, report.anchored, report.entries, report.first) == (True, True, 5, 1)


def test_logrotate_that_copies_and_truncates_is_told_as_what_it_is(trail):
    trail.read(3)
    os.truncate(trail.path, 0)
    trail.read()
    report = trail.verify()
    assert (report.ok, report.first_bad_line) == (False, 1)
    assert report.reason == "entries 1 to 3 are missing here: removed"


def test_rotation_before_any_line_and_twice_in_a_row(trail):
    trail.read(2)
    trail.path.rename(trail.path.with_name("audit.jsonl.1"))
    trail.path.touch()
    assert not trail.verify().ok  # until the next writer takes the new file up, the end is missing
    trail.read()
    trail.path.rename(trail.path.with_name("audit.jsonl.2"))
    trail.path.touch()
    trail.read()
    report = trail.verify(first=4)
    assert (report.ok, report.anchored, report.first, report.last) == (True, True, 4, 4)


def test_two_writers_go_to_the_new_file_together(tmp_path, make_trail):
    one, other = make_trail(), make_trail()
    for _ in range(3):
        one.read()
        other.read()
        one.path.rename(tmp_path / "moved.jsonl")
        other.read()
        one.read()
        other.read()
    report = one.verify(first=13)
    assert (report.ok, report.anchored, report.entries) == (True, True, 3)


def test_a_copy_in_the_place_of_the_log_is_what_is_written_to(trail):
    """As by `sed -i`, or a backup put back: the same size, another file."""
    trail.read(2)
    copy = trail.path.with_name("copy")
    copy.write_bytes(trail.path.read_bytes())
    copy.rename(trail.path)
    trail.read()
    report = trail.verify()
    assert (report.ok, report.anchored, report.entries) == (True, True, 3)


def test_log_head_and_key_moved_away_begin_anew(trail):
    trail.read(2)
    for path in (trail.path, trail.head, trail.key):
        path.rename(path.with_name(f"old-{path.name}"))
    trail.read()
    report = trail.verify()
    assert (report.ok, report.anchored, report.first, report.entries) == (True, True, 1, 1)


# --- forks, threads, folders ---


def test_a_child_writes_under_its_own_name_into_the_same_chain(trail):
    trail.read()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                trail.read(2)
            finally:
                os._exit(0)
        trail.read()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    report = trail.verify()
    assert (report.ok, report.anchored, report.entries) == (True, True, 10)
    assert len({one["pid"] for one in trail.entries()}) == 4


def test_no_two_forked_processes_give_an_event_the_same_id(trail):
    """Ids are drawn ahead."""
    trail.read()
    for _ in range(2):
        child = os.fork()
        if child == 0:
            try:
                trail.read(3)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    trail.read(100)
    ids = [one["id"] for one in trail.entries()]
    assert len(set(ids)) == len(ids) == 107
    assert {len(one) for one in ids} == {32}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write into a trail of another user")
def test_the_user_is_looked_up_again_in_a_child(trail, monkeypatch):
    """It may have become another one, as a server does that starts as root."""
    trail.read()
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 2)  # nobody has this number
    child = os.fork()
    if child == 0:
        try:
            trail.read()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    monkeypatch.undo()
    here, there = trail.entries()
    assert there["user"] == there["actor"] == str(2**31 - 2) != here["user"] == here["actor"]


def test_a_child_of_a_process_that_is_writing_does_not_wait_for_ever(trail):
    trail.read()
    trail.hook._files[0]._mutex.acquire()
    child = os.fork()
    if child == 0:
        try:
            trail.read()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    trail.hook._files[0]._mutex.release()
    assert trail.verify().entries == 2


def test_a_child_that_is_forked_while_a_log_is_verified_locks_out_nobody(trail, monkeypatch):
    trail.read()
    ends, end = os.pipe()
    children = []

    def forking(path):
        if not children:
            children.append(os.fork())
            if not children[0]:
                os.close(end)
                os.read(ends, 1)
                os._exit(0)
        return open_piece(path)

    monkeypatch.setattr("strongroom.audit.pieces.open_piece", forking)
    try:
        assert trail.verify().ok
        trail.read()
    finally:
        os.close(end)
        os.waitpid(children[0], 0)
        os.close(ends)
    assert trail.verify().entries == 2


def test_threads_and_two_hooks_of_one_process_share_a_log(make_trail):
    trails = [make_trail(), make_trail()]
    threads = [threading.Thread(target=trail.read, args=(50,)) for trail in trails for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = trails[0].verify()
    assert (report.ok, report.anchored, report.entries) == (True, True, 400)
    assert [one["seq"] for one in trails[0].entries()] == list(range(1, 401))


def test_a_program_that_changes_its_folder_keeps_to_its_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hook = AuditLoggingHook(path="audit.jsonl")
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(hook)
        registry.set_secret("a", "1")
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        registry.get_secret("a")
    hook.close()
    assert verify_audit_log(tmp_path / "audit.jsonl").entries == 2


def test_closing_gives_back_what_was_open(trail):
    before = len(os.listdir("/dev/fd"))
    trail.read()
    for number in range(3):
        trail.path.rename(trail.path.with_name(f"audit.jsonl.{number}"))
        trail.read()
    assert len(os.listdir("/dev/fd")) == before + 2
    trail.hook.close()
    assert len(os.listdir("/dev/fd")) == before
    trail.read()
    assert trail.verify(first=4).entries == 2


class Life:
    """What may happen to a log that nobody tampers with, each as a method."""

    def __init__(self, folder):
        self.path, self.pieces = folder / "audit.jsonl", []
        self.head = folder / "audit.jsonl.head"
        self.hook = AuditLoggingHook(path=self.path, key="key")
        self.registry = SecretProviderRegistry(SPEC)
        self.registry.set_secret("a", "1")
        self.registry.add_hook(self.hook)
        self.read()

    def read(self):
        self.registry.get_secret("a")

    def batch(self):
        self.registry.get_secrets(["a", "b"])

    def write(self):
        self.registry.set_secret("a", "2")

    def close(self):
        self.hook.close()

    def cut_short(self):
        """A writer dies in the middle of a line."""
        with self.path.open("ab") as file:
            file.write(b'{"id":"12')

    def left_behind(self):
        """A writer dies between a line, or the lines of a batch, and the head."""
        self.read()
        head = self.head.read_bytes()
        self.registry.get_secrets(["a", "b", "c"])
        self.hook.close()
        self.head.write_bytes(head)

    def fork(self):
        child = os.fork()
        if child == 0:
            try:
                self.read()
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def rename(self):
        self.pieces.append(self.path.with_name(f"audit.jsonl.{len(self.pieces)}"))
        self.path.rename(self.pieces[-1])
        self.read()

    def rename_and_create(self):
        self.pieces.append(self.path.with_name(f"audit.jsonl.{len(self.pieces)}"))
        self.path.rename(self.pieces[-1])
        self.path.touch()
        self.read()


ACTIONS = [name for name, member in vars(Life).items() if callable(member) and not name.startswith("_")]


LIVES = st.lists(st.sampled_from(ACTIONS), max_size=12)


@settings(max_examples=20)
@given(LIVES)
@example(["left_behind", "rename"])
@example(["cut_short", "rename_and_create", "cut_short", "fork"])
def test_a_log_that_nobody_touched_verifies_whatever_happened(tmp_path_factory, actions):
    live(tmp_path_factory, actions)


@pytest.mark.torture
@settings(max_examples=300)
@given(LIVES)
def test_in_many_lives_a_log_that_nobody_touched_verifies(tmp_path_factory, actions):
    live(tmp_path_factory, actions)


def live(tmp_path_factory, actions):
    """Do to a log what befalls those that nobody falsified, and verify it after each."""
    life = Life(tmp_path_factory.mktemp("untouched"))
    for action in actions:
        getattr(life, action)()
        report = verify_audit_log(life.path, "key", earlier=life.pieces)
        assert (report.ok, report.anchored) == (True, True), (action, report)
    life.hook.close()
    life.registry.close()
    found = verify_pieces(life.path, "key")
    assert [name for name, _ in found] == [str(one) for one in (*life.pieces, life.path)]
    assert all((one.ok, one.anchored) == (True, True) for _, one in found), found
    if life.pieces:
        alone = verify_audit_log(life.path, "key")
        assert (alone.ok, alone.anchored) == (False, False)


def test_a_log_verifies_while_it_is_written(trail):
    trail.read()
    writers = [threading.Thread(target=trail.read, args=(100,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(20):
        report = trail.verify()
        assert (report.ok, report.anchored) == (True, True)
    for writer in writers:
        writer.join()
    assert trail.verify().entries == 301


# --- fsync ---


def test_one_fsync_serves_all_threads_that_wait(make_trail, monkeypatch):
    trail = make_trail(fsync=True)
    trail.read()
    count, real, gate = [0], os.fsync, threading.Event()

    def fsync(descriptor):
        count[0] += 1
        gate.wait(300)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    threads = [threading.Thread(target=trail.read) for _ in range(12)]
    for thread in threads:
        thread.start()
    while trail.verify().entries < 13:  # all have written, and wait
        pass
    gate.set()
    for thread in threads:
        thread.join()
    assert count[0] <= 6  # two rounds at most of log and head, with what was asked for before the gate
    assert trail.verify().entries == 13


def test_a_disk_that_does_not_take_it_refuses_all_who_wait(make_trail, monkeypatch):
    trail = make_trail(fsync=True)
    trail.read()

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    real = os.fsync
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(AuditError, match="Input/output error"):
        trail.read()
    monkeypatch.setattr(os, "fsync", real)
    trail.read()


class Interrupt(BaseException):
    """What a signal handler raises, such as for a time limit."""


def test_an_interrupt_as_the_sync_begins_leaves_nobody_waiting(make_trail, monkeypatch):
    trail = make_trail(fsync=True)
    trail.read()

    def interrupted(*_):
        raise Interrupt

    with monkeypatch.context() as patched:
        patched.setattr(GroupCommit, "_sync", interrupted)
        with pytest.raises(Interrupt):
            trail.read()
    thread = threading.Thread(target=trail.read, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert trail.verify().entries == 3


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("times", [150, pytest.param(500, marks=pytest.mark.torture)])
def test_an_interrupt_at_any_moment_leaves_no_lock_of_the_log_locked(make_trail, fsync, times):
    """Neither that of its threads nor that of other processes, whose operations would be refused."""
    trail = make_trail(fsync=fsync)
    trail.read()
    (sink,) = trail.hook._files

    def write():
        sink.check(300)
        sink.append(['{"operation":"get"'])

    with trail.head.open() as head:
        for _ in interrupted(write, times):
            assert not sink._mutex.is_mine()
            fcntl.flock(head, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(head, fcntl.LOCK_UN)
            assert sink._commit is None or not sink._commit._changed._is_owned()
    trail.read()
    assert trail.verify().ok


def test_the_log_is_on_the_disk_before_its_head(make_trail, monkeypatch):
    trail = make_trail(fsync=True)
    trail.read()
    order, real = [], os.fsync
    names = {trail.path.stat().st_ino: "log", trail.head.stat().st_ino: "head"}

    def fsync(descriptor):
        order.append(names.get(os.fstat(descriptor).st_ino))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    trail.read()
    assert order == ["log", "head"]


def test_notes_and_lines_are_all_json(trail):
    trail.read()
    with trail.path.open("ab") as file:
        file.write(b'{"id')
    trail.read()
    assert all(isinstance(json.loads(line), dict) for line in trail.lines())
