"""Wires, servers and logins that misbehave: every call ends before its deadline plus half a second."""

from __future__ import annotations

import gc
import json
import os
import ssl
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import botocore.session
import pytest
import trustme
from aws_front import GOOD, Front, refusal, success, value
from botocore import xform_name
from sampling import crossed, sample
from strongroom.deadlines import Deadline
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
)
from strongroom.plugins.credentials import ReferencedText
from strongroom.testing.faults import FaultProxy, damaged, ends_in_time
from strongroom_aws import AWSParameterProvider, AWSRoleProvider, AWSSecretProvider
from strongroom_aws.connection import _EACH, _TELLS, FIRST_PAUSE, LONGEST_PAUSE, Pace

# Python's ssl leaves a socket open whose other end goes away in the handshake, until the collector comes.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

PROVIDERS = [AWSSecretProvider, AWSParameterProvider]
DEADLINE = 0.4
SHORT = 0.15  # where nothing good can come of it


def _ends_in_time(operation, expected=BackendUnavailableError, seconds=DEADLINE):
    return ends_in_time(operation, expected, seconds)


def _operations(provider):
    return [
        lambda: provider.get_secret("k"),
        lambda: provider.set_secret("k", "v4lue"),
        lambda: provider.delete_secret("k"),
        provider.list_secrets,
        lambda: provider.get_secrets(["a", "b"]),
    ]


@pytest.fixture
def fronted(keys, skipped_time):
    """Return a function that makes a provider on a server with the answers given."""
    opened = []

    def make(*answers, cls=AWSSecretProvider, context=None, **more):
        front = Front(*answers, context=context)
        options = {"region_name": "us-east-1", "endpoint_url": front.url, "timeout": 60, **keys, **more}
        provider = cls(**options)
        provider._connection.pause = skipped_time.pause
        opened.extend([provider, front])
        return provider, front

    yield make
    for one in opened:
        one.close()
    gc.collect()


@pytest.mark.parametrize(("cls", "found"), crossed([*PROVIDERS, AWSRoleProvider], ["option", "chain"]))
def test_a_token_that_a_proxy_quotes_is_in_no_error(keys, monkeypatch, cls, found):
    token = "the-token-of-a-session"
    login = {**keys, "session_token": token}
    if found == "chain":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
        login = {}
    roles = {"roles": {"k": "arn:aws:iam::123456789012:role/k"}} if cls is AWSRoleProvider else {}
    words = f"refused by a proxy: x-amz-security-token: {token}"
    quoting = (
        f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{words}</Message></Error></ErrorResponse>"
    )
    answer = refusal(400, "AccessDenied", words) if not roles else (403, quoting.encode(), {})
    with (
        Front(answer) as front,
        cls(region_name="us-east-1", endpoint_url=front.url, **login, **roles) as provider,
    ):
        for read in (lambda: provider.get_secret("k"), lambda: provider.get_secrets(["k"])):
            with pytest.raises(PermissionDeniedError) as caught:
                read()
            shown = "".join(traceback.format_exception(caught.value))
            assert token not in f"{shown}{caught.value!r}{caught.value.__cause__.response}"
            assert "AccessDenied" in shown


@pytest.mark.parametrize(
    ("cls", "mode"), crossed(PROVIDERS, ["black_hole", "reset", "drip", "half", "refuse"])
)
def test_a_wire_that_fails_from_the_start(make, proxy, cls, mode):
    proxy.mode = mode
    provider = make(cls, endpoint_url=f"http://127.0.0.1:{proxy.port}", timeout=SHORT)
    for operation in _operations(provider):
        error = _ends_in_time(operation)
        assert error.retryable
        assert error.provider == cls.type_name
        assert "v4lue" not in f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize("mode", ["black_hole", "reset", "drip", "half"])
def test_a_wire_that_fails_and_heals(make, proxy, mode):
    make().set_secret("k", "x" * 2000)
    through = f"http://127.0.0.1:{proxy.port}"
    # Making boto3's client may take longer than the short deadline on a busy machine: the healthy reads have more.
    patient, hasty = make(endpoint_url=through, timeout=10), make(endpoint_url=through, timeout=SHORT)
    assert patient.get_secret("k") == "x" * 2000
    proxy.mode = mode
    _ends_in_time(lambda: hasty.get_secret("k"))
    proxy.mode = "pass"
    assert patient.get_secret("k") == "x" * 2000


def test_latency_below_the_deadline_is_no_failure(make, proxy):
    proxy.latency = 0.05
    provider = make(endpoint_url=f"http://127.0.0.1:{proxy.port}")
    provider.set_secret("k", "v")
    assert provider.get_secret("k") == "v"


def test_a_reset_that_passes_is_not_noticed(make, proxy):
    make().set_secret("k", "v")
    provider = make(endpoint_url=f"http://127.0.0.1:{proxy.port}")
    proxy.mode = "reset"
    threading.Timer(0.1, setattr, (proxy, "mode", "pass")).start()
    assert provider.get_secret("k") == "v"


def test_a_write_whose_answer_is_lost_is_one_version(make, proxy):
    provider = make(endpoint_url=f"http://127.0.0.1:{proxy.port}")
    provider.set_secret("k", "old")
    proxy.mode = "half"
    threading.Timer(0.2, setattr, (proxy, "mode", "pass")).start()
    provider.set_secret("k", "new")
    assert provider.get_secret("k") == "new"
    assert len(provider.list_versions("k")) == 2


def test_a_conditional_write_whose_answers_are_lost_is_no_conflict(make, proxy):
    provider = make(endpoint_url=f"http://127.0.0.1:{proxy.port}")
    version = None
    for value_ in ("first", "second"):
        proxy.mode = "half"
        threading.Timer(0.2, setattr, (proxy, "mode", "pass")).start()
        version = provider.set_secret_if("k", value_, version)
        assert provider.get_secret("k") == value_
    assert len(provider.list_versions("k")) == 2


def test_a_promotion_whose_answer_is_lost_is_no_conflict(make, monkeypatch):
    provider = make()
    provider.set_secret("k", "old")
    before = provider.describe_secret("k").version
    pending = provider.stage_secret("k", "new")
    client = provider._connection.client()
    moved = client.update_secret_version_stage
    lost = []

    def lose_once(**asked):
        answer = moved(**asked)
        if not lost:
            lost.append(asked)
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(client, "update_secret_version_stage", lose_once)
    provider.promote_version("k", pending, expected_version=before)
    assert provider.get_secret("k") == "new"
    assert lost[0]["VersionStage"] == "AWSCURRENT"


def test_a_parameter_is_not_written_twice(make, proxy):
    make(AWSParameterProvider).set_secret("other", "v")  # moto's first call takes a second
    provider = make(AWSParameterProvider, endpoint_url=f"http://127.0.0.1:{proxy.port}", timeout=DEADLINE)
    proxy.mode = "half"
    _ends_in_time(lambda: provider.set_secret("k", "v"))
    assert make(AWSParameterProvider).describe_secret("k").version == "1"


def test_a_parameter_is_written_after_throttling(fronted):
    throttled = refusal(400, "ThrottlingException")
    provider, front = fronted(throttled, throttled, success(Version=1), cls=AWSParameterProvider, timeout=60)
    provider.set_secret("k", "v")
    assert front.operations == ["PutParameter"] * 3


def test_an_address_where_nobody_listens_is_unavailable_in_time(make, proxy):
    proxy.close()
    provider = make(endpoint_url=f"http://127.0.0.1:{proxy.port}", timeout=SHORT)
    for operation in _operations(provider):
        _ends_in_time(operation)


def test_a_name_that_does_not_resolve_is_unavailable_at_once(keys):
    with AWSSecretProvider(
        "us-east-1", endpoint_url="https://no-such-service.invalid", timeout=5, **keys
    ) as provider:
        error = _ends_in_time(lambda: provider.get_secret("k"), seconds=4)
        assert not isinstance(error, SecretNotFoundError)


BURSTS = [
    (400, "ThrottlingException", ThrottledError),
    (503, "ServiceUnavailable", BackendUnavailableError),
    (429, "", ThrottledError),
    (500, "InternalServiceError", BackendUnavailableError),
    (502, "", BackendUnavailableError),
    (429, "TooManyRequestsException", ThrottledError),
]


@pytest.mark.parametrize(("status", "code", "expected"), BURSTS)
def test_a_burst_is_waited_out(fronted, status, code, expected):
    provider, front = fronted(*[refusal(status, code)] * 3, value("v"), timeout=60)
    assert provider.get_secret("k") == "v"
    assert len(front.asked) == 4


@pytest.mark.parametrize(("status", "code", "expected"), sample(BURSTS, one_in=2))
def test_a_burst_that_does_not_end(fronted, status, code, expected):
    provider, front = fronted(refusal(status, code), timeout=60)
    error = _ends_in_time(lambda: provider.get_secret("k"), seconds=60)
    assert type(error) is expected
    assert error.retryable
    assert len(front.asked) > 1


def test_retry_after_is_kept_and_told(fronted):
    provider, front = fronted(
        refusal(429, "ThrottlingException", headers={"Retry-After": "3000"}), timeout=120
    )
    error = _ends_in_time(lambda: provider.get_secret("k"), ThrottledError, seconds=120)
    assert error.retry_after == 3000
    assert len(front.asked) == 1  # another try within the deadline would come too soon


def test_what_was_said_before_time_was_up_is_told(fronted, skipped_time, monkeypatch):
    provider, _ = fronted(refusal(400, "ThrottlingException"))
    provider._connection.client()
    monkeypatch.setattr(provider._connection, "hold_back", lambda *_: not skipped_time.pause(60))
    _ends_in_time(lambda: provider.get_secret("k"), ThrottledError)


def test_the_pace_falls_with_each_throttled_answer_and_rises_again():
    pace = Pace()
    seen = [pace.throttled() or pace.seconds for _ in range(8)]
    assert seen[0] == FIRST_PAUSE
    assert seen == sorted(seen)
    assert seen[-1] == LONGEST_PAUSE
    for _ in range(10):
        pace.answered()
    assert pace.seconds == 0


def test_one_throttled_call_slows_the_others_down(fronted):
    provider, _ = fronted(refusal(400, "ThrottlingException"), value("v"), timeout=60)
    paused = []
    provider._connection.pause = paused.append
    for _ in range(3):
        provider.get_secret("k")
    assert len(paused) == 3  # the retry, and what the two calls after it held back
    assert 0 <= paused[2] <= FIRST_PAUSE


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDeniedException", PermissionDeniedError),
        ("UnrecognizedClientException", AuthenticationError),
        ("ExpiredTokenException", AuthenticationError),
        ("InvalidSignatureException", AuthenticationError),
    ],
)
def test_refusals_are_not_tried_again(fronted, code, expected):
    provider, front = fronted(refusal(400, code), timeout=5)
    _ends_in_time(lambda: provider.get_secret("k"), expected)
    assert len(front.asked) == 1


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def _context(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_certificate_of_an_unknown_authority_is_refused_at_once(fronted, authority, monkeypatch):
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    provider, front = fronted(value("v"), context=_context(authority), timeout=60)
    error = _ends_in_time(lambda: provider.get_secret("k"), seconds=1)
    assert "verify" in str(error)
    assert front.asked == []


def test_a_certificate_of_a_known_authority_is_taken(fronted, authority, tmp_path, monkeypatch):
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    trusting, _ = fronted(value("v"), context=_context(authority), verify=ca, timeout=60)
    assert trusting.get_secret("k") == "v"
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ca))
    found, _ = fronted(value("v"), context=_context(authority), timeout=60)
    assert found.get_secret("k") == "v"


def test_nothing_is_sent_after_its_caller_has_given_up(tmp_path, monkeypatch):
    """A login that takes longer than the deadline must not let a write through later."""
    given_up = tmp_path / "given up"
    os.mkfifo(given_up)
    login = tmp_path / "login.py"
    login.write_text(
        f"import json\nopen({str(given_up)!r}).read()\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'a', 'SecretAccessKey': 'b'}))\n"
    )
    config = tmp_path / "config"
    config.write_text(f"[profile slow]\ncredential_process = {sys.executable} {login}\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with (
        Front(success(VersionId="v" * 36)) as front,
        AWSSecretProvider(endpoint_url=front.url, profile_name="slow", timeout=DEADLINE) as provider,
    ):
        left = threading.Event()
        send = provider._connection._send

        def sent(*arguments):
            try:
                return send(*arguments)
            finally:
                left.set()

        monkeypatch.setattr(provider._connection, "_send", sent)
        _ends_in_time(lambda: provider.set_secret("k", "v"))
        assert not left.is_set()
        given_up.write_text("")
        assert left.wait(300)
        assert front.asked == []


def test_a_call_that_is_let_go_does_not_keep_others(fronted, make, proxy):
    """Many calls that hang at the same time all end in time."""
    proxy.mode = "black_hole"
    provider = make(endpoint_url=f"http://127.0.0.1:{proxy.port}", timeout=SHORT)
    failed = []

    def read(number):
        try:
            provider.get_secret(f"k{number}")
        except BackendUnavailableError as error:
            failed.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert len(failed) == 20


def test_an_answer_for_another_secret_is_an_error_and_no_value(fronted):
    """As where processes share a connection; it may be tried again, and shows nothing."""
    provider, _ = fronted(value("hunter2-of-another", name="another"), timeout=60)
    with pytest.raises(BackendUnavailableError, match="answered for another secret") as caught:
        provider.get_secret("k")
    assert caught.value.retryable
    assert "hunter2" not in f"{caught.value!r} {caught.value.__context__!r}"


STRANGERS = [
    b"",
    b"<html>log in</html>",
    b"{}",
    b"[]",
    b'{"SecretString": "hunter2", "Val',
    b'{"message": "hi"}',
    b"[" * 100_000,
]


def _all_operations(provider):
    """Return each thing that a provider is asked for, and the operations of the service that it takes."""
    version = "1" if isinstance(provider, AWSParameterProvider) else "v" * 36
    found = {
        "get": lambda: provider.get_secret("k"),
        "batch": lambda: provider.get_secrets(["k", "l"]),
        "set": lambda: provider.set_secret("k", "v4lue"),
        "delete": lambda: provider.delete_secret("k"),
        "list": provider.list_secrets,
        "describe": lambda: provider.describe_secret("k"),
        "versions": lambda: provider.list_versions("k"),
        "version": lambda: provider.get_secret_version("k", version),
    }
    if isinstance(provider, AWSSecretProvider):
        found |= {
            "first": lambda: provider.set_secret_if("k", "v4lue", None),
            "next": lambda: provider.set_secret_if("k", "v4lue", version),
            "stage": lambda: provider.stage_secret("k", "v4lue"),
            "promote": lambda: provider.promote_version("k", "p" * 36, expected_version=version),
            "discard": lambda: provider.discard_version("k", "p" * 36),
        }
    return found


# A batch that has failed would leave requests under way behind, which would count as the next operation's.
ONE_AT_A_TIME = {"max_connections": 1}


def _spoilt(provider, front, make):
    """Yield each operation with its good result, and what it gives when an answer on its way is one of `make`."""
    provider._connection.pause = lambda _: None
    operations = _all_operations(provider)
    for name, operation in operations.items():
        front.spoil(None, None)
        good = operation()
        for sent in dict.fromkeys(front.operations):
            for what, answer in make(GOOD[sent]):
                front.spoil(sent, answer)
                provider._deleted = set()  # what a good deletion before has left
                try:
                    found = operation()
                except StrongroomError as error:
                    found = error
                yield f"{name}: {sent}{what}", good, found
    assert set(GOOD) >= set(front.operations)


@pytest.mark.parametrize("cls", PROVIDERS)
@pytest.mark.parametrize("each", [1, pytest.param(len(STRANGERS), marks=pytest.mark.torture)])
def test_no_operation_takes_a_strangers_answer(fronted, cls, each):
    """The SDK takes each of these for an empty answer: no value, a list of nothing, a write that was done."""
    strangers = cycle(STRANGERS)
    provider, front = fronted(cls=cls, timeout=30, **ONE_AT_A_TIME)
    seen = set()
    for what, good, found in _spoilt(
        provider, front, lambda _: ((f" {body}", body) for body in islice(strangers, each))
    ):
        seen.add(what.split()[1])
        assert found is not good, what
        assert type(found) in {BackendUnavailableError, PermissionDeniedError}, what
        assert "hunter2" not in f"{found!r} {found.__cause__!r} {found.__context__!r}"
    assert len(seen) >= {AWSSecretProvider: 9, AWSParameterProvider: 7}[cls]


@pytest.mark.parametrize("cls", PROVIDERS)
@pytest.mark.parametrize("share", [97, pytest.param(1, marks=pytest.mark.torture)])
def test_no_answer_of_another_form_is_an_error_of_pythons(fronted, cls, share):
    """One of `share` damaged answers: what one part of each answer may be instead."""
    provider, front = fronted(cls=cls, timeout=30, **ONE_AT_A_TIME)

    def some(good):
        return islice(damaged(good), len(json.dumps(good)) % share, None, share)

    for what, good, found in _spoilt(provider, front, some):
        if isinstance(found, StrongroomError):
            assert "hunter2" not in f"{found!r} {found.__cause__!r} {found.__context__!r}", what
        else:
            assert type(found) is type(good), what


@pytest.mark.parametrize("text", sample([["hunter2"], 5, {"hunter2": "hunter2"}], one_in=2))
def test_a_value_that_is_not_text_is_an_error(fronted, text):
    held = {"Name": "k", "VersionId": "v" * 36, "SecretString": text, "VersionStages": ["AWSCURRENT"]}
    secrets, _ = fronted(success(**held, SecretValues=[held]), timeout=0.2)
    parameter = {"Name": "/k", "Value": text, "Version": 1}
    parameters, _ = fronted(
        success(Parameter=parameter, Parameters=[parameter]), cls=AWSParameterProvider, timeout=0.2
    )
    for provider in (secrets, parameters):
        provider._connection.client()
        for read in (lambda one=provider: one.get_secret("k"), lambda one=provider: one.get_secrets(["k"])):
            error = _ends_in_time(read, seconds=0.2)
            assert type(error) is BackendUnavailableError
            assert "hunter2" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize("cls", PROVIDERS)
def test_lists_whose_entries_tell_nothing_are_not_short(fronted, cls):
    empty = success(
        SecretList=[{}], Versions=[{}], Parameters=[{}], Parameter={}, SecretValues=[{}], Name="k"
    )
    provider, _ = fronted(empty, cls=cls, timeout=0.2)
    provider._connection.client()
    for operation in (
        provider.list_secrets,
        lambda: provider.list_versions("k"),
        lambda: provider.get_secret("k"),
        lambda: provider.get_secrets(["k"]),
    ):
        assert type(_ends_in_time(operation, seconds=0.2)) is BackendUnavailableError


def test_a_deletion_is_told_by_the_services_request_id(fronted):
    headers = {"x-amzn-RequestId": "r"}
    for body in (b"", b"{}"):
        provider, _ = fronted((200, body, headers), cls=AWSParameterProvider, timeout=60)
        provider.delete_secret("k")


@pytest.mark.parametrize("service", ["secretsmanager", "ssm"])
def test_what_an_answer_must_tell_is_in_the_services_own_model(service):
    model = botocore.session.get_session().get_service_model(service)
    ours = {xform_name(name): name for name in model.operation_names if xform_name(name) in _TELLS}
    assert len(ours) == {"secretsmanager": 10, "ssm": 8}[service]
    for operation, name in ours.items():
        shape = model.operation_model(name).output_shape
        assert set(_TELLS[operation]) <= set(shape.members)
        member, parts = _EACH.get(operation, ("", ()))
        if parts:
            entries = shape.members[member]
            assert set(parts) <= set(getattr(entries, "member", entries).members)


@pytest.mark.parametrize(
    "code", ["UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"]
)
def test_changed_keys_are_tried_at_once(fronted, code):
    """A refused login is tried again with what the references of the keys bring in by then, and no sooner."""
    now = ["old"]
    given = {"secret_access_key": ReferencedText("old", lambda: now[0])}
    provider, front = fronted(refusal(400, code), refusal(400, code), value("v"), timeout=30, **given)
    with pytest.raises(AuthenticationError):
        provider.get_secret("k")
    assert len(front.asked) == 1
    now[0] = "new"
    assert provider.get_secret("k") == "v"
    assert len(front.asked) == 3


def test_keys_that_are_empty_for_a_while_are_not_those_of_the_standard_chain(fronted, monkeypatch):
    """For the SDK, empty ones are none: it would log in as whoever the environment names."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    now = ["old"]
    given = {name: ReferencedText("old", lambda: now[0]) for name in ("access_key_id", "secret_access_key")}
    refused = [refusal(400, "UnrecognizedClientException")] * 3
    provider, front = fronted(*refused, value("v"), timeout=30, **given)
    for now[0] in ("", ""):
        with pytest.raises(AuthenticationError):
            provider.get_secret("k")
    assert len(front.asked) == 2
    now[0] = "new"
    assert provider.get_secret("k") == "v"


def test_one_silent_connection_is_enough_to_give_up_all_that_are_idle(keys):
    """As after a firewall's restart: each of them would cost a call its whole time."""
    meet = threading.Barrier(4)

    class Together(Front):
        def answer(self, operation):
            if len(self.asked) <= 4:
                meet.wait(60)
            return super().answer(operation)

    with Together(value("v")) as front, FaultProxy(int(front.url.rpartition(":")[2])) as wire:
        options = {"region_name": "us-east-1", "endpoint_url": f"http://127.0.0.1:{wire.port}", **keys}
        with AWSSecretProvider(timeout=60, **options) as provider, ThreadPoolExecutor(4) as pool:
            assert list(pool.map(provider.get_secret, "kkkk")) == ["v"] * 4
            wire.silence()
            with pytest.raises(BackendUnavailableError):
                provider._value("k", Deadline(0.5), {"VersionStage": "AWSCURRENT"})
            assert provider._value("k", Deadline(60), {"VersionStage": "AWSCURRENT"}) == "v"
        assert wire.connections > 4
