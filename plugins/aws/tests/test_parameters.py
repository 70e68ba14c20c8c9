"""What is special about the Parameter Store: paths, tiers, batches, and what it does not have."""

from __future__ import annotations

import json

import boto3
import pytest
from aws_front import Front, refusal, success
from strongroom import SecretProviderRegistry
from strongroom.errors import (
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
)
from strongroom.providers import BatchWriter, ConditionalWriter, StagedWriter, capabilities
from strongroom.registry.watch import Watch
from strongroom_aws import AWSParameterProvider
from strongroom_aws.parameter_names import parameter_name_of


@pytest.fixture
def bare(moto):
    client = boto3.client(
        "ssm",
        region_name="us-east-1",
        endpoint_url=moto,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    yield client
    client.close()


@pytest.fixture
def provider(make):
    return make(AWSParameterProvider)


def test_a_key_is_a_path_and_its_value_is_encrypted(provider, bare):
    provider.set_secret("prod/db/password", "v")
    found = bare.get_parameter(Name="/prod/db/password", WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Type"]) == ("v", "SecureString")


def test_parameters_of_other_tools_are_read(provider, bare):
    bare.put_parameter(Name="/theirs/plain", Value="v", Type="String")
    bare.put_parameter(Name="/theirs/list", Value="a,b", Type="StringList")
    assert provider.get_secrets(["theirs/plain", "theirs/list"]) == {
        "theirs/plain": "v",
        "theirs/list": "a,b",
    }
    assert provider.list_secrets("theirs/") == ["theirs/list", "theirs/plain"]


@pytest.mark.parametrize("version", ["0", "9" * 18, "9" * 19, "9" * 5000, "-1", "x", ""])
def test_a_version_that_cannot_be_there_is_not_found(provider, version):
    provider.set_secret("k", "v")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret_version("k", version)


def test_it_claims_nothing_that_the_service_does_not_have(provider):
    assert not capabilities(provider) & {BatchWriter, ConditionalWriter, StagedWriter}


def test_a_hundred_keys_take_ten_calls(provider):
    values = {f"k/{number}": str(number) for number in range(100)}
    for key, text in values.items():
        provider.set_secret(key, text)
    asked = []
    provider._connection.client().meta.events.register("before-send", lambda **_: asked.append(1))
    assert provider.get_secrets([*values, "k/100"]) == values
    assert len(asked) == 11


def test_a_refused_batch_is_read_one_by_one(keys):
    found = success(Parameter={"Value": "v", "Version": 1})
    with (
        Front(refusal(400, "AccessDeniedException"), found, found) as front,
        AWSParameterProvider("us-east-1", endpoint_url=front.url, **keys) as provider,
    ):
        assert provider.get_secrets(["a", "b"]) == {"a": "v", "b": "v"}
        assert front.operations == ["GetParameters", "GetParameter", "GetParameter"]


def test_a_hashed_name_is_found_behind_pages_of_nothing(keys):
    key = "k" * 400 + "/" + "é" * 111
    name = parameter_name_of(key)
    assert name.hashed
    metadata = {"Name": name.text, "Description": f"strongroom key: {key}"}
    answers = [
        success(Parameters=[], NextToken="one"),
        success(Parameters=[], NextToken="two"),
        success(Parameters=[metadata]),
        success(Parameter={"Name": name.text, "Value": "v", "Version": 1}),
    ]
    with (
        Front(*answers) as front,
        AWSParameterProvider("us-east-1", endpoint_url=front.url, **keys) as provider,
    ):
        assert provider.get_secret(key) == "v"
        sent = [json.loads(body).get("NextToken") for _, body in front.asked]
        assert sent == [None, "one", "two", None]
    with (
        Front(success(Parameters=[], NextToken="one"), success(Parameters=[])) as front,
        AWSParameterProvider("us-east-1", endpoint_url=front.url, **keys) as provider,
        pytest.raises(SecretNotFoundError),
    ):
        provider.get_secret(key)


def test_denied_is_denied_also_in_a_batch(keys):
    with (
        Front(refusal(400, "AccessDeniedException")) as front,
        AWSParameterProvider("us-east-1", endpoint_url=front.url, **keys) as provider,
        pytest.raises(PermissionDeniedError),
    ):
        provider.get_secrets(["a", "b"])


@pytest.mark.parametrize(
    ("tier", "most"), [("Standard", 4096), ("Advanced", 8192), ("Intelligent-Tiering", 8192)]
)
def test_values_that_are_too_long_for_the_tier_are_refused(make, tier, most):
    provider = make(AWSParameterProvider, tier=tier)
    provider.set_secret("k", "x" * most)
    with pytest.raises(SecretTooLargeError):
        provider.set_secret("k", "x" * (most + 1))
    assert provider.get_secret("k") == "x" * most


def test_there_is_no_other_tier():
    with pytest.raises(ConfigurationError, match="Standard"):
        AWSParameterProvider("us-east-1", tier="Gold")


def test_a_hashed_name_is_compared_with_its_key(provider, bare):
    key = "folder/" + "ключ" * 100
    name = parameter_name_of(key).text
    assert name.startswith("/folder/-.h")
    provider.set_secret(key, "v")
    assert provider.get_secret(key) == "v"
    assert provider.list_secrets("folder/") == [key]
    bare.put_parameter(
        Name=name, Value="v", Type="String", Overwrite=True, Description="strongroom key: another"
    )
    for call in (
        provider.get_secret,
        provider.describe_secret,
        provider.delete_secret,
        provider.list_versions,
    ):
        with pytest.raises(SecretNotFoundError):
            call(key)
    assert provider.get_secrets([key]) == {}
    assert provider.list_secrets() == []


def test_a_prefix_that_no_key_can_have_finds_nothing(provider):
    provider.set_secret("a/b", "v")
    assert provider.list_secrets("a//b") == provider.list_secrets("/a") == []


def test_versions_are_numbers_and_tags_are_told(provider, bare):
    for text in ("one", "two"):
        provider.set_secret("k", text)
    bare.add_tags_to_resource(
        ResourceType="Parameter", ResourceId="/k", Tags=[{"Key": "team", "Value": "core"}]
    )
    metadata = provider.describe_secret("k")
    assert (metadata.version, metadata.tags) == ("2", {"team": "core"})
    assert [(one.version, one.state) for one in provider.list_versions("k")] == [
        ("2", "current"),
        ("1", "previous"),
    ]
    assert provider.get_secret_version("k", "1") == "one"
    assert str(metadata.updated_at.tzinfo) == "UTC"


def test_a_parameter_that_was_made_again_has_another_date_though_its_version_is_as_before(provider):
    """A watch compares both."""
    described = []
    for text in ("old", "new"):
        provider.set_secret("k", text)
        described.append(provider.describe_secret("k"))
        provider.delete_secret("k")
    before, after = described
    assert provider.counts_again
    assert (before.version, before.updated_at < after.updated_at) == (after.version, True)


def test_keys_of_rotations_are_in_no_list(provider):
    for key in ("a", "a/.rotation/state"):
        provider.set_secret(key, "v")
    assert provider.list_secrets() == ["a"]


def test_a_poll_of_a_watched_parameter_is_one_request(provider):
    """Whoever asks for its description gets the tags, by a second one."""
    asked, now, heard = [], [0.0], []
    provider._connection.client().meta.events.register(
        "before-send",
        lambda request, **_: asked.append(request.headers["X-Amz-Target"].decode().rpartition(".")[2]),
    )
    keys = ["app/a", "app/b"]
    for key in keys:
        provider.set_secret(key, "1")
    spec = {"version": 1, "pipelines": {"other": {"provider": {"type": "memory"}}}}
    with SecretProviderRegistry(spec) as registry:
        registry.register("app", provider, prefix="")
        watch = Watch(registry, keys, heard.append, clock=lambda: now[0])
        watch.wake = lambda: None  # without a thread: this test says what the time is
        watch.start()
        watch.work()
        provider.set_secret("app/b", "2")
        asked.clear()
        for _ in range(3 * len(keys)):
            now[0] += 30.0 / len(keys)
            watch.work()
        # One more: the key that was asked before the change is asked again, for it may have changed with the other.
        assert asked == ["GetParameter"] * (3 * len(keys) + 1)
        assert [[one.key for one in batch] for batch in heard] == [["app/b"]]
        watch.close()
        asked.clear()
        provider.describe_secret("app/a")
        assert asked == ["GetParameter", "ListTagsForResource"]
