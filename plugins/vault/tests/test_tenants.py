"""Hostile tenant ids and keys against a real server, which itself tells whether one got out.

The tenant's token may do anything below its own prefix and nothing else, so a request that leads out of it is
answered 403: here an error that fails the test. What lies beside must be as it was.
"""

from __future__ import annotations

import random

import pytest
from strongroom import TenantContext, TenantSecretProvider
from strongroom.errors import (
    InvalidKeyError,
    InvalidTenantError,
    SecretNotFoundError,
    SecretTooLargeError,
)
from strongroom_vault import VaultSecretProvider

PIECES = [
    *("..", ".", "/", "//", "\\", "%2e%2e", "%2f", "%252f", "%00", "..;", "\x00", "\n", "\r\n", "\t", " ", "\u2028"),
    *("\u2215", "\uff0f", "\uff0e\uff0e", "\ud800", "é", "*", "?", "#", "&", "+", "{tenant}", "{key}", "${env:HOME}"),
    *("tenants", "victim", "acme", "metadata", "data", "a", "b", "$(id)", "';--", "~", ":", "@", "=", "list=true"),
]  # fmt: skip
FIXED = [
    *("../victim/a", "../victim/", "x/../../victim/", "acme/../../victim/a", "/tenants/victim/", "..%2fvictim%2fa"),
    *("../../metadata/tenants/victim/", "..", "../", "./../victim/", "a/..", "%2e%2e/victim/", "..?list=true", "#/../"),
]  # fmt: skip


def hostile(count, seed):
    drawn = random.Random(seed)
    return FIXED + ["".join(drawn.choices(PIECES, k=drawn.randint(1, 7))) for _ in range(count - len(FIXED))]


@pytest.fixture
def acme(server, mount):
    """A tenant's provider whose token the server confines to the tenant's own space."""
    rules = "\n".join(
        f'path "{mount}/{part}/tenants/acme/*" {{ capabilities = ["create", "read", "update", "delete", "list", "patch"] }}'
        for part in ("data", "metadata", "delete", "destroy", "undelete")
    )
    server.client.sys.create_or_update_policy(mount, rules)
    token = server.client.auth.token.create(policies=[mount])["auth"]["client_token"]
    with (
        VaultSecretProvider(server.url, server.token, mount) as root,
        VaultSecretProvider(server.url, token, mount, kv_version=2) as confined,
    ):
        root.set_secret("tenants/victim/a", "the victim's")
        root.set_secret("victim/a", "another's")
        yield TenantSecretProvider(confined), root
    server.client.sys.delete_policy(mount)


def stays_inside(acme, root, texts):
    with TenantContext("acme"):
        for text in texts:
            for call in (
                lambda key: acme.set_secret(key, "x"),
                acme.get_secret,
                acme.list_secrets,
                acme.delete_secret,
            ):
                try:
                    found = call(text)
                except (InvalidKeyError, SecretNotFoundError, SecretTooLargeError):
                    continue
                if isinstance(found, list):
                    assert all(key.startswith(text) for key in found)
                    assert not {"..", ".", ""} & {part for key in found for part in key.split("/")}
                else:
                    assert found in {None, "x"}
        acme.set_secret("last", "x")
    for text in texts:
        try:
            with TenantContext(text):
                pass
        except InvalidTenantError:
            continue
        assert text.replace("_", "").replace("-", "").isalnum()
    assert root.get_secret("tenants/victim/a") == "the victim's"
    assert [key for key in root.list_secrets() if not key.startswith("tenants/acme/")] == [
        *("tenants/victim/a", "victim/a")
    ]


def test_hostile_keys_stay_in_the_tenants_space(acme):
    stays_inside(*acme, hostile(70, seed=5))


@pytest.mark.torture
def test_5000_hostile_keys_stay_in_the_tenants_space(acme):
    stays_inside(*acme, hostile(5_000, seed=6))


def test_the_server_tells_what_gets_out(acme):
    """The test can fail: without the tenant's prefix the server refuses."""
    confined = acme[0].inner
    with pytest.raises(PermissionError):
        confined.get_secret("tenants/victim/a")
    with pytest.raises(PermissionError):
        confined.list_secrets("tenants/victim/")
