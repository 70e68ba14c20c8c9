"""A server that gives the answers it is told to, for what no emulator does: throttling, failures, refusals."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def refusal(status, code, message="in words", headers=None):
    """Return the answer of a service that refuses."""
    return status, {"__type": code, "message": message}, headers or {}


def success(**body):
    """Return a good answer."""
    return 200, body, {}


def value(text, name="k"):
    """Return the answer that holds a current value; with the name None it is good for every secret."""
    labels = ["AWSCURRENT"]
    named = {} if name is None else {"Name": name}
    return success(**named, VersionId="v" * 36, SecretString=text, VersionStages=labels)


_WHEN = 1_700_000_000
_SECRET = {"ARN": "arn:aws:secretsmanager:us-east-1:1:secret:k-abcdef", "Name": "k"}
_CURRENT = {"VersionId": "v" * 36, "VersionStages": ["AWSCURRENT"], "CreatedDate": _WHEN}
_TAGS = [{"Key": "team", "Value": "red"}]
_PARAMETER = {
    "Name": "/k",
    "Type": "SecureString",
    "Value": "hunter2",
    "Version": 1,
    "LastModifiedDate": _WHEN,
}
GOOD = {
    "GetSecretValue": {**_SECRET, **_CURRENT, "SecretString": "hunter2"},
    "BatchGetSecretValue": {
        "SecretValues": [{**_SECRET, **_CURRENT, "SecretString": "hunter2"}],
        "Errors": [{"SecretId": "l", "ErrorCode": "ResourceNotFoundException", "Message": "none"}],
    },
    "DescribeSecret": {
        **_SECRET,
        "CreatedDate": _WHEN,
        "Description": "in words",
        "Tags": _TAGS,
        "VersionIdsToStages": {"v" * 36: ["AWSCURRENT"], "p" * 36: ["AWSPENDING"]},
    },
    "ListSecretVersionIds": {**_SECRET, "Versions": [_CURRENT]},
    "ListSecrets": {
        "SecretList": [
            {**_SECRET, "Description": "in words", "SecretVersionsToStages": {"v" * 36: ["AWSCURRENT"]}}
        ]
    },
    "PutSecretValue": {**_SECRET, "VersionId": "v" * 36, "VersionStages": ["AWSCURRENT"]},
    "CreateSecret": {**_SECRET, "VersionId": "v" * 36},
    "DeleteSecret": {**_SECRET, "DeletionDate": _WHEN},
    "RestoreSecret": _SECRET,
    "UpdateSecretVersionStage": _SECRET,
    "GetParameter": {"Parameter": _PARAMETER},
    "GetParameters": {"Parameters": [_PARAMETER], "InvalidParameters": ["/l"]},
    "GetParameterHistory": {"Parameters": [_PARAMETER]},
    "GetParametersByPath": {"Parameters": [_PARAMETER]},
    "DescribeParameters": {"Parameters": [{"Name": "/k", "Description": "in words"}]},
    "ListTagsForResource": {"TagList": _TAGS},
    "PutParameter": {"Version": 2, "Tier": "Standard"},
    "DeleteParameter": {},
}
"""What the services answer of the key `k`, as their references show it."""


class Front:
    """Gives `answers` one after the other, the last one again and again; notes what it was asked.

    Without `answers` it gives those of `GOOD`; of the operation that `spoil` was called with the spoilt one, and then
    it refuses.
    """

    def __init__(self, *answers, context=None):
        self.answers = list(answers)
        self.asked = []
        self.spoilt = [None]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.front = self
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "http" if context is None else "https"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self._server.server_port}"

    @property
    def operations(self):
        return [operation for operation, _ in self.asked]

    def spoil(self, operation, answer):
        self.spoilt, self.asked = [operation, answer], []

    def answer(self, operation):
        if self.answers:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if operation != self.spoilt[0]:
            return 200, GOOD[operation], {"x-amzn-RequestId": "r"}
        if len(self.spoilt) == 1:
            return refusal(400, "AccessDeniedException")
        return 200, self.spoilt.pop(), {}

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self):
        front = self.server.front
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        front.asked.append((operation, body))
        status, content, headers = front.answer(operation)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_):
        pass
