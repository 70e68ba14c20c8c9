"""The tenant of each request, in real Starlette and FastAPI applications."""

from __future__ import annotations

import asyncio
import random
import typing
from contextlib import asynccontextmanager
from typing import Annotated

import httpx2
import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from strongroom import SecretProviderRegistry, TenantContext, current_tenant
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidTenantError,
    PermissionDeniedError,
    TenantContextError,
    ValidationError,
)
from strongroom.integrations.asgi import TenantMiddleware
from strongroom.integrations.fastapi import (
    Registry,
    add_error_handlers,
    lifespan,
    resolved,
    secret,
    tenant,
)

TENANTS = [f"tenant-{number:02}" for number in range(64)]
SPEC = {
    "version": 1,
    "pipelines": {
        "app": {
            "provider": {"type": "memory"},
            "middleware": [{"type": "caching", "ttl_seconds": 300}, {"type": "tenant"}],
        }
    },
    "secrets": {"PASSWORD": {"key": "database/password"}},
}


def filled(tenants=TENANTS):
    registry = SecretProviderRegistry(SPEC)
    for one in tenants:
        with TenantContext(one):
            registry.set_secret("database/password", f"password-of-{one}")
    return registry


def starlette(registry, after=None):
    async def plain(request):
        before = current_tenant()
        await asyncio.sleep(0)
        value = await asyncio.to_thread(registry.get_secret, "database/password")
        return JSONResponse({"before": before, "value": value, "after": current_tenant()})

    def threaded(request):
        return PlainTextResponse(registry.get_secret("database/password"))

    async def streamed(request):
        async def parts():
            for _ in range(3):
                await asyncio.sleep(0)
                yield f"{current_tenant()}\n"

        def note():
            if after is not None:
                after.append(current_tenant())

        return StreamingResponse(parts(), background=BackgroundTask(note))

    async def socket(websocket):
        await websocket.accept()
        async for _ in websocket.iter_text():
            await websocket.send_text(f"{current_tenant()} {registry.get_secret('database/password')}")

    routes = [
        *(Route("/plain", plain), Route("/threaded", threaded), Route("/streamed", streamed)),
        WebSocketRoute("/socket", socket),
    ]
    return Starlette(routes=routes)


def asked(app, requests, at_once=64):
    """Return the answers to `requests` (path, headers), of which many are on their way at the same time."""

    async def main():
        limit = asyncio.Semaphore(at_once)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:

            async def one(path, headers):
                async with limit:
                    return await client.get(path, headers=headers)

            return await asyncio.gather(*(one(*request) for request in requests))

    return asyncio.run(main())


def crossings(count, seed):
    after = []
    with filled() as registry:
        app = TenantMiddleware(starlette(registry, after))
        drawn = random.Random(seed)
        plan = [
            (drawn.choice(["/plain", "/threaded", "/streamed"]), drawn.choice(TENANTS)) for _ in range(count)
        ]
        answers = asked(app, [(path, {"X-Tenant-ID": one}) for path, one in plan])
    right = {
        "/plain": lambda one: f'{{"before":"{one}","value":"password-of-{one}","after":"{one}"}}',
        "/threaded": lambda one: f"password-of-{one}",
        "/streamed": lambda one: f"{one}\n" * 3,
    }
    wrong = [
        (path, one, answer.text)
        for (path, one), answer in zip(plan, answers, strict=True)
        if answer.text != right[path](one)
    ]
    streamed = sorted(one for path, one in plan if path == "/streamed")
    return wrong, sorted(after) == streamed


def test_requests_of_64_tenants_at_once_do_not_meet():
    """In coroutines, in threads, in streamed answers and in what runs after the answer."""
    assert crossings(300, seed=8) == ([], True)
    assert current_tenant() is None


@pytest.mark.torture
def test_many_more_requests_do_not_meet_either():
    assert crossings(50_000, seed=9) == ([], True)


@pytest.mark.parametrize(
    "tenant_id", ["", "a/b", "..", "a b", "x" * 65, "a\x80", "%2e%2e", "tenant-00,tenant-01", "tenant-00 "]
)
def test_a_bad_id_is_refused_and_not_repeated(tenant_id):
    with filled() as registry:
        app = TenantMiddleware(starlette(registry))
        [answer] = asked(app, [("/plain", [(b"x-tenant-id", tenant_id.encode("latin-1"))])])
    assert (answer.status_code, answer.text) == (400, "invalid tenant id\n")


def test_two_headers_are_refused():
    """A proxy in front may have looked at the other one."""
    with filled() as registry:
        app = TenantMiddleware(starlette(registry))
        headers = [("X-Tenant-ID", "tenant-00"), ("x-tenant-id", "tenant-01")]
        [answer] = asked(app, [("/plain", headers)])
    assert answer.status_code == 400


def test_none_named():
    """Refused, or without a tenant where that is allowed: never somebody's."""
    with filled() as registry:
        [answer] = asked(TenantMiddleware(starlette(registry)), [("/plain", {})])
        assert (answer.status_code, answer.text) == (400, "no tenant is named\n")
        [answer] = asked(TenantMiddleware(starlette(registry), required=False), [("/streamed", {})])
        assert answer.text == "None\n" * 3


def _by_host(scope):
    host = dict(scope["headers"])[b"host"].decode()
    if host.startswith("bad"):
        raise InvalidTenantError("no such host")
    return host.partition(".")[0] if "." in host else None


async def _by_host_later(scope):
    await asyncio.sleep(0)
    return _by_host(scope)


@pytest.mark.parametrize("tenant_of", [_by_host, _by_host_later])
def test_a_function_finds_the_tenant(tenant_of):
    with filled() as registry:
        app = TenantMiddleware(starlette(registry), tenant_of=tenant_of)
        hosts = ["tenant-07.example", "nobody", "bad.example", "a_é.example"]
        answers = asked(app, [("/threaded", [(b"Host", host.encode())]) for host in hosts])
    assert [answer.status_code for answer in answers] == [200, 400, 400, 400]
    assert answers[0].text == "password-of-tenant-07"
    with pytest.raises(ConfigurationError, match="not both"):
        TenantMiddleware(app, header="X-Other", tenant_of=tenant_of)


def test_the_tenant_is_read_from_the_header_that_was_named():
    with filled() as registry:
        app = TenantMiddleware(starlette(registry), header="X-Org")
        headers = {"X-Tenant-ID": "tenant-01", "x-org": "tenant-02"}
        [answer] = asked(app, [("/threaded", headers)])
    assert answer.text == "password-of-tenant-02"


def test_websockets():
    """One for as long as it is open; refused before it is accepted."""
    with filled() as registry, TestClient(TenantMiddleware(starlette(registry))) as client:
        with (
            client.websocket_connect("/socket", headers={"X-Tenant-ID": "tenant-01"}) as one,
            client.websocket_connect("/socket", headers={"X-Tenant-ID": "tenant-02"}) as two,
        ):
            for socket, name in ((one, "tenant-01"), (two, "tenant-02"), (one, "tenant-01")):
                socket.send_text("?")
                assert socket.receive_text() == f"{name} password-of-{name}"
        for headers in ({}, {"X-Tenant-ID": "a/b"}):
            with (
                pytest.raises(WebSocketDisconnect) as caught,
                client.websocket_connect("/socket", headers=headers),
            ):
                pass
            assert caught.value.code == 1008


def test_a_request_leaves_no_tenant_behind():
    """Not for the next one in the same task, and not where the application fails."""
    seen = []

    async def app(scope, receive, send):
        seen.append(current_tenant())
        raise RuntimeError

    async def main():
        guarded = TenantMiddleware(app, required=False)
        for headers in ([(b"x-tenant-id", b"acme")], []):
            with pytest.raises(RuntimeError):
                await guarded({"type": "http", "headers": headers}, None, None)
            seen.append(current_tenant())

    asyncio.run(main())
    assert seen == ["acme", None, None, None]


def test_the_lifespan_is_no_tenants():
    seen = []

    @asynccontextmanager
    async def opened(app):
        seen.append(current_tenant())
        yield
        seen.append(current_tenant())

    with TestClient(TenantMiddleware(Starlette(lifespan=opened))):
        pass
    assert seen == [None, None]


def fastapi(spec):
    app = FastAPI(lifespan=lifespan(spec))
    add_error_handlers(app)

    @app.get("/secret")
    async def one(password: Annotated[SecretStr, Depends(secret("database/password"))]):
        return {"shown": password, "length": len(password), "tenant": current_tenant()}

    @app.get("/field")
    async def field(user: Annotated[SecretStr, Depends(secret("database", field="user"))]):
        return user.get_secret_value()

    @app.get("/threaded")
    def threaded(registry: Registry, mine: Annotated[str, Depends(tenant)]):
        return [mine, registry.registry.get_secret("database/password")]

    @app.get("/declared")
    async def declared(found: Annotated[object, Depends(resolved())]):
        return len(found["PASSWORD"])

    return app


def test_fastapi_dependencies():
    """A secret, a member of one, the registry and what is declared, each for the request's tenant."""
    with filled(["a", "bb"]) as registry:
        with TenantContext("a"):
            registry.set_secret("database", '{"user": "app"}')
        app = fastapi(registry)
        app.add_middleware(TenantMiddleware)
        with TestClient(app) as client:
            a, b = {"X-Tenant-ID": "a"}, {"X-Tenant-ID": "bb"}
            assert client.get("/secret", headers=a).json() == {
                "shown": "**********",
                "length": 13,
                "tenant": "a",
            }
            assert client.get("/secret", headers=b).json()["length"] == 14
            assert client.get("/field", headers=a).json() == "app"
            assert client.get("/threaded", headers=b).json() == ["bb", "password-of-bb"]
            assert client.get("/declared", headers=b).json() == 14
            missing = client.get("/field", headers=b)
            assert (missing.status_code, missing.json()) == (500, {"detail": "secrets are missing"})
            assert "password" not in client.get("/openapi.json", headers=a).text.lower()
        registry.get_secrets([])  # shared, so still open


def test_fastapi_without_a_tenant_answers_400():
    app = fastapi(SPEC)
    with TestClient(app) as client:
        for path in ("/secret", "/threaded"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()) == (400, {"detail": "no valid tenant"})


@pytest.mark.parametrize(
    ("error", "status"),
    [(PermissionDeniedError("database/x"), 500), (BackendUnavailableError("host x"), 503)],
)
def test_fastapi_answers_to_failures_name_nothing(error, status, failing):
    with SecretProviderRegistry({"version": 1, "pipelines": {}}) as registry:
        registry.register("app", failing(error), prefix="")
        with TestClient(fastapi(registry)) as client:
            answer = client.get("/secret")
    assert answer.status_code == status
    assert "database" not in answer.text
    assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PermissionDeniedError("database/x"), 500, 1011),
        (BackendUnavailableError("host x"), 503, 1013),
        (TenantContextError("none"), 400, 1008),
    ],
)
def test_a_websocket_is_denied_or_closed(error, status, code, failing):
    """An accepted one has no answer any more, and a server would fail to send it."""
    app = FastAPI()
    add_error_handlers(app)
    registry = failing(error)

    @app.websocket("/before")
    async def before(websocket: WebSocket):
        registry.get_secret("a")

    @app.websocket("/after")
    async def after(websocket: WebSocket):
        await websocket.accept()
        registry.get_secret("a")

    with TestClient(app) as client:
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/before"):
            pass
        with client.websocket_connect("/after") as socket, pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert denied.value.status_code == status
    assert closed.value.code == code
    assert "database" not in closed.value.reason


def test_a_websocket_is_closed_if_its_server_cannot_deny_it():
    sent = []

    async def send(message):
        sent.append(message)

    app = FastAPI()
    add_error_handlers(app)

    @app.websocket("/")
    async def fails(websocket: WebSocket):
        raise TenantContextError("none")

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "subprotocols": []}
    asyncio.run(app(scope, None, send))
    assert [(one["type"], one["code"]) for one in sent] == [("websocket.close", 1008)]


def test_fastapi_without_a_registry_says_what_to_do():
    app = FastAPI()

    @app.get("/secret")
    async def one(password: Annotated[SecretStr, Depends(secret("a"))]):
        return None

    with TestClient(app) as client, pytest.raises(ConfigurationError, match="no registry"):
        client.get("/secret")


def test_a_mounted_application_takes_the_registry_of_the_other():
    """As the page says; its own lifespan is never run, so the error says what to do instead."""
    inner = FastAPI()

    @inner.get("/length")
    async def length(password: Annotated[SecretStr, Depends(secret("a"))]):
        return len(password)

    @asynccontextmanager
    async def opened(app):
        async with lifespan(registry)(app):
            if shares:
                inner.state.strongroom = app.state.strongroom
            yield

    app = FastAPI(lifespan=opened)
    app.mount("/inner", inner)
    with SecretProviderRegistry({**SPEC, "pipelines": {"app": {"provider": {"type": "memory"}}}}) as registry:
        registry.set_secrets({"a": "sesame", "database/password": "x"})
        shares = False
        with TestClient(app) as client, pytest.raises(ConfigurationError, match="is mounted in another"):
            client.get("/inner/length")
        shares = True
        with TestClient(app) as client:
            assert client.get("/inner/length").json() == 6


def test_starlette_has_the_same_lifespan():
    """The registry is in the application's state while it runs."""
    from strongroom.integrations import asgi

    async def length(request):
        return PlainTextResponse(str(len(await request.app.state.strongroom.get_secret("a"))))

    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    ) as registry:
        registry.set_secret("a", "sesame")
        app = Starlette(routes=[Route("/", length)], lifespan=asgi.lifespan(registry))
        with TestClient(app) as client:
            assert client.get("/").text == "6"
        assert not hasattr(app.state, "strongroom")


class TestFastApiAtStart:
    """An application does not start without what it needs, and its log tells what a request lacked."""

    SPEC: typing.ClassVar = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}}},
        "secrets": {
            "PASSWORD": {"key": "database/password", "min_length": 9},
            "TOKEN": {"key": "api/token", "groups": ["worker"]},
            "LEVEL": {"key": "log/level", "required": False},
        },
    }

    def starts(self, registry, **options):
        app = FastAPI(lifespan=lifespan(registry, **options))
        with TestClient(app):
            return True

    def test_fails_and_names_what_is_missing(self):
        with SecretProviderRegistry(self.SPEC) as registry:
            with pytest.raises(ValidationError) as caught:
                self.starts(registry)
            assert "PASSWORD" in str(caught.value)
            assert "TOKEN" in str(caught.value)
            assert "LEVEL" not in str(caught.value)

    def test_fails_where_a_value_breaks_a_rule_and_does_not_show_it(self):
        with SecretProviderRegistry(self.SPEC) as registry:
            registry.set_secrets({"database/password": "hunter2", "api/token": "x"})
            with pytest.raises(ValidationError) as caught:
                self.starts(registry)
            assert "hunter2" not in f"{caught.value!r} {caught.value.__context__!r}"

    def test_starts_where_all_is_there(self):
        with SecretProviderRegistry(self.SPEC) as registry:
            registry.set_secrets({"database/password": "long enough", "api/token": "x"})
            assert self.starts(registry)

    def test_looks_at_one_group_or_not_at_all(self):
        with SecretProviderRegistry(self.SPEC) as registry:
            registry.set_secret("api/token", "x")
            assert self.starts(registry, group="worker")
            assert self.starts(registry, check=False)

    def test_leaves_out_what_only_a_tenant_can_read(self):
        with filled(["a"]) as registry:
            assert self.starts(registry)

    def test_a_request_that_lacks_a_secret_is_logged_with_the_key(self, caplog):
        with SecretProviderRegistry({**self.SPEC, "secrets": {}}) as registry:
            with TestClient(fastapi(registry)) as client:
                assert client.get("/secret").json() == {"detail": "secrets are missing"}
            (record,) = [one for one in caplog.records if one.name == "strongroom.integrations"]
            assert record.levelname == "ERROR"
            assert "'database/password'" in record.getMessage()
            assert "pipeline app" in record.getMessage()

    def test_a_request_without_a_tenant_is_the_callers_own_matter(self, caplog):
        with filled(["a"]) as registry, TestClient(fastapi(registry)) as client:
            assert client.get("/secret").status_code == 400
        assert not [one for one in caplog.records if one.name == "strongroom.integrations"]
