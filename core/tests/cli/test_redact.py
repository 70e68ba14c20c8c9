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
    return lambda: subprocess.Popen(
        [warm_strongroom, "--spec", str(spec), "redact"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
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
        assert process.wait(120) == 0


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
