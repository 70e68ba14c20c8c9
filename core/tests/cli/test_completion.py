"""Completion in a real shell: the printed script is sourced, and asked as Tab does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sampling import sample
from strongroom.cli.app import COMMANDS

SPEC = """\
version: 1
pipelines:
  app: {provider: {type: memory}}
  archive: {provider: {type: memory}}
default: app
secrets:
  DATABASE_PASSWORD: {key: database/password, groups: [web]}
  DATABASE_USER: {key: database/user, groups: [web, worker]}
  DATABASE_URL: {compose: "{{ DATABASE_USER }}@db"}
  TOKEN:
profiles:
  test: {}
  staging: {}
"""

# What bash does at Tab: it fills in the words, calls the function and reads COMPREPLY.
ASK = """
source ./strongroom.bash
complete -p strongroom > /dev/null || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_strongroom_completion strongroom "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def offered(strongroom, warm_strongroom):
    Path("strongroom.yaml").write_text(SPEC)
    Path("strongroom.bash").write_text(strongroom("completion", "bash").stdout)

    def ask(*words):
        done = subprocess.run(
            ["bash", "-c", ASK, "bash", "strongroom", *words],
            check=True,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PATH": f"{Path(warm_strongroom).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
        )
        assert done.stderr == ""
        return done.stdout.split()

    return ask


OFFERED = [
    (["get", "data"], ["database/password", "database/user"]),
    (["audit", "v"], ["verify"]),
    (["ro"], ["rotate"]),
    (["set", "T"], ["TOKEN"]),
    (["export", "--format", "g"], ["github"]),
    (["delete", "TOKEN", "database/u"], ["database/user"]),
    (["run", "--only", "TOKEN,DATABASE_U"], ["TOKEN,DATABASE_URL", "TOKEN,DATABASE_USER"]),
    (["list", "database/u"], ["database/user"]),
    (["--profile", ""], ["staging", "test"]),
    (["cache", "clear", "T"], ["TOKEN"]),
    (["--pipeline", "ar"], ["archive"]),
    (["audit", "show", "--key", "T"], ["TOKEN"]),
    (["run", "--group", "w"], ["web", "worker"]),
    (["copy", "app", "a"], ["app", "archive"]),
    (["run", "--", "xarg"], ["xargs"]),
    (["run", "--only", "DATABASE_P"], ["DATABASE_PASSWORD"]),
]


@pytest.mark.parametrize(("words", "expected"), sample(OFFERED, one_in=2), ids=" ".join)
def test_bash_is_offered(offered, words, expected):
    assert offered(*words) == expected


def test_each_command_is_described_as_help_describes_it(strongroom):
    done = strongroom(_STRONGROOM_COMPLETE="fish_complete", COMP_WORDS="strongroom ", COMP_CWORD="")
    described = dict(line.removeprefix("plain,").split("\t") for line in done.stdout.splitlines())
    assert described == COMMANDS
    assert list(described) == sorted(described)


def test_fish_gets_whole_descriptions(strongroom):
    assert 'string split -m 1 ","' in strongroom("completion", "fish").stdout


@pytest.mark.torture
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("strongroom in", "init\tWrite a spec, and make an encrypted store and its key."),
        ("strongroom run --only TOKEN,DATABASE_U", "TOKEN,DATABASE_URL\nTOKEN,DATABASE_USER"),
        ("strongroom run -- xarg", "xargs"),
        ("strongroom run -- cat ./strongroom.y", "./strongroom.yaml"),
    ],
)
def test_fish_is_offered(strongroom, line, expected):
    """As Tab has it, in a real fish, which not every machine has."""
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    Path("strongroom.yaml").write_text(SPEC)
    Path("strongroom.fish").write_text(strongroom("completion", "fish").stdout)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source strongroom.fish; complete -C '{line}'"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.stdout.strip() == expected


FILES = [
    "run -- cat ./s",
    "import s",
    "init --from s",
    "--spec s",
    "scan a s",
    "render s",
    "render -o s",
    "backup s",
    "restore s",
    "restore --key-file s",
    "rekey --new-key-file s",
    "trust s",
    "audit show s",
    "audit stats s",
    "audit tail s",
    "audit verify a s",
    "audit verify --key-file s",
    "serve --socket s",
]


@pytest.mark.parametrize("words", sample(FILES, one_in=3))
def test_files_are_offered_where_a_file_is_named(strongroom, words):
    asked = f"strongroom {words}"
    done = strongroom(
        _STRONGROOM_COMPLETE="bash_complete", COMP_WORDS=asked, COMP_CWORD=str(len(asked.split()) - 1)
    )
    assert done.stdout.startswith("file,")


def test_another_spec_counts_where_it_is_named(offered):
    Path("other.yaml").write_text("version: 1\npipelines: {elsewhere: {provider: {type: memory}}}\n")
    assert offered("--spec", "other.yaml", "--pipeline", "") == ["elsewhere"]


@pytest.mark.parametrize(
    "text", [None, "pipelines: [", "secrets: 7", "- a", "secrets: {A: 7, B: {groups: 7}}"]
)
def test_a_broken_or_missing_spec_offers_nothing_and_says_nothing(offered, text):
    if text is None:
        Path("strongroom.yaml").unlink()
    else:
        Path("strongroom.yaml").write_text(text)
    assert offered("get", "x") == []
    assert offered("run", "--group", "x") == []
