"""The pages: who sees them, what is on them, and what a browser may do with them."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

import pytest
from pages import BOSS, VALUE, Fixed, spec_with_pages
from served import ADMIN, WEB, spec_of
from strongroom import SecretProviderRegistry
from strongroom.cli.actions.overview import Overview
from strongroom.cli.context import GlobalOptions
from strongroom.errors import BackendUnavailableError
from strongroom_serve.asking import Backend
from strongroom_serve.config import Client, config_of
from strongroom_serve.policy import KeyRules
from strongroom_serve.ui import Sessions

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def server(served):
    made = served(spec_with_pages(), overview=Fixed())
    made.registry.set_secret("db/password", VALUE)
    made.registry.get_secret("db/password")
    return made


def log_in(server, token=BOSS, **headers):
    return server.ask(
        "POST", "/ui/login", token=None, body=urlencode({"token": token}).encode(), headers=FORM | headers
    )


def page(server, **headers):
    return server.ask("GET", "/ui/", token=None, headers=headers)


def test_the_page_has_every_part_and_no_value(server):
    server.get("db/password", token=WEB)
    reply = server.ask("GET", "/ui/", token=BOSS)
    text = reply.body.decode()
    assert reply.status == 200
    assert re.findall(r"<h2 id=\"(\w+)\"", text) == [
        "pipelines", "secrets", "rotations", "leases", "requests", "audit"
    ]  # fmt: skip
    assert "DATABASE_PASSWORD" in text
    assert "missing" in text
    assert text.index("b/failed") < text.index("c/late") < text.index("a/fine")
    assert "line 3 was changed" in text
    for hidden in (VALUE, BOSS, WEB, ADMIN, "<script", "<b>"):
        assert hidden not in text
    assert "&lt;script&gt;" in text


class Failing(Fixed):
    """A look at leases that fails."""

    def leases(self, registry):
        raise BackendUnavailableError("vault: nobody answers")


def test_what_could_not_be_looked_at_is_not_said_to_be_none(served):
    server = served(spec_with_pages(), overview=Failing())
    text = server.ask("GET", "/ui/", token=BOSS).body.decode()
    assert "This could not be looked at: vault: nobody answers" in text
    assert "holds no leases" not in text
    assert "line 3 was changed" in text


def test_problems_are_first(served):
    spec = spec_with_pages()
    spec["pipelines"]["z-away"] = {
        "provider": {"type": "vault", "url": "http://127.0.0.1:9", "token": "t" * 16}
    }
    spec["default"] = "app"
    server = served(spec, overview=Fixed())
    server.registry.set_secret("db/password", VALUE)
    text = server.ask("GET", "/ui/", token=BOSS).body.decode()
    rows = re.findall(r'<th scope="row">([^<]*)</th>', text)
    assert rows[:4] == ["z-away", "app", "API_KEY", "DATABASE_PASSWORD"]


def test_it_needs_no_script_and_nothing_from_outside(server):
    reply = server.ask("GET", "/ui/", token=BOSS)
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    text = reply.body.decode()
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", text) == ["/ui/style.css", "#content"]
    assert not re.search(r"<script| style=| on\w+=", text)
    assert server.ask("GET", "/ui/style.css", token=None).headers["content-type"].startswith("text/css")
    assert (reply.headers["cache-control"], reply.headers["x-frame-options"]) == ("no-store", "DENY")


def test_who_has_not_logged_in_gets_the_form(server):
    for path in ("/ui/", "/ui", "/ui/anything"):
        reply = server.ask("GET", path, token=None)
        assert reply.status == 403
        assert b'<form method="post" action="/ui/login">' in reply.body
        assert b"DATABASE_PASSWORD" not in reply.body
    assert server.ask("GET", "/ui/login", token=None).status == 200


def test_a_form_sets_a_cookie_for_the_pages_alone(server):
    reply = log_in(server)
    assert (reply.status, reply.headers["location"]) == (303, "/ui/")
    cookie, *rest = reply.headers["set-cookie"].split("; ")
    assert rest == ["Path=/ui/", "Max-Age=28800", "HttpOnly", "SameSite=Strict"]
    assert BOSS not in cookie
    assert page(server, Cookie=cookie).status == 200
    assert page(server, Cookie=f"other=1; {cookie}").status == 200
    for path in ("/v1/secret/data/db/password", "/metrics", "/v1/auth/token/lookup-self"):
        assert server.ask("GET", path, token=None, headers={"Cookie": cookie}).status == 403
    assert server.ask("POST", "/ui/logout", token=None, headers={"Cookie": cookie}, body=b"").status == 303
    assert page(server, Cookie=cookie).status == 403


@pytest.mark.parametrize("token", [WEB, ADMIN, "wrong-token-0123456789", "", VALUE])
def test_only_an_administrators_token_is_good_for_the_form(server, token):
    reply = log_in(server, token)
    assert reply.status == 403
    assert "set-cookie" not in reply.headers
    assert not token or token not in reply.body.decode()
    if token in {WEB, ADMIN}:
        assert server.ask("GET", "/ui/", token=token).status == 403


def test_a_form_of_another_page_is_refused(server):
    assert log_in(server, Origin="https://evil.example.com").status == 403
    for other in ("null", "http://[", "http://\xe4"):
        assert log_in(server, Origin=other).status == 403
    assert log_in(server, Origin=server.url).status == 303
    # With `no-referrer` browsers would send `Origin: null` with this very form.
    assert server.ask("GET", "/ui/login", token=None).headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 403),
        (b"token=" + b"x" * 8000, 403),
        (b"token=" + b"x" * 8192, 413),  # nobody has shown a token yet
        (b"a=b&" * 9, 403),
        (b"token=%00%FF&token=", 403),
    ],
)
def test_a_form_that_is_none_is_refused_and_no_mistake_of_the_server(server, body, status):
    assert server.ask("POST", "/ui/login", token=None, body=body, headers=FORM).status == status
    chunks = [b"%x\r\n%b\r\n" % (len(body), body)] if body else []
    sent = b"".join([*chunks, b"0\r\n\r\n"])
    head = b"POST /ui/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert server.raw(head + sent).startswith(b"HTTP/1.1 %d " % status)


def test_guesses_in_the_form_are_slowed_down_too(server):
    assert {log_in(server, f"guess-{number:020}").status for number in range(110)} == {403, 429}
    assert log_in(server).status == 303


def test_a_client_that_is_no_administrator_any_more_is_out(server):
    cookie = log_in(server).headers["set-cookie"].partition(";")[0]
    object.__setattr__(server.backend.config.clients[1], "admin", False)
    assert page(server, Cookie=cookie).status == 403


def test_a_session_ends_as_its_token_is_replaced(server):
    """By another reading of the spec: who has a token that got out must not stay for eight hours."""
    cookie = log_in(server).headers["set-cookie"].partition(";")[0]
    spec = spec_with_pages()
    registry = SecretProviderRegistry(spec)
    server.do(use(server, Backend(registry, config_of(registry.serve_options(), "spec"))))
    assert page(server, Cookie=cookie).status == 200
    boss = next(one for one in spec["serve"]["clients"] if one.get("token") == BOSS)
    boss["token"] = "another-token-0123456789"
    registry = SecretProviderRegistry(spec)
    server.do(use(server, Backend(registry, config_of(registry.serve_options(), "spec"))))
    assert page(server, Cookie=cookie).status == 403
    assert log_in(server, boss["token"]).status == 303


async def use(server, backend):
    server.app.use(backend)


def test_sessions_end_after_eight_hours_and_are_bounded():
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    nothing: frozenset[str] = frozenset()
    client = Client(
        name="a",
        rules=KeyRules([], []),
        operations=nothing,
        tenants=nothing,
        admin=True,
        uid=None,
        token="token",
    )
    first = sessions.begin(client)
    now[0] = 8 * 3600 - 1
    assert sessions.client_of(first, [client]) is client
    now[0] += 1
    assert sessions.client_of(first, [client]) is None
    for _ in range(1000):
        sessions.begin(client)
    assert len(sessions._open) == 256


def test_without_ui_there_are_no_pages(served):
    server = served(spec_with_pages() | {"serve": {**spec_with_pages()["serve"], "ui": False}})
    assert server.ask("GET", "/ui/", token=None).status == 403
    assert server.ask("GET", "/ui/", token=BOSS).status == 404


def test_a_page_that_is_loaded_again_does_not_ask_each_time(server):
    for _ in range(5):
        server.ask("GET", "/ui/", token=BOSS)
    asked = [one for one in server.recorder.events if one.actor == "boss" and one.key == "db/password"]
    assert len([one for one in asked if one.operation == "get"]) == 1


def test_the_real_overview_of_a_spec_with_a_trail(tmp_path, served):
    spec = spec_with_pages(hooks=[{"type": "audit", "path": str(tmp_path / "audit.jsonl")}])
    path = tmp_path / "strongroom.yaml"
    path.write_text(json.dumps(spec))
    path.chmod(0o600)
    overview = Overview(GlobalOptions(spec=str(path)))
    server = served(spec, overview=overview)
    server.put("db/password", VALUE)
    text = server.ask("GET", "/ui/", token=BOSS).body.decode()
    assert "entries, unchanged" in text
    assert "db/password" in text
    assert VALUE not in text


class OfTenants(Fixed):
    """Leases, and a trail with entries, of two tenants, and of none."""

    def leases(self, registry):
        (lease,) = super().leases(registry)
        return [
            lease | {"key": f"lease-of-{tenant}", "tenant": tenant} for tenant in ("acme", "globex", None)
        ]

    def audit(self):
        (log,) = super().audit()
        (entry,) = log["entries"]
        entries = [
            entry | {"key": f"key-of-{tenant}", "tenant": tenant} for tenant in ("acme", "globex", None)
        ]
        return [log | {"entries": entries}]


@pytest.mark.parametrize(
    ("tenants", "seen"),
    [
        (["acme"], ["acme", "None"]),
        (["acme", "other"], ["acme", "None"]),
        (["*"], ["acme", "globex", "None"]),
        ([], ["acme", "globex", "None"]),
    ],
)
def test_an_admin_of_some_tenants_sees_no_keys_of_others(served, tenants, seen):
    """Two admins who load the page one after the other each see the entries and leases of their own tenants."""
    spec = spec_with_pages()
    some = {"name": "some", "token": "some-token-0123456789", "allow": [], "admin": True, "tenants": tenants}
    spec["serve"]["clients"].append(some)
    server = served(spec, overview=OfTenants())
    assert "key-of-globex" in server.ask("GET", "/ui/", token=BOSS).body.decode()
    text = server.ask("GET", "/ui/", token=some["token"]).body.decode()
    assert re.findall(r"key-of-(\w+)", text) == seen
    assert re.findall(r"lease-of-(\w+)", text) == seen


def test_a_long_trail_is_not_verified_for_each_page(tmp_path):
    """A verification that took ten seconds is good for 190 more; what comes meanwhile is on the page at once."""
    spec = spec_of()
    spec["hooks"] = [{"type": "audit", "path": str(tmp_path / "audit.jsonl")}]
    path = tmp_path / "strongroom.yaml"
    path.write_text(json.dumps(spec))
    path.chmod(0o600)
    now = iter([0.0, 10.0, 199.9, 200.0, 200.0])
    overview = Overview(GlobalOptions(spec=str(path)), clock=lambda: next(now))
    with SecretProviderRegistry(str(path)) as registry:
        registry.set_secret("first", VALUE)
        (row,) = overview.audit()
        assert (row["ok"], row["finding"].partition(" (")[0]) == (True, "1 entry, unchanged")

        registry.set_secret("second", VALUE)
        (log,) = tmp_path.glob("audit.jsonl")
        log.write_bytes(log.read_bytes().replace(b"first", b"fifth"))
        (row,) = overview.audit()  # at 199.9
        assert row["ok"]
        assert [one["key"] for one in row["entries"]] == ["second", "fifth"]
        (row,) = overview.audit()  # at 200
        assert not row["ok"]
