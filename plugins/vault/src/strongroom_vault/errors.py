"""The one table from hvac's and requests' errors to ours."""

from __future__ import annotations

from typing import Any

from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    ThrottledError,
    UnsupportedOperationError,
    ValidationError,
    show_key,
)

PROVIDER = "vault"

TABLE: dict[str, type[StrongroomError]] = {
    "InvalidRequest": ValidationError,
    "Unauthorized": AuthenticationError,
    "Forbidden": PermissionDeniedError,
    "InvalidPath": SecretNotFoundError,
    "UnsupportedOperation": UnsupportedOperationError,
    "PreconditionFailed": BackendUnavailableError,  # 412: this standby has not caught up yet
    "RateLimitExceeded": ThrottledError,
    "InternalServerError": BackendUnavailableError,
    "VaultNotInitialized": BackendUnavailableError,
    "VaultDown": BackendUnavailableError,
    "UnexpectedError": BackendUnavailableError,
    "BadGateway": BackendUnavailableError,
    "ParamValidationError": ConfigurationError,
    "VaultError": StrongroomError,
}
"""hvac's exception classes, by name, so that nothing of the SDK is imported here."""

_HINTS: dict[type[StrongroomError], str] = {
    AuthenticationError: "log in anew: give a valid token, or `auth` so that it is renewed",
    PermissionDeniedError: "the token's policies lack this path; the docs page of vault has one to paste",
    BackendUnavailableError: "see `vault status` / `bao status`: sealed, standby, or not reachable from here",
    ThrottledError: "ask again later, or raise the quota",
}


# With 400, where a mount of version 2 was made, or version 1 was turned into it, moments ago.
_UPGRADING = "from non-versioned to versioned data"
_STATES = {"is sealed": "the server is sealed", _UPGRADING: "the KV engine is being upgraded; ask again"}


def translate(error: Exception, what: str, key: str | None = None) -> StrongroomError:
    """Return our error for one of hvac's; the message has its class and never a value."""
    said = _said(error)
    kind = TABLE.get(type(error).__name__, BackendUnavailableError)
    about = f" {show_key(key)}" if key is not None else ""
    message = f"vault: {what}{about}: {type(error).__name__}"
    more: dict[str, Any] = {"key": key, "provider": PROVIDER, "hint": _HINTS.get(kind)}
    if "no handler for route" in said or "namespace not found" in said:
        more["hint"] = "check mount_point and namespace: the server has nothing there"
        return ConfigurationError(f"vault: {what}{about}: no such mount or namespace", **more)
    state = next((state for words, state in _STATES.items() if words in said.lower()), None)
    if state is not None:
        more["hint"] = _HINTS[BackendUnavailableError]
        return BackendUnavailableError(f"vault: {what}{about}: {state}", **more)
    if key is not None and kind is SecretNotFoundError:
        return SecretNotFoundError(key, provider=PROVIDER)
    if kind is SecretNotFoundError:
        return ConfigurationError(f"{message}: no such path", **more)
    if "too large" in said or "exceeds" in said or "request body too large" in said:
        return SecretTooLargeError(key or "", provider=PROVIDER)
    return kind(message, **more)


def unavailable(what: str, kind: str, key: str | None = None) -> BackendUnavailableError:
    """Return the error for a request that got no whole answer."""
    about = f" {show_key(key)}" if key is not None else ""
    return BackendUnavailableError(
        f"vault: {what}{about}: no answer ({kind})",
        key=key,
        provider=PROVIDER,
        hint="check the address, the network, the certificate and that the server runs",
    )


def part(answer: Any, *path: str, kind: type[Any] = dict) -> Any:
    """Return what stands at `path` in a reply.

    Raises:
        BackendUnavailableError: Nothing of this kind stands there: no Vault server has answered.
    """
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(answer, kind):
        raise BackendUnavailableError(
            "vault: what answers is no Vault server",
            provider=PROVIDER,
            hint="check the address: it may be that of a proxy or a portal",
        )
    return answer


def says_denied(error: StrongroomError) -> bool:
    """Tell whether the server itself says that the token is good and lacks a permission."""
    said = _said(getattr(error, "raw", None))
    # To a token that is none it says no more than `permission denied`; Vault adds `invalid token`.
    return "occurred" in said and "invalid token" not in said


def says_upgrading(error: StrongroomError) -> bool:
    """Tell whether the server is about to have the KV engine ready, and has done nothing."""
    return _UPGRADING in _said(getattr(error, "raw", None))


def _said(error: Any) -> str:
    texts = [str(text) for text in getattr(error, "errors", None) or ()]
    health = getattr(error, "json", None)
    # `sys/health` says it by a member.
    if isinstance(health, dict) and health.get("sealed") is True:
        texts.append("is sealed")
    return " ".join(texts)
