"""What every operation says of every state that a real server can be in: one table."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import sys
import threading
import time
import uuid
from functools import partial
from pathlib import Path

import hvac
import pytest
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    ThrottledError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom_vault import VaultSecretProvider

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from bao_server import BaoServer, Standby  # as above

NEW = "a-new-value"
WORDS = {
    AuthenticationError: "login",
    BackendUnavailableError: "down",
    ConfigurationError: "config",
    ConflictError: "conflict",
    PermissionDeniedError: "denied",
    ThrottledError: "throttled",
    UnsupportedOperationError: "unsupported",
    ValidationError: "invalid",
}
OPERATIONS = ("get", "batch", "list", "describe", "history", "set", "set_if", "delete", "doctor")

# What get, batch, list, describe, history, set, set_if (None), delete and doctor say. `-`: the key is not in what is
# given, or doctor says that nothing can be listed.
TABLE = """
live                         ok ok ok ok current ok conflict ok ok
never_written                absent - - absent absent ok ok absent ok
soft_deleted                 deleted deleted - deleted deleted ok ok deleted ok
destroyed                    destroyed destroyed - destroyed destroyed ok ok destroyed ok
metadata_alone               absent - - absent absent ok ok absent ok
all_removed                  absent - - absent absent ok ok absent ok
to_be_deleted                ok ok ok ok current ok conflict ok ok
to_be_deleted_by_the_mount   ok ok ok ok current ok conflict ok ok
expired                      deleted deleted - deleted deleted ok ok deleted ok
undeleted                    ok ok ok ok current ok conflict ok ok
older_one_destroyed          ok ok ok ok current ok conflict ok ok
older_one_deleted            ok ok ok ok current ok conflict ok ok
newest_one_deleted           deleted deleted - deleted deleted ok ok deleted ok
data_is_null                 ok ok ok ok current ok conflict ok ok
data_is_empty                ok ok ok ok current ok conflict ok ok
value_is_a_number            ok ok ok ok current ok conflict ok ok
value_is_null                ok ok ok ok current ok conflict ok ok
several_fields               ok ok ok ok current invalid conflict ok ok
nested_fields                ok ok ok ok current invalid conflict ok ok
cas_required                 ok ok ok ok current ok conflict ok ok
cas_required_by_the_mount    ok ok ok ok current ok conflict ok ok
one_version_kept             ok ok ok ok current ok conflict ok ok
with_metadata_of_its_own     ok ok ok ok current ok conflict ok ok
two_dots_within              ok ok ok ok current ok conflict ok ok
a_blank_at_the_edge          ok ok ok ok current ok conflict ok ok
beside_its_folder            ok ok ok ok current ok conflict ok ok
version_1                    ok ok ok unsupported unsupported ok unsupported ok ok
version_1_absent             absent - - unsupported unsupported ok unsupported absent ok
version_1_null_field         ok ok ok unsupported unsupported invalid unsupported ok ok
version_given_1              ok ok ok unsupported unsupported ok unsupported ok ok
version_given_2              ok ok ok ok current ok conflict ok ok
wrongly_given_1              config config config unsupported unsupported config unsupported config config
wrongly_given_2              config config config config config config config config config
upgraded_while_running       ok ok ok ok current ok conflict ok ok
remade_as_version_1          ok ok ok unsupported unsupported ok unsupported ok ok
no_rights_at_all             denied denied denied denied denied denied denied denied -
no_rights_but_default        denied denied denied denied denied denied denied denied -
rights_to_read               ok ok denied denied denied denied conflict denied -
rights_to_list               denied denied ok ok current denied denied denied ok
token_revoked                login login login login login login login login login
token_is_another_texts       login login login login login login login login login
token_for_one_use            ok ok login ok current login conflict login login
token_that_is_a_batch_token  ok ok ok ok current ok conflict ok ok
mount_absent                 config config config config config config config config config
mount_of_another_kind        config config config config config config config config config
in_a_namespace               ok ok ok ok current ok conflict ok ok
in_a_ghost_namespace         config config config config config config config config config
in_a_locked_namespace        down down down down down down down down down
over_the_quota               throttled throttled throttled throttled throttled throttled throttled throttled throttled
sealed                       down down down down down down down down down
not_initialized              down down down down down down down down down
without_an_audit_device      down down down down down down down down down
a_standby                    ok ok ok ok current ok conflict ok ok
without_a_leader             ok ok ok ok current down conflict down ok
nobody_listens               down down down down down down down down down
a_proxy_refuses              down down down down down down down down down
a_proxy_finds_nothing        down down down down down down down down down
a_portal_answers             down down down down down down down down down
a_redirect_to_a_portal       down down down down down down down down down
"""
OF_A_CLUSTER = {"a_standby", "without_a_leader"}
ROWS = {line.split()[0]: tuple(line.split()[1:]) for line in TABLE.strip().splitlines()}


class World:
    """One mount of a real server, and everything that a state is made with."""

    def __init__(self, server, mount, request):
        self.server, self.mount, self.request = server, mount, request
        self.api, self.v2 = server.client, server.client.secrets.kv.v2
        self.options, self.operations = {}, OPERATIONS
        self.token = self.root = server.token
        self.url = server.url

    def write(self, key, data=None, **options):
        body = {"data": {"value": "x"} if data is None else data, "options": options}
        self.post(f"{self.mount}/data/{key}", **body)

    def post(self, where, **body):
        while True:
            try:
                return self.api.adapter.post(f"/v1/{where}", json=body)
            except hvac.exceptions.InvalidRequest as error:
                if "to versioned data" not in str(error):
                    raise
            time.sleep(0.02)  # a mount that was made a moment ago; the server tells no other way

    def as_token(self, rules, **options):
        self.api.sys.create_or_update_policy(self.mount, rules)
        made = self.api.auth.token.create(policies=[self.mount], no_default_policy=True, **options)
        self.token = made["auth"]["client_token"]

    def as_version(self, version):
        self.api.sys.disable_secrets_engine(self.mount)
        self.api.sys.enable_secrets_engine("kv", path=self.mount, options={"version": version})

    def provider(self):
        return VaultSecretProvider(self.url, self.token, self.mount, timeout=5, **self.options)


# --- how each state is made: before the provider is there; a generator goes on once it has read something ---


def live(world, key):
    world.write(key)


def never_written(world, key):
    pass


def soft_deleted(world, key):
    world.write(key)
    world.v2.delete_latest_version_of_secret(key, mount_point=world.mount)


def destroyed(world, key):
    world.write(key)
    world.v2.destroy_secret_versions(key, [1], mount_point=world.mount)


def metadata_alone(world, key):
    world.post(f"{world.mount}/metadata/{key}", custom_metadata={"a": "b"})


def all_removed(world, key):
    world.write(key)
    world.v2.delete_metadata_and_all_versions(key, mount_point=world.mount)


def to_be_deleted(world, key):
    world.post(f"{world.mount}/metadata/{key}", delete_version_after="1h")
    world.write(key)


def to_be_deleted_by_the_mount(world, key):
    world.post(f"{world.mount}/config", delete_version_after="24h")
    world.write(key)


def expired(world, key):
    if key == f"expired-{world.operations[0]}":  # all at once, for it takes a second
        for operation in OPERATIONS:
            world.post(f"{world.mount}/metadata/expired-{operation}", delete_version_after="1s")
            world.write(f"expired-{operation}")
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            world.api.adapter.get(f"/v1/{world.mount}/data/{key}")
        except hvac.exceptions.InvalidPath:
            return
        time.sleep(0.05)  # the server tells no other way that a version has ended
    raise TimeoutError


def undeleted(world, key):
    soft_deleted(world, key)
    world.v2.undelete_secret_versions(key, [1], mount_point=world.mount)


def older_one_destroyed(world, key):
    destroyed(world, key)
    world.write(key)


def older_one_deleted(world, key):
    soft_deleted(world, key)
    world.write(key)


def newest_one_deleted(world, key):
    world.write(key)
    soft_deleted(world, key)


def data_is_null(world, key):
    world.post(f"{world.mount}/data/{key}", data=None)


def data_is_empty(world, key):
    world.write(key, {})


def value_is_a_number(world, key):
    world.write(key, {"value": 5})


def value_is_null(world, key):
    world.write(key, {"value": None})


def several_fields(world, key):
    world.write(key, {"user": "u", "password": "p"})


def nested_fields(world, key):
    world.write(key, {"a": {"b": [1, None, True, "t"]}})


def cas_required(world, key):
    world.post(f"{world.mount}/metadata/{key}", cas_required=True)
    world.write(key, cas=0)


def cas_required_by_the_mount(world, key):
    world.post(f"{world.mount}/config", cas_required=True)
    world.write(key, cas=0)


def one_version_kept(world, key):
    world.post(f"{world.mount}/metadata/{key}", max_versions=1)
    for _ in range(3):
        world.write(key)


def with_metadata_of_its_own(world, key):
    world.post(f"{world.mount}/metadata/{key}", custom_metadata={"deletion_time": "x", "destroyed": "true"})
    world.write(key)


def two_dots_within(world, key):
    world.key = f"{key}/a..b.."
    world.write(world.key)


def a_blank_at_the_edge(world, key):
    world.key = f"{key}/ a "
    world.write(f"{key}/%20a%20")


def beside_its_folder(world, key):
    world.write(key)
    world.write(f"{key}/inside")


def version_1(world, key):
    world.as_version("1")
    world.post(f"{world.mount}/{key}", value="x")


def version_1_absent(world, key):
    world.as_version("1")


def version_1_null_field(world, key):
    world.as_version("1")
    world.post(f"{world.mount}/{key}", a=None)


def version_given_1(world, key):
    version_1(world, key)
    world.options["kv_version"] = 1


def version_given_2(world, key):
    live(world, key)
    world.options["kv_version"] = 2


def wrongly_given_1(world, key):
    live(world, key)
    world.options["kv_version"] = 1


def wrongly_given_2(world, key):
    version_1(world, key)
    world.options["kv_version"] = 2


def upgraded_while_running(world, key):
    version_1(world, key)
    yield
    world.post(f"sys/mounts/{world.mount}/tune", options={"version": "2"})


def remade_as_version_1(world, key):
    live(world, key)
    yield
    version_1(world, key)
    world.later = 61


def no_rights_at_all(world, key):
    world.write(key)
    world.as_token('path "elsewhere/*" { capabilities = ["read"] }')


def no_rights_but_default(world, key):
    world.write(key)
    world.token = world.api.auth.token.create(policies=["default"])["auth"]["client_token"]


def rights_to_read(world, key):
    world.write(key)
    world.as_token(f'path "{world.mount}/data/*" {{ capabilities = ["read"] }}')


def rights_to_list(world, key):
    world.write(key)
    world.as_token(
        f'path "{world.mount}/metadata" {{ capabilities = ["list"] }}\n'
        f'path "{world.mount}/metadata/*" {{ capabilities = ["list", "read"] }}'
    )


ALL = 'path "{}/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}'


def token_revoked(world, key):
    world.write(key)
    world.as_token(ALL.format(world.mount))
    world.api.auth.token.revoke(world.token)


def token_is_another_texts(world, key):
    world.write(key)
    world.token = "no-token-at-all"


def token_for_one_use(world, key):
    world.write(key)
    world.as_token(ALL.format(world.mount), num_uses=1)


def token_that_is_a_batch_token(world, key):
    world.write(key)
    world.as_token(ALL.format(world.mount), type="batch")


def mount_absent(world, key):
    world.mount = f"{world.mount}-elsewhere"


def mount_of_another_kind(world, key):
    other = f"transit-{uuid.uuid4()}"
    world.api.sys.enable_secrets_engine("transit", path=other)
    world.request.addfinalizer(lambda: world.api.sys.disable_secrets_engine(other))
    world.mount = other


def in_a_namespace(world, key):
    name = f"n-{uuid.uuid4()}"
    world.post(f"sys/namespaces/{name}")
    inside = hvac.Client(world.url, world.token, namespace=name)
    world.request.addfinalizer(inside.adapter.close)
    inside.sys.enable_secrets_engine("kv", path=world.mount, options={"version": "2"})
    world.options["namespace"] = name
    VaultSecretProvider(world.url, world.token, world.mount, namespace=name).set_secret(key, "x")


def in_a_ghost_namespace(world, key):
    world.write(key)
    world.options["namespace"] = "nobody-made-it"


def in_a_locked_namespace(world, key):
    in_a_namespace(world, key)
    answer = world.post(f"sys/namespaces/api-lock/lock/{world.options['namespace']}")
    key_to_it = answer["data"]["unlock_key"]
    path = f"sys/namespaces/api-lock/unlock/{world.options['namespace']}"
    world.request.addfinalizer(lambda: world.post(path, unlock_key=key_to_it))


def over_the_quota(world, key):
    path = f"sys/quotas/rate-limit/{world.mount}"
    world.post(path, path=world.mount, rate=1, interval="60s")
    world.request.addfinalizer(lambda: world.api.adapter.delete(f"/v1/{path}"))
    for _ in range(3):
        try:
            world.api.adapter.get(f"/v1/{world.mount}/data/{key}")
        except hvac.exceptions.InvalidPath:
            continue
        except hvac.exceptions.RateLimitExceeded:
            break
    world.options["kv_version"] = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function that gives a server of a state's own: made by the first operation, used by the others."""
    found = {}

    def make(name, start):
        if name not in found:
            found[name] = start(tmp_path_factory.mktemp("bao"))
        return found[name]

    yield make
    for one in found.values():
        one.stop()


def at(world, name, start):
    def with_keys(folder):
        running = start(folder)
        running.client.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
        there = World(running, "kv", world.request)
        for operation in OPERATIONS:
            there.write(f"{name}-{operation}")
        return running

    running = world.request.getfixturevalue("made")(name, with_keys)
    world.url, world.token, world.root, world.mount = running.url, running.token, running.token, "kv"
    return running


def sealed(world, key):
    at(world, "sealed", BaoServer).client.sys.seal()


def not_initialized(world, key):
    start = partial(BaoServer, ready=False)
    world.url = world.request.getfixturevalue("made")("not_initialized", start).url


def without_an_audit_device(world, key):
    """The one device cannot be written to: the server answers nothing but its health, which is 200."""
    at(world, "without_an_audit_device", Audited).lose_the_device()


class Heard(socketserver.StreamRequestHandler):
    """Takes what an audit device sends."""

    def handle(self):
        self.rfile.read()


class Listens(socketserver.ThreadingTCPServer):
    """What hears it; the same port serves it again."""

    allow_reuse_address = True
    daemon_threads = True

    def get_request(self):
        """Note each connection by the time that the loop ends: its thread may begin only then."""
        request, address = super().get_request()
        self.connections.append(request)
        return request, address


class Audited(BaoServer):
    """A server that writes what is asked of it to a socket."""

    def __init__(self, folder):
        self.find_the_device(0)
        options = f'address = "127.0.0.1:{self.listens.server_address[1]}"\n    socket_type = "tcp"'
        super().__init__(folder, more=f'audit "socket" "a" {{\n  options = {{\n    {options}\n  }}\n}}')

    def find_the_device(self, port=None):
        """Listen where the server writes to; at first anywhere."""
        address = ("127.0.0.1", self.listens.server_address[1] if port is None else port)
        self.listens = Listens(address, Heard)
        self.listens.connections = []
        self.thread = threading.Thread(target=self.listens.serve_forever, args=(0.02,))
        self.thread.start()

    def lose_the_device(self):
        if self.thread.is_alive():
            self.listens.shutdown()
            self.thread.join()
            for one in self.listens.connections:
                with contextlib.suppress(OSError):  # the server has closed it already
                    one.shutdown(socket.SHUT_RDWR)
            self.listens.server_close()

    def stop(self):
        self.lose_the_device()
        super().stop()


class Cluster(Standby):
    """The standby of two nodes."""

    def __init__(self, folder):
        for name in ("one", "two"):
            (folder / name).mkdir()
        self.first = BaoServer(folder / "one", storage="raft")
        try:
            super().__init__(folder / "two", self.first)
        except BaseException:
            self.first.stop()
            raise

    def lose_the_leader(self):
        if self.first.process.poll() is None:
            self.first.process.kill()
            self.first.process.wait()

    def stop(self):
        super().stop()
        self.first.stop()


def a_standby(world, key):
    at(world, "a_standby", Cluster)


def without_a_leader(world, key):
    running = at(world, "without_a_leader", Cluster)
    running.eventually(running.client.adapter.get, f"/v1/kv/data/without_a_leader-{OPERATIONS[-1]}")
    running.lose_the_leader()


def nobody_listens(world, key):
    with socket.create_server(("127.0.0.1", 0)) as one:
        world.url = f"http://127.0.0.1:{one.getsockname()[1]}"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers everything itself, in HTML."""

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = self.server.status if self.path.startswith("/v1/") else 200
        body = b"<html>a proxy</html>"
        self.send_response(status)
        if status == 303:
            self.send_header("Location", "/portal")
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_LIST = do_DELETE = do_PUT = answer

    def log_message(self, *_):
        """Say nothing."""


def behind(world, status):
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    made.status = status
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()

    def stop():
        made.shutdown()
        thread.join()
        made.server_close()

    world.request.addfinalizer(stop)
    world.url = f"http://127.0.0.1:{made.server_port}"
    world.options["kv_version"] = 2


def a_proxy_refuses(world, key):
    behind(world, 403)


def a_proxy_finds_nothing(world, key):
    behind(world, 404)


def a_portal_answers(world, key):
    behind(world, 200)


def a_redirect_to_a_portal(world, key):
    behind(world, 303)


# --- what is said of it ---


def calls(provider, key):
    def shown(found):
        return "ok" if found else "-"

    def history():
        found = provider.list_versions(key)
        return found[0].state if found else "none"

    return {
        "get": lambda: shown([provider.get_secret(key)]),
        "batch": lambda: shown(provider.get_secrets([key])),
        "list": lambda: shown(key in provider.list_secrets()),
        "describe": lambda: shown(provider.describe_secret(key).version),
        "history": history,
        "set": lambda: shown([provider.set_secret(key, NEW)]),
        "set_if": lambda: shown(provider.set_secret_if(key, NEW, None)),
        "delete": lambda: shown([provider.delete_secret(key)]),
        "doctor": lambda: shown(provider.diagnose()["can_list"] == "yes"),
    }


def said(call):
    try:
        return call()
    except SecretNotFoundError as error:
        return error.reason
    except tuple(WORDS) as error:
        shown = f"{error!r} {error.__context__!r}"
        return WORDS[type(error)] if NEW not in shown else shown


def test_a_write_that_an_audit_device_hinders_is_not_made_and_the_error_says_where_to_look(
    mount, server, request
):
    world = World(server, mount, request)
    without_an_audit_device(world, "k")
    key = f"without_an_audit_device-{OPERATIONS[0]}"
    with world.provider() as provider:
        with pytest.raises(BackendUnavailableError) as caught:
            provider.set_secret(key, NEW)
        assert "status 500: internal error" in str(caught.value)
        assert "audit log" in caught.value.hint
        running = request.getfixturevalue("made")("without_an_audit_device", None)
        running.find_the_device()
        assert running.eventually(provider.get_secret, key) == "x"
        running.lose_the_device()


def test_fewer_versions_kept_take_hold_at_the_next_write(server, mount, provider):
    """Nothing goes before, then all that is too much at once; deleted versions count."""
    for number in range(1, 6):
        provider.set_secret("k", f"v{number}")
    server.client.adapter.post(f"/v1/{mount}/metadata/k", json={"max_versions": 2})
    assert [one.version for one in provider.list_versions("k")] == ["5", "4", "3", "2", "1"]
    assert provider.get_secret_version("k", "1") == "v1"
    provider.delete_secret("k")
    provider.set_secret("k", "v6")
    assert [(one.version, one.state) for one in provider.list_versions("k")] == [
        ("6", "current"),
        ("5", "deleted"),
    ]
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret_version("k", "4")
    assert caught.value.reason == "absent"
    assert provider.get_secret("k") == "v6"


@pytest.mark.torture
def test_between_two_leaders_everything_is_down_or_right(tmp_path):
    """After a step-down the node is without a leader for a moment, in which it answers 500; then it leads again."""
    running = BaoServer(tmp_path, storage="raft")
    try:
        running.client.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
        world = World(running, "kv", None)
        world.write("k")
        with world.provider() as provider:
            call, written = calls(provider, "k"), calls(provider, "written")
            seen = set()
            for _ in range(3):
                running.client.adapter.put("/v1/sys/step-down")
                with pytest.raises(BackendUnavailableError, match="has no leader at the moment"):
                    provider.set_secret("k", NEW)
                until, last = time.monotonic() + 120, set()
                while last != {"ok", "current"} and time.monotonic() < until:
                    last = {said(call[name]) for name in ("get", "batch", "list", "describe", "history")}
                    last.add(said(written["set"]))
                    seen |= last
                assert provider.get_secret("k") == "x"
        assert seen <= {"ok", "current", "down"}
        assert "down" in seen
    finally:
        running.stop()


def _asked():
    """Return each state with a fifth of the operations, which its number decides; with all of them it is torture."""
    for number, name in enumerate(ROWS):
        if name not in OF_A_CLUSTER:  # whose one store would be in use already
            yield pytest.param(name, OPERATIONS[number % 5 :: 5], id=name)
        yield pytest.param(name, OPERATIONS, marks=pytest.mark.torture, id=f"{name}-all")


@pytest.mark.parametrize(("state", "operations"), list(_asked()))
def test_what_is_said_of_a_state(server, mount, request, state, operations):
    found = {}
    for operation in operations:
        world = World(server, mount, request)
        world.key, world.later = f"{state}-{operation}", 0.0
        world.operations = operations
        making = globals()[state](world, world.key)
        if making is not None:
            next(making)
        with world.provider() as provider:
            call = calls(provider, world.key)
            if making is not None:
                said(call["get"])
                next(making, None)
                if world.later:
                    checked = provider._mount._checked
                    provider._mount._checked = checked - world.later
            found[operation] = said(call[operation])
            if found[operation] == "ok" and operation in {"set", "set_if"}:
                world.options.pop("kv_version", None)
                with VaultSecretProvider(world.url, world.root, world.mount, **world.options) as root:
                    assert root.get_secret(world.key) == NEW
            if found[operation] == "ok" and operation == "delete":
                assert said(call["get"]) in {"deleted", "absent", "login"}
        if making is not None:  # the next operation begins with the mount as it was
            world.as_version("2")
    assert found == {operation: ROWS[state][OPERATIONS.index(operation)] for operation in operations}
