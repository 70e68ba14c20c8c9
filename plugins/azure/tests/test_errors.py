"""The table of errors against the classes that the SDK has, and the service's words."""

from __future__ import annotations

import email.utils
import logging
import time
from types import SimpleNamespace

import azure.core.exceptions as core
import azure.core.polling.base_polling
import azure.identity
import azure.keyvault.secrets  # so that its classes are walked too
import pytest
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
from strongroom_azure.errors import (
    STATUSES,
    TABLE,
    BusyError,
    is_disabled,
    kind_of,
    may_be_disabled,
    message_of,
    retry_after,
    translate,
)


def _subclasses(cls):
    for found in cls.__subclasses__():
        yield found
        yield from _subclasses(found)


SDK_CLASSES = sorted(
    {
        cls
        for cls in _subclasses(Exception)
        if cls.__module__.startswith(("azure.core", "azure.identity", "azure.keyvault"))
        and not cls.__name__.startswith("_")
    },
    key=lambda cls: cls.__name__,
)


def test_the_walk_finds_the_classes():
    assert {core.HttpResponseError, azure.identity.CredentialUnavailableError} <= set(SDK_CLASSES)
    assert len(SDK_CLASSES) >= 20


@pytest.mark.parametrize("cls", SDK_CLASSES, ids=lambda cls: cls.__name__)
def test_each_class_of_the_sdk_is_in_the_table(cls):
    assert cls.__name__ in TABLE, f"map {cls.__module__}.{cls.__name__} in errors.TABLE"


def test_the_table_holds_errors_of_strongroom():
    assert all(issubclass(kind, StrongroomError) for kind in (*TABLE.values(), *STATUSES.values()))


def _answer(status, code=None, message="words", inner=None, headers=None, cls=core.HttpResponseError):
    error = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    text = "<html></html>" if code is None else core.json.dumps({"error": error})
    return cls(
        response=SimpleNamespace(status_code=status, reason="r", headers=headers or {}, text=lambda: text)
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_answer(400, "BadParameter"), ConfigurationError),
        (_answer(401, "Unauthorized", cls=core.ClientAuthenticationError), AuthenticationError),
        (_answer(400, "invalid_client", cls=core.ClientAuthenticationError), AuthenticationError),
        (_answer(429, "slow_down", cls=core.ClientAuthenticationError), ThrottledError),
        (_answer(503, "down", cls=core.ClientAuthenticationError), BackendUnavailableError),
        (_answer(403, "Forbidden", inner="ForbiddenByRbac"), PermissionDeniedError),
        (_answer(403, "Forbidden", "purge protection is enabled"), ConfigurationError),
        (_answer(404, "SecretNotFound", cls=core.ResourceNotFoundError), SecretNotFoundError),
        (_answer(404, cls=core.ResourceNotFoundError), ConfigurationError),
        (_answer(409, "Conflict", inner="ObjectIsBeingDeleted", cls=core.ResourceExistsError), BusyError),
        (_answer(409, "Conflict", cls=core.ResourceExistsError), BusyError),
        (_answer(409, "Conflict", inner="Another", cls=core.ResourceExistsError), ConflictError),
        (_answer(429, "Throttled"), ThrottledError),
        (_answer(418), ConfigurationError),
        (_answer(500, "InternalError"), BackendUnavailableError),
        (_answer(503), BackendUnavailableError),
        (core.HttpResponseError("broken off"), BackendUnavailableError),
        (core.ServiceRequestError("refused"), BackendUnavailableError),
        (azure.identity.CredentialUnavailableError("none"), AuthenticationError),
        (ValueError("The challenge resource 'x' does not match"), ConfigurationError),
        (ValueError("HTTP transport has already been closed."), BackendUnavailableError),
        (OSError("Could not find a suitable TLS CA certificate bundle"), ConfigurationError),
        (TypeError("get_token() got an unexpected keyword argument"), ConfigurationError),
        (NotImplementedError("no such API version"), ConfigurationError),
        (DeadlineExceededError(), BackendUnavailableError),
        (RuntimeError("anything"), StrongroomError),
    ],
    ids=str,
)
def test_each_answer_is_one_of_our_errors(error, expected):
    assert kind_of(error) is expected
    ours = translate(error, doing="reading", key="k")
    assert type(ours) is expected
    assert (ours.provider, ours.key) == ("azure", "k")
    assert "\n" not in str(ours)


def test_what_a_list_does_not_find_is_configuration():
    error = _answer(404, "VaultNotFound", cls=core.ResourceNotFoundError)
    assert type(translate(error, doing="listing secrets")) is ConfigurationError


def test_every_class_can_be_translated():
    for cls in SDK_CLASSES:
        made = cls.__new__(cls)
        Exception.__init__(made, "words")
        made.message, made._error_format = "words", None
        assert isinstance(translate(made, doing="reading", key="k"), TABLE[cls.__name__])


@pytest.mark.parametrize(
    ("error", "disabled", "open_question"),
    [
        (_answer(403, "Forbidden", "Operation get is not allowed.", "SecretDisabled"), True, True),
        (_answer(403, "Forbidden", "Operation get is not allowed on a disabled secret."), True, True),
        (_answer(403, "Forbidden", "The secret is disabled"), True, True),
        (_answer(403, "Forbidden", "Not now."), False, True),
        (_answer(403, "Forbidden", "Caller is not authorized", "ForbiddenByRbac"), False, False),
        (
            _answer(403, "Forbidden", "Public network access is disabled.", "ForbiddenByConnection"),
            False,
            False,
        ),
        (_answer(404, "SecretNotFound", "a disabled secret"), False, False),
    ],
)
def test_disabled_told_from_denied(error, disabled, open_question):
    assert (is_disabled(error), may_be_disabled(error)) == (disabled, open_question)


def test_network_rules_have_a_hint_of_their_own():
    error = _answer(403, "Forbidden", "Client address is not authorized", "ForbiddenByFirewall")
    assert "network rules" in translate(error, doing="reading", key="k").hint


@pytest.mark.parametrize(
    ("text", "expected"), [("7", 7.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), (None, None)]
)
def test_retry_after_is_read_as_seconds_or_not_at_all(text, expected):
    headers = {} if text is None else {"Retry-After": text}
    assert retry_after(_answer(429, "Throttled", headers=headers)) == expected


def test_retry_after_as_a_date():
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 55 < retry_after(_answer(429, "Throttled", headers={"Retry-After": date})) <= 60


def test_pieces_of_an_answer_are_not_passed_on():
    secret = "hunter2-correct-horse"
    for error in (
        core.DecodeError(f"JSON is invalid\nContent: {secret}"),
        core.json.JSONDecodeError(secret, secret, 0),
        core.DeserializationError(secret),
        _answer(418, None, secret),
    ):
        ours = translate(error, doing="reading", key="k")
        assert secret not in f"{ours} {ours!r} {ours.__cause__!r} {ours.__cause__}"


def test_a_value_that_the_service_repeats_is_left_out():
    error = _answer(400, "BadParameter", "cannot store correct-horse")
    ours = translate(error, doing="writing", key="k", hidden="correct-horse")
    assert "correct-horse" not in f"{ours} {ours.__cause__!r}"


def test_a_cause_holds_no_request():
    ours = translate(_answer(403, "Forbidden"), doing="reading", key="k")
    assert getattr(ours.__cause__, "response", None) is None


def test_long_messages_are_shortened():
    assert len(message_of(_answer(400, "BadParameter", "x" * 1000))) == 300


@pytest.mark.parametrize("value", ["correct-horse-" * 100, "correct\n\nhorse  battery"])
def test_a_value_that_a_cut_or_a_join_would_leave_a_part_of_is_not_told(value):
    error = _answer(400, "BadParameter", f"cannot store {value}")
    ours = translate(error, doing="writing", key="k", hidden=value)
    assert "correct" not in f"{ours} {ours.__cause__} {ours.__cause__!r}"


def test_no_warning_of_the_sdk_shows_an_answer_that_it_could_not_read(caplog):
    """Where a program sets up no logging, Python prints warnings to standard error."""
    from strongroom_azure import credentials

    credentials.build(
        {"method": "client_secret", "tenant_id": "t", "client_id": "c", "client_secret": "s" * 20}
    ).close()
    for name in ("_internal.get_token_mixin", "_internal.decorators", "_credentials.chained"):
        logger = logging.getLogger(f"azure.identity.{name}")
        logger.warning("%s failed: %s", "Login", "JSON is invalid: line 1\nContent: the-token-it-was-sent")
        logger.warning("%s failed: %s", "Login", "no such tenant")
    assert "the-token-it-was-sent" not in caplog.text
    assert caplog.text.count("Login failed: the answer is not the login's") == 3
    assert caplog.text.count("Login failed: no such tenant") == 3
