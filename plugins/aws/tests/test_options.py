"""Where, as whom: the SDK's own chain, profiles, roles, and options that beat the environment."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from aws_front import Front, refusal, success, value
from strongroom import SecretProviderRegistry
from strongroom.errors import AuthenticationError, ConfigurationError, SpecError
from strongroom_aws import AWSParameterProvider, AWSSecretProvider
from strongroom_aws.account import Account

PROVIDERS = [AWSSecretProvider, AWSParameterProvider]
ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing of this machine's own: no variables, no profiles, no metadata service."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.fixture
def front():
    with Front(value("v")) as server:
        yield server


@pytest.fixture
def seen(front):
    """Return who signed the requests of a provider, as its client sends them."""

    def ask(**options):
        signed = []
        with AWSSecretProvider(**{"endpoint_url": front.url, **options}) as provider:
            events = provider._connection.client().meta.events
            events.register("before-send", lambda request, **_: signed.append(request.headers))
            provider.get_secret("k")
        return [str(one["Authorization"]).partition("Credential=")[2].split("/")[0:3:2] for one in signed]

    return ask


def test_the_standard_chain_is_asked_where_nothing_is_told(environment, seen):
    environment.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert seen() == [["from-environment", "eu-west-1"]]


def test_options_beat_the_environment(environment, seen):
    environment.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    environment.setenv("AWS_PROFILE", "does-not-exist")
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    environment.setenv("AWS_MAX_ATTEMPTS", "9")
    options = {"region_name": "us-east-2", "access_key_id": "told", "secret_access_key": "y"}
    assert seen(**options) == [["told", "us-east-2"]]


def test_a_profile_beats_the_environments_keys(environment, tmp_path, seen):
    environment.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
    (tmp_path / "config").write_text(
        "[profile mine]\nregion = ap-south-1\naws_access_key_id = of-profile\naws_secret_access_key = z\n"
    )
    assert seen(profile_name="mine") == [["of-profile", "ap-south-1"]]


def test_a_key_pair_beats_a_profile_of_the_environment(environment, tmp_path, seen):
    environment.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
    environment.setenv("AWS_PROFILE", "mine")
    (tmp_path / "config").write_text(
        "[profile mine]\nregion = ap-south-1\naws_access_key_id = of-profile\naws_secret_access_key = z\n"
    )
    assert seen() == [["from-environment", "ap-south-1"]]


@pytest.mark.parametrize("cls", PROVIDERS)
@pytest.mark.parametrize(
    ("variables", "error", "hint"),
    [
        ({"AWS_PROFILE": ""}, ConfigurationError, "unset AWS_PROFILE"),
        ({"AWS_PROFILE": "nobody"}, ConfigurationError, "profile of ~/.aws/config"),
        ({"AWS_ACCESS_KEY_ID": "a"}, AuthenticationError, "both halves"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": ""}, AuthenticationError, "both halves"),
    ],
)
def test_the_hint_names_what_is_wrong_in_the_environment(environment, cls, variables, error, hint):
    for name, given in variables.items():
        environment.setenv(name, given)
    with (
        cls("us-east-1", endpoint_url="http://127.0.0.1:1", timeout=5) as provider,
        pytest.raises(error) as caught,
    ):
        provider.get_secret("k")
    assert hint in caught.value.hint


@pytest.mark.parametrize("cls", PROVIDERS)
def test_without_a_login_it_is_said(cls):
    provider = cls("us-east-1", endpoint_url="http://127.0.0.1:1", timeout=5)
    with provider, pytest.raises(AuthenticationError) as caught:
        provider.get_secret("k")
    assert caught.value.provider == cls.type_name
    assert "log in" in str(caught.value)


@pytest.mark.parametrize("cls", PROVIDERS)
@pytest.mark.parametrize("options", [{}, {"profile_name": "nobody", "region_name": "us-east-1"}])
def test_without_a_region_or_with_a_profile_that_is_not_there_it_is_said(cls, options):
    with cls(timeout=5, **options) as provider, pytest.raises(ConfigurationError):
        provider.get_secret("k")


@pytest.mark.parametrize("cls", PROVIDERS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"access_key_id": "a"},
        {"secret_access_key": "a"},
        {"session_token": "a"},
        {"access_key_id": "", "secret_access_key": ""},
        {"access_key_id": "a", "secret_access_key": ""},
        {"access_key_id": "", "secret_access_key": "a"},
        {"external_id": "a"},
        {"timeout": 0},
    ],
)
def test_options_that_do_not_go_together(cls, wrong):
    with pytest.raises(ConfigurationError):
        cls("us-east-1", **wrong)


def test_a_deletion_is_at_once_or_has_a_window():
    with pytest.raises(ConfigurationError):
        AWSSecretProvider(force_delete=True, recovery_window_days=7)


def test_a_role_is_assumed_once_for_all_threads(keys, front):
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    answer = (
        "<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleResult><Credentials>"
        "<AccessKeyId>of-role</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
        f"<Expiration>{until.isoformat()}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    with Front((200, answer.encode(), {"Content-Type": "text/xml"})) as sts:
        role = {"role_arn": ROLE, "external_id": "outside", "sts_endpoint_url": sts.url}
        with AWSSecretProvider("us-east-1", endpoint_url=front.url, **keys, **role) as provider:
            signed = []
            events = provider._connection.client().meta.events
            events.register("before-send", lambda request, **_: signed.append(request.headers))
            for _ in range(3):
                provider.get_secret("k")
    assert len(sts.asked) == 1
    assert b"ExternalId=outside" in sts.asked[0][1]
    assert b"RoleSessionName=strongroom" in sts.asked[0][1]
    assert all("of-role" in str(one["Authorization"]) for one in signed)


def test_a_role_that_is_refused_is_denied(keys, front):
    answer = (
        "<ErrorResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><Error><Code>AccessDenied</Code>"
        "<Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>"
    )
    with (
        Front((403, answer.encode(), {"Content-Type": "text/xml"})) as sts,
        AWSSecretProvider(
            "us-east-1", endpoint_url=front.url, role_arn=ROLE, sts_endpoint_url=sts.url, **keys
        ) as provider,
        pytest.raises(PermissionError, match="AssumeRole"),
    ):
        provider.get_secret("k")
    assert front.asked == []


def test_a_role_at_moto(make):
    provider = make(role_arn=ROLE)
    provider.set_secret("k", "v")
    assert provider.get_secret("k") == "v"
    assert ":assumed-role/reader/" in provider.diagnose()["identity"]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (None, None),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://vpce-1.secretsmanager.eu-central-1.vpce.amazonaws.com", None),
        ("https://secretsmanager.eu-central-1.api.aws", None),
        ("https://amazonaws.com.example", "https://amazonaws.com.example"),
    ],
)
def test_sts_is_asked_at_its_own_address_unless_there_is_an_emulator(endpoint, expected):
    assert Account(endpoint_url=endpoint).sts_address == expected
    assert Account(endpoint_url=endpoint, sts_endpoint_url="https://sts").sts_address == "https://sts"


def test_no_credential_in_any_repr():
    options = {"access_key_id": "key-id", "secret_access_key": "hidden", "session_token": "hidden"}
    provider = AWSSecretProvider("us-east-1", **options)
    shown = f"{provider!r}{provider._connection._account!r}"
    assert "hidden" not in shown
    assert "key-id" not in shown


@pytest.mark.parametrize("cls", PROVIDERS)
def test_doctor_is_told_who_is_logged_in(make, cls):
    started = time.monotonic()
    report = make(cls).diagnose()
    assert report["reachable"] == report["can_list"] == "yes"
    assert report["identity"].startswith("arn:aws:")
    # Nobody can tell at what moment of a slow request the server looked at its clock.
    assert abs(int(report["clock_skew"])) <= 2 + time.monotonic() - started


def test_doctor_says_who_may_not_list_and_that_sts_is_not_reached(keys):
    date = {"Date": "Wed, 25 Nov 2020 08:00:00 GMT"}
    with (
        Front(refusal(400, "AccessDeniedException", headers=date)) as front,
        AWSSecretProvider(
            "us-east-1", endpoint_url=front.url, sts_endpoint_url="http://127.0.0.1:1", **keys
        ) as provider,
    ):
        report = provider.diagnose()
    assert report["can_list"] == "no"
    assert report["identity"].startswith("unknown")


def test_doctor_is_told_of_a_clock_that_is_wrong(keys):
    answer = success(SecretList=[])
    with (
        Front(answer) as front,
        AWSSecretProvider(
            "us-east-1", endpoint_url=front.url, sts_endpoint_url="http://127.0.0.1:1", **keys
        ) as provider,
    ):
        real = provider._connection.call

        def late(*args, **more):
            reply = real(*args, **more)
            reply["ResponseMetadata"]["HTTPHeaders"]["date"] = "Wed, 25 Nov 2020 08:00:00 GMT"
            return reply

        provider._connection.call = late
        assert int(provider.diagnose()["clock_skew"]) < -1000


def test_doctor_fails_as_other_calls_do(keys):
    with (
        Front(refusal(400, "UnrecognizedClientException")) as front,
        AWSSecretProvider("us-east-1", endpoint_url=front.url, **keys) as provider,
        pytest.raises(AuthenticationError),
    ):
        provider.diagnose()


def _spec(options, kind, **more):
    return {"version": 1, "pipelines": {"app": {"provider": {"type": kind, **options, **more}}}}


@pytest.mark.parametrize(
    ("kind", "more"), [("aws", {"force_delete": True}), ("aws.parameters", {"tier": "Advanced"})]
)
def test_a_spec_reads_and_writes(options, kind, more):
    with SecretProviderRegistry(_spec(options, kind, timeout=5, **more)) as registry:
        registry.set_secret("db/password", "s3cret")
        assert registry.get_secret("db/password") == "s3cret"
        assert registry.get_secrets(["db/password", "absent"]) == {"db/password": "s3cret"}
        assert registry.list_secrets() == ["db/password"]


@pytest.mark.parametrize(
    ("kind", "wrong", "expected"),
    [
        ("aws", {"recovery_window_days": 3}, "recovery_window_days"),
        ("aws", {"timeout": 0}, "timeout"),
        ("aws", {"regoin_name": "x"}, "region_name"),
        ("aws.parameters", {"tier": "Gold"}, "tier"),
        ("aws.parameters", {"force_delete": True}, "force_delete"),
    ],
)
def test_a_wrong_option_is_told_by_the_spec(kind, wrong, expected):
    with pytest.raises(SpecError, match=expected):
        SecretProviderRegistry(_spec({"region_name": "us-east-1"}, kind, **wrong))


@pytest.mark.parametrize("kind", PROVIDERS)
@pytest.mark.parametrize("option", ["endpoint_url", "sts_endpoint_url"])
@pytest.mark.parametrize(
    "url", ["nope", "http://", "http://h:port", "http://h:0", "ftp://h", "http://user:12/hunter@h"]
)
def test_an_address_that_is_none_is_refused_at_once_and_not_shown(kind, option, url):
    """A password may stand in it, and what it asks for is never there."""
    with pytest.raises(ConfigurationError, match=f"{option} is not an address") as caught:
        kind(**{option: url})
    assert "hunter" not in f"{caught.value!r} {caught.value}"
