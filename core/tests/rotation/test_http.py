"""A rotator that posts each step to a service, and rotators that a spec names."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from rotation_support import KEY, NEW, OLD, memory_with
from strongroom import SecretProviderRegistry, SecretRotation
from strongroom.deadlines import Deadline, DeadlineExecutor
from strongroom.errors import ConfigurationError, RotationError, SpecError
from strongroom.rotation.http import HttpRotator


class Service(ThreadingHTTPServer):
    """Takes steps, and answers with a status."""

    daemon_threads = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen, self.answers = [], []
        self.over = threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "http" if context is None else "https"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}/hooks?of=app"

    def handle_error(self, request, client_address):
        pass

    def takes(self, headers, body):
        return 204

    def stop(self):
        self.over.set()
        self.shutdown()
        self.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, self.headers, body))
        default = self.server.takes(self.headers, body), {}, b""
        status, headers, said = self.server.answers.pop(0) if self.server.answers else default
        if status == "trickle":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.over.wait(0.02):
                with suppress(OSError):
                    self.wfile.write(b"x-more: 1\r\n")
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    running = Service()
    yield running
    running.stop()


HMAC_KEY = "whsec_" + base64.b64encode(b"a key of some thirty-two bytes ok").decode()


def test_steps_are_posted_and_signed(service):
    memory = memory_with()
    rotation = SecretRotation(memory, rotator=HttpRotator(service.url, HMAC_KEY), grace_seconds=60)
    rotation.rotate(KEY, NEW)
    rotation.rollback(KEY)
    messages = [json.loads(body) for _, _, body in service.seen]
    assert [(one["step"], one["key"], one["old"], one["new"]) for one in messages] == [
        ("apply", KEY, OLD, NEW),
        ("verify", KEY, OLD, NEW),
        ("rollback", KEY, NEW, OLD),
        ("verify", KEY, NEW, OLD),
    ]
    for path, headers, body in service.seen:
        assert path == "/hooks?of=app"
        identity, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        assert json.loads(body)["id"] == identity
        signed = f"{identity}.{stamp}.".encode() + body
        expected = hmac.new(b"a key of some thirty-two bytes ok", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    assert len({one["id"] for one in messages}) == 4


class SignedService(Service):
    """Does what is signed with its key, which is what it is given."""

    def __init__(self):
        self.key = OLD
        super().__init__()

    def takes(self, headers, body):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(self.key.encode(), signed, "sha256")).decode()
        if f"v1,{expected}" not in headers["webhook-signature"].split():
            return 401
        message = json.loads(body)
        if message["step"] != "verify":
            self.key = message["new"]
        return 204 if message["new"] == self.key else 409


@pytest.fixture
def signed_service():
    running = SignedService()
    yield running
    running.stop()


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_the_key_of_the_signature_is_rotated_by_itself(signed_service, way):
    """Each step is signed with both: the reference leads to the old one, and the service may have the new one."""
    declared = spec(
        {"rotator": {"type": "http", "url": signed_service.url, "hmac_key": f"${{secret:app:{KEY}}}"}}
    )
    with SecretProviderRegistry(declared) as registry:
        for _ in range(2):
            SecretRotation(registry, rotator=registry.rotator("PASSWORD")).rotate(KEY)
            assert registry.get_secret(KEY) == signed_service.key
        dying = registry.rotator("PASSWORD")

        def dies(*_):
            raise KeyboardInterrupt

        dying.verify = dies
        with pytest.raises(KeyboardInterrupt):
            SecretRotation(registry, rotator=dying).rotate(KEY)
        assert registry.get_secret(KEY) != signed_service.key
        getattr(SecretRotation(registry, rotator=registry.rotator("PASSWORD")), way)(KEY)
        assert registry.get_secret(KEY) == signed_service.key
    assert all(
        one.count("v1,") == 2
        for one in (headers["webhook-signature"] for _, headers, _ in signed_service.seen)
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_status_of_success_is_one(service, status):
    service.answers = [(status, {}, b"" if status == 204 else b"fine")]
    HttpRotator(service.url, "plain key").apply(KEY, OLD, NEW)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, "status 301, a redirect, which is not followed"),
        (307, "status 307, a redirect, which is not followed"),
        (404, "status 404, refused"),
        (500, "status 500, refused"),
    ],
)
def test_any_other_is_an_error_without_values(service, status, expected):
    said = f"sorry, {NEW} and {OLD} and plain key".encode()
    service.answers = [(status, {"location": service.url}, said)]
    with pytest.raises(RotationError, match=expected) as caught:
        HttpRotator(service.url, "plain key").apply(KEY, OLD, NEW)
    assert len(service.seen) == 1
    assert "sorry" in str(caught.value)
    for secret in (NEW, OLD, "plain key", "of=app"):
        assert secret not in str(caught.value)
    assert caught.value.__context__ is None


def test_an_answer_that_is_too_long_to_be_read_shows_no_part_of_a_value(service):
    """It may break off in the middle of one, of which the first half is not found."""
    for length in (16_384 - 12, 16_384 - 12 - len(NEW)):
        said = b"x" * length + NEW.encode() + b" was refused by a page of many words" * 9
        service.answers = [(500, {}, said)]
        with pytest.raises(RotationError, match="status 500, refused") as caught:
            HttpRotator(service.url, "plain key").apply(KEY, OLD, NEW)
        assert NEW[:8] not in str(caught.value)


def test_an_answer_that_trickles_in_ends_at_the_time_out(service):
    service.answers = [("trickle", {}, b"")]
    with pytest.raises(RotationError, match=r"no answer within 0\.3 s"):
        HttpRotator(service.url, "plain key", timeout_seconds=0.3).verify(KEY, NEW)


def test_nothing_is_sent_after_the_time_out(service, monkeypatch):
    """As where a name service hangs, or the first of two addresses: the step has failed by then."""
    go, connect = threading.Event(), socket.create_connection

    def late(*args, **options):
        assert go.wait(300)
        return connect(*args, **options)

    monkeypatch.setattr(socket, "create_connection", late)
    rotator = HttpRotator(service.url, "plain key", timeout_seconds=0.3)
    rotator._runner = DeadlineExecutor(1)
    with pytest.raises(RotationError, match=r"no answer within 0\.3 s"):
        rotator.apply(KEY, OLD, NEW)
    go.set()
    rotator._runner.run(lambda: None, Deadline(300))  # the only thread is free again
    HttpRotator(service.url, "plain key").verify(KEY, NEW)
    assert [json.loads(body)["step"] for _, _, body in service.seen] == ["verify"]


def test_an_interrupt_ends_the_request(service):
    """What it was about to change is not changed later, behind a rollback."""
    rotator = HttpRotator(service.url, "plain key")
    ends = []

    class Interrupted(DeadlineExecutor):
        def run(self, call, deadline, discard=None):
            ends.append(call)
            raise KeyboardInterrupt

    rotator._runner = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        rotator.apply(KEY, OLD, NEW)
    with pytest.raises(TimeoutError):
        ends[0]()
    assert service.seen == []


def test_nobody_there_is_told():
    with pytest.raises(RotationError, match=r"apply at http://127\.0\.0\.1:9/: Connection refused"):
        HttpRotator("http://127.0.0.1:9/", "plain key").apply(KEY, OLD, NEW)


def test_a_certificate_is_checked(tmp_path):
    authority, stranger = trustme.CA(), trustme.CA()
    for name, one in (("ca.pem", authority), ("stranger.pem", stranger)):
        one.cert_pem.write_to_path(tmp_path / name)
    mine = authority.issue_cert("me@example.com")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    running = Service(context)
    try:
        known = {"ca_file": tmp_path / "ca.pem", "cert_file": tmp_path / "me.pem"}
        HttpRotator(running.url, "plain key", **known).apply(KEY, OLD, NEW)
        with pytest.raises(RotationError, match=r"(?i)certificate.verify.failed"):
            HttpRotator(running.url, "plain key", ca_file=tmp_path / "stranger.pem").apply(KEY, OLD, NEW)
        with pytest.raises(RotationError):
            HttpRotator(running.url, "plain key", ca_file=tmp_path / "ca.pem").apply(KEY, OLD, NEW)
        assert len(running.seen) == 1
        with pytest.raises(ConfigurationError, match="certificate files cannot be used: No such file"):
            HttpRotator(running.url, "plain key", ca_file=tmp_path / "none.pem")
    finally:
        running.stop()


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/", "https://", "https://me:hunter22@h/", "http://127.0.0.1:port/", "http://10.0.0.1/x"],
)
def test_addresses_that_would_give_values_away_are_refused(url):
    with pytest.raises(ConfigurationError) as caught:
        HttpRotator(url, "plain key")
    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in repr(caught.value.__context__)


def test_an_address_without_tls_is_taken_where_that_is_meant():
    assert (
        repr(HttpRotator("http://10.0.0.1/x", "plain key", allow_http=True))
        == "<HttpRotator http://10.0.0.1/x>"
    )
    for here in ("http://localhost:1/", "http://[::1]/", "http://127.8.0.1"):
        HttpRotator(here, "plain key")
    with pytest.raises(ConfigurationError, match="not base64"):
        HttpRotator("http://[::1]/", "whsec_ä")
    with pytest.raises(ConfigurationError, match="stands for 1 bytes, and a key has 8 at least"):
        HttpRotator("http://[::1]/", "whsec_QQ==")


def spec(rotate, **more):
    return {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory", "secrets": {KEY: OLD, "hmac": "the hmac key"}}}},
        "secrets": {"PASSWORD": {"key": KEY, "rotate": rotate}},
        **more,
    }


def test_a_spec_names_one_and_its_options_may_be_references(service, monkeypatch):
    monkeypatch.setenv("HOOK_URL", service.url)
    declared = spec({"rotator": {"type": "http", "url": "${env:HOOK_URL}", "hmac_key": "${secret:app:hmac}"}})
    with SecretProviderRegistry(declared) as registry:
        assert "HOOK_URL" in registry.environment()
        assert registry.plan.secrets["PASSWORD"].rotate["rotator"] == "http"
        rotator = registry.rotator("PASSWORD")
        assert isinstance(rotator, HttpRotator)
        assert SecretRotation(registry, rotator=rotator).rotate(KEY).state == "current"
        with pytest.raises(ConfigurationError, match="'OTHER' is declared with no rotator"):
            registry.rotator("OTHER")
    assert len(service.seen) == 2


def test_who_only_reads_need_not_have_what_a_rotation_needs(monkeypatch):
    monkeypatch.delenv("HOOK_URL", raising=False)
    declared = spec({"rotator": {"type": "http", "url": "${env:HOOK_URL}", "hmac_key": "the hmac key"}})
    with SecretProviderRegistry(declared) as registry:
        assert registry.get_secret(KEY) == OLD
        with pytest.raises(SpecError, match=r"secrets\.PASSWORD\.rotate\.rotator\.url.*HOOK_URL"):
            registry.rotator("PASSWORD")


@pytest.mark.parametrize(
    ("rotate", "line", "expected"),
    [
        (
            "{rotator: {type: htp}}",
            6,
            r"rotate\.rotator\.type: unknown rotator 'htp'; did you mean 'http'\?",
        ),
        ("{rotator: {type: http, hmac_key: '12345678'}}", 6, r"rotator\.url: required, and missing"),
        ("{rotator: {type: http, url: 'http://h', hmac_ky: k}}", 6, "unknown key; did you mean 'hmac_key'"),
        ("{rotator: {}}", 6, r"rotate\.rotator\.type: required, and missing"),
        ("{rotator: {type: memory}}", 6, "has no rotator 'memory'"),
        (
            "{rotator: {type: http, url: 'https://h', hmac_key: '12345678'}, command: [x]}",
            6,
            "give one or the other",
        ),
        (
            "{rotator: {type: http, url: 'https://h', hmac_key: '12345678'}, timeout_seconds: 5}",
            6,
            "of its own",
        ),
        (
            "{rotator: {type: http, url: 'https://h', hmac_key: '${secret:ap:k}'}}",
            6,
            "no pipeline 'ap'; did you mean",
        ),
        ("{rotater: {type: http}}", 6, "unknown key; did you mean 'rotator'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, rotate, line, expected):
    path = tmp_path / "strongroom.yaml"
    path.write_text(
        "version: 1\npipelines:\n  app: {provider: {type: memory}}\nsecrets:\n"
        f"  PASSWORD: {{key: a,\n    rotate: {rotate}}}\n"
    )
    with pytest.raises(SpecError, match=expected) as caught:
        SecretProviderRegistry(path)
    assert f"strongroom.yaml:{line}:" in str(caught.value)


def test_a_profile_may_change_the_options(service):
    rotator = {"type": "http", "url": "https://production.example.com", "hmac_key": "the hmac key"}
    local = {"secrets": {"PASSWORD": {"rotate": {"rotator": {"url": service.url}}}}}
    declared = spec({"rotator": rotator}, profiles={"test": local})
    with SecretProviderRegistry(declared, profile="test") as registry:
        assert registry.rotator("PASSWORD").address == service.url.partition("?")[0]
