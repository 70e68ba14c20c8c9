"""`strongroom lease` on a ledger of which parts cannot be read."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import strongroom_memory.provider
from strongroom import Lease, SecretProviderRegistry, TenantContext
from strongroom.backends import MemorySecretProvider
from strongroom.cli.actions.overview import Overview
from strongroom.cli.app import run_app
from strongroom.cli.context import GlobalOptions
from strongroom.errors import BackendUnavailableError, SecretNotFoundError
from strongroom.leases import LeaseLedger, ProcessLedger
from strongroom.leases import ledger as ledger_module

sys.path.insert(0, str(Path(__file__).parent.parent))

from user_support import heeding_modes  # as in `tests/spec`


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Return what runs the command on a spec, and returns its code, what it answers, and what it warns of."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "strongroom.yaml"
    path.write_text("version: 1\npipelines: {app: {provider: {type: memory}}}\n")
    path.chmod(0o600)

    def run(*words, of="lease"):
        code = run_app(["--spec", str(path), "--json", *of.split(), *words])
        done = capsys.readouterr()
        return code, json.loads(done.out or "null"), done.err

    return run


@pytest.fixture
def left(command, tmp_path):
    """Note a lease down, and leave it as a process that dies does; return its file."""
    now = datetime.now(UTC)
    lease = Lease("id", "creds/app", {}, now, now + timedelta(hours=1), True)
    ProcessLedger(str(tmp_path / "strongroom.yaml")).issued(lease, None, "app")
    for own in ledger_module._files.values():
        os.close(own.descriptor)
    ledger_module._files.clear()
    [file] = LeaseLedger().files()
    return file.path


def test_what_was_noted_under_another_key_is_kept_and_told(command, left):
    """The leases may live: nothing may say that there are none."""
    key = left.with_name("ledger.key")
    key.rename(key.with_name("away"))
    code, answer, told = command("sweep")
    assert (code, answer) == (5, {"revoked": [], "failed": [], "left": []})
    assert str(left) in told
    code, answer, told = command("list")
    assert (code, answer) == (0, {"leases": []})
    assert str(left) in told
    code, answer, told = command("revoke", "id")
    assert (code, answer) == (3, None)
    assert str(left) in told
    key.with_name("away").rename(key)
    code, answer, told = command("sweep")
    assert (code, [one["id"] for one in answer["left"]], told) == (0, ["id"], "")


def test_what_an_earlier_version_noted_for_a_tenant_is_kept_and_told(command, left, tmp_path):
    """It bound such lines to the tenant, so that most of a file could be read, and the rest was lost with it."""
    file = ledger_module.LeaseFile(LeaseLedger(), left)
    [entry] = file.entries()
    text = json.dumps({"entry": entry.to_json() | {"id": "of-acme", "tenant": "acme"}})
    with TenantContext("acme"):
        line = LeaseLedger().sealer().encrypt(text, context=ledger_module._context(left))
        left.write_bytes(left.read_bytes() + line.encode() + b"\n")
        assert [one.id for one in file.entries()] == ["id", "of-acme"]
    for end in ([], ["id"]):  # also after the others have ended
        for one in end:
            file.over(one)
        code, answer, told = command("sweep")
        assert (code, [one["id"] for one in answer["left"]]) == (5, [] if end else ["id"])
        assert str(left) in told
        assert "--tenant" in told
    with TenantContext("acme"):
        assert [one.id for one in file.entries()] == ["of-acme"]
        file.over("of-acme")
    assert file.entries() == []


def test_the_beginning_of_a_line_is_nobody_s_worry(command, left):
    """A crash cuts one short before its lease is handed out."""
    left.write_bytes(left.read_bytes()[:100])
    assert command("sweep") == (0, {"revoked": [], "failed": [], "left": []}, "")
    assert not left.exists()


@pytest.mark.parametrize("key", [b"", b"garbage\n", b"\xff\xfe\x00"])
def test_a_damaged_key_of_the_ledger_is_named_and_leases_work_without_it(command, left, caplog, key):
    """It was an error of `codecs` for each read of a lease, and commands did not say which key is meant."""
    place = left.with_name("ledger.key")
    place.write_bytes(key)
    for words in (["list"], ["sweep"], ["revoke", "id"]):
        code, _, told = command(*words)
        assert code == 2
        assert f"{place} is damaged" in told
    now = datetime.now(UTC)
    ProcessLedger("spec.yaml").issued(Lease("other", "k", {}, now, now, True), None, "app")
    assert "the ledger of leases cannot be written (ConfigurationError)" in caplog.text


@contextmanager
def mode_of(path, mode):
    """Let `path` have a mode in the block, and let it count."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with heeding_modes():
            yield
    finally:
        if path.exists():
            path.chmod(before)


def test_what_a_dead_process_left_in_a_file_that_may_only_be_read_is_swept(command, left):
    """A file that could not be locked counted as one of a living process, and a sweep said nothing of it."""
    with mode_of(left, 0o400):
        [file] = LeaseLedger().files()
        assert not file.alive()
        code, answer, _ = command("list")
        assert (code, [one["alive"] for one in answer["leases"]]) == (0, [False])
        code, answer, _ = command("sweep")
        assert (code, [one["id"] for one in answer["left"]]) == (0, ["id"])


def test_what_cannot_be_noted_is_revoked_all_the_same(command, left, monkeypatch):
    monkeypatch.setattr(strongroom_memory.provider, "MemorySecretProvider", Issuing)
    with mode_of(left, 0o400):
        code, answer, told = command("revoke", "id")
        assert (code, answer) == (0, {"revoked": ["id"]})
        assert "id is revoked, which cannot be noted" in told
        code, answer, told = command("sweep")
        assert (code, answer) == (0, {"revoked": ["id"], "failed": [], "left": []})
        assert "id is revoked, which cannot be noted" in told
    assert not left.exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [(ValueError("s3cret"), 5), (BackendUnavailableError("down"), 5), (SecretNotFoundError("k"), 0)],
)
def test_no_error_about_one_lease_keeps_a_sweep_from_the_others(command, left, monkeypatch, error, code):
    """A hook may veto with any error; and one that says that a lease has ended leaves nothing to be done."""

    class Failing(Issuing):
        def revoke_lease(self, lease):
            if lease.id == "id":
                raise error

    monkeypatch.setattr(strongroom_memory.provider, "MemorySecretProvider", Failing)
    file = ledger_module.LeaseFile(LeaseLedger(), left)
    [entry] = file.entries()
    with left.open("ab") as more:
        more.write(file.sealed({"entry": entry.to_json() | {"id": "other"}}))
    found, answer, told = command("sweep")
    revoked, failed = (["other"], ["id"]) if code else (["id", "other"], [])
    assert (found, answer) == (code, {"revoked": revoked, "failed": failed, "left": []})
    assert left.exists() == bool(code)
    assert "s3cret" not in told


@pytest.mark.parametrize("kind", ["unreadable", "a folder"])
def test_a_file_that_cannot_be_read_hides_no_other_and_is_told(command, left, kind):
    """`list` ended at it, and `sweep` took it for one of a process that lives."""
    other = left.with_name("1-other.leases")
    if kind == "a folder":
        other.mkdir()
    else:
        other.write_bytes(left.read_bytes())
    with mode_of(other, 0o700 if kind == "a folder" else 0):
        code, answer, told = command("list")
        assert (code, [one["id"] for one in answer["leases"]]) == (0, ["id"])
        assert str(other) in told
        code, answer, told = command("sweep")
        assert (code, [one["id"] for one in answer["left"]]) == (5, ["id"])
        assert str(other) in told
    assert other.exists()


@pytest.mark.parametrize("kind", ["unreadable", "a file"])
def test_a_folder_of_the_ledger_that_cannot_be_read_is_not_taken_for_an_empty_one(command, left, kind):
    folder = left.parent
    if kind == "a file":
        folder.rename(folder.with_name("away"))
        assert command("list") == (0, {"leases": []}, "")
        folder.write_text("no folder")
    with mode_of(folder, 0o600 if kind == "a file" else 0):
        for words in (["list"], ["sweep"], ["revoke", "id"]):
            code, answer, told = command(*words)
            assert (code != 0, answer) == (True, None)
            assert str(folder) in told


def test_a_child_that_is_forked_during_a_sweep_makes_no_dead_process_look_alive(left):
    file = ledger_module.LeaseFile(LeaseLedger(), left)
    ends, end = os.pipe()
    with file.taken() as dead:
        assert dead
        child = os.fork()
        if not child:
            os.close(end)
            os.read(ends, 1)
            os._exit(0)
    try:
        with file.taken() as dead:
            assert dead
    finally:
        os.close(end)
        os.waitpid(child, 0)
        os.close(ends)


@pytest.mark.parametrize("kind", ["no folder", "unreadable", "a file"])
def test_a_ledger_in_a_home_that_cannot_be_entered_is_no_ledger(command, left, kind):
    """As that of a service, or root's for another user: it has none there, and nothing is wrong."""
    state = left.parent.parent
    shutil.rmtree(state)
    if kind == "a file":
        state.write_text("")
    elif kind == "unreadable":
        state.mkdir()
    with mode_of(state, 0) if kind != "no folder" else nullcontext():
        assert command("list") == (0, {"leases": []}, "")
        code, answer, _ = command("sweep")
        assert (code, answer["left"]) == (0, [])
        code, answer, _ = command(of="doctor")
        assert [one for one in answer["findings"] if one["subject"] == "leases"] == []


@pytest.mark.parametrize("damaged", ["ledger.key", "a line", "the folder"])
def test_doctor_names_a_ledger_that_cannot_be_read_and_goes_on(command, left, damaged):
    """It ended there, or said nothing of what it could not read."""
    place = {"ledger.key": left.with_name("ledger.key"), "a line": left, "the folder": left.parent}[damaged]
    if damaged != "the folder":
        place.write_bytes(b"rubbish\n"[:7] + b"\n" if damaged == "a line" else b"")
    with mode_of(place, 0 if damaged == "the folder" else 0o600):
        code, answer, _ = command(of="doctor")
    found = [one for one in answer["findings"] if one["subject"] == "leases"]
    assert (code, [one["ok"] for one in found]) == (7, [False])
    assert str(place) in found[0]["message"]


class Issuing(MemorySecretProvider):
    """Counts the leases that it issues."""

    issued = 0

    def issue_lease(self, key):
        self.issued += 1
        now = datetime.now(UTC)
        return Lease(f"id-{self.issued}", key, {"password": "x" * 9}, now, now + timedelta(hours=1), True)

    def renew_lease(self, lease):
        return lease

    def revoke_lease(self, lease):
        pass


def test_the_pages_of_serve_issue_no_lease(monkeypatch, tmp_path):
    """It would be renewed as long as the server runs, with nobody who uses it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    secrets = {
        "URL": {"compose": "db://{{ LOGIN }}"},
        "LOGIN": {"key": "db/app", "field": "password"},
        "A": {},
    }
    spec = {"version": 1, "pipelines": {"p": {"provider": {"type": "memory"}}}, "secrets": secrets}
    with SecretProviderRegistry(spec) as registry:
        registry.register("db", provider := Issuing(), prefix="db/")
        rows = Overview(GlobalOptions()).secrets(registry)
        assert [(one["name"], one["status"]) for one in rows] == [
            ("URL", "ok"),
            ("LOGIN", "ok"),
            ("A", "missing"),
        ]
        assert "a lease" in rows[0]["problem"]
        assert provider.issued == 0
        assert registry.get_field("db/app", "password") == "x" * 9
    assert provider.issued == 1


@pytest.mark.parametrize(
    "words",
    [
        "mv db/app new", "mv old db/app", "edit db/app", "import names.env", "copy app db",
        "set FIELD x", "set db/app x",
        "copy db app --delete-source",
    ],
)  # fmt: skip
def test_what_would_be_written_to_a_lease_is_refused_before_one_is_issued(
    words, tmp_path, monkeypatch, capsys
):
    """Its server would have made credentials, or a copy of them be stored, for a command that cannot end."""
    made = []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("EDITOR", "true")

    class Counted(Issuing):
        def __init__(self, **options):
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr(strongroom_memory.provider, "MemorySecretProvider", Counted)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").write_text("stays")
    (tmp_path / "names.env").write_text("LOGIN=x\n")
    path = tmp_path / "strongroom.yaml"
    path.write_text(
        "version: 1\n"
        "pipelines: {app: {provider: {type: directory, path: ./d, writable: true}},"
        " db: {provider: {type: memory}}}\n"
        "default: app\n"
        "routes: [{prefix: db/, pipeline: db}]\n"
        "secrets: {LOGIN: {key: db/app}, FIELD: {key: db/app, field: password}}\n"
    )
    path.chmod(0o600)
    assert run_app(["--spec", str(path), *words.split()]) == 2
    assert ": nothing is stored or deleted there" in capsys.readouterr().err
    assert [one.issued for one in made] == [0]
    assert [one.name for one in (tmp_path / "d").iterdir()] == ["old"]
