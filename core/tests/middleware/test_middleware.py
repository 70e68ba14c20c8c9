"""The plain middleware: what each lets pass, what it refuses, and what it says."""

from __future__ import annotations

import asyncio
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom import (
    PrefixMiddleware,
    ReadOnlyMiddleware,
    RetryMiddleware,
    SecretProviderRegistry,
    TenantContext,
    TenantMiddleware,
    TenantSecretProvider,
    ValidationMiddleware,
)
from strongroom.backends import MemorySecretProvider
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidKeyError,
    InvalidTenantError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    SpecError,
    StrongroomError,
    TenantContextError,
    ValidationError,
    show_key,
)
from strongroom.hooks import SecretHook
from strongroom.keys import check_key
from strongroom.middleware.prefix import StripPrefixMiddleware
from strongroom.spec.loader import load_plan
from strongroom.testing.conformance.base import assert_harmless


@pytest.fixture
def inner():
    return MemorySecretProvider()


def test_a_prefix_is_put_before_and_taken_off(inner):
    provider = PrefixMiddleware(inner, "team/")
    provider.set_secret("a", "1")
    inner.set_secret("other", "2")
    assert inner.list_secrets() == ["other", "team/a"]
    assert provider.list_secrets() == ["a"]
    with pytest.raises(SecretNotFoundError) as absent:
        provider.get_secret("other")
    assert absent.value.key == "other"
    assert "team/" not in str(absent.value)


@pytest.mark.parametrize(
    "around", [TenantMiddleware, lambda inner: PrefixMiddleware(inner, "team/")], ids=["tenant", "prefix"]
)
@pytest.mark.parametrize(
    "write",
    [
        lambda provider: provider.set_secret("a", b"x"),
        lambda provider: provider.set_secrets({"a": b"x"}),
        lambda provider: provider.set_secret_if("a", b"x", None),
        lambda provider: provider.stage_secret("a", b"x"),
    ],
    ids=["set", "batch", "conditional", "stage"],
)
def test_a_value_that_is_not_text_is_refused_by_the_callers_own_name(inner, around, write):
    """A `TypeError` has no key that could be put in afterwards."""
    with TenantContext(tenant_id="acme"), pytest.raises(TypeError) as refused:
        write(around(inner))
    assert str(refused.value) == "the value for 'a' must be str, got bytes"


def test_read_only_refuses_every_write_and_nothing_else(inner):
    inner.set_secret("a", "1")
    provider = ReadOnlyMiddleware(inner)
    version = provider.describe_secret("a").version
    for write in (
        lambda: provider.set_secret("a", "hunter2"),
        lambda: provider.delete_secret("a"),
        lambda: provider.set_secrets({"a": "hunter2"}),
        lambda: provider.set_secret_if("a", "hunter2", version),
        lambda: provider.stage_secret("a", "hunter2"),
        lambda: provider.promote_version("a", "x", expected_version=version),
        lambda: provider.discard_version("a", "x"),
    ):
        with pytest.raises(ReadOnlyError) as refused:
            write()
        assert "hunter2" not in str(refused.value)
    assert provider.get_secrets(["a"]) == {"a": "1"}
    assert len(provider.list_versions("a")) == 1


def test_validation_checks_writes_reads_batches_and_conditional_writes(inner):
    provider = ValidationMiddleware(
        inner, key_pattern="app/.*", min_length=2, max_length=5, forbid=["Secret"], json_schema=None
    )
    provider.set_secret("app/a", "abc")
    for write in (
        lambda: provider.set_secret("app/a", "x"),
        lambda: provider.set_secret("app/a", "too long"),
        lambda: provider.set_secrets({"app/a": "ok", "app/b": "x"}),
        lambda: provider.set_secret_if("app/c", "x", None),
        lambda: provider.stage_secret("app/a", "x"),
    ):
        with pytest.raises(ValidationError):
            write()
    with pytest.raises(InvalidKeyError):
        provider.set_secret("other/a", "abc")
    assert inner.list_secrets() == ["app/a"]
    assert inner.get_secret("app/a") == "abc"
    inner.set_secret("app/a", "x")
    for read in (lambda: provider.get_secret("app/a"), lambda: provider.get_secrets(["app/a"])):
        with pytest.raises(ValidationError):
            read()


def test_one_forbidden_word_need_not_stand_in_a_list(inner):
    provider = ValidationMiddleware(inner, forbid="changeme")
    provider.set_secret("a", "c")
    with pytest.raises(ValidationError):
        provider.set_secret("a", "ChangeMe")


def test_a_json_schema_is_told_by_place_and_rule_without_the_value(inner):
    rules = {"type": "object", "properties": {"user": {"type": "string"}}, "required": ["user"]}
    provider = ValidationMiddleware(inner, json_schema=rules)
    provider.set_secret("a", '{"user": "x"}')
    for bad in ("hunter2", '{"user": 7777}', "{}"):
        with pytest.raises(ValidationError) as refused:
            provider.set_secret("a", bad)
        assert_harmless(refused.value, "hunter2", "7777")


def test_a_number_that_only_python_reads_is_not_json(inner):
    """As for a declaration of `type: json`."""
    provider = ValidationMiddleware(inner, json_schema={"type": "number"})
    for bad in ("NaN", "Infinity", "-Infinity"):
        with pytest.raises(ValidationError, match="it is not JSON text"):
            provider.set_secret("a", bad)


@pytest.fixture
def requests_seen():
    """Yield the address of a server that answers every GET with a schema, and the paths asked for."""
    paths: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/schema.json", paths
        server.shutdown()


@pytest.mark.parametrize(
    "around",
    [
        lambda ref: {"$ref": ref},
        lambda ref: {"properties": {"a": {"items": {"$dynamicRef": ref}}}},
        lambda ref: {"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [{"$ref": ref}]},
        lambda ref: {"$id": "http://a.example/b", "properties": {"a": {"$id": "c", "not": {"$ref": ref}}}},
    ],
)
@pytest.mark.parametrize("where", ["server", "file", "inside"])
def test_a_json_schema_reads_nothing_from_elsewhere(inner, tmp_path, requests_seen, around, where):
    address, paths = requests_seen
    (file := tmp_path / "schema.json").write_text("true")
    rules = around({"server": address, "file": file.as_uri(), "inside": "#/$defs/none"}[where])
    with pytest.raises(ConfigurationError, match="nothing is read from elsewhere"):
        ValidationMiddleware(inner, json_schema=rules)
    pipeline = {"provider": {"type": "memory"}, "middleware": [{"type": "validation", "json_schema": rules}]}
    with pytest.raises(
        SpecError, match=r"middleware\[0\].json_schema: a `\$\w*` names nothing in the schema"
    ):
        SecretProviderRegistry({"version": 1, "pipelines": {"app": pipeline}})
    assert paths == []


@pytest.mark.parametrize(
    "rules",
    [
        {"$defs": {"text": {"type": "string"}}, "items": {"$ref": "#/$defs/text"}},
        {"$id": "http://a.example/b", "$defs": {"t": {"$id": "t", "type": "string"}}, "items": {"$ref": "t"}},
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "definitions": {"text": {"type": "string"}},
            "items": {"$ref": "#/definitions/text"},
        },
        {"properties": {"$ref": {"type": "string"}}, "items": {"type": "string"}},
    ],
)
def test_a_json_schema_may_refer_to_itself(inner, rules):
    provider = ValidationMiddleware(inner, json_schema=rules)
    provider.set_secret("a", '["b"]')
    with pytest.raises(ValidationError, match=r"\$\[0\] breaks the schema's 'type'"):
        provider.set_secret("a", "[1]")


def test_a_schema_that_refers_to_itself_for_ever_is_not_taken_for_bad_json(inner):
    provider = ValidationMiddleware(inner, json_schema={"$ref": "#"})
    with pytest.raises(ValidationError, match="nested too deeply"):
        provider.set_secret("a", "{}")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"json_schema": {"$schema": 5}}, "json_schema: not a JSON Schema: $.$schema is not text"),
        (
            {"json_schema": {"$ref": "#/allOf/x", "allOf": [{}]}},
            "json_schema: a `$ref` names nothing in the schema",
        ),
        ({"key_pattern": "["}, "key_pattern: not a regular expression that the package regex takes: "),
        (
            {"json_schema": {"type": "hunter2"}},
            "json_schema: not a JSON Schema: $.type breaks the rule 'anyOf'",
        ),
        (
            {"json_schema": {"items": {"pattern": "["}}},
            "json_schema: not a JSON Schema: $.items.pattern breaks",
        ),
    ],
)
def test_a_wrong_rule_is_a_mistake_of_the_spec(rule, expected):
    pipeline = {"provider": {"type": "memory"}, "middleware": [{"type": "validation", **rule}]}
    with pytest.raises(SpecError) as refused:
        load_plan({"version": 1, "pipelines": {"app": pipeline}}, look_up=False)
    assert f"pipelines.app.middleware[0].{expected}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


class Flaky:
    """Fails as often as it is told, then answers."""

    def __init__(self, error, times):
        self.error, self.times, self.asked = error, times, 0

    def get_secret(self, key):
        self.asked += 1
        if self.asked <= self.times:
            raise self.error.with_traceback(None)  # else it grows with each
        return "value"

    def set_secret(self, key, value): ...

    def delete_secret(self, key): ...

    def list_secrets(self, prefix=""):
        return []


def test_retry_asks_again_only_where_that_may_help():
    down = Flaky(BackendUnavailableError("down"), 2)
    assert RetryMiddleware(down, attempts=3, base_seconds=0).get_secret("a") == "value"
    assert down.asked == 3
    down = Flaky(BackendUnavailableError("down"), 9)
    with pytest.raises(BackendUnavailableError):
        RetryMiddleware(down, attempts=3, base_seconds=0).get_secret("a")
    assert down.asked == 3
    denied = Flaky(PermissionDeniedError("no"), 9)
    with pytest.raises(PermissionDeniedError):
        RetryMiddleware(denied, attempts=3, base_seconds=0).get_secret("a")
    assert denied.asked == 1


def test_retry_takes_any_number_of_attempts():
    """A float holds no power of two beyond the 1023rd."""
    down = Flaky(BackendUnavailableError("down"), 1030)
    retrying = RetryMiddleware(down, attempts=1200, max_seconds=0, sleep=lambda _: None)
    assert retrying.get_secret("a") == "value"


def test_tenants_see_their_own_secrets_by_their_own_names(inner):
    provider = TenantSecretProvider(base_provider=inner)
    for tenant in ("one", "two"):
        with TenantContext(tenant_id=tenant):
            provider.set_secret("database/password", tenant)
    assert inner.list_secrets() == ["tenants/one/database/password", "tenants/two/database/password"]
    with TenantContext("one"):
        assert provider.get_secret("database/password") == "one"
        assert provider.list_secrets() == ["database/password"]
        assert provider.describe_secret("database/password").key == "database/password"
        with pytest.raises(SecretNotFoundError) as absent:
            provider.get_secret("nothing")
        assert absent.value.key == "nothing"
        assert "tenants/" not in str(absent.value)
        with pytest.raises(InvalidKeyError) as too_long:
            provider.get_secret("k" * 510)
        assert "tenants/" not in str(too_long.value)


@pytest.mark.parametrize("call", ["get_secrets", "set_secrets", "describe_secrets"])
def test_a_batch_is_of_one_tenant_though_its_block_ends_in_the_middle(call, inner, monkeypatch):
    """Here as the second key is checked; garbage collections come between any two lines."""

    def in_block():
        with TenantContext("one"):
            yield

    def checked(key):
        seen.append(key)
        if len(seen) == 2:
            generator.close()
        return check_key(key)

    keys, seen, asked = ["a", "b", "c"], [], []

    class Noting(MemorySecretProvider):
        def set_secrets(self, values):
            asked.extend(values)

        def get_secrets(self, keys):
            asked.extend(keys)
            return {}

        def describe_secrets(self, keys):
            asked.extend(keys)
            return {}

    monkeypatch.setattr("strongroom.middleware.tenant.check_key", checked)
    provider = TenantMiddleware(Noting())
    with TenantContext("two"):
        generator = in_block()
        next(generator)
        getattr(provider, call)(dict.fromkeys(keys, "value") if call == "set_secrets" else keys)
    assert asked == [f"tenants/one/{key}" for key in keys]


def test_without_a_tenant_everything_is_refused_and_recorded_as_denied(inner):
    provider = TenantMiddleware(inner)
    for call in (
        lambda: provider.get_secret("a"),
        lambda: provider.set_secret("a", "hunter2"),
        lambda: provider.delete_secret("a"),
        provider.list_secrets,
        lambda: provider.get_secrets(["a"]),
        lambda: provider.set_secret_if("a", "x", None),
    ):
        with pytest.raises(TenantContextError):
            call()
    seen = []

    class Diary(SecretHook):
        def after(self, event):
            seen.append((event.outcome, event.tenant))

    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [{"type": "tenant"}]}},
    }
    with SecretProviderRegistry(spec) as registry:
        registry.add_hook(Diary())
        with pytest.raises(TenantContextError):
            registry.get_secret("a")
        with TenantContext("one"):
            registry.set_secret("a", "1")
    assert seen == [("denied", None), ("ok", "one")]


@pytest.mark.parametrize(
    "template",
    ["", "{key}", "{tenant}", "{tenant}{key}", "x{tenant}/{key}", "{key}/{tenant}", "{tenant}/{tenant}/{key}",
     "{tenant}/{key}/x", "{tenant}/{other}/{key}", "/{tenant}/{key}", "a//{tenant}/{key}", "../{tenant}/{key}"],
)  # fmt: skip
def test_templates_that_are_refused(inner, template):
    with pytest.raises(ConfigurationError):
        TenantMiddleware(inner, template=template)


def test_a_template_of_its_own(inner):
    provider = TenantMiddleware(inner, template="{tenant}/app/{key}")
    with TenantContext("one"):
        provider.set_secret("a", "1")
    assert inner.list_secrets() == ["one/app/a"]


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_id_and_no_key_leads_out_of_a_tenants_own_space(tenant, key):
    asked = []

    class Watched(MemorySecretProvider):
        def get_secret(self, key):
            asked.append(key)
            return super().get_secret(key)

    provider = TenantMiddleware(Watched())
    try:
        with TenantContext(tenant):
            provider.get_secret(key)
    except (InvalidTenantError, InvalidKeyError, SecretNotFoundError):
        pass
    assert all(one.startswith(f"tenants/{tenant}/") and ".." not in one.split("/") for one in asked)


def test_tenants_do_not_meet_in_threads_and_tasks(inner):
    provider = TenantMiddleware(inner)
    tenants = [f"tenant-{number}" for number in range(16)]
    for tenant in tenants:
        with TenantContext(tenant):
            provider.set_secret("who", tenant)
    crossed = []

    def look(seed):
        chance = random.Random(seed)
        for _ in range(200):
            tenant = chance.choice(tenants)
            with TenantContext(tenant):
                crossed.append(provider.get_secret("who") != tenant)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def task(tenant):
        async with TenantContext(tenant):
            await asyncio.sleep(0)
            crossed.append(provider.get_secret("who") != tenant)

    async def all_tasks():
        await asyncio.gather(*(task(tenant) for tenant in tenants * 20))

    asyncio.run(all_tasks())
    assert len(crossed) == 8 * 200 + 16 * 20
    assert not any(crossed)


@pytest.mark.parametrize("middleware", [PrefixMiddleware, StripPrefixMiddleware])
@pytest.mark.parametrize("prefix", ["", "team", "team-", "team/x", "/team", "a//b"])
def test_a_prefix_is_whole_segments(inner, middleware, prefix):
    """Else the record of a rotation, at `team-.rotation/db`, would be a name like any other."""
    with pytest.raises(ConfigurationError, match="does not end with '/'"):
        middleware(inner, prefix)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (PrefixMiddleware, {"type": "prefix", "prefix": "team/.rotation/"}),
        (StripPrefixMiddleware, {"type": "prefix", "prefix": ".rotation/"}),
        (TenantMiddleware, {"type": "tenant", "template": ".rotation/{tenant}/{key}"}),
        (TenantMiddleware, {"type": "tenant", "template": "{tenant}/.rotation/{key}"}),
    ],
)
def test_nothing_is_kept_where_no_list_shows_it(inner, make, options):
    """What has the reserved segment is left out of every list, and would be lost by a copy."""
    arguments = {name: value for name, value in options.items() if name != "type"}
    with pytest.raises(ConfigurationError, match=r"'\.rotation', which is reserved"):
        make(inner, **arguments)
    pipeline = {"provider": {"type": "memory"}, "middleware": [options]}
    with pytest.raises(SpecError, match=r"the segment '\.rotation' is reserved"):
        SecretProviderRegistry({"version": 1, "pipelines": {"app": pipeline}})


def test_a_key_that_is_too_long_with_its_prefix_is_told_as_the_callers():
    provider = PrefixMiddleware(MemorySecretProvider(), "team/")
    key = "k" * 510
    with pytest.raises(InvalidKeyError) as caught:
        provider.get_secret(key)
    assert caught.value.key == key
    assert "team/" not in caught.value.message


class Refusing(MemorySecretProvider):
    """A provider whose list fails at the last of the keys that it has."""

    def list_secrets(self, prefix=""):
        key = super().list_secrets(prefix)[-1:]
        raise StrongroomError(
            f"cannot list {show_key(key[0] if key else prefix)}", key=key[0] if key else prefix
        )


@pytest.mark.parametrize("stored", [[], ["tenants/one/a"]])
def test_a_list_that_fails_tells_the_callers_own_names(stored):
    inner = Refusing()
    for key in stored:
        inner.set_secret(key, "1")
    with TenantContext("one"):
        for provider in (TenantMiddleware(inner), PrefixMiddleware(inner, "tenants/one/")):
            with pytest.raises(StrongroomError) as failed:
                provider.list_secrets()
            assert failed.value.key == ("a" if stored else "")
            assert "tenants/" not in str(failed.value)


def test_a_list_behind_a_stripped_prefix_that_fails_tells_the_whole_name():
    inner = Refusing()
    inner.set_secret("a", "1")
    with pytest.raises(StrongroomError) as failed:
        StripPrefixMiddleware(inner, "dev/").list_secrets()
    assert failed.value.key == "dev/a"
    assert "'dev/a'" in str(failed.value)
