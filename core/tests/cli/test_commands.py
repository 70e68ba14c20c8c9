"""What each command prints, how it ends, and that errors are a line each without a value."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from sampling import sample
from strongroom.cli import commands, main
from strongroom.cli.app import COMMANDS, module_of
from strongroom.plugins.known import KNOWN_TYPES

HOSTILE = "a'b\"c $HOME `id` \\ #x =é\tend"


def test_set_takes_stdin_an_argument_or_makes_a_value(strongroom):
    strongroom("set", "a", stdin="one\n")
    assert strongroom("get", "a").stdout == "one"
    strongroom("set", "a", "--raw", stdin="one\n")
    assert strongroom("get", "a").stdout == "one\n"
    assert not strongroom("set", "a", stdin="one\n").stderr.count("carriage")
    assert "ends with a carriage return" in strongroom("set", "a", stdin="one\r\n").stderr
    assert "carriage" not in strongroom("set", "a", "--raw", stdin="one\r\n").stderr
    warned = strongroom("set", "a", "two")
    assert warned.stderr.startswith("warning: ")
    assert "two" not in warned.stderr
    strongroom("set", "database/password", "--generate")
    assert len(strongroom("get", "database/password").stdout) == 24
    strongroom("set", "a", "three", "--generate", expected=2)


def test_each_command_is_in_the_module_of_its_name():
    folder = Path(commands.__file__).parent
    modules = {f"{commands.__name__}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}
    assert {module_of(name) for name in COMMANDS} == modules


def test_exit_codes_and_one_line_an_error(strongroom):
    for words, code in (
        (["get", "absent"], 3),
        (["get", "/bad"], 2),
        (["get", "a/.rotation/b"], 2),
        (["nonsense"], 2),
        (["get"], 2),
        (["--spec", "nowhere.yaml", "list"], 2),
        (["--profile", "nope", "list"], 2),
        (["--pipeline", "nope", "list"], 2),
        (["delete", "absent"], 3),
        (["history", "absent"], 3),
    ):
        output = strongroom(*words, expected=code).stderr
        assert output.count("\n") == 1, output
        assert output.startswith("error: "), output


def test_a_wrong_key_is_a_decryption_error(strongroom):
    strongroom("set", "a", stdin="value")
    Path("app.key").write_text(strongroom("keygen").stdout)
    assert "value" not in strongroom("get", "a", expected=6).stderr


def test_json_answers_and_errors_before_and_after_the_command(strongroom):
    strongroom("set", "a/b", stdin="value")
    for words in (["--json", "get", "a/b"], ["get", "a/b", "--json"]):
        assert json.loads(strongroom(*words).stdout) == {"key": "a/b", "value": "value", "pipeline": "app"}
    assert json.loads(strongroom("list", "--json").stdout) == {"keys": ["a/b"]}
    refused = strongroom("--json", "get", "absent", expected=3)
    assert refused.stdout == ""
    error = json.loads(refused.stderr)["error"]
    assert error["type"] == "SecretNotFoundError"
    assert set(error) == {"type", "message", "hint"}


def test_debug_shows_places_and_no_value(strongroom):
    output = strongroom("--debug", "set", "/bad", "hunter2-value", expected=2).stderr
    assert "Traceback" in output
    assert "hunter2-value" not in output


def test_list_delete_and_history(strongroom):
    for key in ("a/b", "a/c", "d"):
        strongroom("set", key, stdin="1")
    strongroom("set", "a/b", stdin="2")
    assert strongroom("list", "a/").stdout == "a/b\na/c\n"
    assert strongroom("list", "--tree").stdout == "├── a\n│   ├── b\n│   └── c\n└── d\n"
    versions = json.loads(strongroom("history", "a/b", "--json").stdout)["versions"]
    assert [one["state"] for one in versions] == ["current", "previous"]
    assert strongroom("get", "a/b", "--version", versions[1]["version"]).stdout == "1"
    done = strongroom("delete", "a/b", "nope", "d", expected=3)
    assert "nope" in done.stderr
    assert strongroom("list").stdout == "a/c\n"


def test_init_makes_spec_store_and_key_and_keeps_them_out_of_git(strongroom):
    Path("strongroom.yaml").unlink()
    Path(".env").write_text(f"A=value-of-a\nexport B='{HOSTILE.replace(chr(39), '')}'\nC=\n")
    Path(".gitignore").write_text("mine")
    strongroom("init", "--from", ".env")
    for name in ("secrets.enc", "app.key"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    ignored = Path(".gitignore").read_text().splitlines()
    assert ignored[0] == "mine"
    assert {"secrets.enc", "app.key"} <= set(ignored)
    assert "value-of-a" not in Path("strongroom.yaml").read_text()
    assert strongroom("list").stdout == "A\nB\nC\n"
    assert strongroom("get", "B").stdout == HOSTILE.replace("'", "")
    assert "already" in strongroom("init", expected=8).stderr
    strongroom("init", "--force")
    assert strongroom("get", "A").stdout == "value-of-a"
    assert Path(".gitignore").read_text().splitlines() == ignored


def test_init_refuses_a_broken_env_file_and_leaves_nothing(strongroom):
    Path("strongroom.yaml").unlink()
    Path(".env").write_text("GOOD=1\nhunter2-secret no assignment\n")
    output = strongroom("init", "--from", ".env", expected=2).stderr
    assert ".env:2" in output
    assert "hunter2" not in output
    assert sorted(os.listdir()) == [".env"]


def test_check_tells_fixes_and_ends_with_seven(strongroom):
    found = json.loads(strongroom("check", "--json", expected=7).stdout)
    assert found["ok"] is False
    assert [(one["name"], one["key"], one["status"]) for one in found["secrets"]] == [
        ("PASSWORD", "database/password", "missing"),
        ("PORT", "database/port", "ok"),
    ]
    strongroom("check", "--fix")
    assert len(strongroom("get", "database/password").stdout) == 24
    strongroom("set", "database/password", stdin="short")
    invalid = json.loads(strongroom("check", "--fix", "--json", expected=7).stdout)["secrets"][0]
    assert invalid["status"] == "invalid"
    assert "short" not in invalid["problem"]
    assert strongroom("get", "database/password").stdout == "short"
    assert "<failure" in strongroom("check", "--format", "junit", expected=7).stdout
    sarif = json.loads(strongroom("check", "--format", "sarif", expected=7).stdout)
    assert sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] == 9


def test_check_offline_asks_nobody_and_needs_no_variable(strongroom):
    spec = Path("strongroom.yaml")
    spec.write_text(spec.read_text() + "  X: {key: x}\n")
    spec.write_text(
        spec.read_text().replace(
            "{type: file, file_path: other.enc, key_file: app.key}", "{type: env, prefix: '${env:NOPE}'}"
        )
    )
    strongroom("check", "--offline")
    strongroom("check", expected=2)
    assert not Path("secrets.enc").exists()
    spec.write_text(spec.read_text().replace("type: port", "type: prt"))
    output = strongroom("check", "--offline", expected=2).stderr
    assert output.startswith("strongroom.yaml:10:36: secrets.PORT.type: ")
    assert "did you mean 'port'?" in output


def test_rotation_that_is_due(strongroom):
    spec = Path("strongroom.yaml")
    strongroom("set", "database/password", stdin="long enough")
    spec.write_text(spec.read_text().replace("generate: {length: 24}", "rotate_days: 1"))
    strongroom("check")
    from datetime import UTC, datetime, timedelta

    from strongroom import SecretProviderRegistry
    from strongroom.declarations.resolve import mark_due, resolve_all

    with SecretProviderRegistry() as registry:
        found = resolve_all(registry, registry.plan.secrets)
        late = mark_due(registry, found, datetime.now(UTC) + timedelta(days=2))
    assert [one.status for one in late.values()] == ["due", "ok"]


def test_explain_needs_neither_store_nor_variables(strongroom):
    report = json.loads(strongroom("explain", "database/password", "--json").stdout)
    assert (report["pipeline"], report["provider"], report["line"]) == ("app", "file", 4)
    assert not Path("secrets.enc").exists()
    strongroom("--pipeline", "other", "explain", "k")
    strongroom("explain", "/bad", expected=2)


def test_an_export_without_a_required_secret_ends_as_a_run_does(strongroom):
    for words in (["export", "--format", "env"], ["run", "--", "true"]):
        done = strongroom(*words, expected=3)
        assert "PASSWORD: missing" in done.stderr
        assert done.stdout == ""


def test_env_export_is_read_back_by_sh(strongroom):
    import subprocess

    strongroom("set", "database/password", stdin=HOSTILE + "\nsecond line")
    Path("out").write_text(strongroom("export", "--format", "env").stdout)
    shown = subprocess.run(["sh", "-c", '. ./out; printf %s "$PASSWORD"'], check=True, capture_output=True)
    assert shown.stdout.decode() == HOSTILE + "\nsecond line"


@pytest.mark.parametrize(
    "form", sample(["env", "fish", "json", "yaml", "docker", "dotenv", "github"], one_in=2)
)
def test_no_format_exports_a_declared_name_that_decides_which_code_runs(strongroom, form):
    with Path("strongroom.yaml").open("a") as spec:
        spec.write('  LD_PRELOAD: {key: a, default: "lib.so"}\n')
    refused = strongroom("export", "--format", form, expected=2)
    assert refused.stdout == ""
    assert "LD_PRELOAD" in refused.stderr


def test_json_yaml_docker_and_github_exports(strongroom):
    import yaml

    value = HOSTILE + "\nno: 0123"
    strongroom("set", "database/password", stdin=value)
    assert json.loads(strongroom("export", "--format", "json").stdout) == {"PASSWORD": value, "PORT": "5432"}
    assert yaml.safe_load(strongroom("export", "--format", "yaml").stdout) == {
        "PASSWORD": value,
        "PORT": "5432",
    }
    refused = strongroom("export", "--format", "docker", expected=2)
    assert refused.stdout == ""
    assert "second" not in refused.stderr
    name, rest = strongroom("export", "--format", "github").stdout.split("<<", 1)
    delimiter, rest = rest.split("\n", 1)
    assert (name, rest.split(f"\n{delimiter}\n")[0]) == ("PASSWORD", value)


@pytest.mark.parametrize("form", sample(["env", "fish", "docker", "dotenv", "github"], one_in=2))
def test_export_refuses_names_that_run_refuses(strongroom, form):
    """A key becomes no variable that decides which code runs, nor, undeclared, whom a program trusts."""
    strongroom("set", "ld/preload", stdin="value-of-it")
    strongroom("set", "https_proxy", stdin="value-of-it")
    for prefix, name in (("ld/preload", "LD_PRELOAD"), ("https_proxy", "HTTPS_PROXY")):
        done = strongroom("export", "--format", form, "--prefix", prefix, expected=2)
        assert name in done.stderr
        assert "value-of-it" not in done.stdout + done.stderr
    spec = Path("strongroom.yaml")
    declared = "{}  LD_PRELOAD: {{key: ld/preload}}\n  HTTPS_PROXY: {{key: https_proxy}}\n"
    spec.write_text(declared.format(spec.read_text().replace("min_length: 8, ", "required: false, ")))
    assert "LD_PRELOAD" in strongroom("export", "--format", form, expected=2).stderr
    done = strongroom("check", "--offline", expected=7).stdout
    assert "LD_PRELOAD" in done
    assert "HTTPS_PROXY" not in done


def test_github_export_masks_each_line_first(strongroom):
    """On stderr, which the runner reads too: stdout goes to the file of variables."""
    strongroom("set", "database/password", stdin="first 100%\nsecond line")
    done = strongroom("export", "--format", "github")
    assert done.stderr.splitlines() == ["::add-mask::first 100%25", "::add-mask::second line"]
    assert "add-mask" not in done.stdout


DOTENV = ["plain", "", " blanks ", 'with # and = and "', "it's", "a\nb", "$x `y` %", "\\n \\x", "ü"]


def test_dotenv_export_is_read_back_and_refuses_what_readers_take_differently():
    """By python-dotenv, which our own import uses too."""
    import io

    from dotenv import dotenv_values
    from strongroom.cli.formats.export import as_dotenv
    from strongroom.errors import StrongroomError

    values = {f"N{number}": value for number, value in enumerate(DOTENV)}
    assert dotenv_values(stream=io.StringIO(as_dotenv(values))) == values
    for bad in ("a${HOME}", "a\r\nb", "ends\\", "two\\\\of", 'it\'s "both"', "it's $x", "it's\nhere", "\0"):
        with pytest.raises(StrongroomError) as refused:
            as_dotenv({"N": bad})
        assert bad not in str(refused.value)


def test_env_export_for_programs_that_are_started(strongroom):
    """With --exported each assignment is exported; other formats know no such thing."""
    strongroom("set", "database/password", stdin="a\nB=c d'")
    Path("out").write_text(strongroom("export", "--format", "env", "--exported").stdout)
    seen = subprocess.run(
        ["sh", "-c", ". ./out; sh -c 'printf %s \"$PASSWORD\"'"], check=True, capture_output=True, text=True
    )
    assert seen.stdout == "a\nB=c d'"
    strongroom("export", "--format", "json", "--exported", expected=2)


def test_export_of_a_prefix_names_variables_and_refuses_twins(strongroom):
    for key in ("db/pass-word", "db/user"):
        strongroom("set", key, stdin=key)
    output = strongroom("export", "--format", "env", "--prefix", "db/").stdout
    assert output == "DB_PASS_WORD=db/pass-word\nDB_USER=db/user\n"
    assert json.loads(strongroom("export", "--format", "json", "--prefix", "db/").stdout) == {
        "db/pass-word": "db/pass-word",
        "db/user": "db/user",
    }
    strongroom("set", "db_user", stdin="1")
    strongroom("export", "--format", "env", "--prefix", "db", expected=2)


def test_import_puts_declared_names_to_their_keys(strongroom):
    Path("in.env").write_text("PASSWORD=long enough\nOTHER=1\n")
    strongroom("import", "in.env", "--prefix", "old/")
    assert strongroom("list").stdout == "database/password\nold/OTHER\n"
    strongroom("import", "in.env", "--prefix", "old/")
    Path("in.env").write_text("PASSWORD=another one\nNEW=1\n")
    conflict = strongroom("import", "in.env", expected=8)
    assert "another one" not in conflict.stderr + conflict.stdout
    assert strongroom("list").stdout == "database/password\nold/OTHER\n"
    strongroom("import", "in.env", "--overwrite")
    assert strongroom("get", "database/password").stdout == "another one"


def test_import_of_json_and_yaml_keeps_text_as_it_is(strongroom):
    Path("in.yaml").write_text("a: 0123\nb: no\nc: {d: on}\n")
    strongroom("import", "in.yaml")
    Path("in.json").write_text('{"e": "x", "f": 1.5, "g": true}')
    strongroom("import", "in.json")
    assert [strongroom("get", key).stdout for key in ("a", "b", "c/d", "e", "f", "g")] == [
        "0123", "no", "on", "x", "1.5", "true",
    ]  # fmt: skip
    Path("bad.json").write_text('{"a": hunter2}')
    assert "hunter2" not in strongroom("import", "bad.json", expected=2).stderr


def test_copy_verifies_before_it_deletes(strongroom):
    for number in range(3):
        strongroom("set", f"k/{number}", stdin=str(number))
    planned = json.loads(strongroom("copy", "app", "other", "--dry-run", "--json").stdout)
    assert planned == {"dry_run": True, "new": ["k/0", "k/1", "k/2"], "same": [], "other": []}
    assert strongroom("--pipeline", "other", "list").stdout == ""
    strongroom("--pipeline", "other", "set", "k/1", stdin="different")
    strongroom("copy", "app", "other", "--delete-source", expected=8)
    assert strongroom("list").stdout == "k/0\nk/1\nk/2\n"
    strongroom("copy", "app", "other", "--delete-source", "--overwrite")
    assert strongroom("list").stdout == ""
    assert strongroom("--pipeline", "other", "get", "k/1").stdout == "1"
    strongroom("copy", "other", "other", "--delete-source", expected=2)


@pytest.mark.parametrize(
    "twin", ["{provider: {type: file, file_path: one.enc, key_file: one.key}, middleware: [{type: caching}]}",
             "{fallback: {pipelines: [empty, app]}}"]
)  # fmt: skip
def test_copy_never_deletes_what_the_destination_reads_from_the_source(strongroom, tmp_path, twin):
    """Two pipelines on one store, and a fallback to the source: the value stays, the command refuses."""
    spec = tmp_path / "shared.yaml"
    spec.write_text(
        "version: 1\ndefault: app\npipelines:\n"
        "  app: {provider: {type: file, file_path: one.enc, key_file: one.key}}\n"
        "  empty: {provider: {type: memory}}\n"
        f"  twin: {twin}\n"
    )
    strongroom("--spec", str(spec), "set", "k", stdin="kept")
    strongroom("--spec", str(spec), "copy", "app", "twin", "--delete-source", expected=2)
    assert strongroom("--spec", str(spec), "get", "k").stdout == "kept"


def test_copy_deletes_only_what_is_still_what_was_copied(tmp_path, monkeypatch, capsys):
    """A value that was written behind a cache, or meanwhile, is kept, and the exit code says so."""
    from strongroom import SecretProviderRegistry
    from strongroom.backends import MemorySecretProvider
    from strongroom.cli import context, main
    from strongroom.middleware import CachingMiddleware

    class Busy(MemorySecretProvider):
        """Somebody writes `b` as soon as `a` is deleted, and takes `c` away."""

        def delete_secret(self, key):
            super().delete_secret(key)
            if key == "a":
                self.set_secret("b", "newest")
                super().delete_secret("c")

    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text("version: 1\npipelines: {x: {provider: {type: memory}}}\n")
    source, target = Busy(), MemorySecretProvider()
    registry = SecretProviderRegistry("strongroom.yaml")
    cached = CachingMiddleware(source)
    registry.register("src", cached)
    registry.register("dst", target)
    for key in "abcd":
        cached.set_secret(key, f"old {key}")
        assert cached.get_secret(key)
    source.set_secret("d", "written behind the cache")
    monkeypatch.setattr(context.GlobalOptions, "registry", lambda _settings, _pipelines: registry)
    assert main(["copy", "src", "dst", "--delete-source"]) == 8
    captured = capsys.readouterr()
    assert captured.out == "4 stored, 0 replaced, 0 were there already, 2 deleted from src\n"
    assert captured.err.count("is not deleted from src") == 2
    assert {key: source.get_secret(key) for key in source.list_secrets()} == {"b": "newest"}
    assert target.get_secret("d") == "written behind the cache"


def test_copy_touches_no_secret_to_find_a_shared_store(tmp_path, monkeypatch):
    """It writes a key of its own: a crash in between loses nothing."""
    from strongroom import SecretProviderRegistry
    from strongroom.backends import MemorySecretProvider
    from strongroom.cli import context, main

    written = []

    class Watched(MemorySecretProvider):
        def set_secret(self, key, value):
            written.append(key)
            super().set_secret(key, value)

        def delete_secret(self, key):
            written.append(key)
            super().delete_secret(key)

    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text("version: 1\npipelines: {x: {provider: {type: memory}}}\n")
    store = Watched()
    store.set_secret("app/k", "kept")
    written.clear()
    registry = SecretProviderRegistry("strongroom.yaml")
    registry.register("src", store)
    registry.register("dst", store)
    monkeypatch.setattr(context.GlobalOptions, "registry", lambda _settings, _pipelines: registry)
    assert main(["copy", "src", "dst", "--delete-source"]) == 2
    assert written
    assert all("/strongroom-probe-" in key for key in written)
    assert store.list_secrets() == ["app/k"]


def test_copy_goes_on_after_it_was_killed_while_its_probe_was_there(tmp_path, monkeypatch):
    from strongroom import SecretProviderRegistry
    from strongroom.backends import MemorySecretProvider
    from strongroom.cli import context, main

    class Killed(MemorySecretProvider):
        """Its process ends before the first thing is deleted."""

        def delete_secret(self, key):
            raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    Path("strongroom.yaml").write_text("version: 1\npipelines: {x: {provider: {type: memory}}}\n")
    source, target = Killed(), MemorySecretProvider()
    source.set_secrets({"app/k": "1", "app/strongroom-probe-mine": "2"})

    def registry(*_):
        made = SecretProviderRegistry("strongroom.yaml")
        made.register("src", source)
        made.register("dst", target)
        return made

    monkeypatch.setattr(context.GlobalOptions, "registry", registry)
    assert main(["copy", "src", "dst", "--delete-source"]) == 130
    assert len(source.list_secrets()) == 3
    source.__class__ = MemorySecretProvider
    assert main(["copy", "src", "dst"]) == 0
    assert main(["copy", "src", "dst", "--delete-source"]) == 0
    assert source.list_secrets() == []
    assert target.list_secrets() == ["app/k", "app/strongroom-probe-mine"]


def test_render_is_whole_private_and_sandboxed(strongroom):
    strongroom("set", "database/password", stdin="long enough")
    strongroom("set", "j", stdin='{"a": "<b>"}')
    Path("t").write_text('{{ secret("j", field="a") }} {{ PASSWORD }} {{ PORT + 1 }}\n')
    strongroom("render", "t", "-o", "out")
    assert Path("out").read_text() == "<b> long enough 5433\n"
    assert stat.S_IMODE(Path("out").stat().st_mode) == 0o600
    for bad, code in (
        ("{{ NOPE }}", 2),
        ("{{ ''.__class__.__mro__ }}", 2),
        ("{% for %}", 2),
        ("{{ secret('nope') }}", 3),
        ("{{ PASSWORD + 1 }}", 2),
        ("{{ {}[PASSWORD] }}", 2),
        ("{{ ('x'|attr(secret('database/password'))).y }}", 2),
        ("{{ {'nope': PASSWORD}.nope[PASSWORD].nope }}", 2),
    ):
        Path("t").write_text(bad)
        refused = strongroom("render", "t", "-o", "out", expected=code)
        assert "long enough" not in refused.stderr
    Path("t").write_text("{{ {}['mispelt'] }}")
    assert "no attribute 'mispelt'" in strongroom("render", "t", expected=2).stderr
    assert Path("out").read_text() == "<b> long enough 5433\n"
    assert not [name for name in os.listdir() if name.startswith(".out")]


def test_render_answers_as_json_too(in_process):
    """With the text, or with the file that has it."""
    run = in_process("{version: 1, pipelines: {app: {provider: {type: memory}}}, secrets: {A: {default: x}}}")
    Path("t").write_text("<{{ A }}>\n")
    assert json.loads(run("render", "t", "--json")[1]) == {"template": "t", "text": "<x>\n"}
    assert json.loads(run("--json", "render", "t", "-o", "-")[1]) == {"template": "t", "text": "<x>\n"}
    assert json.loads(run("--json", "render", "t", "-o", "f")[1]) == {"template": "t", "file": "f"}
    assert Path("f").read_text() == "<x>\n"
    assert run("render", "t", "-o", "f")[:2] == (0, "")


def test_what_is_not_an_ordinary_file_is_written_to_and_never_replaced(strongroom, tmp_path):
    """As root, a device that was replaced would be gone for everybody."""
    strongroom("set", "a", stdin="value")
    Path("t.j2").write_text('{{ secret("a") }}')
    for stdout in ("-", "/dev/stdout", "/dev/fd/1"):
        assert strongroom("render", "t.j2", "-o", stdout).stdout == "value"
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    strongroom("render", "t.j2", "-o", "pipe")
    assert os.read(reader, 100) == b"value"
    os.close(reader)
    assert Path("pipe").is_fifo()
    Path("target").write_text("old")
    Path("link").symlink_to("target")
    assert "is a symbolic link" in strongroom("render", "t.j2", "-o", "link", expected=2).stderr
    assert (Path("link").is_symlink(), Path("target").read_text()) == (True, "old")
    assert not Path("-").exists()
    shared = Path(f"/dev/shm/{tmp_path.name}-{os.getpid()}")
    if shared.parent.is_dir():
        for _ in range(2):
            strongroom("render", "t.j2", "-o", str(shared))
        assert shared.read_text() == "value"
        shared.unlink()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_template_keeps_its_line_ends(strongroom, end):
    strongroom("set", "a", stdin="value")
    Path("t.j2").write_bytes(b"x" + end + b'{{ secret("a") }}' + end)
    strongroom("render", "t.j2", "-o", "made")
    assert Path("made").read_bytes() == b"x" + end + b"value" + end


def test_backup_restore_and_rekey(strongroom):
    strongroom("set", "a", stdin="1")
    strongroom("backup", "copy.enc")
    assert stat.S_IMODE(Path("copy.enc").stat().st_mode) == 0o600
    strongroom("backup", "copy.enc", expected=8)
    strongroom("set", "a", stdin="2")
    strongroom("restore", "copy.enc")
    assert strongroom("get", "a").stdout == "1"
    before = Path("app.key").read_text()
    assert "pipelines.other.provider.key_file" in strongroom("rekey", expected=2).stderr
    strongroom("rekey", "--all")
    assert Path("app.key").read_text() != before
    assert [one.read_text() for one in Path().glob("app.key.old-*")] == [before]
    Path("app.key").chmod(0o644)
    warned = strongroom("get", "a").stderr
    assert warned.startswith("warning: ")
    assert "app.key: everybody may read it" in warned
    Path("app.key").chmod(0o600)
    assert strongroom("get", "a").stdout == "1"
    spec = Path("strongroom.yaml")
    spec.write_text(
        spec.read_text()
        .replace("default: app", "default: other")
        .replace("{type: file, file_path: other.enc, key_file: app.key}", "{type: memory}")
    )
    assert "memory has no backup" in strongroom("backup", "x", expected=2).stderr


def test_doctor_looks_at_keys_that_come_in_by_a_reference(strongroom):
    """Who may read the file is told wherever the key is for."""
    for name in ("app.key", "cipher.key", "older.key"):
        Path(name).touch(mode=0o600)
        Path(name).write_text(strongroom("keygen").stdout)
    Path("strongroom.yaml").write_text(
        "version: 1\npipelines:\n  app:\n"
        "    provider: {type: file, file_path: app.enc, encryption_key: '${file:app.key}'}\n"
        "    middleware: [{type: encryption, key: '${file:cipher.key}', older_keys: ['${file:older.key}']}]\n"
    )
    strongroom("doctor")
    for name in ("app.key", "cipher.key", "older.key"):
        Path(name).chmod(0o640)
        output = strongroom("doctor", expected=7).stdout
        assert "others may read" in output
        assert name in output
        Path(name).chmod(0o600)


def test_doctor_tells_what_is_wrong_and_what_to_do(strongroom):
    strongroom("set", "a", stdin="1")
    strongroom("doctor")
    Path("app.key").chmod(0o644)
    found = json.loads(strongroom("doctor", "--json", expected=7).stdout)
    assert found["ok"] is False
    assert any("chmod 600" in (one["hint"] or "") for one in found["findings"])


def test_a_graph_shows_a_prefix_whatever_signs_it_has(strongroom):
    with Path("strongroom.yaml").open("a") as file:
        file.write('routes: [{prefix: "a\\"]<b>&#;\\ufffe/", pipeline: app}]\n')
    (line,) = [line for line in strongroom("graph").stdout.splitlines() if "r0_0" in line]
    assert line == '  r0_0(["a#34;#93;#60;b#62;#38;#35;#59;#65534;/…"]) --> p0'
    from xml.etree import ElementTree as ET

    texts = ET.fromstring(strongroom("graph", "--format", "svg").stdout).itertext()
    assert any(text.startswith('a"]<b>&#;\ufffd/…') for text in texts)


def test_graph_keygen_completion_schema_and_plugins(strongroom):
    assert 'p0["app"] --> p0_0["file"]' in strongroom("graph").stdout
    from xml.etree import ElementTree as ET

    ET.fromstring(strongroom("graph", "--format", "svg").stdout)
    key = strongroom("keygen").stdout
    assert key.startswith("srk1_")
    assert key.count("\n") == 1
    for shell in ("bash", "zsh", "fish"):
        assert "strongroom" in strongroom("completion", shell).stdout
    assert json.loads(strongroom("schema").stdout)["title"] == "strongroom spec"
    rows = json.loads(strongroom("plugins", "--json").stdout)["plugins"]
    assert {"name", "kind", "distribution", "version", "error"} == set(rows[0])
    assert strongroom("--version").stdout.startswith("strongroom ")


def test_plugins_that_are_not_installed_are_named(monkeypatch, capsys):
    monkeypatch.setitem(KNOWN_TYPES["provider"], "acme", "strongroom-acme")
    assert main(["plugins"]) == 0
    assert "not installed: pip install strongroom-acme" in " ".join(capsys.readouterr().out.split())
    assert main(["plugins", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["available"] == [{"name": "acme", "kind": "provider", "distribution": "strongroom-acme"}]
    assert "acme" not in {row["name"] for row in report["plugins"]}


def test_plugins_that_are_shut_out_are_not_called_absent(monkeypatch, capsys):
    monkeypatch.setitem(KNOWN_TYPES["provider"], "acme", "strongroom-acme")
    monkeypatch.setenv("STRONGROOM_PLUGINS", "strongroom-memory")
    assert main(["plugins"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "file provider strongroom-file shut out by STRONGROOM_PLUGINS: add strongroom-file to it" in shown
    assert "not installed: pip install strongroom-acme" in shown
    assert "pip install strongroom-file" not in shown
    assert main(["plugins", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["available"] == [{"name": "acme", "kind": "provider", "distribution": "strongroom-acme"}]
    assert {"name": "file", "kind": "provider", "distribution": "strongroom-file"} in report["shut_out"]


def test_a_new_plugin_is_written_once_and_wants_a_name(strongroom):
    strongroom("plugins", "new", "acme")
    assert Path("strongroom-acme/pyproject.toml").is_file()
    strongroom("plugins", "new", "acme", expected=2)
    strongroom("plugins", "new", expected=2)


@pytest.mark.parametrize("shell", ["bash"])
def test_a_shell_completes_names_of_commands(strongroom, shell):
    output = strongroom(
        _STRONGROOM_COMPLETE=f"{shell}_complete", COMP_WORDS="strongroom ex", COMP_CWORD="1"
    ).stdout
    assert "plain,explain" in output
    assert "plain,export" in output


def test_a_tenant_is_named_before_the_command(strongroom):
    spec = Path("strongroom.yaml")
    spec.write_text(
        spec.read_text().replace(
            "key_file: app.key}\n  other", "key_file: app.key}\n    middleware: [{type: tenant}]\n  other"
        )
    )
    strongroom("--tenant", "one", "set", "a", stdin="1")
    assert strongroom("--tenant", "one", "get", "a").stdout == "1"
    assert strongroom("--tenant", "two", "list").stdout == ""
    assert "no tenant is active" in strongroom("get", "a", expected=4).stderr
    strongroom("--tenant", "no/t", "list", expected=2)
    output = strongroom("--tenant", "one", "--pipeline", "other", "list", expected=2).stderr
    assert "nothing in other keeps tenants apart" in output
    # Also for a read whose way is remembered, which needs no registry.
    strongroom("--pipeline", "other", "set", "a", stdin="1")
    for _ in range(2):
        assert strongroom("--pipeline", "other", "get", "a").stdout == "1"
    assert strongroom("--tenant", "one", "--pipeline", "other", "get", "a", expected=2).stdout == ""
    for words in (["explain", "a"], ["run", "--", "true"], ["run", "--", "true"]):
        output = strongroom("--tenant", "one", "--pipeline", "other", *words, expected=2).stderr
        assert "nothing in other keeps tenants apart" in output
    assert "before the command" in strongroom("list", "--tenant", "one", expected=2).stderr


@pytest.mark.parametrize(
    "words",
    [
        *(f"{one} shared".split() for one in ("get", "delete", "history", "edit", "rotate", "explain")),
        ["set", "shared", "mine"],
        ["mv", "shared", "other"],
        ["get", "shared", "SHARED"],
        ["get", "SHARED"],
        ["delete", "t/own", "shared"],
        ["rotate", "shared", "--status"],
        ["cache", "clear", "shared"],
        ["mv", "shared", "t/mine"],
        ["mv", "t/own", "of-all"],
        ["list", "sh"],
        ["export", "--format", "env", "--prefix", "sh"],
        ["import", "--overwrite", "new.json"],
    ],
)
def test_a_tenant_is_refused_for_a_key_that_belongs_to_all(strongroom, words):
    """Though other routes lead to tenants: the secret of all would be read, replaced or deleted."""
    Path("strongroom.yaml").write_text(
        "version: 1\npipelines:\n"
        "  app: {provider: {type: file, file_path: app.enc, key_file: app.key}}\n"
        "  own: {provider: {type: file, file_path: own.enc, key_file: app.key}, middleware: [{type: tenant}]}\n"
        "default: app\nroutes: [{prefix: t/, pipeline: own}]\n"
        'secrets: {SHARED: {key: shared}, OWN: {key: t/own}, BOTH: {compose: "{{ SHARED }}{{ OWN }}"}}\n'
    )
    strongroom("set", "shared", stdin="of all")
    strongroom("--tenant", "one", "set", "t/own", stdin="of one")
    Path("new.json").write_text('{"t/own": "new", "shared": "mine"}')
    assert "nothing in app keeps tenants apart" in strongroom("--tenant", "one", *words, expected=2).stderr
    assert strongroom("get", "shared").stdout == "of all"
    assert strongroom("--tenant", "one", "get", "t/own").stdout == "of one"
    assert strongroom("--tenant", "one", "get", "BOTH").stdout == "of allof one"
    assert (
        strongroom("--tenant", "one", "get", "t/own", "shared").stdout == "T_OWN='of one'\nSHARED='of all'\n"
    )
    assert strongroom("--tenant", "one", "list").stdout == "shared\nt/own\n"
    exported = strongroom("--tenant", "one", "export", "--format", "env", "--prefix", "").stdout
    assert exported == "SHARED='of all'\nT_OWN='of one'\n"


@pytest.mark.parametrize(
    "provider",
    [
        "{type: aws, region_name: eu-west-1}",
        pytest.param("{type: aws.parameters, region_name: eu-west-1}", marks=pytest.mark.torture),
        "{type: aws.sts, region_name: eu-west-1, roles: {a: 'arn:aws:iam::123456789012:role/a'}}",
        pytest.param("{type: vault, url: 'https://127.0.0.1:9', token: t}", marks=pytest.mark.torture),
        "{type: vault.leases, url: 'https://127.0.0.1:9', token: t}",
    ],
)
def test_a_tenant_is_refused_where_no_provider_of_ours_heeds_it(strongroom, provider):
    """A type with a dot passed for a stranger's, which may ask for the tenant."""
    Path("strongroom.yaml").write_text(f"version: 1\npipelines:\n  app:\n    provider: {provider}\n")
    output = strongroom("--tenant", "one", "get", "a", expected=2).stderr
    assert "nothing in app keeps tenants apart" in output


def test_pipes_and_standard_input_are_read_like_files(strongroom, warm_strongroom):
    """`import` takes `-`, /dev/stdin and a FIFO; `render` and `init --from` take a FIFO too, each to its end."""
    for number, name in enumerate(("-", "/dev/stdin")):
        strongroom("import", name, stdin=f"N{number}=from standard input\n")
        assert strongroom("get", f"N{number}").stdout == "from standard input"
    os.mkfifo("pipe")
    for words, text, expected in (
        (["import", "pipe"], "FIFO=from a pipe\n", "1 stored"),
        (["render", "pipe"], "{{ secret('FIFO') }}\n", "from a pipe"),
        (["--spec", "new/strongroom.yaml", "init", "--from", "pipe"], "A=of a pipe\n", "wrote"),
    ):
        Path("new").mkdir(exist_ok=True)
        with subprocess.Popen([warm_strongroom, *words], stdout=subprocess.PIPE, text=True) as reader:
            Path("pipe").write_text(text)
            assert expected in reader.communicate(timeout=300)[0]
        assert reader.returncode == 0


def test_a_file_that_is_mounted_by_itself_is_named(tmp_path, monkeypatch):
    """As in a container: what fails is not a temporary file that nobody knows."""
    from strongroom.cli.actions import render as rendering
    from strongroom.cli.errors import UsageError
    from strongroom.paths import atomic_write

    def busy(*_):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(tmp_path / ".out.12345"))

    monkeypatch.setattr(atomic_write, "write_atomically", busy)
    with pytest.raises(UsageError, match="out cannot be replaced: something is mounted on it") as caught:
        rendering._write(tmp_path / "out", b"value")
    assert caught.value.__context__ is None
