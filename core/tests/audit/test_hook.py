"""What is recorded of which operation, and with which members."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import stat
import urllib.parse
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom import (
    AuditLoggingHook,
    SecretEvent,
    SecretHook,
    SecretProviderRegistry,
    TenantContext,
    verify_audit_log,
)
from strongroom.audit import because
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.hooks import report_source
from strongroom.pipeline import as_operation

SPEC = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
CANARY = 'cänary-\\"7f\n3a9+/=&'


def test_a_line_has_the_members_of_the_event_and_who_acted(trail, monkeypatch):
    monkeypatch.setenv("STRONGROOM_ACTOR", "deploy")
    trail.read()
    (entry,) = trail.entries()
    assert {name: entry[name] for name in ("operation", "key", "pipeline", "tenant", "actor", "outcome")} == {
        "operation": "get",
        "key": "database/password",
        "pipeline": "app",
        "tenant": None,
        "actor": "deploy",
        "outcome": "ok",
    }
    assert (entry["source"], entry["error_type"], entry["seq"]) == ("backend", None, 1)
    assert (entry["pid"], entry["host"]) == (os.getpid(), os.uname().nodename)
    assert datetime.fromisoformat(entry["started_at"]).utcoffset().total_seconds() == 0
    assert 0 <= entry["duration"] < 60
    assert len(entry["id"]) == 32


def test_a_line_names_the_user_that_the_process_has_by_then(trail, monkeypatch):
    """A service that root begins opens its log, and then gives up its rights."""
    monkeypatch.delenv("STRONGROOM_ACTOR", raising=False)
    trail.read()
    uid = 1 << 30
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    trail.read()
    monkeypatch.setenv("STRONGROOM_ACTOR", "deploy")
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    trail.read()
    assert [(one["actor"], one["user"]) for one in trail.entries()][1:] == [
        (str(uid), str(uid)), ("deploy", str(uid + 1)),
    ]  # fmt: skip


def test_log_head_and_key_are_for_the_owner_alone(trail):
    before = os.umask(0)
    try:
        trail.read()
    finally:
        os.umask(before)
    for path in (trail.path, trail.head, trail.key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_event_of_ones_own_making_is_recorded_as_well(trail):
    event = SecretEvent("1", "get", "a", None, None, "me", datetime.now(UTC), 0.5, "ok", "l2")
    trail.hook.after(event)
    trail.hook.before(event)
    (entry,) = trail.entries()
    assert (entry["id"], entry["source"], entry["duration"], entry["pid"]) == ("1", "l2", 0.5, os.getpid())


def test_constructing_a_hook_touches_nothing(tmp_path):
    AuditLoggingHook(path=tmp_path / "audit.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_every_operation_is_recorded_with_its_outcome(trail):
    registry = trail.registry
    registry.set_secret("a", "1")
    registry.list_secrets("a")
    registry.describe_secret("a")
    registry.list_versions("a")
    registry.delete_secret("a")
    for key in ("a", "bad//key"):
        with pytest.raises(StrongroomError):
            registry.get_secret(key)
    assert [(one["operation"], one["key"], one["outcome"], one["error_type"]) for one in trail.entries()] == [
        ("set", "a", "ok", None),
        ("list", "a", "ok", None),
        ("describe", "a", "ok", None),
        ("history", "a", "ok", None),
        ("delete", "a", "ok", None),
        ("get", "a", "not_found", "SecretNotFoundError"),
        ("get", "bad//key", "error", "InvalidKeyError"),
    ]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (PermissionDeniedError("no"), "denied"),
        (AuthenticationError("who?"), "denied"),
        (BackendUnavailableError("down"), "error"),
        (PermissionError("no"), "denied"),
        (RuntimeError("odd"), "error"),
    ],
)
def test_refusals_are_recorded_even_where_reads_and_writes_are_not(make_trail, error, outcome, failing):
    trail = make_trail(log_reads=False, log_writes=False)
    trail.registry.register("failing", failing(error), prefix="failing/")
    trail.read()
    trail.registry.set_secret("a", "1")
    with pytest.raises(SecretNotFoundError):
        trail.registry.get_secret("absent")
    for call in (
        lambda: trail.registry.get_secret("failing/a"),
        lambda: trail.registry.set_secret("failing/a", "1"),
        lambda: trail.registry.list_secrets("failing/"),
    ):
        with pytest.raises(StrongroomError):
            call()
    assert [(one["operation"], one["outcome"]) for one in trail.entries()] == [
        ("get", outcome),
        ("set", outcome),
        ("list", outcome),
    ]


def test_reads_are_left_out_and_writes_are_not(make_trail):
    trail = make_trail(log_reads=False)
    trail.read()
    trail.registry.set_secret("a", "1")
    assert [one["operation"] for one in trail.entries()] == ["set"]


def test_writes_are_left_out_and_reads_are_not(make_trail):
    trail = make_trail(log_writes=False)
    trail.read()
    trail.registry.set_secret("a", "1")
    assert [one["operation"] for one in trail.entries()] == ["get"]


def test_a_veto_is_recorded_for_every_key_of_a_batch(trail):
    class Veto(SecretHook):
        def before(self, event):
            if event.key == "b":
                raise ValueError("not b")

    trail.registry.add_hook(Veto())
    with pytest.raises(ValueError, match="not b"):
        trail.registry.get_secrets(["a", "b", "c"])
    assert [(one["key"], one["outcome"]) for one in trail.entries()] == [(key, "vetoed") for key in "abc"]


def test_a_batch_has_one_event_a_key_in_its_order_and_one_batch(trail):
    trail.registry.get_secrets(["x", "database/password", "y"])
    entries = trail.entries()
    assert [(one["key"], one["outcome"]) for one in entries] == [
        ("x", "not_found"),
        ("database/password", "ok"),
        ("y", "not_found"),
    ]
    assert {one["batch"] for one in entries} == {entries[0]["id"]}
    assert len({one["id"] for one in entries}) == 3
    trail.read()
    assert trail.entries()[-1]["batch"] is None


def test_a_cached_read_says_so(tmp_path):
    path = tmp_path / "audit.jsonl"
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}]}},
    }
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret("a", "1")
        registry.add_hook(AuditLoggingHook(path=path))
        for _ in range(2):
            registry.get_secret("a")
    assert [json.loads(line)["source"] for line in path.read_text().splitlines()] == ["backend", "l1"]


def test_the_source_is_what_a_cache_reports(trail):
    class Cached:
        def get_secret(self, key):
            report_source("stale")
            return "value"

        set_secret = delete_secret = list_secrets = get_secret

    trail.registry.register("cached", Cached(), prefix="cached/")
    trail.registry.get_secret("cached/a")
    assert trail.entries()[0]["source"] == "stale"


def test_the_tenant_and_what_is_refused_without_one(tmp_path):
    path = tmp_path / "audit.jsonl"
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [{"type": "tenant"}]}},
        "hooks": [{"type": "audit", "path": str(path)}],
    }
    with SecretProviderRegistry(spec) as registry:
        with TenantContext("acme"):
            registry.set_secret("a", "1")
        with pytest.raises(StrongroomError):
            registry.get_secret("a")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["tenant"], one["key"], one["outcome"]) for one in entries] == [
        ("acme", "a", "ok"),
        (None, "a", "denied"),
    ]


def test_what_a_rotation_does_is_recorded_as_one(trail):
    with as_operation("rotate"):
        trail.registry.set_secret("a", "1")
    assert trail.entries()[0]["operation"] == "rotate"


def test_the_reason_of_the_block_then_the_hooks_then_the_environments(make_trail, monkeypatch):
    monkeypatch.setenv("STRONGROOM_REASON", "from the environment")
    trail = make_trail(path=make_trail().path.with_name("one.jsonl"))
    given = make_trail(path=trail.path.with_name("two.jsonl"), reason="from the hook")
    trail.read()
    given.read()
    with because("ticket 7"):
        given.read()
    assert [one["reason"] for one in trail.entries()] == ["from the environment"]
    assert [one["reason"] for one in given.entries()] == ["from the hook", "ticket 7"]


def test_without_a_reason_nothing_is_done_and_that_is_recorded(make_trail):
    trail = make_trail(require_reason=True)
    with pytest.raises(PermissionDeniedError, match="reason"):
        trail.read()
    with pytest.raises(PermissionDeniedError, match="reason"):
        trail.registry.set_secret("a", "1")
    with because("ticket 7"):
        trail.read()
    rows = [(one["operation"], one["outcome"], one["reason"]) for one in trail.entries()]
    assert rows == [("get", "vetoed", None), ("set", "vetoed", None), ("get", "ok", "ticket 7")]
    with because("to look"), pytest.raises(SecretNotFoundError):
        trail.registry.get_secret("a")


def test_a_batch_of_no_keys_needs_no_reason(make_trail):
    trail = make_trail(require_reason=True)
    assert trail.registry.pipeline("app").get_secrets([]) == {}
    trail.registry.pipeline("app").set_secrets({})
    assert not trail.path.exists()


def test_intents_stand_ahead_of_writes(make_trail):
    trail = make_trail(intents=True)
    trail.registry.set_secret("a", "1")
    trail.read()
    entries = trail.entries()
    assert [(one["operation"], one["outcome"]) for one in entries] == [
        ("set", None),
        ("set", "ok"),
        ("get", "ok"),
    ]
    assert entries[0]["id"] == entries[1]["id"]


def encodings(value):
    """Return `value` as itself and in the encodings in which it could leak."""
    data = value.encode()
    forms = {value, repr(value)[1:-1], json.dumps(value)[1:-1], urllib.parse.quote(value), data.hex()}
    forms |= {base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode(), value.splitlines()[0]}
    for shift in (1, 2):  # the other alignments, without the characters that hold a neighbour's bits
        forms.add(base64.b64encode(b"x" * shift + data).decode()[4:-4])
    return forms


def test_no_value_is_in_any_line_whatever_is_done_with_it(make_trail, failing):
    trail = make_trail(intents=True)
    registry = trail.registry
    registry.set_secret("a", CANARY)
    registry.set_secrets({"b": CANARY, "c": CANARY})
    registry.get_secret("a")
    registry.get_secrets(["a", "b", "absent"])
    version = registry.describe_secret("a").version
    registry.get_secret_version("a", version)
    registry.set_secret_if("a", CANARY, version)
    registry.stage_secret("a", CANARY)
    for error in (RuntimeError(CANARY), KeyError(CANARY), PermissionDeniedError(f"no {CANARY}")):
        name = type(error).__name__.lower()
        registry.register(name, failing(error), prefix=f"{name}/")
        for call in (registry.get_secret, lambda key: registry.set_secret(key, CANARY)):
            with pytest.raises(StrongroomError):
                call(f"{name}/a")
    text = trail.path.read_text()
    assert trail.verify().entries == len(trail.entries()) == 25
    assert [form for form in encodings(CANARY) if form in text] == []


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=600))
def test_hostile_keys_are_recorded_as_they_were_given(tmp_path_factory, key):
    path = tmp_path_factory.mktemp("hostile") / "audit.jsonl"
    hook = AuditLoggingHook(path=path)
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(hook)
        for call in (registry.get_secret, registry.list_secrets):
            with contextlib.suppress(StrongroomError):
                call(key)
    hook.close()
    entries = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    assert [one["key"] for one in entries] == [key, key]
    assert verify_audit_log(path).ok


# --- loggers, keys, several sinks ---


def test_without_a_path_json_goes_to_the_logger(caplog):
    caplog.set_level(logging.INFO, logger="strongroom.audit")
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(AuditLoggingHook())
        registry.set_secret("a", "1")
        registry.get_secret("a")
    records = [record for record in caplog.records if record.name == "strongroom.audit"]
    assert [record.levelname for record in records] == ["INFO", "INFO"]
    assert [json.loads(record.getMessage())["operation"] for record in records] == ["set", "get"]
    assert "mac" not in json.loads(records[0].getMessage())


def test_a_logger_of_ones_own_by_name_or_itself(caplog):
    caplog.set_level(logging.INFO, logger="my.audit")
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(AuditLoggingHook(logger="my.audit"))
        registry.add_hook(AuditLoggingHook(logger=logging.getLogger("my.audit")))
        registry.set_secret("a", "1")
    assert [record.name for record in caplog.records] == ["my.audit", "my.audit"]


def test_a_logger_that_takes_nothing_is_told_of_once(caplog):
    logging.getLogger("quiet.audit").setLevel(logging.WARNING)
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(AuditLoggingHook(logger="quiet.audit"))
        registry.set_secret("a", "1")
        registry.get_secret("a")
    assert [record.name for record in caplog.records] == ["strongroom.hooks"]
    assert "go nowhere" in caplog.text


@pytest.mark.parametrize("handler", [None, logging.NullHandler(), logging.StreamHandler()])
def test_a_logger_whose_lines_no_handler_writes_is_told_of(handler, caplog, monkeypatch):
    """As a program that set the level alone has it, or a handler for errors."""
    silent = logging.getLogger("silent.audit")
    silent.setLevel(logging.INFO)
    monkeypatch.setattr(silent, "propagate", False)
    if handler is not None:
        handler.setLevel(logging.ERROR)
        monkeypatch.setattr(silent, "handlers", [handler])
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(AuditLoggingHook(logger=silent))
        registry.set_secret("a", "1")
        registry.get_secret("a")
    assert caplog.text.count("go nowhere") == 1


def test_a_later_configuration_of_logging_does_not_end_the_trail(caplog):
    """One whose `disable_existing_loggers` is true, as it is unless it is said: lines would go nowhere."""
    caplog.set_level(logging.INFO, logger="disabled.audit")
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(AuditLoggingHook(logger="disabled.audit"))
        logging.getLogger("disabled.audit").disabled = True  # what such a configuration does
        registry.set_secret("a", "1")
    assert [record.name for record in caplog.records] == ["disabled.audit"]


def test_with_both_the_logger_gets_the_chained_line(make_trail, caplog):
    caplog.set_level(logging.INFO, logger="copies")
    trail = make_trail(logger="copies")
    trail.read(2)
    assert [json.loads(record.getMessage()) for record in caplog.records] == trail.entries()


def test_keys_given_beat_the_environments_which_beats_the_file(make_trail, monkeypatch, tmp_path):
    given = make_trail(key="given")
    given.read()
    assert given.verify(key="given").ok
    assert not given.key.exists()
    monkeypatch.setenv("STRONGROOM_AUDIT_KEY", "from the environment")
    named = make_trail(path=tmp_path / "named.jsonl")
    named.read()
    assert named.verify().ok
    assert not named.verify(key="other").ok
    assert not named.key.exists()
    still = make_trail(path=tmp_path / "still.jsonl", key=b"given")
    still.read()
    assert still.verify(key="given").ok
    monkeypatch.delenv("STRONGROOM_AUDIT_KEY")
    file = tmp_path / "a.key"
    file.write_text("from a file\n")
    file.chmod(0o600)
    filed = make_trail(path=tmp_path / "filed.jsonl", key_file=file)
    filed.read()
    assert filed.verify(key="from a file").ok
    assert filed.verify(key_file=file).ok


@pytest.mark.parametrize("key", ["", b"", 7, "srk1_mistyped", "\ud800"])
def test_what_is_no_key_is_refused_at_construction(key, tmp_path):
    with pytest.raises(ConfigurationError):
        AuditLoggingHook(path=tmp_path / "audit.jsonl", key=key)


def test_no_empty_list_of_logs_and_not_two_keys():
    with pytest.raises(ConfigurationError):
        AuditLoggingHook(path=[])
    with pytest.raises(ConfigurationError):
        AuditLoggingHook(path="a", key="a", key_file="b")


def test_several_logs_have_chains_of_their_own(tmp_path):
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    hook = AuditLoggingHook(path=paths)
    with SecretProviderRegistry(SPEC) as registry:
        registry.add_hook(hook)
        registry.set_secret("a", "1")
    for path in paths:
        report = verify_audit_log(path)
        assert (report.ok, report.anchored, report.entries) == (True, True, 1)


def test_a_spec_names_the_hook_and_its_folder(tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    spec = folder / "strongroom.yaml"
    spec.write_text(
        "version: 1\n"
        "pipelines: {app: {provider: {type: memory}}}\n"
        "hooks:\n"
        "  - {type: audit, log_reads: false, log_writes: true, path: [a.jsonl, b.jsonl], key_file: a.key}\n"
    )
    (folder / "a.key").write_text("key")
    (folder / "a.key").chmod(0o600)
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret("a", "1")
        registry.get_secret("a")
    for name in ("a.jsonl", "b.jsonl"):
        assert verify_audit_log(folder / name, "key").entries == 1
