"""`strongroom get`, on the whole way and on the remembered one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import warm_command
from sampling import crossed

SPEC = """
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
    middleware: [{type: retry}]
"""


@pytest.fixture
def strongroom(tmp_path, monkeypatch, warm_strongroom):
    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text(SPEC)
    Path("strongroom.yaml").chmod(0o644)

    def run(*words, stdin=None, **environment):
        return warm_command.run(
            [warm_strongroom, *words],
            input=stdin,
            env={**os.environ, **environment},
        )

    assert run("set", "a/b", stdin="value").returncode == 0
    return run


def records():
    return sorted((Path.home() / ".cache" / "strongroom" / "specs").glob("*"))


def modules_of_a_get(*words):
    code = (
        "import sys; from strongroom.cli import main; main(sys.argv[1:]);"
        "print(' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "get", *words], check=False, capture_output=True, text=True
    )
    return done.stdout, set(done.stderr.split())


def test_the_second_call_needs_neither_yaml_nor_pydantic(strongroom):
    for record in records():
        record.unlink()
    assert "pydantic" in modules_of_a_get("a/b")[1]
    value, modules = modules_of_a_get("a/b")
    assert value == "value"
    assert not modules & {"yaml", "pydantic", "click", "strongroom.registry", "importlib.metadata"}
    (record,) = records()
    assert record.stat().st_mode & 0o777 == 0o600
    assert "value" not in record.read_text()
    assert Path("app.key").read_text().strip() not in record.read_text()


def test_another_spec_is_not_taken_for_the_remembered_one(strongroom):
    assert strongroom("get", "a/b").stdout == "value"
    Path("strongroom.yaml").write_text(SPEC.replace("secrets.enc", "other.enc"))
    assert strongroom("get", "a/b").returncode == 3
    Path("strongroom.yaml").write_text(SPEC.replace("file_path", "file_pth"))
    assert strongroom("get", "a/b").returncode == 2


def test_a_spec_that_others_may_write_is_refused_all_the_same(strongroom, monkeypatch):
    monkeypatch.delenv("STRONGROOM_TRUST_SPEC", raising=False)
    assert strongroom("get", "a/b").returncode == 0
    Path("strongroom.yaml").chmod(0o666)
    refused = strongroom("get", "a/b")
    assert refused.returncode == 2
    assert "everybody may write" in refused.stderr


def test_a_record_that_others_may_write_is_not_believed(strongroom, tmp_path):
    strongroom("get", "a/b")
    (record,) = records()
    record.write_text(record.read_text().replace("secrets.enc", "nowhere.enc"))
    record.chmod(0o666)
    assert strongroom("get", "a/b").stdout == "value"


def test_errors_are_those_of_the_whole_way(strongroom):
    strongroom("get", "a/b")
    absent = strongroom("get", "no/such")
    assert (absent.returncode, absent.stdout) == (3, "")
    assert strongroom("get", "/bad").returncode == 2
    assert strongroom("get", "a/.rotation/b").returncode == 2
    done = strongroom("get", "no/such", "--json")
    assert json.loads(done.stderr)["error"]["type"] == "SecretNotFoundError"


def test_a_variable_that_changed_is_told_as_on_the_whole_way(strongroom):
    Path("strongroom.yaml").write_text(
        SPEC.replace("key_file: app.key", 'key_file: app.key, timeout: "${env:SECONDS_OF_TEST}"')
    )
    assert strongroom("get", "a/b", SECONDS_OF_TEST="5").stdout == "value"
    for changed, words in (({}, "is not set"), ({"SECONDS_OF_TEST": "soon"}, "a number")):
        for command in (["get", "a/b"], ["run", "--", "true"]):
            refused = strongroom(*command, **changed)
            assert refused.returncode == 2
            assert words in refused.stderr
            assert "soon" not in refused.stderr


def test_json_and_fields_are_the_same_on_both_ways(strongroom):
    strongroom("set", "j", stdin='{"user": {"name": "amy"}}')
    expected = {"key": "j", "value": "amy", "pipeline": "app"}
    for _ in range(2):
        assert json.loads(strongroom("get", "j", "--field", "user.name", "--json").stdout) == expected


def test_what_middleware_and_hooks_do_is_done_on_the_remembered_way_too(strongroom):
    spec = SPEC.replace(
        "[{type: retry}]",
        "[{type: caching}, {type: validation, max_length: 9}]\n    hooks: [{type: audit, path: a.jsonl}]",
    )
    Path("strongroom.yaml").write_text(spec)
    for times in (1, 2):
        value, modules = (strongroom("get", "a/b").stdout, ()) if times == 1 else modules_of_a_get("a/b")
        assert value == "value"
        assert len(Path("a.jsonl").read_text().splitlines()) == times
    assert not {"pydantic", "yaml"} & modules
    Path("strongroom.yaml").write_text(spec.replace("9", "4"))
    for _ in range(2):
        assert strongroom("get", "a/b").returncode == 2


HOOKS = "\n    hooks: [{type: audit, path: a.jsonl}]"


CACHED = {
    "usual": ("ttl_seconds: 60, stale_if_error_seconds: 60", False),
    "longer": ("fetch_timeout_seconds: 90", False),
    "shorter": ("fetch_timeout_seconds: 5", True),
    "second-level": (
        "l2: {type: file.cache, path: cache.db}, encryption: {type: aes-gcm, key: 0123456789abcdef0123}",
        True,
    ),
    "without-end": ("fetch_timeout_seconds: null", False),
    "by-a-variable": ('fetch_timeout_seconds: "${env:WAIT_SECONDS:-90}"', True),
}


# On the whole way a cold start takes longest of all: one case in two looks at what it imports.
LOOKED_AT = ["both", "remembered"]


@pytest.mark.parametrize(
    ("case", "hooks", "looked_at"),
    crossed(
        list(CACHED),
        [pytest.param(HOOKS, id="with-hooks"), pytest.param("", id="plain")],
        LOOKED_AT,
    ),
)
def test_a_process_that_reads_once_has_a_cache_only_for_what_that_changes(strongroom, case, hooks, looked_at):
    options, loaded = CACHED[case]
    spec = SPEC.replace("[{type: retry}]", f"[{{type: caching, {options}}}]{hooks}")
    Path("strongroom.yaml").write_text(spec)
    for way in ("whole", "remembered"):
        if looked_at in {way, "both"}:
            value, modules = modules_of_a_get("a/b")
            assert ("strongroom.cache.secret_cache" in modules) == loaded
        else:
            value = strongroom("get", "a/b").stdout
        assert value == "value"
    if hooks and not loaded:
        (first, second) = map(json.loads, Path("a.jsonl").read_text().splitlines())
        assert (
            (first["source"], first["outcome"]) == (second["source"], second["outcome"]) == ("backend", "ok")
        )


def test_a_pipeline_from_which_options_come_keeps_its_cache(strongroom):
    assert strongroom("set", "ttl", stdin="60").returncode == 0
    other = (
        "other: {provider: {type: memory}, middleware: [{type: caching, ttl_seconds: '${secret:app:ttl}'}]}"
    )
    caching = "[{type: caching}, {type: validation, max_length: 9}]"
    Path("strongroom.yaml").write_text(f"{SPEC.replace('[{type: retry}]', caching)}  {other}\ndefault: app\n")
    for _ in range(2):
        value, modules = modules_of_a_get("a/b")
        assert (value, "strongroom.cache.secret_cache" in modules) == ("value", True)


def test_a_variable_of_a_cache_is_kept_from_the_program(strongroom):
    Path("strongroom.yaml").write_text(
        SPEC.replace("[{type: retry}]", f'[{{type: caching, ttl_seconds: "${{env:TTL}}"}}]{HOOKS}')
        + "secrets: {VALUE: {key: a/b}}\n"
    )
    for _ in range(2):
        done = strongroom("run", "--no-mask", "--", "sh", "-c", "echo $VALUE ${TTL-unset}", TTL="60")
        assert done.stdout == "value unset\n"


@pytest.mark.parametrize("hooks", ["", HOOKS], ids=["plain", "with-hooks"])
def test_a_cache_that_gives_up_early_does_so_in_each_call(tmp_path, monkeypatch, warm_strongroom, hooks):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = f'{{type: vault, url: "http://127.0.0.1:{silent.getsockname()[1]}", token: t, timeout: 50}}'
        caching = "[{type: caching, fetch_timeout_seconds: 0.1}]"
        Path("strongroom.yaml").write_text(
            f"version: 1\npipelines:\n  app:\n    provider: {backend}\n    middleware: {caching}{hooks}\n"
        )
        Path("strongroom.yaml").chmod(0o600)
        for _ in range(2):
            done = warm_command.run([warm_strongroom, "get", "a/b"])
            assert (done.returncode, done.stdout) == (5, "")
            assert "did not end within 0.1 s" in done.stderr


def test_settings_in_the_environment_take_the_whole_way(strongroom):
    strongroom("get", "a/b")
    refused = strongroom("get", "a/b", STRONGROOM_PROFILE="nope")
    assert refused.returncode == 2
    refused = strongroom("get", "a/b", STRONGROOM_PLUGINS="strongroom-memory")
    assert refused.returncode == 2
