"""Every way to log in at a real server, and what becomes of tokens that end."""

from __future__ import annotations

import http.server
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
import requests
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from log_listener import listening
from strongroom import SecretProviderRegistry
from strongroom.errors import AuthenticationError, BackendUnavailableError, ConfigurationError, ThrottledError
from strongroom.hooks import SecretHook
from strongroom.plugins.credentials import ReferencedText
from strongroom.testing.conformance.base import assert_harmless
from strongroom_vault import VaultSecretProvider, refusals
from strongroom_vault.login import Login
from strongroom_vault.wire import Call

VALUE = "a-value-that-no-message-may-tell"
# Of "pass-word-1", with the least cost that the server takes: to its own hashes, it compares for a tenth of a second.
QUICK_HASH = "$2b$05$abcdefghijklmnopqrstuupSO9sO3ASIekd.qADcbb/jgkLKkQBR2"


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
        text = f"{caught.value} {caught.value!r} {caught.value.__context__!r} {provider!r}"
        for name, secret in auth.items():
            assert name == "mount_point" or len(secret) < 9 or secret not in text
    return caught.value


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
    # Without the policy `default` its token may not look itself up, and serves all the same.
    approle.create_or_update_approle(
        "app", token_policies=[policy], token_no_default_policy=True, mount_point=path
    )
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        report = provider.diagnose()
    assert (report["reachable"], report["can_list"]) == ("yes", "yes")
    assert "may not look itself up" in report["identity"]


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
    other = refused(server, mount, {**auth, "jwt": token_of(key, sub="ci", aud="others")})
    assert "locks" in other.hint
    without = jwt.encode(
        {"sub": "ci", "aud": "vault", "exp": int(time.time()) + 3600}, key, algorithm="RS256"
    )
    assert "not_before_leeway" in refused(server, mount, {**auth, "jwt": without}).hint
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
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
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


def test_a_token_file_that_is_not_text_is_not_shown(tmp_path):
    """The error of Python's decoder holds the whole file."""
    file = tmp_path / "token"
    file.write_bytes(b"hvs.hunter2\xff")
    auth = {"method": "token_file", "path": str(file)}
    with (
        VaultSecretProvider("http://127.0.0.1:1", auth=auth, mount_point="kv") as provider,
        pytest.raises(ConfigurationError, match="UnicodeDecodeError") as refused,
    ):
        provider.get_secret("k")
    assert_harmless(refused.value, "hunter2")


@pytest.mark.parametrize("lost", ["token", "policy"])
def test_a_watch_that_loses_its_right_says_so_once_and_again_when_it_is_back(
    server, mount, policy, tmp_path, lost
):
    rules = server.client.sys.read_policy(policy)["data"]["rules"]

    def token():
        return server.client.auth.token.create(policies=[policy])["auth"]["client_token"]

    file, heard, outcomes = tmp_path / "token", threading.Event(), []
    file.write_text(token())

    class Recorder(SecretHook):
        def after(self, event):
            outcomes.append((event.operation, event.key, event.outcome))

    with (
        VaultSecretProvider(server.url, server.token, mount) as writer,
        VaultSecretProvider(
            server.url, auth={"method": "token_file", "path": str(file)}, mount_point=mount
        ) as watched,
        SecretProviderRegistry(
            {"version": 1, "pipelines": {"none": {"provider": {"type": "memory"}}}}
        ) as registry,
        listening() as log,
    ):
        writer.set_secret("k", "1")
        registry.register("team", watched, prefix="")
        registry.add_hook(Recorder())
        with registry.watch("k", lambda _: heard.set(), poll_seconds=0.05):
            if lost == "token":
                server.client.auth.token.revoke(file.read_text())
            else:
                server.client.sys.create_or_update_policy(
                    policy, 'path "other/*" { capabilities = ["read"] }'
                )
            kind = "AuthenticationError" if lost == "token" else "PermissionDeniedError"
            log.wait("pipeline team", kind, server.url)
            writer.set_secret("k", "2")
            if lost == "token":
                file.write_text(token())
            else:
                server.client.sys.create_or_update_policy(policy, rules)
            log.wait("pipeline team", "again")
            assert heard.wait(300)
    assert sum(kind in one for one in log.messages) == 1
    assert outcomes[:2] == [("watch", "k", "ok"), ("watch", "k", "denied")]
    assert outcomes.count(("watch", "k", "denied")) == 1


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
    monkeypatch.setattr("strongroom_vault.refusals.time", made)
    return made


@pytest.fixture
def user(server, policy, enabled):
    """Return the login of a user whose tokens live as long as a test says."""
    path = enabled("userpass")

    def make(**options):
        body = {"password_hash": QUICK_HASH, "policies": [policy], **options}
        server.client.adapter.post(f"/v1/auth/{path}/users/u", json=body)
        return {"method": "userpass", "username": "u", "password": "pass-word-1", "mount_point": path}

    return make


def looked_up(server, provider):
    return server.client.auth.token.lookup(provider._client.login._token)["data"]


def test_a_token_is_renewed_before_it_ends(server, mount, user, clock):
    auth = user(token_ttl="6000s", token_max_ttl="60000s")
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", VALUE)
        first = looked_up(server, provider)
        assert "last_renewal" not in first
        clock.passed = 3900
        provider.get_secret("k")
        assert looked_up(server, provider)["accessor"] == first["accessor"]
        assert "last_renewal" not in looked_up(server, provider)
        clock.passed = 4100
        assert provider.get_secret("k") == VALUE
        renewed = looked_up(server, provider)
        assert renewed["accessor"] == first["accessor"]
        assert renewed["last_renewal_time"] > 0


def test_a_renewed_token_ends_as_long_after_the_request_as_the_server_says(clock):
    """The answer may be late, and a lease that is issued under the token ends with it."""

    def send(method, path, **_):
        clock.passed += 100
        return {"auth": {"client_token": "t", "lease_duration": 600, "renewable": True}}

    send.server = ("nowhere", None)
    login = Login(None, {"method": "userpass", "username": "late", "password": "pass-word-1"})
    for _ in ("a login", "a renewal"):
        began = clock.monotonic()
        login.token(send, Call(1000))
        assert login.present()[1] == pytest.approx(began + 600, abs=50)
        clock.passed += 350


@pytest.mark.parametrize(
    "ages",
    [
        {"token_ttl": "60s", "token_max_ttl": "60s"},
        {"token_period": "600s", "token_explicit_max_ttl": "60s"},  # which caps the period
    ],
    ids=["renewable", "periodic"],
)
def test_a_token_that_cannot_be_renewed_any_longer_is_replaced(server, mount, user, clock, ages):
    auth = user(**ages)
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
            together.wait(300)
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
        assert "read 'k' at" in str(caught.value)
        assert token not in repr(caught.value)
        assert "auth" in caught.value.hint


# --- renewals that fail while the token is good ---


class Relay(http.server.BaseHTTPRequestHandler):
    """Passes on to a server, counts what is asked, and answers some paths itself."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        with self.server.lock:
            self.server.asked.append(path)
        kept = self.server.answers.get(path.rpartition("/")[2])
        if kept is None:
            sent = {
                name: text
                for name, text in self.headers.items()
                if name.lower() not in {"host", "connection"}
            }
            reply = self.server.session.request(
                self.command, self.server.target + self.path, headers=sent, data=body, allow_redirects=False
            )
            status, data, kind = reply.status_code, reply.content, reply.headers.get("Content-Type", "")
        else:
            (status, data), kind = kept, "application/json"
        if status == 0:
            self.server.held.wait(300)
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_LIST = do_DELETE = do_PUT = answer

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def relay(server):
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    made.target, made.asked, made.answers, made.lock = server.url, [], {}, threading.Lock()
    made.session, made.held = requests.Session(), threading.Event()
    made.url = f"http://127.0.0.1:{made.server_port}"
    made.logins = lambda: sum("/login" in path for path in made.asked)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.held.set()
    made.shutdown()
    thread.join()
    made.server_close()
    made.session.close()


ROLE_GONE = b'{"errors": ["role "r" does not exist during renewal"]}'
FAILING = {
    "the role is gone": (500, ROLE_GONE),
    "past its greatest age": (500, b'{"errors": ["past the max TTL, cannot renew"]}'),
    "an internal error": (500, b'{"errors": ["internal error"]}'),
    "a bad gateway": (502, b"<html>"),
    "sealed": (503, b'{"errors": ["Vault is sealed"]}'),
    "a rate limit": (429, b'{"errors": ["request path: rate limit quota exceeded"]}'),
    "the user is gone": (204, b""),
    "no permission": (403, b'{"errors": ["1 error occurred:\\n\\t* permission denied\\n\\n"]}'),
    "a portal": (200, b"<html>"),
    "the token is used up": (400, b'{"errors": ["token not found"]}'),
    "no answer": (0, b""),
}


@pytest.mark.parametrize("why", FAILING)
def test_a_good_token_is_used_while_it_cannot_be_renewed(relay, server, mount, user, clock, why, caplog):
    """Neither renewals nor logins work; the token is good for the third of its life that is left."""
    auth = user(token_ttl="600s", token_max_ttl="6000s")
    seconds = 8 if why == "no answer" else 120  # of which a renewal may take a quarter
    with VaultSecretProvider(relay.url, auth=auth, mount_point=mount, timeout=seconds) as provider:
        provider.set_secret("k", VALUE)
        token = provider._client.login._token
        relay.answers.update({"renew-self": FAILING[why], "u": (503, b'{"errors": ["busy"]}')})
        clock.passed = 401
        before = len(relay.asked)
        assert [provider.get_secret("k") for _ in range(5)] == [VALUE] * 5
        assert len(relay.asked) - before <= 7  # five reads, a renewal, a login
        assert "not renewed" in caplog.text
        assert token not in caplog.text
        assert VALUE not in caplog.text
        relay.answers.clear()
        relay.held.set()
        clock.passed = 470
        assert provider.get_secret("k") == VALUE
        # 30 to 60 s later it is tried again.
        assert looked_up(server, provider)["creation_ttl"] == 600
        assert provider._client.login._renew_at > clock.monotonic() + 300


def test_a_login_that_hangs_leaves_a_request_with_a_good_token_its_time(clock):
    """A token that cannot be renewed is replaced before its end; until then nothing depends on that."""
    shares = []

    def send(method, path, *, share=1, **_):
        shares.append(share)
        if len(shares) > 1:
            raise BackendUnavailableError("no answer")
        return {"auth": {"client_token": "t", "lease_duration": 600, "renewable": False}}

    send.server = ("nowhere", None)
    login = Login(None, {"method": "userpass", "username": "hangs", "password": "pass-word-1"})
    assert login.token(send, Call(1000)) == "t"
    clock.passed = 401
    assert login.token(send, Call(1000)) == "t"
    clock.passed = 601
    with pytest.raises(BackendUnavailableError):
        login.token(send, Call(1000))
    assert shares == [1, 2, 1]


def test_a_login_may_take_longer_than_a_lock_can_wait():
    """As with a `timeout` of 1e10 seconds, which no option forbids."""

    def send(method, path, **_):
        return {"auth": {"client_token": "t", "lease_duration": 600}}

    send.server = ("nowhere", None)
    login = Login(None, {"method": "userpass", "username": "long", "password": "pass-word-1"})
    assert login.token(send, Call(1e10)) == "t"


def test_a_token_that_has_ended_is_told_by_the_login(relay, server, mount, user, clock):
    auth = user(token_ttl="600s")
    with VaultSecretProvider(relay.url, auth=auth, mount_point=mount, timeout=120) as provider:
        provider.set_secret("k", VALUE)
        limit = (429, b'{"errors": ["rate limit quota exceeded"]}')
        relay.answers.update({"renew-self": limit, "u": limit})
        clock.passed = 601
        with pytest.raises(ThrottledError, match="login"):
            provider.get_secret("k")


def test_a_renewal_that_grants_a_moment_leads_to_a_login_or_to_the_tokens_end(server, mount, user, clock):
    """Near its greatest age a token is granted less and less; a one-time secret cannot be shown again."""
    auth = user(token_ttl="600s", token_max_ttl="600s")
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", VALUE)
        server.client.auth.userpass.delete_user("u", mount_point=auth["mount_point"])
        for clock.passed in (401, 500, 550):
            assert provider.get_secret("k") == VALUE


def test_a_token_of_few_uses_is_neither_renewed_nor_looked_up(server, mount, policy, enabled, relay, clock):
    path = enabled("approle")
    approle = server.client.auth.approle
    approle.create_or_update_approle(
        "app", token_policies=[policy], token_num_uses=2, token_ttl="60s", mount_point=path
    )
    role = approle.read_role_id("app", mount_point=path)["data"]["role_id"]
    secret = approle.generate_secret_id("app", mount_point=path)["data"]["secret_id"]
    auth = {"method": "approle", "role_id": role, "secret_id": secret, "mount_point": path}
    with VaultSecretProvider(relay.url, auth=auth, mount_point=mount) as provider:
        provider.set_secret("k", VALUE)
        clock.passed = 41
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(provider.get_secret, ["k"] * 16)) == [VALUE] * 16
        assert not [path for path in relay.asked if path.endswith("-self")]
        assert relay.logins() <= 10  # 18 requests that count


# --- refused logins ---


@pytest.fixture
def role(server, mount, policy, enabled):
    """An AppRole; returns a function that gives its login with a secret of one's own."""
    path = enabled("approle")
    approle = server.client.auth.approle
    approle.create_or_update_approle("app", token_policies=[policy], mount_point=path)
    role_id = approle.read_role_id("app", mount_point=path)["data"]["role_id"]
    made = approle.generate_secret_id("app", mount_point=path)["data"]["secret_id"]

    def login(secret=made):
        return {"method": "approle", "role_id": role_id, "secret_id": secret, "mount_point": path}

    def single_use():
        assert server.client.adapter.post(f"/v1/auth/{path}/role/app", json={"secret_id_num_uses": 1}).ok
        return approle.generate_secret_id("app", mount_point=path)["data"]["secret_id"]

    login.good, login.single_use = made, single_use
    return login


def test_one_stale_id_costs_three_logins_in_fifteen_minutes_and_locks_nobody(
    relay, server, mount, role, clock
):
    with VaultSecretProvider(server.url, auth=role(), mount_point=mount) as good:
        good.set_secret("k", VALUE)
    providers = [
        VaultSecretProvider(relay.url, auth=role("stale-secret-id"), mount_point=mount, timeout=30)
        for _ in range(4)
    ]
    errors = []

    def read(provider):
        try:
            provider.get_secrets(["k", "l", "m"])
        except AuthenticationError as error:
            errors.append(str(error))

    for clock.passed in range(0, 890, 89):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(read, providers * 4))
    assert len(errors) == 160
    assert relay.logins() <= 3
    assert any("not tried again for" in text for text in errors)
    assert all("locks the role" in text for text in errors)
    assert "stale-secret-id" not in "".join(errors)
    assert "invalid role or secret ID" in errors[0]
    for provider in providers:
        provider.close()
    # Holders of good secrets are not locked out.
    with VaultSecretProvider(relay.url, auth=role(), mount_point=mount) as good:
        assert good.get_secret("k") == VALUE


def test_a_changed_credential_is_tried_at_once(relay, server, mount, role, tmp_path):
    file = tmp_path / "secret-id"
    file.write_text("stale\n")
    auth = role()
    del auth["secret_id"]
    with VaultSecretProvider(
        relay.url, auth={**auth, "secret_id_path": str(file)}, mount_point=mount
    ) as provider:
        for _ in range(5):
            with pytest.raises(AuthenticationError):
                provider.get_secret("k")
        assert relay.logins() == 1
        file.write_text(role.good)
        provider.set_secret("k", VALUE)
        assert provider.get_secret("k") == VALUE
        assert relay.logins() == 2


def test_the_pause_grows_and_ends(relay, server, mount, role, clock, monkeypatch):
    monkeypatch.setattr(refusals, "_remembered", {})
    with VaultSecretProvider(relay.url, auth=role("another-stale-id"), mount_point=mount) as provider:
        counted = []
        for clock.passed in (0, 4, 6, 60, 67, 900, 966, 970, 1900):
            with pytest.raises(AuthenticationError):
                provider.get_secret("k")
            counted.append(relay.logins())
        assert counted == [1, 1, 2, 2, 3, 3, 3, 4, 5]


def test_a_server_that_is_down_is_no_refusal(relay, server, mount, role):
    relay.answers["login"] = (503, b'{"errors": ["Vault is sealed"]}')
    with VaultSecretProvider(relay.url, auth=role(), mount_point=mount) as provider:
        with pytest.raises(BackendUnavailableError, match="sealed"):
            provider.get_secret("k")
        relay.answers["login"] = (403, b"<html>a proxy</html>")
        with pytest.raises(BackendUnavailableError, match="not a Vault server"):
            provider.get_secret("k")
        relay.answers.clear()
        provider.set_secret("k", VALUE)


def test_a_changed_reference_is_tried_at_once(relay, server, mount, role):
    """A dead id is shown once; what its reference brings in later is shown by the next read, for all threads."""
    now = ["stale-by-reference"]
    auth = {**role(), "secret_id": ReferencedText("stale-by-reference", lambda: now[0])}
    with VaultSecretProvider(relay.url, auth=auth, mount_point=mount) as provider:
        for _ in range(5):
            with pytest.raises(AuthenticationError):
                provider.get_secret("k")
        assert relay.logins() == 1
        now[0] = role.good
        provider.set_secret("k", VALUE)
        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(provider.get_secret, ["k"] * 16)) == {VALUE}
        assert relay.logins() == 2


def test_a_dead_token_is_replaced_by_what_its_reference_brings_in(relay, server, mount):
    dead = server.client.auth.token.create()["auth"]["client_token"]
    server.client.auth.token.revoke(dead)
    now = [dead]
    token = ReferencedText(dead, lambda: now[0])
    with VaultSecretProvider(relay.url, token, mount_point=mount) as provider:
        with pytest.raises(AuthenticationError, match="the token is not valid") as caught:
            provider.set_secret("k", VALUE)
        assert dead not in f"{caught.value!r}{caught.value.__context__!r}"
        now[0] = server.client.token
        provider.set_secret("k", VALUE)
        assert provider.get_secret("k") == VALUE


@pytest.mark.parametrize("first", ["", "dead"])
def test_a_token_whose_reference_is_empty_for_a_while_is_looked_for_again(server, mount, first):
    """As where a file is written in two steps, or only after the process has started."""
    now = [first]
    token = ReferencedText(first, lambda: now[0])
    with VaultSecretProvider(server.url, token, mount) as provider:
        for now[0] in (first, "", ""):
            with pytest.raises(AuthenticationError):
                provider.get_secret("k")
        with pytest.raises(AuthenticationError, match="no token"):
            provider.get_secret("k")
        now[0] = server.client.token
        provider.set_secret("k", VALUE)
        assert provider.get_secret("k") == VALUE


def test_a_token_file_that_is_empty_is_told_as_that_and_read_again(server, mount, tmp_path):
    file = tmp_path / "token"
    file.write_text("\n")
    auth = {"method": "token_file", "path": str(file)}
    with VaultSecretProvider(server.url, auth=auth, mount_point=mount) as provider:
        with pytest.raises(AuthenticationError, match="no token") as caught:
            provider.get_secret("k")
        assert "must not be empty" in caught.value.hint
        file.write_text(server.client.token)
        provider.set_secret("k", VALUE)


def test_a_single_use_id_serves_sixteen_threads(relay, server, mount, role):
    """One thread logs in with it, the others wait for its token: nobody shows it a second time."""
    single = role.single_use()
    with VaultSecretProvider(relay.url, auth={**role(), "secret_id": single}, mount_point=mount) as provider:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda at: provider.set_secret(f"k{at}", VALUE), range(16)))
        assert relay.logins() == 1
