"""What is special about AWS: batches, labels, deletion, binary secrets, errors, and wires that fail."""

from __future__ import annotations

import inspect
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import botocore.exceptions
import pytest
from botocore.exceptions import ClientError
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
    ValidationError,
)
from strongroom.testing.faults import FaultProxy
from strongroom_aws import AWSParameterProvider, AWSSecretProvider
from strongroom_aws.errors import CODES, TABLE, kind_of, translate

PROVIDERS = [AWSSecretProvider, AWSParameterProvider]
SLACK = 0.5


@pytest.fixture
def counted(make):
    """Return a function that counts the requests which a call makes."""

    def count(provider, call):
        requests = []
        client = provider._connection.client()
        client.meta.events.register("before-send", lambda request, **_: requests.append(request.url))
        call()
        return len(requests)

    return count


def test_a_hundred_secrets_take_five_calls_and_one_takes_one(make, counted):
    provider = make()
    values = {f"key/{number}": str(number) for number in range(100)}
    provider.set_secrets(values)
    found = {}
    assert counted(provider, lambda: found.update(provider.get_secrets([*values, "absent"]))) <= 6
    assert found == values
    assert counted(provider, lambda: provider.get_secret("key/1")) == 1


def test_a_batch_answers_what_was_promoted_and_not_what_was_staged(make):
    provider = make()
    provider.set_secrets({"a": "old", "b": "old"})
    first = provider.describe_secret("a").version
    staged = provider.stage_secret("a", "new")
    assert provider.get_secrets(["a", "b"]) == {"a": "old", "b": "old"}
    provider.promote_version("a", staged, expected_version=first)
    assert provider.get_secrets(["a", "b"]) == {"a": "new", "b": "old"}


def test_a_secret_that_waits_for_deletion_is_told_so(make, bare):
    provider = make(recovery_window_days=7)
    provider.set_secret("k", "v")
    provider.delete_secret("k")
    for call in (lambda: provider.get_secret("k"), lambda: provider.delete_secret("k")):
        with pytest.raises(SecretNotFoundError) as caught:
            call()
        assert caught.value.reason == "deleted"
    assert provider.list_secrets() == []
    assert provider.get_secrets(["k"]) == {}
    assert bare.describe_secret(SecretId="k")["DeletedDate"]


def test_a_conditional_write_restores_a_secret_that_waits_for_deletion(make):
    provider = make()
    provider.set_secret("k", "old")
    provider.delete_secret("k")
    provider.set_secret_if("k", "new", None)
    assert provider.get_secret("k") == "new"


def test_a_binary_secret_is_a_clear_error(make, bare):
    bare.create_secret(Name="k", SecretBinary=b"\x00\x01")
    with pytest.raises(ValidationError, match="binary"):
        make().get_secret("k")
    with pytest.raises(ValidationError, match="binary"):
        make().get_secrets(["k"])


def test_secrets_of_other_tools_are_read_and_ours_by_them(make, bare):
    bare.create_secret(Name="prod/database@1", SecretString="theirs")
    provider = make()
    assert provider.get_secret("prod/database@1") == "theirs"
    provider.set_secret("prod/ours", "value")
    assert bare.get_secret_value(SecretId="prod/ours")["SecretString"] == "value"


def test_one_of_many_racing_writers_wins(make):
    provider = make()
    provider.set_secret("k", "0")
    version = provider.describe_secret("k").version
    outcomes = []

    def write(number):
        try:
            outcomes.append(provider.set_secret_if("k", str(number), version))
        except ConflictError:
            outcomes.append(None)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (won,) = [one for one in outcomes if one is not None]
    assert provider.describe_secret("k").version == won


def test_values_that_are_too_long_are_refused_before_any_request():
    for provider, size in (
        (AWSSecretProvider("us-east-1"), 65_537),
        (AWSParameterProvider("us-east-1"), 4097),
    ):
        with pytest.raises(SecretTooLargeError):
            provider.set_secret("k", "x" * size)


def test_options_that_do_not_go_together():
    with pytest.raises(ConfigurationError):
        AWSSecretProvider(force_delete=True, recovery_window_days=7)


def test_a_role_is_assumed(make, options):
    provider = make(
        role_arn="arn:aws:iam::123456789012:role/reader", sts_endpoint_url=options["endpoint_url"]
    )
    provider.set_secret("k", "v")
    assert provider.get_secret("k") == "v"


def test_doctor_is_told_who_is_logged_in(make):
    for cls in PROVIDERS:
        told = make(cls).diagnose()
        assert told["reachable"] == told["can_list"] == "yes"
        assert told["identity"].startswith("arn:aws:")


def answered(code, status=400):
    response = {
        "Error": {"Code": code, "Message": "in words"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "GetSecretValue")


@pytest.mark.parametrize("service", ["secretsmanager", "ssm"])
def test_every_error_code_of_the_operations_used_is_in_the_table(service):
    client = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    used = {
        "secretsmanager": "GetSecretValue BatchGetSecretValue PutSecretValue CreateSecret DescribeSecret DeleteSecret "
        "RestoreSecret ListSecrets ListSecretVersionIds UpdateSecretVersionStage",
        "ssm": "GetParameter GetParameters PutParameter DeleteParameter GetParametersByPath DescribeParameters "
        "GetParameterHistory",
    }[service].split()
    model = client.meta.service_model
    codes = {shape.name for name in used for shape in model.operation_model(name).error_shapes}
    assert len(codes) > 8
    assert codes - set(CODES) == set()
    client.close()


def test_every_exception_of_botocore_comes_out_as_one_of_ours():
    classes = [
        one
        for _, one in inspect.getmembers(botocore.exceptions, inspect.isclass)
        if issubclass(one, Exception)
        and not issubclass(one, Warning)
        and one.__module__ == "botocore.exceptions"
    ]
    assert len(classes) > 60
    for cls in classes:
        nearest = next((one for one in cls.__mro__ if one in TABLE), None)
        assert nearest is not None, cls
        assert issubclass(TABLE[nearest], StrongroomError)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDeniedException", 400, PermissionDeniedError),
        ("UnrecognizedClientException", 400, AuthenticationError),
        ("ExpiredTokenException", 400, AuthenticationError),
        ("ThrottlingException", 400, ThrottledError),
        ("InternalServiceError", 500, BackendUnavailableError),
        ("SomethingNew", 503, BackendUnavailableError),
        ("SomethingNew", 429, ThrottledError),
        ("SomethingNew", 400, ConfigurationError),
    ],
)
def test_codes_by_class(code, status, expected):
    error = answered(code, status)
    assert kind_of(error) is expected
    ours = translate(error, "reading", "aws", key="k", hidden="in words")
    assert type(ours) is expected
    assert "in words" not in f"{ours!r}{ours}{ours.__cause__!r}{ours.__context__!r}"
    assert ours.retryable is issubclass(expected, BackendUnavailableError)


@pytest.mark.parametrize("mode", ["black_hole", "reset", "drip", "half", "refuse"])
@pytest.mark.parametrize("cls", PROVIDERS)
def test_a_wire_that_fails(make, options, cls, mode):
    with FaultProxy(int(options["endpoint_url"].rpartition(":")[2])) as proxy:
        proxy.mode = mode
        provider = make(cls, endpoint_url=f"http://127.0.0.1:{proxy.port}", timeout=0.6)
        for call in (
            lambda: provider.get_secret("k"),
            lambda: provider.set_secret("k", "hunter2"),
            lambda: provider.get_secrets(["a", "b"]),
        ):
            started = time.monotonic()
            with pytest.raises(BackendUnavailableError) as caught:
                call()
            assert time.monotonic() - started < 0.6 + SLACK
            assert "hunter2" not in f"{caught.value}{caught.value.__context__!r}"


class _Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        status, code = self.server.answer
        body = f'{{"__type": "{code}", "message": "in words"}}'.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ThrottlingException", ThrottledError),
        (429, "TooManyRequestsException", ThrottledError),
        (500, "InternalServiceError", BackendUnavailableError),
        (503, "", BackendUnavailableError),
    ],
)
def test_a_burst_is_tried_again_until_the_deadline(make, status, code, expected):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Front)
    server.answer, server.asked = (status, code), 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    provider = make(endpoint_url=f"http://127.0.0.1:{server.server_port}", timeout=0.6)
    started = time.monotonic()
    with pytest.raises(expected) as caught:
        provider.get_secret("k")
    assert time.monotonic() - started < 0.6 + SLACK
    assert caught.value.retryable
    assert server.asked > 1
    server.shutdown()
    server.server_close()
