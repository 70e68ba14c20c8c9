"""Logins by a program that prints a key (`credential_process`); no request gets as far as a server."""

from __future__ import annotations

import json

import pytest
from strongroom.errors import AuthenticationError
from strongroom_aws import AWSSecretProvider

KEY = "hush-hush-key"
PRINTED = json.dumps({"Version": 1, "AccessKeyId": "id", "SecretAccessKey": KEY})


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Return a function that reads a secret with a program that runs some lines of sh."""
    config = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    opened = []

    def get(lines, name="print-key"):
        program = tmp_path / "print-key"
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o700)
        config.write_text(f"[profile own]\ncredential_process = {tmp_path / name}\nregion = us-east-1\n")
        provider = AWSSecretProvider(endpoint_url="http://127.0.0.1:9", profile_name="own")
        opened.append(provider)
        return provider.get_secret("k")

    yield get
    for provider in opened:
        provider.close()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (f"echo warning\necho '{PRINTED}'", "JSONDecodeError"),
        ("true", "JSONDecodeError"),
        ("echo '[]'", "AttributeError"),
        ("printf '\\377'", "UnicodeDecodeError"),
        (f"echo '{PRINTED}' >&2\nexit 1", "left out"),
        ("echo no such account >&2\nexit 1", "no such account"),
    ],
    ids=["warns", "nothing", "a list", "not text", "fails with a key", "fails"],
)
def test_a_program_that_prints_something_else_is_a_failed_login(read, lines, said):
    """It is not a backend that is down, which a cache would stand in for, and the key is in no text."""
    with pytest.raises(AuthenticationError, match=said) as raised:
        read(lines)
    assert KEY not in f"{raised.value} {raised.value.__cause__!r}"


def test_a_program_that_does_not_exist_is_a_failed_login(read):
    with pytest.raises(AuthenticationError, match=r"FileNotFoundError.*absent"):
        read("true", name="absent")
