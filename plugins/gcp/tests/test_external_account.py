"""Logins by a program that prints a token (an external account), over REST; no request gets as far as the server."""

from __future__ import annotations

import json

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.auth import pluggable
from strongroom.errors import AuthenticationError
from strongroom_gcp import GCPSecretProvider
from strongroom_gcp.errors import translate

TOKEN = "hush-hush-token"
KIND = "urn:ietf:params:oauth:token-type:jwt"
ANSWER = {"version": 1, "success": True, "token_type": KIND}
PRINTED = json.dumps({**ANSWER, "id_token": TOKEN, "expiration_time": 9999999999})


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Return a function that reads a secret with a program that runs some lines of sh."""
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    opened = []

    def get(lines, name="print-token"):
        program = tmp_path / "print-token"
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o700)
        executable = {"command": str(tmp_path / name), "timeout_millis": 60000}
        credentials = pluggable.Credentials(
            audience="//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
            subject_token_type=KIND,
            token_url="https://sts.googleapis.com/v1/token",
            credential_source={"executable": executable},
        )
        nowhere = {"api_endpoint": "http://127.0.0.1:9"}
        provider = GCPSecretProvider("p", transport="rest", credentials=credentials, client_options=nowhere)
        opened.append(provider)
        return provider.get_secret("k")

    yield get
    for provider in opened:
        provider.close()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (f"echo warning >&2\necho '{PRINTED}'", "JSONDecodeError"),
        (f"echo '{PRINTED}'\necho warning >&2", "JSONDecodeError"),
        (f"echo '{json.dumps(ANSWER)}'", "KeyError"),
        ("true", "TypeError"),
        ("printf '\\377'", "UnicodeDecodeError"),
        (f"echo '{PRINTED}'\nexit 1", "RefreshError"),
        ("echo no such account\nexit 1", "no such account"),
    ],
    ids=["warns before", "warns after", "no token", "nothing", "not text", "fails with a token", "fails"],
)
def test_a_program_that_prints_something_else_is_a_failed_login(read, lines, said):
    """It is not a backend that is down, which a cache would stand in for, and the token is in no text."""
    with pytest.raises(AuthenticationError, match=said) as raised:
        read(lines)
    assert TOKEN not in f"{raised.value} {raised.value.__cause__!r}"


def test_a_program_that_does_not_exist_is_a_failed_login(read):
    with pytest.raises(AuthenticationError, match=r"FileNotFoundError.*absent"):
        read("true", name="absent")


def test_what_a_program_printed_is_left_out_of_the_error_of_grpc_too():
    text = f"Getting metadata from plugin failed with error: Executable exited with 1. Error: {PRINTED}"
    ours = translate(ServiceUnavailable(text), doing="reading", key="k")
    assert isinstance(ours, AuthenticationError)
    assert TOKEN not in f"{ours} {ours.__cause__!r}"
