"""What is told of a server that refuses, quotes what it was sent, or answers rubbish holds no value and no credential.

A stranger on loopback takes the place of each backend's server. It quotes the request, with its headers, in a
refusal in the form that the client knows, in a page of HTML, in text that is no answer at all; or it gives a
value where another shape belongs. All that an error carries is looked through: message, `repr`, attributes,
notes, causes, contexts, the printed traceback; then what the loggers of strongroom got at DEBUG.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import functools
import json
import logging
import re
import socket
import ssl
import struct
import threading
import traceback
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
import warm_command
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from strongroom import Lease, generate_key
from strongroom.errors import StrongroomError

TOKEN = "hvs.canaryTokenOfThisTest0000001"
ACCESS = "canarySecretAccessKeyOfThisTest000000002"
SESSION = "canarySessionTokenOfThisTest00003"
PASSWORD = "canaryPasswordOfThisTest000004"
VALUE = "canaryValueOfThisTest00000005"
HELD = "canaryHeldByTheServer00000006"
SECRETS = {
    "token": TOKEN,
    "secret access key": ACCESS,
    "session token": SESSION,
    "password": PASSWORD,
    "value": VALUE,
    "value of the server": HELD,
}


def forms(secret):
    """Return the texts that give a secret away: itself, its beginning, and what it is on a wire."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, secret[:16], encoded, encoded[:16], urllib.parse.quote(secret, safe="")}


def leaked(text):
    return sorted(name for name, secret in SECRETS.items() if any(form in text for form in forms(secret)))


def told(error, seen=()):
    """Yield all that can be read of an error and of those behind it, by name."""
    if error is None or error in seen:
        return
    kind = type(error).__name__
    yield f"str of {kind}", str(error)
    yield f"repr of {kind}", repr(error)
    yield f"args of {kind}", repr(error.args)
    yield f"attributes of {kind}", repr(vars(error))
    yield f"notes of {kind}", repr(getattr(error, "__notes__", None))
    for behind in (error.__cause__, error.__context__):
        yield from told(behind, (*seen, error))
    if not seen:
        yield "traceback", "".join(traceback.format_exception(error))


class Stranger:
    """A server that answers each request with what `answer` makes of its bytes; HTTP requests are read whole.

    It says `greeting` before it is asked, and where it has a `certificate` it speaks TLS.
    """

    def __init__(self, answer, greeting=b"", certificate=None):
        self._answer, self._greeting, self._tls = answer, greeting, None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self._tls)
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def _serve(self):
        with contextlib.suppress(OSError):  # the listener is shut at the end
            while True:
                threading.Thread(target=self._talk, args=(self._listener.accept()[0],), daemon=True).start()

    def _talk(self, opened):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(opened)
            if self._tls is not None:
                opened = stack.enter_context(self._tls.wrap_socket(opened, server_side=True))
            opened.sendall(self._greeting)
            while request := self._request(opened):
                self.asked += 1
                opened.sendall(self._answer(request))

    def _request(self, opened):
        request = opened.recv(65_536)
        if re.match(rb"[A-Z]+ \S+ HTTP/1", request):
            while b"\r\n\r\n" not in request and (more := opened.recv(65_536)):
                request += more
            head, _, body = request.partition(b"\r\n\r\n")
            stated = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            while stated and len(body) < int(stated[1]) and (more := opened.recv(65_536)):
                body += more
            request = head + b"\r\n\r\n" + body
        return request

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def reply(status, body, kind):
    body = body.encode()
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


def quoted(request):
    """Return what a server quotes of a request: its line, its headers, its body, whatever it was sent."""
    return f"I was asked {request.decode(errors='replace')}"


def refusals(request):
    """Return a refusal in each form of JSON that the clients know."""
    words = quoted(request)
    return json.dumps(
        {
            "errors": [words],
            "__type": "ValidationException",
            "message": words,
            "Message": words,
            "error": {"code": 400, "status": "INVALID_ARGUMENT", "message": words},
            "code": 3,
        }
    )


def xml(request):
    words = quoted(request).replace("&", "&amp;").replace("<", "&lt;")
    return (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>AccessDenied</Code><Message>{words}</Message></Error></ErrorResponse>"
    )


MISPLACED = json.dumps(
    {
        "data": {"data": [HELD], "metadata": HELD, "plaintext": f"{HELD}!", "ciphertext": 5, "keys": HELD},
        "lease_id": [HELD],
        "lease_duration": HELD,
        "auth": HELD,
        "Parameter": [HELD],
        "Parameters": HELD,
        "SecretString": [HELD],
        "SecretValues": HELD,
        "SecretList": HELD,
        "payload": {"data": [HELD]},
        "secrets": HELD,
        "value": [HELD],
        "id": HELD,
        "kvs": HELD,
        "responses": HELD,
        "token": [HELD],
        "header": HELD,
    }
)
JSON, AMZ, XML, HTML = "application/json", "application/x-amz-json-1.1", "text/xml", "text/html"
HTTP = {
    "400 quoting": lambda request: reply(400, refusals(request), AMZ),
    "403 quoting": lambda request: reply(403, refusals(request), JSON),
    "404 quoting": lambda request: reply(404, refusals(request), JSON),
    "500 quoting": lambda request: reply(500, refusals(request), JSON),
    "403 of XML": lambda request: reply(403, xml(request), XML),
    "502 of a proxy": lambda request: reply(502, f"<html>{quoted(request)}", HTML),
    "200 of a portal": lambda request: reply(200, f"<html>{quoted(request)}", HTML),
    "200 that is no JSON": lambda request: reply(200, f"{HELD}{quoted(request)}", JSON),
    "values in other shapes": lambda request: reply(200, MISPLACED, JSON),
    "no HTTP": lambda request: quoted(request).encode(),
    "400 after a login": lambda request: login_taken(request) or reply(400, refusals(request), AMZ),
    "404 after a login": lambda request: login_taken(request) or reply(404, refusals(request), JSON),
}


def login_taken(request):
    """Return a token for a login of etcd, Vault, Google or Microsoft; None for any other request."""
    line = request.partition(b"\r\n")[0]
    if b"openid-configuration" in line:
        host = re.search(rb"(?i)\r\nhost: *(\S+)", request)[1].decode()
        return reply(200, json.dumps(dict.fromkeys(OPENID, f"https://{host}/adfs/token")), JSON)
    if re.search(rb"/auth/\S*(authenticate|login/)|/adfs/token|/oauth", line):
        given = {"token_type": "Bearer", "expires_in": 3600, "access_token": TOKEN}
        login = {"client_token": TOKEN, "lease_duration": 3600, "renewable": True, "policies": []}
        return reply(200, json.dumps({**given, "token": TOKEN, "auth": login}), JSON)
    return None


OPENID = ("authorization_endpoint", "token_endpoint", "issuer")


def redis_login(answer):
    """Take a login, and give `answer` to what is asked afterwards, with all that was said so far."""
    heard = []

    def one(request):
        heard[:] = [*heard[-5:], request]
        commands = [word for word in (b"AUTH", b"HELLO", b"CLIENT", b"SELECT") if word in request.upper()]
        return b"+OK\r\n" * request.count(b"*") if commands else answer(b" ".join(heard))

    return one


REDIS = {
    "error quoting": lambda request: f"-ERR {quoted(request)!r}\r\n".encode(),
    "denied quoting": lambda request: f"-NOPERM {quoted(request)!r}\r\n".encode(),
    "login quoting": lambda request: f"-WRONGPASS {quoted(request)!r}\r\n".encode(),
    "text": lambda request: f"+{HELD}{quoted(request)!r}\r\n".encode(),
    "rubbish": lambda request: quoted(request).encode(),
    "error after the login": redis_login(lambda heard: f"-ERR {quoted(heard)!r}\r\n".encode()),
    "rubbish after the login": redis_login(lambda heard: quoted(heard).encode()),
}


def postgres_error(request):
    words = quoted(request.replace(b"\0", b" ")).encode()
    fields = b"SFATAL\0VFATAL\0C28P01\0M" + words + b"\0D" + words + b"\0H" + words + b"\0\0"
    return b"E" + struct.pack("!I", len(fields) + 4) + fields


def postgres(message, *, always=False):
    """Answer a start as a server without TLS that asks for the password in clear, then with `message`."""

    def answer(request):
        if request[4:8] == struct.pack("!I", 80877103) or request[4:8] == struct.pack("!I", 80877104):
            return b"N"
        if request[:1] != b"p" and not (always and b"user\0" not in request):
            return b"R" + struct.pack("!II", 8, 3)
        return message(request)

    return answer


def postgres_login(answer):
    """Take any password, and give `answer` to statements, with all that was said so far."""
    heard = []

    def one(request):
        heard[:] = [*heard[-5:], request]
        if request[:1] == b"p":
            return b"R" + struct.pack("!II", 8, 0) + b"Z" + struct.pack("!I", 5) + b"I"
        return answer(b" ".join(heard)) + b"Z" + struct.pack("!I", 5) + b"I"

    return postgres(one, always=True)


POSTGRES = {
    "refusal quoting": postgres(postgres_error),
    "refusal at once": postgres_error,
    "rubbish": postgres(lambda request: quoted(request).encode()),
    "statement refused": postgres_login(postgres_error),
    "rubbish after the login": postgres_login(lambda request: quoted(request).encode()),
}


def packet(number, body):
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


MARIADB_GREETING = packet(
    0,
    b"\x0a5.5.5-11.4.2-MariaDB\0"
    + struct.pack("<I", 7)
    + b"saltsalt\0"
    + struct.pack("<HBHHB", 0xF7FF, 45, 2, 0x81BF, 21)
    + bytes(10)
    + b"moresaltsalt\0mysql_native_password\0",
)


def mariadb(answer, *, login=False):
    """Answer as a server that asks for the password in clear, and gives `answer` to statements, or to it.

    `answer` gets the number of the next packet and all that was said on connections so far.
    """
    heard = []

    def one(request):
        heard[:] = [*heard[-5:], request]
        number = request[3]
        if number == 1:
            return packet(2, b"\xfemysql_clear_password\0")
        if number == 3:
            return answer(4, heard) if login else packet(4, MARIADB_DONE)
        taken = not request[5:].lstrip().upper().startswith((b"SELECT", b"ALTER", b"CREATE", b"DROP"))
        return packet(1, MARIADB_DONE) if taken else answer(1, heard)

    return one


MARIADB_DONE = b"\0\0\0\2\0\0\0"


def mariadb_error(number, heard):
    return packet(number, b"\xff" + struct.pack("<H", 1045) + b"#28000" + quoted(b" ".join(heard)).encode())


def mariadb_rubbish(_, heard):
    return quoted(b" ".join(heard)).encode()


def mariadb_rows(*cells):
    """Return an answer to statements: one row of text."""

    def text(cell):
        return bytes([len(cell)]) + cell

    def answer(number, _):
        column = b"".join(map(text, (b"def", b"", b"", b"", b"c", b"c")))
        column += b"\x0c" + struct.pack("<HIBHB", 45, 1024, 0xFD, 0, 0) + bytes(2)
        end = b"\xfe\0\0\2\0"
        bodies = [bytes([len(cells)]), *[column] * len(cells), end, b"".join(map(text, cells)), end]
        return b"".join(packet(number + at, body) for at, body in enumerate(bodies))

    return answer


MARIADB = {
    "refusal quoting": mariadb(mariadb_error, login=True),
    "rubbish": mariadb(mariadb_rubbish, login=True),
    "rubbish in a packet at once": mariadb(
        lambda number, heard: packet(number, mariadb_rubbish(number, heard)), login=True
    ),
    "statement refused": mariadb(mariadb_error),
    "rubbish after the login": mariadb(mariadb_rubbish),
    "rubbish in a packet": mariadb(lambda number, heard: packet(number, mariadb_rubbish(number, heard))),
    "row of one column": mariadb(mariadb_rows(HELD.encode())),
    "account that is no JSON": mariadb(mariadb_rows(b"%", HELD.encode())),
    **{
        f"account of other shapes, {number}": mariadb(mariadb_rows(b"%", json.dumps(account).encode()))
        for number, account in enumerate(
            (
                [HELD],
                {"plugin": [HELD], "authentication_string": HELD},
                {"plugin": "mysql_native_password", "authentication_string": [HELD]},
                {"auth_or": HELD},
                {"auth_or": {HELD: 1}},
                {"auth_or": [HELD, {"plugin": HELD}]},
                {"plugin": "pam", "authentication_string": HELD},
            )
        )
    },
}


class GrpcStranger:
    """A server of gRPC that answers whatever it is asked by what `answer` makes of it and of its context."""

    def __init__(self, answer):
        import grpc

        self.asked = 0
        self._answer = answer
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        # Of a machine's own kind, so that the client sends its token.
        self.port = self._server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())

    def service(self, details):
        import grpc

        words = {one.key: one.value for one in details.invocation_metadata}

        def handle(request, context):
            self.asked += 1
            return self._answer(f"{words} {request!r}", context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()


def grpc_status(name):
    """Refuse by that status, with what was asked in its words and in its details."""

    def answer(words, context):
        import grpc
        from google.protobuf import any_pb2
        from google.rpc import error_details_pb2, status_pb2
        from grpc_status import rpc_status

        told_of = error_details_pb2.ErrorInfo(reason=HELD, domain=words, metadata={"quoted": words})
        detail = any_pb2.Any()
        detail.Pack(told_of)
        code = getattr(grpc.StatusCode, name).value[0]
        status = status_pb2.Status(code=code, message=quoted(words.encode()), details=[detail])
        context.abort_with_status(rpc_status.to_status(status))

    return answer


def grpc_message(make):
    """Answer with the bytes that `make` gives."""
    return lambda words, _: make(words)


def other_secret(_):
    from google.cloud import secretmanager_v1 as sm

    payload = sm.SecretPayload(data=HELD.encode(), data_crc32c=7)
    return sm.AccessSecretVersionResponse.serialize(
        sm.AccessSecretVersionResponse(name=f"projects/p/secrets/{HELD}/versions/1", payload=payload)
    )


GRPC = {
    **{
        f"{name} quoting": grpc_status(name)
        for name in (
            *("INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"),
            *("ALREADY_EXISTS", "ABORTED", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"),
            *("UNKNOWN", "DEADLINE_EXCEEDED", "DATA_LOSS", "CANCELLED", "OUT_OF_RANGE"),
        )
    },
    "no message": grpc_message(lambda words: f"{HELD}{words}".encode()),
    "another secret": grpc_message(other_secret),
}
AWS = {
    "region_name": "us-east-1",
    "access_key_id": "AKIAOFTHISTEST000001",
    "secret_access_key": ACCESS,
    "session_token": SESSION,
    "timeout": 0.5,
}


def lease():
    now = dt.datetime.now(dt.UTC)
    return Lease(f"database/creds/k/{HELD}", "k", {"password": VALUE}, now, now + dt.timedelta(60), True)


def vault(port):
    from strongroom_vault import VaultSecretProvider

    yield VaultSecretProvider(f"http://127.0.0.1:{port}", TOKEN, timeout=1)
    login = {"method": "userpass", "username": "u", "password": PASSWORD}
    yield VaultSecretProvider(f"http://127.0.0.1:{port}", auth=login, kv_version=2, timeout=1)


def vault_leases(port):
    from strongroom_vault.leases import VaultLeaseProvider

    yield VaultLeaseProvider(f"http://127.0.0.1:{port}", TOKEN, timeout=1)


def vault_transit(port):
    from strongroom_vault import VaultTransitEncryption

    yield VaultTransitEncryption(f"http://127.0.0.1:{port}", "app", TOKEN, timeout=1)


def aws(port):
    from strongroom_aws import AWSParameterProvider, AWSRoleProvider, AWSSecretProvider

    endpoint = f"http://127.0.0.1:{port}"
    yield AWSSecretProvider(**AWS, endpoint_url=endpoint)
    yield AWSParameterProvider(**AWS, endpoint_url=endpoint)
    yield AWSRoleProvider(**AWS, endpoint_url=endpoint, roles={"k": "arn:aws:iam::123456789012:role/k"})


def gcp(port):
    from google.oauth2.credentials import Credentials
    from strongroom_gcp import GCPSecretProvider

    yield GCPSecretProvider(
        "p",
        transport="rest",
        credentials=Credentials(token=TOKEN),
        client_options={"api_endpoint": f"http://127.0.0.1:{port}"},
        timeout=1,
    )


def gcp_over_grpc(port):
    import grpc
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )
    from strongroom_gcp import GCPSecretProvider

    token = grpc.access_token_call_credentials(TOKEN)
    login = grpc.composite_channel_credentials(grpc.local_channel_credentials(), token)
    own = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"127.0.0.1:{port}", login, own) as channel:
        yield GCPSecretProvider(
            "p", transport=SecretManagerServiceGrpcTransport(channel=channel), timeout=0.5
        )


class Given:
    """A credential as azure-identity's are, which has its token."""

    def get_token(self, *_, **__):
        from azure.core.credentials import AccessToken

        return AccessToken(TOKEN, int(dt.datetime.now(dt.UTC).timestamp()) + 3600)


def azure(port):
    from azure.keyvault.secrets._shared import http_challenge_cache
    from strongroom_azure import AzureSecretProvider

    # The SDK remembers challenges by address, and a later stranger may get an earlier one's port.
    http_challenge_cache.clear()
    options = {"client_options": {"verify_challenge_resource": False}, "timeout": 0.5}
    yield AzureSecretProvider(f"https://127.0.0.1:{port}", credential=Given(), **options)
    # For ADFS alone the SDK does not ask Microsoft first whether there is such an authority.
    login = {"method": "client_secret", "tenant_id": "adfs", "client_id": "c", "client_secret": PASSWORD}
    login["authority"] = f"127.0.0.1:{port}"
    yield AzureSecretProvider(f"https://127.0.0.1:{port}", credential=login, **options)


def challenged(answer):
    """Ask for a token first, as Key Vault does, and give `answer` to what has one."""
    challenge = (
        'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"'
    )
    asking = f"HTTP/1.1 401 X\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n".encode()
    known = re.compile(rb"(?i)\r\nauthorization:|\A\S+ /adfs/")
    return lambda request: answer(request) if known.search(request) else asking


def etcd(port):
    from strongroom_etcd import EtcdSecretProvider

    made = {
        "username": "u",
        "password": PASSWORD,
        "encryption_key": generate_key(),
        "timeout": 0.5,
    }
    yield EtcdSecretProvider(f"http://127.0.0.1:{port}", **made)


def postgresql(port):
    from strongroom_postgresql import PostgreSQLSecretProvider

    key = {"encryption_key": generate_key(), "timeout": 0.5}
    yield PostgreSQLSecretProvider(f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/d?sslmode=disable", **key)


def postgresql_rotator(port):
    from strongroom_postgresql.rotator import PostgreSQLRotator

    url = f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/d?sslmode=disable"
    yield PostgreSQLRotator(url, "app", timeout_seconds=1)


def mariadb_rotator(port):
    from strongroom_mariadb import MariaDBRotator

    yield MariaDBRotator(f"mariadb://u:{PASSWORD}@127.0.0.1:{port}/", "app", timeout_seconds=1)


def redis_store(port):
    from strongroom_redis import RedisCacheStore

    yield RedisCacheStore(f"redis://u:{PASSWORD}@127.0.0.1:{port}/0")


def redis_rotator(port):
    from strongroom_redis.rotator import RedisRotator

    yield RedisRotator(f"redis://u:{PASSWORD}@127.0.0.1:{port}/0", "app", timeout_seconds=1)


def http_rotator(port):
    from strongroom.rotation.http import HttpRotator

    yield HttpRotator(f"http://127.0.0.1:{port}/hook", PASSWORD, timeout_seconds=1)


BACKENDS = {
    "vault": (vault, HTTP),
    "vault.leases": (vault_leases, HTTP),
    "vault.transit": (vault_transit, HTTP),
    "aws": (aws, HTTP),
    "gcp": (gcp, HTTP),
    "gcp over gRPC": (gcp_over_grpc, GRPC),
    "azure": (azure, {name: challenged(answer) for name, answer in HTTP.items()}),
    "etcd": (etcd, HTTP),
    "postgresql": (postgresql, POSTGRES),
    "postgresql rotator": (postgresql_rotator, POSTGRES),
    "mariadb rotator": (mariadb_rotator, MARIADB),
    "redis store": (redis_store, REDIS),
    "redis rotator": (redis_rotator, REDIS),
    "http rotator": (http_rotator, HTTP),
}
TOKEN_OF_TRANSIT = "vault:v1:" + base64.b64encode(b"of another key").decode()
CALLS = {
    "get_secret": ["k"],
    "get_secrets": [["k", "l"]],
    "set_secret": ["k", VALUE],
    "set_secrets": [{"k": VALUE, "l": VALUE}],
    "set_secret_if": ["k", VALUE, "1"],
    "stage_secret": ["k", VALUE],
    "delete_secret": ["k"],
    "list_secrets": [""],
    "describe_secret": ["k"],
    "list_versions": ["k"],
    "get_secret_version": ["k", "1"],
    "diagnose": [],
    "issue_lease": ["k"],
    "renew_lease": [lease()],
    "revoke_lease": [lease()],
    "encrypt": [VALUE],
    "decrypt": [TOKEN_OF_TRANSIT],
    "rewrap": [TOKEN_OF_TRANSIT],
    "apply": ["k", f"old{VALUE}", VALUE],
    "verify": ["k", VALUE],
    "rollback": ["k", f"old{VALUE}", VALUE],
    "get": ["name"],
    "set": ["name", VALUE.encode(), 60],
    "delete": ["name"],
}

RETRIED = {
    "403 of XML",
    "500 quoting",
    "502 of a proxy",
    "200 of a portal",
    "200 that is no JSON",
    "values in other shapes",
    "no HTTP",
    "RESOURCE_EXHAUSTED quoting",
    "UNAVAILABLE quoting",
    "INTERNAL quoting",
}
"""Answers after which a read is tried again until its time is over."""
FEW = {"get_secret", "get_secrets", "set_secret", "issue_lease", "renew_lease", "encrypt", "decrypt", "apply"}
TAKEN = {"text", "200 of a portal", "200 that is no JSON", "values in other shapes"}
"""Answers that are some backend's success: a text of a cache, any 2xx of a webhook."""


class Lines(logging.Handler):
    """Keeps what the loggers of strongroom and of its distributions say."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.texts = []
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record):
        if record.name.startswith("strongroom"):
            self.texts.append(self.format(record))


@pytest.fixture
def lines():
    handler, root = Lines(), logging.getLogger()
    ours = [name for name in logging.root.manager.loggerDict if name.startswith("strongroom")]
    before = {name: logging.getLogger(name).level for name in {"strongroom", *ours}}
    root.addHandler(handler)
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield handler.texts
    root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def walk(made, names):
    """Call what a component has of `names`; return how many calls failed, and what was given away."""
    failed, found = 0, []
    if leaked(repr(made)):
        found.append(("repr", type(made).__name__, leaked(repr(made))))
    for name in names:
        if not hasattr(made, name):
            continue
        words = CALLS[name]
        try:
            getattr(made, name)(*words)
        except Exception as error:  # whatever it is, it must not give a secret away
            failed += 1
            found += [(name, where, leaked(text)) for where, text in told(error) if leaked(text)]
            if not isinstance(error, (StrongroomError, TypeError)):
                found.append((name, "is not an error of strongroom", [type(error).__name__]))
    with contextlib.suppress(StrongroomError):
        getattr(made, "close", lambda: None)()
    return failed, found


@contextlib.contextmanager
def stranger(backend, answer):
    """Give the server that takes the place of that backend's."""
    with contextlib.ExitStack() as stack:
        if backend == "gcp over gRPC":
            yield stack.enter_context(GrpcStranger(answer))
        elif backend == "azure":
            authority = trustme.CA()
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("REQUESTS_CA_BUNDLE", stack.enter_context(authority.cert_pem.tempfile()))
            certificate = authority.issue_cert("127.0.0.1")
            yield stack.enter_context(Stranger(answer, certificate=certificate))
        else:
            greeting = MARIADB_GREETING if backend == "mariadb rotator" else b""
            yield stack.enter_context(Stranger(answer, greeting))


LONG = {
    *(("gcp over gRPC", f"{name} quoting") for name in ("CANCELLED", "DATA_LOSS")),
    *(("etcd", "404 after a login"), ("aws", "404 after a login"), ("aws", "403 quoting")),
}
"""Cases that take long, too, and differ by their status alone from one that always runs."""


def cases():
    """Yield each backend with each answer; those that take seconds of retries are for `make torture`.

    So is every second one of each backend; of two backends beside one another these are not the same.
    """
    for first, (backend, (_, modes)) in enumerate(BACKENDS.items()):
        for number, mode in enumerate(modes, first):
            later = mode in RETRIED or (backend, mode) in LONG or number % 2
            yield pytest.param(backend, mode, marks=[pytest.mark.torture] if later else [])


@pytest.mark.parametrize(("backend", "mode"), list(cases()))
def test_what_a_server_quotes_is_in_no_error_and_no_log(backend, mode, lines):
    make, modes = BACKENDS[backend]
    names = [name for name in CALLS if name in FEW or mode not in RETRIED]
    with stranger(backend, modes[mode]) as server:
        walks = [walk(made, names) for made in make(server.port)]
        assert server.asked
    assert [found for _, one in walks for found in one] == []
    assert any(failed for failed, _ in walks) or mode in TAKEN
    assert [line for line in lines if leaked(line)] == []


# --- the command line, which tells more with `--debug` ---


@functools.cache
def key_of_google():
    made = rsa.generate_private_key(65537, 2048)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def service_account(port):
    """Return a key of Google's whose logins go to the stranger."""
    key = {"type": "service_account", "client_email": "a@p.example", "private_key_id": "1"}
    return {**key, "private_key": key_of_google(), "token_uri": f"http://127.0.0.1:{port}/oauth/token"}


def providers(port, seconds):
    """Return the provider of each backend, as a spec has it."""
    url, limit = f"http://127.0.0.1:{port}", {"timeout": seconds}
    login = {"method": "userpass", "username": "u", "password": PASSWORD}
    microsoft = {"method": "client_secret", "tenant_id": "adfs", "client_id": "c", "client_secret": PASSWORD}
    key = {"encryption_key": "a passphrase of this test", **limit}
    made = {
        "vault": {"url": url, "auth": login, "kv_version": 2, **limit},
        "vault.leases": {"url": url, "token": TOKEN, **limit},
        "aws": {**AWS, "endpoint_url": url, **limit},
        "aws.parameters": {**AWS, "endpoint_url": url, **limit},
        "aws.sts": {**AWS, "endpoint_url": url, **limit, "roles": {"k": "arn:aws:iam::123456789012:role/k"}},
        "gcp": {
            "project_id": "p",
            "transport": "rest",
            "credentials": json.dumps(service_account(port)),
            "client_options": {"api_endpoint": url},
            **limit,
        },
        "azure": {
            "vault_url": f"https://127.0.0.1:{port}",
            "credential": {**microsoft, "authority": f"127.0.0.1:{port}"},
            "client_options": {"verify_challenge_resource": False},
            **limit,
        },
        "etcd": {"endpoints": url, "username": "u", "password": PASSWORD, **key},
        "postgresql": {"url": f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/d?sslmode=disable", **key},
    }
    return {name: {"type": name, **options} for name, options in made.items()}


def rotators(port, seconds):
    at, limit = f"u:{PASSWORD}@127.0.0.1:{port}", {"timeout_seconds": seconds}
    made = {
        "postgresql rotator": {"url": f"postgresql://{at}/d?sslmode=disable", "role": "app", **limit},
        "mariadb rotator": {"url": f"mariadb://{at}/", "role": "app", **limit},
        "redis rotator": {"url": f"redis://{at}/0", "user": "app", **limit},
        "http rotator": {"url": f"http://127.0.0.1:{port}/hook", "hmac_key": PASSWORD * 2, **limit},
    }
    return {name: {"type": name.partition(" ")[0], **options} for name, options in made.items()}


def spec_of(backend, port, seconds):
    """Return a spec of that backend, each of whose calls may take so long, and the commands that use it."""
    memory, middleware, declared = {"type": "memory", "secrets": {"k": VALUE}}, [], {}
    commands = ["get k"]
    if backend.endswith(" rotator"):
        declared = {"K": {"key": "k", "rotate": {"rotator": rotators(port, seconds)[backend]}}}
        commands = ["rotate k", "rotate k --resume", "rotate k --rehearse", "doctor"]
    elif backend == "redis store":
        store = {"type": "redis", "url": f"redis://u:{PASSWORD}@127.0.0.1:{port}/0"}
        middleware = [
            {"type": "caching", "l2": store, "encryption": {"type": "aes-gcm", "key": generate_key()}}
        ]
        commands = ["get k", "set k", "cache clear", "doctor"]
    elif backend == "vault.transit":
        cipher = {**providers(port, seconds)["vault"], "type": "vault.transit", "key_name": "app"}
        del cipher["kv_version"]
        middleware = [{"type": "encryption", "cipher": cipher}]
        memory["secrets"]["k"] = TOKEN_OF_TRANSIT
        commands = ["get k", "set k", "doctor"]
    else:
        memory = providers(port, seconds)[backend]
        declared = {"K": {"key": "k", "rotate_days": 30}}
        commands = [
            "get k",
            "set k",
            "list",
            "delete k",
            "history k",
            "check",
            "doctor",
            "rotate k",
            "run true",
        ]
    pipeline = {"provider": memory, "middleware": middleware}
    return {"version": 1, "pipelines": {"app": pipeline}, "default": "app", "secrets": declared}, commands


QUICK = {"400 after a login", "refusal quoting", "statement refused", "error after the login"}
"""Answers of which a few commands are for `make test`, but for those that a backend takes for its time being over."""


ALIKE = {
    ("aws.parameters", "400 after a login"),
    ("postgresql rotator", "refusal quoting"),
    ("mariadb rotator", "refusal quoting"),
}
"""Those of them that another backend of the same SDK, or with the same refusal, has already."""


def is_quick(name, mode):
    if name in {"azure", "aws.sts"}:
        return (name, mode) == ("azure", "404 after a login")
    return mode in QUICK and (name, mode) not in ALIKE


def command_cases():
    """Yield each backend of a spec with each answer, and whether a few commands share a process.

    What one command has learnt to mask might hide what the next one gives away: torture starts each by itself, too.
    """
    for backend, (_, modes) in BACKENDS.items():
        for name in {"aws": ["aws", "aws.parameters", "aws.sts"], "gcp over gRPC": []}.get(
            backend, [backend]
        ):
            for mode in modes:
                if is_quick(name, mode):
                    yield name, backend, mode, True
                yield pytest.param(name, backend, mode, False, marks=pytest.mark.torture)


COMMANDS = """\
import io, os, sys
from strongroom.cli import main
for number, words in enumerate(sys.argv[4:]):
    for fd, name in enumerate(("stdout", "stderr"), 1):
        getattr(sys, name).flush()
        os.dup2(os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT), fd)
    sys.stdin = io.TextIOWrapper(io.BytesIO(sys.argv[3].encode()))
    with open(f"{number}.status", "w") as status:
        status.write(str(main(["--debug", "--spec", sys.argv[2], *words.split()])))
"""


def ran(words, file, folder, strongroom):
    """Run a command in a process of its own."""
    done = warm_command.run(
        [strongroom, "--debug", "--spec", str(file), *words.split()], input=VALUE, cwd=folder
    )
    return done.returncode, done.stdout, done.stderr


def ran_by_one_process(commands, file, folder, strongroom):
    """Run commands one after the other, so that they read the SDK once; yield what each wrote."""
    python = str(Path(strongroom).with_name("warm-python"))
    asked = [python, "-c", COMMANDS, "-", str(file), VALUE, *commands]
    done = warm_command.run(asked, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    for number in range(len(commands)):
        status, out, err = (
            (folder / f"{number}.{name}").read_text() for name in ("status", "stdout", "stderr")
        )
        yield int(status), out, err


@pytest.mark.parametrize(("name", "backend", "mode", "together"), list(command_cases()))
def test_the_command_line_shows_nothing_of_it_with_debug(
    name, backend, mode, together, tmp_path, warm_strongroom
):
    told_where, quick = False, is_quick(name, mode)
    with stranger(backend, BACKENDS[backend][1][mode]) as server:
        # The first command reads the SDK, for seconds on a busy machine; what is tried again takes all of its time.
        spec, commands = spec_of(name, server.port, 60 if quick else 5)
        file = tmp_path / "strongroom.yaml"
        file.write_text(json.dumps(spec))
        file.chmod(0o600)
        if together:
            commands = commands[:3]
            seen_of = list(ran_by_one_process(commands, file, tmp_path, warm_strongroom))
        else:
            seen_of = [ran(words, file, tmp_path, warm_strongroom) for words in commands]
        for words, (status, out, err) in zip(commands, seen_of, strict=True):
            got = out if words == "get k" and status == 0 else ""
            seen = err + out.removeprefix(got)
            assert leaked(seen) == [], (words, seen)
            told_where |= "Traceback" in err
        assert server.asked or not quick, seen
    assert told_where or mode in TAKEN or name == "redis store"


def test_the_walk_finds_a_secret_wherever_an_error_has_it():
    inner = ValueError(f"a {TOKEN}")
    outer = StrongroomError("nothing")
    outer.__context__ = inner
    assert {where for where, text in told(outer) if leaked(text)} >= {"str of ValueError", "traceback"}
    outer.__suppress_context__ = True
    assert "str of ValueError" in {where for where, text in told(outer) if leaked(text)}
    noted = StrongroomError("nothing")
    noted.add_note(base64.b64encode(VALUE.encode()).decode())
    assert [leaked(text) for _, text in told(noted) if leaked(text)] == [["value"], ["value"], ["value"]]
