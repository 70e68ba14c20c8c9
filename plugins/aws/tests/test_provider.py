"""What is special about Secrets Manager: batches, labels, races, deletion, binary secrets, requests."""

from __future__ import annotations

import json
import math
import threading
import time

import aws_rules
import boto3
import pytest
from aws_front import Front, refusal, success, value
from strongroom import SecretProviderRegistry, SecretRotation
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    ValidationError,
)
from strongroom.registry.watch import Watch
from strongroom_aws import AWSSecretProvider
from strongroom_aws.names import HASH_MARK, name_of
from strongroom_aws.versions import CANDIDATE, CURRENT, PENDING

LONG = "ключ/" * 100 + "k"
"""A key whose escaped name is too long."""


@pytest.fixture
def counted():
    """Return a function that names the operations which a call asks the server for."""

    def count(provider, call):
        asked = []
        events = provider._connection.client().meta.events

        def note(request, **_):
            asked.append(request.headers["X-Amz-Target"].decode().rpartition(".")[2])

        events.register("before-send", note)
        call()
        events.unregister("before-send", note)
        return asked

    return count


def _together(count, work):
    """Do the same at the same time, and return what came of each: its answer or its error."""
    outcomes = []
    barrier = threading.Barrier(count)

    def one(number):
        barrier.wait()
        try:
            outcomes.append(work(number))
        except (ConflictError, SecretNotFoundError) as error:
            outcomes.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


# --- requests ---


@pytest.mark.parametrize(("count", "calls"), [(40, 2), pytest.param(100, 5, marks=pytest.mark.torture)])
def test_twenty_secrets_take_one_call(make, counted, count, calls):
    provider = make()
    values = {f"key/{number}": str(number) for number in range(count)}
    provider.set_secrets(values)
    found = {}
    assert (
        counted(provider, lambda: found.update(provider.get_secrets(values)))
        == ["BatchGetSecretValue"] * calls
    )
    assert found == values
    assert counted(provider, lambda: provider.get_secrets([*values, "absent"])) == ["BatchGetSecretValue"] * (
        calls + 1
    )


def test_one_read_takes_as_many_requests_as_the_bare_sdk(make, bare, counted):
    provider = make()
    provider.set_secret("k", "v")
    bare_asked = []
    bare.meta.events.register("before-send", lambda **_: bare_asked.append(1))
    bare.get_secret_value(SecretId="k", VersionStage="AWSCURRENT")
    assert counted(provider, lambda: provider.get_secret("k")) == ["GetSecretValue"]
    assert len(bare_asked) == 1


def test_costs_of_the_other_operations_are_as_documented(make, counted):
    provider = make()
    new, replaced = (counted(provider, lambda text=text: provider.set_secret("k", text)) for text in "ab")
    assert new == ["PutSecretValue", "CreateSecret"]
    assert replaced == ["PutSecretValue"]
    version = provider.describe_secret("k").version
    assert counted(provider, lambda: provider.set_secret_if("new", "v", None)) == ["CreateSecret"]
    assert counted(provider, lambda: provider.set_secret_if("k", "v", version)) == [
        "DescribeSecret",
        "PutSecretValue",
        "UpdateSecretVersionStage",
    ]
    assert counted(provider, lambda: provider.describe_secret("k")) == [
        "DescribeSecret",
        "ListSecretVersionIds",
    ]
    assert counted(provider, provider.list_secrets) == ["ListSecrets"]
    assert counted(provider, lambda: provider.stage_secret("k", "v")) == ["DescribeSecret", "PutSecretValue"]
    assert counted(provider, lambda: provider.delete_secret("k")) == ["DescribeSecret", "DeleteSecret"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, "AccessDeniedException"),
        refusal(400, "UnknownOperationException"),
        refusal(404, "UnknownOperationException"),
        refusal(400, "InvalidAction"),
        refusal(501, "NotImplemented"),
    ],
)
def test_where_batches_are_refused_secrets_are_read_one_by_one(keys, answer):
    with (
        Front(answer, value("v", name=None)) as front,
        AWSSecretProvider("us-east-1", endpoint_url=front.url, **keys) as provider,
    ):
        assert provider.get_secrets(["a", "b"]) == {"a": "v", "b": "v"}
        assert provider.get_secrets(["c"]) == {"c": "v"}
        assert sorted(front.operations) == ["BatchGetSecretValue", *["GetSecretValue"] * 3]


def test_a_secret_that_is_denied_within_a_batch_is_denied(keys):
    denied = success(SecretValues=[], Errors=[{"SecretId": "a", "ErrorCode": "AccessDeniedException"}])
    with (
        Front(denied, refusal(400, "AccessDeniedException")) as front,
        AWSSecretProvider("us-east-1", endpoint_url=front.url, **keys) as provider,
        pytest.raises(PermissionDeniedError),
    ):
        provider.get_secrets(["a"])


# --- versions and races ---


def test_a_batch_answers_what_was_promoted_and_not_what_was_staged(make):
    provider = make()
    provider.set_secrets({"a": "old", "b": "old"})
    first = provider.describe_secret("a").version
    staged = provider.stage_secret("a", "new")
    assert provider.get_secrets(["a", "b"]) == {"a": "old", "b": "old"}
    provider.promote_version("a", staged, expected_version=first)
    assert provider.get_secrets(["a", "b"]) == {"a": "new", "b": "old"}


def test_a_key_that_is_only_staged_is_in_no_answer(make):
    provider = make()
    provider.set_secret("there", "v")
    version = provider.stage_secret("k", "pending")
    assert provider.get_secrets(["k", "there"]) == {"there": "v"}
    assert provider.list_secrets() == ["there"]
    assert [(one.version, one.state) for one in provider.list_versions("k")] == [(version, "pending")]
    for call in (provider.get_secret, provider.describe_secret, provider.delete_secret):
        with pytest.raises(SecretNotFoundError):
            call("k")
    provider.set_secret_if("k", "written", None)
    assert provider.get_secret("k") == "written"
    with pytest.raises(ConflictError):
        provider.promote_version("k", version, expected_version=None)


def test_a_key_whose_staged_version_was_discarded_can_be_set(make):
    provider = make()
    provider.discard_version("k", provider.stage_secret("k", "pending"))
    with pytest.raises(SecretNotFoundError):
        provider.list_versions("k")
    provider.set_secret("k", "v")
    assert provider.get_secret("k") == "v"


def test_staging_a_deleted_key_does_not_bring_its_value_back(make):
    provider = make()
    provider.set_secret("k", "old")
    provider.delete_secret("k")
    version = provider.stage_secret("k", "new")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("k")
    provider.promote_version("k", version, expected_version=None)
    assert provider.get_secret("k") == "new"


@pytest.mark.parametrize("deleted", [True, False])
def test_staging_does_not_take_away_what_is_written_meanwhile(make, bare, deleted):
    provider, other = make(), make()
    bare.create_secret(Name="k")
    if deleted:
        provider.set_secret("k", "old")
        provider.delete_secret("k")
    real = provider._service.described

    def described(key, deadline):
        found = real(key, deadline)
        other.set_secret("k", "written meanwhile")
        return found

    provider._service.described = described
    provider.stage_secret("k", "new")
    assert provider.get_secret("k") == "written meanwhile"


def test_a_secret_of_another_tool_without_a_value_is_not_there_and_can_be_staged_and_written(make, bare):
    for key in ("staged", "written"):
        bare.create_secret(Name=key)
    provider = make()
    for ask in (provider.get_secret, provider.describe_secret, provider.delete_secret):
        with pytest.raises(SecretNotFoundError):
            ask("staged")
    provider.stage_secret("staged", "v")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("staged")
    provider.set_secret_if("written", "v", None)
    assert provider.get_secret("written") == "v"


@pytest.mark.parametrize(
    ("expected", "writers"),
    [
        ("a version", 8),
        (None, 8),
        *(pytest.param(one, 24, marks=pytest.mark.torture) for one in ("a version", None)),
    ],
)
def test_one_of_many_racing_writers_wins(make, expected, writers):
    provider = make()
    version = None
    if expected:
        provider.set_secret("k", "0")
        version = provider.describe_secret("k").version
    outcomes = _together(writers, lambda number: provider.set_secret_if("k", str(number), version))
    (won,) = [one for one in outcomes if isinstance(one, str)]
    assert provider.describe_secret("k").version == won
    # Whatever label the losers left, there is one for all.
    labels = [
        label
        for one in provider._service.versions("k", provider._connection.deadline())
        for label in one["VersionStages"]
    ]
    assert labels.count(CANDIDATE) <= 1


def test_one_of_many_racing_writers_brings_a_deleted_key_back(make):
    provider = make()
    provider.set_secret("k", "old")
    provider.delete_secret("k")
    outcomes = _together(8, lambda number: provider.set_secret_if("k", str(number), None))
    (won,) = [one for one in outcomes if isinstance(one, str)]
    assert provider.describe_secret("k").version == won


def test_one_of_many_racing_promotions_wins(make):
    provider = make()
    provider.set_secret("k", "old")
    version = provider.describe_secret("k").version
    staged = provider.stage_secret("k", "new")
    outcomes = _together(8, lambda _: provider.promote_version("k", staged, expected_version=version))
    assert outcomes.count(None) == 1
    assert provider.get_secret("k") == "new"


def test_the_history_has_what_was_current_and_nothing_else(make):
    provider = make()
    for text in ("one", "two", "three"):
        provider.set_secret("k", text)
    provider.discard_version("k", provider.stage_secret("k", "discarded"))
    with pytest.raises(ConflictError):
        provider.set_secret_if("k", "lost", "00000000-0000-4000-8000-000000000000")
    history = provider.list_versions("k")
    assert [provider.get_secret_version("k", one.version) for one in history] == ["three", "two", "one"]
    assert [one.state for one in history] == ["current", "previous", "previous"]


def test_a_lost_conditional_write_cannot_be_read_by_its_id(make):
    provider = make()
    provider.set_secret("k", "old")
    deadline = provider._connection.deadline()
    provider._service.put("k", "lost", "strongroom-staged-" + "0" * 32, CANDIDATE, deadline)
    with pytest.raises(SecretNotFoundError):
        provider.get_secret_version("k", "strongroom-staged-" + "0" * 32)
    assert [one.state for one in provider.list_versions("k")] == ["current"]


def test_labels_are_always_told(make, monkeypatch):
    provider = make()
    provider.set_secret("k", "v")
    asked = []
    real = provider._connection.call
    monkeypatch.setattr(
        provider._connection, "call", lambda *args, **more: asked.append(more) or real(*args, **more)
    )
    provider.get_secret("k")
    provider.set_secret("k", "w")
    provider.stage_secret("k", "x")
    stages = [
        more.get("VersionStage") or more.get("VersionStages") for more in asked if "VersionStage" in str(more)
    ]
    assert stages == [CURRENT, [CURRENT], [PENDING]]


# --- deletion ---


def test_a_secret_that_waits_for_deletion_is_told_so(make, bare):
    provider = make(recovery_window_days=7)
    provider.set_secret("k", "v")
    provider.delete_secret("k")
    for call in (
        provider.get_secret,
        provider.delete_secret,
        provider.describe_secret,
        provider.list_versions,
        lambda key: provider.get_secrets(["absent", key]),
    ):
        with pytest.raises(SecretNotFoundError) as caught:
            call("k")
        assert (caught.value.key, caught.value.reason) == ("k", "deleted")
    assert provider.list_secrets() == []
    days = (bare.describe_secret(SecretId="k")["DeletedDate"].timestamp() - time.time()) / 86_400
    assert 6.9 < days < 7.1


@pytest.mark.parametrize("key", ["k", LONG])
def test_setting_a_key_that_waits_for_deletion_restores_it(make, bare, key):
    provider = make()
    # The one that deleted it knows; another provider learns it from the service.
    for writer in (provider, make()):
        provider.set_secret(key, "old")
        provider.delete_secret(key)
        writer.set_secret(key, "new")
        assert provider.get_secret(key) == "new"
        assert "DeletedDate" not in bare.describe_secret(SecretId=name_of(key).text)


@pytest.mark.parametrize(
    "write",
    [
        lambda provider: provider.set_secret("k", "new"),
        lambda provider: provider.set_secret_if("k", "new", None),
    ],
)
def test_what_was_staged_as_a_secret_was_deleted_is_not_staged_any_more(make, write):
    """Else a rotation would be in flight that nobody began, and could bring a value from before."""
    provider = make()
    # The one that deleted it knows; another provider learns it from the service.
    for writer in (provider, make()):
        provider.set_secret("k", "old")
        staged = provider.stage_secret("k", "staged")
        provider.delete_secret("k")
        write(writer)
        assert "pending" not in {one.state for one in provider.list_versions("k")}
        with pytest.raises((ConflictError, SecretNotFoundError)):
            provider.promote_version("k", staged, expected_version=provider.describe_secret("k").version)
        assert provider.get_secret("k") == "new"
        assert SecretRotation(provider).rotate("k", "newer").state == "current"


@pytest.mark.parametrize(
    "write",
    [
        lambda provider: provider.set_secret("k", "hunter2"),
        lambda provider: provider.set_secret_if("k", "hunter2", None),
        lambda provider: provider.stage_secret("k", "hunter2"),
    ],
)
def test_a_write_that_fails_after_it_restored_a_secret_says_that_it_is_readable_again(
    make, bare, monkeypatch, write
):
    provider = make()
    provider.set_secret("k", "old")
    provider.delete_secret("k")
    monkeypatch.setattr(provider._writer._service, "put", _denied)
    with pytest.raises(PermissionDeniedError) as caught:
        write(provider)
    assert "DeletedDate" not in bare.describe_secret(SecretId="k")
    assert "readers get its old value" in caught.value.hint


def test_a_deleted_secret_whose_description_does_not_say_so_can_be_set(make, monkeypatch):
    """Of a login without DescribeSecret, or of a service that shows the deletion only later."""
    for shown in (_denied, lambda *_: {}):
        provider = make()
        provider.set_secret("k", "old")
        provider.delete_secret("k")
        for writer in (provider, make()):
            with monkeypatch.context() as patched:
                patched.setattr(writer._writer._service, "described", shown)
                writer.set_secret("k", "new")
            assert provider.get_secret("k") == "new"
            provider.delete_secret("k")


def test_who_may_move_no_labels_can_still_set_what_was_deleted(make, monkeypatch):
    provider = make()
    provider.set_secret("k", "old")
    provider.stage_secret("k", "staged")
    provider.delete_secret("k")
    monkeypatch.setattr(provider._writer._service, "move", _denied)
    provider.set_secret("k", "new")
    assert provider.get_secret("k") == "new"


def _denied(*_, **__):
    raise PermissionDeniedError("aws: writing 'k': denied", hint="the policy")


def test_a_conditional_write_over_a_key_that_waits_for_deletion_is_a_conflict(make):
    provider = make()
    provider.set_secret("k", "old")
    version = provider.describe_secret("k").version
    provider.delete_secret("k")
    with pytest.raises(ConflictError):
        provider.set_secret_if("k", "new", version)
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("k")


def test_deleting_at_once_leaves_nothing(make, bare):
    provider = make(force_delete=True)
    provider.set_secret("k", "v")
    provider.delete_secret("k")
    with pytest.raises(SecretNotFoundError) as caught:
        provider.get_secret("k")
    assert caught.value.reason == "absent"
    with pytest.raises(bare.exceptions.ResourceNotFoundException):
        bare.describe_secret(SecretId="k")


def test_a_name_that_is_still_being_deleted_is_waited_for(make):
    provider = make(force_delete=True)
    provider.set_secret("k", "old")
    provider.delete_secret("k")
    aws_rules.lingering["k"] = time.monotonic() + 0.3
    provider.set_secret("k", "new")
    assert provider.get_secret("k") == "new"


def test_a_name_that_is_deleted_for_longer_than_the_deadline_can_be_tried_again(make, skipped_time):
    provider = make(force_delete=True, timeout=10.0)  # so long that no request is let go
    provider._connection.pause = skipped_time.pause
    aws_rules.lingering["k"] = math.inf
    for call in (provider.set_secret, provider.stage_secret, lambda k, v: provider.set_secret_if(k, v, None)):
        with pytest.raises(BackendUnavailableError, match=r"try again|before the deadline"):
            call("k", "new")
    assert skipped_time.passed <= 3 * 10.0  # no pause goes beyond the deadline of its call


# --- values and names ---


def test_a_binary_secret_is_a_clear_error(make, bare):
    bare.create_secret(Name="k", SecretBinary=b"\x00\x01")
    provider = make()
    for call in (lambda: provider.get_secret("k"), lambda: provider.get_secrets(["k"])):
        with pytest.raises(ValidationError, match="binary"):
            call()
    assert provider.list_secrets() == ["k"]
    provider.set_secret("k", "text")
    assert provider.get_secret("k") == "text"


def test_secrets_of_other_tools_are_read_and_ours_by_them(make, bare):
    bare.create_secret(Name="prod/database@1", SecretString="theirs")
    provider = make()
    assert provider.get_secret("prod/database@1") == "theirs"
    provider.set_secret("prod/ours", "value")
    assert bare.get_secret_value(SecretId="prod/ours")["SecretString"] == "value"
    provider.set_secret("empty", "")
    assert bare.get_secret_value(SecretId="empty")["SecretString"] == "strongroom:text:"


def test_the_password_that_another_service_manages_is_read_by_its_name(make, moto):
    """As RDS names it, with a sign that is in no name of anybody else."""
    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    rds = boto3.client("rds", region_name="us-east-1", endpoint_url=moto, **credentials)
    made = rds.create_db_instance(
        DBInstanceIdentifier="db",
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        MasterUsername="admin",
        ManageMasterUserPassword=True,
    )
    rds.close()
    name = made["DBInstance"]["MasterUserSecret"]["SecretArn"].rpartition(":secret:")[2][: -len("-AbCdEf")]
    store = make()
    store.set_secret("mine!a", "2")
    assert name.startswith("rds!db-")
    value = store.get_secret(name)
    assert json.loads(value)["username"] == "admin"
    assert store.get_secrets([name, "mine!a"]) == {name: value, "mine!a": "2"}
    assert store.describe_secret(name).key == name
    assert store.list_secrets("rds") == store.list_secrets("rds!") == store.list_secrets("rds!d") == [name]
    assert store.list_secrets("mine!") == ["mine!a"]


def test_values_that_are_too_long_are_refused_before_any_request():
    with AWSSecretProvider("us-east-1", endpoint_url="http://127.0.0.1:1") as provider:
        for call in (
            lambda text: provider.set_secret("k", text),
            lambda text: provider.set_secrets({"k": text}),
            lambda text: provider.set_secret_if("k", text, None),
            lambda text: provider.stage_secret("k", text),
        ):
            for text in ("x" * 65_537, "é" * 32_769):
                with pytest.raises(SecretTooLargeError, match="65,53"):
                    call(text)
        assert provider._connection._client is None


def test_the_longest_value_is_kept(make):
    provider = make()
    provider.set_secret("k", "é" * 32_768)
    assert provider.get_secret("k") == "é" * 32_768


def test_a_hashed_name_is_compared_with_its_key(make, bare):
    provider = make()
    provider.set_secret(LONG, "v")
    name = name_of(LONG).text
    assert name.startswith(HASH_MARK)
    assert LONG in bare.describe_secret(SecretId=name)["Description"]
    bare.update_secret(SecretId=name, Description="strongroom key: another")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret(LONG)
    assert provider.get_secrets([LONG]) == {}
    assert provider.list_secrets() == []


def test_keys_of_rotations_are_in_no_list(make):
    provider = make()
    provider.set_secrets({"a": "1", "a/.rotation/state": "2", "a.rotation": "3"})
    assert provider.list_secrets() == ["a", "a.rotation"]
    assert provider.get_secret("a/.rotation/state") == "2"


def test_tags_and_the_kms_key_are_of_what_is_created(make, bare):
    provider = make(tags={"team": "core"}, kms_key_id="alias/mine")
    provider.set_secret("k", "v")
    assert provider.describe_secret("k").tags == {"team": "core"}
    assert bare.describe_secret(SecretId="k")["KmsKeyId"] == "alias/mine"


def test_dates_are_in_utc_wherever_the_machine_is(make, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        provider = make()
        provider.set_secret("k", "v")
        metadata = provider.describe_secret("k")
        found = [metadata.created_at, metadata.updated_at, provider.list_versions("k")[0].created_at]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert {str(date.tzinfo) for date in found} == {"UTC"}
    assert all(abs(date.timestamp() - time.time()) < 60 for date in found)


def test_many_descriptions_take_a_request_for_a_hundred(make):
    """By a list of names with a common beginning, else by ten names a request."""
    provider = make()
    keys = [f"app/k{number:02}" for number in range(25)]
    provider.set_secrets(dict.fromkeys([*keys, "other", "zz"], "1"))
    provider.delete_secret("app/k03")
    asked = []
    call = provider._connection.call
    provider._connection.call = lambda operation, *args, **kwargs: (
        asked.append(operation),
        call(operation, *args, **kwargs),
    )[1]
    found = provider.describe_secrets([*keys, "app/absent"])
    assert asked == ["list_secrets"]
    assert sorted(found) == sorted({*keys} - {"app/k03"})
    asked.clear()
    found = provider.describe_secrets([*keys[:4], "other", "zz", "absent"])
    assert asked == ["list_secrets"]
    assert sorted(found) == ["app/k00", "app/k01", "app/k02", "other", "zz"]
    assert found["zz"].version == provider.describe_secret("zz").version


def test_a_poll_of_watched_secrets_is_one_request(make, counted):
    """And a change of two of them comes in one call."""
    provider, now, heard = make(), [0.0], []
    spec = {"version": 1, "pipelines": {"other": {"provider": {"type": "memory"}}}}
    with SecretProviderRegistry(spec) as own:
        own.register("app", provider, prefix="")
        keys = [f"app/k{number:03}" for number in range(30)]
        provider.set_secrets(dict.fromkeys(keys, "1"))
        watch = Watch(own, keys, heard.append, clock=lambda: now[0])
        watch.wake = lambda: None  # without a thread: this test says what the time is
        watch.start()
        assert counted(provider, watch.work) == []
        for _ in range(2):
            now[0] += 30.0
            assert counted(provider, watch.work) == ["ListSecrets"]
        provider.set_secrets({"app/k007": "2", "app/k023": "2"})
        now[0] += 30.0
        assert counted(provider, watch.work) == ["ListSecrets"]
        assert [[one.key for one in batch] for batch in heard] == [["app/k007", "app/k023"]]
        watch.close()
