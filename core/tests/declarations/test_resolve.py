"""What an application declares: composed, checked, told all at once."""

from __future__ import annotations

import threading

import pytest
from strongroom import SecretProviderRegistry
from strongroom.backends import MemorySecretProvider
from strongroom.declarations.placeholders import is_placeholder
from strongroom.declarations.resolve import resolve_all
from strongroom.errors import (
    BackendUnavailableError,
    DecryptionError,
    PermissionDeniedError,
    SpecError,
    TenantContextError,
    ValidationError,
)
from strongroom.spec import load_plan


def registry_of(secrets, values=(), **spec):
    made = SecretProviderRegistry(
        {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}, "secrets": secrets, **spec}
    )
    for key, value in dict(values).items():
        made.set_secret(key, value)
    return made


URL = "postgresql://{{ USER }}:{{ PASSWORD | urlencode }}@db:{{ PORT }}/app"
DATABASE = {
    "DATABASE_URL": {"compose": URL, "type": "url", "groups": ["web"]},
    "USER": {"default": "app"},
    "PASSWORD": {"key": "database/password"},
    "PORT": {"type": "port", "default": 5432},
}


def test_a_value_is_composed_of_others():
    """With everything quoted that a URL's part needs quoted, `/` too."""
    with registry_of(DATABASE, {"database/password": "p/@:ü %"}) as registry:
        found = registry.resolve()
    assert found["DATABASE_URL"] == "postgresql://app:p%2F%40%3A%C3%BC%20%25@db:5432/app"
    assert found.as_env()["DATABASE_URL"] == found["DATABASE_URL"]


def test_the_keys_of_what_is_declared_are_those_to_watch():
    """Of a composed secret those of its parts, also where they are in no group that was asked for; each once."""
    again = {"AGAIN": {"key": "database/password"}}
    with registry_of(DATABASE | again) as registry:
        assert registry.declared_keys() == ["USER", "database/password", "PORT"]
        assert sorted(registry.declared_keys("web")) == ["PORT", "USER", "database/password"]
        with pytest.raises(ValidationError, match="group 'nobody'"):
            registry.declared_keys("nobody")


def test_parts_outside_of_the_group_are_read_and_not_handed_over():
    with registry_of(DATABASE, {"database/password": "sesame"}) as registry:
        assert dict(registry.resolve("web")) == {"DATABASE_URL": "postgresql://app:sesame@db:5432/app"}


@pytest.mark.parametrize("length", [400, pytest.param(1200, marks=pytest.mark.torture)])
def test_a_composed_secret_may_be_a_part(length):
    """In whatever order they are declared, and however long the chain is."""
    chain = {f"N{n}": {"compose": f"{{{{ N{n + 1} }}}}"} for n in range(length)}
    with registry_of({**chain, f"N{length}": {"key": "end"}}, {"end": "x1"}) as registry:
        assert registry.resolve()["N0"] == "x1"


def test_each_type_as_a_part():
    """JSON has members; true and false read as in JSON and decide an `if`; base64 stays text."""
    secrets = {
        "ALL": {"compose": "{{ J.a[0] }} {{ J.b }} {{ B }}{% if B %}!{% endif %} {{ D }} {{ N }}"},
        "J": {"type": "json"},
        "B": {"type": "boolean"},
        "D": {"type": "base64"},
        "N": {"type": "integer"},
    }
    values = {"J": '{"a": ["x"], "b": {"c": true}}', "B": "off", "D": "aGVsbG8=", "N": "007"}
    with registry_of(secrets, values) as registry:
        assert registry.resolve()["ALL"] == 'x {"c": true} false aGVsbG8= 7'


def test_an_absent_optional_part_is_undefined():
    """A template that allows for it is filled in; one that does not is missing, or None where optional."""
    secrets = {
        "OPTION": {"required": False},
        "WITH": {"compose": "a{% if OPTION is defined %}-{{ OPTION }}{% endif %}"},
        "ELSE": {"compose": "{{ OPTION | default('none') }}"},
        "NONE": {"compose": "a{{ OPTION }}", "required": False},
        "BAD": {"compose": "a{{ OPTION }}"},
    }
    with registry_of(secrets) as registry:
        found = resolve_all(registry, registry.plan.secrets)
    assert [(one.status, one.value) for one in found.values()] == [
        *(("ok", None), ("ok", "a"), ("ok", "none"), ("ok", None), ("missing", None))
    ]
    assert found["BAD"].problem == "it is composed of OPTION, which is absent"


def test_an_outage_is_waited_for_by_several_keys_at_once():
    """Each takes as long as its deadline allows: one after another, a start would take minutes to fail."""
    together = threading.Barrier(5, timeout=20)

    class Away(MemorySecretProvider):
        def get_secrets(self, keys):
            raise BackendUnavailableError("no answer")

        def get_secret(self, key):
            together.wait()
            raise BackendUnavailableError(f"no answer for {key}")

    with registry_of({f"N{n}": {"key": f"away/{n}"} for n in range(5)}) as registry:
        registry.register("away", Away(), prefix="away/")
        found = resolve_all(registry, registry.plan.secrets)
    assert [
        (one.status, f"no answer for away/{n}" in one.problem) for n, one in enumerate(found.values())
    ] == ([("unavailable", True)] * 5)


def test_everything_that_is_missing_or_wrong_is_told_at_once():
    secrets = {
        **DATABASE,
        "SHORT": {"compose": "{{ USER }}", "min_length": 9},
        "NO_URL": {"compose": "{{ USER }} x", "type": "url"},
        "NUMBER": {"type": "integer"},
        "MEMBER": {"compose": "{{ USER.name.first }}"},
    }
    with (
        registry_of(secrets, {"NUMBER": "canary-value"}) as registry,
        pytest.raises(ValidationError) as caught,
    ):
        registry.resolve()
    text = str(caught.value)
    assert text.startswith("6 of 8 declared secrets are missing or wrong: ")
    for name in ("DATABASE_URL", "PASSWORD", "SHORT", "NO_URL", "NUMBER", "MEMBER"):
        assert f"{name}: " in text
    assert "canary" not in text


@pytest.mark.parametrize("value", ["NaN", "Infinity", '{"a": -Infinity}'])
def test_what_python_alone_takes_for_json_is_none(value):
    """No other reader of the variable would take it."""
    with registry_of({"J": {"type": "json"}}, {"J": value}) as registry, pytest.raises(ValidationError):
        registry.resolve()


def test_a_templates_failure_shows_no_value():
    """Nor do its cause and context."""
    secrets = {"A": {"compose": "{{ B | int(base=1) }}{{ 1 // 0 }}"}, "B": {"key": "b"}}
    with registry_of(secrets, {"b": "canary-value"}) as registry, pytest.raises(ValidationError) as caught:
        registry.resolve()
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in repr(error)
        error = error.__cause__ or error.__context__


class Denying:
    def get_secret(self, key):
        raise PermissionDeniedError(key)

    set_secret = delete_secret = get_secret

    def list_secrets(self, prefix=""):
        return []


def test_a_denied_part_is_denied_not_missing():
    with registry_of(DATABASE) as registry:
        registry.register("other", Denying(), prefix="database/")
        assert resolve_all(registry, registry.plan.secrets)["DATABASE_URL"].status == "denied"
        with pytest.raises(PermissionDeniedError):
            registry.resolve("web")


def registry_behind(*middleware):
    return registry_of(
        DATABASE,
        pipelines={
            "app": {"provider": {"type": "memory"}},
            "locked": {"provider": {"type": "memory"}, "middleware": list(middleware)},
        },
        default="app",
        routes=[{"prefix": "database/", "pipeline": "locked"}],
    )


def test_what_cannot_be_decrypted_is_told_as_that():
    """And not as a value that is missing or of a wrong type."""
    cipher = {"type": "encryption", "key": "a passphrase of ours"}
    with registry_behind({"type": "read-only"}, cipher) as registry:
        inner = registry.pipeline("locked")
        while hasattr(inner, "inner"):
            inner = inner.inner
        inner.set_secret("database/password", "no token")
        with pytest.raises(DecryptionError, match="'database/password': the value cannot be decrypted"):
            registry.resolve("web")
        assert resolve_all(registry, registry.plan.secrets)["PASSWORD"].status == "invalid"


def test_without_a_tenant_what_needs_one_is_denied():
    with registry_behind({"type": "tenant"}) as registry:
        assert resolve_all(registry, registry.plan.secrets)["PASSWORD"].status == "denied"
        with pytest.raises(TenantContextError):
            registry.resolve()


def test_all_that_is_wrong_with_a_composition_is_found_at_load(tmp_path):
    path = tmp_path / "strongroom.yaml"
    path.write_text("""\
version: 1
pipelines: {app: {provider: {type: memory}}}
secrets:
  PASSWORD: {}
  A: {compose: "{{ B }}", key: x}
  B: {compose: "{{ C }}"}
  C: {compose: "{{ A }}{{ PASSWORT }}"}
  D: {compose: "{{ hunter2"}
  E: {compose: "{{ PASSWORD | hunter2 }}"}
  F: {compose: "{% include 'hunter2' %}"}
  G: {compose: "{{ secret('k') }}", default: x, field: y, rotate_days: 3, generate: {}}
""")
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    lines = [line.removeprefix(f"{path}:") for line in caught.value.problems]
    assert "hunter2" not in str(caught.value)
    assert lines[0] == "5:16: secrets.A.compose: a circle: A -> B -> C -> A"
    assert "5:32: secrets.A.key: not for a secret that is composed: its parts have their own" in lines
    assert "7:16: secrets.C.compose: no secret 'PASSWORT' is declared; did you mean 'PASSWORD'?" in lines
    for place in ("8:16: secrets.D", "9:16: secrets.E", "10:16: secrets.F"):
        assert any(line.startswith(f"{place}.compose: not a template that Jinja2 takes: ") for line in lines)
    assert any(line.startswith("11:16: secrets.G.compose: no secret 'secret' is declared") for line in lines)
    for member in ("default", "field", "rotate_days", "generate"):
        assert any(f"secrets.G.{member}: not for" in line for line in lines)


def test_the_sandbox_holds():
    """Python's insides are out of a template's reach."""
    secrets = {"A": {"compose": "{{ B.__class__.__mro__ }}"}, "B": {"default": "x"}}
    with registry_of(secrets) as registry:
        assert resolve_all(registry, registry.plan.secrets)["A"].status == "invalid"


PLACEHOLDERS = [
    *("changeme", "change-me", "CHANGE_ME", "ChangeIt", "replace-me", "TODO", "fixme", "tbd", "xxx", "XXX"),
    *(
        "xxxx-xxxx",
        "your-token-here",
        "your_api_key_here",
        "YOUR-API-KEY",
        "your-password",
        "insert-key-here",
    ),
    *("fill in", "my-key-here", "enter_token_here", "some secret here", "redacted", "your-db-url"),
    *("<password>", "<your token>", "example", "placeholder", " changeme\n", "***", "...", "…", "<REDACTED>"),
]
VALUES = [
    *("", "x", "password", "secret", "todo list", "changeme1", "not-changeme", "xx", "x" * 12, "<a><b></a>"),
    *("<a href=b>", "examples", "your house", "here", "hunter2", "test", "https://example.com", "a<b>c"),
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_placeholders_are_no_values(text):
    assert is_placeholder(text)
    with registry_of({"A": {}}, {"A": text}) as registry:
        found = resolve_all(registry, registry.plan.secrets)["A"]
    assert (found.status, found.text) == ("invalid", None)
    assert "placeholder" in (found.problem or "")


@pytest.mark.parametrize("text", VALUES)
def test_what_only_looks_a_little_like_one_is_a_value(text):
    with registry_of({"A": {}}, {"A": text}) as registry:
        assert registry.resolve()["A"] == text


def test_the_spec_adds_placeholders_and_takes_them_back():
    secrets = {
        "OWN": {},
        "TAKEN": {"allow_placeholder": True},
        "LISTED": {"one_of": ["example", "real"]},
        "DEFAULT": {"default": "changeme"},
        "COMPOSED": {"compose": "{{ TAKEN }}"},
    }
    values = {"OWN": "ACME-Demo", "TAKEN": "acme-demo", "LISTED": "example"}
    with registry_of(secrets, values, placeholders=["acme-demo"]) as registry:
        found = resolve_all(registry, registry.plan.secrets)
    states = {name: one.status for name, one in found.items()}
    assert states == {
        "OWN": "invalid",
        "TAKEN": "ok",
        "LISTED": "ok",
        "DEFAULT": "invalid",
        "COMPOSED": "invalid",
    }


def test_a_profile_may_store_what_is_composed_elsewhere():
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}}},
        "secrets": DATABASE,
        "profiles": {"test": {"secrets": {"DATABASE_URL": {"compose": None, "default": "sqlite:///x"}}}},
    }
    with SecretProviderRegistry(spec, profile="test") as registry:
        assert dict(registry.resolve("web")) == {"DATABASE_URL": "sqlite:///x"}
