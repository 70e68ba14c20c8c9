"""The ledger: the files in which processes note their leases."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from datetime import UTC, datetime, timedelta

import pytest
from lease_support import Driven, Server, Wall, registry_over
from strongroom import Lease, TenantContext
from strongroom.errors import BackendUnavailableError
from strongroom.leases import LeaseLedger, ProcessLedger, ledger
from strongroom.leases.ledger import issuer_of


def test_a_lease_that_ended_in_an_outage_leaves_the_ledger(tmp_path):
    """As it is replaced; nothing is left behind for a sweep."""
    driven = Driven()
    driven.leases._calls._ledger = ProcessLedger("spec", tmp_path)
    driven.user()
    driven.server.error = BackendUnavailableError("down")
    driven.pass_seconds(20)
    driven.server.error = None
    driven.pass_seconds(1)
    assert driven.user() == "u2"
    [file] = LeaseLedger(tmp_path).files()
    assert [entry.id for entry in file.entries()] == driven.server.alive()
    driven.leases.close()
    assert LeaseLedger(tmp_path).files() == []


def test_whose_lease_it_is_shows_in_the_ledger(state):
    """A server that does not know a lease says that it has revoked it: it must not be asked."""

    class Issuer(Server):
        def __init__(self, url, roles=()):
            super().__init__(Wall())
            self.url, self.roles = url, dict.fromkeys(roles)

        def address(self):
            return {"url": self.url, "roles": self.roles}

    hashes = [issuer_of(Issuer(*given)) for given in (("a", "r"), ("a", "rs"), ("b", "r"))]
    assert hashes[0] == hashes[1] != hashes[2]
    assert issuer_of(Server(Wall())) == ""
    with registry_over(Issuer("a")) as registry:
        registry.get_secret("app")
        [entry] = LeaseLedger().files()[0].entries()
    assert entry.is_from(hashes[0])
    assert not entry.is_from(hashes[2])
    assert entry.is_from("")
    assert hashes[0] not in str(entry.shown())


def test_the_ledger_is_read_and_written_whichever_tenant_is_active(state):
    """`lease list` and `lease sweep` run without a tenant, and a line says itself whose lease it is."""
    from strongroom import TenantMiddleware

    with registry_over(TenantMiddleware(Server(Wall(), ttl=3600.0))) as registry:
        registry.register("all", Server(Wall(), ttl=3600.0), prefix="all/")
        for tenant in ("a", "b"):
            with TenantContext(tenant):
                registry.get_secret("app")
                registry.get_secret("all/app")
        [file] = LeaseLedger().files()
        noted = [(one.tenant, one.key) for one in file.entries()]
        assert sorted(noted, key=str) == [("a", "app"), ("b", "app"), (None, "all/app")]
        with TenantContext("b"):
            assert len(file.entries()) == 3
            file.over(file.entries()[0].id)
        assert len(file.entries()) == 2


def test_the_ledger_keeps_one_file_a_process_short(state):
    """However often a lease is replaced; what is over is not in it."""
    ledger = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    keep = Lease("keep", "k", {}, now, now + timedelta(hours=1), True)
    ledger.issued(keep, "acme", "app")
    for number in range(1500):
        one = Lease(f"id-{number}", "k", {}, now, now, True)
        ledger.issued(one, None, "app")
        ledger.ended(one)
    [file] = LeaseLedger().files()
    assert [(entry.id, entry.tenant, entry.spec) for entry in file.entries()] == [
        ("keep", "acme", "spec.yaml")
    ]
    assert len(file.path.read_bytes().split(b"\n")) < 1100
    ledger.ended(keep)
    assert LeaseLedger().files() == []


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_that_somebody_removed_is_written_again(state, whole):
    """Its process would write to no file: `lease sweep` would know of none of its leases."""
    ledger = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    first, second = (Lease(one, "k", {}, now, now + timedelta(hours=1), True) for one in ("1", "2"))
    ledger.issued(first, None, "app")
    [file] = LeaseLedger().files()
    if whole:
        shutil.rmtree(file.path.parent)
    else:
        file.path.unlink()
    ledger.issued(second, None, "app")
    [file] = LeaseLedger().files()
    assert ([one.id for one in file.entries()], file.alive()) == (["1", "2"], True)
    file.path.unlink()
    ledger.renewed(first)
    [file] = LeaseLedger().files()
    assert [one.id for one in file.entries()] == ["1", "2"]
    ledger.ended(first)
    file.path.unlink()
    ledger.ended(second)
    assert LeaseLedger().files() == []


def test_a_renewal_that_comes_after_the_end_makes_no_file(state):
    """As one that was under way while the registry was closed: a process without leases has no file."""
    now = datetime.now(UTC)
    process = ProcessLedger("spec")
    lease = Lease("id", "k", {}, now, now + timedelta(hours=1), True)
    process.issued(lease, None, "app")
    process.ended(lease)
    process.renewed(lease)
    process.ended(lease)
    assert LeaseLedger().files() == []


def test_a_fork_waits_for_a_file_of_the_ledger_that_is_being_made(state, monkeypatch):
    """A child that inherits it without knowing it would keep its lock after the parent has died."""
    making, forking = threading.Event(), threading.Event()
    new_file, lock = ProcessLedger._new_file, ledger._lock

    class Noting:
        """The lock, which notes that the fork wants it."""

        def acquire(self, **options):
            forking.set()
            return lock.acquire(**options)

        release = lock.release
        __enter__ = lock.__enter__
        __exit__ = lock.__exit__

    def slowly(self):
        made = new_file(self)
        making.set()
        forking.wait(5)
        return made

    monkeypatch.setattr(ledger, "_lock", Noting())
    monkeypatch.setattr(ProcessLedger, "_new_file", slowly)
    now = datetime.now(UTC)
    process = ProcessLedger("spec")
    lease = Lease("id", "k", {}, now, now + timedelta(hours=1), True)
    thread = threading.Thread(target=process.issued, args=(lease, None, "app"))
    thread.start()
    assert making.wait(300)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            names = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
            os.write(writer, b"%d" % sum(name.endswith(".leases") for name in names))
        finally:
            os._exit(0)
    thread.join(300)
    os.waitpid(pid, 0)
    assert os.read(reader, 9) == b"0"
    process.ended(lease)
    os.close(reader)
    os.close(writer)


def test_a_line_that_a_full_disk_cut_short_does_not_spoil_the_next_one(state, monkeypatch, caplog):
    """Nor does a file that could not be written again shorter stay beside the one that it was to replace."""
    now = datetime.now(UTC)
    leases = [Lease(f"id-{number}", "k", {}, now, now + timedelta(hours=1), True) for number in range(4)]
    process = ProcessLedger("spec")
    write, full = os.write, [False]
    monkeypatch.setattr(ledger.os, "write", lambda fd, data: write(fd, data[: len(data) // (1 + full[0])]))

    def note(lease, *, on_full_disk=False):
        full[0] = on_full_disk
        process.issued(lease, None, "app")
        full[0] = False
        return [sorted(entry.id for entry in file.entries()) for file in LeaseLedger().files()]

    assert note(leases[0]) == [["id-0"]]
    assert note(leases[1], on_full_disk=True) == [["id-0"]]
    assert "cannot be written" in caplog.text
    assert note(leases[2]) == [["id-0", "id-2"]]
    for _ in range(10):
        process.renewed(leases[0])
    monkeypatch.setattr(ledger, "_LINES", 0)
    assert note(leases[2], on_full_disk=True) == [["id-0", "id-2"]]
    monkeypatch.setattr(ledger, "_LINES", 1000)
    assert note(leases[3]) == [["id-0", "id-2", "id-3"]]
    [file] = LeaseLedger().files()
    assert not file.has_unread()
    for lease in leases:
        process.ended(lease)
    file.over("id-0")  # after its process has removed it
    assert LeaseLedger().files() == []


def test_a_ledger_that_cannot_be_written_is_told_of_once(tmp_path, caplog):
    """Leases work all the same."""
    (tmp_path / "file").write_text("")
    ledger = ProcessLedger("spec.yaml", tmp_path / "file" / "folder")
    now = datetime.now(UTC)
    for _ in range(3):
        ledger.issued(Lease("id", "k", {}, now, now, True), None, "app")
    assert caplog.text.count("cannot be written") == 1


def test_a_file_of_the_ledger_that_cannot_be_locked_leaves_nothing_behind(tmp_path, monkeypatch, caplog):
    """As on a file system without locks, for each lease: neither a file nor a descriptor."""
    made, open_, close = set(), os.open, os.close

    def noting(path, *flags):
        descriptor = open_(path, *flags)
        if str(path).endswith(".new"):
            assert descriptor not in made
            made.add(descriptor)
        return descriptor

    def without_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(ledger.fcntl, "flock", without_locks)
    monkeypatch.setattr(ledger.os, "open", noting)
    monkeypatch.setattr(ledger.os, "close", lambda one: made.discard(one) or close(one))
    process = ProcessLedger("spec.yaml", tmp_path)
    now = datetime.now(UTC)
    for _ in range(3):
        process.issued(Lease("id", "k", {}, now, now, True), None, "app")
    assert "cannot be written" in caplog.text
    assert made == set()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.key"]


def test_what_is_over_is_noted_also_after_a_line_that_was_cut_short(state):
    """The process that wrote it is dead: it does not begin the next line anew."""
    process = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    process.issued(Lease("id", "k", {}, now, now, True), None, "app")
    [file] = LeaseLedger().files()
    with file.path.open("ab") as more:
        more.write(file.sealed({"id": "other", "over": True})[:40])
    file.over("id")
    assert file.entries() == []
    assert not file.has_unread()
    process.ended(Lease("id", "k", {}, now, now, True))


def test_lines_of_somebody_else_are_left_out(state):
    """Cut short, changed, or moved from another file."""
    ledger = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    ledger.issued(Lease("id", "k", {}, now, now, True), None, "app")
    [file] = LeaseLedger().files()
    line = file.path.read_bytes()
    other = file.path.with_name("1-other.leases")
    other.write_bytes(line)
    with file.path.open("ab") as more:
        more.write(b"rubbish\n" + line[:40])
    found = {one.path.name: len(one.entries()) for one in LeaseLedger().files()}
    assert found == {file.path.name: 1, other.name: 0}
    other.unlink()
    ledger.ended(Lease("id", "k", {}, now, now, True))


def test_an_entry_of_a_newer_version_is_read(state):
    """Versions share the ledger of a user: what this one does not know of a lease it leaves out."""
    ledger = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    ledger.issued(Lease("id", "k", {}, now, now, True), None, "app")
    [file] = LeaseLedger().files()
    [entry] = file.entries()
    newer = {"entry": entry.to_json() | {"id": "newer", "colour": "blue"}}
    with file.path.open("ab") as more:
        more.write(file.sealed(newer))
    assert [one.id for one in file.entries()] == ["id", "newer"]
    ledger.ended(Lease("id", "k", {}, now, now, True))
