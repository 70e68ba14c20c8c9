"""What `strongroom doctor` finds beside backends: second levels, locks, leases, who may read keys; in plain words."""

from __future__ import annotations

import json
import os
import resource
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from strongroom import Lease, SecretProviderRegistry
from strongroom.cli.app import run_app
from strongroom.encryption import generate_key
from strongroom.errors import AuthenticationError, ConfigurationError, PermissionDeniedError
from strongroom.leases import LeaseLedger, ProcessLedger
from strongroom.leases import ledger as ledger_module

SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
"""
SHARED = """\
    middleware: [{type: caching, l2: {type: file.cache, path: cache/shared.db}}]
"""


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys):
    """Return what writes a spec, and gives the state and the words of each thing that doctor looks at."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", generate_key())

    def look(spec, expected=0):
        path = Path("strongroom.yaml")
        path.write_text(spec)
        path.chmod(0o644)
        capsys.readouterr()
        code = run_app(["--spec", str(path), "--json", "doctor"])
        done = capsys.readouterr()
        assert code == expected, done
        findings = json.loads(done.out)["findings"]
        assert all(one["told"] == one["message"] for one in findings)  # the name that it had first
        return {one["subject"]: (one["ok"], one["message"], one["hint"]) for one in findings}

    return look


def test_it_says_it_in_plain_words(doctor):
    found = doctor(SPEC + "secrets: {A: {key: a, required: false}}\n")
    assert found["spec"][1] == "strongroom.yaml: 1 pipeline, 1 declared secret"
    name = found["pipeline app"][1]
    assert name.startswith("file: reachable, 0 keys, as user ")
    assert name.rpartition(" ")[2] not in {"", str(os.geteuid())}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AuthenticationError("vault: no token."), "not logged in: vault: no token."),
        (PermissionDeniedError("may not read app.key"), "refused: may not read app.key"),
        (ConfigurationError("there is no folder"), "there is no folder"),
    ],
)
def test_it_does_not_call_reachable_what_it_has_not_reached(doctor, monkeypatch, error, told):
    def refuse(*_):
        raise error

    monkeypatch.setattr("strongroom_memory.MemorySecretProvider.list_secrets", refuse)
    found = doctor("version: 1\npipelines: {app: {provider: {type: memory}}}\n", expected=7)
    assert found["pipeline app"][:2] == (False, told)


@pytest.mark.parametrize(
    ("diagnosis", "words"),
    [
        (
            {"reachable": "yes", "identity": "root (app)", "can_list": "no", "clock_skew": "-0"},
            "reachable, logged in as root (app), may not list keys, its clock agrees",
        ),
        (
            {"identity": "unknown: STS is not reached", "can_list": "yes", "clock_skew": "-7"},
            "login unknown: STS is not reached, lists keys, its clock differs by -7 s",
        ),
        (
            {"project": "p", "can_list": "no: grant it", "entries of one name": "2 keys"},
            "project p, may not list keys: grant it, entries of one name 2 keys",
        ),
        ({"decrypts": "yes, 3 keys", "can_list": "yes, 1 keys"}, "decrypts yes, 3 keys, 1 key"),
    ],
)
def test_what_a_provider_tells_is_put_into_words(diagnosis, words):
    from strongroom.cli.commands.doctor import _in_words

    assert ", ".join(_in_words(diagnosis)) == words


def test_a_second_level_that_answers(doctor):
    Path("cache").mkdir()
    assert doctor(SPEC + SHARED)["second level of app's cache"][:2] == (
        True,
        "it answers, and keeps what is written",
    )


def test_a_second_level_that_is_dead(doctor):
    Path("cache").write_text("not a folder")
    ok, finding, _ = doctor(SPEC + SHARED, expected=7)["second level of app's cache"]
    assert ok is False
    assert finding.startswith("it does not work: ")
    assert "cache/shared.db" in finding


def test_a_second_level_that_forgets_is_no_second_level(doctor, monkeypatch):
    from strongroom_file.cache.store import FileCacheStore

    Path("cache").mkdir()
    monkeypatch.setattr(FileCacheStore, "get", lambda *_: None)
    ok, finding, _ = doctor(SPEC + SHARED, expected=7)["second level of app's cache"]
    assert ok is False
    assert "not kept" in finding


def test_a_cache_of_one_process_has_no_second_level(doctor):
    assert not any("second level" in one for one in doctor(f"{SPEC}    middleware: [{{type: caching}}]\n"))


def test_the_lock_of_rotations(doctor):
    spec = f"{SPEC}rotation_lock: {{type: file.cache, path: cache/lock.db}}\n"
    Path("cache").mkdir()
    assert doctor(spec)["lock of rotations"][0] is True
    for one in Path("cache").iterdir():
        one.unlink()
    Path("cache").rmdir()
    Path("cache").write_text("not a folder")
    ok, finding, _ = doctor(spec, expected=7)["lock of rotations"]
    assert ok is False
    assert finding.startswith("nothing can be rotated: ")


def test_the_key_of_a_hook_that_comes_by_a_reference(doctor):
    Path("audit.key").touch(mode=0o600)
    Path("audit.key").write_text("k" * 40)
    spec = SPEC + "hooks: [{type: audit, path: audit.log, key: '${file:audit.key}'}]\n"
    doctor(spec)
    Path("audit.key").chmod(0o644)
    assert any("others may read" in finding for _, finding, _ in doctor(spec, expected=7).values())


def test_the_key_of_an_audit_log_that_can_be_guessed(doctor):
    spec = SPEC + "hooks: [{type: audit, path: audit.log, key: KEY}]\n"
    for key, good in (("abcde", False), ("abcdefgh", True)):
        Path("audit.log").unlink(missing_ok=True)
        Path("audit.log.head").unlink(missing_ok=True)
        text = spec.replace("KEY", key)
        Path("strongroom.yaml").write_text(text)
        with SecretProviderRegistry("strongroom.yaml") as registry:
            registry.set_secret("a", "value")
        found = doctor(text, expected=0 if good else 7)
        told = [one for subject, one in found.items() if subject.startswith("key of ")]
        assert bool(told) != good
        assert all("it has 5 characters" in one[1] and "abcde" not in str(one) for one in told)


# --- leases ---


@pytest.fixture
def noted(doctor, tmp_path):
    """Return what notes down a lease in the ledger, as a process of this spec that lives or is dead."""
    folder = tmp_path / "state" / "strongroom" / "leases"
    now = datetime.now(UTC)

    def note(key, begun, ends, *, spec=tmp_path / "strongroom.yaml", lease_id=None):
        lease = Lease(
            lease_id or f"id/{key}", key, {"password": "never-shown"},
            now + timedelta(seconds=begun), now + timedelta(seconds=ends), True,
        )  # fmt: skip
        ledger = ProcessLedger(str(spec))
        ledger.issued(lease, None, "app")
        return ledger, lease

    yield note
    for own in list(ledger_module._files.values()):
        own.close()
    ledger_module._files.clear()
    assert not list(folder.glob("*.leases"))


def leave(folder):
    """Do as a process that dies: its file stays, without its lock."""
    for own in ledger_module._files.values():
        os.close(own.descriptor)
    ledger_module._files.clear()
    return [one.path for one in LeaseLedger().files()]


def test_leases_that_are_kept_alive(doctor, noted):
    noted("creds/app", -60, 3540)
    noted("creds/elsewhere", -60, -10, spec="/another/strongroom.yaml")
    found = doctor(SPEC)
    assert found["leases"][1] == "1 lease of this spec in the ledger"
    assert not [one for one in found if one.startswith("lease of")]


def test_a_lease_near_its_end_that_nobody_renewed(doctor, noted):
    noted("creds/app", -3500, 100)
    ok, finding, hint = doctor(SPEC, expected=7)["lease of 'creds/app' in app"]
    assert ok is False
    assert finding.startswith("it ends in ")
    assert f"process {os.getpid()} neither renewed nor replaced it" in finding
    assert str(os.getpid()) in hint


def test_a_lease_that_was_renewed_is_measured_by_its_first_life(doctor, noted):
    """After a day of renewals an hour is still far from its end."""
    ledger, lease = noted("creds/app", -86_400, -86_400 + 3600)
    renewed = datetime.now(UTC) + timedelta(seconds=1500)
    ledger.renewed(Lease(lease.id, lease.key, {}, lease.issued_at, renewed, True))
    assert doctor(SPEC)["leases"][1] == "1 lease of this spec in the ledger"


def test_a_lease_that_ended_in_the_hands_of_a_process(doctor, noted):
    noted("creds/app", -3600, -1)
    assert "it has ended" in doctor(SPEC, expected=7)["lease of 'creds/app' in app"][1]


def test_a_lease_that_was_replaced_may_come_to_its_end(doctor, noted):
    noted("creds/app", -3500, 100, lease_id="old")
    noted("creds/app", -10, 3590, lease_id="new")
    doctor(SPEC)


def test_what_a_dead_process_left_behind(doctor, noted, tmp_path):
    noted("creds/app", -60, 3540)
    paths = leave(tmp_path)
    ok, finding, hint = doctor(SPEC, expected=7)["lease of 'creds/app' in app"]
    assert ok is False
    assert "died and left it behind" in finding
    assert "lease sweep" in hint
    for path in paths:
        path.unlink()


def test_a_spec_is_the_same_one_by_whatever_path_it_was_named(doctor, noted, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "link.yaml").symlink_to("strongroom.yaml")
    noted("creds/app", -60, 3540, spec=tmp_path / "below" / ".." / "strongroom.yaml")
    noted("creds/web", -60, 3540, spec=tmp_path / "link.yaml")
    noted("creds/other", -60, 3540, spec="strongroom.yaml")  # a mapping in Python may be called so
    assert doctor(SPEC)["leases"][1] == "2 leases of this spec in the ledger"


def test_what_a_dead_process_left_and_has_ended_is_nobody_s_worry(doctor, noted, tmp_path):
    noted("creds/app", -60, -1)
    paths = leave(tmp_path)
    doctor(SPEC)
    for path in paths:
        path.unlink()


def test_a_spec_of_the_same_name_elsewhere_is_another_one(doctor, noted, monkeypatch, tmp_path):
    """What is found as `strongroom.yaml` in two folders has two names in the ledger."""
    from strongroom import SecretProviderRegistry

    noted("creds/app", -60, -1)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert "leases" not in doctor(SPEC)
    with SecretProviderRegistry() as registry:
        assert registry.plan.location() == str(other / "strongroom.yaml")


def test_an_audit_log_that_cannot_be_written(doctor, tmp_path):
    spec = f"{SPEC}hooks: [{{type: audit, path: trail/audit.log}}]\n"
    subject = f"audit log {tmp_path}/trail/audit.log"
    ok, finding, hint = doctor(spec, expected=7)[subject]
    assert (ok, "every operation is refused" in finding, "make the folder" in hint) == (False, True, True)
    Path("trail").mkdir()
    assert subject not in doctor(spec)
    assert list(Path("trail").iterdir()) == []
    with SecretProviderRegistry("strongroom.yaml") as registry:
        registry.list_secrets()
    assert doctor(spec)[subject][:2] == (True, "1 entry, unchanged")

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    had = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path("trail/audit.log").stat().st_size, before[1]))
    try:
        ok, finding, _ = doctor(spec, expected=7)[subject]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, had)
    assert (ok, finding.startswith("operations are refused: ")) == (False, True)
    assert doctor(spec)[subject][0] is True
