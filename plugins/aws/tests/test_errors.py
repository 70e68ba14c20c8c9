"""The tables of errors against the classes that the SDK has, and the codes of the services' models."""

from __future__ import annotations

import boto3
import botocore.discovery  # so that its classes are walked too
import botocore.exceptions
import botocore.parsers
import pytest
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
from strongroom.deadlines import DeadlineExceededError
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
)
from strongroom_aws.errors import (
    CODES,
    TABLE,
    is_permanent,
    kind_of,
    outcome,
    retry_after,
    translate,
    was_not_done,
)
from strongroom_aws.outcomes import CutShortError, Outcome


def _family(cls):
    yield cls
    for found in cls.__subclasses__():
        yield from _family(found)


ROOTS = [
    BotoCoreError,
    botocore.exceptions.ClientError,
    botocore.exceptions.UndefinedModelAttributeError,
    botocore.parsers.ResponseParserError,
    CutShortError,
    DeadlineExceededError,
]
CLASSES = sorted(
    {
        cls
        for root in ROOTS
        for cls in _family(root)
        # Clients make classes of their models' codes, which are looked up as codes; boto3's own are of no use here.
        if cls.__module__.split(".")[0] in {"botocore", "strongroom", "strongroom_aws"}
        and not cls.__module__.startswith("botocore.errorfactory")
    },
    key=lambda cls: cls.__name__,
)

USED = {
    "secretsmanager": "GetSecretValue BatchGetSecretValue PutSecretValue CreateSecret DescribeSecret DeleteSecret "
    "RestoreSecret ListSecrets ListSecretVersionIds UpdateSecretVersionStage",
    "ssm": "GetParameter GetParameters PutParameter DeleteParameter GetParametersByPath DescribeParameters "
    "GetParameterHistory ListTagsForResource",
    "sts": "AssumeRole GetCallerIdentity",
}


def test_the_walk_finds_the_classes():
    assert len(CLASSES) > 100
    assert {botocore.exceptions.NoCredentialsError, HTTPClientError} < set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_class_of_the_sdk_is_in_the_table(cls):
    assert cls.__name__ in TABLE, f"map {cls.__module__}.{cls.__name__} in errors.TABLE"


def test_a_class_that_nobody_has_thought_of_is_noticed():
    class NewError(BotoCoreError):
        pass

    assert NewError.__name__ not in TABLE
    assert kind_of(NewError()) is ConfigurationError  # as its base


@pytest.mark.parametrize("service", USED)
def test_each_code_of_the_operations_used_is_in_the_table(service):
    client = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    model = client.meta.service_model
    shapes = [shape for name in USED[service].split() for shape in model.operation_model(name).error_shapes]
    codes = {shape.metadata.get("error", {}).get("code", shape.name) for shape in shapes}
    client.close()
    assert len(codes) >= 5
    assert codes - set(CODES) == set()


def test_the_tables_hold_errors_of_strongroom():
    assert all(issubclass(kind, StrongroomError) for kind in (*TABLE.values(), *CODES.values()))


def _answered(code, status=400, message="in words", headers=None):
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "id-1", "HTTPHeaders": headers or {}},
    }
    return ClientError(response, "GetSecretValue")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDeniedException", 400, PermissionDeniedError),
        ("UnrecognizedClientException", 400, AuthenticationError),
        ("ExpiredTokenException", 400, AuthenticationError),
        ("ThrottlingException", 400, ThrottledError),
        ("InternalServiceError", 500, BackendUnavailableError),
        ("DecryptionFailure", 400, ConfigurationError),
        ("SomethingNew", 503, BackendUnavailableError),
        ("SomethingNew", 429, ThrottledError),
        ("SomethingNew", 400, ConfigurationError),
        ("502", 502, BackendUnavailableError),
        ("ResourceNotFoundException", 400, SecretNotFoundError),
    ],
)
def test_codes_by_class(code, status, expected):
    error = _answered(code, status)
    assert kind_of(error) is expected
    ours = translate(error, "reading", "aws", key="k", hidden="in words")
    assert type(ours) is expected
    assert ours.key == "k"
    assert ours.provider == "aws"
    assert "in words" not in f"{ours!r}{ours}{ours.__cause__!r}{ours.__cause__.response}{ours.__context__!r}"
    assert ours.retryable is issubclass(expected, BackendUnavailableError)


def test_the_cause_tells_the_request_for_the_support():
    ours = translate(_answered("InternalServiceError", 500), "reading", "aws", key="k")
    assert ours.__cause__.response["ResponseMetadata"] == {"RequestId": "id-1", "HTTPStatusCode": 500}


def test_a_value_is_hidden_however_it_is_written():
    value = 'a "quoted"\nvalue'
    error = _answered(
        "ValidationException", message=f'1 validation error: {value!r} or a \\"quoted\\"\\nvalue'
    )
    ours = translate(error, "writing", "aws", key="k", hidden=value)
    assert "quoted" not in f"{ours}{ours.__cause__}{ours.__cause__.response}"


def test_a_token_within_a_signature_is_left_out():
    message = (
        "The request signature we calculated does not match the signature you provided.\n\n"
        "The Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:t0ken\n'"
    )
    ours = translate(_answered("InvalidSignatureException", message=message), "reading", "aws")
    assert type(ours) is AuthenticationError
    assert "does not match" in str(ours)
    assert "t0ken" not in f"{ours}{ours.__cause__}{ours.__cause__.response}"


def test_the_sdks_own_words_do_not_quote_what_was_sent():
    error = ParamValidationError(report="Invalid type for parameter SecretString, value: hunter2")
    assert "hunter2" not in f"{(ours := translate(error, 'writing', 'aws', key='k'))}{ours.__cause__!r}"


def test_without_a_key_nothing_is_not_found():
    assert type(translate(_answered("ResourceNotFoundException"), "listing", "aws")) is ConfigurationError


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("InvalidRequestException", "… because it was marked for deletion.", Outcome.DELETED),
        ("InvalidRequestException", "… a secret that's currently marked deleted.", Outcome.DELETED),
        ("InvalidRequestException", "… is already scheduled for deletion.", Outcome.DELETED),
        ("InvalidRequestException", "You can't do that here.", Outcome.REFUSED),
        ("ResourceNotFoundException", "", Outcome.ABSENT),
        ("AccessDeniedException", "marked for deletion", Outcome.DENIED),
        ("SomethingNew", "", None),
    ],
)
def test_what_a_service_refuses_for(code, message, expected):
    assert outcome(_answered(code, message=message)) is expected


def test_what_certainly_took_no_effect():
    refused = botocore.exceptions.EndpointConnectionError(endpoint_url="http://x", error="refused")
    assert was_not_done(refused)
    assert was_not_done(_answered("ThrottlingException"))
    assert not was_not_done(botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"))
    assert not was_not_done(_answered("InternalServiceError", 500))


def test_what_will_last():
    assert is_permanent(
        botocore.exceptions.SSLError(endpoint_url="x", error="[SSL: CERTIFICATE_VERIFY_FAILED]")
    )
    assert not is_permanent(botocore.exceptions.SSLError(endpoint_url="x", error="EOF occurred"))


@pytest.mark.parametrize(("text", "expected"), [("3", 3.0), ("soon", None), ("-1", 0.0), ("", None)])
def test_retry_after_is_read_as_seconds_or_not_at_all(text, expected):
    assert retry_after(_answered("ThrottlingException", headers={"retry-after": text})) == expected
