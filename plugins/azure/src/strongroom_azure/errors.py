"""The SDK's errors as strongroom's: one table from class to class, one from status to class.

Classes are listed by name, so nothing of the SDK is loaded for this. A test walks the exception classes of
azure-core and azure-identity and fails where one is not in `TABLE`.
"""

from __future__ import annotations

import re
from typing import Any

from strongroom.clients import (
    is_permanent,
    parse_retry_after,
    redact_message,
    redacted_copy,
    service_error,
)
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
)

TABLE: dict[str, type[StrongroomError]] = {
    # azure.core.exceptions
    "AzureError": BackendUnavailableError,
    "ServiceRequestError": BackendUnavailableError,
    "ServiceRequestTimeoutError": BackendUnavailableError,
    "ServiceResponseError": BackendUnavailableError,
    "ServiceResponseTimeoutError": BackendUnavailableError,
    "HttpResponseError": BackendUnavailableError,
    "DecodeError": BackendUnavailableError,
    "IncompleteReadError": BackendUnavailableError,
    "ResourceExistsError": ConflictError,
    "ResourceNotFoundError": SecretNotFoundError,
    "ClientAuthenticationError": AuthenticationError,
    "ResourceModifiedError": ConflictError,
    "ResourceNotModifiedError": ConfigurationError,
    "TooManyRedirectsError": ConfigurationError,
    "ODataV4Error": BackendUnavailableError,
    "StreamConsumedError": BackendUnavailableError,
    "StreamClosedError": BackendUnavailableError,
    "ResponseNotReadError": BackendUnavailableError,
    "SerializationError": ConfigurationError,
    "DeserializationError": BackendUnavailableError,
    # azure.core.polling
    "BadStatus": BackendUnavailableError,
    "BadResponse": BackendUnavailableError,
    "OperationFailed": BackendUnavailableError,
    # azure.identity
    "CredentialUnavailableError": AuthenticationError,
    "AuthenticationRequiredError": AuthenticationError,
    # what is below both, if they pass it on unchanged
    "RequestException": BackendUnavailableError,
    "ConnectionError": BackendUnavailableError,
    "TimeoutError": BackendUnavailableError,
    "gaierror": BackendUnavailableError,
    "OSError": ConfigurationError,  # a file that an option names: a CA's, a certificate's, a token's
    "JSONDecodeError": BackendUnavailableError,
    "RecursionError": BackendUnavailableError,  # JSON that is nested too deeply
    "AttributeError": BackendUnavailableError,  # JSON of another shape
    "ValueError": ConfigurationError,  # what the SDK and azure-identity refuse before any request
    "TypeError": ConfigurationError,  # a credential or client option that does not fit the SDK
    "NotImplementedError": ConfigurationError,  # an api_version that the SDK does not know
    "DeadlineExceededError": BackendUnavailableError,
}
"""The errors that a call can raise, and strongroom's for each; a subclass counts as its nearest base."""

STATUSES: dict[int, type[StrongroomError]] = {
    400: ConfigurationError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: SecretNotFoundError,
    405: ConfigurationError,
    408: BackendUnavailableError,
    409: ConflictError,
    412: ConflictError,
    413: ConfigurationError,
    429: ThrottledError,
}
"""Ours for each status of an answer; 5xx is unavailable, every other one is configuration."""


class BusyError(BackendUnavailableError):
    """The name is being deleted, purged or recovered, or waits for one of these: status 409.

    Attributes:
        deleted: Whether the service said that it may be recovered; None where it said nothing precise.
    """

    deleted: bool | None = None


_DELETED = "ObjectIsDeletedButRecoverable"
_BUSY = frozenset({"ObjectIsBeingDeleted", "ObjectIsBeingRecovered", "ObjectIsBeingPurged"})
_DENIALS = frozenset(
    {
        "AccessDenied",
        "ForbiddenByPolicy",
        "ForbiddenByRbac",
        "ForbiddenByFirewall",
        "ForbiddenByConnection",
        "ForbiddenByNsp",
    }
)
_DISABLED = re.compile(r"\bdisabled secret\b|\bsecret\b[^.]*\bis disabled\b", re.IGNORECASE)
_PURGE_PROTECTION = re.compile(r"purge protection", re.IGNORECASE)
_QUOTED = re.compile(r"(JSON|XML) is invalid: .*", re.DOTALL)
"""Behind this text, the error of a login quotes an answer that azure-core could not read."""
_CLOSED = re.compile(r"already been closed|No session available", re.IGNORECASE)
_NO_ANSWER = frozenset(
    {
        *("DecodeError", "JSONDecodeError", "DeserializationError", "IncompleteReadError"),
        *("AttributeError", "RecursionError"),
    }
)
_REDIRECTION, _DENIED, _CONFLICT, _SERVER_ERROR = 300, 403, 409, 500
_TROUBLE = frozenset({408, 429, *range(500, 600)})

_HINTS: dict[type[StrongroomError], str] = {
    PermissionDeniedError: "grant 'Key Vault Secrets Officer' (to read only: 'Key Vault Secrets User') on "
    "the vault, or the permission in its access policy; the docs page of azure has the commands",
    AuthenticationError: "run 'az login', give the option credential, "
    "or check the identity and this machine's clock",
    BackendUnavailableError: "check vault_url, the network and the proxy, or raise timeout",
    ThrottledError: "ask less often, cache, or spread the secrets over more vaults",
    ConfigurationError: "check vault_url and the other options",
}


def translate(
    error: Exception, *, doing: str, key: str | None = None, hidden: str | None = None
) -> StrongroomError:
    """Return strongroom's error for `error`; its cause is a copy that holds neither value nor token.

    Args:
        error: The error of a call.
        doing: The operation, for the message.
        key: The key it was about.
        hidden: A value that was sent and must not appear in any text.
    """
    kind = kind_of(error)
    if kind is SecretNotFoundError and key is None:
        kind = ConfigurationError  # what a list does not find is not a secret
    reason = message_of(error, hidden)
    ours = service_error(
        kind,
        reason,
        provider="azure",
        doing=doing,
        key=key,
        hint=_hint(error, kind),
        retry_after=retry_after(error) if kind is ThrottledError else None,
        cause=redacted_copy(error, reason),
    )
    if isinstance(ours, BusyError):
        code = inner_code(error)
        ours.deleted = True if code == _DELETED else False if code in _BUSY else None
    return ours


def kind_of(error: Exception) -> type[StrongroomError]:
    """Return the class of strongroom's error for `error`."""
    kind = next(
        (TABLE[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in TABLE), StrongroomError
    )
    status = status_of(error)
    if status is None:
        # Another thread has closed the client; every other ValueError is about an option.
        return BackendUnavailableError if isinstance(error, ValueError) and _is_closed(error) else kind
    if kind is AuthenticationError and status not in _TROUBLE:
        return kind  # of the login: the token endpoint's 400 is not a wrong option
    # A success that the client does not understand is not an answer of Key Vault's.
    return _kind_of_answer(error, status) if status >= _REDIRECTION else kind


def _kind_of_answer(error: Exception, status: int) -> type[StrongroomError]:
    if status >= _SERVER_ERROR:
        return BackendUnavailableError
    if status == _CONFLICT and inner_code(error) in _BUSY | {_DELETED, None}:
        return BusyError
    kind = STATUSES.get(status, ConfigurationError)
    if kind is SecretNotFoundError and _detail_of(error) is None:
        return ConfigurationError  # the 404 of something else at that address
    if kind is PermissionDeniedError and _PURGE_PROTECTION.search(message_of(error)):
        return ConfigurationError
    return kind


def status_of(error: Exception) -> int | None:
    """Return the status of the answer behind `error`; None if there was no answer."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def inner_code(error: Exception) -> str | None:
    """Return the service's own code for the cause, such as `SecretDisabled`."""
    inner = getattr(_detail_of(error), "innererror", None)
    code = inner.get("code") if isinstance(inner, dict) else None
    return code if isinstance(code, str) else None


def is_disabled(error: Exception) -> bool:
    """Return whether `error` says that the secret is disabled, which comes as 403 like a denial."""
    return status_of(error) == _DENIED and (
        inner_code(error) == "SecretDisabled" or bool(_DISABLED.search(message_of(error)))
    )


def may_be_disabled(error: Exception) -> bool:
    """Return whether `error` is a 403 without a precise reason."""
    return status_of(error) == _DENIED and inner_code(error) not in _DENIALS


def is_silence(error: Exception) -> bool:
    """Return whether no answer came before the deadline."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return not names.isdisjoint({"DeadlineExceededError", "ServiceResponseTimeoutError"})


def was_not_sent(error: Exception) -> bool:
    """Return whether the request certainly never reached the service."""
    return any(cls.__name__ == "ServiceRequestError" for cls in type(error).__mro__)


def message_of(error: Exception, hidden: str | None = None) -> str:
    """Return the message of `error` in one line, without request and response, shortened.

    It is left out as a whole if `hidden` is in it.
    """
    name = type(error).__name__
    detail = _detail_of(error)
    if name == "DeadlineExceededError":
        return "no answer before the deadline"
    if detail is not None:
        reason = f"{inner_code(error) or detail.code}: {detail.message}"
    elif (status := status_of(error)) is not None:
        reason = f"HTTP {status}, and not in the form of Key Vault's answers"
    elif name in _NO_ANSWER:
        return "the answer is not Key Vault's"  # these errors' texts hold pieces of it
    else:
        reason = without_answer(f"{name}: {getattr(error, 'message', None) or error}")
    return redact_message(reason, hidden)


def without_answer(text: str) -> str:
    """Return the message of azure-identity, without an unreadable answer of the login server."""
    return _QUOTED.sub("the answer is not the login's", text)


def retry_after(error: Exception) -> float | None:
    """Return the seconds that the service asked to wait, from `Retry-After`: a number or a date."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    return parse_retry_after(headers.get("Retry-After")) if headers is not None else None


def _detail_of(error: Exception) -> Any:
    """Return the member `error` of an answer of Key Vault; None if there is none."""
    detail = getattr(error, "error", None)
    return detail if getattr(detail, "code", None) else None


def _is_closed(error: Exception) -> bool:
    return bool(_CLOSED.search(str(error)))


def _hint(error: Exception, kind: type[StrongroomError]) -> str | None:
    reason = message_of(error)
    if kind is PermissionDeniedError and inner_code(error) in (
        "ForbiddenByFirewall",
        "ForbiddenByConnection",
        "ForbiddenByNsp",
    ):
        return "the vault's network rules refuse this machine: add its address, or use the private endpoint"
    if kind is ConfigurationError and _PURGE_PROTECTION.search(reason):
        return "the secret is deleted, recoverable until its retention ends; leave out purge"
    if "challenge resource" in reason:
        return (
            "check vault_url; only for an emulator set client_options to {verify_challenge_resource: false}"
        )
    if kind is BackendUnavailableError and is_permanent(str(error)):
        return "check vault_url, the network's name service, and client_options' connection_verify (the CA)"
    return _HINTS.get(kind)
