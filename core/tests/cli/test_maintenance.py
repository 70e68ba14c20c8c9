"""`rekey`, `backup` and `restore`: what else uses the key, and what a pipeline's hooks and middleware say to it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry, TenantContext, generate_key, verify_audit_log
from strongroom.audit.verify import verify_pieces
from strongroom.cli.app import run_app
from strongroom.encryption import keyfiles
from strongroom.errors import ConfigurationError, DecryptionError, RotationError, StrongroomError
from strongroom.registry import rekey
from strongroom.rotation import SecretRotation
from strongroom.spec import key_uses
from strongroom.spec.locate import own_store
from strongroom_file import FileSecretProvider
from strongroom_file.key_source import FileKey
from strongroom_file.maintenance.rekey import _Rekeying

SHARED = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: app.enc, key_file: ./app.key}
  second:
    provider: {type: file, file_path: second.enc, key_file: app.key}
  sealed:
    provider: {type: file, file_path: sealed.enc, key_file: other.key}
    middleware: [{type: encryption, key: "${file:./app.key}"}]
  given:
    provider: {type: file, file_path: given.enc, encryption_key: "${file:./app.key}"}
default: app
hooks:
  - {type: audit, path: audit.jsonl, key_file: app.key}
profiles:
  staging: {pipelines: {app: {provider: {file_path: staging.enc}}, sealed: {provider: {file_path: sealed-staging.enc}}}}
"""
VALUES = [
    (None, "app", "of app"),
    (None, "second", "of second"),
    (None, "sealed", "of sealed"),
    (None, "given", "of given"),
    ("staging", "app", "of staging"),
    ("staging", "sealed", "of sealed staging"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRONGROOM_REASON", raising=False)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Return a function that runs `strongroom` with words in this process."""

    def command(*words, expected=0):
        capsys.readouterr()
        code = run_app(words)
        done = capsys.readouterr()
        assert code == expected, done
        return done.out + done.err

    return command


def spec(text):
    Path("strongroom.yaml").write_text(text)


def written(profile, pipeline, key, value):
    with SecretProviderRegistry("strongroom.yaml", profile=profile, pipeline=pipeline) as registry:
        registry.set_secret(key, value)


def read(profile, pipeline, key="db"):
    with SecretProviderRegistry("strongroom.yaml", profile=profile, pipeline=pipeline) as registry:
        return registry.get_secret(key)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Return a folder with six stores and an audit log, of which each test gets a copy."""
    folder = tmp_path_factory.mktemp("filled")
    keyfiles.place(folder / "app.key", f"{generate_key()}\n".encode())
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        spec(SHARED)
        for profile, pipeline, value in VALUES:
            written(profile, pipeline, "db", value)
    return folder


@pytest.fixture
def shared(folder, filled):
    """Six stores and an audit log that share a key file, each with a value."""
    for one in filled.iterdir():
        shutil.copy2(one, folder)
    return folder


def all_read():
    return [read(profile, pipeline) for profile, pipeline, _ in VALUES]


EXPECTED = [value for *_, value in VALUES]


# --- a key that others use ---


def test_rekey_refuses_where_the_key_is_used_elsewhere(shared, run):
    """It names every place, in all profiles, and changes nothing."""
    before = Path("app.key").read_bytes()
    output = run("rekey", expected=2)
    for place in (
        "pipelines.second.provider.key_file (strongroom.yaml:6:",
        "pipelines.sealed.middleware[0].key",
        "pipelines.given.provider.encryption_key",
        "hooks[0].key_file",
        "profile staging: pipelines.app.provider.key_file",
        "profile staging: pipelines.sealed.middleware[0].key",
        "--all",
    ):
        assert place in output
    assert "pipelines.app.provider.key_file (strongroom.yaml:4" not in output.replace(
        "staging: pipelines.app.provider.key_file (strongroom.yaml:4", ""
    )
    assert Path("app.key").read_bytes() == before
    assert all_read() == EXPECTED
    assert not list(shared.glob("app.key.*"))


FALLBACK = """\
version: 1
pipelines:
  app: {provider: {type: file, file_path: app.enc, key_file: app.key}}
  second: {provider: {type: file, file_path: second.enc, key_file: app.key}}
  inner: {fallback: {pipelines: [app, second]}}
  outer: {fallback: {pipelines: [inner, second]}}
"""


@pytest.mark.parametrize("pipeline", ["inner", "outer"])
def test_rekey_of_a_fallback_refuses_as_that_of_its_first_member(folder, run, pipeline):
    spec(f"{FALLBACK}default: {pipeline}\n")
    stored = [(None, "app", "of app"), (None, "second", "of second")]
    for profile, name, value in stored:
        written(profile, name, "key", value)
    assert "also used by pipelines.second.provider.key_file" in run("rekey", expected=2)
    assert "pipelines.second.provider.key_file" in run("rekey", "--all")
    with SecretProviderRegistry("strongroom.yaml") as registry:
        assert [registry.pipeline(name).get_secret("key") for _, name, _ in stored] == ["of app", "of second"]


def test_the_key_file_of_a_store_on_a_server_has_other_uses_too(folder):
    """Two pipelines and a profile that name the same server, whatever is around it, are one store."""
    server = '{type: postgresql, url: "postgresql://db/app", key_file: app.key'
    spec(
        f"version: 1\npipelines:\n  app: {{provider: {server}}}}}\n"
        f"  again: {{provider: {server}, older_keys: [old-passphrase]}}, middleware: [{{type: read-only}}]}}\n"
        "profiles: {ci: {pipelines: {app: {middleware: [{type: retry}]}}}}\n"
    )
    own = key_uses.own_store("strongroom.yaml", None, "app")
    rekey.refuse_other_uses(own, key_uses.key_uses("strongroom.yaml", own.key_file))
    with Path("strongroom.yaml").open("a") as file:
        file.write("hooks: [{type: audit, path: audit.jsonl, key_file: app.key}]\n")
    with pytest.raises(ConfigurationError, match=r"also used by hooks\[0\]\.key_file"):
        rekey.refuse_other_uses(own, key_uses.key_uses("strongroom.yaml", own.key_file))


def test_rekey_all_does_them_all(shared, run):
    """Every store, every value, the log: all are under the new key, and the old one is kept."""
    before = Path("app.key").read_bytes()
    output = run("--json", "rekey", "--all")
    assert "pipelines.sealed.middleware[0].key" in output
    told = json.loads(output)
    assert sorted(told["old_keys"]) == sorted(str(one) for one in shared.glob("app.key.old-*"))
    assert len(told["old_keys"]) > 1
    assert told["old_key"] == told["old_keys"][0]
    assert Path("app.key").read_bytes() != before
    assert all_read() == EXPECTED
    old = sorted(shared.glob("app.key.old-*"))
    assert old
    assert all(one.read_bytes() == before and one.stat().st_mode & 0o777 == 0o600 for one in old)
    assert not keyfiles.next_for_all(Path("app.key")).exists()
    # Nothing is readable with the old key any more.
    Path("app.key").write_bytes(before)
    spec(SHARED.replace("  - {type: audit", "  [] #"))
    for profile, pipeline, _ in VALUES:
        with pytest.raises(DecryptionError):
            read(profile, pipeline)


ALONE = "version: 1\npipelines: {app: {provider: {type: file, file_path: app.enc, key_file: app.key}}}\n"


@pytest.mark.parametrize("words", [["rekey"], ["rekey", "--all"]])
@pytest.mark.parametrize(
    "text",
    ["x" * 5000, "x" * keyfiles.MAX_BYTES, "a passphrase\r\r\n", "a passphrase\n\n", SHARED],
    ids=["long", "longest", "returns", "lines", "spec"],
)
def test_rekey_takes_no_key_that_a_key_file_cannot_hold(folder, run, words, text):
    """Nothing could be read afterwards; nor does it take a log, a program or the spec for a key."""
    spec(ALONE)
    written(None, "app", "db", "value")
    keyfiles.place(Path("new.key"), text.encode())
    before = Path("app.key").read_bytes()
    assert "make one with" in run(*words, "--new-key-file", "new.key", expected=2)
    assert Path("app.key").read_bytes() == before
    assert not list(folder.glob("app.key.*"))
    assert read(None, "app") == "value"


@pytest.mark.parametrize("words", [["rekey"], ["rekey", "--all"]])
def test_rekey_warns_if_the_new_key_is_the_old_one(folder, run, words):
    """Anyone who had it still has it."""
    spec(ALONE)
    written(None, "app", "db", "value")
    shutil.copy("app.key", "new.key")
    assert "new.key holds the key that was in use before" in run(*words, "--new-key-file", "new.key")
    Path("new.key").unlink()
    assert "in use before" not in run(*words, "--new-key-file", "new.key")
    assert read(None, "app") == "value"


def test_rekey_all_changes_nothing_while_a_rotation_has_staged_a_version(shared, run):
    """Else programs with the old key could not read the others until that rotation is ended."""

    def fail(*_):
        raise RuntimeError("the target is down")

    before = Path("app.key").read_bytes()
    with SecretProviderRegistry("strongroom.yaml", pipeline="sealed") as registry:
        with pytest.raises(RotationError):
            SecretRotation(registry, apply=fail).rotate("db", "newer")
        assert "has staged a version of 'db'" in run("rekey", "--all", expected=8)
        assert Path("app.key").read_bytes() == before
        assert not list(shared.glob("app.key.*"))
        assert all_read() == EXPECTED
        SecretRotation(registry).rollback("db")
    run("rekey", "--all")
    assert all_read() == EXPECTED


@pytest.mark.parametrize("damaged", ["second", "given"])
def test_rekey_all_keeps_the_key_of_a_damaged_store(shared, run, damaged):
    """Else nothing of that store could be read any more; nor are others put under a key of theirs alone."""
    before = Path("app.key").read_bytes()
    run("--pipeline", damaged, "backup", "whole.enc")
    with closing(sqlite3.connect(f"{damaged}.enc", isolation_level=None)) as connection:
        connection.execute("UPDATE value SET body = zeroblob(length(body))")
    told = run("rekey", "--all", expected=6)
    assert f"the store of pipelines.{damaged}.provider" in told
    assert "(1 problems in all); restore a backup of it" in told
    assert Path("app.key").read_bytes() == before
    assert not list(shared.glob("app.key.*"))
    for (profile, pipeline, _), value in zip(VALUES, EXPECTED, strict=True):
        if pipeline != damaged:
            assert read(profile, pipeline) == value
    run("--pipeline", damaged, "restore", "whole.enc")
    assert all_read() == EXPECTED
    run("rekey", "--all")
    assert Path("app.key").read_bytes() != before
    assert all_read() == EXPECTED


@pytest.mark.parametrize("foreign", ["second", "given"])
def test_rekey_all_changes_nothing_where_a_store_is_under_another_key(shared, run, foreign):
    before = Path("app.key").read_bytes()
    Path(f"{foreign}.enc").unlink()
    with FileSecretProvider(f"{foreign}.enc", generate_key()) as store:
        store.set_secret("db", "x")
    assert f"wrong key for {shared / foreign}.enc" in run("rekey", "--all", expected=6)
    assert Path("app.key").read_bytes() == before
    assert not list(shared.glob("app.key.*"))


def test_rekey_all_changes_nothing_where_a_value_does_not_decrypt(shared, run):
    before = Path("app.key").read_bytes()
    with FileSecretProvider("sealed.enc", key_file="other.key") as store:
        token = store.get_secret("db")
        store.set_secret("zz", token)  # the token of another key
    assert "'zz': the value cannot be decrypted" in run("rekey", "--all", expected=6)
    assert Path("app.key").read_bytes() == before
    assert not list(shared.glob("app.key.*"))
    assert all_read() == EXPECTED


def test_rekey_all_goes_on_past_no_damage_that_comes_meanwhile(shared, run, monkeypatch):
    before = Path("app.key").read_bytes()
    monkeypatch.setattr(rekey, "_refuse_damaged", lambda *_: None)
    with closing(sqlite3.connect("second.enc", isolation_level=None)) as connection:
        connection.execute("UPDATE value SET body = zeroblob(length(body))")
    assert "second.enc was changed" in run("rekey", "--all", expected=6)
    assert Path("app.key").read_bytes() == before


@pytest.mark.parametrize("step", ["run", "replace"])
def test_rekey_all_goes_on_with_the_key_of_an_interrupted_rekey_of_one_store(shared, run, monkeypatch, step):
    """Before that store is under the new key, which no read of it ends, or after."""
    with FileSecretProvider("second.enc", key_file="app.key") as store, monkeypatch.context() as patched:
        patched.setattr(_Rekeying if step == "run" else FileKey, step, crashing)
        with pytest.raises(Crash):
            store.rekey()
    assert keyfiles.next_key_file(Path("app.key")).exists()
    Path("new.key").write_text(generate_key())
    Path("new.key").chmod(0o600)
    assert "has another new key" in run("rekey", "--all", "--new-key-file", "new.key", expected=8)
    run("rekey", "--all")
    assert all_read() == EXPECTED
    assert not [one for one in shared.glob("app.key.*") if ".old-" not in one.name]


@pytest.mark.parametrize("named", ["first", "second"])
def test_an_interrupted_rekey_of_a_store_that_others_read_their_key_from(folder, run, monkeypatch, named):
    """That read must not put the next key into the key file, or all others would be lost to `rekey --all`."""
    spec("""\
version: 1
pipelines:
  first: {provider: {type: file, file_path: first.enc, key_file: app.key}}
  second:
    provider: {type: file, file_path: second.enc, key_file: app.key}
    middleware: [{type: encryption, key: "${secret:first:key}"}, {type: encryption, key: "${file:app.key}"}]
""")
    written(None, "first", "key", generate_key())
    written(None, "second", "db", "of second")
    with FileSecretProvider("first.enc", key_file="app.key") as store, monkeypatch.context() as patched:
        patched.setattr(FileKey, "replace", crashing)
        with pytest.raises(Crash):
            store.rekey()
    run("--pipeline", named, "rekey", "--all")
    assert read(None, "second") == "of second"


@pytest.mark.parametrize("key", ["key_file: app.key", 'encryption_key: "${file:./app.key}"'])
def test_rekey_all_is_finished_where_store_and_cipher_have_one_key(folder, run, monkeypatch, key):
    """A crash right before the key file is replaced leaves both under the next key."""
    keyfiles.place(folder / "app.key", f"{generate_key()}\n".encode())
    spec(
        f"version: 1\npipelines:\n  app:\n    provider: {{type: file, file_path: a.enc, {key}}}\n"
        '    middleware: [{type: encryption, key: "${file:./app.key}"}]\n'
    )
    written(None, "app", "db", "of app")
    with monkeypatch.context() as patched:
        patched.setattr(keyfiles, "replace", crashing)
        run("rekey", "--all", expected=1)
    run("rekey", "--all")
    assert read(None, "app") == "of app"
    assert not keyfiles.next_for_all(Path("app.key")).exists()


def test_the_audit_log_begins_anew_and_both_verify(shared, run):
    assert "audit.jsonl.old-" in run("rekey", "--all")
    (aside,) = (one for one in shared.glob("audit.jsonl.old-*") if one.suffix != ".head")
    (old, *_) = sorted(shared.glob("app.key.old-*"))
    report = verify_audit_log(aside, key_file=old)
    assert (report.ok, report.anchored) == (True, True)
    assert b'"operation":"rekey"' in aside.read_bytes()
    read(None, "app")
    (name, report) = verify_pieces("audit.jsonl", key_file="app.key")[-1]
    assert (name, report.ok, report.anchored, report.first) == (str(shared / "audit.jsonl"), True, True, 1)


def test_a_second_rekey_all_and_one_with_a_given_key(shared, run):
    run("rekey", "--all")
    keyfiles.place(Path("new.key"), f"{generate_key()}\n".encode())
    run("rekey", "--all", "--new-key-file", "new.key")
    assert Path("app.key").read_bytes() == Path("new.key").read_bytes()
    assert all_read() == EXPECTED
    assert len({one.read_bytes() for one in shared.glob("app.key.old-*")}) == 2


@pytest.mark.parametrize("path", [".", "/", "second.enc/new.key"])
@pytest.mark.parametrize("words", [["rekey"], ["rekey", "--all"]])
def test_a_path_that_no_key_can_have_is_a_wrong_call(shared, run, path, words):
    run("--pipeline", "app", *words, "--new-key-file", path, expected=2)
    assert not list(shared.glob("app.key.*"))
    assert all_read() == EXPECTED


class Crash(BaseException):
    """Stands for the end of the process."""


def crashing(*_, **__):
    raise Crash


STEPS = [
    pytest.param(
        step, nth, after, marks=[pytest.mark.torture] if nth > 1 or (after and step != "rekey") else []
    )
    for step, times in {
        "place": 2,
        "keep_old": 2,
        "rekey": 4,
        "change_cipher": 2,
        "rekey_keys": 2,
        "moved_aside": 1,
        "replace": 1,
    }.items()
    for nth in range(1, times + 1)
    for after in (False, True)
    if not (after and step in {"moved_aside", "replace"})
]


@pytest.mark.parametrize(("step", "nth", "after"), STEPS)
def test_a_crash_at_any_step_of_rekey_all(shared, run, monkeypatch, step, nth, after):
    """The nth time that a step is made, before or after it: everything opens by the old key or the new one."""
    from strongroom.middleware import EncryptionMiddleware
    from strongroom_file import FileSecretProvider
    from strongroom_file import provider as file_provider

    homes = {
        "place": [(keyfiles, "place")],
        "keep_old": [(keyfiles, "keep_old"), (file_provider, "keep_old")],
        "rekey": [(FileSecretProvider, "rekey")],
        "change_cipher": [(EncryptionMiddleware, "change_cipher")],
        "rekey_keys": [(EncryptionMiddleware, "rekey_keys")],
        "moved_aside": [(rekey, "moved_aside")],
        "replace": [(keyfiles, "replace")],
    }
    calls = []

    def crashing(real, *, after):
        def made(*args, **kwargs):
            calls.append(1)
            if len(calls) == nth:
                if after:
                    real(*args, **kwargs)
                raise Crash
            return real(*args, **kwargs)

        return made

    old = Path("app.key").read_bytes()
    with monkeypatch.context() as patched:
        for home, name in homes[step]:
            patched.setattr(home, name, crashing(getattr(home, name), after=after))
        assert run_app(["rekey", "--all"]) == 1
    keys = {one.read_bytes() for one in shared.glob("app.key*")}
    assert old in keys
    for profile, pipeline, value in VALUES:
        found = set()
        current = Path("app.key").read_bytes()
        for key in keys:
            Path("app.key").write_bytes(key)
            try:
                spec(SHARED.replace("  - {type: audit", "  [] #"))
                found.add(read(profile, pipeline))
            except StrongroomError:
                pass
        Path("app.key").write_bytes(current)
        assert found == {value}, (profile, pipeline)
    spec(SHARED)
    run("rekey", "--all")
    assert all_read() == EXPECTED
    assert verify_audit_log("audit.jsonl", key_file="app.key").ok
    aside = min(one for one in shared.glob("audit.jsonl.old-*") if one.suffix != ".head")
    old_key = next(one for one in shared.glob("app.key.old-*") if one.read_bytes() == old)
    assert all(report.ok for _, report in verify_pieces(aside, key_file=old_key))


def test_what_cannot_be_put_under_another_key(shared, run):
    """It is refused before anything is done."""
    spec(SHARED.replace("path: audit.jsonl, key_file: app.key", 'path: b.jsonl, key: "${file:app.key}"'))
    assert "hooks[0].key" in run("rekey", "--all", expected=2)
    spec(SHARED + "  other: {pipelines: {second: {provider: {type: env, prefix: '${file:app.key}'}}}}\n")
    run("rekey", "--all", expected=2)
    assert not list(shared.glob("app.key.*"))
    spec("version: 1\npipelines: {app: {provider: {type: memory}}}\n")
    assert "not in a file" in run("rekey", "--all", expected=2)
    assert "ask for different things" in run("rekey", "--all", "--values", expected=2)


def test_a_link_is_not_replaced(shared, run):
    Path("real.key").write_bytes(Path("app.key").read_bytes())
    Path("real.key").chmod(0o600)
    Path("app.key").unlink()
    Path("app.key").symlink_to("real.key")
    assert str(shared / "real.key") in run("rekey", "--all", expected=2)
    spec("version: 1\npipelines: {app: {provider: {type: file, file_path: app.enc, key_file: app.key}}}\n")
    assert str(shared / "real.key") in run("rekey", expected=2)
    assert Path("app.key").is_symlink()


@pytest.mark.parametrize("taken", ["second.enc", "audit.jsonl", "strongroom.yaml", "link.enc", "staging.enc"])
def test_a_backup_replaces_no_file_of_its_spec(shared, run, taken):
    """Such as the store of another pipeline, which would be lost."""
    os.link("second.enc", "link.enc")
    before = Path(taken).read_bytes()
    assert "name another file" in run("backup", taken, "--overwrite", expected=2)
    assert Path(taken).read_bytes() == before
    Path("old.backup").write_bytes(b"an older one")
    run("backup", "old.backup", "--overwrite")
    assert all_read() == EXPECTED


@pytest.mark.parametrize(
    "taken",
    [
        "second.enc",
        "audit.jsonl",
        "audit.jsonl.head",
        "app.key",
        "strongroom.yaml",
        "link.key",
        "another.enc",
        "app.key.next",
        "app.key.old-1",
        "template",
    ],
)
def test_render_replaces_no_file_of_its_spec(shared, run, taken):
    """Nor a store of another spec; a file that it wrote before is replaced."""
    Path("template").write_text("text")
    os.link("app.key", "link.key")
    shutil.copy("second.enc", "another.enc")
    for name in ("app.key.next", "app.key.old-1"):
        shutil.copy("app.key", name)
    before = Path(taken).read_bytes()
    assert "name another file" in run("render", "template", "-o", taken, expected=2)
    assert Path(taken).read_bytes() == before
    for _ in range(2):
        run("render", "template", "-o", "rendered")
    for name in ("app.key.next", "app.key.old-1"):
        Path(name).unlink()
    assert all_read() == EXPECTED


def test_render_replaces_nothing_of_the_own_store(folder, run, monkeypatch):
    """Without a spec, too."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(folder / "home"))
    store, key = own_store()
    run("set", "key", "value")
    Path("template").write_text("text")
    for taken in (store, key):
        before = Path(taken).read_bytes()
        assert "never replaces" in run("render", "template", "-o", taken, expected=2)
        assert Path(taken).read_bytes() == before


@pytest.mark.parametrize("taken", ["app.enc", "app.key", "app.fernet", "secrets.enc"])
def test_init_replaces_no_store_and_no_key(shared, run, taken):
    """Whatever --force says."""
    Path("app.fernet").write_text(base64.urlsafe_b64encode(bytes(32)).decode() + "\n")
    before = Path(taken).read_bytes() if Path(taken).exists() else None
    assert "name another file" in run("--spec", taken, "init", "--force", expected=2)
    assert (Path(taken).read_bytes() if Path(taken).exists() else None) == before


@pytest.mark.parametrize("password", ["${secret:app:db}", "${env:NOT_SET_HERE}"])
def test_a_backup_asks_nothing_of_other_pipelines(shared, run, password):
    """Whatever their options refer to, it neither reads it nor replaces their files."""
    with Path("strongroom.yaml").open("a") as file:
        other = f"{{type: keepass, path: db.kdbx, password: '{password}'}}"
        more = f"{{type: file, file_path: {'x' * 300}.enc, key_file: no\\0path}}"
        file.write(f"  more: {{pipelines: {{other: {{provider: {other}}}, more: {{provider: {more}}}}}}}\n")
    for name in ("db.kdbx", "old.backup"):
        Path(name).write_bytes(b"an older one")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STRONGROOM_PROFILE", "more")
        assert "name another file" in run("--pipeline", "app", "backup", "db.kdbx", "--overwrite", expected=2)
        run("--pipeline", "app", "backup", "old.backup", "--overwrite")


def test_a_backup_of_a_third_partys_store_says_which_key_it_needs(shared, run, monkeypatch):
    monkeypatch.setattr(FileSecretProvider, "backup", lambda _self, path, **_: Path(path).touch())
    with SecretProviderRegistry("strongroom.yaml") as registry:
        key_id = registry.pipeline("app").inner.key_id()
    assert f"it needs the key {key_id}" in run("backup", "new.backup")


def test_a_backup_and_a_rekey(folder, run):
    """The old key is kept, ignored by git, named by the error of the backup, and taken by `restore`."""
    spec("version: 1\npipelines: {app: {provider: {type: file, file_path: app.enc, key_file: app.key}}}\n")
    Path(".gitignore").write_text("app.key\n")
    written(None, "app", "db", "before")
    report = json.loads(run("backup", "before.enc", "--json"))
    written(None, "app", "db", "later")
    done = run("rekey")
    old = Path(f"app.key.old-{report['key']}")
    assert old.name in done
    assert old.exists()
    assert Path(".gitignore").read_text().split() == ["app.key", "app.key.*"]
    refused = run("restore", "before.enc", expected=6)
    assert report["key"] in refused
    assert "before.enc" in refused
    assert old.name in refused
    assert ".tmp" not in refused
    assert "restored before.enc, under the key" in run("restore", "before.enc", "--key-file", str(old))
    assert read(None, "app") == "before"


# --- hooks, read-only, tenants ---


GUARDED = """\
version: 1
pipelines:
  app:
    provider: {{type: file, file_path: app.enc, key_file: app.key}}
    middleware: [{middleware}]
    hooks: [{{type: audit, path: audit.jsonl, log_writes: false, log_reads: false{more}}}]
"""
ENCRYPTED = '{type: encryption, key: "${file:./cipher.key}"}'


def guarded(*middleware, more=""):
    spec(GUARDED.format(middleware=", ".join(middleware), more=more))


def recorded():
    lines = [json.loads(line) for line in Path("audit.jsonl").read_text().splitlines()]
    return [(one["operation"], one["key"], one["outcome"]) for one in lines if one["operation"] != "set"]


@pytest.fixture
def cipher_key(folder):
    keyfiles.place(folder / "cipher.key", f"{generate_key()}\n".encode())


def test_the_next_key_of_all_stays_out_of_git_as_the_key_does(folder, run, monkeypatch):
    """From the moment at which it is beside the key file."""
    spec("version: 1\npipelines: {app: {provider: {type: file, file_path: app.enc, key_file: app.key}}}\n")
    written(None, "app", "db", "value")
    Path(".gitignore").write_text("*.key\n")
    ignored = {}
    place = keyfiles.place

    def observed(path, data):
        ignored.setdefault(path.name, Path(".gitignore").read_text().split())
        return place(path, data)

    monkeypatch.setattr(keyfiles, "place", observed)
    run("rekey", "--all")
    assert ignored["app.key.next-all"] == ["*.key", "app.key.*"]


def test_they_are_recorded(folder, run, cipher_key):
    """Each is one operation with an empty key, whatever the hook leaves out."""
    guarded(ENCRYPTED)
    written(None, "app", "db", "value")
    run("backup", "copy.enc")
    run("rekey", "--values")
    run("rekey")
    old = next(folder.glob("app.key.old-*"))
    run("restore", "copy.enc", expected=6)
    run("restore", "copy.enc", "--key-file", str(old))
    assert recorded() == [
        ("backup", "", "ok"),
        ("rekey", "", "ok"),
        ("rekey", "", "ok"),
        ("restore", "", "error"),
        ("restore", "", "ok"),
    ]


def test_a_reason_is_required_of_them_too(folder, run, cipher_key):
    guarded(ENCRYPTED)
    written(None, "app", "db", "value")
    run("backup", "copy.enc")
    guarded(ENCRYPTED, more=", require_reason: true")
    for words in (
        ["backup", "b.enc"], ["restore", "copy.enc"], ["rekey"], ["rekey", "--values"], ["rekey", "--all"]
    ):  # fmt: skip
        assert "reason" in run(*words, expected=4)
    assert not Path("b.enc").exists()
    assert not list(folder.glob("*.next-all"))
    run("--reason", "a test", "backup", "b.enc")


def test_read_only_refuses_all_but_backup(folder, run, cipher_key):
    guarded(ENCRYPTED)
    written(None, "app", "db", "value")
    run("backup", "copy.enc")
    before = [Path(name).read_bytes() for name in ("app.enc", "app.key")]
    guarded("{type: read-only}", ENCRYPTED)
    run("backup", "again.enc")
    for words in (["restore", "copy.enc"], ["rekey"], ["rekey", "--values"], ["rekey", "--all"]):
        assert "read-only" in run(*words, expected=4)
    assert [Path(name).read_bytes() for name in ("app.enc", "app.key")] == before
    assert not list(folder.glob("*.next-all"))
    assert [outcome for operation, _, outcome in recorded() if operation != "backup"] == ["error"] * 4


def test_all_tenants_must_be_meant(folder, run, cipher_key):
    """What concerns them all is not done for none, nor for one."""
    guarded("{type: tenant}", ENCRYPTED)
    with TenantContext("acme"):
        written(None, "app", "db", "of acme")
    run("backup", "copy.enc", "--all-tenants")
    for words in (["backup", "b.enc"], ["restore", "copy.enc"], ["rekey"]):
        for tenant in ([], ["--tenant", "acme"]):
            assert "--all-tenants" in run(*tenant, *words, expected=4)
        assert recorded()[-1][2] == "denied"
    assert "--all-tenants" in run("rekey", "--values", expected=4)
    run("rekey", "--all-tenants")
    run("restore", "copy.enc", "--key-file", str(next(folder.glob("app.key.old-*"))), "--all-tenants")
    with TenantContext("acme"):
        assert read(None, "app") == "of acme"


@pytest.mark.parametrize("order", ["te", "et", "tpe", "pet"])
def test_values_are_rekeyed_within_each_tenant(folder, run, cipher_key, order):
    """Whatever stands around what; one tenant's or all of them."""
    older = '{type: encryption, key: "${file:./cipher.key}", older_keys: ["${file:./old.key}"]}'
    parts = {"t": "{type: tenant}", "p": "{type: prefix, prefix: p/}", "e": ENCRYPTED}
    guarded(*(parts[one] for one in order))
    tenants = ("acme", "bravo", "zulu")
    for tenant in tenants:
        with TenantContext(tenant):
            written(None, "app", "db", f"of {tenant}")
            written(None, "app", "a/b", "second")
    Path("cipher.key").rename("old.key")
    keyfiles.place(folder / "cipher.key", f"{generate_key()}\n".encode())
    guarded(*({**parts, "e": older}[one] for one in order))
    assert "2 values" in run("--tenant", "acme", "rekey", "--values")
    assert "0 values" in run("--tenant", "acme", "rekey", "--values")
    assert "4 values" in run("rekey", "--values", "--all-tenants")
    assert "0 values" in run("rekey", "--values", "--all-tenants")
    guarded(*(parts[one] for one in order))
    for tenant in tenants:
        with TenantContext(tenant):
            assert read(None, "app") == f"of {tenant}"
            assert read(None, "app", "a/b") == "second"


@pytest.mark.parametrize("around", ["{type: tenant}", "{type: prefix, prefix: p/}"])
def test_what_a_rotation_keeps_beside_a_value_is_rekeyed_too(folder, run, cipher_key, around):
    """Else nobody could roll it back after the old key was taken away."""

    def record(names):
        guarded(*names)
        with SecretProviderRegistry("strongroom.yaml", pipeline="app") as registry, active():
            return registry.pipeline("app").inner.get_secret(".rotation/db")

    older = '{type: encryption, key: "${file:./cipher.key}", older_keys: ["${file:./old.key}"]}'
    names = [around, ENCRYPTED]
    active = partial(TenantContext, "acme") if "tenant" in around else nullcontext
    guarded(*names)
    with SecretProviderRegistry("strongroom.yaml", pipeline="app") as registry, active():
        registry.set_secret("db", "value")
        SecretRotation(registry, grace_seconds=3600).rotate("db", "newer")
    before = record(names)
    Path("cipher.key").rename("old.key")
    keyfiles.place(folder / "cipher.key", f"{generate_key()}\n".encode())
    guarded(*names[:-1], older)
    tenant = ["--tenant", "acme"] if "tenant" in around else []
    assert "2 values" in run(*tenant, "rekey", "--values")
    assert "0 values" in run(*tenant, "rekey", "--values")
    Path("old.key").unlink()
    assert record(names) == before


@pytest.mark.parametrize("around", ["{type: tenant}", "{type: prefix, prefix: p/}"])
@pytest.mark.parametrize("end", ["resume", "rollback"])
def test_a_secret_whose_rotation_has_staged_a_version_stays_under_the_older_key(
    folder, run, cipher_key, around, end
):
    """And all others do not. The target system may have that value, which nobody could read otherwise."""
    target = ["value"]

    def apply(_key, _old, new):
        target[0] = new
        if failing:
            raise RuntimeError("the connection broke off")

    def rotation(registry):
        return SecretRotation(registry, apply=apply, verify=lambda _, value: target == [value])

    failing = True
    older = '{type: encryption, key: "${file:./cipher.key}", older_keys: ["${file:./old.key}"]}'
    active = partial(TenantContext, "acme") if "tenant" in around else nullcontext
    guarded(around, ENCRYPTED)
    with SecretProviderRegistry("strongroom.yaml", pipeline="app") as registry, active():
        registry.set_secrets({"db": "value", "other": "of another"})
        with pytest.raises(RotationError):
            rotation(registry).rotate("db", "newer")
    Path("cipher.key").rename("old.key")
    keyfiles.place(folder / "cipher.key", f"{generate_key()}\n".encode())
    guarded(around, older)
    options = ["--all-tenants"] if "tenant" in around else []
    told = run("rekey", "--values", *options, expected=8)
    assert "a rotation in flight has staged a version of" in told
    assert "db'" in told
    assert "encrypted again: 1;" in told
    failing = False
    with SecretProviderRegistry("strongroom.yaml", pipeline="app") as registry, active():
        getattr(rotation(registry), end)("db")
        assert [registry.get_secret("db")] == target
    assert "1 value" in run("rekey", "--values", *options)
    Path("old.key").unlink()
    guarded(around, ENCRYPTED)
    with SecretProviderRegistry("strongroom.yaml", pipeline="app") as registry, active():
        assert registry.get_secrets(["db", "other"]) == {"db": target[0], "other": "of another"}


def test_the_member_of_a_fallback_sees_it_too(folder, run):
    """The store is the first member's, and so are its hooks."""
    spec(
        "version: 1\ndefault: safe\npipelines:\n"
        "  app:\n    provider: {type: file, file_path: app.enc, key_file: app.key}\n"
        "    hooks: [{type: audit, path: audit.jsonl}]\n"
        "  safe: {fallback: {pipelines: [app]}}\n"
    )
    written(None, "safe", "db", "value")
    run("backup", "copy.enc")
    assert recorded()[-1] == ("backup", "", "ok")
