"""From a spec to a secret: logged in by a command `az` that stands in for Azure's own."""

from __future__ import annotations

import os
import sys
import time

import pytest
from strongroom import SecretProviderRegistry
from strongroom.errors import SpecError

AZ = """#!{python}
import json, sys
assert sys.argv[1:3] == ["account", "get-access-token"], sys.argv
print(json.dumps({{"accessToken": "token-of-az", "expires_on": {expires}, "tenant": "tenant", "tokenType": "Bearer"}}))
"""


@pytest.fixture
def az(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "az"
    script.write_text(AZ.format(python=sys.executable, expires=int(time.time()) + 3600))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def _spec(bench, **provider):
    given = {
        "type": "azure",
        "vault_url": bench.url(),
        "credential": {"method": "azure_cli", "tenant_id": "tenant"},
        "client_options": bench.client_options,
        **provider,
    }
    return {"version": 1, "pipelines": {"app": {"provider": given}}}


def test_a_spec_reads_and_writes(bench, az):
    with SecretProviderRegistry(_spec(bench, tags={"team": "core"}, timeout=5)) as registry:
        registry.set_secret("db/password", "s3cret")
        assert registry.get_secret("db/password") == "s3cret"
        assert registry.get_secrets(["db/password", "absent"]) == {"db/password": "s3cret"}
        assert registry.describe_secret("db/password").tags == {"team": "core"}
        assert registry.list_secrets() == ["db/password"]
    assert set(bench.store.tokens) == {"token-of-az"}


def test_explaining_asks_nothing(bench):
    with SecretProviderRegistry(_spec(bench)) as registry:
        registry.explain("db/password")
    assert bench.server.requests == 0


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"credential": {"method": "password"}}, "needs a method"),
        ({"timeout": 0}, "timeout"),
        ({"vault": "x"}, "vault_url"),
    ],
)
def test_a_wrong_option_is_told_by_the_spec(bench, wrong, expected):
    with pytest.raises(SpecError, match=expected):
        SecretProviderRegistry(_spec(bench, **wrong))
