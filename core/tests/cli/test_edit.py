"""`strongroom edit`: an editor gets the value in a file of its own, and what it saved is stored."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest
from sampling import sample
from strongroom.cli import main
from strongroom.errors import ConflictError, PermissionDeniedError, UnsupportedOperationError
from strongroom_file import FileSecretProvider

SPEC = """\
version: 1
pipelines:
  app: {provider: {type: file, file_path: secrets.enc, key_file: app.key}}
secrets:
  USER: {key: database/login, field: user, required: false}
  URL: {compose: "postgres://{{ USER }}@db"}
"""
EDITOR = """\
import json, os, stat, subprocess, sys
from pathlib import Path
path = Path(sys.argv[-1])
seen = Path(os.environ["SEEN"])
seen.write_text(json.dumps({
    "text": path.read_text(), "path": str(path), "mode": stat.S_IMODE(path.stat().st_mode),
    "folder": stat.S_IMODE(path.parent.stat().st_mode), "words": sys.argv[1:-1],
    "own": sorted(name for name in os.environ if name.startswith("STRONGROOM_")),
    "signals": [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "SigIgn" in line],
}))
exec(os.environ.get("DO", ""))
"""


@pytest.fixture
def edit(tmp_path, monkeypatch, capfd):
    """Return a function that edits a key with a program that does what it is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISUAL", raising=False)
    Path("strongroom.yaml").write_text(SPEC)
    Path("strongroom.yaml").chmod(0o644)
    Path("editor.py").write_text(EDITOR)
    monkeypatch.setenv("EDITOR", f"{sys.executable} -IS {tmp_path / 'editor.py'} --wait 'two words'")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))

    def run(*words, do=""):
        monkeypatch.setenv("DO", do)
        capfd.readouterr()
        code = main(["edit", *words])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def stored(key, capfd):
    capfd.readouterr()
    assert main(["get", "--key", key]) == 0
    return capfd.readouterr().out


def seen():
    return json.loads(Path("seen.json").read_text())


def test_what_was_saved_is_stored_and_the_file_is_gone(edit, capfd):
    main(["set", "a", "old value"])
    code, out, _ = edit("a", do="path.write_text('new value\\n')")
    assert (code, out) == (0, "")
    assert stored("a", capfd) == "new value"
    looked = seen()
    assert looked["text"] == "old value"
    assert looked["words"] == ["--wait", "two words"]
    assert (looked["mode"], looked["folder"]) == (0o600, 0o700)
    assert looked["own"] == []
    assert not Path(looked["path"]).exists()
    assert not Path(looked["path"]).parent.exists()
    assert "a" not in Path(looked["path"]).name.removesuffix(".txt").replace("value", "")


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no memory to write into")
def test_the_file_is_in_memory(edit, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    main(["set", "a", "old value"])
    edit("a")
    assert seen()["path"].startswith("/dev/shm/")


@pytest.mark.parametrize(
    "text", sample(["", "\n", "one\ntwo", "one\ntwo\n", "ä\r\n\x00", '{"a": 1}\n'], one_in=2)
)
def test_other_text_arrives_byte_for_byte(edit, capfd, text):
    main(["set", "a", "old value\n"])
    code, _, _ = edit("a", "--allow-empty", do=f"path.write_bytes({text.encode()!r})")
    assert (code, stored("a", capfd)) == (0, text)


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("describe_secret", UnsupportedOperationError),
        ("describe_secret", PermissionDeniedError),
        ("set_secret_if", UnsupportedOperationError),
    ],
)
def test_a_server_that_compares_no_versions_gets_the_value_all_the_same(
    edit, monkeypatch, capfd, warm_strongroom, method, error
):
    """As version 1 of Vault's KV, or a policy without the metadata; a change meanwhile is seen in the value."""

    def refuse(*_):
        raise error("not here")

    main(["set", "a", "old value"])
    monkeypatch.setattr(FileSecretProvider, method, refuse)
    assert edit("a", do="path.write_text('new value')")[0] == 0
    assert stored("a", capfd) == "new value"
    changes = "path.write_text('lost'); subprocess.run(['strongroom', 'set', 'a', 'theirs'], check=True)"
    monkeypatch.setenv("PATH", f"{Path(warm_strongroom).parent}:{os.environ['PATH']}")
    assert edit("a", do=changes)[0] == 8
    assert stored("a", capfd) == "theirs"


def test_what_is_unchanged_is_not_stored(edit, capfd):
    main(["set", "a", "old value"])
    for do in ("", "path.write_text('old value\\n')"):
        assert edit("a", "--json", do=do)[:2] == (0, '{"key": "a", "pipeline": "app", "changed": false}\n')
    capfd.readouterr()
    main(["history", "a", "--json"])
    assert len(json.loads(capfd.readouterr().out)["versions"]) == 1


@pytest.mark.parametrize(
    ("do", "code", "message"),
    [
        ("sys.exit(3)", 2, "it ended with 3"),
        ("path.write_text('new'); sys.exit(1)", 2, "it ended with 1"),
        ("path.unlink()", 2, "left no file"),
        ("path.write_bytes(b'\\xff\\xfe')", 2, "not UTF-8"),
        ("path.write_text('')", 2, "--allow-empty"),
        ("os.kill(os.getpid(), 9)", 2, "it ended with -9"),
    ],
)
def test_an_editor_that_fails_changes_nothing(edit, capfd, do, code, message):
    main(["set", "a", "old value"])
    found, out, err = edit("a", do=do)
    assert (found, out) == (code, "")
    assert message in err
    assert "old value" not in err
    assert stored("a", capfd) == "old value"
    assert not Path(seen()["path"]).parent.exists()


def test_what_others_stored_meanwhile_is_kept(edit, capfd, warm_strongroom):
    main(["set", "a", "old value"])
    command = f"subprocess.run([{warm_strongroom!r}, 'set', 'a', 'theirs'], check=True)"
    code, _, err = edit("a", do=f"{command}; path.write_text('mine')")
    assert code == 8
    assert "mine" not in err
    assert stored("a", capfd) == "theirs"


def test_a_member_is_edited_alone(edit, capfd):
    main(["set", "database/login", '{"user": "ann", "password": "x"}'])
    assert edit("USER", do="path.write_text('bob')")[0] == 0
    assert seen()["text"] == "ann"
    assert json.loads(stored("database/login", capfd)) == {"user": "bob", "password": "x"}


def test_what_is_not_there_or_composed_is_refused(edit):
    main(["set", "abcdef", "old value"])
    code, _, err = edit("abcdeg")
    assert (code, "did you mean" in err, "`strongroom set abcdeg`" in err) == (3, True, True)
    code, _, err = edit("quite/another")
    assert (code, "; `strongroom set quite/another` stores a first value" in err) == (3, True)
    assert edit("URL")[0] == 2
    assert not Path("seen.json").exists()


@pytest.mark.parametrize(("editor", "message"), [("'unfinished", "quote"), ("./no-such-program", "failed")])
def test_a_bad_editor_is_named(edit, monkeypatch, editor, message):
    main(["set", "a", "old value"])
    monkeypatch.setenv("VISUAL", editor)
    code, _, err = edit("a")
    assert code == 2
    assert message in err


def test_ctrl_c_is_the_editors(edit, capfd):
    """The command goes on, and the editor does not inherit that it is ignored."""
    main(["set", "a", "old value"])
    code, _, _ = edit("a", do="import signal; os.kill(os.getppid(), signal.SIGINT); path.write_text('new')")
    assert code == 0
    assert int(seen()["signals"][0], 16) & 0b110 == 0
    assert stored("a", capfd) == "new"


@pytest.mark.parametrize(
    ("name", "do"),
    [("SIGTERM", "signal.pause()"), ("SIGHUP", "path.write_text('new')"), ("SIGHUP", "sys.exit(1)")],
)
def test_a_signal_that_ends_the_command_leaves_no_file(edit, capfd, name, do):
    """As when the window of the editor is closed; SIGTERM ends an editor that would go on, too."""
    main(["set", "a", "old value"])
    number = getattr(signal, name)
    code, _, err = edit("a", do=f"import signal; os.kill(os.getppid(), signal.{name}); {do}")
    assert (code, err) == (128 + number, "")
    assert not Path(seen()["path"]).parent.exists()
    assert stored("a", capfd) == "old value"
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_while_the_editor_is_started_leaves_none_running(edit, monkeypatch):
    main(["set", "a", "old value"])
    start, started = subprocess.Popen, []

    def interrupted(*args, **options):
        started.append(start(*args, **options))
        os.kill(os.getpid(), signal.SIGTERM)
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    code, _, _ = edit("a", do="import signal; signal.pause()")
    left = [one.kill() for one in started if one.poll() is None]
    assert (code, left) == (128 + signal.SIGTERM, [])


def test_on_a_terminal_what_cannot_be_stored_can_be_edited_again(edit, capfd, monkeypatch, warm_strongroom):
    main(["set", "a", "old value"])
    theirs = f"subprocess.run([{warm_strongroom!r}, 'set', 'a', 'theirs'], check=True)"
    again = "seen.with_name('twice').exists()"
    monkeypatch.setenv("DO", f"{again} or {theirs}; seen.with_name('twice').touch(); path.write_text('mine')")
    master, slave = pty.openpty()
    monkeypatch.setattr("sys.stdin", os.fdopen(os.dup(slave), "r"))
    monkeypatch.setattr("sys.stderr", os.fdopen(os.dup(slave), "w"))
    os.write(master, b"y\n")
    try:
        assert main(["edit", "a"]) == 0
        said = ""
        while "again?" not in said:
            said += os.read(master, 10_000).decode()
    finally:
        sys.stdin.close()
        sys.stderr.close()
        os.close(slave)
        os.close(master)
    monkeypatch.undo()
    assert "Edit the text again?" in said
    assert "mine" not in said


def test_a_signal_while_the_user_is_asked_ends_it_as_elsewhere(edit, monkeypatch):
    main(["set", "a", "old value"])

    def asked(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    def refuse(*_):
        raise ConflictError("it was changed")

    monkeypatch.setattr("click.termui.visible_prompt_func", asked)
    monkeypatch.setattr("strongroom.cli.commands.edit._store", refuse)
    monkeypatch.setattr("strongroom.cli.commands.edit._again", lambda *_: click.confirm("again?"))
    assert edit("a", do="path.write_text('new')")[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("do", "end"), [("path.write_text('new')", "stored 'a' in app"), ("", "'a' is unchanged")]
)
def test_on_a_terminal_it_says_what_became_of_it(edit, monkeypatch, do, end):
    main(["set", "a", "old value"])
    monkeypatch.setenv("DO", do)
    master, slave = pty.openpty()
    monkeypatch.setattr("sys.stderr", os.fdopen(os.dup(slave), "w"))
    try:
        assert main(["edit", "a"]) == 0
        sys.stderr.flush()
        said = os.read(master, 10_000).decode()
    finally:
        sys.stderr.close()
        os.close(slave)
        os.close(master)
    assert end in said
    assert "new" not in said


def test_modes_do_not_depend_on_the_umask(edit):
    main(["set", "a", "old value"])
    before = os.umask(0)
    try:
        edit("a")
    finally:
        os.umask(before)
    assert stat.S_ISDIR(seen()["folder"]) is False
    assert (seen()["mode"], seen()["folder"]) == (0o600, 0o700)
