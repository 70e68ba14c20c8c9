"""Opens a registry with an ASGI application, and sets the tenant of each request.

It needs only the standard library.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigurationError, InvalidTenantError
from strongroom.tenancy import TenantContext

if TYPE_CHECKING:
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.models import Spec

__all__ = ["TenantMiddleware", "lifespan"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
TenantOf = Callable[[Scope], str | Awaitable[str | None] | None]

DEFAULT_HEADER = "x-tenant-id"
_POLICY_VIOLATION = 1008


def lifespan(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec | SecretProviderRegistry | None = None,
    *,
    profile: str | None = None,
    check: bool = True,
    group: str | None = None,
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return a lifespan that opens a registry for the application and closes it at the end.

    It is for Starlette, FastAPI and other frameworks that call a lifespan with an application that has a
    `state`; there `state.strongroom` is the `AsyncSecretRegistry`.

    The application does not start if a secret that `secrets:` declares as required is missing, has the wrong
    type or cannot be read: the server logs the error, which names each, and ends. Secrets that only a tenant
    can read are not checked.

    Args:
        spec: See `AsyncSecretRegistry`; a registry is shared, and not closed.
        profile: The spec's profile.
        check: Whether to check the declared secrets before the application starts.
        group: Check only those of this group.
    """

    @asynccontextmanager
    async def opened(app: Any) -> AsyncIterator[None]:
        from strongroom.declarations.resolve import require
        from strongroom.registry.async_registry import AsyncSecretRegistry

        async with AsyncSecretRegistry(spec, profile=profile) as registry:
            if check:
                await asyncio.to_thread(require, registry.registry, group)
            app.state.strongroom = registry
            try:
                yield
            finally:
                del app.state.strongroom

    return opened


class TenantMiddleware:
    """Runs each request and each websocket under the tenant that it names.

    A request whose tenant is not a valid id is answered with 400, and a websocket is refused before it is
    accepted; so is one that names no tenant, unless `required` is false. Everything that the application does
    for a request, background tasks and streamed answers included, runs under its tenant.

    Args:
        app: The application, or the next middleware.
        header: The header with the id. Only a proxy that callers cannot bypass may set it: anyone who can
            choose the header can choose the tenant. A request that has it twice is refused.
        tenant_of: Finds the id instead of the header: gets the ASGI scope and returns the id, or None if
            there is none; plain or a coroutine function. It may raise `InvalidTenantError`.
        required: Whether a request without a tenant is refused; if not, it runs without one.

    Raises:
        ConfigurationError: Both `header` and `tenant_of` are given.
    """

    def __init__(
        self,
        app: App,
        *,
        header: str | None = None,
        tenant_of: TenantOf | None = None,
        required: bool = True,
    ) -> None:
        if header is not None and tenant_of is not None:
            raise ConfigurationError("TenantMiddleware: give either `header` or `tenant_of`, not both")
        self.app = app
        self._header = (header or DEFAULT_HEADER).lower().encode("latin-1")
        self._tenant_of: TenantOf = tenant_of or self._of_header
        self._required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)  # lifespan: for the application itself, not for a tenant
            return
        try:
            context = await self._context(scope)
        except InvalidTenantError:
            refused = "invalid tenant id"
        else:
            if context is not None:
                async with context:
                    await self.app(scope, receive, send)
                return
            if not self._required:
                await self.app(scope, receive, send)
                return
            refused = "no tenant is named"
        await _refuse(scope, receive, send, refused)

    async def _context(self, scope: Scope) -> TenantContext | None:
        found = self._tenant_of(scope)
        tenant = await found if inspect.isawaitable(found) else found
        return None if tenant is None else TenantContext(tenant)

    def _of_header(self, scope: Scope) -> str | None:
        found = [value for name, value in scope["headers"] if name.lower() == self._header]
        if len(found) > 1:  # it is not known which one the proxy has checked
            raise InvalidTenantError("the header is there more than once")
        return found[0].decode("latin-1") if found else None


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # the `websocket.connect` that a close has to answer
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
        return
    body = f"{reason}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
