"""Temporary credentials of roles, as moto's Security Token Service gives them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from strongroom import SecretProviderRegistry
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.hooks import SecretHook
from strongroom.leases import LeaseLedger
from strongroom_aws import AWSRoleProvider

ROLES = {"deploy": "arn:aws:iam::123456789012:role/deploy", "audit": "arn:aws:iam::123456789012:role/audit"}


@pytest.fixture
def provider(options):
    with AWSRoleProvider(roles=ROLES, **options) as made:
        yield made


def test_a_role_gives_credentials_that_work_and_end(provider, options):
    """One lease for all reads; neither renewed nor revoked."""
    found = json.loads(provider.get_secret("deploy"))
    assert set(found) == {"access_key_id", "secret_access_key", "session_token"}
    assert provider.get_secret("deploy") == provider.get_secret("deploy")
    client = boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=options["endpoint_url"],
        aws_access_key_id=found["access_key_id"],
        aws_secret_access_key=found["secret_access_key"],
        aws_session_token=found["session_token"],
    )
    assert ":assumed-role/deploy/" in client.get_caller_identity()["Arn"]
    client.close()
    lease = provider.issue_lease("audit")
    assert not lease.renewable
    assert timedelta(minutes=50) < lease.expires_at - datetime.now(UTC) < timedelta(minutes=70)
    assert not [one for one in lease.values.values() if one in repr(lease)]
    assert lease.id != provider.issue_lease("audit").id
    for refused in (provider.renew_lease, provider.revoke_lease):
        with pytest.raises(UnsupportedOperationError):
            refused(lease)
    with pytest.raises(UnsupportedOperationError):
        provider.set_secret("deploy", "x")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("unknown")
    assert provider.list_secrets() == ["audit", "deploy"]
    assert provider.list_secrets("d") == ["deploy"]


def test_a_spec_names_roles(options, tmp_path, monkeypatch):
    """And closing the registry takes what cannot be revoked for what it is."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    spec = {"version": 1, "pipelines": {"aws": {"provider": {"type": "aws.sts", "roles": ROLES, **options}}}}
    with SecretProviderRegistry(spec) as registry:
        lease = registry.lease("deploy")
        assert registry.get_field("deploy", "access_key_id") == lease.values["access_key_id"]


def test_hooks_see_what_is_done_under_the_name_that_callers_give_it(options, tmp_path, monkeypatch):
    """No failed revocation of what nobody can revoke, and the prefix that a route strips."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seen = []

    class Recorder(SecretHook):
        def after(self, event):
            seen.append((event.operation, event.key, event.outcome))

    spec = {
        "version": 1,
        "pipelines": {"aws": {"provider": {"type": "aws.sts", "roles": ROLES, **options}}},
        "routes": [{"prefix": "cloud/", "pipeline": "aws", "strip_prefix": True}],
    }
    with SecretProviderRegistry(spec) as registry:
        registry.add_hook(Recorder())
        registry.get_secret("cloud/deploy")
        [file] = LeaseLedger().files()
        [entry] = file.entries()
        assert entry.key == "deploy"
        assert registry.get_field("cloud/deploy", "access_key_id") not in str(entry.shown())
    assert seen == [("issue", "cloud/deploy", "ok"), *[("get", "cloud/deploy", "ok")] * 2]
    assert LeaseLedger().files() == []


def test_doctor_asks_the_service_who_is_logged_in(provider, keys, monkeypatch):
    """The names of roles are in the spec, so that a list of them says nothing of the service or of the login."""
    report = provider.diagnose()
    assert report["reachable"] == "yes"
    assert report["identity"].startswith("arn:aws:")
    assert report["can_list"] == "yes, 2 keys"
    with (
        AWSRoleProvider(
            "us-east-1", roles=ROLES, endpoint_url="http://127.0.0.1:9", timeout=1, **keys
        ) as away,
        pytest.raises(BackendUnavailableError),
    ):
        away.diagnose()
    monkeypatch.setenv("AWS_PROFILE", "")
    with (
        AWSRoleProvider("us-east-1", roles=ROLES, endpoint_url="http://127.0.0.1:9") as nobody,
        pytest.raises(ConfigurationError) as caught,
    ):
        nobody.diagnose()
    assert "unset AWS_PROFILE" in caught.value.hint


def test_wrong_options_and_a_service_that_is_away(keys):
    """Told before the first request, and as unavailable."""
    with pytest.raises(ConfigurationError, match="no roles"):
        AWSRoleProvider(roles={})
    with pytest.raises(ConfigurationError, match="900 to 43200"):
        AWSRoleProvider(roles=ROLES, duration_seconds=60)
    with (
        AWSRoleProvider(
            "us-east-1", roles=ROLES, endpoint_url="http://127.0.0.1:9", timeout=1, **keys
        ) as away,
        pytest.raises(BackendUnavailableError),
    ):
        away.get_secret("deploy")
