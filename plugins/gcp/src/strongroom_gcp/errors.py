"""Google's errors as strongroom's: one table, from class to class, and further details of statuses.

A test walks the SDK's exception classes and fails where one is not in `TABLE`.
"""

from __future__ import annotations

import json.decoder
import re
import traceback
from typing import Any

import grpc  # type: ignore[import-untyped]  # ships no types
from google.api_core import exceptions as core
from google.auth import exceptions as auth
from google.protobuf import json_format  # type: ignore[import-untyped]  # ships no types
from requests import exceptions as http
from strongroom.clients import parse_retry_after, redact_message, redacted_copy, service_error
from strongroom.deadlines import DeadlineExceededError
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    NotFoundReason,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
)

TABLE: dict[type[Exception], type[StrongroomError]] = {
    # google.api_core: what the service, or its client, answers
    core.GoogleAPIError: BackendUnavailableError,
    core.GoogleAPICallError: BackendUnavailableError,
    core.RetryError: BackendUnavailableError,
    core.DuplicateCredentialArgs: ConfigurationError,
    core.AsyncRestUnsupportedParameterError: ConfigurationError,
    core.Redirection: ConfigurationError,
    core.MovedPermanently: ConfigurationError,
    core.NotModified: ConfigurationError,
    core.TemporaryRedirect: ConfigurationError,
    core.ResumeIncomplete: ConfigurationError,
    core.ClientError: ConfigurationError,
    core.BadRequest: ConfigurationError,
    core.InvalidArgument: ConfigurationError,
    core.FailedPrecondition: ConfigurationError,
    core.OutOfRange: ConfigurationError,
    core.Unauthorized: AuthenticationError,
    core.Unauthenticated: AuthenticationError,
    core.Forbidden: PermissionDeniedError,
    core.PermissionDenied: PermissionDeniedError,
    core.NotFound: SecretNotFoundError,
    core.MethodNotAllowed: ConfigurationError,
    core.Conflict: ConflictError,
    core.AlreadyExists: ConflictError,
    core.Aborted: ConflictError,
    core.PreconditionFailed: ConflictError,
    core.LengthRequired: ConfigurationError,
    core.RequestRangeNotSatisfiable: ConfigurationError,
    core.TooManyRequests: ThrottledError,
    core.ResourceExhausted: ThrottledError,
    core.Cancelled: BackendUnavailableError,
    core.ServerError: BackendUnavailableError,
    core.InternalServerError: BackendUnavailableError,
    core.Unknown: BackendUnavailableError,
    core.DataLoss: BackendUnavailableError,
    core.MethodNotImplemented: ConfigurationError,
    core.BadGateway: BackendUnavailableError,
    core.ServiceUnavailable: BackendUnavailableError,
    core.GatewayTimeout: BackendUnavailableError,
    core.DeadlineExceeded: BackendUnavailableError,
    # google.auth: what is between us and a login
    auth.GoogleAuthError: AuthenticationError,
    auth.TransportError: BackendUnavailableError,
    auth.TimeoutError: BackendUnavailableError,
    auth.ResponseError: BackendUnavailableError,
    auth.RefreshError: AuthenticationError,
    auth.ReauthFailError: AuthenticationError,
    auth.ReauthSamlChallengeFailError: AuthenticationError,
    auth.UserAccessTokenError: AuthenticationError,
    auth.OAuthError: AuthenticationError,
    auth.DefaultCredentialsError: AuthenticationError,
    auth.MalformedError: ConfigurationError,
    auth.InvalidResource: ConfigurationError,
    auth.InvalidOperation: AuthenticationError,  # a login was refused and is of a kind that cannot be renewed
    auth.InvalidValue: ConfigurationError,
    auth.InvalidType: ConfigurationError,
    auth.OSError: ConfigurationError,
    auth.MutualTLSChannelError: ConfigurationError,
    auth.ClientCertError: ConfigurationError,
    # requests, below the REST transport, which passes its errors on as they are
    http.RequestException: BackendUnavailableError,
    http.InvalidJSONError: BackendUnavailableError,
    http.JSONDecodeError: BackendUnavailableError,
    http.HTTPError: BackendUnavailableError,
    http.ConnectionError: BackendUnavailableError,
    http.ProxyError: BackendUnavailableError,
    http.SSLError: BackendUnavailableError,
    http.Timeout: BackendUnavailableError,
    http.ConnectTimeout: BackendUnavailableError,
    http.ReadTimeout: BackendUnavailableError,
    http.TooManyRedirects: ConfigurationError,
    http.URLRequired: ConfigurationError,
    http.MissingSchema: ConfigurationError,
    http.InvalidSchema: ConfigurationError,
    http.InvalidURL: ConfigurationError,
    http.InvalidHeader: ConfigurationError,
    http.InvalidProxyURL: ConfigurationError,
    http.ChunkedEncodingError: BackendUnavailableError,
    http.ContentDecodingError: BackendUnavailableError,
    http.StreamConsumedError: BackendUnavailableError,
    http.RetryError: BackendUnavailableError,
    http.UnrewindableBodyError: BackendUnavailableError,
    # below both
    grpc.RpcError: BackendUnavailableError,
    json_format.Error: BackendUnavailableError,
    json.decoder.JSONDecodeError: BackendUnavailableError,
    RecursionError: BackendUnavailableError,  # JSON that is nested too deeply
    AttributeError: BackendUnavailableError,  # the REST transport's, where an error's JSON has another shape
    ValueError: BackendUnavailableError,  # gRPC's, where another thread has closed the channel
    DeadlineExceededError: BackendUnavailableError,
}
"""The errors that a call can raise, and strongroom's for each; a subclass counts as its nearest base."""
# google-resumable-media's errors moved into api_core of late; no call of ours uploads anything resumable.
TABLE |= {
    found: BackendUnavailableError
    for name in (
        "ResumableTransferError",
        "TransferStalledError",
        "UnseekableStreamError",
        "UploadCancelledError",
        "MissingStatusHeaderError",
    )
    if isinstance(found := getattr(core, name, None), type)
}

# Reasons of google.rpc.ErrorInfo, https://cloud.google.com/apis/design/errors; all come as PERMISSION_DENIED.
_PROJECT_REASONS = frozenset(
    {
        "SERVICE_DISABLED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "BILLING_DISABLED",
        "RESOURCE_PROJECT_INVALID",
        "PROJECT_INVALID",
    }
)
_NO_PROJECT = re.compile(
    r"permission denied on resource project|has not been used in project"
    r"|\bproject\b.*(not found|not exist|deleted|is invalid)",
    re.IGNORECASE | re.DOTALL,
)
_RESOURCE = re.compile(r"\bprojects/[^\s\]'\"]+")
"""The whole name of a project, secret or version, in which the word `project` says nothing."""
_STATE = re.compile(r"\] is in (DISABLED|DESTROYED) state", re.IGNORECASE)
_PLUGIN_FAILED = "Getting metadata from plugin failed"
_NETWORK_TROUBLE = re.compile(
    r"Max retries|timed out|Failed to (establish|retrieve)|Connection|unavailable", re.IGNORECASE
)
_NO_ANSWER = (
    *(json_format.Error, json.decoder.JSONDecodeError, http.JSONDecodeError),
    *(AttributeError, RecursionError),
)
_NO_CONNECTION = "failed to connect to all addresses"
_EXPECTED = (
    auth.GoogleAuthError,
    core.GoogleAPIError,
    http.RequestException,
    grpc.RpcError,
    DeadlineExceededError,
)
"""What a login raises on purpose, and what is not about a login."""
_PRINTED_TOKEN = re.compile(r"id_token|saml_response")

_HINTS: dict[type[StrongroomError], str] = {
    PermissionDeniedError: "grant the permission on the secret or the project; "
    "Google gives the same answer if a secret does not exist and the caller may not know that",
    AuthenticationError: "run 'gcloud auth application-default login', set GOOGLE_APPLICATION_CREDENTIALS, "
    "or check the service account and this machine's clock",
    ThrottledError: "ask less often, cache, or raise the project's quota",
}
_OPTIONS_HINT = "check project_id and the other options, and that the project has Secret Manager and billing"


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
        kind = ConfigurationError  # what a list or a project does not find is not a secret
    reason = message_of(error, hidden)
    return service_error(
        kind,
        reason,
        provider="gcp",
        doing=doing,
        key=key,
        hint=_OPTIONS_HINT if kind is ConfigurationError else _HINTS.get(kind),
        retry_after=retry_after(error) if kind is ThrottledError else None,
        cause=redacted_copy(error, reason),
    )


def kind_of(error: Exception) -> type[StrongroomError]:
    """Return the class of strongroom's error for `error`."""
    by_class = next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), StrongroomError)
    kind = AuthenticationError if _is_of_login(error) else by_class
    if _is_cut_short(error):
        return BackendUnavailableError
    reason = message_of(error)
    no_project = _NO_PROJECT.search(_RESOURCE.sub("", reason))
    if kind is PermissionDeniedError and (_reason(error) in _PROJECT_REASONS or no_project):
        return ConfigurationError
    if kind is SecretNotFoundError and (not _from_service(error) or no_project):
        return ConfigurationError
    if kind is AuthenticationError and getattr(error, "retryable", False):
        return BackendUnavailableError
    # gRPC reports a login that failed as UNAVAILABLE, and tells only in words that it was the login.
    if _PLUGIN_FAILED in reason and not _NETWORK_TROUBLE.search(reason.partition(_PLUGIN_FAILED)[2]):
        return AuthenticationError
    return kind


def unreadable_state(error: Exception) -> NotFoundReason | None:
    """Return why a version cannot be read, if the text of `error` says so; else None."""
    found = _STATE.search(message_of(error)) if isinstance(error, core.BadRequest) else None
    if not found:
        return None
    return "destroyed" if found[1].upper() == "DESTROYED" else "disabled"


def may_be_state(error: Exception) -> bool:
    """Return whether `error` is a FAILED_PRECONDITION, over either transport."""
    if isinstance(error, core.FailedPrecondition):
        return True
    # REST has one class for all of status 400.
    return type(error) is core.BadRequest and _answer(error).get("status", "") in ("", "FAILED_PRECONDITION")


def message_of(error: Exception, hidden: str | None = None) -> str:
    """Return the message of `error`, without request and response, shortened.

    It is left out as a whole if `hidden` is in it.
    """
    if isinstance(error, DeadlineExceededError):
        return "no answer before the deadline"
    if _is_of_login(error):
        text = (
            f" ({error})" if isinstance(error, OSError) else ""
        )  # other texts may hold what a program printed
        return (
            f"the login failed with {type(error).__name__}{text}; if a program prints its token, "
            "it must print JSON to stdout, and nothing else, not even to stderr"
        )
    if isinstance(error, _NO_ANSWER):
        return "the answer is not Secret Manager's"  # these errors' texts hold pieces of it
    if isinstance(error, core.GoogleAPICallError):
        reason = str(_answer(error).get("message") or error.message)
        status = getattr(error, "grpc_status_code", None)
        name = _answer(error).get("status") or (status.name if status is not None else error.code)
        reason = f"{name}: {reason}" if name else reason
    else:
        reason = f"{type(error).__name__}: {error}"
    # google-auth puts all that a program printed into the error, and gRPC puts that into its own.
    of_login = isinstance(error, auth.RefreshError) or _PLUGIN_FAILED in reason
    if of_login and _PRINTED_TOKEN.search(reason):
        return f"{type(error).__name__}: {_PLUGIN_FAILED} (its message holds a token and is left out)"
    return redact_message(reason, hidden)


def is_silence(error: Exception) -> bool:
    """Return whether no answer came before the deadline."""
    return isinstance(error, (DeadlineExceededError, http.ReadTimeout))


def was_not_sent(error: Exception) -> bool:
    """Return whether the request certainly never reached the service."""
    if isinstance(error, http.ConnectTimeout):
        return True
    # gRPC's words for a channel on which no connection came to be; over REST they do not tell.
    return isinstance(error, core.ServiceUnavailable) and error.message.startswith(_NO_CONNECTION)


def retry_after(error: Exception) -> float | None:
    """Return the seconds that the service asked to wait: `RetryInfo`, or the header `Retry-After`."""
    for detail in getattr(error, "details", None) or ():
        delay = getattr(detail, "retry_delay", None)
        if delay is not None:
            return float(delay.seconds + delay.nanos / 1e9)
        if isinstance(detail, dict) and "retryDelay" in detail:
            return parse_retry_after(str(detail["retryDelay"]).removesuffix("s"))
    headers = getattr(getattr(error, "response", None), "headers", None)
    return parse_retry_after(headers.get("Retry-After")) if headers is not None else None


def _answer(error: Exception) -> dict[str, Any]:
    """Return the member `error` of a REST answer; empty if there is none."""
    response = getattr(error, "response", None)
    if response is None or not hasattr(response, "json"):
        return {}
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return {}
    answer = answer[0] if isinstance(answer, list) and answer else answer
    found = answer.get("error") if isinstance(answer, dict) else None
    return found if isinstance(found, dict) else {}


def _from_service(error: Exception) -> bool:
    """Return whether a 404 comes from Secret Manager, and not from another server at its address."""
    response = getattr(error, "response", None)
    return response is None or not hasattr(response, "json") or bool(_answer(error))


def _is_of_login(error: Exception) -> bool:
    """Return whether `error` is one of Python's that google-auth did not expect while it logged in.

    An example is a program that prints a warning besides the token: google-auth reads both as one JSON.
    """
    if isinstance(error, _EXPECTED):
        return False
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(
        name.startswith(("google.auth.", "google.oauth2.")) and not name.startswith("google.auth.transport.")
        for name in modules
    )


def _is_cut_short(error: Exception) -> bool:
    """Return whether a REST answer ended within its head: its status alone says nothing."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    header_names = {name.lower() for name in headers or ()}
    return headers is not None and not header_names & {"content-length", "transfer-encoding"}


def _reason(error: Exception) -> str | None:
    for detail in getattr(error, "details", None) or ():
        found = detail.get("reason") if isinstance(detail, dict) else getattr(detail, "reason", None)
        if isinstance(found, str):
            return found
    return None
