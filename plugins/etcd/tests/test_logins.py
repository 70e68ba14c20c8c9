"""Log-ins to etcd: what users may, tokens that end, and passwords that change."""

from __future__ import annotations

import json
import ssl
import threading
import traceback
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from etcd_server import EtcdServer
from etcd_support import KEY, b64
from log_listener import listening
from strongroom import SecretProviderRegistry
from strongroom.deadlines import Deadline
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
)
from strongroom.plugins.credentials import ReferencedText
from strongroom.testing.faults import FaultProxy
from strongroom_etcd import EtcdSecretProvider
from strongroom_etcd.client import Client

QUICK = ("--bcrypt-cost", "4")


def with_users(running):
    """Turn on authentication: root, a user who may write below `app/`, and one who may read there."""
    ask = running.ask
    for user in ("root", "writer", "reader"):
        ask("/v3/auth/user/add", {"name": user, "password": f"pw-{user}"})
    ask("/v3/auth/role/add", {"name": "root"})
    ask("/v3/auth/user/grant", {"user": "root", "role": "root"})
    for user, kind in (("writer", "READWRITE"), ("reader", "READ")):
        ask("/v3/auth/role/add", {"name": user})
        permission = {"permType": kind, "key": b64("app/"), "range_end": b64("app0")}
        ask("/v3/auth/role/grant", {"name": user, "perm": permission})
        ask("/v3/auth/user/grant", {"user": user, "role": user})
    ask("/v3/auth/enable", {})
    return running


@pytest.fixture(scope="module")
def guarded():
    running = EtcdServer("--auth-token-ttl", "300", *QUICK)
    yield with_users(running)
    running.stop()


@pytest.fixture(scope="module")
def guarded_by_jwt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jwt")
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key").write_bytes(key.private_bytes(*form))
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "pub").write_bytes(key.public_key().public_bytes(*public))
    auth_token = f"jwt,pub-key={folder / 'pub'},priv-key={folder / 'key'},sign-method=ES256,ttl=10m"
    running = EtcdServer("--auth-token", auth_token, *QUICK)
    yield with_users(running)
    running.stop()


def end_tokens(server, user="writer"):
    """Set a password again: with it end that user's tokens, and, where they are JWTs, everybody's."""
    token = server.ask("/v3/auth/authenticate", {"name": "root", "password": "pw-root"})["token"]
    server.ask("/v3/auth/user/changepw", {"name": user, "password": f"pw-{user}"}, token)


def test_what_users_may(make, guarded):
    def as_user(name, **options):
        login = {"username": name, "password": f"pw-{name}", "prefix": "app/", **options}
        return make(guarded.url, **login)

    as_user("writer").set_secret("key", "1")
    reader = as_user("reader")
    assert reader.get_secret("key") == "1"
    with pytest.raises(PermissionDeniedError):
        reader.set_secret("key", "2")
    with pytest.raises(PermissionDeniedError):
        as_user("writer", prefix="other/").get_secret("key")
    with pytest.raises(AuthenticationError) as caught:
        as_user("writer", password="wrong-pw").get_secret("key")
    assert "wrong-pw" not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"
    with pytest.raises(AuthenticationError):
        make(guarded.url, prefix="app/").get_secret("key")


@pytest.mark.parametrize(("kind", "changed"), [("guarded", "writer"), ("guarded_by_jwt", "reader")])
def test_a_token_that_ended_is_replaced_without_an_error(make, request, kind, changed):
    """The cluster forgets a user's tokens as its password is set; JWTs end with any change of anybody."""
    server = request.getfixturevalue(kind)
    provider = make(server.url, username="writer", password="pw-writer", prefix="app/")
    provider.set_secret("key", "1")
    end_tokens(server, changed)
    assert provider.get_secret("key") == "1"
    end_tokens(server, changed)
    heard = threading.Event()
    with closing(provider.subscribe_changes(lambda _: heard.set())):
        provider.set_secret("key", "2")
        assert heard.wait(300)


def test_a_watch_that_is_cut_off_goes_on_with_another_token(make, guarded):
    """To a token that ended the cluster answers with a watch that was never there, and says no more."""
    writer = make(guarded.url, username="writer", password="pw-writer", prefix="app/")
    with FaultProxy(guarded.port) as proxy:
        endpoints = [f"http://127.0.0.1:{proxy.port}", guarded.url]
        reader = make(endpoints, username="reader", password="pw-reader", prefix="app/")
        writer.set_secret("key", "1")
        assert reader.get_secret("key") == "1"
        heard = threading.Event()
        subscription = reader.subscribe_changes(lambda _: heard.set())
        end_tokens(guarded, "reader")
    with closing(subscription):  # which was cut off as the proxy closed
        writer.set_secret("key", "2")
        assert heard.wait(300)


def test_a_watch_that_the_user_may_not_have_is_denied(make, guarded):
    provider = make(guarded.url, username="writer", password="pw-writer", prefix="other/")
    with pytest.raises(PermissionDeniedError, match=r"watch: .*permission denied"):
        provider.subscribe_changes(lambda _: None)
    with pytest.raises(PermissionDeniedError):
        make(guarded.url, prefix="app/").subscribe_changes(lambda _: None)


def test_a_watch_whose_right_is_taken_away_says_so_once_and_again_when_it_is_back(make, guarded):
    """Once the watch is cut off: a stream that is open goes on whatever becomes of the user."""
    token = guarded.ask("/v3/auth/authenticate", {"name": "root", "password": "pw-root"})["token"]

    def change(what, **more):
        user = "name" if what == "revoke" else "user"
        guarded.ask(f"/v3/auth/user/{what}", {user: "fleeting", **more}, token)

    guarded.ask("/v3/auth/user/add", {"name": "fleeting", "password": "pw-fleeting"}, token)
    change("grant", role="writer")
    writer = make(guarded.url, username="writer", password="pw-writer", prefix="app/")
    writer.set_secret("fleeting/key", "1")
    heard = threading.Event()
    spec = {"version": 1, "pipelines": {"none": {"provider": {"type": "memory"}}}}
    with (
        FaultProxy(guarded.port) as proxy,
        SecretProviderRegistry(spec) as registry,
        listening() as log,
    ):
        url = f"http://127.0.0.1:{proxy.port}"
        registry.register(
            "team", make(url, username="fleeting", password="pw-fleeting", prefix="app/"), prefix=""
        )
        with registry.watch("fleeting/", lambda _: heard.set()):
            change("revoke", role="writer")
            proxy.cut_after = 0  # as the next byte goes over the open stream
            writer.set_secret("other", "1")
            log.wait(f"changes at {url} are not received (PermissionDeniedError")
            log.wait("pipeline team", "PermissionDeniedError", "permission denied")
            writer.set_secret("fleeting/key", "2")
            change("grant", role="writer")
            log.wait(f"changes at {url} are received again")
            log.wait("pipeline team can be asked for changes again")
            assert heard.wait(300)
        assert sum("are not received" in one for one in log.messages) == 1
        assert "pw-fleeting" not in str(log.messages)


def test_another_member_is_asked_where_one_hangs_at_the_log_in(make, guarded):
    with FaultProxy(guarded.port) as proxy:
        proxy.mode = "black_hole"
        options = {"prefix": "app/hanging/", "username": "writer", "password": "pw-writer", "timeout": 4}
        provider = make([f"http://127.0.0.1:{proxy.port}", guarded.url], **options)
        provider.set_secret("key", "1")
        assert provider.get_secret("key") == "1"


def test_while_another_thread_logs_in_a_call_ends_at_its_own_deadline(make, guarded):
    options = {"prefix": "app/waiting/", "username": "writer", "password": "pw-writer"}
    make(guarded.url, **options).set_secret("key", "1")
    provider = make(guarded.url, **options, timeout=0.05)
    held, released = threading.Event(), threading.Event()

    def log_in():
        with provider._backend._client._lock:
            held.set()
            assert released.wait(60)

    other = threading.Thread(target=log_in)
    other.start()
    assert held.wait(60)
    try:
        with pytest.raises(BackendUnavailableError, match="no answer in time"):
            provider.get_secret("key")
    finally:
        released.set()
        other.join()


class NotesCertificates(BaseHTTPRequestHandler):
    """Ends each connection after one answer."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self.connection.getpeercert()["serialNumber"])
        body = b'{"header": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_client_certificate_that_is_replaced_is_used_for_the_next_connection(tmp_path):
    authority = trustme.CA()
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def write(path, pem):
        new = tmp_path / "new"
        pem.write_to_path(new)
        new.rename(path)

    with ThreadingHTTPServer(("127.0.0.1", 0), NotesCertificates) as running:
        running.daemon_threads, running.seen = True, []
        running.socket = context.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        client = Client([f"https://127.0.0.1:{running.server_port}"], None, None, (ca, cert, key), 4)

        def ask():
            client.call("read", "/v3/kv/range", {}, Deadline(600))

        with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
            ask()
        first, second = (authority.issue_cert("client") for _ in range(2))
        write(cert, first.cert_chain_pems[0])
        write(key, first.private_key_pem)
        ask()
        write(cert, second.cert_chain_pems[0])  # which does not fit the key yet
        ask()
        write(key, second.private_key_pem)
        ask()
        client.close()
        running.shutdown()
    one, same, other = running.seen
    assert one == same != other


def test_the_outage_of_a_backend_that_has_the_password_is_told_as_its_own(make, guarded):
    asked = []

    def again():
        asked.append(1)
        raise BackendUnavailableError("vault: read 'etcd/password': down", hint="see `vault status`")

    provider = make(
        guarded.url, prefix="app/", username="writer", password=ReferencedText("pw-from-before", again)
    )
    with pytest.raises(BackendUnavailableError) as caught:
        provider.get_secret("key")
    assert str(caught.value) == "vault: read 'etcd/password': down; see `vault status`"
    assert len(asked) == 1


def test_a_changed_password_is_tried_at_once(make, guarded):
    """A refused login is tried again with what the password's reference brings in by then."""
    now = ["pw-stale"]
    password = ReferencedText("pw-stale", lambda: now[0])
    provider = make(guarded.url, username="writer", password=password, prefix="app/")
    with pytest.raises(AuthenticationError):
        provider.get_secret("key")
    now[0] = "pw-writer"
    provider.set_secret("key", "1")
    assert provider.get_secret("key") == "1"


class Quoting(BaseHTTPRequestHandler):
    """A proxy that lets log-ins through, or not, and quotes what it refuses."""

    token = "the-token-of-a-log-in.17"
    lets_in = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.lets_in and self.path.endswith("/authenticate"):
            status, answer = 200, {"header": {}, "token": self.token}
        else:
            words = f"permission denied: {body} {self.headers['Authorization']}"
            status, answer = 400, {"error": words, "code": 7, "message": words}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("password", ["correct-horse-battery", "pw1", "denied", 'a "quoted" one'])
@pytest.mark.parametrize("lets_in", [True, False])
def test_a_password_or_token_that_a_proxy_quotes_is_in_no_error(lets_in, password, monkeypatch):
    monkeypatch.setattr(Quoting, "lets_in", lets_in)
    with HTTPServer(("127.0.0.1", 0), Quoting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with closing(
                EtcdSecretProvider(url, username="app", password=password, encryption_key=KEY)
            ) as provider:
                for call in (provider.list_secrets, lambda: provider.get_secret("k")):
                    with pytest.raises(PermissionDeniedError) as caught:
                        call()
                    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
                    assert Quoting.token not in shown
                    assert password == "denied" or json.dumps(password)[1:-1] not in shown
        finally:
            server.shutdown()
            thread.join()
