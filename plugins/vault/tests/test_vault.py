"""What is special about Vault."""

from __future__ import annotations

import socket

import hvac.exceptions
import pytest
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.testing.faults import ends_in_time
from strongroom_vault import VaultSecretProvider
from strongroom_vault.errors import TABLE


def test_table_names_every_exception_of_hvac():
    kinds = {k.__name__ for k in vars(hvac.exceptions).values() if isinstance(k, type)}
    assert kinds == set(TABLE)


def test_both_kv_versions_keep_secrets(server, any_mount):
    with VaultSecretProvider(server.url, server.token, any_mount) as provider:
        provider.set_secret("a/b", "x")
        assert provider.get_secrets(["a/b", "c"]) == {"a/b": "x"}
        assert provider.list_secrets("a/") == ["a/b"]
        if provider._version == 1:
            with pytest.raises(UnsupportedOperationError):
                provider.list_versions("a/b")
        provider.delete_secret("a/b")
        assert provider.list_secrets() == []


def test_reason_tells_deleted_from_destroyed(server, mount, provider):
    provider.set_secret("k", "1")
    provider.delete_secret("k")
    with pytest.raises(SecretNotFoundError) as deleted:
        provider.get_secret("k")
    server.client.secrets.kv.v2.destroy_secret_versions("k", [1], mount_point=mount)
    with pytest.raises(SecretNotFoundError) as destroyed:
        provider.get_secret("k")
    assert (deleted.value.reason, destroyed.value.reason) == ("deleted", "destroyed")


def test_other_fields_are_not_lost(server, mount, provider):
    server.client.secrets.kv.v2.create_or_update_secret(
        "k", {"user": "u", "password": "p"}, mount_point=mount
    )
    with pytest.raises(ValidationError):
        provider.set_secret("k", "plain")
    with VaultSecretProvider(server.url, server.token, mount, field="password") as one:
        one.set_secret("k", "new")
        assert one.get_secret("k") == "new"
    assert provider.get_secret("k") == '{"password": "new", "user": "u"}'


def test_conditional_write_conflicts(provider):
    assert provider.set_secret_if("k", "1", None) == "1"
    with pytest.raises(ConflictError):
        provider.set_secret_if("k", "2", None)


def test_wrong_mount_is_configuration(server):
    with (
        VaultSecretProvider(server.url, server.token, "nowhere") as provider,
        pytest.raises(ConfigurationError),
    ):
        provider.get_secret("k")


def test_denied_and_not_logged_in_differ(server, mount):
    token = server.client.auth.token.create(policies=["default"])["auth"]["client_token"]
    with VaultSecretProvider(server.url, token, mount) as denied, pytest.raises(PermissionDeniedError):
        denied.get_secret("k")
    with VaultSecretProvider(server.url, "bogus", mount) as bogus, pytest.raises(AuthenticationError):
        bogus.get_secret("k")


def test_dead_token_leads_to_a_new_login(server, mount):
    client = server.client
    client.sys.enable_auth_method("userpass", path=mount)
    client.auth.userpass.create_or_update_user("u", "pw", policies=["root"], mount_point=mount)
    client.sys.create_or_update_policy(
        mount, f'path "{mount}/*" {{ capabilities = ["create", "read", "update"] }}'
    )
    client.auth.userpass.create_or_update_user("u", "pw", policies=[mount], mount_point=mount)
    auth = {"method": "userpass", "username": "u", "password": "pw", "mount_point": mount}
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", "v")
        client.auth.token.revoke(provider._client.login._token)
        assert provider.get_secret("k") == "v"


def test_black_hole_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as hole:
        provider = VaultSecretProvider(f"http://127.0.0.1:{hole.getsockname()[1]}", "t", timeout=0.3)
        ends_in_time(lambda: provider.get_secret("k"), BackendUnavailableError, 0.3)
        provider.close()


def test_diagnose_tells_who_is_logged_in(server, provider):
    told = provider.diagnose()
    assert told["identity"] == "token (root)"
    assert server.token not in repr(told)


@pytest.mark.parametrize(
    "options",
    [
        {"url": ""},
        {"client_key": "key.pem"},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"max_connections": 0},
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options):
    with pytest.raises(ConfigurationError):
        VaultSecretProvider(**({"url": "http://127.0.0.1:1", "token": "t"} | options))


def test_a_version_that_is_no_text_is_not_there(provider):
    provider.set_secret("k", "v")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret_version("k", 1)
