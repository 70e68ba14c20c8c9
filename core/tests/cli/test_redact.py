"""`strongroom redact` masks what is piped through it."""

from __future__ import annotations

import base64
import os
import subprocess

import pytest
import warm_command

SPEC = """
version: 1
pipelines:
  app: {provider: {type: env, prefix: "T_"}}
secrets:
  PASSWORD: {key: password}
  OTHER: {key: other, groups: [web], required: false}
  LEVEL: {key: level, default: information}
"""
VALUE = "correct-horse-7 battery"


@pytest.fixture
def redact(tmp_path, warm_strongroom):
    """Return a function that runs `strongroom redact` with options."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(SPEC)

    def run(*options, text=b""):
        return warm_command.run(
            [warm_strongroom, "--spec", str(spec), "redact", *options],
            input=text,
            env={**os.environ, "T_PASSWORD": VALUE, "T_OTHER": "other-value-9\nand its line 2"},
            text=False,
        )

    return run


@pytest.fixture
def redact_process(tmp_path, warm_strongroom):
    """Return a function that starts `strongroom redact`, to be talked to."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(SPEC)
    return lambda **streams: subprocess.Popen(
        [warm_strongroom, "--spec", str(spec), "redact"],
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **streams},
        env={**os.environ, "T_PASSWORD": VALUE},
    )


def test_masks_what_is_piped_through(redact):
    text = f"a {VALUE} {base64.b64encode(VALUE.encode()).decode()} level information\n".encode()
    seen = redact(text=text)
    assert (seen.returncode, seen.stdout, seen.stderr) == (
        0,
        b"a ******** ********= level information\n",
        b"",
    )


def test_a_line_goes_out_before_the_next_one_comes(redact_process):
    with redact_process() as process:
        for number in range(3):
            process.stdin.write(f"line {number}: {VALUE}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline() == f"line {number}: ********\n".encode()
        process.stdin.close()
        assert process.wait(300) == 0


@pytest.mark.parametrize(
    ("target", "problem"), [("/dev/full", b"No space left on device"), ("closed pipe", b"")]
)
def test_what_cannot_be_written_is_an_error(redact_process, target, problem):
    """A log with half of the output in it must not pass for all of it."""
    if target == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(target, os.O_WRONLY)
    try:
        process = redact_process(stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    _, told = process.communicate(b"text\n", timeout=300)

    assert process.returncode == 1
    assert told == (b"error: standard output: " + problem + b"\n" if problem else b"")


def test_nothing_is_copied_while_a_backend_is_away(redact, tmp_path):
    (tmp_path / "strongroom.yaml").write_text(
        "version: 1\n"
        'pipelines: {app: {provider: {type: vault, url: "http://127.0.0.1:9", token: t, timeout: 1}}}\n'
        "secrets: {PASSWORD: {key: password}}\n"
    )
    seen = redact(text=f"a {VALUE}\n".encode())
    assert (seen.returncode, seen.stdout) == (5, b"")
    assert b"app" in seen.stderr


def test_a_group_alone_and_the_form_for_github(redact):
    seen = redact("--group", "web", text=f"{VALUE} other-value-9".encode())
    assert (seen.returncode, seen.stdout) == (0, f"{VALUE} ********".encode())
    done = redact("--github", "--group", "web")
    assert done.stdout.splitlines() == [
        b"::add-mask::other-value-9%0Aand its line 2",
        b"::add-mask::other-value-9",
        b"::add-mask::and its line 2",
    ]


UNREADABLE = {
    "a key that is not the right one": ("{type: encryption, key: another passphrase}", 6),
    "no tenant": ("{type: tenant}", 4),
}


def test_it_warns_where_nothing_is_declared(redact, tmp_path):
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(SPEC.partition("secrets:")[0])
    seen = redact(text=b"text")
    assert (seen.returncode, seen.stdout) == (0, b"text")
    assert seen.stderr == b"warning: the spec declares no secrets, and nothing is masked\n"


@pytest.mark.parametrize("which", UNREADABLE)
@pytest.mark.parametrize("command", ["redact", "scan"])
def test_what_cannot_be_read_is_not_passed_over(tmp_path, warm_strongroom, which, command):
    """The value is there, and is neither masked nor found: nothing may look as if it had been."""
    middleware, code = UNREADABLE[which]
    (tmp_path / "strongroom.yaml").write_text(
        "version: 1\n"
        f'pipelines: {{app: {{provider: {{type: env, prefix: "T_"}}, middleware: [{middleware}]}}}}\n'
        "secrets: {PASSWORD: {key: password}}\n"
    )
    (tmp_path / "file").write_text(VALUE)
    words = [command] if command == "redact" else [command, str(tmp_path / "file")]
    seen = warm_command.run(
        [warm_strongroom, "--spec", str(tmp_path / "strongroom.yaml"), *words],
        input=VALUE,
        env={**os.environ, "T_PASSWORD": VALUE},
    )
    assert (seen.returncode, seen.stdout) == (code, "")
    assert "error: " in seen.stderr


RULES = {
    "too short": "PASSWORD: {key: password, min_length: 40}",
    "of another type": "PASSWORD: {key: password, type: integer}",
    "no JSON": "PASSWORD: {key: password, field: user}",
    "a part of what is composed": (
        'PASSWORD: {key: password, pattern: "[0-9]+", groups: [other]}\n'
        '  URL: {compose: "x://{{ PASSWORD }}", groups: [web]}'
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_value_that_breaks_a_rule_is_masked_and_found(tmp_path, warm_strongroom, rule):
    """It cannot be used by `run`; somebody may have used it before, and it is a secret all the same."""
    (tmp_path / "strongroom.yaml").write_text(
        "version: 1\n"
        'pipelines: {app: {provider: {type: env, prefix: "T_"}}}\n'
        f"secrets:\n  {RULES[rule]}\n"
    )
    (tmp_path / "file").write_text(f"a\n{VALUE}\n")

    def run(*words, text=""):
        return warm_command.run(
            [warm_strongroom, "--spec", str(tmp_path / "strongroom.yaml"), *words],
            input=text,
            env={**os.environ, "T_PASSWORD": VALUE},
        )

    group = ["--group", "web"] if "web" in RULES[rule] else []
    seen = run("redact", *group, text=f"a {VALUE}\n")
    assert (seen.returncode, seen.stdout) == (0, "a ********\n")
    found = run("scan", str(tmp_path / "file"))
    assert (found.returncode, "file:2:1: PASSWORD" in found.stdout) == (7, True)


def test_a_placeholder_is_no_secret(tmp_path, warm_strongroom):
    """Everybody writes it into templates and pages, where it is no find."""
    (tmp_path / "strongroom.yaml").write_text(
        "version: 1\n"
        'pipelines: {app: {provider: {type: env, prefix: "T_"}}}\n'
        "secrets: {PASSWORD: {key: password}, OTHER: {key: other}}\n"
    )
    (tmp_path / "file").write_text("PASSWORD=changeme\n")
    found = warm_command.run(
        [warm_strongroom, "--spec", str(tmp_path / "strongroom.yaml"), "scan", str(tmp_path / "file")],
        env={**os.environ, "T_PASSWORD": "changeme", "T_OTHER": VALUE},
    )
    assert (found.returncode, found.stdout) == (0, "nothing in 1 file\n")
