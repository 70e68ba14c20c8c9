"""What is Key Vault's own, through the official client."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import pytest
import requests
from azure_store import Refusal
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InvalidKeyError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    ThrottledError,
)
from strongroom.providers import (
    BatchReader,
    BatchWriter,
    Closeable,
    ConditionalWriter,
    Describer,
    StagedWriter,
    VersionReader,
    capabilities,
)
from strongroom_azure.names import name_of

# Python's ssl leaves a socket open whose other end is reset before the handshake, here until the collector
# comes, in a later test: one without an address of the other end.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:unclosed <ssl.SSLSocket [^>]*laddr=\('127.0.0.1', \d+\)>:ResourceWarning"
)

LONG = "team/" + "x" * 400
DENIED = Refusal(
    403, "Forbidden", "Caller is not authorized to perform action on resource.", "ForbiddenByRbac"
)


def test_capabilities_are_what_the_service_has(provider):
    assert capabilities(provider) == {BatchReader, Describer, VersionReader, Closeable}
    assert not isinstance(provider, ConditionalWriter | StagedWriter | BatchWriter)


KEYS = ["plain", "db/password", "DbPassword", "a-0xb", "ключ/🔑", LONG]
VALUES = ["s3cret", "", "strongroom.empty:", "a\nb\x00✓", "x" * 25_600]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(key, value, marks=() if place % len(VALUES) == at else pytest.mark.torture)
        for at, value in enumerate(VALUES)
        for place, key in enumerate(KEYS)
    ],
)
def test_a_value_comes_back_until_it_is_deleted(provider, key, value):
    provider.set_secret(key, value)
    assert provider.get_secret(key) == value
    assert provider.list_secrets() == [key]
    provider.delete_secret(key)
    assert provider.list_secrets() == []
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret(key)
    assert (caught.value.reason, caught.value.key, caught.value.provider) == ("deleted", key, "azure")
    with pytest.raises(SecretNotFoundError):
        provider.delete_secret(key)
    provider.set_secret(key, value)
    assert provider.get_secret(key) == value


def test_calls_per_operation(provider, bench):
    """What the docs' table says, counted at the server."""
    counted = bench.count
    assert counted(provider.set_secret, "k", "1") == ["set"]
    assert counted(provider.get_secret, "k") == ["get"]
    (version,) = provider.list_versions("k")
    assert counted(provider.get_secret_version, "k", version.version) == ["get"]
    assert counted(provider.describe_secret, "k") == ["versions"]
    assert counted(provider.list_versions, "k") == ["versions"]
    assert counted(provider.list_secrets) == ["list"]
    assert sorted(counted(provider.get_secrets, ["k", "absent", "k"])) == ["get", "get", "get_deleted"]
    assert counted(provider.diagnose) == ["list"]
    assert counted(provider.delete_secret, "k") == ["delete"]
    assert counted(provider.set_secret, "k", "2") == ["set", "recover", "set"]
    assert counted(provider.set_secret, LONG, "1") == ["get", "set"]
    assert counted(provider.get_secret, LONG) == ["get"]
    assert counted(provider.delete_secret, LONG) == ["get", "delete"]
    bench.store.calls.clear()
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("absent")
    assert bench.store.calls == ["get", "get_deleted"]


def test_one_read_costs_the_requests_of_the_bare_client(bench):
    bench.provider().set_secret("k", "x")
    client, provider = bench.client(), bench.provider()

    def counted(operation, argument):
        before = bench.server.requests
        operation(argument)
        return bench.server.requests - before

    assert counted(provider.get_secret, "k") == counted(client.get_secret, "k") == 1


def test_the_first_call_answers_the_challenge_and_sends_no_value_before(bench):
    provider = bench.provider()
    provider.set_secret("k", "x")
    assert bench.server.requests == 2
    assert bench.store.calls == ["set"]


def test_nothing_is_asked_before_the_first_call(bench, login):
    credential = login()
    with bench.provider(credential=credential):
        pass
    assert (credential.asked, bench.server.requests) == (0, 0)


# --- names and tags ---


def test_other_tools_read_and_write_the_same_secrets(provider, bench):
    client = bench.client()
    client.set_secret("made-elsewhere", "theirs")
    assert provider.get_secret("made-elsewhere") == "theirs"
    provider.set_secret("made-elsewhere", "ours")
    assert client.get_secret("made-elsewhere").value == "ours"


def test_names_of_other_tools_with_capitals_are_read_in_small_letters(provider, bench):
    bench.client().set_secret("DbPassword", "theirs")
    assert provider.list_secrets() == ["dbpassword"]
    assert provider.get_secret("dbpassword") == "theirs"
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("DbPassword")


def test_names_that_no_key_has_are_not_listed(provider, bench):
    client = bench.client()
    client.set_secret("odd-0xzz", "x")
    client.set_secret("-0xh" + "0" * 64, "x")
    provider.set_secret("a.b", "x")
    assert provider.list_secrets() == ["a.b"]


def test_the_whole_key_stands_in_the_tags(provider, bench):
    client = bench.client()
    key = "Team/" + "🔑" * 400
    provider.set_secret(key, "x")
    tags = client.get_secret(name_of(key).text).properties.tags
    parts = [tags["strongroom.key"], *(tags[f"strongroom.key.{number}"] for number in range(2, 5))]
    assert "".join(parts) == key
    assert provider.list_secrets("Team/🔑") == [key]
    provider.set_secret("plain", "x")
    assert set(client.get_secret("plain").properties.tags) == {"strongroom.written"}


def test_a_name_that_is_another_keys_is_never_taken_for_ours(provider, bench):
    bench.client().set_secret(name_of(LONG).text, "theirs", tags={"strongroom.key": "another"})
    operations = [
        provider.get_secret,
        provider.delete_secret,
        provider.describe_secret,
        provider.list_versions,
        lambda key: provider.set_secret(key, "x"),
        lambda key: provider.get_secrets([key]),
    ]
    for operation in operations:
        with pytest.raises(ConflictError, match=r"tag 'strongroom\.key'"):
            operation(LONG)
    assert provider.list_secrets() == []


def test_an_escaped_name_with_another_keys_tag_is_a_conflict(provider, bench):
    bench.client().set_secret("a-0x2fb", "theirs", tags={"strongroom.key": "another"})
    with pytest.raises(ConflictError):
        provider.get_secret("a/b")
    bench.client().set_secret("a-0x2fb", "made by hand")
    assert provider.get_secret("a/b") == "made by hand"


def test_a_hashed_key_that_is_disabled_can_be_set(provider, bench):
    provider.set_secret(LONG, "1")
    bench.client().update_secret_properties(name_of(LONG).text, enabled=False)
    provider.set_secret(LONG, "2")
    assert provider.get_secret(LONG) == "2"


def test_tags_are_the_users_without_ours(bench):
    provider = bench.provider(tags={"team": "core"})
    provider.set_secret("Key", "x")
    assert provider.describe_secret("Key").tags == {"team": "core"}


def test_all_pages_are_listed_sorted_by_text_prefix(provider, bench):
    bench.store.page = 3
    keys = [f"app/{number}" for number in range(8)] + ["app", "apples", LONG, "z"]
    for key in keys:
        provider.set_secret(key, "x")
    provider.set_secret("app/.rotation/1", "state")
    assert provider.list_secrets() == sorted(keys)
    assert provider.list_secrets("app/") == [f"app/{number}" for number in range(8)]
    assert provider.list_secrets("team/x") == [LONG]
    assert provider.get_secret("app/.rotation/1") == "state"


# --- versions and dates ---


def test_versions_of_one_second_are_in_their_order(provider, bench):
    bench.store.clock = lambda: 1_770_000_000.9
    for number in range(30):
        provider.set_secret("k", str(number))
    found = provider.list_versions("k")
    assert [provider.get_secret_version("k", item.version) for item in found] == [
        str(number) for number in reversed(range(30))
    ]
    assert [item.state for item in found] == ["current"] + ["previous"] * 29
    assert found[0].created_at == datetime(2026, 2, 2, 2, 40, tzinfo=UTC)


def test_the_current_version_of_one_second_is_the_one_that_readers_get(provider, bench):
    """The other writer's clock may be ahead, or its tool may write no time at all."""
    bench.store.clock = lambda: 1_770_000_000
    bench.client().set_secret("k", "1", tags={"strongroom.written": "9999"})
    provider.set_secret("k", "2")
    bench.client().set_secret("k", "3")
    current = provider.list_versions("k")[0]
    assert provider.get_secret_version("k", current.version) == "3"
    assert provider.describe_secret("k").version == current.version


def test_a_disabled_version_of_the_same_second_is_the_newest_if_readers_get_none(provider, bench):
    bench.store.clock = lambda: 1_770_000_000
    provider.set_secret("k", "1")
    newest = bench.client().set_secret("k", "2").properties.version
    bench.client().update_secret_properties("k", newest, enabled=False)
    for call in (provider.get_secret, provider.describe_secret):
        with pytest.raises(SecretNotFoundError) as caught:
            call("k")
        assert caught.value.reason == "disabled"
    assert [(one.version == newest, one.state) for one in provider.list_versions("k")] == [
        (True, "disabled"),
        (False, "previous"),
    ]


def test_dates_of_a_description(provider, bench):
    for number in (1_770_000_000, 1_770_000_060):
        bench.store.clock = lambda number=number: number
        provider.set_secret("k", "x")
    found = provider.describe_secret("k")
    assert (found.created_at.timestamp(), found.updated_at.timestamp()) == (1_770_000_000, 1_770_000_060)
    assert found.updated_at.tzinfo is UTC


def test_describing_needs_no_value(provider, bench):
    provider.set_secret("k", "x")
    bench.store.fail("get", DENIED)
    assert provider.describe_secret("k").version == provider.list_versions("k")[0].version


@pytest.mark.parametrize("version", ["", "/", "4711", "a/../b", "versión", "0" * 32, "x" * 200, 7, None])
def test_versions_that_are_not_there(provider, version):
    provider.set_secret("k", "x")
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret_version("k", version)
    assert (caught.value.reason, caught.value.key) == ("absent", "k")


# --- disabled, deleted, denied ---


def _reads(provider):
    return [
        lambda: provider.get_secret("k"),
        lambda: provider.get_secrets(["k"]),
        lambda: provider.describe_secret("k"),
    ]


def test_a_disabled_secret_is_told_from_a_denied_one(provider, bench):
    provider.set_secret("k", "1")
    provider.set_secret("k", "2")
    newest = provider.list_versions("k")[0].version
    bench.client().update_secret_properties("k", newest, enabled=False)
    for read in (*_reads(provider), lambda: provider.get_secret_version("k", newest)):
        with pytest.raises(SecretNotFoundError) as caught:
            read()
        assert caught.value.reason == "disabled"
    assert [item.state for item in provider.list_versions("k")] == ["disabled", "previous"]
    provider.set_secret("k", "3")
    assert provider.get_secret("k") == "3"
    bench.store.fail("get", DENIED)
    with pytest.raises(PermissionDeniedError, match="ForbiddenByRbac") as caught:
        provider.get_secret("k")
    assert "Key Vault Secrets User" in caught.value.hint


def test_a_disabled_secret_told_in_other_words_is_asked_about(provider, bench):
    provider.set_secret("k", "1")
    bench.store.fail("get", Refusal(403, "Forbidden", "That is not for reading."))
    with pytest.raises(PermissionDeniedError):
        provider.get_secret("k")
    bench.client().update_secret_properties("k", enabled=False)
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret("k")
    assert caught.value.reason == "disabled"


def test_a_deleted_secret_is_told_from_an_absent_one(provider):
    provider.set_secret("k", "1")
    version = provider.list_versions("k")[0].version
    provider.delete_secret("k")
    operations = [
        lambda: provider.get_secret("k"),
        lambda: provider.describe_secret("k"),
        lambda: provider.list_versions("k"),
        lambda: provider.get_secret_version("k", version),
        lambda: provider.delete_secret("k"),
        lambda: provider.get_secrets(["k"]),
    ]
    for operation in operations:
        with pytest.raises(SecretNotFoundError) as caught:
            operation()
        assert (caught.value.reason, caught.value.key) == ("deleted", "k")
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret("absent")
    assert caught.value.reason == "absent"


def test_who_may_not_see_deleted_secrets_is_told_absent(provider, bench):
    provider.set_secret("k", "1")
    provider.delete_secret("k")
    bench.store.fail("get_deleted", DENIED)
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret("k")
    assert caught.value.reason == "absent"


def test_set_over_a_deleted_name_keeps_the_history(provider):
    provider.set_secret("k", "1")
    provider.delete_secret("k")
    provider.set_secret("k", "2")
    found = provider.list_versions("k")
    assert [provider.get_secret_version("k", item.version) for item in found] == ["2", "1"]


@pytest.mark.parametrize("lag", [1, 3])
def test_set_waits_for_a_delete_and_a_recovery(provider, bench, lag):
    provider.set_secret("k", "1")
    pauses = []
    provider._connection._service.pause = pauses.append
    bench.store.lag = lag
    provider.delete_secret("k")
    provider.set_secret("k", "2")
    for pause, longest in zip(pauses[:3], [0.1, 0.2, 0.4], strict=False):
        assert longest / 2 <= pause <= longest
    assert provider.get_secret("k") == "2"


def test_set_waits_where_the_service_gives_no_precise_reason(provider, bench):
    provider.set_secret("k", "1")
    bench.store.fail("set", Refusal(409, "Conflict", "There was a conflict."), times=2)
    provider.set_secret("k", "2")
    assert provider.get_secret("k") == "2"


@pytest.mark.usefixtures("skips_pauses")
@pytest.mark.parametrize("deleting", [True, False])
def test_waiting_longer_is_a_retryable_error(bench, deleting):
    provider, patient = bench.provider(timeout=2), bench.provider()
    patient.set_secret("k", "1")
    if deleting:
        bench.store.lag = 1000
        patient.delete_secret("k")
    else:
        patient.delete_secret("k")
        bench.store.lag = 1000
    with pytest.raises(BackendUnavailableError) as caught:
        provider.set_secret("k", "v4lue")
    error = caught.value
    assert (type(error), error.retryable, error.key) == (BackendUnavailableError, True, "k")
    assert ("old value" in error.hint) is not deleting
    assert "v4lue" not in f"{error} {error.__cause__!r}"
    bench.store.lag = bench.store.held["k"].polls = 0
    patient.set_secret("k", "2")
    assert patient.get_secret("k") == "2"


def test_another_conflict_is_no_reason_to_wait(provider, bench):
    bench.store.fail("set", Refusal(409, "Conflict", "It belongs to a certificate.", "Managed"))
    with pytest.raises(ConflictError, match="certificate"):
        provider.set_secret("k", "x")
    assert bench.store.calls == ["set"]


def test_who_may_not_recover_is_told_so(provider, bench):
    provider.set_secret("k", "1")
    provider.delete_secret("k")
    bench.store.fail("recover", DENIED)
    with pytest.raises(PermissionDeniedError, match="recovering"):
        provider.set_secret("k", "2")


# --- purge ---


def test_purge_deletes_for_good(bench):
    provider = bench.provider(purge=True)
    provider.set_secret("k", "1")
    bench.store.lag = 2
    provider.delete_secret("k")
    provider.set_secret("k", "2")
    assert len(provider.list_versions("k")) == 1
    bench.store.lag = 0
    assert bench.count(provider.delete_secret, "k") == ["delete", "purge"]
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret("k")
    assert caught.value.reason == "absent"


@pytest.mark.usefixtures("skips_pauses")
def test_a_purge_that_had_no_time_left_is_finished_by_the_next_call(bench):
    provider, patient = bench.provider(purge=True, timeout=2), bench.provider(purge=True)
    patient.set_secret("k", "1")
    bench.store.lag = 1000
    with pytest.raises(BackendUnavailableError, match=r"still deleting|no answer before") as caught:
        provider.delete_secret("k")
    assert caught.value.retryable
    bench.store.lag = bench.store.held["k"].polls = 0
    patient.delete_secret("k")
    with pytest.raises(SecretNotFoundError) as caught:
        patient.delete_secret("k")
    assert caught.value.reason == "absent"


def test_purge_protection_is_configuration(bench):
    bench.store.purge_protection = True
    provider = bench.provider(purge=True)
    provider.set_secret("k", "1")
    with pytest.raises(ConfigurationError, match="purge protection") as caught:
        provider.delete_secret("k")
    assert "leave out purge" in caught.value.hint


def test_a_vault_without_soft_delete_needs_no_purge(bench):
    bench.store.soft_delete = False
    provider = bench.provider(purge=True)
    provider.set_secret("k", "1")
    assert bench.count(provider.delete_secret, "k") == ["delete"]


# --- refusals, batches, the rest ---


def test_too_large_before_any_request_and_the_old_value_stays(provider, bench):
    provider.set_secret("k", "old")
    bench.store.calls.clear()
    with pytest.raises(SecretTooLargeError):
        provider.set_secret("k", "x" * 25_601)
    assert bench.store.calls == []
    assert provider.get_secret("k") == "old"


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/../b", "a\x00", "\ud800", "x" * 513, 7])
def test_invalid_keys_make_no_request(provider, bench, key):
    operations = [
        provider.get_secret,
        provider.delete_secret,
        provider.describe_secret,
        provider.list_versions,
        lambda key: provider.set_secret(key, "x"),
        lambda key: provider.get_secret_version(key, "1"),
        lambda key: provider.get_secrets(["fine", key]),
    ]
    for operation in operations:
        with pytest.raises(InvalidKeyError):
            operation(key)
    assert bench.server.requests == 0


@pytest.mark.usefixtures("skips_pauses")
@pytest.mark.parametrize(
    ("refusal", "expected", "retryable"),
    [
        (DENIED, PermissionDeniedError, False),
        (Refusal(429, "Throttled", "is not authorized"), ThrottledError, True),
        (Refusal(500, "InternalError", "is not authorized"), BackendUnavailableError, True),
        (Refusal(400, "BadParameter", "is not authorized"), ConfigurationError, False),
    ],
)
def test_refusals_by_class(bench, refusal, expected, retryable):
    provider = bench.provider(timeout=3)
    for operation in ("get", "set", "delete", "list", "versions"):
        bench.store.fail(operation, refusal)
    operations = {
        "k": [
            lambda: provider.get_secret("k"),
            lambda: provider.set_secret("k", "v4lue"),
            lambda: provider.delete_secret("k"),
            lambda: provider.describe_secret("k"),
            lambda: provider.get_secrets(["k", "l"]),
        ],
        None: [provider.list_secrets],
    }
    for key, several in operations.items():
        for operation in several:
            with pytest.raises(expected, match="is not authorized") as caught:
                operation()
            error = caught.value
            assert type(error) is expected
            assert (error.provider, error.retryable) == ("azure", retryable)
            assert error.key in {key, "l"} if key else error.key is None
            assert "v4lue" not in f"{error!r} {error} {error.__cause__!r}"


def test_an_error_that_repeats_the_value_is_not_passed_on(provider, bench):
    value = "correct-horse"
    bench.store.fail("set", Refusal(400, "BadParameter", f"cannot store {value}"))
    with pytest.raises(ConfigurationError) as caught:
        provider.set_secret("k", value)
    error = caught.value
    assert value not in f"{error} {error!r} {error.__cause__!r} {error.__cause__}"
    assert error.__context__ is None


def test_a_batch_reads_as_many_at_once_as_it_may(bench):
    provider = bench.provider(max_workers=4)
    wanted = {f"app/{number}": str(number) for number in range(20)}
    for key, value in wanted.items():
        provider.set_secret(key, value)
    bench.store.delay = 0.02
    bench.store.most_under_way = 0
    assert provider.get_secrets([*wanted, "absent", "app/3"]) == wanted
    assert 1 < bench.store.most_under_way <= 4
    assert provider.get_secrets(iter(())) == {}


def test_connections_are_kept_for_as_many_readers_as_a_batch_may_have(bench):
    provider = bench.provider(proxied=True, max_workers=16)
    provider.set_secret("k", "x")
    bench.store.delay = 0.02
    for _ in range(3):
        provider.get_secrets([f"k{number}" for number in range(32)])
    assert bench.proxy.connections <= 18


def test_one_failure_fails_the_batch(bench):
    provider = bench.provider()
    provider.set_secret("a", "1")
    bench.store.fail("get", DENIED)
    with pytest.raises(PermissionDeniedError):
        provider.get_secrets(["a", "b", "c"])


def _token(**claims):
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)
    ]
    return ".".join([*parts, "c2ln"])


def test_a_diagnosis_tells_identity_rights_and_clock(bench, login):
    token = _token(appid="11111111-2222", oid="3333")
    provider = bench.provider(credential=login(token=token))
    started = time.monotonic()
    report = provider.diagnose()
    taken = time.monotonic() - started
    assert report == {
        "reachable": "yes",
        "identity": "11111111-2222",
        "can_list": "yes",
        "clock_skew": report["clock_skew"],
    }
    assert abs(float(report["clock_skew"])) <= 2 + taken  # the server's clock was looked at in that time
    bench.store.fail("list", DENIED)
    assert provider.diagnose()["can_list"] == "no"
    bench.server.refused.add(token)
    with pytest.raises(AuthenticationError):
        provider.diagnose()


@pytest.mark.parametrize("token", ["opaque", "a.b.c", _token(), "a.W10.c"])
def test_a_token_that_tells_nobody_is_not_shown(bench, login, token):
    report = bench.provider(credential=login(token=token)).diagnose()
    assert report["identity"].startswith("unknown")


def test_close_twice_and_use_again(bench):
    provider = bench.provider()
    provider.set_secret("k", "x")
    provider.close()
    provider.close()
    assert provider.get_secret("k") == "x"
    with provider as same:
        assert same.get_secret("k") == "x"


def test_a_credential_of_the_callers_stays_open(bench, login):
    credential = login()
    credential.close = lambda: pytest.fail("closed")
    with bench.provider(credential=credential) as provider:
        provider.list_secrets()


def test_a_transport_of_the_callers_stays_open(bench):
    from azure.core.pipeline.transport import RequestsTransport

    with RequestsTransport(connection_verify=bench.ca) as transport:
        options = {"verify_challenge_resource": False, "transport": transport}
        for _ in range(2):
            with bench.provider(client_options=options) as provider:
                assert provider.list_secrets() == []


def test_proxies_and_authorities_of_the_environment(bench, monkeypatch):
    """The SDK's own way, but looked at once; options beat it."""
    for name in ("https_proxy", "no_proxy", "NO_PROXY", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bench.ca)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    options = {"verify_challenge_resource": False}
    proxied = bench.provider(client_options=options, timeout=0.3)
    with pytest.raises(BackendUnavailableError, match="roxy"):
        proxied.list_secrets()
    for given in ({"proxies": {}}, {"use_env_settings": False, "connection_verify": bench.ca}):
        assert bench.provider(client_options={**options, **given}).list_secrets() == []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert bench.provider(client_options=options).list_secrets() == []


def test_a_netrc_does_not_take_the_place_of_the_token(bench, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login somebody password something")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert bench.provider().list_secrets() == []
    assert bench.store.tokens == ["loopback-token"]


def test_a_session_of_the_callers(bench):
    session = requests.Session()
    assert bench.provider(client_options={**bench.client_options, "session": session}).list_secrets() == []


def test_repr_is_harmless(provider, bench):
    provider.set_secret("k", "v4lue")
    assert repr(provider) == f"<AzureSecretProvider {bench.url()}>"
