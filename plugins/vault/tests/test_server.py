"""Servers as they are run: behind TLS, restarted, sealed, busy, with namespaces and policies."""

from __future__ import annotations

import http.server
import json
import ssl
import sys
import threading
import uuid
from pathlib import Path

import pytest
import trustme
from sampling import crossed
from strongroom import SecretRotation
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    ThrottledError,
)
from strongroom.providers import observing_versions
from strongroom.testing.faults import FaultProxy
from strongroom_vault import VaultSecretProvider

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from bao_server import BaoServer, served  # as above

VALUE = "a-value-that-no-message-may-tell"


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a server."""
    running = []

    def start(**options):
        folder = tmp_path / f"bao-{len(running)}"
        folder.mkdir()
        running.append(BaoServer(folder, **options))
        running[-1].client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture(scope="module")
def on_raft(tmp_path_factory):
    """A server that stores on disk: its start, and each restart, waits for an election."""
    made = BaoServer(tmp_path_factory.mktemp("raft"), storage="raft")
    yield made
    made.stop()


@pytest.fixture
def raft_mount(on_raft):
    name = f"kv-{uuid.uuid4()}"
    on_raft.client.sys.enable_secrets_engine("kv", path=name, options={"version": "2"})
    return name


# --- TLS ---


@pytest.fixture
def authority(tmp_path):
    """A private CA, and files of what it made: for the server, and for a client."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    for name, made in {
        "server": ca.issue_cert("127.0.0.1"),
        "client": ca.issue_cert("client@example.com"),
    }.items():
        made.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    return tmp_path


def test_a_private_authority_is_trusted_where_it_is_named(run, authority):
    server = run(
        listener=f'tls_cert_file = "{authority}/server.pem"\n  tls_key_file = "{authority}/server.key"',
        ca=authority / "ca.pem",
    )
    with VaultSecretProvider(server.url, server.token, verify=authority / "ca.pem") as provider:
        provider.set_secret("k", VALUE)
        assert provider.get_secret("k") == VALUE
        assert provider.diagnose()["reachable"]
    for verify in (True, authority / "other.pem"):
        with (
            VaultSecretProvider(server.url, server.token, verify=verify) as provider,
            pytest.raises(BackendUnavailableError) as caught,
        ):
            provider.get_secret("k")
        assert "certificate" in str(caught.value)
        assert server.token not in repr(caught.value)
    with (
        VaultSecretProvider(server.url, server.token, verify=authority / "none.pem") as provider,
        pytest.raises(ConfigurationError),
    ):
        provider.get_secret("k")
    plain = server.url.replace("https:", "http:")
    with VaultSecretProvider(plain, server.token) as provider, pytest.raises(StrongroomError):
        provider.get_secret("k")


def test_a_client_certificate_is_shown_where_the_server_wants_one(run, authority):
    server = run(
        listener=(
            f'tls_cert_file = "{authority}/server.pem"\n  tls_key_file = "{authority}/server.key"\n'
            f'  tls_client_ca_file = "{authority}/ca.pem"\n  tls_require_and_verify_client_cert = true'
        ),
        ca=authority / "ca.pem",
        cert=(str(authority / "client.pem"), str(authority / "client.key")),
    )
    options = {"verify": authority / "ca.pem"}
    shown = {"client_cert": authority / "client.pem", "client_key": authority / "client.key"}
    with VaultSecretProvider(server.url, server.token, **options, **shown) as provider:
        provider.set_secret("k", VALUE)
        assert provider.get_secrets(["k"]) == {"k": VALUE}
    with (
        VaultSecretProvider(server.url, server.token, **options) as provider,
        pytest.raises(BackendUnavailableError),
    ):
        provider.get_secret("k")


# --- restarts and seals ---


def test_a_value_that_raft_does_not_take_is_too_large_and_changes_nothing(on_raft, raft_mount):
    """The server answers 500 to it, and names a size that is not its."""
    with VaultSecretProvider(on_raft.url, on_raft.token, raft_mount) as provider:
        provider.set_secret("k", VALUE)
        long = VALUE * (3 * 2**19 // len(VALUE))
        for write in (
            lambda: provider.set_secret("k", long),
            lambda: provider.set_secret_if("k", long, "1"),
            lambda: provider.set_secrets({"k": long}),
        ):
            with pytest.raises(SecretTooLargeError) as caught:
                write()
            assert VALUE not in f"{caught.value!r} {caught.value} {caught.value.hint}"
        assert provider.get_secret("k") == VALUE
        assert [one.version for one in provider.list_versions("k")] == ["1"]


def test_a_value_comes_with_its_version_which_is_counted_from_1_on(provider):
    """So that who numbers versions need not ask for their list; also where the engine has dropped some."""
    heard = []
    for number in range(12):  # the engine keeps ten
        provider.set_secret("k", f"{VALUE} {number}")
    with observing_versions(lambda *told: heard.append(told)):
        assert provider.get_secret("k") == f"{VALUE} 11"
    newest = provider.list_versions("k")[0]
    assert heard == [(f"{VALUE} 11", newest, 12)]


def test_data_survives_a_restart_and_the_provider_comes_back(on_raft, raft_mount):
    server = on_raft
    with VaultSecretProvider(server.url, server.token, raft_mount) as provider:
        provider.set_secrets({"a": VALUE, "b/c": "2"})
        server.process.terminate()
        server.process.wait(300)
        with pytest.raises(BackendUnavailableError):
            provider.get_secret("a")
        server.start()
        with pytest.raises(BackendUnavailableError, match="the server is sealed"):
            provider.get_secret("a")
        server.unseal()
        assert server.eventually(provider.get_secret, "a") == VALUE
        assert provider.list_secrets() == ["a", "b/c"]
        assert [one.version for one in provider.list_versions("a")] == ["1"]


def test_a_sealed_server_is_unavailable_and_works_again_when_it_is_opened(run):
    server = run()
    with VaultSecretProvider(server.url, server.token) as provider:
        provider.set_secret("k", VALUE)
        server.client.sys.seal()
        for call in (
            lambda: provider.get_secret("k"),
            lambda: provider.set_secret("k", "x"),
            lambda: provider.delete_secret("k"),
            provider.list_secrets,
            lambda: provider.get_secrets(["k", "l"]),
            lambda: provider.describe_secret("k"),
            provider.diagnose,
        ):
            with pytest.raises(BackendUnavailableError) as caught:
                call()
            assert caught.value.retryable
            assert "the server is sealed" in str(caught.value)
        server.unseal()
        assert provider.get_secret("k") == VALUE


# --- limits ---


def test_a_quota_of_the_server_is_throttling(server, mount):
    with VaultSecretProvider(server.url, server.token, mount) as provider:
        provider.set_secret("k", VALUE)
        quota = f"/v1/sys/quotas/rate-limit/{mount}"
        server.client.adapter.post("/v1/sys/quotas/config", json={"enable_rate_limit_response_headers": True})
        server.client.adapter.post(quota, json={"path": mount, "rate": 1, "interval": "60s"})
        try:
            with pytest.raises(ThrottledError) as caught:
                [provider.get_secret("k") for _ in range(20)]
        finally:
            server.client.adapter.delete(quota)
        assert caught.value.retryable
        assert 0 < caught.value.retry_after <= 60
        assert provider.get_secret("k") == VALUE


class Stub(http.server.BaseHTTPRequestHandler):
    """Answers everything with the status of its server."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.count += 1
        first = self.server.first
        status, body = first.pop() if first else (self.server.status, self.server.body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After", self.server.wait)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_LIST = do_DELETE = do_PUT = answer

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def stub():
    """A server that refuses in one way; it counts how often."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    made.status, made.body, made.count = 500, b'{"errors": ["internal"]}', 0
    made.wait, made.first = "7", []
    with served(made):
        yield made


ANSWERS = [
    pytest.param(412, BackendUnavailableError, id="412"),  # a standby that has not caught up
    pytest.param(429, ThrottledError, id="429"),
    pytest.param(472, BackendUnavailableError, id="472"),  # a standby of another site
    pytest.param(473, BackendUnavailableError, id="473"),  # a standby that answers reads alone
    pytest.param(500, BackendUnavailableError, id="500"),
    pytest.param(502, BackendUnavailableError, id="502"),
    pytest.param(503, BackendUnavailableError, id="503"),
    pytest.param(504, BackendUnavailableError, id="504"),
]
BODIES = [
    pytest.param(b'{"errors": ["internal"]}', id="JSON"),
    pytest.param(b"", id="nothing"),
    pytest.param(b"<html>no JSON</html>", id="HTML"),
]


@pytest.mark.parametrize(("status", "expected", "body"), crossed(ANSWERS, BODIES))
def test_statuses_are_told_by_class(stub, status, expected, body):
    stub.status, stub.body = status, body
    timeout = 0.1 if status == 412 else 5  # which is waited for to the deadline
    with VaultSecretProvider(
        f"http://127.0.0.1:{stub.server_port}", "token", kv_version=2, timeout=timeout
    ) as provider:
        for call in (
            lambda: provider.get_secret("k"),
            lambda: provider.set_secret("k", VALUE),
            lambda: provider.get_secrets(["k", "l"]),
            provider.list_secrets,
        ):
            with pytest.raises(expected) as caught:
                call()
            assert caught.value.retryable
            assert getattr(caught.value, "retry_after", 7) == 7  # of 429 alone
            assert VALUE not in repr(caught.value)


@pytest.mark.parametrize("wait", ["", "soon", "-1", "1e9", "Wed, 25 Nov 2026 18:00:00 GMT", "\u00b2"])
def test_a_wait_that_is_no_number_of_seconds_is_none(stub, wait):
    stub.status, stub.wait = 429, wait
    with (
        VaultSecretProvider(f"http://127.0.0.1:{stub.server_port}", "token", kv_version=2) as provider,
        pytest.raises(ThrottledError) as caught,
    ):
        provider.get_secret("k")
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>a portal</html>", b"[]", b"{}", b'{"data": null}', b'{"data": {}}']
)
def test_an_answer_that_is_none_is_no_value(stub, body):
    stub.status, stub.body = 200, body
    with VaultSecretProvider(
        f"http://127.0.0.1:{stub.server_port}", "token", kv_version=2, timeout=5
    ) as provider:
        for call in (
            lambda: provider.get_secret("k"),
            lambda: provider.get_secrets(["k", "l"]),
            provider.list_secrets,
        ):
            with pytest.raises(StrongroomError) as caught:
                call()
            assert not isinstance(caught.value, SecretNotFoundError)


# What a server says between the making of a mount and its first use.
UPGRADING = (
    b'{"errors": ["Upgrading from non-versioned to versioned data. This backend will be '
    b'unavailable for a brief period and will resume service shortly."]}'
)
PRIMARY = UPGRADING.replace(b"Upgrading", b"Waiting for the primary to upgrade")


@pytest.mark.parametrize("body", [UPGRADING, PRIMARY])
def test_an_engine_that_is_being_made_ready_is_waited_for(stub, body):
    stub.first = [(400, body)] * 3
    stub.status = 200
    stub.body = b'{"data": {"data": {"value": "x"}, "metadata": {"version": 1}}}'
    with VaultSecretProvider(f"http://127.0.0.1:{stub.server_port}", "token", kv_version=2) as provider:
        assert provider.get_secret("k") == "x"
    assert stub.count == 4


def test_an_engine_that_does_not_get_ready_is_unavailable(stub):
    stub.status, stub.body = 400, UPGRADING
    with VaultSecretProvider(
        f"http://127.0.0.1:{stub.server_port}", "token", kv_version=2, timeout=0.5
    ) as provider:
        for call in (lambda: provider.get_secret("k"), lambda: provider.set_secret("k", VALUE)):
            with pytest.raises(BackendUnavailableError) as caught:
                call()
            assert caught.value.retryable
            assert VALUE not in repr(caught.value)


# --- wires ---

DEADLINE = 0.6
SHORT = 0.15  # where nothing good can come of it


@pytest.mark.parametrize("mode", ["black_hole", "reset", "drip", "half", "refuse"])
def test_a_bad_wire_ends_every_call_in_time(server, mount, mode):
    with (
        FaultProxy(int(server.url.rpartition(":")[2])) as wire,
        VaultSecretProvider(f"http://127.0.0.1:{wire.port}", server.token, mount, timeout=SHORT) as provider,
    ):
        wire.mode = mode
        for call in (
            lambda: provider.get_secret("k"),
            lambda: provider.set_secret("k", VALUE),
            lambda: provider.delete_secret("k"),
            provider.list_secrets,
            lambda: provider.get_secrets(["k", "l", "m"]),
        ):
            with pytest.raises(BackendUnavailableError) as caught:
                call()
            assert caught.value.retryable
            assert VALUE not in f"{caught.value!r} {caught.value.__context__!r}"
            assert server.token not in f"{caught.value!r} {caught.value.__context__!r}"


@pytest.mark.parametrize("mode", ["black_hole", "reset", "drip", "half"])
def test_a_wire_that_fails_in_mid_use_and_heals(server, mount, mode):
    with (
        FaultProxy(int(server.url.rpartition(":")[2])) as wire,
        VaultSecretProvider(f"http://127.0.0.1:{wire.port}", server.token, mount, timeout=120) as provider,
    ):
        provider.set_secret("k", "x" * 2000)
        assert provider.get_secrets(["k"]) == {"k": "x" * 2000}
        provider._client.timeout = DEADLINE
        wire.mode = mode
        with pytest.raises(BackendUnavailableError):
            provider.get_secret("k")
        wire.mode = "pass"
        provider._client.timeout = 120
        assert provider.get_secret("k") == "x" * 2000


def test_a_batch_uses_no_more_connections_than_it_may_and_keeps_them(server, mount):
    with (
        FaultProxy(int(server.url.rpartition(":")[2]), latency=0.005) as wire,
        VaultSecretProvider(
            f"http://127.0.0.1:{wire.port}", server.token, mount, max_connections=4, timeout=30
        ) as provider,
    ):
        values = {f"k{number}": str(number) for number in range(40)}
        provider.set_secrets(values)
        assert provider.get_secrets([*values, "none"]) == values
        assert wire.connections <= 4
        assert provider.get_secrets(values) == values
        assert wire.connections <= 4


def test_a_redirect_to_no_tls_does_not_get_the_token(server, authority):
    """A standby redirects; one that sends a client from https to http would read its token."""
    seen = []

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(307)
            self.send_header("Location", f"{server.url}/v1/secret/data/k")
            self.send_header("Content-Length", "0")
            self.end_headers()
            seen.append(self.path)

        def log_message(self, *_):
            """Say nothing."""

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    made.socket = context.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    try:
        with (
            VaultSecretProvider(
                f"https://127.0.0.1:{made.server_port}",
                server.token,
                kv_version=2,
                verify=authority / "ca.pem",
            ) as provider,
            pytest.raises(StrongroomError),
        ):
            provider.get_secret("k")
        assert seen == ["/v1/secret/data/k"]
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


# --- namespaces and policies ---


def test_a_namespace_is_a_world_of_its_own(server):
    name = f"team-{uuid.uuid4()}"
    server.client.sys.create_namespace(name)
    try:
        inside = type(server.client)(server.url, token=server.token, namespace=name)
        inside.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        inside.adapter.close()
        with (
            VaultSecretProvider(server.url, server.token, namespace=name) as team,
            VaultSecretProvider(server.url, server.token) as root,
        ):
            team.set_secret("only/there", VALUE)
            assert team.list_secrets() == ["only/there"]
            found = team.diagnose()  # whose health can be asked for outside of namespaces alone
            assert (found["reachable"], found["identity"], found["can_list"]) == (
                "yes",
                "token (root)",
                "yes",
            )
            with pytest.raises(SecretNotFoundError):
                root.get_secret("only/there")
        with (
            VaultSecretProvider(server.url, server.token, namespace="none") as nowhere,
            pytest.raises(ConfigurationError),
        ):
            nowhere.get_secret("k")
    finally:
        server.client.sys.delete_namespace(name)


POLICIES = {
    "read": ('path "{mount}/data/*" {{ capabilities = ["read"] }}', {"get"}),
    "list": (
        (
            'path "{mount}/metadata/*" {{ capabilities = ["read", "list"] }}\n'
            'path "{mount}/metadata" {{ capabilities = ["list"] }}'
        ),
        {"list", "describe"},
    ),
    "write": ('path "{mount}/data/*" {{ capabilities = ["create", "update", "read"] }}', {"get", "set"}),
    "delete": ('path "{mount}/data/*" {{ capabilities = ["read", "delete"] }}', {"get", "delete"}),
}


@pytest.mark.parametrize("name", POLICIES)
def test_what_a_policy_does_not_allow_is_denied_and_never_absent(server, mount, name):
    policy, allowed = POLICIES[name]
    server.client.sys.create_or_update_policy(mount, policy.format(mount=mount))
    # Without the default policy it may not even look itself up.
    made = server.client.auth.token.create(policies=[mount], no_default_policy=True)
    with VaultSecretProvider(server.url, server.token, mount) as root:
        root.set_secret("k", VALUE)
    with VaultSecretProvider(server.url, made["auth"]["client_token"], mount, kv_version=2) as provider:
        for operation, call in {
            "get": lambda: provider.get_secret("k"),
            "describe": lambda: provider.describe_secret("k"),
            "list": provider.list_secrets,
            "set": lambda: provider.set_secret("k", VALUE),
            "delete": lambda: provider.delete_secret("k"),
        }.items():
            if operation in allowed:
                call()
            else:
                with pytest.raises(PermissionDeniedError) as caught:
                    call()
                assert not caught.value.retryable


def test_the_policies_of_the_page_are_enough_and_no_more(server, mount):
    """Those of one application: a reader, and a rotator."""
    page = (Path(__file__).parents[3] / "docs/how-to/backends/vault.md").read_text()
    blocks = [text.partition("```")[0] for text in page.split("```hcl\n")[1:]]
    reader, rotator = (text.replace("secret/", f"{mount}/") for text in blocks if "app/" in text)

    def allowed(policy):
        server.client.sys.create_or_update_policy(mount, policy)
        token = server.client.auth.token.create(policies=[mount], no_default_policy=True)["auth"]
        return VaultSecretProvider(server.url, token["client_token"], mount)

    with VaultSecretProvider(server.url, server.token, mount) as root:
        root.set_secrets({"app/k": VALUE, "other": VALUE})
    with allowed(reader) as provider:
        assert provider.get_secrets(["app/k"]) == {"app/k": VALUE}
        for call in (lambda: provider.get_secret("other"), lambda: provider.set_secret("app/k", "x")):
            with pytest.raises(PermissionDeniedError):
                call()
    with allowed(rotator) as provider:
        rotation = SecretRotation(provider, grace_seconds=60)
        rotation.rotate("app/k", "new")
        assert provider.get_secret("app/k") == "new"
        rotation.rollback("app/k")
        assert provider.get_secret("app/k") == VALUE
        with pytest.raises(PermissionDeniedError):
            rotation.rotate("other", "new")


def test_destroying_needs_its_own_permission(server, mount):
    policy = f'path "{mount}/data/*" {{ capabilities = ["read"] }}\n'
    server.client.sys.create_or_update_policy(mount, policy)
    token = server.client.auth.token.create(policies=[mount])["auth"]["client_token"]
    with (
        VaultSecretProvider(server.url, server.token, mount) as root,
        VaultSecretProvider(server.url, token, mount, destroy_on_delete=True) as provider,
    ):
        root.set_secret("k", VALUE)
        with pytest.raises(PermissionDeniedError):
            provider.delete_secret("k")
        more = f'{policy}path "{mount}/metadata/*" {{ capabilities = ["delete"] }}'
        server.client.sys.create_or_update_policy(mount, more)
        provider.delete_secret("k")
        with pytest.raises(SecretNotFoundError) as caught:
            root.list_versions("k")
        assert caught.value.reason == "absent"


def test_a_whole_list_or_batch_ends_at_its_deadline(server, mount):
    keys = {f"k{number}": VALUE for number in range(40)}
    with (
        FaultProxy(int(server.url.rpartition(":")[2]), latency=0.2) as wire,
        VaultSecretProvider(server.url, server.token, mount) as direct,
        VaultSecretProvider(
            f"http://127.0.0.1:{wire.port}", server.token, mount, max_connections=2, timeout=30, deadline=0.4
        ) as provider,
    ):
        direct.set_secrets(keys)
        for call in (
            lambda: provider.get_secrets(keys),
            provider.list_secrets,
            lambda: provider.set_secrets(keys),
        ):
            # Each answer comes within `timeout`: without a deadline for all of them, the call would succeed.
            with pytest.raises(BackendUnavailableError):
                call()
        assert provider.get_secret("k1") == VALUE


@pytest.mark.parametrize("time", ["2026-01-01 00:00:00 +0000 UTC", 5, "0001-01-01T00:00:00+12:00", "soon"])
def test_a_value_is_read_whatever_another_server_says_of_its_time(stub, time):
    stub.status = 200
    version = {"created_time": time, "deletion_time": "", "destroyed": False}
    metadata = {"created_time": time, "current_version": 1, "versions": {"1": version}}
    read = {"data": {"value": VALUE}, "metadata": {**version, "version": 1}}
    with VaultSecretProvider(f"http://127.0.0.1:{stub.server_port}", "t", kv_version=2) as provider:
        stub.body = json.dumps({"request_id": "r", "data": read}).encode()
        assert provider.get_secret("k") == VALUE
        stub.body = json.dumps({"request_id": "r", "data": metadata}).encode()
        described = provider.describe_secret("k")
        assert (described.version, described.created_at, described.updated_at) == ("1", None, None)
        version["deletion_time"] = time
        stub.body = json.dumps({"request_id": "r", "data": metadata}).encode()
        with pytest.raises(SecretNotFoundError) as caught:
            provider.describe_secret("k")
        assert caught.value.reason == "deleted"
