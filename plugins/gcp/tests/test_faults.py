"""Servers and wires that misbehave: every call ends before its deadline plus half a second, with the right error."""

from __future__ import annotations

import contextlib
import json
import threading
from itertools import cycle, islice

import pytest
from gcp_store import Refusal
from google.api_core import grpc_helpers
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from spoiled_answers import Spoiler, spoiled_operations
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    ThrottledError,
)
from strongroom.testing.faults import damaged, ends_in_time
from strongroom_gcp import service

DEADLINE = 0.6
SHORT = 0.15  # where nothing good can come of it
PAUSES = 3  # seconds of pauses that are skipped: long enough for the requests between them


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


def _looks(provider):
    return [
        lambda: provider.describe_secret("k"),
        lambda: provider.list_versions("k"),
        lambda: provider.get_secret_version("k", "1"),
    ]


@pytest.mark.parametrize("mode", ["black_hole", "reset", "drip", "half"])
def test_a_wire_that_fails_from_the_start(bench, mode):
    bench.proxy.mode = mode
    provider = bench.provider(proxied=True, timeout=SHORT)
    for operation in _operations(provider):
        error = _ends_in_time(operation)
        assert error.retryable
        assert "v4lue" not in f"{error} {error!r} {error.__cause__!r}"


@pytest.mark.parametrize("mode", ["black_hole", "reset", "drip", "half"])
def test_a_wire_that_fails_and_heals(bench, mode):
    provider = bench.provider(proxied=True, timeout=5)
    provider.set_secret("k", "x" * 2000)
    short = bench.provider(proxied=True, timeout=SHORT)
    with contextlib.suppress(BackendUnavailableError):  # it has a connection then, be it in time or not
        short.get_secret("k")
    bench.proxy.mode = mode
    _ends_in_time(lambda: short.get_secret("k"))
    bench.proxy.mode = "pass"
    assert bench.provider(proxied=True, timeout=5).get_secret("k") == "x" * 2000


def test_an_address_where_nobody_listens_is_unavailable_in_time(bench):
    provider = bench.provider(proxied=True, timeout=SHORT)
    bench.proxy.close()
    _ends_in_time(lambda: provider.get_secret("k"))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_burst_is_waited_out(bench, code):
    provider = bench.provider()
    provider.set_secret("k", "x")
    bench.store.fail("AccessSecretVersion", Refusal(code, "Not now."), times=2)
    assert provider.get_secret("k") == "x"


@pytest.mark.usefixtures("skips_pauses")
@pytest.mark.parametrize(
    ("code", "expected"), [("UNAVAILABLE", BackendUnavailableError), ("RESOURCE_EXHAUSTED", ThrottledError)]
)
def test_a_burst_that_does_not_end(bench, code, expected):
    """The client's own retries would go on for 60 s, whatever the timeout."""
    provider = bench.provider(timeout=PAUSES)
    for rpc in ("AccessSecretVersion", "AddSecretVersion", "DeleteSecret", "ListSecrets"):
        bench.store.fail(rpc, Refusal(code, "Not now."))
    for operation in _operations(provider):
        assert type(_ends_in_time(operation, expected, PAUSES)) is expected


def test_a_write_is_not_repeated_when_its_answer_was_lost(bench):
    bench.provider().set_secret("k", "x")
    provider = bench.provider(timeout=60)
    bench.store.calls.clear()
    bench.store.fail("AddSecretVersion", Refusal("UNAVAILABLE", "Not now."))
    bench.store.fail("DeleteSecret", Refusal("UNAVAILABLE", "Not now."))
    _ends_in_time(lambda: provider.set_secret("k", "y"))
    _ends_in_time(lambda: provider.delete_secret("k"))
    assert bench.store.calls == ["AddSecretVersion", "DeleteSecret"]


def test_a_throttled_write_is_repeated(bench):
    provider = bench.provider()
    bench.store.fail("AddSecretVersion", Refusal("RESOURCE_EXHAUSTED", "Not now."), times=1)
    provider.set_secret("k", "x")
    assert provider.get_secret("k") == "x"


def test_the_wait_that_the_service_asks_for(bench):
    wait = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=3000))
    bench.store.fail("AccessSecretVersion", Refusal("RESOURCE_EXHAUSTED", "Not now.", [wait]))
    provider = bench.provider(timeout=60)
    error = _ends_in_time(lambda: provider.get_secret("k"), ThrottledError)
    assert error.retry_after == 3000
    assert bench.store.calls == ["AccessSecretVersion"]


def test_a_slow_server(bench):
    bench.provider().set_secret("k", "x")
    provider = bench.provider(timeout=SHORT)
    bench.store.delay = 60  # or until the server is closed
    for operation in _operations(provider):
        _ends_in_time(operation)


def test_latency_is_no_fault(bench):
    provider = bench.provider()
    bench.store.delay = 0.05
    provider.set_secret("k", "x")
    assert provider.get_secret("k") == "x"


def test_deadline_bounds_the_whole_of_a_list_and_a_batch(bench):
    provider, patient = bench.provider(deadline=2 * SHORT, max_workers=1), bench.provider()
    for number in range(8):
        patient.set_secret(f"k{number}", "x")
    bench.store.largest_page = 1
    bench.store.delay = SHORT / 2
    _ends_in_time(provider.list_secrets)
    _ends_in_time(lambda: provider.get_secrets(f"k{number}" for number in range(8)))
    bench.store.delay = 0
    assert len(patient.list_secrets()) == 8


@pytest.mark.parametrize("rounds", [2, pytest.param(5, marks=pytest.mark.torture)])
def test_many_threads_and_one_connection(bench, rounds):
    provider = bench.provider()
    wanted = {f"k{number}": str(number) for number in range(8)}
    failures = []

    def work(key, value):
        try:
            for _ in range(rounds):
                provider.set_secret(key, value)
                assert provider.get_secret(key) == value
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=item) for item in wanted.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert provider.get_secrets(wanted) == wanted


STRANGERS = [b"[" * 100_000, b"", b"<html>log in, please</html>", b"[]", b'{"payload": {"data": "c2VjcmV0LX']


def _all_operations(provider):
    return [
        *_operations(provider),
        lambda: provider.set_secret("n", "v4lue"),
        *_looks(provider),
        lambda: provider.get_secret("k_" + "x" * 300),
        provider.diagnose,
    ]


@pytest.mark.parametrize("transport", ["rest"], indirect=True)
class TestStrangersAnswers:
    """Something that is not Secret Manager answers at its address."""

    @pytest.mark.usefixtures("skips_pauses")
    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (200, b"<html>log in, please</html>", BackendUnavailableError),
            (200, b'{"payload": {"data": "c2VjcmV0LX', BackendUnavailableError),
            (404, b"<html>no such page</html>", ConfigurationError),
            (404, b'{"error": {"code": 404, "message": "No.", "status": "NOT_FOUND"}}', SecretNotFoundError),
            (500, b"", BackendUnavailableError),
            (500, b'{"error": "text"}', BackendUnavailableError),
            (502, b"<html>bad gateway</html>", BackendUnavailableError),
        ],
    )
    def test_a_strangers_answer_is_an_error_that_shows_nothing_of_it(self, bench, status, body, expected):
        bench.server.can(status, body)
        provider = bench.provider(timeout=PAUSES)
        error = _ends_in_time(lambda: provider.get_secret("k"), expected)
        assert type(error) is expected
        assert "c2VjcmV0" not in f"{error} {error!r} {error.__cause__!r}"
        assert error.__context__ is None

    @pytest.mark.parametrize("each", [1, pytest.param(len(STRANGERS), marks=pytest.mark.torture)])
    def test_no_operation_takes_a_page_for_an_answer(self, bench, each):
        strangers = cycle(STRANGERS)
        provider = bench.provider(timeout=30, max_workers=1)
        retried = 0

        def make(_):
            return ((f"{body[:60]}", body) for body in islice(strangers, each))

        for what, good, found in spoiled_operations(
            bench, provider, Spoiler(), _all_operations(provider), make
        ):
            if isinstance(found, StrongroomError):
                assert type(found) is BackendUnavailableError, what
                assert "c2VjcmV0" not in f"{found!r} {found.__cause__!r} {found.__context__!r}"
            else:  # it was asked again
                assert type(found) is type(good), what
                retried += 1
        assert retried

    # The client's library warns of a state that is younger than it.
    @pytest.mark.filterwarnings("ignore:Unrecognized State enum value")
    @pytest.mark.parametrize("share", [71, pytest.param(1, marks=pytest.mark.torture)])
    def test_no_answer_of_another_form_is_an_error_of_pythons(self, bench, share):
        """One of `share` damaged answers: what one part of each answer may be instead."""
        provider = bench.provider(timeout=30, max_workers=1)

        def some(good):
            answers = damaged(json.loads(good))
            chosen = islice(answers, len(good) % share, None, share)
            return ((what, json.dumps(body).encode()) for what, body in chosen)

        for what, good, found in spoiled_operations(
            bench, provider, Spoiler(), _all_operations(provider), some
        ):
            if isinstance(found, StrongroomError):
                assert "hunter2" not in f"{found!r} {found.__cause__!r} {found.__context__!r}", what
            else:
                assert type(found) is type(good), what

    def test_the_answer_of_a_creation_that_is_lost_is_no_conflict(self, bench):
        spoiler = Spoiler()
        spoiler.reset(0, lambda _: b"<html>")
        bench.server.spoil_with(spoiler)
        provider = bench.provider(timeout=30)
        provider.set_secret("n", "v4lue")
        assert provider.get_secret("n") == "v4lue"

    @pytest.mark.usefixtures("skips_pauses")
    def test_an_answer_about_another_secret_is_an_error(self, bench):
        provider, patient = bench.provider(timeout=PAUSES), bench.provider(timeout=60)
        for key in ("k", "l"):
            patient.set_secret(key, "hunter2")
        bench.server.spoil_with(
            lambda status, body, headers: (status, body.replace(b"secrets/k", b"secrets/l"), headers)
        )
        for look in _looks(provider):
            error = _ends_in_time(look)
            assert type(error) is BackendUnavailableError
        for read in (lambda: patient.get_secret("k"), lambda: patient.get_secrets(["k"])):
            with pytest.raises(BackendUnavailableError, match="answered for another secret") as caught:
                read()
            error = caught.value
            assert "hunter2" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"

    @pytest.mark.usefixtures("skips_pauses")
    @pytest.mark.parametrize("body", [b"{}", b'{"a": 1}', b'{"name": "projects/p/secrets/k/versions/1"}'])
    def test_an_answer_that_tells_nothing_is_no_empty_secret_and_no_write(self, bench, body):
        bench.server.can(200, body)
        provider = bench.provider(timeout=PAUSES)
        for operation in (lambda: provider.get_secret("k"), lambda: provider.get_secrets(["k"])):
            assert type(_ends_in_time(operation)) is BackendUnavailableError
        if b"name" not in body:
            for operation in (lambda: provider.set_secret("k", "v4lue"), _looks(provider)[0]):
                assert type(_ends_in_time(operation)) is BackendUnavailableError

    @pytest.mark.usefixtures("skips_pauses")
    def test_a_list_whose_entries_have_no_name_is_not_short(self, bench):
        bench.server.can(200, b'{"secrets": [{}], "versions": [{}]}')
        provider = bench.provider(timeout=PAUSES)
        for operation in (provider.list_secrets, lambda: provider.list_versions("k")):
            assert type(_ends_in_time(operation)) is BackendUnavailableError

    def test_retry_after_header(self, bench):
        bench.server.can(429, b"{}", **{"Retry-After": "3000"})
        error = _ends_in_time(lambda: bench.provider(timeout=60).get_secret("k"), ThrottledError)
        assert error.retry_after == 3000

    def test_a_redirect_somewhere_is_followed_nowhere_useful(self, bench):
        bench.server.can(302, b"", Location="/elsewhere")
        _ends_in_time(lambda: bench.provider(timeout=5).get_secret("k"), ConfigurationError, seconds=5)


@pytest.mark.parametrize("transport", ["rest"])
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


@pytest.fixture
def netrc(monkeypatch, tmp_path):
    """Have a file with a login for every host that is not named in it."""
    (tmp_path / "netrc").write_text("default login somebody password something")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.parametrize("transport", ["rest"])
@pytest.mark.usefixtures("netrc")
def test_a_redirect_gets_no_login_of_a_netrc(bench):
    bench.server.can(302, b"", Location="/elsewhere")
    with pytest.raises(StrongroomError):
        bench.provider(timeout=60).get_secret("k")
    sent = [headers.get("authorization") for headers in bench.store.metadata]
    assert len(sent) > 1
    assert set(sent) == {None}  # the login of the test is anonymous


@pytest.mark.parametrize("transport", ["rest"])
@pytest.mark.usefixtures("netrc")
def test_grpc_gets_its_token_without_a_login_of_a_netrc(bench, monkeypatch):
    """The server with the token is asked over HTTP, by a session that the SDK makes."""
    given = []
    monkeypatch.setattr(
        grpc_helpers, "create_channel", lambda *_, credentials, **__: given.append(credentials)
    )
    bench.server.can(200, json.dumps({"access_token": "loopback-token", "expires_in": 3600}).encode())
    where = f"{bench.server.url}/token"
    login = Credentials(None, refresh_token="r", token_uri=where, client_id="c", client_secret="s")
    service._GrpcTransport.create_channel("host", credentials=login, scopes=None, quota_project_id="paying")
    headers = {}
    given[0].before_request(Request(), "GET", "https://host/service", headers)
    assert headers["authorization"] == "Bearer loopback-token"
    assert headers["x-goog-user-project"] == "paying"
    assert [one.get("authorization") for one in bench.store.metadata] == [None]


@pytest.mark.parametrize("transport", ["rest"])
@pytest.mark.usefixtures("netrc")
def test_a_netrc_does_not_take_the_place_of_the_token(bench):
    bench.server.can(200, json.dumps({"access_token": "loopback-token", "expires_in": 3600}).encode())
    where = f"{bench.server.url}/token"
    login = Credentials(None, refresh_token="r", token_uri=where, client_id="c", client_secret="s")
    assert bench.provider(credentials=login).list_secrets() == []
    sent = [headers.get("authorization") for headers in bench.store.metadata]
    assert sent == [None, "Bearer loopback-token"]
