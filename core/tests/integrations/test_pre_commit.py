"""The hooks for pre-commit, run by pre-commit itself on commits of git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import warm_command
import yaml

ROOT = Path(__file__).parents[3]
HOOKS = ROOT / ".pre-commit-hooks.yaml"
SPEC = "version: 1\npipelines: {app: {provider: {type: file, file_path: s.enc, key_file: s.key}}}\n"
VALUE = "correct horse battery"


@pytest.fixture
def run(tmp_path, warm_strongroom):
    """Return a function that runs a command in a repository whose commits strongroom guards."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    hooks = tmp_path / "hooks"
    for folder in (home, work, hooks):
        folder.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(warm_strongroom).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{who}_{what}": "a@example.com"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }

    def command(*words, stdin="", expected=0, folder=work):
        done = subprocess.run(
            words, cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == expected, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    # A clone of this repository, as far as pre-commit looks at it.
    shutil.copy(HOOKS, hooks)
    command("git", "init", "-q", folder=hooks)
    command("git", "add", "-A", folder=hooks)
    command("git", "commit", "-q", "-m", "hooks", folder=hooks)
    revision = command("git", "rev-parse", "HEAD", folder=hooks).strip()
    (work / "strongroom.yaml").write_text(SPEC)
    (work / ".gitignore").write_text("s.*\n")
    hook_ids = [{"id": "strongroom-scan"}, {"id": "strongroom-check"}]
    config = {"repos": [{"repo": str(hooks), "rev": revision, "hooks": hook_ids}]}
    (work / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    (work / "s.key").touch(mode=0o600)
    (work / "s.key").write_text(command("strongroom", "keygen"))
    command("git", "init", "-q")
    command("strongroom", "set", "database/password", stdin=VALUE)
    command("pre-commit", "install")
    return command


def test_a_commit_that_holds_a_value_is_refused(run, tmp_path):
    """The next one, without it, goes through."""
    work = tmp_path / "work"
    (work / "config.py").write_text(f'token = "{VALUE}"\n')
    run("git", "add", "-A")
    output = run("git", "commit", "-m", "a secret", expected=1)
    assert "config.py:1:10: database/password" in output
    assert VALUE not in output
    (work / "config.py").write_text("token = None\n")
    run("git", "commit", "-m", "still staged", expected=1)
    run("git", "add", "-A")
    run("git", "commit", "-m", "no secret")
    assert run("git", "log", "--format=%s").strip() == "no secret"


def test_a_broken_spec_is_not_committed(run, tmp_path):
    run("git", "add", "-A")
    run("git", "commit", "-q", "-m", "first")
    with (tmp_path / "work" / "strongroom.yaml").open("a") as file:
        file.write("nonsense: 1\n")
    output = run("git", "commit", "-a", "-m", "broken", expected=1)
    assert "nonsense: unknown key" in output


def test_the_hooks_are_what_pre_commit_takes(warm_strongroom):
    """By its own validator, and their commands are ours."""
    command = [str(Path(sys.executable).parent / "pre-commit"), "validate-manifest", str(HOOKS)]
    subprocess.run(command, check=True)
    for hook in yaml.safe_load(HOOKS.read_text()):
        words = hook["entry"].split()
        assert words[0] == "strongroom"
        output = warm_command.run([warm_strongroom, words[1], "--help"], check=True).stdout
        assert all(option in output for option in words[2:])
