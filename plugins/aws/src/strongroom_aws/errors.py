"""The tables from botocore's errors, and from the error codes of the services, to strongroom's errors.

Importing this module imports the SDK.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from typing import Any

import botocore.parsers
from botocore import exceptions as boto
from strongroom.clients import is_permanent as says_lasting
from strongroom.clients import parse_retry_after, redact_message, service_error
from strongroom.deadlines import DeadlineExceededError
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

from strongroom_aws.outcomes import CutShortError, OtherAnswerError, Outcome

__all__ = ["CODES", "TABLE", "is_silence", "kind_of", "outcome", "retry_after", "translate", "was_not_done"]


def _all(kind: type[StrongroomError], names: str) -> dict[str, type[StrongroomError]]:
    return dict.fromkeys(names.split(), kind)


TABLE: dict[str, type[StrongroomError]] = {
    # no answer, or none that is whole
    **_all(
        BackendUnavailableError,
        """
            AwsChunkedWrapperError CapacityNotAvailableError ChecksumError ConnectTimeoutError
            ConnectionClosedError ConnectionError CutShortError EndpointConnectionError
            EndpointDiscoveryRefreshFailed EventStreamError FlexibleChecksumError HTTPClientError
            IncompleteReadError OtherAnswerError DeadlineExceededError ProxyConnectionError ReadTimeoutError
            ResponseParserError ResponseStreamingError SSLError WaiterError
        """,
    ),
    # no login, or one that is no longer good
    **_all(
        AuthenticationError,
        """
            CredentialRetrievalError LoginAuthorizationCodeError LoginError
            LoginInsufficientPermissions LoginRefreshRequired LoginTokenLoadError
            MetadataRetrievalError NoAuthTokenError NoCredentialsError PartialCredentialsError
            RefreshWithMFAUnsupportedError SSOError SSOTokenLoadError TokenRetrievalError
            UnauthorizedSSOTokenError
        """,
    ),
    # an option, a profile, a variable or the SDK's own installation is wrong
    **_all(
        ConfigurationError,
        """
            AliasConflictParameterError ApiVersionNotFoundError BaseEndpointResolverError
            BotoCoreError ConfigNotFound ConfigParseError DataNotFoundError
            EndpointDiscoveryException EndpointDiscoveryRequired EndpointProviderError
            EndpointResolutionError EndpointVariantError InfiniteLoopConfigError
            InvalidChecksumConfigError InvalidConfigError InvalidDNSNameError InvalidDefaultsMode
            InvalidEndpointConfigurationError InvalidEndpointDiscoveryConfigurationError
            InvalidExpressionError InvalidHostLabelError InvalidIMDSEndpointError
            InvalidIMDSEndpointModeError InvalidMaxRetryAttemptsError InvalidProxiesConfigError
            InvalidRegionError InvalidRetryConfigurationError InvalidRetryModeError
            InvalidS3AddressingStyleError InvalidS3UsEast1RegionalEndpointConfigError
            InvalidSTSRegionalEndpointsConfigError MD5UnavailableError MissingDependencyException
            MissingParametersError MissingServiceIdError NoRegionError OperationNotPageableError
            PaginationError ParamValidationError ProfileNotFound RangeError ServiceNotInRegionError
            StubAssertionError StubResponseError UnStubbedResponseError UndefinedModelAttributeError
            UnknownClientMethodError UnknownCredentialError UnknownEndpointError
            UnknownEndpointResolutionBuiltInName UnknownFIPSEndpointError UnknownKeyError
            UnknownParameterError UnknownRegionError UnknownServiceError UnknownServiceStyle
            UnknownSignatureVersionError UnknownTokenProviderError UnseekableStreamError
            UnsupportedOutpostResourceError UnsupportedS3AccesspointConfigurationError
            UnsupportedS3ArnError UnsupportedS3ConfigurationError UnsupportedS3ControlArnError
            UnsupportedS3ControlConfigurationError UnsupportedServiceProtocolsError
            UnsupportedSignatureVersionError ValidationError WaiterConfigError
        """,
    ),
    "ClientError": StrongroomError,  # told apart by its code, below
}
"""The errors that a call can raise, by the names of their classes, and strongroom's for each."""

CODES: dict[str, type[StrongroomError]] = {
    **_all(
        SecretNotFoundError,
        """
            ParameterNotFound ParameterVersionNotFound ResourceNotFoundException
        """,
    ),
    **_all(
        ConflictError,
        """
            ParameterAlreadyExists PreconditionNotMetException ResourceExistsException
        """,
    ),
    **_all(
        PermissionDeniedError,
        """
            AccessDenied AccessDeniedException UnauthorizedOperation
        """,
    ),
    **_all(
        AuthenticationError,
        """
            ExpiredToken ExpiredTokenException IncompleteSignature InvalidAccessKeyId
            InvalidClientTokenId InvalidSignatureException MissingAuthenticationToken
            MissingAuthenticationTokenException NotAuthorized OptInRequired RequestExpired
            SignatureDoesNotMatch UnrecognizedClientException
        """,
    ),
    **_all(
        ThrottledError,
        """
            ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled
            RequestThrottledException SlowDown ThrottledException Throttling ThrottlingException
            TooManyRequestsException TooManyUpdates
        """,
    ),
    **_all(
        BackendUnavailableError,
        """
            InternalFailure InternalServerError InternalServiceError InvalidNextToken
            InvalidNextTokenException RequestTimeout RequestTimeoutException ServiceUnavailable
            ServiceUnavailableException
        """,
    ),
    # DecryptionFailure and EncryptionFailure are about the KMS key: it is missing or switched off
    **_all(
        ConfigurationError,
        """
            DecryptionFailure EncryptionFailure HierarchyLevelLimitExceededException
            HierarchyTypeMismatchException IncompatiblePolicyException InvalidAction
            InvalidAllowedPatternException InvalidContextAssertion InvalidFilterKey
            InvalidFilterOption InvalidFilterValue InvalidKeyId InvalidParameterCombination
            InvalidParameterException InvalidParameterValue InvalidPolicyAttributeException
            InvalidPolicyTypeException InvalidRequestException InvalidResourceId InvalidResourceType
            LimitExceededException MalformedPolicyDocument MalformedPolicyDocumentException
            NotImplemented PackedPolicyTooLarge ParameterLimitExceeded
            ParameterMaxVersionLimitExceeded ParameterPatternMismatchException
            PoliciesLimitExceededException PublicPolicyException RegionDisabledException
            UnknownOperationException UnsupportedOperation UnsupportedParameterType ValidationError
            ValidationException
        """,
    ),
}
"""The error codes of the services and of the front before them, and strongroom's error for each."""

_OUTCOMES: dict[str, Outcome] = {
    "AccessDenied": Outcome.DENIED,
    "AccessDeniedException": Outcome.DENIED,
    "InvalidAction": Outcome.UNKNOWN_OPERATION,
    "InvalidParameterException": Outcome.REFUSED,
    "InvalidRequestException": Outcome.REFUSED,
    "NotImplemented": Outcome.UNKNOWN_OPERATION,
    "ParameterNotFound": Outcome.ABSENT,
    "ParameterVersionNotFound": Outcome.ABSENT,
    "ResourceExistsException": Outcome.EXISTS,
    "ResourceNotFoundException": Outcome.ABSENT,
    "UnknownOperationException": Outcome.UNKNOWN_OPERATION,
}
_NEVER_SENT = (
    boto.EndpointConnectionError,
    boto.ConnectTimeoutError,
    boto.ProxyConnectionError,
    boto.SSLError,
)
_WORDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((DeadlineExceededError,), "no answer before the deadline"),
    ((boto.SSLError,), "no trusted connection: the certificate is not known here, see verify"),
    (_NEVER_SENT, "the service was not reached"),
    ((OtherAnswerError,), "the service answered for another secret"),
    (
        (boto.HTTPClientError, botocore.parsers.ResponseParserError, CutShortError),
        "the connection failed, or its answer was cut short",
    ),
    ((boto.ParamValidationError,), "the SDK refuses the request's parameters"),
)
"""Messages instead of those of the SDK, which may quote the request."""
_HINTS: dict[type[StrongroomError], str] = {
    AuthenticationError: "log in (`aws sso login`, `aws configure`), or check the credentials and the clock",
    PermissionDeniedError: "the docs page of aws has a policy to paste; the KMS key has a policy of its own",
    BackendUnavailableError: "check region_name and endpoint_url, and that the service can be reached",
    ThrottledError: "ask less often, cache, or have the quota raised",
    ConfigurationError: "check region_name, endpoint_url, kms_key_id and the other options",
}
_HINTS_FOR: dict[type[Exception], str] = {
    boto.ProfileNotFound: (
        "name a profile of ~/.aws/config in profile_name or AWS_PROFILE, "
        "or unset AWS_PROFILE; an empty one names a profile too"
    ),
    boto.PartialCredentialsError: "set both halves of the key pair, or neither",
}
"""Hints that say more than the one for the kind."""
_TO_BE_DELETED = re.compile("marked for deletion|scheduled for deletion|marked deleted", re.IGNORECASE)
_CANONICAL = re.compile(r"[.\s]*The Canonical String.*", re.DOTALL)
_PRINTED_KEY = re.compile("SecretAccessKey|SessionToken")
_SERVER_ERRORS, _TOO_MANY = 500, 429


def code_of(error: Exception) -> str:
    """Return the service's error code; empty if there is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def outcome(error: Exception) -> Outcome | None:
    """Return the `Outcome` that an error stands for; None for all other errors."""
    code = code_of(error)
    if code == "InvalidRequestException" and is_to_be_deleted(_reason(error)):
        return Outcome.DELETED
    return _OUTCOMES.get(code)


def is_to_be_deleted(message: str) -> bool:
    """Return whether a message says that the secret waits for its deletion."""
    return _TO_BE_DELETED.search(message) is not None


def was_not_done(error: Exception) -> bool:
    """Return whether the request certainly took no effect."""
    return kind_of(error) is ThrottledError or isinstance(error, _NEVER_SENT)


def is_silence(error: Exception) -> bool:
    """Return whether no answer came before the deadline."""
    return isinstance(error, (DeadlineExceededError, boto.ReadTimeoutError))


def is_permanent(error: Exception) -> bool:
    """Return whether another try cannot help, although no answer came: a wrong name, a wrong CA."""
    if isinstance(error, OtherAnswerError):
        return True  # the caller learns of it: it may go on, and another time the name may be the right one
    return isinstance(error, boto.BotoCoreError) and says_lasting(str(error.kwargs.get("error", "")))


def kind_of(error: Exception) -> type[StrongroomError]:
    """Return the class of strongroom's error for `error`."""
    if not isinstance(error, boto.ClientError):
        known = next((TABLE[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in TABLE), None)
        if _is_of_login(error):
            return AuthenticationError
        # Errors that are in no table are the network's or the operating system's.
        return known or BackendUnavailableError
    code, status = code_of(error), _answer(error).get("HTTPStatusCode", 0)
    if code in CODES:
        return CODES[code]
    if status == _TOO_MANY:
        return ThrottledError
    # botocore gives the status as the code if the answer itself says nothing.
    return BackendUnavailableError if status >= _SERVER_ERRORS or code.isdigit() else ConfigurationError


def retry_after(error: Exception) -> float | None:
    """Return the seconds that the service asked to wait."""
    return parse_retry_after(_answer(error).get("HTTPHeaders", {}).get("retry-after"))


def translate(
    error: Exception,
    doing: str,
    provider: str,
    *,
    key: str | None = None,
    hidden: str | None = None,
    login: Sequence[str] = (),
) -> StrongroomError:
    """Return strongroom's error for `error`; its cause holds no request, because that has credentials.

    Args:
        error: The error of a call.
        doing: The operation, for the message.
        provider: The type name.
        key: The key it was about.
        hidden: A value that was sent and must not appear in any text.
        login: Tokens that must not appear either; a proxy may quote them.
    """
    kind = kind_of(error)
    if kind is SecretNotFoundError and key is None:
        kind = ConfigurationError  # nothing was asked for that could be absent
    reason = redact_message(_reason(error), hidden, *login)
    return service_error(
        kind,
        f"{code_of(error) or type(error).__name__}: {reason}",
        provider=provider,
        doing=doing,
        key=key,
        hint=_HINTS_FOR.get(type(error)) or _HINTS.get(kind),
        retry_after=retry_after(error) if kind is ThrottledError else None,
        cause=_clean(error, reason),
    )


def _reason(error: Exception) -> str:
    """Return the message of `error` without parts of the request: parameters, the token in a signature."""
    if isinstance(error, boto.ClientError):
        found = error.response.get("Error", {})
        return _CANONICAL.sub("", str(found.get("Message") or found.get("message") or "no message"))
    known = next((words for classes, words in _WORDS if isinstance(error, classes)), None)
    if known is not None:
        return known
    if _is_of_login(error):
        # Of other errors than the system's the text may hold what a program printed.
        text = f"{error}; " if isinstance(error, OSError) else ""
        return (
            f"{text}the login failed: if a credential_process prints it, it must print JSON and nothing else"
        )
    if isinstance(error, boto.CredentialRetrievalError) and _PRINTED_KEY.search(str(error)):
        return "its message holds what a program printed, with a key, and is left out"
    return str(error) if isinstance(error, boto.BotoCoreError) else type(error).__name__


def _is_of_login(error: Exception) -> bool:
    """Return whether `error` is one of Python's that botocore did not expect while it logged in.

    An example is a `credential_process` that prints a warning before the key, or that does not exist.
    """
    if isinstance(error, (boto.BotoCoreError, boto.ClientError, DeadlineExceededError)):
        return False
    modules = (frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__))
    return not {"botocore.credentials", "botocore.tokens"}.isdisjoint(modules)


def _clean(error: Exception, reason: str) -> Exception:
    """Return an error of the same kind with only a text: the original may hold the request and its token."""
    if isinstance(error, boto.ClientError):
        metadata = {name: _answer(error).get(name) for name in ("RequestId", "HTTPStatusCode")}
        shown: Any = {"Error": {"Code": code_of(error), "Message": reason}, "ResponseMetadata": metadata}
        return boto.ClientError(shown, error.operation_name)
    return RuntimeError(f"{type(error).__module__}.{type(error).__qualname__}: {reason}")


def _answer(error: Exception) -> Any:
    return error.response.get("ResponseMetadata", {}) if isinstance(error, boto.ClientError) else {}
