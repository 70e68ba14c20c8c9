"""The way of a request: kept connections, redirects, proxies, certificates, and answers that are not HTTP."""

from __future__ import annotations

import base64
import contextlib
import http.server
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretTooLargeError,
    StrongroomError,
)
from strongroom.parallel import in_parallel
from strongroom.testing.faults import FaultProxy
from strongroom_vault import VaultSecretProvider
from strongroom_vault.transport import Transport
from strongroom_vault.wire import Call

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from bao_server import served  # as above

BODY = b'{"data": {"data": {"value": "x"}, "metadata": {"version": 1}}, "request_id": "r"}'
TOKEN = "a-token-that-no-message-may-tell"


def answer(body=BODY, status="200 OK", *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


class Script:
    """A server that answers each request with the next text of a list, whatever it is; b"" ends the connection."""

    def __init__(self, answers, context=None):
        self.answers, self.context = list(answers), context
        self.requests, self.connections = [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                opened, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self.talk, args=(opened,), daemon=True).start()

    def talk(self, opened):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(opened.close)
            if self.context is not None:
                opened = self.context.wrap_socket(opened, server_side=True)
                stack.callback(opened.close)
            file = opened.makefile("rb")
            stack.callback(file.close)
            while line := file.readline():
                head = [line]
                while (line := file.readline()) not in {b"\r\n", b""}:
                    head.append(line)
                length = [one for one in head if one.lower().startswith(b"content-length:")]
                body = file.read(int(length[0].partition(b":")[2])) if length else b""
                self.requests.append((b"".join(head).decode(), body))
                reply = self.answers.pop(0) if self.answers else b""
                if not reply:
                    return
                opened.sendall(reply)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def provider(self, scheme="http", **options):
        options = {"kv_version": 2, "timeout": 10, **options}
        return VaultSecretProvider(f"{scheme}://127.0.0.1:{self.port}", TOKEN, **options)


# --- kept connections ---


def test_requests_go_over_one_connection_that_is_kept():
    with Script([answer()] * 5) as server, server.provider() as provider:
        assert [provider.get_secret("k") for _ in range(5)] == ["x"] * 5
    assert server.connections == 1


def test_a_read_over_a_connection_that_the_server_ends_is_sent_again_and_a_write_is_not():
    with Script([answer(), b"", answer(), b""]) as server, server.provider() as provider:
        assert [provider.get_secret("k") for _ in range(2)] == ["x"] * 2
        assert len(server.requests) == 3
    with Script([answer(), b"", answer()]) as server, server.provider() as provider:
        provider.get_secret("k")
        with pytest.raises(BackendUnavailableError, match="connection"):
            provider._client.call("post", "/v1/secret/data/k", "write", "k", json={})
        assert len(server.requests) == 2


def test_a_read_whose_answer_breaks_off_is_not_sent_again():
    with Script([answer(), answer()[:-5], b""]) as server, server.provider(timeout=60) as provider:
        provider.get_secret("k")
        provider._client.timeout = 0.5
        with pytest.raises(BackendUnavailableError):
            provider.get_secret("k")
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "first",
    [
        answer() + answer(BODY.replace(b'"x"', b'"of another"')),
        answer(BODY, "200 OK", "Connection: close"),
        answer().replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
        + f"{len(BODY):x}\r\n".encode()
        + BODY
        + b"\r\n0\r\n\r\n",
    ],
    ids=["more than was asked for", "told to close", "1.0", "two lengths"],
)
def test_what_may_mix_answers_up_is_not_used_again(first):
    with Script([first, answer()]) as server, server.provider() as provider:
        assert [provider.get_secret("k") for _ in range(2)] == ["x"] * 2
    assert server.connections == 2


class Silent(Script):
    """A server that answers two requests at once, and then none any more on the connections that it has."""

    def __init__(self, answers):
        super().__init__(answers)
        self.meet, self.silent = threading.Barrier(2), set()

    def talk(self, opened):
        number = self.connections
        with contextlib.suppress(OSError), opened, opened.makefile("rb") as file:
            while file.readline():
                while file.readline() not in {b"\r\n", b""}:
                    pass
                if number not in self.silent:
                    if number <= 2:
                        self.meet.wait(60)
                    opened.sendall(self.answers.pop(0))


def test_one_silent_connection_is_enough_to_give_up_all_that_are_idle():
    """As after a server that ended without a word: each of them would cost a call its whole time."""
    with Silent([answer()] * 3) as server, server.provider(timeout=60) as provider:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(provider.get_secret, "kk")) == ["x", "x"]
        server.silent = {1, 2}
        provider._client.timeout = 0.3
        with pytest.raises(BackendUnavailableError, match="deadline"):
            provider.get_secret("k")
        provider._client.timeout = 60
        assert provider.get_secret("k") == "x"
    assert server.connections == 3


def test_a_node_that_cannot_answer_is_not_asked_over_the_same_connection():
    sealed = answer(b'{"errors": ["Vault is sealed"]}', "503 Service Unavailable")
    denied = answer(b'{"errors": ["1 error occurred: permission denied"]}', "403 Forbidden")
    with Script([answer(), denied, sealed, answer()]) as server, server.provider() as provider:
        provider.get_secret("k")
        with pytest.raises(PermissionDeniedError):
            provider.get_secret("k")
        assert server.connections == 1
        with pytest.raises(BackendUnavailableError, match="sealed"):
            provider.get_secret("k")
        provider.get_secret("k")  # a balancer may give this connection to another node
    assert server.connections == 2


def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch):
    with Script([answer(), answer()]) as server, server.provider() as provider:
        provider.get_secret("k")
        monkeypatch.setattr("strongroom_vault.transport._IDLE_SECONDS", 0.0)
        provider.get_secret("k")
    assert server.connections == 2


def test_a_provider_that_nobody_closes_leaves_no_socket_open():
    with Script([answer()]) as server:
        provider = server.provider()
        provider.get_secret("k")
        (kept,) = provider._client._transport._idle.values()
        opened = kept[0]._socket
        del provider
        assert opened.fileno() == -1


def test_a_near_server_is_asked_over_one_connection_and_a_far_one_over_eight(server, mount, monkeypatch):
    asked = []

    def noted(function, items, most):
        asked.append(most)
        return in_parallel(function, items, most)

    monkeypatch.setattr("strongroom_vault.provider.in_parallel", noted)
    keys = {f"k{number}": "v" for number in range(30)}
    with VaultSecretProvider(server.url, server.token, mount) as direct:
        direct.set_secrets(keys)
        direct.get_secret("k1")
    with FaultProxy(int(server.url.rpartition(":")[2]), latency=0.005) as wire:
        url = f"http://127.0.0.1:{wire.port}"
        with VaultSecretProvider(url, server.token, mount, kv_version=2) as far:
            assert far.get_secrets(keys) == keys
        assert asked[-1] == 8
        assert 1 < wire.connections <= 8  # threads that begin late find nothing left to do
    with Script([answer()] * 30) as near, near.provider() as provider:
        provider._client.round_trip = 0.0
        assert len(provider.get_secrets(keys)) == 30
        assert near.connections <= 9


# --- answers ---


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + answer(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
        + BODY[:5]
        + f"\r\n{len(BODY) - 5:X};a=b\r\n".encode()
        + BODY[5:]
        + b"\r\n0\r\nTrailer: t\r\n\r\n",
        answer(BODY, "200", "X-Twice: a", "X-Twice: b"),
    ],
    ids=["announced", "chunked", "plain"],
)
def test_forms_of_an_answer(reply):
    with Script([reply, answer()]) as server, server.provider() as provider:
        assert [provider.get_secret("k") for _ in range(2)] == ["x"] * 2
    assert server.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000,
    ],
    ids=lambda reply: repr(reply[9:50]),
)
def test_what_is_not_http_is_no_answer(reply):
    with (
        Script([reply]) as server,
        server.provider() as provider,
        pytest.raises(BackendUnavailableError) as caught,
    ):
        provider.get_secret("k")
    assert caught.value.retryable
    assert f"at http://127.0.0.1:{server.port}" in str(caught.value)


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 99999999999999999999 00:00:00 GMT"]
)
def test_a_description_needs_no_time_of_the_server(date):
    """A version counts as there if only a clock out of all measure could say otherwise."""
    versions = b'{"1": {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "9998-01-01T00:00:00Z"}}'
    body = b'{"data": {"current_version": 1, "versions": ' + versions + b'}, "request_id": "r"}'
    with Script([answer(body, "200 OK", f"Date: {date}")]) as server, server.provider() as provider:
        assert provider.describe_secret("k").version == "1"


class Hasty(Script):
    """A server that answers as soon as it has read the head of a request, and ends the connection."""

    def talk(self, opened):
        with contextlib.suppress(OSError), opened:
            head = b""
            while b"\r\n\r\n" not in head:
                head += opened.recv(1000)
            opened.sendall(self.answers.pop(0))


def test_a_refusal_of_a_body_that_was_not_read_to_its_end_is_heard():
    """As of a value that is longer than the server takes: it resets the connection while the rest is sent."""
    refusal = answer(b'{"errors": ["http: request body too large"]}', "413 Request Entity Too Large")
    body = {"data": {"value": "x" * (16 << 20)}}
    with Hasty([refusal, answer(), b""]) as server, server.provider(timeout=60) as provider:
        with pytest.raises(SecretTooLargeError):
            provider._client.call("post", "/v1/secret/data/k", "write", "k", json=body)
        # A success cannot be one: the server has not read what it was to store.
        for _ in range(2):
            with pytest.raises(BackendUnavailableError):
                provider._client.call("post", "/v1/secret/data/k", "write", "k", json=body)


# --- redirects ---


def moved(server, status=307, path="/v1/secret/data/k"):
    return answer(b"", f"{status} Moved", f"Location: http://127.0.0.1:{server.port}{path}")


def test_a_redirect_is_followed_with_the_token_and_the_body():
    """A standby sends a client to the active node in this way."""
    with (
        Script([answer(), answer()]) as active,
        Script([moved(active), moved(active, 308)]) as standby,
        standby.provider() as provider,
    ):
        assert provider.get_secret("k") == "x"
        provider._client.call("post", "/v1/secret/data/k", "write", "k", json={"a": 1})
    assert [body for _, body in active.requests] == [b"", b'{"a": 1}']
    assert all(f"X-Vault-Token: {TOKEN}" in head for head, _ in active.requests)
    # A listener with `require_request_header` takes no request without it.
    assert all("X-Vault-Request: true" in head for head, _ in [*standby.requests, *active.requests])
    assert f"Host: 127.0.0.1:{active.port}" in active.requests[0][0]


def test_the_password_of_an_address_is_for_that_address_alone():
    with Script([answer()]) as other, Script([moved(other)]) as server:
        url = f"http://somebody:pass%20word@127.0.0.1:{server.port}/path"
        with VaultSecretProvider(url, TOKEN, kv_version=2) as provider:
            provider.get_secret("k")
    login = base64.b64encode(b"somebody:pass word").decode()
    assert f"Authorization: Basic {login}" in server.requests[0][0]
    assert server.requests[0][0].startswith("GET /path/v1/secret/data/k HTTP/1.1")
    assert "Authorization" not in other.requests[0][0]


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/", "http://127.0.0.1:port/", "//[", "https://127.0.0.1:0/"]
)
def test_a_redirect_that_leads_nowhere_is_an_error(location):
    with (
        Script([answer(b"", "307 Moved", f"Location: {location}")]) as server,
        server.provider() as provider,
        pytest.raises(ConfigurationError, match="redirects"),
    ):
        provider.get_secret("k")


def test_an_error_names_where_the_request_was_sent_on_to():
    """A standby whose active node died a moment ago: it is not the standby that does not answer."""
    with Script([]) as active:
        pass
    with Script([moved(active)]) as standby, standby.provider() as provider:
        with pytest.raises(BackendUnavailableError, match=f"redirected to http://127.0.0.1:{active.port}"):
            provider.get_secret("k")
        standby.answers = [answer(b"", "503 Busy")]
        with pytest.raises(BackendUnavailableError) as caught:
            provider.get_secret("k")
        assert "redirected" not in str(caught.value)


def test_redirects_have_an_end():
    with Script([]) as server, server.provider() as provider:
        server.answers = [moved(server)] * 20
        with pytest.raises(BackendUnavailableError, match="too many redirects"):
            provider.get_secret("k")
        assert len(server.requests) == 10


# --- requests ---


@pytest.mark.parametrize("options", [{"token": "a\r\nX-Other: b"}, {"token": "t", "namespace": "a\nb"}])
def test_no_option_adds_a_header(options):
    with Script([answer()]) as server:
        with (
            VaultSecretProvider(f"http://127.0.0.1:{server.port}", kv_version=2, **options) as provider,
            pytest.raises(ConfigurationError, match="control character") as caught,
        ):
            provider.get_secret("k")
        assert "X-Other" not in f"{caught.value!r} {caught.value.__context__!r}"
    assert server.requests == []


def test_names_are_quoted_where_they_are_part_of_the_path():
    auth = {"method": "userpass", "username": "a b/c?d#é\r\n", "password": "p", "mount_point": "in a/folder"}
    body = b'{"auth": {"client_token": "t", "lease_duration": 60}}'
    with (
        Script([answer(body), answer()]) as server,
        VaultSecretProvider(f"http://127.0.0.1:{server.port}", auth=auth, kv_version=2) as provider,
    ):
        assert provider.get_secret("k") == "x"
    first = server.requests[0][0].partition("\r\n")[0]
    assert first == "POST /v1/auth/in%20a/folder/login/a%20b%2Fc%3Fd%23%C3%A9%0D%0A HTTP/1.1"


def test_an_unknown_name_says_so():
    with (
        VaultSecretProvider("http://nobody.invalid", TOKEN) as provider,
        pytest.raises(BackendUnavailableError, match="gaierror"),
    ):
        provider.get_secret("k")


def test_a_name_service_that_hangs_ends_at_the_deadline(monkeypatch):
    held, found = threading.Event(), socket.getaddrinfo

    def slow(host, *rest):
        if socket.AI_NUMERICHOST not in rest:
            held.wait(300)
        return found(host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with VaultSecretProvider("http://vault.example.com", TOKEN, timeout=0.1) as provider:
        with pytest.raises(BackendUnavailableError, match="not before the deadline"):
            provider.get_secret("k")
        held.set()


# --- TLS and proxies ---


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A CA, a server's certificate, and the context of a server that shows it."""
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    made = ca.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    key = serialization.load_pem_private_key(made.private_key_pem.bytes(), None)
    (folder / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a passphrase"),
        )
    )
    return folder


def serving(files):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "both.pem")
    return context


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on, and opens tunnels."""

    def do_CONNECT(self):
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        if self.server.refuses:
            self.send_error(407)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(there, self.connection))
            back.start()
            pump(self.connection, there)
            back.join()

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        self.wfile.write(answer())

    def log_message(self, *_):
        """Say nothing."""


def pump(source, sink):
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    made.daemon_threads, made.asked, made.refuses = True, [], False
    with served(made):
        yield made


@pytest.mark.parametrize("name", ["http", "all", "http://vault.example.com"])
def test_a_proxy_passes_requests_on(proxy, name):
    proxies = {name: f"u:p%40w@127.0.0.1:{proxy.server_port}"}
    with VaultSecretProvider("http://vault.example.com", TOKEN, kv_version=2, proxies=proxies) as provider:
        assert provider.get_secret("k") == "x"
    login = f"Basic {base64.b64encode(b'u:p@w').decode()}"
    assert proxy.asked == [("http://vault.example.com/v1/secret/data/k", login)]


def test_a_proxy_opens_a_tunnel_for_tls(proxy, files):
    proxies = {"https": f"http://127.0.0.1:{proxy.server_port}"}
    with (
        Script([answer()] * 2, serving(files)) as server,
        server.provider("https", verify=files / "ca.pem", proxies=proxies) as provider,
    ):
        assert [provider.get_secret("k") for _ in range(2)] == ["x"] * 2
    assert proxy.asked == [(f"127.0.0.1:{server.port}", None)]


def test_a_proxy_that_refuses_is_no_server(proxy, files):
    proxy.refuses = True
    proxies = {"https": f"http://127.0.0.1:{proxy.server_port}"}
    with (
        VaultSecretProvider(
            "https://127.0.0.1:1", TOKEN, verify=files / "ca.pem", proxies=proxies
        ) as provider,
        pytest.raises(BackendUnavailableError, match="the proxy answers 407"),
    ):
        provider.get_secret("k")
    assert TOKEN not in repr(proxy.asked)


@pytest.mark.parametrize("address", ["socks5://u:secret-word@h:1", "https://h", "http://", "http://h:port"])
def test_a_proxy_that_cannot_be_used_is_refused_at_once(address):
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        VaultSecretProvider("http://h", "t", proxies={"http": address})
    assert "secret-word" not in f"{caught.value!r} {caught.value.__context__!r}"


def test_no_environment_variable_is_looked_at(monkeypatch, files):
    """Neither for a proxy, nor for certificates, a token, an address, or a login."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT"):
        monkeypatch.setenv(name, str(files / "ca.pem"))
    monkeypatch.setenv("VAULT_TOKEN", "another")
    monkeypatch.setenv("VAULT_NAMESPACE", "another")
    with Script([answer()]) as server, server.provider() as provider:
        assert provider.get_secret("k") == "x"
    assert "another" not in server.requests[0][0]
    with (
        Script([answer()], serving(files)) as server,
        server.provider("https") as provider,
        pytest.raises(BackendUnavailableError, match="certificate"),
    ):
        provider.get_secret("k")


def test_a_certificate_that_is_not_checked_works_and_a_renewed_file_is_read_again(files, tmp_path):
    with Script([answer()] * 3, serving(files)) as server:
        with server.provider("https", verify=False) as provider:
            assert provider.get_secret("k") == "x"
        trusted = tmp_path / "ca.pem"
        trustme.CA().cert_pem.write_to_path(trusted)
        with server.provider("https", verify=trusted) as provider:
            with pytest.raises(BackendUnavailableError, match="certificate"):
                provider.get_secret("k")
            trusted.write_bytes((files / "ca.pem").read_bytes())
            assert provider.get_secret("k") == "x"


def test_a_locked_key_is_an_error_and_asks_nobody(files):
    options = {"client_cert": files / "both.pem", "client_key": files / "locked.key"}
    with (
        VaultSecretProvider("https://127.0.0.1:1", TOKEN, verify=False, **options) as provider,
        pytest.raises(ConfigurationError, match="certificate files"),
    ):
        provider.get_secret("k")


def test_a_certificate_without_its_key_yet_leaves_the_former_pair(files, tmp_path):
    """An agent that renews them writes two files, one after the other."""

    def write(pair, *names):
        for name in names:
            made = {"cert": pair.cert_chain_pems[0], "key": pair.private_key_pem}[name]
            made.write_to_path(tmp_path / name)

    first, second = (trustme.CA().issue_cert("client.test") for _ in range(2))
    write(first, "cert", "key")
    options = {"verify": str(files / "ca.pem"), "cert": (str(tmp_path / "cert"), str(tmp_path / "key"))}
    made = Transport("https://127.0.0.1:1", namespace=None, connections=1, proxies=None, **options)
    former = made._context()
    write(second, "cert")
    assert made._context() is former
    write(second, "key")
    assert made._context() is not former


def test_a_certificate_of_another_host_is_refused(files):
    with Script([answer()], serving(files)) as server:
        url = f"https://localhost:{server.port}"
        with (
            VaultSecretProvider(url, TOKEN, kv_version=2, verify=files / "ca.pem") as provider,
            pytest.raises(BackendUnavailableError, match="certificate"),
        ):
            provider.get_secret("k")
        assert server.requests == []


@pytest.mark.parametrize("url", ["http://[", "http://h:port", "http://:80", "https://h:0/", "http://a..b/"])
def test_an_address_that_cannot_be_one_is_an_error_of_the_spec(url):
    with VaultSecretProvider(url, TOKEN, kv_version=2, timeout=2) as provider:
        with pytest.raises(StrongroomError) as caught:
            provider.get_secret("k")
        assert isinstance(caught.value, ConfigurationError) or "a..b" in url


def test_an_address_without_tls_context_needs_no_ssl():
    made = Transport(
        "http://127.0.0.1:1", namespace=None, verify=True, cert=None, connections=1, proxies=None
    )
    with pytest.raises(ConnectionRefusedError):
        made.send(Call(1), "GET", "/v1/x", {}, None)
    assert made._contexts == (None, None)
