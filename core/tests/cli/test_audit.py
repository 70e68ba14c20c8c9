"""`strongroom audit` and `--reason`, as a process."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from strongroom import AuditLoggingHook, SecretProviderRegistry, TenantContext
from strongroom.audit import because
from strongroom.audit.query import Filter, count_uses, entries, follow, parse_time, read_since
from strongroom.audit.serialization import NOTE
from strongroom.cli import output
from strongroom.cli.app import run_app
from strongroom.cli.commands.audit import OPERATIONS
from strongroom.errors import AuditError, StrongroomError

SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
    hooks:
      - {type: audit, log_reads: true, log_writes: true, path: logs/audit.jsonl}
"""
LOG = Path("logs/audit.jsonl")


@pytest.fixture
def audited(strongroom):
    """A folder whose spec has an audit hook, with some operations recorded."""
    Path("strongroom.yaml").write_text(SPEC)
    Path("logs").mkdir()
    with SecretProviderRegistry("strongroom.yaml") as registry:
        for key in ("database/password", "api/key", "never/read"):
            registry.set_secret(key, "value")
        with because("ticket 7"):
            registry.get_secret("database/password")
        for key in ("absent", "bad\x1b[31mkey"):
            with pytest.raises(StrongroomError):
                registry.get_secret(key)
    return strongroom


def test_verify_takes_the_logs_of_the_spec_and_ends_with_6_where_one_is_wrong(audited):
    whole = audited("audit", "verify")
    assert "ok, 6 entries, head " in whole.stdout
    head = whole.stdout.split()[-1]
    report = json.loads(audited("audit", "verify", "--json", "--expect-head", head).stdout)
    assert {name: report[name] for name in ("ok", "entries", "first_bad_line", "reason", "anchored")} == {
        "ok": True,
        "entries": 6,
        "first_bad_line": None,
        "reason": None,
        "anchored": True,
    }
    assert "NOT OK" in audited("audit", "verify", "--expect-head", "0" * 63 + "1", expected=6).stdout
    lines = LOG.read_bytes().splitlines(keepends=True)
    LOG.write_bytes(b"".join([lines[0], *lines[2:]]))
    assert (
        "NOT OK at line 2: entry 2 is missing here: removed" in audited("audit", "verify", expected=6).stdout
    )
    report = json.loads(audited("--json", "audit", "verify", str(LOG), expected=6).stdout)
    assert (report["ok"], report["first_bad_line"], report["anchored"]) == (False, 2, False)


def test_a_log_without_its_head_is_not_anchored(audited):
    Path(f"{LOG}.head").unlink()
    assert "NOT ANCHORED" in audited("audit", "verify", expected=6).stdout
    audited("audit", "verify", "--allow-unanchored")


def test_the_key_from_a_file_or_the_environment(audited):
    key = Path(f"{LOG}.key").rename("audit.key")
    audited("audit", "verify", expected=2)
    audited("audit", "verify", str(LOG), "--key-file", str(key))
    audited("audit", "verify", "--key-file", str(key))
    audited("audit", "verify", str(LOG), STRONGROOM_AUDIT_KEY=key.read_text().strip())
    audited("audit", "verify", str(LOG), STRONGROOM_AUDIT_KEY="another", expected=6)


def test_the_pieces_of_a_rotated_log_are_verified_as_one_chain(audited):
    moved = LOG.rename("logs/audit.jsonl.1")
    audited("get", "api/key")
    shown = audited("audit", "verify").stdout.splitlines()
    assert "logs/audit.jsonl.1: ok, 6 entries" in shown[0]
    assert "ok, 1 entry from number 7" in shown[1]
    assert audited("audit", "verify", str(LOG)).stdout.startswith(str(moved.absolute()))
    report = json.loads(audited("audit", "verify", str(moved), str(LOG), "--json").stdout)
    assert [one["anchored"] for one in report["logs"]] == [True, True]
    assert (report["entries"], report["anchored"]) == (7, True)
    # In whatever order they are named: each says where it begins.
    assert json.loads(audited("audit", "verify", str(LOG), str(moved), "--json").stdout) == report
    key = Path(f"{LOG}.key").read_text().strip()
    audited("audit", "verify", str(moved), expected=6, STRONGROOM_AUDIT_KEY=key)
    assert audited("audit", "show", "--operation", "set").stdout.count("api/key") == 1
    packed = Path(f"{moved}.gz")
    packed.write_bytes(gzip.compress(moved.read_bytes()))
    moved.unlink()
    assert "audit.jsonl.1.gz: ok, 6 entries" in audited("audit", "verify").stdout
    assert audited("audit", "show", "--operation", "set").stdout.count("api/key") == 1


def test_a_log_that_lost_its_beginning_does_not_verify(audited):
    """Removed and begun again, or its pieces removed: exit 6, and doctor does not call it unchanged."""
    LOG.rename("logs/elsewhere")
    audited("get", "api/key")
    lost = audited("audit", "verify", expected=6).stdout
    assert "NOT OK at line 1: entries 1 to 6 are not in the files given" in lost
    assert "--first" in lost
    report = json.loads(audited("audit", "verify", "--json", expected=6).stdout)
    assert (report["ok"], report["anchored"]) == (False, False)
    audited("audit", "verify", "--allow-unanchored", expected=6)
    audited("audit", "verify", "--first", "6", expected=6)
    assert "ok, 1 entry from number 7" in audited("audit", "verify", "--first", "7").stdout
    audited("audit", "verify", "--first", "8")  # nothing has been written since
    beyond = audited("audit", "verify", "--first", "9", "--allow-unanchored", expected=6).stdout
    assert "NOT OK: there is no entry 9 or later: the last one is 7" in beyond
    looked = audited("doctor", expected=7).stdout
    assert "unchanged" not in looked
    assert "entries 1 to 6" in looked


def test_doctor_looks_at_the_logs_and_their_keys(audited):
    assert "unchanged" in audited("doctor").stdout
    Path(f"{LOG}.key").chmod(0o644)
    assert "others may read" in audited("doctor", expected=7).stdout
    Path(f"{LOG}.key").chmod(0o600)
    Path(f"{LOG}.head").unlink()
    assert "audit verify" in audited("doctor", expected=7).stdout


def test_where_there_is_no_log_it_says_so(strongroom):
    assert "no audit hook" in strongroom("audit", "verify", expected=2).stderr
    assert "there is no audit log" in strongroom("audit", "verify", "none.jsonl", expected=2).stderr
    for command in ("show", "tail", "stats"):
        assert (
            "there is no audit log none.jsonl"
            in strongroom("audit", command, "none.jsonl", expected=2).stderr
        )


def test_a_file_that_is_not_a_log_is_told(audited):
    Path("notes").write_text("some text\n")
    Path("empty").touch()
    for command in ("show", "tail", "stats"):
        assert "notes has no line of an audit log" in audited("audit", command, "notes").stderr
        assert audited("audit", command, "empty").stderr == ""


def test_after_a_rotation_the_pieces_are_shown_before_the_next_line_is_written(audited):
    before = audited("audit", "show").stdout
    Path(LOG).rename(f"{LOG}.1")
    assert audited("audit", "show").stdout == before
    assert "database/password" in audited("audit", "stats").stdout
    assert audited("audit", "tail", "-n", "1").stdout.split()[2] == before.splitlines()[-1].split()[2]


def test_a_log_that_is_not_there_yet_does_not_hide_another(strongroom):
    Path("strongroom.yaml").write_text(
        "version: 1\ndefault: a\npipelines:\n"
        "  a: {provider: {type: memory}, hooks: [{type: audit, path: a.log}]}\n"
        "  b: {provider: {type: memory}, hooks: [{type: audit, path: b.log}]}\n"
    )
    strongroom("list", "in-a")
    for command in ("show", "stats"):
        shown = strongroom("audit", command)
        assert "in-a" in shown.stdout
        assert "there is no audit log" in shown.stderr
        assert "b.log yet" in shown.stderr
        strongroom("audit", command, "a.log", "b.log", expected=2)


def test_a_span_of_time_that_is_empty_is_refused(audited):
    for command in ("show", "stats", "tail"):
        said = audited("audit", command, "--since", "1h", "--until", "2h", expected=2).stderr
        assert "--since is later than --until" in said
    audited("audit", "show", "--since", "2h", "--until", "1h")


def test_show_filters_and_shows_no_control_character(audited):
    shown = audited("audit", "show").stdout
    assert "\x1b" not in shown
    assert "bad\\x1b[31mkey" in shown
    assert "ticket 7" in shown
    report = json.loads(audited("audit", "show", "--json", "--operation", "get", "--outcome", "ok").stdout)
    assert [one["key"] for one in report["entries"]] == ["database/password"]
    assert audited("audit", "show", "--since", "2000-01-01", "--key", "api/*").stdout.count("api/key") == 1
    assert "not a time" in audited("audit", "show", "--since", "yesterday", expected=2).stderr


@pytest.mark.parametrize("command", ["show", "tail", "stats"])
@pytest.mark.parametrize(("option", "word"), [("--outcome", "deny"), ("--operation", "read")])
def test_a_misspelt_filter_does_not_look_as_if_nothing_had_been_done(audited, command, option, word):
    said = audited("audit", command, option, word, expected=2).stderr
    assert f"Invalid value for '{option}': '{word}' is not one of" in said


def test_the_operations_that_can_be_selected_are_all_that_there_are():
    page = Path(__file__).parents[3].joinpath("docs/reference/events.md").read_text()
    (row,) = re.findall(r"^\| `operation` .*$", page, re.MULTILINE)
    assert set(re.findall(r"`([a-z]+)`", row)) - {"operation", "str"} == set(OPERATIONS) - {NOTE}


def test_show_fits_a_terminal_of_eighty_columns(audited, monkeypatch, capfd):
    """Each entry with its whole key; a column that nobody filled is left out, and times are to the second."""
    monkeypatch.setattr(output, "is_drawn", lambda: True)
    monkeypatch.setattr(output, "_columns", lambda: 80)
    assert (
        run_app(["--spec", "strongroom.yaml", "audit", "show", "--key", "database/*", "--operation", "get"])
        == 0
    )
    head, *lines = capfd.readouterr().out.splitlines()
    assert max(map(len, [head, *lines])) <= 80
    assert head.split()[:4] == ["TIME", "ACTOR", "OPERATION", "KEY"]
    assert "TENANT" not in head
    text = " ".join(lines)
    assert "database/" in text
    assert "password" in text
    assert "Z " in text
    assert "." not in text


def test_tail_shows_the_last_and_follows(audited, warm_strongroom):
    assert len(audited("audit", "tail", "-n", "2").stdout.splitlines()) == 2
    command = [warm_strongroom, "audit", "tail", "-f", "-n", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert json.loads(running.stdout.readline())["outcome"] == "error"
            with SecretProviderRegistry("strongroom.yaml") as registry:
                registry.get_secret("api/key")
            assert json.loads(running.stdout.readline())["key"] == "api/key"
            LOG.rename("logs/audit.jsonl.1")
            with SecretProviderRegistry("strongroom.yaml") as registry:
                registry.get_secret("never/read")
            assert json.loads(running.stdout.readline())["key"] == "never/read"
        finally:
            running.terminate()


def test_stats_count_and_name_what_nobody_reads(audited):
    report = json.loads(audited("audit", "stats", "--json", "--key", "database/password").stdout)
    assert [(one["operation"], one["count"], one["refused"]) for one in report["uses"]] == [
        ("get", 1, 0),
        ("set", 1, 0),
    ]
    done = audited("audit", "stats", "--never-read-days", "7", "--json")
    assert json.loads(done.stdout) == {"never_read": ["api/key", "never/read"], "days": 7}
    assert "does not go back 7 days" in done.stderr


def test_a_reason_is_recorded_and_may_be_required(audited):
    audited("--reason", "to look", "get", "api/key")
    Path("strongroom.yaml").write_text(SPEC.replace("log_reads: true", "require_reason: true"))
    refused = audited("get", "api/key", expected=4)
    assert "--reason TEXT" in refused.stderr
    audited("get", "api/key", STRONGROOM_REASON="the job")
    entries = json.loads(audited("audit", "show", "--json", "--last", "3").stdout)["entries"]
    assert [(one["outcome"], one["reason"]) for one in entries] == [
        ("ok", "to look"),
        ("vetoed", None),
        ("ok", "the job"),
    ]


# --- reading, without a process ---


def test_times_are_iso_or_how_long_ago():
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert parse_time("2h", now) == now - timedelta(hours=2)
    assert parse_time("7d", now) == now - timedelta(days=7)
    assert parse_time("2026-01-31", now) == datetime(2026, 1, 31, tzinfo=UTC)
    assert parse_time("2026-01-31T12:00:00+02:00", now) == now - timedelta(hours=2)
    for wrong in ("yesterday", "7", "h", "2026-13-01"):
        with pytest.raises(ValueError, match=r"(?i)iso|month"):
            parse_time(wrong, now)


ENTRY = {
    "operation": "get",
    "key": "database/password",
    "tenant": "acme",
    "actor": "me",
    "outcome": "ok",
    "started_at": "2026-01-31T12:00:00+00:00",
}


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"key": "database/password"}, True),
        ({"key": "database"}, False),
        ({"key": "database/*"}, True),
        ({"key": "api/*"}, False),
        ({"tenant": "acme"}, True),
        ({"tenant": "other"}, False),
        ({"actor": "you"}, False),
        ({"operation": "set"}, False),
        ({"outcome": "denied"}, False),
        ({"since": datetime(2026, 1, 31, 12, tzinfo=UTC)}, True),
        ({"since": datetime(2026, 1, 31, 13, tzinfo=UTC)}, False),
        ({"until": datetime(2026, 1, 31, 11, tzinfo=UTC)}, False),
    ],
)
def test_a_filter_chooses_lines_by_each_of_its_members(wanted, fits):
    assert Filter(**wanted)(ENTRY) is fits
    assert Filter(since=datetime(2026, 1, 1, tzinfo=UTC))({**ENTRY, "started_at": "rubbish"}) is False


def test_what_the_log_notes_of_itself_is_shown_as_its_reason(audited):
    Path("logs/audit.jsonl.head").unlink()
    LOG.write_bytes(LOG.read_bytes() + b'{"id":"cut')
    audited("get", "database/password")
    rows = audited("audit", "show", "--operation", "note").stdout.splitlines()
    assert any("head: missing" in row for row in rows)
    assert any("cut short: 10 bytes" in row for row in rows)
    assert "head: missing" in audited("audit", "tail", "--operation", "note").stdout


def test_uses_are_counted_without_intents_and_notes():
    later = {**ENTRY, "started_at": "2026-02-01T00:00:00+00:00", "outcome": "denied"}
    found = count_uses([ENTRY, later, {**ENTRY, "outcome": None}, {**ENTRY, "operation": "note"}])
    (use,) = found
    assert (use.count, use.refused, use.last) == (2, 1, datetime(2026, 2, 1, tzinfo=UTC))
    assert read_since([ENTRY, later], datetime(2026, 1, 1, tzinfo=UTC)) == {("acme", "database/password")}
    assert read_since([ENTRY], datetime(2026, 2, 1, tzinfo=UTC)) == set()


def test_lines_that_are_no_json_are_left_to_verify(tmp_path):
    log = tmp_path / "audit.jsonl"
    log.write_bytes(b'{"key":"a"}\n\xff\n[1]\n{"key":"b"}\n{"key":')
    assert [one["key"] for one in entries(str(log))] == ["a", "b"]


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        pytest.param('{"key": ' * 100_000, marks=pytest.mark.torture),
        '{"operation": "get", "outcome": "ok", "tenant": []}',
        pytest.param('{"operation": "get", "outcome": {}}', marks=pytest.mark.torture),
        '{"key": ["a"]}',
        pytest.param('{"actor": 7}', marks=pytest.mark.torture),
        '{"started_at": 7}',
    ],
    ids=lambda line: line[:40],
)
def test_forged_lines_are_left_to_verify(audited, line):
    """What could not have been written here ends no command that reads the others."""
    before = audited("audit", "show", "--json").stdout
    with LOG.open("a") as log:
        log.write(f"{line}\n")
    assert audited("audit", "show", "--json").stdout == before
    audited("audit", "stats", "--never-read-days", "5")
    audited("audit", "stats")
    audited("audit", "tail")
    assert "NOT OK" in audited("audit", "verify", expected=6).stdout


def test_a_piece_that_begins_with_a_forged_line_is_verified(audited):
    Path("forged.jsonl").write_text("[" * 100_000 + "\n")
    assert "NOT OK" in audited("audit", "verify", "forged.jsonl", str(LOG), expected=6).stdout


def test_more_days_than_the_calendar_has_are_refused(audited):
    assert "--never-read-days" in audited("audit", "stats", "--never-read-days", "800000", expected=2).stderr


def test_what_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(AuditError):
        list(entries(str(tmp_path / "none.jsonl")))


def test_following_a_log_that_is_cut_and_one_that_comes_later(tmp_path):
    log = tmp_path / "audit.jsonl"
    steps = iter(
        [
            lambda: log.write_bytes(b'{"key":"a"}\n{"key":"b"}\n{"key":"c'),
            lambda: log.write_bytes(b'{"key":"a"}\n{"key":"b"}\n{"key":"c"}\n'),
            lambda: log.write_bytes(b'{"key":"d"}\n'),
        ]
    )
    found = follow(str(log), 1, sleep=lambda seconds: next(steps)())
    assert [next(found)["key"] for _ in range(3)] == ["b", "c", "d"]


def test_the_last_lines_that_are_followed_are_of_what_is_asked_for(tmp_path):
    """What is chosen is counted, not what lies between."""
    log = tmp_path / "audit.jsonl"
    lines = [
        f'{{"key":"{key}","outcome":"{outcome}"}}\n' for key, outcome in zip("abcdef", "dodooo", strict=True)
    ]
    log.write_text("".join(lines))

    def more(_seconds):
        with log.open("a") as file:
            file.write('{"key":"g","outcome":"o"}\n{"key":"h","outcome":"d"}\n')

    found = follow(str(log), 1, lambda entry: entry["outcome"] == "d", sleep=more)
    assert [next(found)["key"] for _ in range(2)] == ["c", "h"]


@pytest.mark.parametrize("probe", [b" " * 700, b" "], ids=["longer than a line", "shorter"])
def test_following_a_log_whose_writer_tests_the_disk_just_then(tmp_path, probe):
    """Blanks that are taken away again hide no line behind them, and do not look like a log that was cut."""
    log = tmp_path / "audit.jsonl"
    steps = iter(
        [
            lambda: log.write_bytes(b'{"key":"a"}\n' + probe),
            lambda: log.write_bytes(b'{"key":"a"}\n{"key":"b"}\n'),
            lambda: log.write_bytes(b'{"key":"a"}\n{"key":"b"}\n{"key":"c"}\n' + probe),
            lambda: log.write_bytes(b'{"key":"a"}\n{"key":"b"}\n{"key":"c"}\n{"key":"d"}\n'),
        ]
    )
    found = follow(str(log), 5, sleep=lambda seconds: next(steps)())
    assert [next(found)["key"] for _ in range(4)] == ["a", "b", "c", "d"]


def test_never_read_asks_for_the_tenants_own_reads(audited):
    Path("strongroom.yaml").write_text(
        SPEC.replace("    hooks:", "    middleware: [{type: tenant}]\n    hooks:")
    )
    hook = AuditLoggingHook(path=LOG)
    with SecretProviderRegistry("strongroom.yaml") as registry, TenantContext("acme"):
        registry.set_secret("read", "1")
        registry.set_secret("unread", "1")
        registry.get_secret("read")
    hook.close()
    report = json.loads(
        audited("--tenant", "acme", "audit", "stats", "--never-read-days", "1", "--json").stdout
    )
    assert report["never_read"] == ["unread"]
