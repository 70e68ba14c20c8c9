"""Servers, logins and wires that misbehave: every call ends before its deadline plus half a second."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
from itertools import cycle, islice

import pytest
import trustme
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure_store import Refusal
from spoiled_answers import Spoiler, spoiled_operations
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
)
from strongroom.plugins.credentials import ReferencedText
from strongroom.testing.faults import damaged, ends_in_time
from strongroom_azure import AzureSecretProvider, credentials

# Python's ssl leaves a socket open whose other end is reset before the handshake, here until the collector comes.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

DEADLINE = 0.6
SHORT = 0.15  # where nothing good can come of it
PAUSES = 3  # seconds of pauses that are skipped: long enough for the requests between them


@pytest.fixture
def wire(bench):
    """Give the bench, and see to it that what a bad wire leaves behind is collected before the next test."""
    yield bench
    bench.close()
    gc.collect()


def _ends_in_time(operation, expected=BackendUnavailableError, seconds=DEADLINE):
    return ends_in_time(operation, expected, seconds)


def _operations(provider):
    return [
        lambda: provider.get_secret("k"),
        lambda: provider.set_secret("k", "v4lue"),
        lambda: provider.delete_secret("k"),
        provider.list_secrets,
        lambda: provider.get_secrets(["k", "l", "m"]),
    ]


@pytest.mark.parametrize("mode", ["black_hole", "reset", "drip", "half", "refuse"])
def test_a_wire_that_fails_from_the_start(wire, mode):
    wire.proxy.mode = mode
    provider = wire.provider(proxied=True, timeout=SHORT)
    for operation in _operations(provider):
        error = _ends_in_time(operation)
        assert error.retryable
        assert "v4lue" not in f"{error} {error!r} {error.__cause__!r}"


@pytest.mark.parametrize("mode", ["black_hole", "reset", "drip", "half"])
def test_a_wire_that_fails_and_heals(wire, mode):
    provider = wire.provider(proxied=True, timeout=5)
    provider.set_secret("k", "x" * 2000)
    short = wire.provider(proxied=True, timeout=SHORT)
    with contextlib.suppress(BackendUnavailableError):  # it has a connection then, be it in time or not
        short.get_secret("k")
    wire.proxy.mode = mode
    _ends_in_time(lambda: short.get_secret("k"))
    wire.proxy.mode = "pass"
    assert wire.provider(proxied=True, timeout=5).get_secret("k") == "x" * 2000


def test_a_reset_that_passes_is_not_noticed_by_a_read(wire):
    wire.provider().set_secret("k", "x")
    provider = wire.provider(proxied=True)
    wire.proxy.mode = "reset"
    threading.Timer(0.2, setattr, (wire.proxy, "mode", "pass")).start()
    assert provider.get_secret("k") == "x"


def test_an_address_where_nobody_listens_is_unavailable_in_time(wire):
    provider = wire.provider(proxied=True, timeout=SHORT)
    wire.proxy.close()
    for operation in _operations(provider):
        _ends_in_time(operation)


def test_a_vault_whose_name_does_not_resolve_is_unavailable(login):
    with AzureSecretProvider("https://no-such-vault.invalid", credential=login(), timeout=2) as provider:
        for operation in _operations(provider):
            error = _ends_in_time(operation, seconds=2)
            assert not isinstance(error, SecretNotFoundError)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_burst_is_waited_out(bench, status):
    provider = bench.provider()
    provider.set_secret("k", "x")
    bench.store.fail("get", Refusal(status, "Busy", "Not now."), times=2)
    assert provider.get_secret("k") == "x"


@pytest.mark.usefixtures("skips_pauses")
@pytest.mark.parametrize(("status", "expected"), [(503, BackendUnavailableError), (429, ThrottledError)])
def test_a_burst_that_does_not_end(bench, status, expected):
    provider = bench.provider(timeout=PAUSES)
    for operation in ("get", "set", "delete", "list"):
        bench.store.fail(operation, Refusal(status, "Busy", "Not now."))
    for operation in _operations(provider):
        assert type(_ends_in_time(operation, expected)) is expected


def test_a_page_that_fails_is_asked_for_again(bench):
    provider = bench.provider()
    bench.store.page = 2
    keys = [f"k{number}" for number in range(5)]
    for key in keys:
        provider.set_secret(key, "x")
    provider.list_secrets()
    bench.store.fail("list", Refusal(503, "Busy", "Not now."), times=2)
    assert provider.list_secrets() == keys


def test_a_write_is_not_repeated_when_its_answer_was_lost(bench):
    bench.provider().set_secret("k", "x")
    provider = bench.provider(timeout=60)
    bench.store.calls.clear()
    bench.store.fail("set", Refusal(500, "InternalError", "Lost."))
    bench.store.fail("delete", Refusal(500, "InternalError", "Lost."))
    _ends_in_time(lambda: provider.set_secret("k", "y"))
    _ends_in_time(lambda: provider.delete_secret("k"))
    assert bench.store.calls == ["set", "delete"]


def test_a_throttled_write_is_repeated(bench):
    provider = bench.provider()
    bench.store.fail("set", Refusal(429, "Throttled", "Not now."), times=1)
    provider.set_secret("k", "x")
    assert provider.get_secret("k") == "x"


def test_retry_after_is_waited_for(bench):
    provider = bench.provider()
    provider.set_secret("k", "x")
    bench.store.fail("get", Refusal(429, "Throttled", "Not now.", headers={"Retry-After": "1"}), times=1)
    pauses = []
    provider._connection._service.pause = pauses.append
    assert provider.get_secret("k") == "x"
    assert [pause >= 1 for pause in pauses] == [True]


def test_retry_after_beyond_the_deadline_is_told_at_once(bench):
    bench.store.fail("get", Refusal(429, "Throttled", "Not now.", headers={"Retry-After": "30"}))
    provider = bench.provider(timeout=5)
    error = _ends_in_time(lambda: provider.get_secret("k"), ThrottledError, seconds=0.5)
    assert error.retry_after == 30
    assert bench.store.calls == ["get"]


def test_a_slow_server(bench):
    bench.provider().set_secret("k", "x")
    provider = bench.provider(timeout=SHORT)
    bench.store.delay = 60  # or until the server is closed
    for operation in _operations(provider):
        _ends_in_time(operation)


def test_latency_is_no_fault(wire):
    provider = wire.provider(proxied=True)
    wire.proxy.latency = 0.05
    provider.set_secret("k", "x")
    assert provider.get_secret("k") == "x"


def test_a_deadline_bounds_a_whole_list_and_batch(bench):
    provider, patient = bench.provider(timeout=5, deadline=2 * SHORT, max_workers=2), bench.provider()
    bench.store.page = 1
    for number in range(8):
        patient.set_secret(f"k{number}", "x")
    bench.store.delay = SHORT / 2
    _ends_in_time(provider.list_secrets)
    _ends_in_time(lambda: provider.get_secrets([f"k{number}" for number in range(8)]))
    bench.store.delay = 0
    assert len(patient.list_secrets()) == 8


@pytest.mark.parametrize("calls", [30, pytest.param(100, marks=pytest.mark.torture)])
def test_many_waiting_calls_all_end_in_time(wire, calls):
    wire.proxy.mode = "black_hole"
    provider = wire.provider(proxied=True, timeout=SHORT)
    failures = []

    def call():
        try:
            provider.get_secret("k")
        except BackendUnavailableError as error:
            failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert len(failures) == calls


# --- certificates and logins ---


def test_a_certificate_of_another_authority(bench, tmp_path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    options = {**bench.client_options, "connection_verify": str(tmp_path / "other.pem")}
    provider = bench.provider(client_options=options, timeout=5)
    error = _ends_in_time(lambda: provider.get_secret("k"), seconds=1)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert "connection_verify" in error.hint
    assert bench.server.requests == 0


def test_a_certificate_file_that_is_not_there(bench):
    options = {**bench.client_options, "connection_verify": "/nowhere/ca.pem"}
    with pytest.raises(ConfigurationError, match="nowhere"):
        bench.provider(client_options=options).get_secret("k")


def test_a_server_that_is_no_vault_of_the_cloud(bench):
    """The SDK compares the challenge with the address, so that no token goes to a stranger."""
    login_options = {"connection_verify": bench.ca}
    with pytest.raises(ConfigurationError, match="challenge resource") as caught:
        bench.provider(client_options=login_options).get_secret("k")
    assert "verify_challenge_resource" in caught.value.hint
    assert bench.store.tokens == []


def test_nobody_logged_in(bench, login):
    refused = login(error=ClientAuthenticationError("AADSTS7000215: Invalid client secret provided."))
    with pytest.raises(AuthenticationError, match="AADSTS7000215") as caught:
        bench.provider(credential=refused).get_secret("k")
    assert not caught.value.retryable


def test_a_token_that_the_vault_refuses(bench, login):
    provider = bench.provider(credential=login(token="stale-token"))
    bench.server.refused.add("stale-token")
    for operation in _operations(provider):
        with pytest.raises(AuthenticationError) as caught:
            operation()
        assert "stale-token" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


def test_a_token_that_dies_is_replaced(bench, login):
    credential = login(token="first-token")
    provider = bench.provider(credential=credential)
    provider.set_secret("k", "x")
    bench.server.refused.add("first-token")
    credential.token = "second-token"
    assert provider.get_secret("k") == "x"
    assert bench.store.tokens[-1] == "second-token"


@pytest.mark.usefixtures("skips_pauses")
def test_a_token_endpoint_that_is_down(bench, login):
    provider = bench.provider(credential=login(error=ServiceRequestError("no route")), timeout=PAUSES)
    _ends_in_time(lambda: provider.get_secret("k"))


def test_a_token_endpoint_that_hangs(bench, login):
    answered = threading.Event()
    provider = bench.provider(credential=login(until=answered), timeout=SHORT)
    _ends_in_time(lambda: provider.get_secret("k"))
    answered.set()


# --- answers of something else ---


@pytest.mark.usefixtures("skips_pauses")
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"<html>c2VjcmV0</html>", BackendUnavailableError),
        (200, b"", BackendUnavailableError),
        (200, b"{}", BackendUnavailableError),
        (200, b"[]", BackendUnavailableError),
        (200, b'{"value": "c2VjcmV0"}', BackendUnavailableError),
        (204, b"", BackendUnavailableError),
        (302, b"", ConfigurationError),
        (401, b"", AuthenticationError),
        (403, b"<html>c2VjcmV0</html>", None),
        (404, b"<html>c2VjcmV0</html>", ConfigurationError),
        (404, b'{"error": "c2VjcmV0"}', ConfigurationError),
        (404, b'{"error": {"code": "SecretNotFound", "message": "No."}}', SecretNotFoundError),
        (500, b"", BackendUnavailableError),
        (502, b"<html>c2VjcmV0</html>", BackendUnavailableError),
    ],
)
def test_answers_of_other_servers(bench, status, body, expected):
    bench.server.can(status, body)
    provider = bench.provider(timeout=PAUSES)
    error = _ends_in_time(lambda: provider.get_secret("k"), expected or Exception)
    if expected is not None:
        assert type(error) is expected
    assert "c2VjcmV0" not in f"{error} {error!r} {error.__cause__!r}"
    assert error.__context__ is None


STRANGERS = [
    b"",
    b"<html>c2VjcmV0</html>",
    b"{}",
    b"[]",
    b'{"value": "c2VjcmV0"}',
    b'{"value": "c2VjcmV0", "id": "https://v',
    b'{"value": [{}]}',
    b"[" * 100_000,
]


def _all_operations(provider):
    return [
        *_operations(provider),
        lambda: provider.set_secret("n", "v4lue"),
        lambda: provider.describe_secret("k"),
        lambda: provider.list_versions("k"),
        lambda: provider.get_secret_version("k", provider.describe_secret("k").version),
        lambda: provider.get_secret("k_" + "x" * 300),
        provider.diagnose,
    ]


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("each", [1, pytest.param(len(STRANGERS), marks=pytest.mark.torture)])
def test_no_operation_takes_a_strangers_answer(bench, purge, each):
    strangers = cycle(STRANGERS)
    provider = bench.provider(timeout=30, max_workers=1, purge=purge)
    retried = 0

    def make(_):
        return ((f"{body[:60]}", body) for body in islice(strangers, each))

    for what, good, found in spoiled_operations(bench, provider, Spoiler(), _all_operations(provider), make):
        if isinstance(found, StrongroomError):
            assert type(found) is BackendUnavailableError, what
            assert "c2VjcmV0" not in f"{found!r} {found.__cause__!r} {found.__context__!r}"
        else:  # it was asked again
            assert type(found) is type(good), what
            retried += 1
    assert retried


@pytest.mark.usefixtures("skips_pauses")
def test_a_strangers_answers_that_do_not_end_are_an_error(bench):
    provider = bench.provider(timeout=PAUSES)
    for body in STRANGERS[:3]:
        bench.server.can(200, body)
        error = _ends_in_time(lambda: provider.get_secret("k"))
        assert type(error) is BackendUnavailableError
        assert error.retryable


@pytest.mark.parametrize("share", [37, pytest.param(1, marks=pytest.mark.torture)])
def test_no_answer_of_another_form_is_an_error_of_pythons(bench, share):
    """One of `share` damaged answers: what one part of each answer may be instead."""
    provider = bench.provider(timeout=30, max_workers=1)

    def some(good):
        return islice(damaged(good), len(json.dumps(good)) % share, None, share)

    for what, good, found in spoiled_operations(bench, provider, Spoiler(), _all_operations(provider), some):
        if isinstance(found, StrongroomError):
            assert "hunter2" not in f"{found!r} {found.__cause__!r} {found.__context__!r}", what
        else:
            assert type(found) is type(good), what


def test_an_answer_for_another_secret_is_an_error_and_no_value(bench):
    """Its id names the secret; connections may be mixed up by a fork that Python does not hear of."""
    provider = bench.provider(timeout=5)
    for key in ("k", "l"):
        provider.set_secret(key, "hunter2")
    bench.server.spoil_with(
        lambda status, body, headers: (
            status,
            {**body, "id": body["id"].replace("/secrets/k", "/secrets/l")} if "id" in body else body,
            headers,
        )
    )
    for read in (lambda: provider.get_secret("k"), lambda: provider.get_secrets(["k"])):
        with pytest.raises(BackendUnavailableError, match="answered for another secret") as caught:
            read()
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert provider.get_secret("l") == "hunter2"


@pytest.mark.usefixtures("skips_pauses")
@pytest.mark.parametrize("value", [5, True, ["hunter2"], {"hunter2": "hunter2"}])
def test_a_value_that_is_not_text_is_an_error(bench, value):
    bench.provider().set_secret("k", "x")
    provider = bench.provider(timeout=PAUSES)
    bench.server.spoil_with(
        lambda status, body, headers: (
            (status, {**body, "value": value}, headers) if status == 200 else (status, body, headers)
        )
    )
    error = _ends_in_time(lambda: provider.get_secret("k"))
    assert "hunter2" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


def test_a_hook_of_the_callers_own_is_called_too(bench):
    seen = []
    options = {**bench.client_options, "raw_response_hook": seen.append}
    bench.provider(client_options=options).set_secret("k", "x")
    assert seen


@pytest.mark.usefixtures("skips_pauses")
def test_a_redirect_takes_no_token_elsewhere(bench):
    bench.server.can(302, b"", Location="https://127.0.0.1:1/elsewhere")
    error = _ends_in_time(lambda: bench.provider(timeout=PAUSES).get_secret("k"), Exception)
    assert not isinstance(error, SecretNotFoundError)


def test_a_changed_client_secret_is_tried_at_once(monkeypatch):
    """A refused login is tried again with what the reference of its secret brings in by then."""

    class Refusing:
        def __init__(self, members):
            self.members = members

        def get_token(self, *_, **__):
            if self.members["client_secret"] != "good":
                raise ClientAuthenticationError("AADSTS7000215: Invalid client secret provided.")
            return "token"

        get_token_info = get_token

        def close(self):
            closed.append(self.members["client_secret"])

    closed, now = [], ["stale"]
    monkeypatch.setattr(credentials, "build", Refusing)
    described = {"method": "client_secret", "tenant_id": "t", "client_id": "c"}
    login = credentials.Login({**described, "client_secret": ReferencedText("stale", lambda: now[0])})
    with pytest.raises(ClientAuthenticationError):
        login.get_token("scope")
    now[0] = "good"
    assert login.get_token("scope") == login.get_token_info("scope") == "token"
    login.close()
    assert closed == ["stale", "good"]


def test_one_silent_connection_is_enough_to_give_up_all_that_are_idle(bench):
    """As after a firewall's restart: each of them would cost a call its whole time."""
    provider = bench.provider(proxied=True)
    keys = [f"k{number}" for number in range(4)]
    for key in keys:
        provider.set_secret(key, "v")
    bench.proxy.latency = 0.2
    while bench.proxy.connections < 2:  # on a busy machine, one thread may be done before the next begins
        assert provider.get_secrets(keys) == dict.fromkeys(keys, "v")
    bench.proxy.latency = 0.0
    before = bench.proxy.connections
    bench.proxy.silence()
    provider._connection._timeout = 0.5
    with pytest.raises(BackendUnavailableError):
        provider.get_secret("k0")
    provider._connection._timeout = 60
    assert provider.get_secret("k0") == "v"
    assert bench.proxy.connections > before
