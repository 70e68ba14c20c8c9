"""botocore's errors, and the services' error codes, as strongroom's."""

from __future__ import annotations

import json
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from strongroom.deadlines import OutOfTimeError
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    ThrottledError,
    show_key,
)

from strongroom_aws.connection import CutShortError

__all__ = ["CODES", "TABLE", "code_of", "is_deleted", "kind_of", "translate"]

TABLE: dict[type[Exception], type[StrongroomError]] = {
    boto.BotoCoreError: ConfigurationError,
    boto.ClientError: StrongroomError,  # told apart by its code
    boto.HTTPClientError: BackendUnavailableError,
    boto.ConnectionError: BackendUnavailableError,
    boto.NoCredentialsError: AuthenticationError,
    boto.PartialCredentialsError: AuthenticationError,
    boto.CredentialRetrievalError: AuthenticationError,
    boto.NoAuthTokenError: AuthenticationError,
    boto.TokenRetrievalError: AuthenticationError,
    boto.SSOError: AuthenticationError,
    boto.SSOTokenLoadError: AuthenticationError,
    boto.UnauthorizedSSOTokenError: AuthenticationError,
    boto.RefreshWithMFAUnsupportedError: AuthenticationError,
    boto.MetadataRetrievalError: AuthenticationError,
    boto.EndpointConnectionError: BackendUnavailableError,
    boto.IncompleteReadError: BackendUnavailableError,
    ResponseParserError: BackendUnavailableError,
    boto.ChecksumError: BackendUnavailableError,
    boto.FlexibleChecksumError: BackendUnavailableError,
    boto.EventStreamError: BackendUnavailableError,
    boto.WaiterError: BackendUnavailableError,
    boto.UndefinedModelAttributeError: ConfigurationError,
    CutShortError: BackendUnavailableError,
    OutOfTimeError: BackendUnavailableError,
}
"""Each class of error that a call can meet, and ours for it; a subclass counts as its nearest base."""

CODES: dict[str, type[StrongroomError]] = {
    # Secrets Manager
    "DecryptionFailure": PermissionDeniedError,
    "EncryptionFailure": PermissionDeniedError,
    "InternalServiceError": BackendUnavailableError,
    "InvalidNextTokenException": BackendUnavailableError,
    "InvalidParameterException": ConfigurationError,
    "InvalidRequestException": ConfigurationError,
    "LimitExceededException": ConfigurationError,
    "MalformedPolicyDocumentException": ConfigurationError,
    "PreconditionNotMetException": ConflictError,
    "PublicPolicyException": ConfigurationError,
    "ResourceExistsException": ConflictError,
    "ResourceNotFoundException": SecretNotFoundError,
    # Parameter Store
    "HierarchyLevelLimitExceededException": ConfigurationError,
    "HierarchyTypeMismatchException": ConfigurationError,
    "InternalServerError": BackendUnavailableError,
    "InvalidAllowedPatternException": ConfigurationError,
    "InvalidFilterKey": ConfigurationError,
    "InvalidFilterOption": ConfigurationError,
    "InvalidFilterValue": ConfigurationError,
    "InvalidKeyId": ConfigurationError,
    "InvalidNextToken": BackendUnavailableError,
    "InvalidPolicyAttributeException": ConfigurationError,
    "InvalidPolicyTypeException": ConfigurationError,
    "IncompatiblePolicyException": ConfigurationError,
    "ParameterAlreadyExists": ConflictError,
    "ParameterLimitExceeded": ConfigurationError,
    "ParameterMaxVersionLimitExceeded": ConfigurationError,
    "ParameterNotFound": SecretNotFoundError,
    "ParameterPatternMismatchException": ConfigurationError,
    "ParameterVersionNotFound": SecretNotFoundError,
    "PoliciesLimitExceededException": ConfigurationError,
    "TooManyUpdates": ThrottledError,
    "UnsupportedParameterType": ConfigurationError,
    # every service
    "AccessDenied": PermissionDeniedError,
    "AccessDeniedException": PermissionDeniedError,
    "UnauthorizedOperation": PermissionDeniedError,
    "ExpiredToken": AuthenticationError,
    "ExpiredTokenException": AuthenticationError,
    "IncompleteSignature": AuthenticationError,
    "InvalidClientTokenId": AuthenticationError,
    "InvalidSignatureException": AuthenticationError,
    "MissingAuthenticationToken": AuthenticationError,
    "NotAuthorized": AuthenticationError,
    "OptInRequired": AuthenticationError,
    "SignatureDoesNotMatch": AuthenticationError,
    "UnrecognizedClientException": AuthenticationError,
    "InternalFailure": BackendUnavailableError,
    "ServiceUnavailable": BackendUnavailableError,
    "ServiceUnavailableException": BackendUnavailableError,
    "RequestExpired": AuthenticationError,
    "RequestLimitExceeded": ThrottledError,
    "RequestThrottled": ThrottledError,
    "RequestThrottledException": ThrottledError,
    "SlowDown": ThrottledError,
    "Throttling": ThrottledError,
    "ThrottlingException": ThrottledError,
    "ThrottledException": ThrottledError,
    "TooManyRequestsException": ThrottledError,
    "ValidationException": ConfigurationError,
}
"""The codes that the two services and the front before them answer with."""

_SERVER_ERRORS = 500
_TOO_MANY = 429
_MESSAGE_CHARACTERS = 300
_HINTS: dict[type[StrongroomError], str] = {
    AuthenticationError: "log in (`aws sso login`, `aws configure`), or check the credentials and the clock",
    PermissionDeniedError: "the docs page of aws has a policy to paste; the KMS key has a policy of its own",
    BackendUnavailableError: "check region_name and endpoint_url, and that the service can be reached",
    ThrottledError: "ask less often, cache, or raise the quota",
    ConfigurationError: "check region_name, endpoint_url, role_arn and the other options",
}


def code_of(error: Exception) -> str:
    """Return the service's error code, empty where there is none."""
    if not isinstance(error, boto.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_deleted(error: Exception) -> bool:
    """Tell whether the service refuses because the secret waits for its deletion."""
    return code_of(error) == "InvalidRequestException" and any(
        word in _said(error) for word in ("marked for deletion", "scheduled for deletion", "marked deleted")
    )


def kind_of(error: Exception) -> type[StrongroomError]:
    """Return the class of strongroom's error for `error`."""
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        known = CODES.get(code_of(error))
        if known is not None:
            return known
        if status == _TOO_MANY:
            return ThrottledError
        if code_of(error).isdigit():  # botocore puts the status there where the answer itself says nothing
            return BackendUnavailableError
        return BackendUnavailableError if status >= _SERVER_ERRORS else ConfigurationError
    if isinstance(error, OSError):
        return BackendUnavailableError
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), BackendUnavailableError)


def translate(
    error: Exception, doing: str, provider: str, *, key: str | None = None, hidden: str | None = None
) -> StrongroomError:
    """Return strongroom's error for `error`; its cause is left out, for requests hold credentials.

    Args:
        error: What a call raised.
        doing: The operation, for the message.
        provider: The type name.
        key: The key it was about.
        hidden: A value that was sent and must not appear in the message.
    """
    kind = kind_of(error)
    if kind is SecretNotFoundError:
        if key is None:
            kind = ConfigurationError
        else:
            return SecretNotFoundError(key, provider=provider)
    said = _said(error)[:_MESSAGE_CHARACTERS]
    if hidden and (hidden in said or json.dumps(hidden)[1:-1] in said):
        said = "(its message holds the value and is left out)"
    about = f"{provider}: {doing}" + (f" {show_key(key)}" if key is not None else "")
    message = f"{about}: {code_of(error) or type(error).__name__}: {said}"
    made: Any = kind
    if issubclass(kind, SecretTooLargeError):
        return made(key or "", message, provider=provider)  # type: ignore[no-any-return]  # an error of ours
    return made(message, key=key, provider=provider, hint=_HINTS.get(kind))  # type: ignore[no-any-return]  # as above


def _said(error: Exception) -> str:
    if isinstance(error, OutOfTimeError):
        return "no answer before the deadline"
    if isinstance(error, boto.ClientError):
        found = error.response.get("Error", {})
        return str(found.get("Message") or found.get("message") or "no message")
    if isinstance(error, boto.HTTPClientError | ResponseParserError):
        return "the connection failed, or its answer was no whole one"
    if isinstance(error, boto.ParamValidationError):
        return "the SDK refuses the request's parameters"  # its message quotes them
    return str(error) if isinstance(error, boto.BotoCoreError) else type(error).__name__
