"""Secrets as dependencies of FastAPI's path operations.

    app = FastAPI(lifespan=lifespan("strongroom.yaml"))
    add_error_handlers(app)

    @app.get("/")
    async def home(password: Annotated[SecretStr, Depends(secret("database/password"))]): ...

With `strongroom.integrations.asgi.TenantMiddleware` around the application each request reads its own
tenant's secrets.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidTenantError,
    PermissionDeniedError,
    StrongroomError,
    TenantContextError,
)
from strongroom.integrations.asgi import lifespan
from strongroom.integrations.hosts import MissingHostError
from strongroom.registry.async_registry import AsyncSecretRegistry
from strongroom.tenancy import current_tenant

try:
    from fastapi import Depends, FastAPI
    from fastapi.requests import HTTPConnection
    from fastapi.responses import JSONResponse
    from fastapi.websockets import WebSocket, WebSocketState
    from pydantic import SecretStr
except ModuleNotFoundError as _error:
    raise MissingHostError("fastapi", "fastapi") from _error

if TYPE_CHECKING:
    from strongroom.declarations.resolution import ResolvedSecrets

__all__ = ["Registry", "add_error_handlers", "lifespan", "registry", "resolved", "secret", "tenant"]

_log = logging.getLogger("strongroom.integrations")
_RETRY_SECONDS = 5
_BAD_REQUEST, _SERVER_ERROR, _UNAVAILABLE = 400, 500, 503
_CLOSE_CODES = {_BAD_REQUEST: 1008, _SERVER_ERROR: 1011, _UNAVAILABLE: 1013}


def registry(connection: HTTPConnection) -> AsyncSecretRegistry:
    """Return the application's registry: a dependency, also as the annotation `Registry`.

    Raises:
        ConfigurationError: The application has none.
    """
    attached: AsyncSecretRegistry | None = getattr(connection.app.state, "strongroom", None)
    if attached is None:
        raise ConfigurationError(
            "this application has no registry",
            hint="FastAPI(lifespan=strongroom.integrations.fastapi.lifespan(…)); an application that is "
            "mounted in another runs no lifespan: set its state.strongroom to that of the other",
        )
    return attached


Registry = Annotated[AsyncSecretRegistry, Depends(registry)]


def secret(key: str, *, field: str | None = None) -> Callable[..., Awaitable[SecretStr]]:
    """Return a dependency that reads `key` for each request, for the request's tenant.

    Args:
        key: The key.
        field: The member of a JSON secret.
    """

    async def read(registry: Registry) -> SecretStr:
        value = await (registry.get_secret(key) if field is None else registry.get_field(key, field))
        return SecretStr(value)

    # FastAPI looks the annotation's name up in the module; within a function it finds none.
    read.__annotations__ = {"registry": Registry, "return": SecretStr}
    return read


def resolved(group: str | None = None) -> Callable[..., Awaitable[ResolvedSecrets]]:
    """Return a dependency that returns what `secrets:` declares, typed and checked."""

    async def read(registry: Registry) -> ResolvedSecrets:
        return await registry.resolve(group)

    read.__annotations__ = {"registry": Registry, "return": Any}
    return read


async def tenant() -> str:
    """Return the id of the request's tenant: a dependency for code that must not run without one.

    Raises:
        TenantContextError: There is none.
    """
    active = current_tenant()
    if active is None:
        raise TenantContextError(
            "no tenant is active", hint="put asgi.TenantMiddleware around the application"
        )
    return active


def add_error_handlers(app: FastAPI) -> None:
    """Answer strongroom's errors, without naming a secret in the answer.

    400 if the request names no tenant or an invalid one; 503 with `Retry-After` if the backend is
    unavailable; otherwise 500, since a secret that is missing, or refused to this server, is not the caller's
    fault. Errors that are not the caller's fault are logged to `strongroom.integrations`, with the key.
    A websocket that was accepted is closed instead, with 1008, 1013 or 1011.
    """
    app.add_exception_handler(StrongroomError, _answer)


async def _answer(connection: HTTPConnection, error: Exception) -> Any:  # a websocket may have no answer
    status, detail = _described(error)
    if status != _BAD_REQUEST:
        pipeline = getattr(error, "pipeline", None)
        where = f" in pipeline {pipeline}" if pipeline else ""
        _log.error("a request failed%s: %s: %s", where, type(error).__name__, error)
    if isinstance(connection, WebSocket) and not _may_be_denied(connection):
        if WebSocketState.DISCONNECTED not in {connection.application_state, connection.client_state}:
            await connection.close(_CLOSE_CODES[status], detail)
        return None
    retry = {"Retry-After": str(_RETRY_SECONDS)} if status == _UNAVAILABLE else None
    return JSONResponse({"detail": detail}, status, headers=retry)


def _may_be_denied(websocket: WebSocket) -> bool:
    """Return whether a websocket can still be answered as a request is."""
    extensions = websocket.scope.get("extensions") or {}
    return (
        websocket.application_state is WebSocketState.CONNECTING and "websocket.http.response" in extensions
    )


def _described(error: Exception) -> tuple[int, str]:
    """Return the status and the words for an error."""
    if isinstance(error, InvalidTenantError | TenantContextError):
        return _BAD_REQUEST, "no valid tenant"
    if isinstance(error, BackendUnavailableError):
        return _UNAVAILABLE, "secrets are unavailable"
    denied = isinstance(error, PermissionDeniedError | AuthenticationError)
    return _SERVER_ERROR, "secrets are refused" if denied else "secrets are missing"
