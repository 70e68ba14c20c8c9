"""What is Secret Manager's own, over both transports."""

from __future__ import annotations

import base64
from datetime import UTC

import pytest
from gcp_store import PROJECT, Refusal
from google.rpc import error_details_pb2
from strongroom import SecretProviderRegistry
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
    ValidationError,
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
from strongroom.registry.watch import Watch
from strongroom_gcp.names import ANNOTATION, name_of

PARENT = f"projects/{PROJECT}"
LONG = "team/" + "x" * 400


def test_capabilities_are_what_the_service_has(provider):
    assert capabilities(provider) == {BatchReader, Describer, VersionReader, Closeable}
    assert not isinstance(provider, ConditionalWriter | StagedWriter | BatchWriter)


KEYS = ["plain", "db/password", "a-_b", "ключ/🔑", LONG]
VALUES = ["s3cret", "", "strongroom.empty:", "a\nb\x00✓", "x" * 65_536]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(key, value, marks=() if at == KEYS.index(key) else pytest.mark.torture)
        for at, value in enumerate(VALUES)
        for key in KEYS
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
    assert (caught.value.reason, caught.value.key, caught.value.provider) == ("absent", key, "gcp")
    with pytest.raises(SecretNotFoundError):
        provider.delete_secret(key)
    provider.set_secret(key, value)
    assert provider.get_secret(key) == value


def test_calls_per_operation(provider, bench):
    """What the docs' table says, counted at the server."""

    def counted(operation, *args):
        bench.store.calls.clear()
        operation(*args)
        return bench.store.calls

    new = ["AddSecretVersion", "CreateSecret", "AddSecretVersion"]
    assert counted(provider.set_secret, "k", "1") == new
    assert counted(provider.set_secret, "k", "2") == ["AddSecretVersion"]
    assert counted(provider.get_secret, "k") == ["AccessSecretVersion"]
    assert counted(provider.get_secret_version, "k", "1") == ["AccessSecretVersion"]
    assert counted(provider.describe_secret, "k") == ["GetSecret", "GetSecretVersion"]
    assert counted(provider.list_versions, "k") == ["ListSecretVersions"]
    assert counted(provider.list_secrets) == ["ListSecrets"]
    assert counted(provider.get_secrets, ["k", "absent", "k"]) == ["AccessSecretVersion"] * 2
    assert counted(provider.delete_secret, "k") == ["DeleteSecret"]
    assert counted(provider.set_secret, LONG, "1") == ["GetSecret", "CreateSecret", "AddSecretVersion"]
    assert counted(provider.set_secret, LONG, "2") == ["GetSecret", "AddSecretVersion"]
    assert counted(provider.get_secret, LONG) == ["GetSecret", "AccessSecretVersion"]
    assert counted(provider.delete_secret, LONG) == ["GetSecret", "DeleteSecret"]


def test_a_poll_of_a_watched_secret_is_one_request(provider, bench):
    """Of a hashed name its owner is asked for as well."""
    now, heard = [0.0], []
    for key in ("k", LONG):
        provider.set_secret(key, "1")
    spec = {"version": 1, "pipelines": {"other": {"provider": {"type": "memory"}}}}
    with SecretProviderRegistry(spec) as registry:
        registry.register("app", provider, prefix="")
        watch = Watch(registry, ["k"], heard.append, clock=lambda: now[0])
        watch.wake = lambda: None  # without a thread: this test says what the time is
        watch.start()
        watch.work()
        provider.set_secret("k", "2")
        bench.store.calls.clear()
        for _ in range(3):
            now[0] += 30.0
            watch.work()
        assert bench.store.calls == ["GetSecretVersion"] * 3
        assert [[one.key for one in batch] for batch in heard] == [["k"]]
        watch.close()
        bench.store.calls.clear()
        registry.watch(LONG, heard.append).close()
        assert bench.store.calls == ["GetSecret", "GetSecretVersion"]


def test_a_watch_reports_a_secret_that_was_deleted_and_made_again(provider):
    """Its versions are counted from 1 again."""
    now, heard = [0.0], []
    spec = {"version": 1, "pipelines": {"other": {"provider": {"type": "memory"}}}}
    provider.set_secret("k", "old")
    with SecretProviderRegistry(spec) as registry:
        registry.register("app", provider, prefix="")
        watch = Watch(registry, "k", heard.append, clock=lambda: now[0])
        watch.wake = lambda: None  # as above
        watch.start()
        provider.delete_secret("k")
        provider.set_secret("k", "new")
        for _ in range(3):
            now[0] += 30.0
            watch.work()
        watch.close()
    assert [[(one.key, one.version) for one in batch] for batch in heard] == [[("k", "1")]]


def test_other_tools_read_and_write_the_same_secrets(provider, bench):
    client = bench.put("made_elsewhere", b"theirs")
    assert provider.get_secret("made_elsewhere") == "theirs"
    provider.set_secret("made_elsewhere", "ours")
    path = f"{PARENT}/secrets/made_elsewhere/versions/latest"
    assert client.access_secret_version(name=path).payload.data == b"ours"


def test_a_binary_secret_is_a_clear_error(provider, bench):
    bench.put("binary", b"\xff\x00\xfe")
    with pytest.raises(ValidationError, match="not UTF-8") as caught:
        provider.get_secret("binary")
    assert caught.value.key == "binary"
    with pytest.raises(ValidationError):
        provider.get_secrets(["binary"])


def test_names_that_no_key_has_are_not_listed(provider, bench):
    bench.put("odd-_name", b"x")
    bench.put("-_h" + "0" * 64, b"x")
    provider.set_secret("a.b", "x")
    assert provider.list_secrets() == ["a.b"]


def test_all_pages_are_listed_sorted_by_text_prefix(provider, bench):
    bench.store.largest_page = 3
    keys = [f"app/{number}" for number in range(8)] + ["app", "apples", LONG, "z"]
    for key in keys:
        provider.set_secret(key, "x")
    provider.set_secret("app/.rotation/1", "state")
    assert provider.list_secrets() == sorted(keys)
    assert provider.list_secrets("app") == sorted(key for key in keys if key.startswith("app"))
    assert provider.list_secrets("app/") == [f"app/{number}" for number in range(8)]
    assert provider.list_secrets("team/x") == [LONG]
    assert provider.get_secret("app/.rotation/1") == "state"


@pytest.mark.parametrize(("change", "reason"), [("disable", "disabled"), ("destroy", "destroyed")])
def test_a_newest_version_that_cannot_be_read_hides_older_ones(provider, bench, change, reason):
    """`latest` is the newest version whatever its state, as at the service itself."""
    provider.set_secret("k", "1")
    provider.set_secret("k", "2")
    getattr(bench.client(), f"{change}_secret_version")(name=f"{PARENT}/secrets/k/versions/2")
    for read in (
        lambda: provider.get_secret("k"),
        lambda: provider.get_secrets(["k"]),
        lambda: provider.get_secret_version("k", "2"),
        lambda: provider.describe_secret("k"),
    ):
        with pytest.raises(SecretNotFoundError) as caught:
            read()
        assert caught.value.reason == reason
    assert [(v.version, v.state) for v in provider.list_versions("k")] == [("2", reason), ("1", "previous")]
    assert provider.get_secret_version("k", "1") == "1"
    provider.set_secret("k", "3")
    assert provider.get_secret("k") == "3"


def test_a_state_told_in_other_words_is_asked_for(provider, bench):
    provider.set_secret("k", "1")
    bench.client().disable_secret_version(name=f"{PARENT}/secrets/k/versions/1")
    bench.store.fail(
        "AccessSecretVersion", Refusal("FAILED_PRECONDITION", "That version is not for reading.")
    )
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret("k")
    assert caught.value.reason == "disabled"


def test_a_failed_precondition_for_another_reason_is_not_absence(provider, bench):
    provider.set_secret("k", "1")
    refusal = Refusal("FAILED_PRECONDITION", "CryptoKey [x] is not enabled, current state is: DISABLED.")
    bench.store.fail("AccessSecretVersion", refusal)
    with pytest.raises(ConfigurationError, match="CryptoKey"):
        provider.get_secret("k")


def test_versions_and_description(bench):
    provider = bench.provider(labels={"team": "core"})
    provider.set_secret("k", "1")
    provider.set_secret("k", "2")
    versions = provider.list_versions("k")
    assert [(v.version, v.state) for v in versions] == [("2", "current"), ("1", "previous")]
    assert all(v.created_at.tzinfo is UTC for v in versions)
    assert [provider.get_secret_version("k", v.version) for v in versions] == ["2", "1"]
    metadata = provider.describe_secret("k")
    assert (metadata.key, metadata.version, dict(metadata.tags)) == ("k", "2", {"team": "core"})
    assert metadata.created_at < versions[1].created_at < versions[0].created_at == metadata.updated_at


def test_versions_over_many_pages(provider, bench):
    bench.store.largest_page = 3
    for number in range(11):
        provider.set_secret("k", str(number))
    assert [v.version for v in provider.list_versions("k")] == [str(n) for n in range(11, 0, -1)]


def test_a_version_by_alias(provider, bench):
    provider.set_secret("k", "1")
    provider.set_secret("k", "2")
    bench.store.held[f"{PARENT}/secrets/k"].secret.version_aliases = {"good": 1}
    assert provider.get_secret_version("k", "good") == "1"


@pytest.mark.parametrize("version", ["9", "0", "-1", "nope", "", "1/../2", "a:b", "é", "9" * 40])
def test_a_version_that_is_not_there(provider, version):
    provider.set_secret("k", "1")
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret_version("k", version)
    assert (caught.value.reason, caught.value.key) == ("absent", "k")


@pytest.mark.parametrize("operation", ["get_secret", "describe_secret", "list_versions", "delete_secret"])
def test_absent(provider, operation):
    with pytest.raises(SecretNotFoundError):
        getattr(provider, operation)("absent")


def test_a_secret_without_a_version_is_absent(provider, bench):
    bench.client().create_secret(parent=PARENT, secret_id="bare", secret={"replication": {"automatic": {}}})
    for read in (provider.get_secret, provider.describe_secret, provider.list_versions):
        with pytest.raises(SecretNotFoundError):
            read("bare")
    assert provider.get_secrets(["bare"]) == {}
    provider.set_secret("bare", "x")
    assert provider.get_secret("bare") == "x"


def test_check_sums_are_sent_and_compared(provider, bench):
    provider.set_secret("k", "x")
    assert all(v.client_specified_payload_checksum for v in bench.store.held[f"{PARENT}/secrets/k"].versions)
    bench.store.damage = True
    with pytest.raises(BackendUnavailableError, match="damaged"):
        provider.get_secret("k")


def test_too_large_before_any_request_and_the_old_value_stays(provider, bench):
    provider.set_secret("k", "old")
    bench.store.calls.clear()
    with pytest.raises(SecretTooLargeError):
        provider.set_secret("k", "x" * 65_537)
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
    assert bench.store.calls == []


def test_a_hashed_name_that_is_another_keys_is_never_taken_for_ours(provider, bench):
    bench.put(name_of(LONG).text, b"theirs", annotations={ANNOTATION: "another"})
    operations = [
        provider.get_secret,
        provider.delete_secret,
        provider.describe_secret,
        provider.list_versions,
        lambda key: provider.set_secret(key, "x"),
        lambda key: provider.get_secrets([key]),
    ]
    for operation in operations:
        with pytest.raises(ConflictError, match="annotation"):
            operation(LONG)
    assert provider.list_secrets() == []


def test_placement_of_new_secrets(bench):
    def made(**options):
        provider = bench.provider(**options)
        provider.set_secret("k", "x")
        secret = next(iter(bench.store.held.values())).secret
        provider.delete_secret("k")
        return secret

    assert "automatic" in made().replication
    key = "projects/p/locations/{location}/keyRings/r/cryptoKeys/k"
    replicas = made(
        replication=["europe-west3", "europe-west4"], kms_key_name=key
    ).replication.user_managed.replicas
    assert [replica.location for replica in replicas] == ["europe-west3", "europe-west4"]
    assert replicas[1].customer_managed_encryption.kms_key_name == key.format(location="europe-west4")
    automatic = made(kms_key_name=key).replication.automatic
    assert automatic.customer_managed_encryption.kms_key_name == key.format(location="global")
    regional = made(location="europe-west3", kms_key_name=key, labels={"team": "core"})
    assert regional.name == f"{PARENT}/locations/europe-west3/secrets/k"
    assert regional.customer_managed_encryption.kms_key_name == key.format(location="europe-west3")
    assert dict(regional.labels) == {"team": "core"}


def test_regional_and_global_secrets_are_apart(bench):
    here, there = bench.provider(location="europe-west3"), bench.provider()
    here.set_secret("k", "regional")
    assert (here.list_secrets(), there.list_secrets()) == (["k"], [])
    assert here.get_secret("k") == "regional"


@pytest.mark.parametrize(
    "key", ["project", "my-project", "project/db", "the-project-that-was-not-found", "a b"]
)
def test_a_key_may_have_any_word(provider, key):
    """Google's words name the secret: what its name says is nothing about the project."""
    with pytest.raises(SecretNotFoundError):
        provider.get_secret(key)
    provider.set_secret(key, "v")
    assert provider.get_secret(key) == "v"
    with pytest.raises(SecretNotFoundError):
        provider.get_secret_version(key, "7")
    assert provider.get_secrets([key, f"{key}-2"]) == {key: "v"}
    provider.delete_secret(key)
    for call in (
        provider.get_secret,
        provider.delete_secret,
        provider.describe_secret,
        provider.list_versions,
    ):
        with pytest.raises(SecretNotFoundError):
            call(key)


def test_two_first_writers(provider, bench):
    """The other creates the secret between our add, which finds none, and our create."""
    bench.store.fail("AddSecretVersion", Refusal("NOT_FOUND", "Secret [x] not found."), times=1)
    bench.put("k", b"theirs") if bench.store.faults["AddSecretVersion"].clear() else None
    bench.store.fail("AddSecretVersion", Refusal("NOT_FOUND", "Secret [x] not found."), times=1)
    provider.set_secret("k", "ours")
    assert bench.store.calls[-3:] == ["AddSecretVersion", "CreateSecret", "AddSecretVersion"]
    assert provider.get_secret("k") == "ours"


def test_a_service_that_learns_late_of_a_new_secret(provider, bench):
    bench.store.fail("AddSecretVersion", Refusal("NOT_FOUND", "Secret [x] not found."), times=3)
    provider.set_secret("k", "x")
    assert provider.get_secret("k") == "x"


REFUSALS = [
    ("PERMISSION_DENIED", PermissionDeniedError, False),
    ("UNAUTHENTICATED", AuthenticationError, False),
    ("RESOURCE_EXHAUSTED", ThrottledError, True),
    ("UNAVAILABLE", BackendUnavailableError, True),
    ("INTERNAL", BackendUnavailableError, True),
    ("DEADLINE_EXCEEDED", BackendUnavailableError, True),
    ("INVALID_ARGUMENT", ConfigurationError, False),
]


@pytest.mark.usefixtures("skips_pauses")
@pytest.mark.parametrize(("code", "expected", "retryable"), REFUSALS)
def test_refusals_by_class(bench, code, expected, retryable):
    provider = bench.provider(timeout=3)
    for rpc in ("AccessSecretVersion", "AddSecretVersion", "DeleteSecret", "ListSecrets"):
        bench.store.fail(rpc, Refusal(code, "the reason in words"))
    operations = {
        "k": [
            lambda: provider.get_secret("k"),
            lambda: provider.set_secret("k", "v4lue"),
            lambda: provider.delete_secret("k"),
            lambda: provider.get_secrets(["k", "l"]),
        ],
        None: [provider.list_secrets],
    }
    for key, several in operations.items():
        for operation in several:
            with pytest.raises(expected) as caught:
                operation()
            error = caught.value
            # Over REST a 401 makes google-auth renew the login, and it tells of that; the test's cannot be.
            renewed = code == "UNAUTHENTICATED" and bench.transport == "rest"
            assert ("cannot be refreshed" if renewed else "the reason in words") in str(error)
            assert type(error) is expected
            assert (error.provider, error.retryable) == ("gcp", retryable)
            assert error.key in {key, "l"} if key else error.key is None
            assert "v4lue" not in f"{error!r} {error} {error.__cause__!r}"


def _told(reason):
    return error_details_pb2.ErrorInfo(reason=reason, domain="googleapis.com")


@pytest.mark.parametrize("reason", ["SERVICE_DISABLED", "CONSUMER_INVALID", "BILLING_DISABLED"])
def test_a_project_that_cannot_serve_is_configuration(provider, bench, reason):
    bench.store.fail("AccessSecretVersion", Refusal("PERMISSION_DENIED", "No.", [_told(reason)]))
    with pytest.raises(ConfigurationError):
        provider.get_secret("k")


def test_a_missing_permission_is_denied(provider, bench):
    words = "Permission 'secretmanager.versions.access' denied for resource 'x' (or it may not exist)."
    bench.store.fail(
        "AccessSecretVersion", Refusal("PERMISSION_DENIED", words, [_told("IAM_PERMISSION_DENIED")])
    )
    with pytest.raises(PermissionDeniedError, match="or it may not exist"):
        provider.get_secret("k")


def test_a_wrong_project_is_configuration_and_never_not_found(bench):
    provider = bench.provider(project="elsewhere")
    for operation in (
        lambda: provider.get_secret("k"),
        lambda: provider.set_secret("k", "x"),
        lambda: provider.delete_secret("k"),
        provider.list_secrets,
    ):
        with pytest.raises(ConfigurationError, match="elsewhere"):
            operation()


def test_a_project_that_is_not_found_is_configuration(provider, bench):
    for rpc in ("AccessSecretVersion", "ListSecrets"):
        bench.store.fail(rpc, Refusal("NOT_FOUND", "Project 'loopback' was not found or deleted."))
    for operation in (lambda: provider.get_secret("k"), provider.list_secrets):
        with pytest.raises(ConfigurationError):
            operation()


def test_a_parent_that_is_not_found_on_create_is_configuration(provider, bench):
    bench.store.fail("CreateSecret", Refusal("NOT_FOUND", "Location [nowhere] not found."))
    with pytest.raises(ConfigurationError, match="nowhere"):
        provider.set_secret("k", "x")


def test_wrong_labels_are_configuration(bench):
    with pytest.raises(ConfigurationError, match="Label"):
        bench.provider(labels={"Not Allowed": "x"}).set_secret("k", "x")


@pytest.mark.parametrize("value", ["correct-horse", "strongroom.empty:and more"])
@pytest.mark.parametrize("written", [str, lambda value: base64.b64encode(value.encode()).decode()])
def test_an_error_that_repeats_the_value_is_not_passed_on(provider, bench, value, written):
    """Over REST a value is sent in base64, so that this is how a proxy would quote it."""
    shown = written(value)
    bench.store.fail("AddSecretVersion", Refusal("INVALID_ARGUMENT", f"cannot store {shown}"))
    with pytest.raises(ConfigurationError) as caught:
        provider.set_secret("k", value)
    error = caught.value
    assert shown not in f"{error} {error!r} {error.__cause__!r} {error.__cause__}"
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


def test_one_failure_fails_the_batch(bench):
    provider = bench.provider()
    provider.set_secret("a", "1")
    bench.store.fail("AccessSecretVersion", Refusal("PERMISSION_DENIED", "No."))
    with pytest.raises(PermissionDeniedError):
        provider.get_secrets(["a", "b", "c"])


def test_a_diagnosis_tells_identity_rights_and_transport(provider, bench):
    report = provider.diagnose()
    assert all(isinstance(text, str) for text in report.values())
    assert report["reachable"] == "yes"
    assert report["can_list"] == "yes"
    assert report["transport"] == bench.transport
    bench.store.fail("ListSecrets", Refusal("PERMISSION_DENIED", "No."))
    assert provider.diagnose()["can_list"].startswith("no")
    bench.store.fail("ListSecrets", Refusal("UNAUTHENTICATED", "No."))
    with pytest.raises(AuthenticationError):
        provider.diagnose()


def test_close_twice_and_use_again(bench):
    provider = bench.provider()
    provider.set_secret("k", "x")
    provider.close()
    provider.close()
    assert provider.get_secret("k") == "x"
    with provider as same:
        assert same.get_secret("k") == "x"


def test_repr_is_harmless(provider):
    provider.set_secret("k", "v4lue")
    assert repr(provider) == "<GCPSecretProvider projects/loopback>"


@pytest.mark.parametrize("transport", ["rest"], indirect=True)
def test_batches_keep_their_connections(bench):
    """A second batch needs no more connections than the first has opened."""
    provider = bench.provider(proxied=True, max_workers=24)
    wanted = {f"k{number}": "value" for number in range(24)}
    for key, value in wanted.items():
        provider.set_secret(key, value)
    bench.store.delay = 0.02
    assert provider.get_secrets(wanted) == wanted
    assert provider.get_secrets(wanted) == wanted
    assert bench.proxy.connections <= 24
