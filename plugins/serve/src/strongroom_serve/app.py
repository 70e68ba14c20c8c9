"""The application, which answers requests. It knows nothing of sockets."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NoReturn

from strongroom.errors import InvalidKeyError, InvalidTenantError, StrongroomError
from strongroom.hooks import acting_as
from strongroom.keys import check_key, check_prefix, is_reserved
from strongroom.tenancy import check_tenant_id

from strongroom_serve import aws_agent, vault_sys
from strongroom_serve.answers import (
    ABSENT,
    BAD_TOKEN,
    DENIED,
    Answer,
    as_json,
    bad_request,
    errors,
    header_fields,
    not_allowed,
    of_error,
)
from strongroom_serve.asking import (
    NOBODY,
    PATIENCE_SECONDS,
    Asker,
    Backend,
    Records,
    plain_key,
    record_refusal,
)
from strongroom_serve.clients import GuessLimit
from strongroom_serve.config import PAGES, Client
from strongroom_serve.headers import is_own_host, namespace_of, token_of, wants_exact, wants_wrapping
from strongroom_serve.health import Health
from strongroom_serve.kv import KeyValue, is_unrouted
from strongroom_serve.metrics import Metrics
from strongroom_serve.repeats import Repeats
from strongroom_serve.request import Body, Refused, Request
from strongroom_serve.targets import Target, limit_of, not_offered, target_of

if TYPE_CHECKING:
    from strongroom_serve.ui import Pages

__all__ = ["App"]

_log = logging.getLogger("strongroom.serve")
_OK: Final = 200
_THROTTLED: Final = 429
_TEXT: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_CLOSE: Final = (b"connection", b"close")


class App:
    """Answers requests by the backend of one reading of the spec; `use` replaces it."""

    def __init__(self, backend: Backend, *, guesses: GuessLimit | None = None, overview: Any = None) -> None:
        self.metrics = Metrics()
        self._overview = overview
        self.draining = False
        self.ends_at = math.inf
        """When everything has to be closed, by the loop's clock."""
        self._guesses = guesses or GuessLimit()
        self._closing: set[asyncio.Task[None]] = set()
        self._take(backend)

    @cached_property
    def pages(self) -> Pages:
        """The pages; few servers have them."""
        from strongroom_serve.ui import Pages

        return Pages(self._overview, self.metrics)

    def _take(self, backend: Backend) -> None:
        self.backend = backend
        self.kv = KeyValue(backend)
        self.records = KeyValue(backend, Records(backend))
        self.health = Health(backend)
        self.repeats = Repeats(backend, self.metrics)
        self._engine = f"/v1/{backend.config.mount}/"
        self._mount = f"{vault_sys.MOUNTS}/{backend.config.mount}"

    def use(self, backend: Backend) -> None:
        """Answer from now on with `backend`; the one before is closed after its last request.

        Numbers of versions go on: a client may write with one that it got before.
        """
        before = self.backend
        backend.numbers = before.numbers
        self._take(backend)
        self._close_unused(before)

    def done(self, backend: Backend) -> None:
        """Note that something that used `backend` has ended."""
        backend.requests -= 1
        self._close_unused(backend)

    def _close_unused(self, backend: Backend) -> None:
        if backend is not self.backend and not backend.requests:
            loop = asyncio.get_running_loop()
            seconds = min(PATIENCE_SECONDS, max(0.0, self.ends_at - loop.time()))
            task = loop.create_task(_closed(backend, seconds))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Close everything; calls that nobody waits for any more have so many seconds to end."""
        await asyncio.gather(*self._closing, asyncio.to_thread(self.backend.close, seconds))

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request (ASGI)."""
        started = time.perf_counter()
        backend = self.backend
        backend.requests += 1
        labels = ["-", "other"]  # the client and the operation, for the counts
        body = Body(scope, receive)
        try:
            answer = await self._answer(scope, body, labels)
        finally:
            self.done(backend)
        self.metrics.requests.add(*labels, str(answer.status))
        self.metrics.duration.observe(time.perf_counter() - started)
        if _CLOSE in answer.headers:
            scope["strongroom.close"]()
        start = {"type": "http.response.start", "status": answer.status, "headers": header_fields(answer)}
        await send(start)
        shown = answer.body if scope["method"] != "HEAD" else b""
        await send({"type": "http.response.body", "body": shown})
        if not body.ended and answer.status != _THROTTLED:
            await body.drain()

    async def _answer(
        self, scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]], seen: list[str]
    ) -> Answer:
        try:
            return await self._routed(Request(scope, receive), seen)
        except Refused as refused:
            self.metrics.refused.add(refused.reason)
            return refused.answer
        except Exception as error:  # noqa: BLE001  # whatever it is, it becomes an answer without its text
            return of_error(error)

    async def _routed(self, request: Request, labels: list[str]) -> Answer:
        config, path = self.backend.config, request.path
        if request.is_tcp and not is_own_host(request.header(b"host"), config.hosts):
            raise Refused(errors(403, "this server does not answer for this Host"), "host")
        if path in {"/healthz", vault_sys.HEALTH}:
            return await self._healthy(request, labels)
        if config.ui and (path.startswith(PAGES) or path == PAGES.rstrip("/")):
            labels[1] = "ui"
            return await self._page(request, labels)
        target, fault = self._asked(request)
        client = await self._client(request, target)
        labels[0] = client.name
        if fault is not None:  # who has no good token gets the same answer to every request
            raise fault
        if wants_wrapping(request):  # who asks for it does not want the secret itself where the answer goes
            raise Refused(bad_request("answers are not wrapped: leave out `X-Vault-Wrap-TTL`"), "header")
        if path == aws_agent.PATH:
            labels[1] = "get"
            return await self._of_agent(request, client)
        if target is not None:
            labels[1] = target.operation
            return await self._of_engine(request, client, target)
        if path.startswith(self._engine):
            return not_offered(path, self._engine)
        return self._other(request, client)

    def _other(self, request: Request, client: Client) -> Answer:
        path = request.path.rstrip("/")
        name = self.backend.config.mount
        answer = vault_sys.FIXED.get(path)
        if path == "/metrics":
            answer = self._metrics()
        elif path == vault_sys.OPENAPI:
            from strongroom_serve import openapi  # few ask for it

            answer = openapi.answer(name)
        elif path == vault_sys.LOOKUP_SELF:
            answer = vault_sys.lookup_self(client)
        elif path == vault_sys.MOUNTS:
            answer = vault_sys.mounts(name)
        elif path == self._mount or path.startswith(f"{self._mount}/"):
            answer = vault_sys.mount(name)
        elif path.startswith(f"{vault_sys.MOUNTS}/"):
            answer = vault_sys.NO_MOUNT
        if answer is not None and request.method != "GET":
            return not_allowed("only GET")
        return answer or ABSENT

    # --- who asks ---

    async def _client(self, request: Request, target: Target | None) -> Client:
        """Return the client; if a token was sent, it alone decides, even if it is wrong."""
        token = token_of(request)
        clients = self.backend.clients
        client = clients.of_token(token) if token is not None else clients.of_uid(request.uid)
        if client is not None:
            request.note_client()
            return client
        is_recorded = True
        if token is not None:
            self._count_guess(request, "a wrong token")
        else:  # nothing was guessed; but a full disk of the trail would end all answers
            is_recorded = not self._guesses.wait_of(("no token", request.peer))
            _log.info("no token from %s", request.peer)
        if target is not None and is_recorded:
            with acting_as(NOBODY):
                await self._record(target)
        raise Refused(BAD_TOKEN, "token")

    def _count_guess(self, request: Request, what: str) -> None:
        """Count a request without a valid token; raise `Refused` if there were too many."""
        wait = self._guesses.wait_of(request.peer)
        if wait:
            seconds = b"%d" % math.ceil(wait)
            slow = ((b"retry-after", seconds), _CLOSE)
            raise Refused(
                errors(_THROTTLED, "too many requests without a valid token", headers=slow), "guessing"
            )
        _log.warning("%s from %s", what, request.peer)

    async def _record(self, target: Target, error: StrongroomError | None = None) -> None:
        """Have the hooks see that `target` was refused to the actor of the context."""
        operation, key = target.operation, target.event_key
        await self.backend.in_thread(lambda: record_refusal(self.backend.sync, operation, key, error))

    async def _invalid(
        self, request: Request, client: Client, target: Target, error: InvalidKeyError
    ) -> NoReturn:
        """Raise `error` after the hooks have seen it."""
        with _as_sent(request, client)[0].acting():
            await self._record(target, error)
        raise error

    async def _asker(self, request: Request, client: Client, target: Target) -> Asker:
        """Return the client with its tenant, if its rules allow the request."""
        asker, allowed = _as_sent(request, client)
        of_key = target.operation == "list" or client.rules.permits(plain_key(target.key))
        if allowed and of_key and target.operation in client.operations:
            return asker
        with asker.acting():
            await self._record(target)
        raise Refused(DENIED, "rule")

    # --- the KV engine ---

    def _asked(self, request: Request) -> tuple[Target | None, Refused | None]:
        """Return the target of a request, None if it is not a secret; and why it cannot be read."""
        if request.problem:
            return None, Refused(bad_request(request.problem), "path")
        try:
            if request.path.startswith(self._engine):
                return target_of(request, self._engine), None
            if request.path == aws_agent.PATH:
                return Target("get", request.query().get("secretId", "")), None
        except Refused as refused:
            return None, refused
        return None, None

    async def _of_engine(self, request: Request, client: Client, target: Target) -> Answer:
        # For rotators alone, which write the secret itself: the state of a rotation may hold its next value.
        may_be_reserved = wants_exact(request) and "set" in client.operations
        try:
            _check_key_of(target, may_be_reserved=may_be_reserved)
        except InvalidKeyError as error:
            await self._invalid(request, client, target, error)
        asker = await self._asker(request, client, target)
        # A body may take long: it is for the reading whose rules were asked, though another comes meanwhile.
        backend, repeats = self.backend, self.repeats
        kv = self.records if target.operation != "list" and is_reserved(target.key) else self.kv
        body = await request.json() if target.operation == "set" else None
        with asker.acting():
            try:
                return await self._done(request, asker, target, body, kv=kv, repeats=repeats)
            except StrongroomError as error:
                if is_unrouted(backend.sync, target.key, error):
                    return ABSENT
                raise

    async def _done(
        self, request: Request, asker: Asker, target: Target, body: Any, *, kv: KeyValue, repeats: Repeats
    ) -> Answer:
        key = target.key
        match target.operation:
            case "get":
                answer = await kv.read(asker, key)
                if answer.status == _OK and request.sent is not None and not is_reserved(key):
                    repeats.note(request.sent, asker, key)
                return answer
            case "history":
                return await kv.read_version(asker, key, target.version)
            case "set":
                return await kv.write(asker, key, body)
            case "delete":
                return await kv.delete(asker, key)
            case "describe":
                return await kv.metadata(asker, key)
        query = request.query()
        limit = limit_of(query)
        return await kv.names(asker, key, after=query.get("after", ""), limit=limit)

    async def _of_agent(self, request: Request, client: Client) -> Answer:
        if request.method != "GET":
            return not_allowed("only GET")
        asked_for = aws_agent.asked(request, by_uid=client.token is None)
        key = asked_for.key
        target = Target("history" if asked_for.is_old else "get", key)
        try:
            check_key(key)
        except InvalidKeyError as error:
            await self._invalid(request, client, target, error)
        asker = await self._asker(request, client, target)
        backend, kv = self.backend, self.kv
        with asker.acting():
            try:
                return await aws_agent.answer(backend, kv, asker, asked_for)
            except StrongroomError as error:
                if is_unrouted(backend.sync, key, error):
                    return ABSENT
                raise

    # --- the pages ---

    async def _page(self, request: Request, labels: list[str]) -> Answer:
        pages, backend = self.pages, self.backend
        answer = pages.static(request)
        if answer is None and request.method == "POST" and request.path == "/ui/login":
            answer = await pages.log_in(request, lambda token: self._of_form(request, token))
        if answer is None and request.method == "POST" and request.path == "/ui/logout":
            answer = pages.log_out(request)
        if answer is not None:
            return answer
        by_token = token_of(request) is not None
        client = await self._client(request, None) if by_token else pages.by_cookie(request, backend)
        if client is None:
            return pages.refused()
        request.note_client()
        labels[0] = client.name
        allowed, tenant = client.tenant_for(namespace_of(request) or request.query().get("tenant"))
        if not client.admin or not allowed:
            raise Refused(DENIED, "rule")
        if request.path.rstrip("/") != PAGES.rstrip("/"):
            return ABSENT
        if request.method != "GET":
            return not_allowed("only GET")
        state = await self.health.state()
        return await pages.overview(backend, client, tenant, state, by_form=not by_token)

    def _of_form(self, request: Request, token: bytes) -> Client:
        client = self.backend.clients.of_token(token)
        if client is None:
            self._count_guess(request, "a wrong token in the form")
            raise Refused(BAD_TOKEN, "token")
        return client

    # --- the server itself ---

    async def _healthy(self, request: Request, labels: list[str]) -> Answer:
        if request.method not in {"GET", "HEAD"}:
            return not_allowed("only GET", "GET, HEAD")
        client: Client | None = None
        if token_of(request) is not None or self.backend.clients.of_uid(request.uid) is not None:
            try:
                client = await self._client(request, None)
                labels[0] = client.name
            except Refused as refused:
                if refused.reason == "guessing":
                    raise
        state = await self.health.state()
        ok = state.ok and not self.draining
        report: dict[str, Any] = {"ok": ok}
        if client is not None:
            report["draining"] = self.draining
            report["pipelines"] = {name: problem or "ok" for name, problem in state.pipelines.items()}
        if request.path == vault_sys.HEALTH:
            report = vault_sys.health(report)
        return Answer(200 if ok else 503, as_json(report))

    def _metrics(self) -> Answer:
        text = self.metrics.text(self.backend.sync.figures(), draining=self.draining)
        return Answer(200, text.encode(), kind=_TEXT)


async def _closed(backend: Backend, seconds: float) -> None:
    """Close the result of an earlier reading, which nobody waits for: an error of it is logged."""
    try:
        await asyncio.to_thread(backend.close, seconds)
    except StrongroomError as error:
        _log.warning("the spec from before did not close: %s", error.message)
    except Exception as error:  # noqa: BLE001  # of a provider or hook of anybody's: its text may hold anything
        _log.warning("the spec from before did not close: %s", type(error).__name__)
    finally:
        await backend.end_threads()


def _check_key_of(target: Target, *, may_be_reserved: bool) -> None:
    if target.operation == "list":
        check_prefix(target.key)
    elif is_reserved(check_key(target.key)) and not may_be_reserved:
        raise InvalidKeyError(target.key, "the segment '.rotation' is reserved")


def _as_sent(request: Request, client: Client) -> tuple[Asker, bool]:
    """Return the client with the tenant of the request, and whether it may act for that; else it has none."""
    allowed, tenant = client.tenant_for(namespace_of(request))
    allowed = allowed and _is_tenant(tenant)
    return Asker(client, tenant if allowed else None, exact=wants_exact(request)), allowed


def _is_tenant(tenant: str | None) -> bool:
    try:
        return tenant is None or check_tenant_id(tenant) == tenant
    except InvalidTenantError:
        return False
