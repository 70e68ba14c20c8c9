"""Who may do what: tokens, users of the socket, rules, tenants, hosts; and what those who may not find out."""

from __future__ import annotations

import http.client
import os
import re
import socket

import pytest
from served import ADMIN, WEB, Reply, spec_of
from strongroom import SecretProviderRegistry, TenantContext
from strongroom.errors import ConfigurationError, SpecError
from strongroom.hooks import SecretHook
from strongroom.spec.loader import load_plan
from strongroom_serve.clients import Clients, GuessLimit
from strongroom_serve.config import config_of

DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
BAD_TOKEN = {"errors": ["permission denied"]}


def web(**more):
    return {"name": "web", "token": WEB, "allow": ["app/**"], "deny": ["app/root"], **more}


def test_what_a_client_is_not_allowed_is_refused_alike_whether_it_is_there_or_not(served):
    server = served(spec_of(web()))
    server.put("app/x", "1")
    server.put("app/root", "1")
    server.put("other", "1")
    assert server.get("app/x", token=WEB).status == 200
    refused = [
        server.ask(method, f"/v1/secret/{path}", token=WEB, body={"data": {}} if method == "POST" else None)
        for method, path in [
            ("GET", "data/app/root"),
            ("GET", "data/other"),
            ("GET", "data/none"),
            ("GET", "data/app"),
            ("GET", "data/APP/x"),
            ("GET", "data/app/x?version=1"),
            ("GET", "metadata/app/x"),
            ("GET", "metadata/app/none"),
            ("LIST", "metadata/app"),
            ("LIST", "metadata/none"),
            ("POST", "data/app/x"),
            ("DELETE", "data/app/x"),
            ("DELETE", "metadata/app/none"),
        ]
    ]
    assert {(one.status, one.body) for one in refused} == {(403, refused[0].body)}
    assert refused[0].json() == DENIED
    one, other = (server.get(key, token=WEB) for key in ("other", "none"))
    assert [(k, v) for k, v in one.headers.items() if k != "Date"] == [
        (k, v) for k, v in other.headers.items() if k != "Date"
    ]


def test_a_list_names_only_what_leads_to_an_allowed_key(served):
    rules = web(allow=["app/*/password", "x"], operations=["list"])
    server = served(spec_of(rules))
    for key in ("app/a/password", "app/b/user", "app/password", "x", "y", "z/w"):
        server.put(key, "1")
    listed = [
        server.ask("LIST", f"/v1/secret/metadata/{folder}", token=WEB) for folder in ("", "app", "app/a")
    ]
    assert [one.data["keys"] for one in listed] == [["app/", "x"], ["a/"], ["password"]]
    for folder in ("z", "app/b", "none"):
        assert server.ask("LIST", f"/v1/secret/metadata/{folder}", token=WEB).json() == {"errors": []}


def test_metadata_show_versions_only_to_who_may_see_the_history(served):
    server = served(spec_of(web(operations=["describe"])))
    server.put("app/x", "1")
    server.put("app/x", "2")
    metadata = server.ask("GET", "/v1/secret/metadata/app/x", token=WEB).data
    assert (metadata["current_version"], list(metadata["versions"])) == (2, ["2"])


@pytest.mark.parametrize(
    "path",
    [
        "/v1/secret/data/app/x",
        "/v1/sys/nothing",
        "/nothing",
        "/",
        "/metrics",
        "/v1/auth/token/lookup-self",
        "/v1/sys/init",
    ],
)
def test_without_a_good_token_every_path_is_403(served, path):
    server = served(spec_of(web()))
    for token in (None, "", "wrong-token-0123456789", WEB + "x", WEB[:-1], WEB.upper()):
        reply = server.ask("GET", path, token=token)
        assert (reply.status, reply.json()) == (403, BAD_TOKEN)
    known = server.ask("GET", path, token=WEB).status
    assert known == (404 if "nothing" in path or path.endswith(("/x", "/")) else 200)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/secret/data/x?version=abc",
        "/v1/secret/data/x?version=1&version=2",
        "/v1/secret/metadata/?list=perhaps",
        "/v1/secret/data/%zz",
        "/v1/secret/data/%ff",
        "/secretsmanager/get?secretId=a&secretId=b",
    ],
)
def test_without_a_good_token_a_request_that_cannot_be_read_is_403_too(served, path):
    server = served()
    refused = server.ask("GET", path, token=None)
    assert (refused.status, refused.json()) == (403, BAD_TOKEN)
    own = {"X-Aws-Parameters-Secrets-Token": ADMIN}
    assert server.ask("GET", path, headers=own).status == 400


def test_what_is_refused_is_recorded_for_the_tenant_and_at_the_agents_path_too(served):
    server = served(spec_of(web(tenants=["acme"])))
    server.get("other", token=WEB)
    server.get("other", token=WEB, headers={"X-Vault-Namespace": "blue"})
    server.ask("GET", "/secretsmanager/get?secretId=app/x", token="wrong-token-0123456789")
    assert [(one.actor, one.key, one.tenant, one.outcome) for one in server.recorder.events] == [
        ("web", "other", "acme", "denied"),
        ("web", "other", None, "denied"),  # a tenant that is not its own is not claimed for it
        ("unknown", "app/x", None, "denied"),
    ]


def test_what_is_not_a_key_is_recorded_as_refused(served):
    """As by a registry; also a name that is reserved, and at the agent's path."""
    server = served(spec_of(web(tenants=["acme"], operations=["get", "list", "set"])))
    server.get("app/../x", token=WEB)
    server.put("/x", "1", token=WEB)
    server.get(".rotation/x", token=WEB)
    server.ask("LIST", "/v1/secret/metadata/app%00", token=WEB)
    server.ask("GET", "/secretsmanager/get?secretId=app/", headers={"X-Aws-Parameters-Secrets-Token": WEB})
    events = server.recorder.events
    assert [(one.operation, one.key) for one in events] == [
        ("get", "app/../x"),
        ("set", "/x"),
        ("get", ".rotation/x"),
        ("list", "app\0/"),
        ("get", "app/"),
    ]
    assert {(one.actor, one.tenant, one.outcome, one.error_type) for one in events} == {
        ("web", "acme", "error", "InvalidKeyError")
    }


def test_a_refused_list_is_recorded_with_its_prefix_by_the_pipeline_that_it_is_of(served):
    spec = spec_of(web(operations=["get"]))
    spec["pipelines"]["own"] = {"provider": {"type": "memory"}}
    server = served(spec | {"default": "app", "routes": [{"prefix": "own/", "pipeline": "own"}]})
    for folder in ("", "own", "own/x"):
        assert server.ask("LIST", f"/v1/secret/metadata/{folder}", token=WEB).json() == DENIED
    assert [(one.key, one.pipeline) for one in server.recorder.events] == [
        ("", "app"),
        ("own/", "own"),
        ("own/x/", "own"),
    ]


def test_a_rules_refusal_is_answered_whatever_a_hook_raises(served):
    class Vetoing(SecretHook):
        def before(self, event):
            raise RuntimeError("not now")

    server = served(spec_of(web()))
    server.registry.add_hook(Vetoing())
    assert server.get("other", token=WEB).json() == DENIED
    assert server.get("app//x", token=WEB).status == 400
    assert server.get("app/x", token="wrong-token-0123456789").json() == BAD_TOKEN


def test_a_token_comes_by_three_headers(served):
    server = served(spec_of(web()))
    server.put("app/x", "1")
    for name, value in [("Authorization", f"Bearer {WEB}"), ("authorization", f"bearer {WEB}")]:
        assert server.get("app/x", token=None, headers={name: value}).status == 200
    assert server.get("app/x", token=None, headers={"Authorization": f"Basic {WEB}"}).status == 403
    # The token of Vault decides, also where it is wrong.
    assert server.get("app/x", token="wrong", headers={"Authorization": f"Bearer {WEB}"}).status == 403
    aws = {"X-Aws-Parameters-Secrets-Token": WEB}
    assert server.ask("GET", "/secretsmanager/get?secretId=app/x", token=None, headers=aws).status == 200
    assert server.get("app/x", token=None, headers=aws).status == 403


def test_the_agents_path_takes_a_token_by_the_agents_header_alone(served):
    server = served(spec_of(web()))
    server.put("app/x", "1")
    path = "/secretsmanager/get?secretId=app/x"
    for headers in ({"X-Vault-Token": WEB}, {"Authorization": f"Bearer {WEB}"}):
        reply = server.ask("GET", path, token=None, headers=headers)
        assert (reply.status, WEB.encode() in reply.body) == (400, False)
        assert b"X-Aws-Parameters-Secrets-Token" in reply.body
    # Who has no good token does not learn what the path wants; a wrong one decides, whatever else is sent.
    assert server.ask("GET", path, token="wrong-token-0123456789").status == 403
    wrong = {"X-Aws-Parameters-Secrets-Token": "wrong-token-0123456789"}
    assert server.ask("GET", path, token=WEB, headers=wrong).status == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/secret/data/k"),
        ("POST", "/v1/secret/data/k"),
        ("LIST", "/v1/secret/metadata/"),
        ("GET", "/v1/auth/token/lookup-self"),
    ],
)
def test_who_asks_for_a_wrapped_answer_gets_none_that_is_not(served, method, path):
    """The answer goes where the secret itself is not to be, such as a log of a build."""
    server = served()
    server.put("k", "in-the-open")
    body = {"data": {"value": "another"}} if method == "POST" else None
    for seconds in ("60", "60s", "1h", "x"):
        reply = server.ask(method, path, headers={"X-Vault-Wrap-TTL": seconds}, body=body)
        assert (reply.status, "not wrapped" in reply.json()["errors"][0]) == (400, True)
    assert server.get("k").data["data"] == {"value": "in-the-open"}
    for nothing in ("", "0", "0s"):  # as OpenBao reads it
        assert server.ask(method, path, headers={"X-Vault-Wrap-TTL": nothing}, body=body).status == 200


def test_the_token_itself_is_not_told(served):
    reply = served(spec_of(web())).ask("GET", "/v1/auth/token/lookup-self", token=WEB)
    assert reply.data["display_name"] == "web"
    assert WEB not in reply.body.decode()


def test_the_mount_is_told_at_every_path_below_it(served):
    server = served(spec_of(web(), mount="team/kv"))
    for below in ("", "/", "/app/x"):
        mount = server.ask("GET", f"/v1/sys/internal/ui/mounts/team/kv{below}", token=WEB).data
        assert (mount["type"], mount["options"], mount["path"]) == ("kv", {"version": "2"}, "team/kv/")
    assert server.ask("GET", "/v1/sys/internal/ui/mounts/team", token=WEB).status == 403
    assert server.ask("GET", "/v1/secret/data/app/x", token=WEB).status == 404
    assert server.ask("POST", "/v1/team/kv/data/app/x", body={"data": {"value": "1"}}).status == 200
    assert server.ask("GET", "/v1/team/kv/data/app/x", token=WEB).status == 200


# --- peers of the socket ---


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def over(path, target, headers=None):
    connection = Unix(path)
    connection.request("GET", target, headers=headers or {})
    reply = Reply(connection.getresponse())
    connection.close()
    return reply


def test_a_process_is_known_by_its_user_on_the_socket_alone(served, tmp_path):
    me = {"name": "me", "uid": os.getuid(), "allow": ["jobs/*"], "deny": ["jobs/root"]}
    server = served(spec_of(me), unix=tmp_path / "s")
    server.put("jobs/a", "1")
    server.put("jobs/root", "1")
    assert over(tmp_path / "s", "/v1/secret/data/jobs/a").data["data"] == {"value": "1"}
    assert over(tmp_path / "s", "/v1/secret/data/jobs/root").status == 403
    assert over(tmp_path / "s", "/v1/secret/data/jobs/a", {"Host": "any.example.com"}).status == 200
    assert over(tmp_path / "s", "/secretsmanager/get?secretId=jobs/a").status == 200
    assert server.recorder.events[-1].actor == "me"
    # With a token it is judged by that alone; on TCP nobody's user is known.
    assert over(tmp_path / "s", "/v1/secret/data/jobs/a", {"X-Vault-Token": "wrong"}).status == 403
    assert over(tmp_path / "s", "/v1/secret/data/jobs/root", {"X-Vault-Token": ADMIN}).status == 200
    assert server.get("jobs/a", token=None).status == 403


def test_another_user_is_nobody(served, tmp_path):
    other = {"name": "other", "uid": os.getuid() + 1, "allow": ["**"]}
    served(spec_of(other), unix=tmp_path / "s")
    assert over(tmp_path / "s", "/v1/secret/data/a").json() == BAD_TOKEN


# --- tenants ---


def tenants(*clients):
    spec = spec_of(*clients)
    spec["pipelines"]["app"]["middleware"] = [{"type": "caching", "ttl_seconds": 300}, {"type": "tenant"}]
    return spec


def test_a_tenant_is_chosen_among_the_clients_own(served):
    one = web(tenants=["acme"], operations=["get", "set"])
    two = {**one, "name": "two", "token": "two-token-0123456789", "tenants": ["acme", "blue"]}
    none = {**one, "name": "none", "token": "none-token-0123456789", "tenants": []}
    server = served(tenants(one, two, none))

    def get(token, namespace=None):
        headers = {"X-Vault-Namespace": namespace} if namespace is not None else {}
        reply = server.get("app/x", token=token, headers=headers)
        return reply.data["data"]["value"] if reply.status == 200 else reply.status

    for tenant in ("acme", "blue", "red"):
        server.put("app/x", f"of {tenant}", headers={"X-Vault-Namespace": tenant})
    assert [get(WEB), get(WEB, "acme"), get(WEB, "acme/"), get(WEB, "")] == ["of acme"] * 4
    assert [get(WEB, "blue"), get(WEB, "red"), get(WEB, "ACME"), get(WEB, "a/b"), get(WEB, "*")] == [403] * 5
    two_token = two["token"]
    assert [get(two_token, "acme"), get(two_token, "blue"), get(two_token, "red")] == [
        "of acme",
        "of blue",
        403,
    ]
    assert get(two_token) == 403  # two tenants, and none is chosen
    assert [get(none["token"]), get(none["token"], "acme")] == [403, 403]
    assert [get(ADMIN, "red"), get(ADMIN), get(ADMIN, "a b")] == ["of red", 403, 403]
    assert {one.tenant for one in server.recorder.events if one.outcome == "ok"} == {"acme", "blue", "red"}


def test_a_client_without_a_tenant_lists_what_is_of_no_tenant(served):
    """A pipeline that keeps tenants apart has no key for it; where there is nothing else, that is refused."""
    from strongroom import TenantMiddleware
    from strongroom_memory import MemorySecretProvider

    registry = SecretProviderRegistry(spec_of(web(tenants=["acme", "blue"], operations=["list"])))
    registry.register("own", TenantMiddleware(MemorySecretProvider()), prefix="own/")
    registry.set_secret("app/x", "v")
    with TenantContext("acme"):
        registry.set_secret("own/y", "v")
    server = served(registry)

    def names(folder, namespace=None, token=ADMIN):
        headers = {"X-Vault-Namespace": namespace} if namespace is not None else {}
        reply = server.ask("LIST", f"/v1/secret/metadata/{folder}", token=token, headers=headers)
        return reply.data["keys"] if reply.status == 200 else reply.status

    assert [names(""), names("", "acme"), names("", "blue")] == [["app/"], ["app/", "own/"], ["app/"]]
    assert [names("own/"), names("own/", "acme"), names("own/", "blue")] == [403, ["y"], 404]
    assert names("") == names("", token=WEB) == ["app/"]


def test_all_tenants_may_be_written_without_a_list(served):
    server = served(tenants(web(tenants="*", operations=["get", "set"])))
    assert server.put("app/x", "red's", token=WEB, headers={"X-Vault-Namespace": "red"}).status == 200


def test_numbers_of_versions_belong_to_the_tenant(served):
    server = served(tenants())
    for tenant, count in (("acme", 3), ("blue", 1)):
        for _ in range(count):
            server.put("k", "same", headers={"X-Vault-Namespace": tenant})
    for tenant, number in (("acme", 3), ("blue", 1)):
        metadata = server.get("k", headers={"X-Vault-Namespace": tenant}).data["metadata"]
        assert metadata["version"] == number


# --- hosts ---


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8300", 200),
        ("127.9.9.9", 200),
        ("[::1]:8300", 200),
        ("[::1]", 200),
        ("vault.example.com", 200),
        ("vault.example.com:443", 200),
        ("evil.example.com", 403),
        ("localhost.evil.example.com", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("evil.example.com:127", 403),
        ("0.0.0.0", 403),
        ("10.0.0.1", 403),
        ("", 403),
        ("localhost@evil.example.com", 403),
        ("[::ffff:127.0.0.1]x", 403),
    ],
)
def test_a_page_elsewhere_cannot_make_its_name_ours(served, host, status):
    server = served(spec_of(hosts=["vault.example.com"]))
    assert server.ask("GET", "/v1/auth/token/lookup-self", headers={"Host": host}).status == status


# --- guessing ---


def test_who_guesses_tokens_is_slowed_down_and_others_are_not(served):
    now = [0.0]
    server = served(spec_of(web()), guesses=GuessLimit(burst=3, per_second=1.0, clock=lambda: now[0]))
    server.put("app/x", "1")
    replies = [server.get("app/x", token=f"guess-{number:020}") for number in range(6)]
    assert [one.status for one in replies] == [403] * 3 + [429] * 3
    assert (replies[-1].headers["retry-after"], replies[-1].headers["connection"]) == ("1", "close")
    assert server.get("app/x", token=WEB).status == 200
    assert [one.outcome for one in server.recorder.events if one.actor == "unknown"] == ["denied"] * 3
    now[0] += 2
    assert [server.get("app/x", token="x" * 20).status for _ in range(3)] == [403, 403, 429]


def test_the_connection_of_one_who_guesses_is_closed_with_what_was_sent_on_it_already(served):
    server = served(spec_of(web()), guesses=GuessLimit(burst=2, per_second=1.0, clock=lambda: 0.0))
    request = "GET /v1/secret/data/app/x HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {}\r\n\r\n"
    tokens = [f"guess-{number:020}" for number in range(5)] + [WEB]
    answer = server.raw("".join(map(request.format, tokens)).encode())
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"403", b"403", b"429"]


def test_requests_without_a_token_are_not_guesses(served):
    server = served(spec_of(), guesses=GuessLimit(burst=3, per_second=1.0, clock=lambda: 0.0))
    assert {server.get("app/x", token=None).status for _ in range(9)} == {403}
    assert [server.get("app/x", token="x" * 20).status for _ in range(4)] == [403, 403, 403, 429]


def test_nobody_can_fill_the_trail_by_requests_without_a_token(served):
    now = [0.0]
    server = served(spec_of(), guesses=GuessLimit(burst=3, per_second=1.0, clock=lambda: now[0]))
    for _ in range(9):
        server.get("app/x", token=None)
    assert [one.outcome for one in server.recorder.events] == ["denied"] * 3
    now[0] += 1
    for _ in range(9):
        server.get("app/x", token=None)
    assert len(server.recorder.events) == 4
    text = server.ask("GET", "/metrics").body.decode()
    assert 'strongroom_serve_refused_total{reason="token"} 18' in text  # all are counted


def test_the_limit_remembers_a_bounded_number_of_peers():
    limit = GuessLimit(clock=lambda: 0.0)
    for number in range(5000):
        limit.wait_of(number)
    assert len(limit._peers) == 1024


# --- what must not start ---


def config(**serve):
    plan = load_plan({"version": 1, "pipelines": {"a": {"provider": {"type": "memory"}}}, "serve": serve})
    return config_of(plan.serve.prepare(None), "spec")


def client(name="a", **more):
    return {"name": name, "token": f"{name}-token-0123456789", "allow": ["**"], **more}


@pytest.mark.parametrize(
    "clients",
    [
        [],
        [client("a"), client("a", token="b" * 20)],
        [client("a"), client("b", token="a-token-0123456789")],
        [client("a", token=None, uid=3), client("b", token=None, uid=3)],
        [client("a", token="short")],
        [client("a", token="123456789012345")],
        [client("a", uid=3)],
        [client("a", token=None)],
    ],
)
def test_clients_that_cannot_be_told_apart_or_are_none_are_refused(clients):
    with pytest.raises(ConfigurationError) as caught:
        config(clients=clients)
    assert "token-0123" not in str(caught.value)
    assert "12345678901234" not in str(caught.value)


def test_references_are_filled_in_and_checked_then(monkeypatch):
    monkeypatch.setenv("TOKEN", "short")
    monkeypatch.setenv("UID_OF_IT", "7")
    with pytest.raises(SpecError, match=r"clients\[0\].token") as caught:
        config(clients=[client("a", token="${env:TOKEN}")])
    assert "short-" not in str(caught.value)
    assert config(clients=[client("a", token=None, uid="${env:UID_OF_IT}")]).clients[0].uid == 7


def test_a_token_is_not_kept_by_who_compares_it():
    clients = Clients(config(clients=[client("a")]).clients)
    assert clients.of_token(b"a-token-0123456789").name == "a"
    assert "a-token-0123456789" not in repr(vars(clients))


# --- the state of rotations ---


EXACT = {"X-Strongroom-Exact": "true"}


def test_the_state_of_a_rotation_is_for_rotators_alone(served):
    reader = web(operations=["get", "history", "describe", "list"])
    rotator = web(name="rotator", token="rotator-token-0123456789", operations=["get", "set", "delete"])
    server = served(spec_of(reader, rotator))
    record = "app/.rotation/x"
    assert server.put(record, "state", token=rotator["token"], headers=EXACT).status == 200
    assert server.get(record, token=rotator["token"], headers=EXACT).data["data"] == {"value": "state"}
    assert server.get(record, token=rotator["token"]).status == 400
    assert server.get(record, token=WEB, headers=EXACT).status == 400
    assert server.put("app/.rotation/root", "x", token=rotator["token"], headers=EXACT).json() == DENIED
    assert server.ask("LIST", "/v1/secret/metadata/app").json() == {"errors": []}
    assert [one.actor for one in server.recorder.events if one.operation == "set"] == ["rotator"] * 2
