"""Every way to log in at a real server, and what becomes of tokens that end."""

from __future__ import annotations

import http.server
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from strongroom.errors import AuthenticationError, ConfigurationError
from strongroom_vault import VaultSecretProvider

VALUE = "a-value-that-no-message-may-tell"


@pytest.fixture
def policy(server, mount):
    """A policy that may use the mount; its name is the mount's."""
    allowed = '"create", "read", "update", "delete", "list"'
    server.client.sys.create_or_update_policy(mount, f'path "{mount}/*" {{ capabilities = [{allowed}] }}')
    return mount


@pytest.fixture
def enabled(server, mount):
    """Return a function that enables an auth method under the mount's name."""

    def enable(method):
        server.client.sys.enable_auth_method(method, path=mount)
        return mount

    yield enable
    server.client.sys.disable_auth_method(mount)


def works(server, mount, auth):
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", VALUE)
        assert provider.get_secret("k") == VALUE
        assert VALUE not in repr(provider)


def refused(server, mount, auth):
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        with pytest.raises(AuthenticationError) as caught:
            provider.get_secret("k")
        told = f"{caught.value} {caught.value!r} {caught.value.__context__!r} {provider!r}"
        for secret in auth.values():
            assert len(secret) < 9 or secret not in told


def test_userpass(server, mount, policy, enabled):
    path = enabled("userpass")
    server.client.auth.userpass.create_or_update_user("u", "pass-word-1", policies=[policy], mount_point=path)
    auth = {"method": "userpass", "username": "u", "password": "pass-word-1", "mount_point": path}
    works(server, mount, auth)
    refused(server, mount, {**auth, "password": "pass-word-2"})
    refused(server, mount, {**auth, "mount_point": "nowhere"})


def test_approle(server, mount, policy, enabled):
    path = enabled("approle")
    approle = server.client.auth.approle
    approle.create_or_update_approle("app", token_policies=[policy], mount_point=path)
    role = approle.read_role_id("app", mount_point=path)["data"]["role_id"]
    secret = approle.generate_secret_id("app", mount_point=path)["data"]["secret_id"]
    auth = {"method": "approle", "role_id": role, "secret_id": secret, "mount_point": path}
    works(server, mount, auth)
    refused(server, mount, {**auth, "secret_id": "00000000-0000-0000-0000-000000000000"})


@pytest.fixture(scope="module")
def signing():
    """A private key, and its public one as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key, public.decode()


def token_of(key, **claims):
    now = int(time.time())
    return jwt.encode({"iat": now, "nbf": now - 5, "exp": now + 600, **claims}, key, algorithm="RS256")


def test_jwt(server, mount, policy, enabled, signing, tmp_path):
    key, public = signing
    path = enabled("jwt")
    server.client.auth.jwt.configure(jwt_validation_pubkeys=[public], path=path)
    server.client.auth.jwt.create_role(
        "app",
        role_type="jwt",
        user_claim="sub",
        bound_audiences=["vault"],
        allowed_redirect_uris=[],
        token_policies=[policy],
        path=path,
    )
    good = token_of(key, sub="ci", aud="vault")
    auth = {"method": "jwt", "role": "app", "jwt": good, "mount_point": path}
    works(server, mount, auth)
    refused(server, mount, {**auth, "jwt": token_of(key, sub="ci", aud="others")})
    file = tmp_path / "jwt"
    file.write_text(good + "\n")
    works(server, mount, {"method": "jwt", "role": "app", "jwt_path": str(file), "mount_point": path})
    with (
        VaultSecretProvider(server.url, auth={**auth, "jwt": "", "jwt_path": str(tmp_path / "none")}) as lost,
        pytest.raises(ConfigurationError),
    ):
        lost.get_secret("k")


class Reviewer(http.server.BaseHTTPRequestHandler):
    """As much of the API server of Kubernetes as the auth method asks: whose a token is."""

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = review["spec"]["token"] == self.server.good
        user = {"username": "system:serviceaccount:default:app", "uid": "u-1", "groups": []}
        review["status"] = {"authenticated": good, "user": user if good else {}}
        body = json.dumps(review).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def test_kubernetes(server, mount, policy, enabled, signing, tmp_path):
    key, public = signing
    account = {
        "kubernetes.io/serviceaccount/namespace": "default",
        "kubernetes.io/serviceaccount/service-account.name": "app",
        "kubernetes.io/serviceaccount/service-account.uid": "u-1",
    }
    good = token_of(key, sub="system:serviceaccount:default:app", iss="kubernetes/serviceaccount", **account)
    path = enabled("kubernetes")
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reviewer)
    made.good = good
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        # Not by hvac, which takes certificates for keys only.
        server.client.adapter.post(
            f"/v1/auth/{path}/config",
            json={
                "kubernetes_host": f"http://127.0.0.1:{made.server_port}",
                "kubernetes_ca_cert": trustme.CA().cert_pem.bytes().decode(),  # wanted, also without TLS
                "token_reviewer_jwt": good,
                "pem_keys": [public],
                "disable_local_ca_jwt": True,
            },
        )
        server.client.auth.kubernetes.create_role(
            "app", ["app"], ["default"], policies=[policy], mount_point=path
        )
        file = tmp_path / "token"
        file.write_text(good)
        works(
            server, mount, {"method": "kubernetes", "role": "app", "jwt_path": str(file), "mount_point": path}
        )
        other = token_of(key, sub="system:serviceaccount:default:other", **account)
        refused(server, mount, {"method": "kubernetes", "role": "app", "jwt": other, "mount_point": path})
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def test_a_token_file_is_read_again_when_its_token_has_died(server, mount, policy, tmp_path):
    def token():
        return server.client.auth.token.create(policies=[policy])["auth"]["client_token"]

    first, file = token(), tmp_path / "token"
    file.write_text(f"{first}\n")
    auth = {"method": "token_file", "path": str(file)}
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", VALUE)
        server.client.auth.token.revoke(first)
        file.write_text(token())
        assert provider.get_secret("k") == VALUE
        server.client.auth.token.revoke(file.read_text())
        with pytest.raises(AuthenticationError):
            provider.get_secret("k")
        file.unlink()
        with pytest.raises(ConfigurationError):
            provider.get_secret("k")


# --- tokens that end ---


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self):
        self.passed = 0.0

    def monotonic(self):
        return time.monotonic() + self.passed


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("strongroom_vault.login.time", made)
    return made


@pytest.fixture
def user(server, policy, enabled):
    """Return the login of a user whose tokens live as long as a test says."""
    path = enabled("userpass")

    def make(**options):
        server.client.auth.userpass.create_or_update_user(
            "u", "pass-word-1", policies=[policy], mount_point=path, **options
        )
        return {"method": "userpass", "username": "u", "password": "pass-word-1", "mount_point": path}

    return make


def looked_up(server, provider):
    return server.client.auth.token.lookup(provider._client.login._token)["data"]


def test_a_token_is_renewed_before_it_ends(server, mount, user, clock):
    auth = user(token_ttl="60s", token_max_ttl="600s")
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", VALUE)
        first = looked_up(server, provider)
        assert "last_renewal" not in first
        clock.passed = 39
        provider.get_secret("k")
        assert looked_up(server, provider)["accessor"] == first["accessor"]
        assert "last_renewal" not in looked_up(server, provider)
        clock.passed = 41
        assert provider.get_secret("k") == VALUE
        renewed = looked_up(server, provider)
        assert renewed["accessor"] == first["accessor"]
        assert renewed["last_renewal_time"] > 0


def test_a_token_that_cannot_be_renewed_any_longer_is_replaced(server, mount, user, clock):
    auth = user(token_ttl="60s", token_max_ttl="60s")
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", VALUE)
        first = provider._client.login._token
        server.client.auth.token.revoke(first)
        clock.passed = 41
        assert provider.get_secret("k") == VALUE
        assert provider._client.login._token != first


def test_a_dead_token_leads_to_one_login_for_all_threads(server, mount, user):
    auth = user()
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount, max_connections=32) as provider:
        provider.set_secret("k", VALUE)
        server.client.auth.token.revoke(provider._client.login._token)
        before = len(server.client.list("auth/token/accessors")["data"]["keys"])
        together = threading.Barrier(32)

        def read(_):
            together.wait(30)
            return provider.get_secret("k")

        with ThreadPoolExecutor(32) as pool:
            assert list(pool.map(read, range(32))) == [VALUE] * 32
        assert len(server.client.list("auth/token/accessors")["data"]["keys"]) == before + 1


def test_a_plain_token_that_has_died_is_told_as_that(server, mount, policy):
    token = server.client.auth.token.create(policies=[policy])["auth"]["client_token"]
    with VaultSecretProvider(server.url, token, mount) as provider:
        provider.set_secret("k", VALUE)
        server.client.auth.token.revoke(token)
        with pytest.raises(AuthenticationError) as caught:
            provider.get_secret("k")
        assert token not in repr(caught.value)
        assert "auth" in caught.value.hint
