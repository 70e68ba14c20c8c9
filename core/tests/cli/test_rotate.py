"""`strongroom rotate`, as a process with programs that rotate."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from strongroom.cli import main
from strongroom.declarations.json_fields import with_member
from strongroom.errors import ValidationError
from strongroom.rotation import SecretRotation
from strongroom_file import FileSecretProvider

SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
    middleware: [{type: caching}]
secrets:
  PASSWORD:
    key: database/password
    min_length: 16
    rotate_days: 30
    rotate:
      command: [./change, --role, app]
      verify: [./check]
      timeout_seconds: 300
      grace_seconds: 3600
      generator: {type: hex, count: 20}
  USER_PASSWORD: {key: user, field: login.password, rotate: {}, generate: {length: 40}}
  OPTIONAL: {key: not/there, required: false, rotate_days: 1}
"""


@pytest.fixture
def folder(strongroom):
    Path("strongroom.yaml").write_text(SPEC)
    for name, body in {
        "change": "open('target', 'w').write(json.load(sys.stdin)['new'])\nprint('VERBOSE', open('target').read())",
        "check": "assert json.load(sys.stdin)['new'] == open('target').read()",
    }.items():
        Path(name).write_text(
            f"#!{sys.executable} -IS\nimport json, os, sys\nopen('environment', 'w').write(str(sorted(os.environ)))\n{body}\n"
            f"sys.exit(os.path.exists('fail-{name}'))\n"
        )
        Path(name).chmod(0o700)
    strongroom("set", "database/password", stdin="the-first-password")
    strongroom("set", "user", stdin='{"login": {"user": "me", "password": "old-one-of-mine"}, "port": 5}')
    return Path()


def test_a_secret_is_rotated_as_the_spec_says(strongroom, folder):
    done = strongroom("rotate", "database/password", STRONGROOM_ENCRYPTION_KEY="own-secret")
    assert done.stdout == "database/password has a new value\n"
    value = strongroom("get", "database/password").stdout
    assert len(bytes.fromhex(value)) == 20
    assert (folder / "target").read_text() == value
    assert "STRONGROOM" not in (folder / "environment").read_text()
    assert json.loads(strongroom("--json", "rotate", "database/password").stdout)["state"] == "current"


def test_a_failure_is_told_kept_and_undone(strongroom, folder):
    (folder / "fail-change").touch()
    done = strongroom("rotate", "database/password", expected=1)
    new = (folder / "target").read_text()
    assert "apply failed" in done.stderr
    assert "VERBOSE ********" in done.stderr
    assert new not in done.stderr
    assert strongroom("get", "database/password").stdout == "the-first-password"
    refused = strongroom("rotate", "database/password", expected=8).stderr
    assert "in flight" in refused
    for way in ("--resume", "--rollback"):
        typed = f"`strongroom rotate database/password {way}`"
        assert typed in done.stderr
        assert typed in refused
    status = json.loads(strongroom("rotate", "--status", "database/password", "--json").stdout)
    assert [one["state"] for one in status["secrets"]] == ["pending"]
    assert "VERBOSE ********" in status["secrets"][0]["last_error"]
    (folder / "fail-change").unlink()
    assert "has its old value again" in strongroom("rotate", "database/password", "--rollback").stdout
    assert (folder / "target").read_text() == "the-first-password"
    strongroom("rotate", "database/password", "--resume", expected=1)


def test_a_delete_says_that_a_rotation_is_lost(strongroom, folder):
    """The target system has a value that is stored nowhere; nobody would see it any more."""
    (folder / "fail-change").touch()
    strongroom("rotate", "database/password", expected=1)
    assert (
        "a rotation of 'database/password' was in flight" in strongroom("delete", "database/password").stderr
    )
    strongroom("set", "database/password", stdin="the-next-life-of-it")
    assert strongroom("delete", "database/password", "user").stderr == ""


def test_what_is_in_flight_is_resumed(strongroom, folder):
    (folder / "fail-check").touch()
    strongroom("rotate", "database/password", expected=1)
    assert "applied" in strongroom("rotate", "--status").stdout
    (folder / "fail-check").unlink()
    strongroom("rotate", "--resume", "database/password")
    assert strongroom("get", "database/password").stdout == (folder / "target").read_text()
    strongroom("rotate", "--rollback", "database/password")
    assert strongroom("get", "database/password").stdout == "the-first-password"
    assert (folder / "target").read_text() == "the-first-password"


def test_a_new_value_can_be_given(strongroom, folder):
    strongroom("rotate", "database/password", "--stdin", stdin="given-by-somebody-else\n")
    assert strongroom("get", "database/password").stdout == "given-by-somebody-else"


def test_a_new_value_that_is_given_replaces_only_the_member(strongroom, folder):
    """Before, it replaced the whole secret, and the other members were lost."""
    strongroom("rotate", "USER_PASSWORD", "--stdin", stdin="given-by-somebody-else\n")
    data = json.loads(strongroom("get", "user").stdout)
    assert data == {"login": {"user": "me", "password": "given-by-somebody-else"}, "port": 5}


def test_an_empty_or_bad_new_value_is_refused_before_anything_is_changed(strongroom, folder):
    assert (
        "is empty, and nothing was rotated" in strongroom("rotate", "PASSWORD", "--stdin", expected=2).stderr
    )
    said = strongroom("rotate", "PASSWORD", "--stdin", stdin="too-short", expected=2).stderr
    assert "the new value for PASSWORD breaks one of its rules: it has 9 characters" in said
    assert "too-short" not in said
    assert strongroom("get", "database/password").stdout == "the-first-password"
    assert not Path("target").exists()


def test_the_part_that_was_named_is_rotated_and_no_other(strongroom, folder):
    """Before, it was always the one that is declared first."""
    rest = "  LOGIN: {key: two, field: username}\n  LOGIN_PASSWORD: {key: two, field: password}\n"
    Path("strongroom.yaml").write_text(SPEC + rest)
    strongroom("trust")
    strongroom("set", "two", stdin='{"username": "me", "password": "old"}')
    strongroom("rotate", "LOGIN_PASSWORD")
    data = json.loads(strongroom("get", "two").stdout)
    assert (data["username"], len(data["password"])) == ("me", 32)
    said = strongroom("rotate", "two", expected=2).stderr
    assert "'two' has several parts: LOGIN, LOGIN_PASSWORD; name the one to rotate" in said
    Path("strongroom.yaml").write_text(SPEC + rest.replace("password}", "password, rotate_days: 9}"))
    strongroom("trust")
    said = strongroom("rotate", "LOGIN", expected=2).stderr
    assert "replaces LOGIN_PASSWORD, and LOGIN is another part; rotate LOGIN_PASSWORD, or set LOGIN" in said
    strongroom("rotate", "two")
    assert json.loads(strongroom("get", "two").stdout)["username"] == "me"


def test_a_member_of_a_json_secret_is_rotated_alone(strongroom, folder):
    strongroom("rotate", "user")
    data = json.loads(strongroom("get", "user").stdout)
    assert (data["port"], data["login"]["user"]) == (5, "me")
    assert len(data["login"]["password"]) == 40
    assert data["login"]["password"] != "old-one-of-mine"


def test_status_is_a_table(strongroom, folder):
    lines = strongroom("rotate", "--status").stdout.splitlines()
    assert lines[0].split() == ["KEY", "AGE", "DUE", "STATE", "LAST", "ERROR"]
    assert lines[1].split() == ["database/password", "0m", "in", "29d", "current", "-"]
    assert lines[3].split() == ["not/there", "-", "-", "absent", "-"]
    rows = json.loads(strongroom("rotate", "--status", "--json").stdout)["secrets"]
    assert set(rows[0]) == {"key", "state", "version", "rotated_at", "due_at", "last_error"}
    assert set(rows[2]) == set(rows[0])


@pytest.fixture
def old(folder):
    """Make `database/password` a hundred days old."""

    def clock():
        return datetime.now(UTC) - timedelta(days=100)

    with FileSecretProvider("secrets.enc", key_file="app.key", clock=clock) as store:
        store.delete_secret("database/password")
        store.set_secret("database/password", "the-first-password")


def test_what_is_due_is_rotated_once(strongroom, folder, old):
    assert json.loads(strongroom("rotate", "--due", "--dry-run", "--json").stdout) == {
        "due": [{"key": "database/password", "action": "rotate"}]
    }
    assert "70d ago" in strongroom("rotate", "--status").stdout
    assert strongroom("check", "--json", expected=7).stdout.count('"due"') == 1
    done = json.loads(strongroom("rotate", "--due", "--json").stdout)
    assert done == {"rotations": [{"key": "database/password", "state": "current", "error": None}]}
    assert strongroom("get", "database/password").stdout == (folder / "target").read_text()
    assert json.loads(strongroom("rotate", "--due", "--json").stdout) == {"rotations": []}


def test_what_failed_when_it_was_due_waits_a_while(strongroom, folder, old):
    (folder / "fail-check").touch()
    done = strongroom("rotate", "--due", expected=1)
    assert done.stdout.splitlines()[1].split()[:2] == ["database/password", "applied"]
    assert "`strongroom rotate database/password --resume`" in done.stdout
    strongroom("rotate", "--due", expected=1)  # one that failed once is tried again at once
    (folder / "fail-check").unlink()
    assert json.loads(strongroom("rotate", "--due", "--dry-run", "--json").stdout) == {"due": []}
    for words in (["--due"], ["--due", "--dry-run"]):
        said = "nothing is due; failed before, and tried again later: database/password\n"
        assert strongroom("rotate", *words).stdout == said
    assert json.loads(strongroom("rotate", "--due", "--json").stdout) == {"rotations": []}
    assert strongroom("get", "database/password").stdout == "the-first-password"
    strongroom("rotate", "--resume", "database/password")
    assert strongroom("get", "database/password").stdout == (folder / "target").read_text()


def test_a_hook_that_vetoes_one_does_not_stop_the_others(strongroom, folder, monkeypatch, capfd):
    """It may raise anything, with a value in it."""
    Path("strongroom.yaml").write_text(SPEC.replace("field: login.password, rotate: {}", "rotate_days: 1"))

    def vetoing(name, method):
        def vetoed(rotation, key):
            if key == "database/password":
                raise RuntimeError("the-first-password")
            return method(rotation, key)

        monkeypatch.setattr(SecretRotation, name, vetoed)

    vetoing("rotate_if_due", SecretRotation.rotate_if_due)
    monkeypatch.setattr(SecretRotation, "due_step", lambda rotation, key: "rotate")
    assert main(["--json", "rotate", "--due"]) == 1
    found = {one["key"]: one for one in json.loads(capfd.readouterr().out)["rotations"]}
    assert found["database/password"]["error"] == "unexpected RuntimeError"
    assert (found["user"]["state"], found["user"]["error"]) == ("current", None)
    vetoing("status_of", SecretRotation.status_of)
    assert main(["--json", "rotate", "--status"]) == 0
    shown = {one["key"]: one for one in json.loads(capfd.readouterr().out)["secrets"]}
    assert (shown["database/password"]["state"], shown["user"]["state"]) == ("unknown", "current")
    assert shown["database/password"]["last_error"] == "unexpected RuntimeError"
    vetoing("due_step", SecretRotation.due_step)
    assert main(["rotate", "--due", "--dry-run"]) == 0
    assert "unknown: unexpected RuntimeError" in capfd.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--resume"],
        ["--due", "key"],
        ["key", "--dry-run"],
        ["key", "--status", "--stdin"],
        ["key", "--status", "--forget"],
    ],
)
def test_what_makes_no_sense_is_refused(strongroom, words):
    strongroom("rotate", *words, expected=2)


def test_two_that_ask_for_different_things_are_refused(capfd):
    """The last would win otherwise, and `--forget` drops what is kept."""
    modes = ["--due", "--status", "--resume", "--rollback", "--forget", "--rehearse"]
    for pair in itertools.permutations(modes, 2):
        assert main(["rotate", *pair]) == 2
        assert "different things" in capfd.readouterr().err


def test_what_is_not_there_is_told(strongroom, folder):
    strongroom("rotate", "none", expected=3)
    strongroom("rotate", "none", "--status", expected=3)
    strongroom("rotate", "a//b", expected=2)


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("rotate: {generator: {type: hex, length: 40}}", "has no option length"),
        ("rotate: {generator: {type: hax}}", "did you mean 'hex'?"),
        ("rotate: {comand: [x]}", "did you mean 'command'?"),
        ("rotate: {command: []}", "rotate.command"),
        ("rotate: {jitter: 2}", "rotate.jitter"),
        ("rotate: {generator: {kind: hex}}", "unknown key"),
    ],
)
def test_mistakes_in_the_spec_are_told_with_their_place(strongroom, member, expected):
    Path("strongroom.yaml").write_text(
        f"version: 1\npipelines: {{a: {{provider: {{type: memory}}}}}}\nsecrets:\n  A:\n    {member}\n"
    )
    done = strongroom("rotate", "--status", expected=2)
    assert expected in done.stderr
    assert "strongroom.yaml:5:" in done.stderr


def test_the_lock_of_the_spec_is_taken(strongroom, folder):
    Path("strongroom.yaml").write_text(
        "version: 1\npipelines: {a: {provider: {type: env, prefix: X_}}}\n"
        "rotation_lock: {type: file.cache, path: lock.db}\nsecrets: {A: {key: a, rotate: {}}}\n"
    )
    strongroom("rotate", "a", X_A="old-value-of-it", STRONGROOM_ENCRYPTION_KEY="k" * 30)
    assert Path("lock.db").exists()


def test_a_new_member_leaves_the_numbers_beside_it_as_they_are_written():
    whole = '{"a": "old", "n": 1.50, "l": [1e400, {"m": 3.14159265358979323846}], "t": true, "none": null, "u": "ü"}'
    assert with_member(whole, "k", "a", "new") == whole.replace("old", "new")
    assert with_member(whole, "k", "n", "2") == whole.replace("1.50", '"2"')
    assert with_member(whole, "k", "b", "x", add=True) == whole[:-1] + ', "b": "x"}'


def test_the_replaced_member_is_the_one_that_is_read():
    assert json.loads(with_member('{"a.b": 1, "a": {"b": 2}}', "k", "a.b", "new")) == {
        "a.b": "new",
        "a": {"b": 2},
    }
    assert json.loads(with_member('{"a": [{"b": 2}]}', "k", "a.0.b", "new")) == {"a": [{"b": "new"}]}
    with pytest.raises(ValidationError):
        with_member("no json", "k", "a", "new")


def test_with_nothing_due_it_says_so(strongroom, folder):
    for words in (["--due"], ["--due", "--dry-run"]):
        assert strongroom("rotate", *words).stdout == "nothing is due\n"
    assert json.loads(strongroom("--json", "rotate", "--due").stdout) == {"rotations": []}
    Path("strongroom.yaml").write_text(SPEC.partition("secrets:")[0])
    assert "declares no secret" in strongroom("rotate", "--status").stdout


def test_a_rotation_in_flight_is_shown_by_check_and_doctor(strongroom, folder):
    (folder / "fail-check").touch()
    strongroom("rotate", "database/password", expected=1)
    rows = json.loads(strongroom("--json", "check", expected=7).stdout)["secrets"]
    problems = {one["name"]: (one["status"], one["problem"]) for one in rows}
    assert problems["PASSWORD"][0] == "due"
    assert problems["PASSWORD"][1].startswith(
        "a rotation is in flight: applied; the last attempt failed: verify: "
    )
    assert problems["USER_PASSWORD"][0] == "ok"
    findings = json.loads(strongroom("--json", "doctor", expected=7).stdout)["findings"]
    (found,) = [one for one in findings if one["subject"].startswith("rotation of")]
    assert found["subject"] == "rotation of database/password"
    assert "--resume" in found["hint"]
    (folder / "fail-check").unlink()
    strongroom("rotate", "database/password", "--rollback")
    strongroom("check")
    strongroom("doctor")


def test_one_record_that_cannot_be_understood_hides_no_other_secret(strongroom, folder):
    with FileSecretProvider("secrets.enc", key_file="app.key") as store:
        store.set_secret("database/.rotation/password", "rubbish")
    status = json.loads(strongroom("--json", "rotate", "--status").stdout)["secrets"]
    assert [one["state"] for one in status] == ["unknown", "current", "absent"]
    assert "cannot be understood" in status[0]["last_error"]
    assert "database/password" in strongroom("rotate", "--due", "--dry-run").stdout
    strongroom("rotate", "--due", expected=1)
    assert "cannot be understood" in strongroom("check", expected=7).stdout
    findings = json.loads(strongroom("--json", "doctor", expected=7).stdout)["findings"]
    (found,) = [one for one in findings if one["subject"].startswith("rotation of")]
    assert "--forget" in found["hint"]
    assert "--resume" not in found["hint"]
    output = strongroom("rotate", "database/password", "--forget").stdout
    assert output.startswith("the record of database/password's rotation is dropped")
    assert strongroom("rotate", "database/password").stdout == "database/password has a new value\n"


@pytest.mark.parametrize("words", [["--status"], ["--due", "--dry-run"]], ids=" ".join)
def test_what_nobody_was_let_look_at_is_a_refusal(in_process, words):
    """The others are shown all the same; with the tenant nothing is wrong."""
    run = in_process(TENANTS)
    for more in (["--tenant", "acme", "set", "theirs"], ["set", "own/key"]):
        run(*more, "a value")
    code, out, err = run("rotate", *words)
    assert (code, "no tenant is active" in out, "own/key" in out) == (4, True, words == ["--status"])
    assert err.startswith("error: no tenant is active")
    assert "--tenant" in err
    assert json.loads(run("--json", "rotate", *words)[2])["error"]["type"] == "TenantContextError"
    assert run("--tenant", "acme", "rotate", *words)[0] == 0


TENANTS = """\
version: 1
pipelines:
  theirs: {provider: {type: file, file_path: theirs.enc, key_file: app.key}, middleware: [{type: tenant}]}
  own: {provider: {type: file, file_path: own.enc, key_file: app.key}}
default: theirs
routes: [{prefix: own/, pipeline: own}]
secrets:
  THEIRS: {key: theirs, rotate_days: 30}
  OWN: {key: own/key, rotate_days: 30}
"""


def test_the_last_words_of_a_program_are_told(strongroom, folder):
    Path("check").write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.exit('Traceback ' + 'x' * 5000 + ' FATAL: no such role')\n"
    )
    done = strongroom("rotate", "database/password", expected=1)
    assert "verify failed: " in done.stderr
    assert "check ended with exit code 1: …" in done.stderr
    assert "FATAL: no such role; readers get the old value" in done.stderr


# --- rotators ---


ROTATOR = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
secrets:
  TOKEN:
    key: service/token
    rotate_days: 30
    rotate:
      rotator: {type: http, url: "${env:HOOK_URL}", hmac_key: "${secret:app:hmac}"}
  LOGIN: {key: login, field: password, rotate: {rotator: {type: http, url: "${env:HOOK_URL}", hmac_key: "${secret:app:hmac}"}}}
"""


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook(strongroom, monkeypatch):
    """A service that takes steps; the spec's rotator posts to it."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    running.seen, running.status = [], 200
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Path("strongroom.yaml").write_text(ROTATOR)
    strongroom("--spec", "strongroom.yaml", "set", "service/token", stdin="the-first-token")
    strongroom("--spec", "strongroom.yaml", "set", "hmac", stdin="the key of hmac")
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{running.server_port}/")
    monkeypatch.setenv("STRONGROOM_SPEC", "strongroom.yaml")
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_rotator_takes_the_place_of_programs(strongroom, hook):
    assert strongroom("rotate", "TOKEN").stdout == "service/token has a new value\n"
    steps = [(one["step"], one["old"]) for one in hook.seen]
    assert steps == [("apply", "the-first-token"), ("verify", "the-first-token")]
    assert strongroom("get", "service/token").stdout.strip() == hook.seen[0]["new"]
    hook.status = 503
    refused = strongroom("rotate", "TOKEN", expected=1)
    assert "apply failed: http: apply at http://127.0.0.1:" in refused.stderr
    assert "status 503, refused" in refused.stderr
    hook.status = 200
    assert strongroom("rotate", "TOKEN", "--rollback").stdout == "service/token has its old value again\n"
    assert hook.seen[-1]["step"] == "rollback"


def test_a_member_is_rotated_and_the_others_stay(strongroom, hook):
    strongroom("set", "--key", "login", stdin='{"user": "me", "password": "the-old-one"}')
    strongroom("rotate", "LOGIN")
    new = json.loads(hook.seen[0]["new"])
    assert new["user"] == "me"
    assert len(new["password"]) == 32


def test_whoever_looks_needs_nothing_of_the_rotator(strongroom, hook, monkeypatch):
    monkeypatch.delenv("HOOK_URL")
    assert "in 29d" in strongroom("rotate", "--status").stdout
    strongroom("set", "--key", "login", stdin='{"password": "of-the-login"}')
    strongroom("check")
    explained = strongroom("explain", "TOKEN").stdout
    assert "rotated by  http  (strongroom.yaml:10:" in explained
    assert json.loads(strongroom("--json", "explain", "TOKEN").stdout)["rotator"] == "http"
    refused = strongroom("rotate", "TOKEN", expected=2)
    assert "HOOK_URL" in refused.stderr
    assert "in flight" not in strongroom("rotate", "--status").stdout


def test_a_rehearsal_needs_a_rotator_that_can(strongroom, hook):
    assert "has nothing to rehearse on" in strongroom("rotate", "TOKEN", "--rehearse", expected=2).stderr
    assert "only a rotator can rehearse" in strongroom("rotate", "hmac", "--rehearse", expected=2).stderr
    assert hook.seen == []
    assert "rehearse what?" in strongroom("rotate", "--rehearse", expected=2).stderr
