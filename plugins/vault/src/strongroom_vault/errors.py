"""The table from answers of the server to strongroom's errors, and the reasons that the server gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

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

if TYPE_CHECKING:
    from strongroom_vault.wire import Reply

PROVIDER = "vault"

TABLE: dict[int, type[StrongroomError]] = {
    400: ValidationError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: SecretNotFoundError,
    405: UnsupportedOperationError,
    413: SecretTooLargeError,
    429: ThrottledError,
}
"""Errors by the status of the answer; any other one is `BackendUnavailableError`.

Source: https://developer.hashicorp.com/vault/api-docs, HTTP status codes.
"""

_HINTS: dict[type[StrongroomError], str] = {
    AuthenticationError: "log in again: give a valid token, or `auth` so that it is renewed",
    PermissionDeniedError: "the token's policies lack this path; docs/how-to/backends/vault.md has one",
    BackendUnavailableError: "see `vault status` / `bao status`: sealed, standby, or not reachable from here",
    ThrottledError: "ask again later, or raise the quota",
}
_FAILING, _NOT_FOUND = 500, 404
_FAILING_HINT = (
    "the server's log says why; where all requests fail, it may not be able to write its audit log"
)
_NO_SERVER_HINT = "check the address: it may be that of a proxy or a portal"


# With 400, where a mount of version 2 was made, or version 1 was turned into it, moments ago.
_UPGRADING = "from non-versioned to versioned data"
_STATES = {
    "is sealed": "the server is sealed",
    "active cluster node not found": "the cluster has no leader at the moment; ask again",
    _UPGRADING: "the KV engine is being upgraded; ask again",
}
_LOCKED_NAMESPACE = "namespace has been locked"
_TOO_LARGE = ("too large", "exceeds", "exceeded maximum", "high complexity")
_SENDS_VALUES = ("write", "encrypt", "decrypt", "rewrap")
"""The beginnings of what is done with a value; other requests have other limits, such as a longest life."""
_OTHER_VERSION = "for a versioned k/v"

_SHOWN_CHARACTERS = 200
_WINDOW = 8


def address_of(url: str) -> str:
    """Return scheme, host and port of `url`, the parts that may be shown."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "an address that cannot be read"
    host = parts.hostname or ""
    if not parts.scheme or not host:
        return show_key(url.rpartition("@")[2])
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def translate(  # noqa: PLR0911  # a table of cases
    reply: Reply,
    what: str,
    key: str | None = None,
    *,
    where: str = "",
    hidden: Iterable[str] = (),
) -> StrongroomError:
    """Return strongroom's error for an answer; the message has the server's reason, and none of `hidden`."""
    server_words = said_by(reply)
    kind = TABLE.get(reply.status, BackendUnavailableError)
    about = f" {show_key(key)}" if key is not None else ""
    more: dict[str, Any] = {"key": key, "provider": PROVIDER, "hint": _HINTS.get(kind)}
    if reply.status == _FAILING and is_vaults(reply):
        more["hint"] = _FAILING_HINT
    reason = shown(server_words, hidden)
    message = f"vault: {what}{about}{where}: status {reply.status}{f': {reason}' if reason else ''}"
    if "no handler for route" in server_words or "namespace not found" in server_words:
        more["hint"] = "check mount_point and namespace: the server has nothing there"
        return ConfigurationError(f"vault: {what}{about}{where}: no such mount or namespace", **more)
    if _LOCKED_NAMESPACE in server_words:
        more["hint"] = "an administrator locked the namespace; `bao namespace unlock` opens it"
        return BackendUnavailableError(message, **more)
    state = next((state for words, state in _STATES.items() if words in server_words.lower()), None)
    if state is not None:
        more["hint"] = _HINTS[BackendUnavailableError]
        return BackendUnavailableError(f"vault: {what}{about}{where}: {state}", **more)
    is_large = what.startswith(_SENDS_VALUES) and any(words in server_words for words in _TOO_LARGE)
    if kind is SecretTooLargeError or is_large:
        return SecretTooLargeError(key or "", provider=PROVIDER, hint=reason or None)
    if not is_vaults(reply) and kind in {
        PermissionDeniedError, SecretNotFoundError, ValidationError, AuthenticationError
    }:  # fmt: skip
        # A proxy has refused or found nothing, which says nothing about the secret or the token.
        more["hint"] = _NO_SERVER_HINT
        return BackendUnavailableError(
            f"vault: {what}{about}{where}: what answers is not a Vault server (status {reply.status})",
            **more,
        )
    if "unsupported path" in server_words:
        more["hint"] = "check mount_point: an engine of another kind is mounted there"
        return ConfigurationError(f"vault: {what}{about}{where}: the mount is not a KV engine", **more)
    if kind is SecretNotFoundError:
        if key is not None:
            return SecretNotFoundError(key, provider=PROVIDER)
        return ConfigurationError(f"{message}: no such path", **more)
    return kind(message, **more)


def unavailable(
    what: str, error: Exception, key: str | None = None, where: str = ""
) -> BackendUnavailableError:
    """Return the error for a request that got no whole answer."""
    about = f" {show_key(key)}" if key is not None else ""
    return BackendUnavailableError(
        f"vault: {what}{about}{where}: no answer ({_cause(error)})",
        key=key,
        provider=PROVIDER,
        hint="check the address, the network, the certificate and that the server runs",
    )


def _cause(error: Exception) -> str:
    """Return the reason, in the words of the system or OpenSSL if there are any."""
    if not isinstance(error, OSError):
        return str(error)
    if isinstance(error, TimeoutError) and not error.errno:
        return "TimeoutError: not before the deadline"
    # `[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: … (_ssl.c:1006)`
    words = re.sub(r"\s*\(_ssl\.c:\d+\)|^\[[^\]]*\] ", "", error.strerror or "").lower()
    return f"{type(error).__name__}: {words[:_SHOWN_CHARACTERS]}" if words else type(error).__name__


class Answer(dict[str, Any]):
    """A reply's JSON object, and where it came from (for errors)."""

    where: str = ""


def no_server(where: str = "") -> BackendUnavailableError:
    """Return the error for an answer that does not come from a Vault server."""
    return BackendUnavailableError(
        f"vault: what answers{where} is not a Vault server", provider=PROVIDER, hint=_NO_SERVER_HINT
    )


def part(answer: Any, *path: str, kind: type[Any] = dict) -> Any:
    """Return the member at `path` of a reply.

    Raises:
        BackendUnavailableError: There is no such member, so no Vault server has answered.
    """
    where = getattr(answer, "where", "")
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(answer, kind):
        raise no_server(where)
    return answer


def texts(answer: Any, *path: str) -> list[str]:
    """Return the list of texts at `path` of a reply.

    Raises:
        BackendUnavailableError: There is no such list, so no Vault server has answered.
    """
    found: list[Any] = part(answer, *path, kind=list)
    if not all(isinstance(one, str) for one in found):
        raise no_server(getattr(answer, "where", ""))
    return found


def says_denied(error: StrongroomError) -> bool:
    """Return whether the server itself says that the token is good and lacks a permission."""
    said = said_by(getattr(error, "raw", None))
    # For an invalid token it says only `permission denied`; Vault adds `invalid token`.
    return ("occurred" in said or "preflight capability check" in said) and "invalid token" not in said


def says_upgrading(error: StrongroomError) -> bool:
    """Return whether the server is still preparing the KV engine, and has done nothing."""
    return _UPGRADING in said_by(getattr(error, "raw", None))


def says_empty(error: StrongroomError) -> bool:
    """Return whether the server says nothing but 404, as of the list of a folder that is not there."""
    reply: Reply | None = getattr(error, "raw", None)
    return reply is not None and reply.status == _NOT_FOUND and not said_by(reply)


def says_other_version(error: StrongroomError) -> bool:
    """Return whether the server says that the mount is of KV version 2, asked as version 1."""
    warnings = body_of(getattr(error, "raw", None)).get("warnings")
    return isinstance(warnings, list) and any(_OTHER_VERSION in str(text).lower() for text in warnings)


def body_of(reply: Reply | None) -> dict[str, Any]:
    """Return the JSON object of an answer; empty if it has none, or there is no answer."""
    try:
        found = json.loads(reply.body) if reply is not None else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def is_vaults(reply: Reply) -> bool:
    """Return whether a failed answer has the form of Vault's."""
    return not body_of(reply).keys().isdisjoint({"errors", "data"})


def said_by(reply: Reply | None) -> str:
    """Return the reasons that the server gives, in one line.

    If one item of a transit batch fails, the reasons are in the items, and there is no `errors`.
    """
    body = body_of(reply)
    given = body.get("errors") or ()
    texts = [str(text) for text in given] if isinstance(given, list) else []
    data = body.get("data")
    items = data.get("batch_results") if isinstance(data, dict) else None
    if isinstance(items, list):
        refused = [item for item in items if isinstance(item, dict) and item.get("error")]
        texts += dict.fromkeys(str(item["error"]) for item in refused)  # each reason once, in their order
    # `sys/health` says it by a member.
    if body.get("sealed") is True:
        texts.append("is sealed")
    return " ".join(" ".join(texts).split())


def shown(message: str, hidden: Iterable[str]) -> str:
    """Return the reason of the server for a message; nothing if it repeats a part of what was sent."""
    message = re.sub(r"^1 error occurred: \* ", "", "".join(c for c in message if c.isprintable()))
    for text in filter(None, hidden if message else ()):
        if len(text) < _WINDOW:
            repeated = re.search(rf"(?<!\w){re.escape(text)}(?!\w)", message) is not None
        else:
            size = min(_WINDOW, len(message))
            repeated = any(message[at : at + size] in text for at in range(len(message) - size + 1))
        if repeated:
            return ""
    return message if len(message) <= _SHOWN_CHARACTERS else f"{message[:_SHOWN_CHARACTERS]}…"
