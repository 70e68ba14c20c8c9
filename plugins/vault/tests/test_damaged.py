"""Answers of which a part is missing or of another type, as of something in the place of a server."""

from __future__ import annotations

import contextlib
import http.server
import json
import sys
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

import pytest
from strongroom import Lease
from strongroom.errors import StrongroomError
from strongroom.testing.faults import damaged
from strongroom_vault import VaultLeaseProvider, VaultSecretProvider, VaultTransitEncryption

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from bao_server import served  # as above

WHEN = "2026-01-31T12:00:00.123456789Z"
VERSION = {"created_time": WHEN, "deletion_time": "", "destroyed": False}
AUTH = {"auth": {"client_token": "t", "lease_duration": 3600, "renewable": True, "num_uses": 0}}
KNOWN = {
    "created_time": WHEN,
    "current_version": 1,
    "custom_metadata": {"team": "core"},
    "versions": {"1": VERSION},
}
LEASE = {"lease_id": "database/creds/app/1", "lease_duration": 60, "renewable": True}
GOOD = {
    "GET sys/internal/ui/mounts/secret": {"data": {"type": "kv", "options": {"version": "2"}}},
    "GET secret/data/k": {"data": {"data": {"value": "v"}, "metadata": {**VERSION, "version": 1}}},
    "POST secret/data/k": {"request_id": "r", "data": {**VERSION, "version": 2}},
    "DELETE secret/data/k": {"request_id": "r"},
    "GET secret/metadata/k": {"data": KNOWN},
    "GET secret/metadata/k2": {"data": KNOWN},
    "GET secret/metadata/k3": {"data": KNOWN},
    "LIST secret/metadata": {"data": {"keys": ["k"]}},
    "LIST secret/detailed-metadata": {"data": {"keys": ["k", "a/"], "key_info": {"k": KNOWN, "a/": {}}}},
    "GET kv1/k": {"data": {"value": "v"}},
    "GET sys/internal/ui/mounts/kv1": {"data": {"type": "kv", "options": None}},
    "POST auth/userpass/login/u": AUTH,
    "GET sys/health": {"server_time_utc": 1_790_000_000, "sealed": False},
    "GET auth/token/lookup-self": {"data": {"display_name": "me", "policies": ["default"], "ttl": 3600}},
    "GET database/creds/app": {**LEASE, "data": {"username": "u", "ca_chain": ["c"]}},
    "POST sys/leases/renew": LEASE,
    "LIST database/roles": {"data": {"keys": ["app"]}},
    "GET database/static-creds/app": {"data": {"password": "p", "ttl": 60, "expiration": 1_790_000_000}},
    "POST transit/encrypt/k": {"data": {"ciphertext": "vault:v1:AAAA"}},
    "POST transit/decrypt/k": {"data": {"plaintext": "dg=="}},
    "GET transit/keys/k": {"data": {"latest_version": 3}},
}
GONE = {"data": {"data": None, "metadata": {**VERSION, "deletion_time": WHEN, "version": 1}}}
REFUSED = {
    "errors": ["no such thing"],
    "warnings": ["for a versioned K/V"],
    "data": {"batch_results": [{"error": "e"}]},
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.removeprefix("/v1/").partition("?")
        asked = f"{'LIST' if 'list=true' in query else self.command} {path}"
        self.server.asked.add(asked)
        status, body = self.server.odd.get(asked) or (200, json.dumps(GOOD[asked]).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def canned():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.asked, made.odd = set(), {}
    made.url = f"http://127.0.0.1:{made.server_port}"
    with served(made):
        yield made


def kv(url, **options):
    return VaultSecretProvider(url, **{"token": "t", **options})


def leases(url, **options):
    return VaultLeaseProvider(url, "t", **options)


NOW = datetime.now(UTC)
HELD = Lease(LEASE["lease_id"], "app", {}, NOW, NOW + timedelta(seconds=60), True)
USER = {"method": "userpass", "username": "u", "password": "p"}


def transit(url):
    return VaultTransitEncryption(url, "k", "t")


CALLS = {
    "get": (kv, lambda it: it.get_secret("k"), ["GET secret/data/k", "GET sys/internal/ui/mounts/secret"]),
    "get of version 1": (
        lambda url: kv(url, mount_point="kv1"),
        lambda it: it.get_secret("k"),
        ["GET kv1/k", "GET sys/internal/ui/mounts/kv1"],
    ),
    "set": (kv, lambda it: it.set_secret("k", "v"), ["POST secret/data/k"]),
    "set if": (kv, lambda it: it.set_secret_if("k", "v", "1"), ["GET secret/data/k"]),
    "delete": (kv, lambda it: it.delete_secret("k"), ["DELETE secret/data/k"]),
    "list": (kv, lambda it: it.list_secrets(), ["LIST secret/metadata", "GET secret/metadata/k"]),
    "describe": (kv, lambda it: it.describe_secret("k"), ["GET secret/metadata/k"]),
    "describe many": (
        kv,
        lambda it: it.describe_secrets(["k", "k2", "k3"]),
        ["LIST secret/detailed-metadata"],
    ),
    "versions": (kv, lambda it: it.list_versions("k"), ["GET secret/metadata/k"]),
    "log in": (
        lambda url: kv(url, token=None, auth=USER, kv_version=2),
        lambda it: it.get_secret("k"),
        ["POST auth/userpass/login/u"],
    ),
    "diagnose": (kv, lambda it: it.diagnose(), ["GET sys/health", "GET auth/token/lookup-self"]),
    "issue": (
        leases,
        lambda it: it.issue_lease("app"),
        ["GET database/creds/app", "GET auth/token/lookup-self"],
    ),
    "issue without a lease": (
        lambda url: leases(url, path="static-creds"),
        lambda it: it.issue_lease("app"),
        ["GET database/static-creds/app"],
    ),
    "renew": (leases, lambda it: it.renew_lease(HELD), ["POST sys/leases/renew"]),
    "list roles": (leases, lambda it: it.list_secrets(), ["LIST database/roles"]),
    "encrypt": (transit, lambda it: it.encrypt("v"), ["POST transit/encrypt/k"]),
    "encrypt many": (transit, lambda it: it.encrypt_many([("v", b"")] * 2), ["POST transit/encrypt/k"]),
    "decrypt": (transit, lambda it: it.decrypt("vault:v1:AAAA"), ["POST transit/decrypt/k"]),
    "rekey": (transit, lambda it: it.needs_rekey("vault:v1:AAAA"), ["GET transit/keys/k"]),
}


@pytest.mark.parametrize("one_in", [5, pytest.param(1, marks=pytest.mark.torture)])
@pytest.mark.parametrize("name", CALLS)
def test_a_damaged_answer_is_an_answer_or_an_error_of_ours(canned, name, one_in):
    make, call, damages = CALLS[name]
    begins = count(list(CALLS).index(name))  # each part of a sample has others of the damages

    def tried(held):
        with contextlib.suppress(StrongroomError):
            call(held)

    # What is remembered of an answer would keep others from being asked for.
    remembers = {
        "GET sys/internal/ui/mounts",
        "POST auth/userpass",
        "LIST secret/detailed",
        "GET transit/keys",
    }
    canned.asked.clear()
    canned.odd = {}
    kept = make(canned.url)
    tried(kept)
    assert set(damages) <= canned.asked
    for asked in damages:
        odd = [(200, GOOD.get(asked, {})), (404, GONE), (400, REFUSED)]
        for status, whole in odd:
            for where, spoilt in islice(damaged(whole), next(begins) % one_in, None, one_in):
                canned.odd = {asked: (status, json.dumps(spoilt).encode())}
                held = make(canned.url) if asked.startswith(tuple(remembers)) else kept
                try:
                    tried(held)
                except Exception as error:
                    error.add_note(f"{asked}: {status} with {where}: {json.dumps(spoilt)[:300]}")
                    raise
                finally:
                    if held is not kept:
                        held.close()
    kept.close()
