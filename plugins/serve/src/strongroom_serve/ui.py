"""The pages under /ui/: rendered here, without a script, and never with a value."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from strongroom import TenantContext
from strongroom.errors import StrongroomError
from strongroom.hooks import acting_as
from strongroom.plugins import blake2b

from strongroom_serve.answers import Answer
from strongroom_serve.request import Refused, Request

if TYPE_CHECKING:
    import jinja2

    from strongroom_serve.asking import Backend
    from strongroom_serve.config import Client
    from strongroom_serve.health import State
    from strongroom_serve.metrics import Metrics

__all__ = ["Pages", "Sessions"]

_COOKIE: Final = "strongroom"
_SESSION_SECONDS: Final = 8 * 3600
_MOST_SESSIONS: Final = 256
_MOST_FORM_BYTES: Final = 8 << 10
_FRESH_SECONDS: Final = 10.0
_HTML: Final = (b"content-type", b"text/html; charset=utf-8")
_CSS: Final = (b"content-type", b"text/css; charset=utf-8")
HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer browsers send the form with `Origin: null`
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_EMPTY: Final = {
    "secrets": "The spec declares no secrets.",
    "rotations": "The spec declares no rotations.",
    "leases": "This process holds no leases.",
    "audit": "The spec has no audit log with a path.",
}
_AT_REST: Final = frozenset({"current", "rolled_back"})


class Sessions:
    """The logins by the form: a random cookie each, valid for eight hours at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, tuple[str, bytes, float]] = {}
        self._key = os.urandom(32)

    def begin(self, client: Client) -> str:
        """Return a new cookie for a client, good as long as it has the token that it has now."""
        import secrets

        now = self._clock()
        self._open = {one: session for one, session in self._open.items() if session[2] > now}
        while len(self._open) >= _MOST_SESSIONS:
            del self._open[next(iter(self._open))]
        cookie = secrets.token_urlsafe(32)
        self._open[cookie] = (client.name, self._hash(client), now + _SESSION_SECONDS)
        return cookie

    def client_of(self, cookie: str, clients: Iterable[Client]) -> Client | None:
        """Return which of `clients` has this cookie; None if it is not valid (any more)."""
        name, token, until = self._open.get(cookie, (None, b"", 0.0))
        if self._clock() >= until:
            return None
        found = next((one for one in clients if one.name == name), None)
        return found if found is not None and self._hash(found) == token else None

    def _hash(self, client: Client) -> bytes:
        return blake2b((client.token or "").encode(), key=self._key, digest_size=32).digest()

    def end(self, cookie: str) -> None:
        """Forget a cookie."""
        self._open.pop(cookie, None)


class Pages:
    """Answers requests under /ui/.

    Args:
        overview: Looks at the registry; None shows only what the server itself knows.
        metrics: The counts of the server.
    """

    def __init__(self, overview: Any, metrics: Metrics) -> None:
        self._overview = overview
        self._metrics = metrics
        self.sessions = Sessions()
        self._looked: tuple[float, Backend, str | None, dict[str, Any]] | None = None

    def static(self, request: Request) -> Answer | None:
        """Return the answer to a request that needs no login; None for others."""
        if request.path == "/ui/style.css" and request.method == "GET":
            return Answer(200, _text("style.css").encode(), HEADERS, _CSS)
        if request.path == "/ui/login" and request.method == "GET":
            return _login(200)
        return None

    def by_cookie(self, request: Request, backend: Backend) -> Client | None:
        """Return the client that has logged in, if it is still an administrator with the same token."""
        client = self.sessions.client_of(_cookie(request) or "", backend.config.clients)
        return client if client is not None and client.admin else None

    async def log_in(self, request: Request, find: Callable[[bytes], Client]) -> Answer:
        """Answer the form: a cookie for a good token of an administrator.

        Args:
            request: The form.
            find: Returns whose token it is, or raises `Refused`.
        """
        _refuse_strangers(request)
        sent = await request.body(_MOST_FORM_BYTES)  # of anybody: nothing of it has been judged yet
        try:
            form = parse_qs(sent.decode("utf-8", "replace"), max_num_fields=8)
        except ValueError:
            form = {}
        try:
            client = find(form.get("token", [""])[0].encode())
        except Refused as refused:
            if refused.answer.status != 403:  # noqa: PLR2004  # it is to come later
                raise
            return _login(403, "This token is not good.")
        if not client.admin:
            return _login(403, "This token is not good.")
        # A cookie from before the login is not good for what comes after it.
        self.sessions.end(_cookie(request) or "")
        return _redirect(self._set_cookie(request, self.sessions.begin(client), _SESSION_SECONDS))

    def log_out(self, request: Request) -> Answer:
        """End the session of the cookie."""
        _refuse_strangers(request)
        self.sessions.end(_cookie(request) or "")
        return _redirect(self._set_cookie(request, "", 0))

    def refused(self) -> Answer:
        """Answer a client without a login: with the form."""
        return _login(403)

    async def overview(
        self, backend: Backend, client: Client, tenant: str | None, state: State, *, by_form: bool
    ) -> Answer:
        """Answer with the page."""
        looked = await self._look(backend, client, tenant)
        figures = backend.sync.figures()
        problems_first = sorted(state.pipelines.items(), key=lambda one: one[1] is None)
        page = _templates().get_template("overview.html")
        html = page.render(
            looked
            | {
                "leases": _of_own_tenants(client, looked["leases"]),
                "audit": [
                    log | {"entries": _of_own_tenants(client, log["entries"])} for log in looked["audit"]
                ],
            },
            source=backend.sync.plan.source,
            client=client.name,
            now=datetime.now(UTC),
            pipelines=[_pipeline(name, problem, figures) for name, problem in problems_first],
            requests=self._metrics.requests.items(),
            by_form=by_form,
        )
        return Answer(200, html.encode(), HEADERS, _HTML)

    async def _look(self, backend: Backend, client: Client, tenant: str | None) -> dict[str, Any]:
        """Return what is to be looked for; a page that is loaded again and again does not ask each time."""
        now = time.monotonic()
        if self._looked is not None:
            at, whose, of_tenant, overview = self._looked
            if whose is backend and of_tenant == tenant and now - at < _FRESH_SECONDS:
                return overview

        def look() -> dict[str, Any]:
            with acting_as(client.name), TenantContext(tenant) if tenant else nullcontext():
                return _looked(self._overview, backend)

        overview = await backend.in_thread(look)
        self._looked = (now, backend, tenant, overview)
        return overview

    @staticmethod
    def _set_cookie(request: Request, value: str, seconds: int) -> bytes:
        secure = "; Secure" if request.secure else ""
        cookie = f"{_COOKIE}={value}; Path=/ui/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        return cookie.encode()


def _looked(overview: Any, backend: Backend) -> dict[str, Any]:
    registry = backend.sync
    sections: dict[str, Any] = {
        "secrets": [],
        "rotations": [],
        "leases": [],
        "audit": [],
        "empty": dict(_EMPTY),
    }
    if overview is None:
        return sections
    looks: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "secrets": lambda: sorted(overview.secrets(registry), key=_is_good),
        "rotations": lambda: sorted(map(_rotation, overview.rotations(registry)), key=_urgency),
        "leases": lambda: overview.leases(registry),
        "audit": overview.audit,
    }
    for name, look in looks.items():
        try:
            sections[name] = look()
        except StrongroomError as error:
            sections["empty"][name] = f"This could not be looked at: {error.message}"
    return sections


def _of_own_tenants(client: Client, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return which of `rows` a client sees: with tenants of its own, none of others'."""
    if not client.tenants:
        return rows
    return [one for one in rows if one.get("tenant") is None or client.has_tenant(one["tenant"])]


def _is_good(row: dict[str, Any]) -> bool:
    return bool(row["status"] == "ok")


def _rotation(row: dict[str, Any]) -> dict[str, Any]:
    due = row.get("due_at")
    late = due is not None and due <= datetime.now(UTC)
    return {"rotated_at": None, **row, "good": row["state"] in _AT_REST and not late}


def _urgency(row: dict[str, Any]) -> tuple[bool, str]:
    return row["good"], row["key"]


def _pipeline(name: str, problem: str | None, figures: Any) -> dict[str, Any]:
    stats = figures.caches.get(name)
    reads = 0 if stats is None else stats.hits + stats.misses + stats.stale + stats.negative
    hits = 0 if stats is None else stats.hits + stats.stale + stats.negative
    share = round(100 * hits / reads) if reads else 0
    return {"name": name, "problem": problem, "cache": stats, "reads": reads, "share": share}


def _login(status: int, problem: str = "") -> Answer:
    html = _templates().get_template("login.html").render(problem=problem)
    return Answer(status, html.encode(), HEADERS, _HTML)


def _redirect(cookie: bytes) -> Answer:
    return Answer(303, b"", (*HEADERS, (b"location", b"/ui/"), (b"set-cookie", cookie)), _HTML)


def _refuse_strangers(request: Request) -> None:
    """Refuse a form from a page of another site."""
    origin, host = request.header(b"origin"), request.header(b"host") or None
    if origin is not None and origin.partition(b"://")[2] != host:
        raise Refused(_login(403, "The form came from another page."), "origin")


def _cookie(request: Request) -> str | None:
    sent = (request.header(b"cookie") or b"").decode("latin-1")
    for part in sent.split(";"):
        name, _, value = part.strip().partition("=")
        if name == _COOKIE:
            return value
    return None


@cache
def _text(name: str) -> str:
    from importlib.resources import files  # it loads tempfile, and few ask for pages

    return (files(__package__ or "strongroom_serve") / "pages" / name).read_text(encoding="utf-8")


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
