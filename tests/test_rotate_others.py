"""What `docs/how-to/rotate-others.md` says of each server, on the real one; `make torture` runs it where they are."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import urllib.error
import urllib.request

import pytest
import trustme
from etcd_server import EtcdServer
from other_servers import (
    NATS,
    PATIENCE_SECONDS,
    SUFFIX,
    USER,
    HAProxy,
    LineClient,
    Mosquitto,
    MQTTClient,
    OpenLDAP,
    RabbitMQ,
    program,
    until,
)

pytestmark = pytest.mark.torture

CONSTRAINT, ALREADY_THERE = 19, 20
"""Codes of LDAP."""


@pytest.fixture
def start():
    """A function that starts a server, which is stopped after the test."""
    running = []

    def started(kind, *args, **options):
        running.append(kind(*args, **options))
        return running[-1]

    yield started
    for one in running:
        one.stop()


@pytest.fixture
def connect(start):
    """A function that makes a client, whose connection is closed after the test."""
    opened = []

    def made(kind, *args):
        opened.append(kind(*args))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


# --- RabbitMQ 3.10 ---


@pytest.fixture(scope="module")
def rabbit():
    running = RabbitMQ()
    yield running
    running.stop()


@pytest.fixture
def queues(rabbit):
    """A function that opens a connection of the user `app`, who has the password `one`."""
    pika = pytest.importorskip("pika")
    rabbit.ctl("add_user", "app", "one")
    rabbit.ctl("set_permissions", "app", ".*", ".*", ".*")
    opened = []

    def open_(password):
        login = pika.PlainCredentials("app", password)
        where = pika.ConnectionParameters("127.0.0.1", rabbit.port, credentials=login, socket_timeout=60)
        opened.append(pika.BlockingConnection(where))
        return opened[-1]

    yield open_
    for one in opened:
        if one.is_open:
            one.close()
    if "app" in rabbit.ctl("list_users"):
        rabbit.ctl("delete_user", "app")


def test_rabbitmq_keeps_connections_when_a_password_changes(rabbit, queues):
    from pika.exceptions import ProbableAuthenticationError

    open_one = queues("one")
    channel = open_one.channel()
    rabbit.ctl("change_password", "app", "two")
    channel.queue_declare("kept", auto_delete=True)
    channel.basic_publish("", "kept", b"x")
    open_one.channel().queue_declare("another", auto_delete=True)
    with pytest.raises(ProbableAuthenticationError):
        queues("one")
    queues("two").channel().queue_declare("kept", auto_delete=True)
    rabbit.ctl("change_password", "app", "two")  # the step again
    queues("two")
    rabbit.ctl("change_password", "app", "one")  # a rollback
    queues("one")
    channel.queue_declare("kept", auto_delete=True)


def test_rabbitmq_closes_every_connection_of_a_user_that_is_deleted(rabbit, queues):
    from pika.exceptions import ConnectionClosedByBroker

    connections = [queues("one") for _ in range(3)]
    rabbit.ctl("delete_user", "app")
    for one in connections:
        with pytest.raises(ConnectionClosedByBroker, match=r"320.*CONNECTION_FORCED - user 'app' is deleted"):
            one.process_data_events(time_limit=PATIENCE_SECONDS)


def test_rabbitmq_looks_at_permissions_in_each_channel(rabbit, queues):
    from pika.exceptions import ChannelClosedByBroker

    connection = queues("one")
    channel = connection.channel()
    channel.queue_declare("q", auto_delete=True)
    rabbit.ctl("set_permissions", "app", "^$", "^$", "^$")
    # A connection alone says nothing of it.
    queues("one").channel()
    with pytest.raises(ChannelClosedByBroker, match=r"403.*ACCESS_REFUSED"):
        queues("one").channel().queue_declare("r")
    rabbit.ctl("clear_permissions", "app")
    with pytest.raises(ChannelClosedByBroker, match=r"403.*ACCESS_REFUSED"):
        connection.channel().queue_declare("s")


# --- OpenLDAP 2.5 ---


def ssha(password, salt=b"salt"):
    import hashlib

    digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()


def test_openldap_keeps_bound_sessions(start):
    ldap3 = pytest.importorskip("ldap3")
    server = start(OpenLDAP)
    where = ldap3.Server("127.0.0.1", server.port, get_info=ldap3.NONE)
    session = ldap3.Connection(where, USER, "one", auto_bind=True, receive_timeout=60)

    def reads():
        return session.search(SUFFIX, "(objectClass=domain)", attributes=["dc"])

    server.set_passwords("two")
    assert reads()
    assert not server.binds("one")
    assert server.binds("two")
    server.tool("ldapdelete", USER)
    assert reads()
    server.tool("ldapadd", text="\n".join(server.entry("three")) + "\n")
    assert reads()
    session.unbind()


def test_openldap_takes_several_values_also_hashed_ones_beside_plain(start):
    server = start(OpenLDAP)
    server.set_passwords("one", "two", ssha("three"))
    assert [server.binds(one) for one in ("one", "two", "three", "four")] == [True, True, True, False]
    server.set_passwords("two")
    server.set_passwords("two")  # the step again
    server.set_passwords("one")  # a rollback
    assert server.binds("one")
    # The program for passwords leaves one alone.
    server.set_passwords("one", "two")
    server.tool("ldappasswd", "-s", "five", USER)
    assert [server.binds(one) for one in ("one", "two", "five")] == [False, False, True]


def test_openldap_with_a_policy_refuses_a_second_value(start):
    server = start(OpenLDAP, ("pwdInHistory: 0",))
    for login in ({}, {"who": USER, "password": "one"}):
        code, message = server.set_passwords("one", "two", **login)
        assert code == CONSTRAINT
        assert "only allows one password value" in message
    assert server.binds("one")


@pytest.fixture
def with_history(start):
    """A server that keeps a history, where the user itself has changed its password from `one` to `two`."""
    server = start(OpenLDAP, ("pwdInHistory: 3",))
    assert server.set_passwords("two", who=USER, password="one")[0] == 0
    return server


@pytest.mark.parametrize("password", ["two", "one"], ids=["repeated", "rolled back"])
def test_openldap_with_a_history_lets_the_administrator_alone_repeat_and_roll_back(with_history, password):
    code, message = with_history.set_passwords(password, who=USER, password="two")
    assert code == CONSTRAINT
    assert "Password" in message
    assert with_history.binds("two")
    assert with_history.set_passwords(password)[0] == 0
    assert with_history.binds(password)


def test_openldap_with_a_history_refuses_a_step_that_is_repeated_within_the_second(with_history):
    """The history names an old password by the second in which it went."""
    codes = []
    until(lambda: codes.append(with_history.set_passwords("two")[0]) or codes[-1] != 0)
    assert codes[-1] == ALREADY_THERE


# --- etcd 3.5 ---


class Etcd:
    """A server with authentication, asked as its clients ask it."""

    def __init__(self, kind):
        self.server = EtcdServer("--bcrypt-cost", "4", *kind)
        for path, body in (
            ("user/add", {"name": "root", "password": "root"}),
            ("role/add", {"name": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("enable", {}),
        ):
            self.server.ask(f"/v3/auth/{path}", body)
        self.root = self.login("root", "root")
        self.change("role/add", {"name": "reader"})
        everything = base64.b64encode(b"\0").decode()
        self.change(
            "role/grant",
            {"name": "reader", "perm": {"permType": 2, "key": everything, "range_end": everything}},
        )
        for name in ("app", "other"):
            self.change("user/add", {"name": name, "password": "one"})
            self.change("user/grant", {"user": name, "role": "reader"})

    def login(self, name, password):
        return self.server.ask("/v3/auth/authenticate", {"name": name, "password": password})["token"]

    def change(self, path, body):
        """Do it as root, who logs in again: any token may be gone."""
        self.server.ask(f"/v3/auth/{path}", body, self.login("root", "root"))

    def set_password(self, password):
        self.change("user/changepw", {"name": "app", "password": password})

    def refusal(self, token):
        """Return what is said to a read with this token; "" where it is answered."""
        try:
            self.server.ask("/v3/kv/range", {"key": "YQ=="}, token)
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {json.load(error)['error']}"
        return ""

    def logs_in(self, password):
        try:
            return self.refusal(self.login("app", password)) == ""
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def stop(self):
        self.server.stop()


def watch(etcd, token):
    """Return the lines of a watch of the key `a`."""
    request = urllib.request.Request(
        f"{etcd.server.url}/v3/watch",
        json.dumps({"create_request": {"key": "YQ=="}}).encode(),
        {"Authorization": token},
    )
    lines = urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)
    assert json.loads(lines.readline())["result"]["created"]
    return lines


def test_etcd_ends_the_tokens_of_that_user_and_no_watch(start):
    etcd = start(Etcd, ())
    token, other = etcd.login("app", "one"), etcd.login("other", "one")
    assert etcd.refusal(token) == etcd.refusal(other) == ""
    with watch(etcd, token) as lines:
        etcd.set_password("two")
        assert etcd.refusal(token).startswith("401")
        assert etcd.refusal(other) == ""
        etcd.change("user/delete", {"name": "other"})
        etcd.server.ask("/v3/kv/put", {"key": "YQ==", "value": "YQ=="}, etcd.login("root", "root"))
        assert json.loads(lines.readline())["result"]["events"]
    assert [etcd.logs_in(one) for one in ("one", "two")] == [False, True]
    etcd.set_password("two")  # the step again
    assert etcd.logs_in("two")
    etcd.set_password("one")  # a rollback
    assert [etcd.logs_in(one) for one in ("one", "two")] == [True, False]


def test_etcd_with_jwt_ends_all_tokens_at_any_change(start, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    auth_token = f"jwt,pub-key={public},priv-key={private},sign-method=ES256,ttl=10m"
    etcd = start(Etcd, ("--auth-token", auth_token))
    tokens = [etcd.login(name, word) for name, word in (("root", "root"), ("app", "one"), ("other", "one"))]
    assert [etcd.refusal(one) for one in tokens] == ["", "", ""]
    etcd.set_password("two")
    for one in tokens:
        assert "revision in header is old" in etcd.refusal(one)


# --- NATS 2.15 ---


@pytest.fixture
def nats(start):
    program("nats-server")
    return start(NATS, app="one", other="one")


def test_nats_cuts_the_changed_user_alone(nats, connect):
    app, other = connect(LineClient, nats, "app", "one"), connect(LineClient, nats, "other", "one")
    assert app.answers() == other.answers() == "PONG"
    nats.write({"app": "two", "other": "one"}.items())
    assert app.answers() == "PONG"  # nothing before the reload
    assert nats.reload() == 0
    assert app.read() == "-ERR 'Authorization Violation'"
    assert other.answers() == "PONG"
    for password, answer in (("one", "-ERR 'Authorization Violation'"), ("two", "PONG")):
        again = connect(LineClient, nats, "app", password)
        assert again.answers() == answer
    assert nats.reload() == 0  # the step again
    assert other.answers() == "PONG"


def test_nats_refuses_two_passwords_of_a_user_in_the_log_alone(nats, connect):
    app = connect(LineClient, nats, "app", "one")
    assert app.answers() == "PONG"
    nats.write([("app", "one"), ("app", "two")])
    assert nats.reload() == 0
    nats.logged("Failed to reload server configuration")
    assert app.answers() == "PONG"
    refused = connect(LineClient, nats, "app", "two")
    assert refused.answers() == "-ERR 'Authorization Violation'"


def test_the_client_of_nats_stays_closed(nats):
    library = pytest.importorskip("nats")

    async def connect():
        closed = asyncio.Event()

        async def on_closed():
            closed.set()

        client = await library.connect(
            f"nats://127.0.0.1:{nats.port}",
            user="app",
            password="one",
            closed_cb=on_closed,
            reconnect_time_wait=0,
        )
        nats.write({"app": "two", "other": "one"}.items())
        assert nats.reload() == 0
        await asyncio.wait_for(closed.wait(), PATIENCE_SECONDS)
        return client

    client = asyncio.run(connect())
    assert client.is_closed
    assert not client.is_reconnecting
    assert isinstance(client.last_error, library.errors.AuthorizationError)


# --- mosquitto 2.0 ---


def test_mosquitto_cuts_those_whose_password_no_longer_fits_at_hup(start, connect):
    broker = start(Mosquitto, app="one", other="one")
    app, other = connect(MQTTClient, broker, "app", "one"), connect(MQTTClient, broker, "other", "one")
    assert app.code == other.code == 0
    broker.write(app="two", other="one")
    assert app.lives()
    assert connect(MQTTClient, broker, "app", "two").code == 5
    assert connect(MQTTClient, broker, "app", "one").code == 0
    broker.hup()
    assert not app.lives()
    assert other.lives()
    assert [connect(MQTTClient, broker, "app", one).code for one in ("one", "two")] == [5, 0]
    broker.hup()  # the step again
    assert other.lives()


@pytest.mark.parametrize("absent", [True, False])
def test_mosquitto_without_its_file_cuts_all(start, connect, absent):
    broker = start(Mosquitto, app="one", other="one")
    app, other = connect(MQTTClient, broker, "app", "one"), connect(MQTTClient, broker, "other", "one")
    if absent:
        broker.passwords.unlink()
    else:
        broker.write()
    broker.hup()
    assert not app.lives()
    assert not other.lives()
    broker.write(app="one", other="one")
    assert connect(MQTTClient, broker, "app", "one").code == 5
    broker.hup()
    assert connect(MQTTClient, broker, "app", "one").code == 0


# --- HAProxy 2.6 ---


def certificate(authority, name):
    issued = authority.issue_cert(name, "127.0.0.1")
    return issued.private_key_pem.bytes() + b"".join(one.bytes() for one in issued.cert_chain_pems)


class Kept:
    """A connection that is kept open."""

    def __init__(self, server, authority):
        context = ssl.create_default_context()
        authority.configure_trust(context)
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
        self.socket = context.wrap_socket(raw, server_hostname="127.0.0.1")
        names = self.socket.getpeercert()["subjectAltName"]
        self.name = next(value for kind, value in names if kind == "DNS")

    def status(self, password):
        """Return the status of an answer; 0 where the connection is closed."""
        login = base64.b64encode(f"app:{password}".encode()).decode()
        try:
            self.socket.sendall(
                f"GET / HTTP/1.1\r\nHost: site\r\nAuthorization: Basic {login}\r\n\r\n".encode()
            )
            head = b""
            while b"\r\n\r\n" not in head:
                if not (part := self.socket.recv(4096)):
                    return 0
                head += part
        except (ConnectionError, ssl.SSLError):
            return 0
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        rest = length - len(head.partition(b"\r\n\r\n")[2])
        while rest > 0:
            rest -= len(self.socket.recv(rest))
        return int(head.split()[1])

    def close(self):
        self.socket.close()


def test_haproxy_takes_files_at_the_reload_and_closes_idle_connections_then(start, connect):
    authority = trustme.CA()
    proxy = start(HAProxy, "one", certificate(authority, "first.example"))
    kept = connect(Kept, proxy, authority)
    assert [kept.status(one) for one in ("one", "two")] == [200, 401]
    proxy.write("two", certificate(authority, "second.example"))
    assert [kept.status(one) for one in ("one", "two")] == [200, 401]
    before = connect(Kept, proxy, authority)
    assert before.name == "first.example"
    proxy.reload()
    until(lambda: connect(Kept, proxy, authority).name == "second.example")
    assert kept.status("one") == 0
    fresh = connect(Kept, proxy, authority)
    assert [fresh.status(one) for one in ("one", "two")] == [401, 200]
