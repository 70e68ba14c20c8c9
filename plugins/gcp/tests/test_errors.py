"""The table of errors against the classes that the SDK has, and the service's words."""

from __future__ import annotations

from types import SimpleNamespace

import google.auth.exceptions
import google.auth.transport.grpc  # so that its classes are walked too
import google.oauth2.credentials  # as above
import grpc
import pytest
import requests.exceptions
from google.api_core import exceptions as core
from google.cloud import secretmanager_v1 as sm
from google.protobuf import json_format
from google.rpc import error_details_pb2
from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor
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
from strongroom.plugins.credentials import ReferencedText
from strongroom_gcp import GCPSecretProvider
from strongroom_gcp.errors import TABLE, kind_of, message_of, retry_after, translate, unreadable_state
from strongroom_gcp.service import SecretManager

VALUE = "hunter2-correct-horse"
HOMES = ("google.api_core.exceptions", "google.auth.exceptions", "requests.exceptions")


def _subclasses(cls):
    for found in cls.__subclasses__():
        yield found
        yield from _subclasses(found)


SDK_CLASSES = sorted(
    {cls for cls in _subclasses(Exception) if cls.__module__ in HOMES and not issubclass(cls, Warning)},
    key=lambda cls: f"{cls.__module__}.{cls.__name__}",
)


def test_the_walk_finds_the_classes():
    expected = {core.NotFound, google.auth.exceptions.RefreshError, requests.exceptions.SSLError}
    assert expected <= set(SDK_CLASSES)
    assert len(SDK_CLASSES) >= 70


@pytest.mark.parametrize("cls", SDK_CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_each_class_of_the_sdk_is_in_the_table(cls):
    assert cls in TABLE, f"map {cls.__module__}.{cls.__name__} in errors.TABLE"


def test_the_table_holds_errors_of_strongroom():
    assert all(issubclass(kind, StrongroomError) for kind in TABLE.values())


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_each_status_of_grpc_has_a_class(code):
    """What the client makes of a status is in the table itself, so that none is read as its base by chance."""
    error = core.from_grpc_status(code, "words")
    assert type(error) in TABLE
    assert issubclass(kind_of(error), StrongroomError)


def _project_error(reason):
    return core.PermissionDenied("no", details=[error_details_pb2.ErrorInfo(reason=reason)])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (core.NotFound("Secret [projects/1/secrets/k] not found or has no versions."), SecretNotFoundError),
        (core.NotFound("project my-project does not exist"), ConfigurationError),
        (core.NotFound("Project 'projects/my-project' was not found or deleted."), ConfigurationError),
        (
            core.NotFound("Secret [projects/1/secrets/project] not found or has no versions."),
            SecretNotFoundError,
        ),
        (core.NotFound("Secret [projects/my-project/secrets/a] not found."), SecretNotFoundError),
        (core.NotFound("Secret [projects/1/locations/l/secrets/my-project] not found."), SecretNotFoundError),
        (
            core.NotFound("Secret Version [projects/1/secrets/project-x/versions/7] not found."),
            SecretNotFoundError,
        ),
        (
            core.PermissionDenied(
                "Permission 'secretmanager.versions.access' denied for resource "
                "'projects/1/secrets/my-project/versions/latest' (or it may not exist)."
            ),
            PermissionDeniedError,
        ),
        (core.PermissionDenied("Permission 'x' denied for resource"), PermissionDeniedError),
        (core.PermissionDenied("Permission denied on resource project p."), ConfigurationError),
        (
            core.PermissionDenied(
                "Permission 'secretmanager.secrets.create' denied on resource "
                "'//cloudresourcemanager.googleapis.com/projects/my-project' (or it may not exist)."
            ),
            PermissionDeniedError,
        ),
        (_project_error("SERVICE_DISABLED"), ConfigurationError),
        (_project_error("IAM_PERMISSION_DENIED"), PermissionDeniedError),
        (core.Unauthenticated("no login"), AuthenticationError),
        (core.AlreadyExists("there"), ConflictError),
        (core.ResourceExhausted("quota"), ThrottledError),
        (core.InvalidArgument("bad name"), ConfigurationError),
        (core.ServiceUnavailable("down"), BackendUnavailableError),
        (core.DeadlineExceeded("late"), BackendUnavailableError),
        (
            core.ServiceUnavailable("Getting metadata from plugin failed with error: ('invalid_grant')"),
            AuthenticationError,
        ),
        (
            core.ServiceUnavailable("Getting metadata from plugin failed with error: Max retries exceeded"),
            BackendUnavailableError,
        ),
        (google.auth.exceptions.DefaultCredentialsError("none"), AuthenticationError),
        (google.auth.exceptions.RefreshError("invalid_grant"), AuthenticationError),
        (google.auth.exceptions.RefreshError("later", retryable=True), BackendUnavailableError),
        (requests.exceptions.SSLError("unknown CA"), BackendUnavailableError),
        (requests.exceptions.InvalidURL("x"), ConfigurationError),
        (json_format.ParseError("an answer"), BackendUnavailableError),
        (DeadlineExceededError(), BackendUnavailableError),
        (RuntimeError("anything"), StrongroomError),
    ],
    ids=str,
)
def test_each_answer_is_one_of_our_errors(error, expected):
    assert kind_of(error) is expected
    ours = translate(error, doing="reading", key="k")
    assert type(ours) is expected
    assert (ours.provider, ours.key) == ("gcp", "k")


def test_what_a_list_does_not_find_is_configuration():
    assert type(translate(core.NotFound("words"), doing="listing")) is ConfigurationError


def test_states_are_told():
    where = "Secret Version [projects/1/secrets/k/versions/1] is in"
    assert unreadable_state(core.FailedPrecondition(f"{where} DISABLED state.")) == "disabled"
    assert unreadable_state(core.FailedPrecondition(f"{where} DESTROYED state.")) == "destroyed"
    assert unreadable_state(core.FailedPrecondition("something else")) is None
    assert unreadable_state(core.NotFound(f"{where} DESTROYED state.")) is None


def test_the_pause_that_is_asked_for():
    wait = error_details_pb2.RetryInfo()
    wait.retry_delay.FromMilliseconds(1500)
    error = core.ResourceExhausted("quota", details=[wait])
    assert retry_after(error) == 1.5
    assert translate(error, doing="reading", key="k").retry_after == 1.5


def test_no_value_is_told():
    ours = translate(core.InvalidArgument(f"cannot store {VALUE}"), doing="writing", key="k", hidden=VALUE)
    assert VALUE not in f"{ours} {ours!r} {ours.__cause__} {ours.__cause__!r}"


def test_messages_are_short():
    assert len(message_of(core.Unknown("x" * 5000))) == 300


def test_a_value_that_a_cut_would_leave_the_beginning_of_is_not_told():
    value = "correct-horse-" * 100
    ours = translate(core.InvalidArgument(f"cannot store {value}"), doing="writing", key="k", hidden=value)
    assert "correct" not in f"{ours} {ours.__cause__} {ours.__cause__!r}"


def test_a_changed_key_is_tried_at_once():
    """A refused login is tried again with what the key's reference brings in by then."""

    class Client:
        transport = SimpleNamespace(kind="rest")

        def __init__(self, key):
            self.key = key

        def get_secret(self, **_):
            if self.key != "good":
                raise google.auth.exceptions.RefreshError("invalid_grant")
            return sm.Secret(name="projects/p/secrets/k")

    now = ["stale"]
    used = Client("stale")
    service = SecretManager(
        used, DeadlineExecutor(), newer=lambda: Client(now[0]) if now[0] != "stale" else None
    )
    ask = lambda: service.call("get_secret", {"name": "projects/p/secrets/k"}, Deadline(30), doing="reading")  # noqa: E731  # called twice
    with pytest.raises(AuthenticationError):
        ask()
    now[0] = "good"
    assert ask().name == "projects/p/secrets/k"


def test_the_key_of_a_reference_is_the_one_of_now():
    keys = ['{"type": "service_account", "n": "1"}', '{"type": "service_account", "n": "2"}', "not a key"]
    now = keys[:1]
    text = ReferencedText(keys[0], lambda: now[0])
    provider = GCPSecretProvider("project-1", credentials=text)
    assert provider._connection._key_of_now()["n"] == "1"
    now[0] = keys[1]
    assert provider._connection._key_of_now()["n"] == "2"
    now[0] = keys[2]
    assert provider._connection._key_of_now() is None
