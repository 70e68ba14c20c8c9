"""Two servers on 127.0.0.1 that speak Secret Manager's wire protocols, gRPC and REST, in front of a store."""

from __future__ import annotations

import http.server
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, urlsplit

import grpc
from gcp_store import Refusal, Store
from google.cloud import secretmanager_v1 as sm
from google.protobuf import any_pb2, empty_pb2, json_format
from google.rpc import status_pb2
from grpc_status import rpc_status

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
RPCS = {
    "ListSecrets": sm.ListSecretsRequest,
    "CreateSecret": sm.CreateSecretRequest,
    "AddSecretVersion": sm.AddSecretVersionRequest,
    "GetSecret": sm.GetSecretRequest,
    "UpdateSecret": sm.UpdateSecretRequest,
    "DeleteSecret": sm.DeleteSecretRequest,
    "ListSecretVersions": sm.ListSecretVersionsRequest,
    "GetSecretVersion": sm.GetSecretVersionRequest,
    "AccessSecretVersion": sm.AccessSecretVersionRequest,
    "DisableSecretVersion": sm.DisableSecretVersionRequest,
    "EnableSecretVersion": sm.EnableSecretVersionRequest,
    "DestroySecretVersion": sm.DestroySecretVersionRequest,
}
_PARENT = r"(?P<parent>projects/[^/]+(?:/locations/[^/]+)?)"
_SECRET = r"projects/[^/]+(?:/locations/[^/]+)?/secrets/[^/:]+"
ROUTES = [
    ("GET", rf"{_PARENT}/secrets", "ListSecrets"),
    ("POST", rf"{_PARENT}/secrets", "CreateSecret"),
    ("POST", rf"(?P<parent>{_SECRET}):addVersion", "AddSecretVersion"),
    ("GET", rf"(?P<name>{_SECRET})", "GetSecret"),
    ("PATCH", rf"(?P<name>{_SECRET})", "UpdateSecret"),
    ("DELETE", rf"(?P<name>{_SECRET})", "DeleteSecret"),
    ("GET", rf"(?P<parent>{_SECRET})/versions", "ListSecretVersions"),
    ("GET", rf"(?P<name>{_SECRET}/versions/[^/:]+)", "GetSecretVersion"),
    ("GET", rf"(?P<name>{_SECRET}/versions/[^/:]+):access", "AccessSecretVersion"),
    ("POST", rf"(?P<name>{_SECRET}/versions/[^/:]+):disable", "DisableSecretVersion"),
    ("POST", rf"(?P<name>{_SECRET}/versions/[^/:]+):enable", "EnableSecretVersion"),
    ("POST", rf"(?P<name>{_SECRET}/versions/[^/:]+):destroy", "DestroySecretVersion"),
]
BODY_MEMBER = {"CreateSecret": "secret", "UpdateSecret": "secret"}
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def _packed(details):
    for detail in details:
        found = any_pb2.Any()
        found.Pack(detail)
        yield found


def _encode(message):
    return (
        message.SerializeToString()
        if isinstance(message, empty_pb2.Empty)
        else type(message).serialize(message)
    )


class GrpcServer:
    """The store over gRPC: with `credentials` over TLS, else in clear, for ready transports with a plain channel."""

    def __init__(self, store: Store, credentials: grpc.ServerCredentials | None = None):
        self.store = store
        self._server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        handlers = {name: self._handler(name, request) for name, request in RPCS.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def _handler(self, name, request):
        def answer(message, context):
            self.store.metadata.append(dict(context.invocation_metadata()))
            try:
                return self.store.answer(name, message)
            except Refusal as refusal:
                status = status_pb2.Status(
                    code=refusal.code.value[0], message=refusal.message, details=_packed(refusal.details)
                )
            return context.abort_with_status(rpc_status.to_status(status))

        return grpc.unary_unary_rpc_method_handler(answer, request.deserialize, _encode)

    def close(self):
        self._server.stop(None).wait()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.store.metadata.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.canned is not None:
            self._send(*self.server.canned)
            return
        url = urlsplit(self.path)
        for method, pattern, rpc in ROUTES:
            found = re.fullmatch("/v1/" + pattern, url.path)
            if method == self.command and found:
                answer = self._call(rpc, found.groupdict(), dict(parse_qsl(url.query)), body)
                self._send(*self.server.spoil(*answer))
                return
        self._send(404, b"<html>no such page</html>", {"Content-Type": "text/html"})

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def _call(self, rpc, members, query, body):
        query.pop("$alt", None)
        given = {**query, **members}
        sent = json.loads(body or b"{}")
        if rpc in BODY_MEMBER:
            given.pop("name", None)
            given[BODY_MEMBER[rpc]] = sent
        else:
            given.update(sent)
        try:
            answer = self.server.store.answer(rpc, RPCS[rpc].from_json(json.dumps(given)))
        except Refusal as refusal:
            name = refusal.code.name
            details = [json_format.MessageToDict(detail) for detail in _packed(refusal.details)]
            error = {
                "code": HTTP_STATUS[name],
                "message": refusal.message,
                "status": name,
                "details": details,
            }
            return HTTP_STATUS[name], json.dumps({"error": error}).encode(), {}
        if isinstance(answer, empty_pb2.Empty):
            return 200, b"{}", {}
        return 200, type(answer).to_json(answer).encode(), {}

    def _send(self, status, body, headers):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *args):
        pass


class _HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that goes away, as fault tests have it


class RestServer:
    """The store over REST, in clear: `api_endpoint` is `url`. `canned` answers everything (status, body, headers)."""

    def __init__(self, store: Store):
        self._server = _HttpServer(("127.0.0.1", 0), _Handler)
        self._server.store = store
        self._server.canned = None
        self.spoil_with(lambda *answer: answer)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def spoil_with(self, change):
        """Send what `change` makes of status, body and headers in place of each answer."""
        self._server.spoil = change

    def can(self, status, body, **headers):
        self._server.canned = (status, body, headers)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
