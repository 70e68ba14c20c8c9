"""What was seen once is not taken back by a node of the cluster that is behind."""

from __future__ import annotations

import base64
import http.server
import json
import sys
from pathlib import Path

import pytest
from strongroom.errors import BackendUnavailableError
from strongroom_vault import VaultSecretProvider
from strongroom_vault.consistency import Seen

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from bao_server import BaoServer, Standby, served  # as above


def index(place, cluster="c"):
    """What OpenBao 2.7 sends, in its form."""
    return base64.b64encode(json.dumps({"cluster": cluster, "value": str(place)}).encode()).decode()


class Node(http.server.BaseHTTPRequestHandler):
    """Answers with the indexes of a list, one after the other; keeps what it was shown."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.shown.append(
            (self.headers.get("X-Vault-Index"), self.headers.get("X-Vault-Inconsistent"))
        )
        status, told = self.server.script.pop(0)
        data = {"data": {"value": "v"}, "metadata": {"version": 1}, "version": 1}
        body = json.dumps({"data": data, "auth": {"client_token": "t"}}).encode()
        self.send_response(status)
        if told:
            self.send_header("X-Vault-Index", told)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def node():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Node)
    made.shown, made.script = [], []
    made.url = f"http://127.0.0.1:{made.server_port}"
    with served(made):
        yield made


def test_each_request_shows_how_far_the_answers_before_it_were(node):
    """The first is the login, whose token a standby may not know yet; then a write, an older answer, a newer one."""
    auth = {"method": "userpass", "username": "u", "password": "p"}
    node.script = [(200, index(5)), (200, ""), (200, index(7)), (200, index(6)), (200, index(12)), (200, "")]
    with VaultSecretProvider(node.url, auth=auth, kv_version=2) as provider:
        provider.set_secret("k", "w")  # a look at what is there, and the write
        for _ in range(3):
            provider.get_secret("k")
    shown = [None, index(5), index(5), index(7), index(7), index(12)]
    assert node.shown == [(one, one and "forward-active-node") for one in shown]


def test_a_server_that_tells_none_is_shown_none(node):
    node.script = [(200, "")] * 3
    with VaultSecretProvider(node.url, "t", kv_version=2) as provider:
        provider.set_secret("k", "w")
        provider.get_secret("k")
    assert node.shown == [(None, None)] * 3


def test_a_node_that_is_behind_is_asked_again_until_the_deadline(node):
    """As Vault answers where it may not forward; nothing was done."""
    node.script = [(412, ""), (412, ""), (200, "")]
    with VaultSecretProvider(node.url, "t", kv_version=2) as provider:
        assert provider.get_secret("k") == "v"
    node.script = [(412, "")] * 99
    with (
        VaultSecretProvider(node.url, "t", kv_version=2, timeout=0.2) as provider,
        pytest.raises(BackendUnavailableError),
    ):
        provider.get_secret("k")


@pytest.mark.parametrize(
    ("first", "then", "is_write", "kept"),
    [
        (index(9), index(10), False, index(10)),  # by number, not by text
        (
            index(10),
            index(9),
            True,
            index(10),
        ),  # writes of two threads, whose answers come the other way round
        (index(9), index(3, "restored"), False, index(3, "restored")),
        ("another form", "another form too", False, "another form"),
        ("another form", "another form too", True, "another form too"),
        (index(9), "another form", False, index(9)),
        ("another form", "W10=", False, "another form"),
        ("", "another form", False, "another form"),
    ],
)
def test_the_later_one_is_kept(first, then, is_write, kept):
    seen = Seen()
    seen.note({"x-vault-index": first}, is_write=False)
    seen.note({"x-vault-index": then}, is_write=is_write)
    assert seen.headers["X-Vault-Index"] == kept
    assert seen.copy().headers == seen.headers


@pytest.mark.torture
def test_a_write_is_seen_by_the_next_read_at_a_standby(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    active = BaoServer(tmp_path / "one", storage="raft")
    standby = None
    try:
        standby = Standby(tmp_path / "two", active)
        active.client.sys.enable_auth_method("userpass")
        active.client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        rules = 'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }'
        active.client.sys.create_or_update_policy("p", rules)
        active.client.auth.userpass.create_or_update_user("u", "pass-word-1", policies=["p"])
        auth = {"method": "userpass", "username": "u", "password": "pass-word-1"}
        for number in range(10):
            with VaultSecretProvider(standby.url, auth=auth, timeout=30) as provider:
                for again in range(20):
                    value = f"{number}-{again}"
                    provider.set_secret("k", value)
                    assert provider.get_secret("k") == value
                    version = provider.describe_secret("k").version
                    assert provider.set_secret_if("k", "x", version) == str(int(version) + 1)
                    assert provider.list_versions("k")[0].version == str(int(version) + 1)
        made = len(active.client.list("auth/token/accessors")["data"]["keys"])
        assert made <= 12, "a token of a moment ago was taken for a dead one"
    finally:
        if standby is not None:
            standby.stop()
        active.stop()
