"""What Secret Manager does, in memory: the service behind both loopback servers.

It follows the documented behaviour of the real one: `latest` is the newest version whatever its state, reading a
disabled or destroyed one is FAILED_PRECONDITION, versions count from 1, names and sizes are checked, lists come in
pages, newest version first, and checksums are compared.
"""

from __future__ import annotations

import collections
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import google_crc32c
import grpc
from google.cloud import secretmanager_v1 as sm
from google.protobuf import empty_pb2

PROJECT = "loopback"
STATE = sm.SecretVersion.State


class Refusal(Exception):
    """An answer that is not a success: a gRPC code, a message, and perhaps details (packed messages)."""

    def __init__(self, code, message, details=()):
        super().__init__(message)
        self.code = grpc.StatusCode[code]
        self.message = message
        self.details = tuple(details)


@dataclass
class Held:
    secret: sm.Secret
    versions: list[sm.SecretVersion] = field(default_factory=list)
    payloads: dict[str, bytes] = field(default_factory=dict)


class Store:
    def __init__(self):
        self.held: dict[str, Held] = {}
        self.calls: list[str] = []
        self.requests: list[tuple[str, object]] = []
        self.metadata: list[dict] = []
        self.faults = collections.defaultdict(collections.deque)
        self.forever = {}
        self.delay = 0.0
        self.closing = threading.Event()
        self.largest_page = 25_000
        self.damage = False
        self.under_way = 0
        self.most_under_way = 0
        self._lock = threading.RLock()
        self._clock = datetime(2026, 1, 1, tzinfo=UTC)

    def fail(self, rpc, refusal, times=None):
        """Let the next `times` calls of `rpc` (or all from now on) be refused."""
        if times is None:
            self.forever[rpc] = refusal
        else:
            self.faults[rpc].extend([refusal] * times)

    def answer(self, rpc, request):
        with self._lock:
            self.calls.append(rpc)
            self.requests.append((rpc, request))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.delay:
                self.closing.wait(self.delay)
            with self._lock:
                refusal = self.faults[rpc].popleft() if self.faults[rpc] else self.forever.get(rpc)
                if refusal is not None:
                    raise refusal
                return getattr(self, "do_" + rpc)(request)
        finally:
            with self._lock:
                self.under_way -= 1

    # --- the methods of the service ---

    def do_CreateSecret(self, request):
        self._check_parent(request.parent)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", request.secret_id):
            raise Refusal("INVALID_ARGUMENT", f"Resource ID [{request.secret_id}] is not in a valid format.")
        regional = "/locations/" in request.parent
        if regional == bool(request.secret.replication._pb.WhichOneof("replication")):
            raise Refusal("INVALID_ARGUMENT", "Field [replication] is required for global secrets only.")
        if any(not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", label) for label in request.secret.labels):
            raise Refusal("INVALID_ARGUMENT", "Label keys are not in a valid format.")
        notes = request.secret.annotations
        if sum(len(k.encode()) + len(v.encode()) for k, v in notes.items()) > 16 * 1024:
            raise Refusal("INVALID_ARGUMENT", "Annotations are too large.")
        name = f"{request.parent}/secrets/{request.secret_id}"
        if name in self.held:
            raise Refusal("ALREADY_EXISTS", f"Secret [{name}] already exists.")
        secret = sm.Secret(request.secret)
        secret.name, secret.create_time, secret.etag = name, self._now(), '"1"'
        self.held[name] = Held(secret)
        return secret

    def do_AddSecretVersion(self, request):
        held = self._find(request.parent)
        data = request.payload.data
        if not data:
            raise Refusal("INVALID_ARGUMENT", "Secret Payload cannot be empty.")
        if len(data) > 65_536:
            raise Refusal("INVALID_ARGUMENT", "The secret payload exceeds the maximum of 65536 bytes.")
        checked = "data_crc32c" in request.payload
        if checked and request.payload.data_crc32c != google_crc32c.value(data):
            raise Refusal("INVALID_ARGUMENT", "Payload checksum does not match.")
        version = sm.SecretVersion(
            name=f"{request.parent}/versions/{len(held.versions) + 1}",
            create_time=self._now(),
            state=STATE.ENABLED,
            client_specified_payload_checksum=checked,
        )
        held.versions.append(version)
        held.payloads[version.name] = data
        return version

    def do_GetSecret(self, request):
        return self._find(request.name).secret

    def do_UpdateSecret(self, request):
        held = self._find(request.secret.name)
        if request.secret.etag and request.secret.etag != held.secret.etag:
            raise Refusal("FAILED_PRECONDITION", "The etag does not match.")
        for path in request.update_mask.paths:
            setattr(held.secret, path, getattr(request.secret, path))
        return held.secret

    def do_DeleteSecret(self, request):
        self._find(request.name)
        del self.held[request.name]
        return empty_pb2.Empty()

    def do_ListSecrets(self, request):
        self._check_parent(request.parent)
        prefix = request.parent + "/secrets/"
        found = [held.secret for name, held in sorted(self.held.items()) if name.startswith(prefix)]
        page, token = self._page(found, request)
        return sm.ListSecretsResponse(secrets=page, next_page_token=token, total_size=len(found))

    def do_ListSecretVersions(self, request):
        found = list(reversed(self._find(request.parent).versions))
        page, token = self._page(found, request)
        return sm.ListSecretVersionsResponse(versions=page, next_page_token=token, total_size=len(found))

    def do_GetSecretVersion(self, request):
        return self._version(request.name)[1]

    def do_AccessSecretVersion(self, request):
        held, version = self._version(request.name)
        if version.state != STATE.ENABLED:
            raise Refusal(
                "FAILED_PRECONDITION", f"Secret Version [{version.name}] is in {version.state.name} state."
            )
        data = held.payloads[version.name]
        crc = google_crc32c.value(data)
        return sm.AccessSecretVersionResponse(
            name=version.name, payload={"data": data, "data_crc32c": crc ^ 1 if self.damage else crc}
        )

    def do_DisableSecretVersion(self, request):
        return self._change(request.name, STATE.DISABLED)

    def do_EnableSecretVersion(self, request):
        return self._change(request.name, STATE.ENABLED)

    def do_DestroySecretVersion(self, request):
        held, version = self._version(request.name)
        changed = self._change(request.name, STATE.DESTROYED)
        held.payloads.pop(version.name)
        return changed

    # --- parts ---

    def _now(self):
        self._clock += timedelta(seconds=1)
        return self._clock

    def _check_parent(self, parent):
        if not re.fullmatch(rf"projects/{PROJECT}(/locations/[a-z0-9-]+)?", parent):
            raise Refusal(
                "PERMISSION_DENIED", f"Permission denied on resource project {parent.split('/')[1]}."
            )

    def _find(self, name):
        self._check_parent(name.partition("/secrets/")[0])
        if name not in self.held:
            raise Refusal("NOT_FOUND", f"Secret [{name}] not found.")
        return self.held[name]

    def _version(self, name):
        parent, _, asked = name.partition("/versions/")
        held = self._find(parent)
        if not held.versions:
            raise Refusal("NOT_FOUND", f"Secret [{parent}] not found or has no versions.")
        if asked == "latest":
            return held, held.versions[-1]
        if asked in held.secret.version_aliases:
            asked = str(held.secret.version_aliases[asked])
        for version in held.versions:
            if version.name == f"{parent}/versions/{asked}":
                return held, version
        raise Refusal("NOT_FOUND", f"Secret Version [{name}] not found.")

    def _change(self, name, state):
        version = self._version(name)[1]
        if version.state == STATE.DESTROYED:
            raise Refusal("FAILED_PRECONDITION", f"Secret Version [{version.name}] is in DESTROYED state.")
        version.state = state
        return version

    def _page(self, found, request):
        size = min(request.page_size or self.largest_page, self.largest_page)
        start = int(request.page_token or 0)
        end = start + size
        return found[start:end], str(end) if end < len(found) else ""
