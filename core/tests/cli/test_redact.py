"""`strongroom redact` masks what is piped through it."""

from __future__ import annotations

import base64
import os
import subprocess

import pytest

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
        return subprocess.run(
            [warm_strongroom, "--spec", str(spec), "redact", *options],
            input=text,
            env={**os.environ, "T_PASSWORD": VALUE, "T_OTHER": "other-value-9\nand its line 2"},
            capture_output=True,
            check=False,
        )

    return run


def test_masks_what_is_piped_through(redact):
    text = f"a {VALUE} {base64.b64encode(VALUE.encode()).decode()} level information\n".encode()
    seen = redact(text=text)
    assert (seen.returncode, seen.stdout, seen.stderr) == (
        0,
        b"a ******** ********= level information\n",
        b"",
    )


def test_a_group_alone_and_the_form_for_github(redact):
    seen = redact("--group", "web", text=f"{VALUE} other-value-9".encode())
    assert (seen.returncode, seen.stdout) == (0, f"{VALUE} ********".encode())
    told = redact("--github", "--group", "web")
    assert told.stdout.splitlines() == [
        b"::add-mask::other-value-9%0Aand its line 2",
        b"::add-mask::other-value-9",
        b"::add-mask::and its line 2",
    ]
