"""Settings classes of pydantic-settings, filled from strongroom."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import traceback
from decimal import Decimal
from typing import Any

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, Field, PrivateAttr, SecretStr
from pydantic import ValidationError as PydanticError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from strongroom import SecretProviderRegistry
from strongroom.backends import MemorySecretProvider
from strongroom.errors import BackendUnavailableError, PermissionDeniedError, ValidationError
from strongroom.integrations.pydantic_settings import LazySecret, StrongroomSettingsSource, reload

MEMORY = {"app": {"provider": {"type": "memory"}}}


def declared(**secrets):
    return SecretProviderRegistry({"version": 1, "pipelines": MEMORY, "secrets": secrets})


def settings(fields, registry, *, config=None, **options):
    """Return a settings class with `fields` that reads from `registry`."""

    def customise(cls, settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings):
        return init_settings, StrongroomSettingsSource(settings_cls, registry, **options), env_settings

    annotations = {name: kind if not isinstance(kind, tuple) else kind[0] for name, kind in fields.items()}
    defaults = {name: kind[1] for name, kind in fields.items() if isinstance(kind, tuple)}
    return type(
        "Settings",
        (BaseSettings,),
        {
            "__annotations__": annotations,
            **defaults,
            "model_config": SettingsConfigDict(**(config or {})),
            "settings_customise_sources": classmethod(customise),
        },
    )


class Counting(MemorySecretProvider):
    def __init__(self, values):
        super().__init__()
        self.set_secrets(values)
        self.asked = []

    def get_secret(self, key):
        self.asked.append(key)
        return super().get_secret(key)

    def get_secrets(self, keys):
        keys = list(keys)
        self.asked += keys
        return super().get_secrets(keys)


def test_declared_secrets_by_the_names_of_variables(monkeypatch):
    """Typed by pydantic, masked where the field is; variables come after."""
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("DEBUG", "true")
    registry = declared(PASSWORD={"key": "database/password"}, PORT={"type": "port", "default": 5432})
    registry.set_secret("database/password", "sesame99")
    made = settings({"password": SecretStr, "port": int, "debug": bool}, registry)()
    assert (made.password.get_secret_value(), made.port, made.debug) == ("sesame99", 5432, True)
    assert type(made.password.get_secret_value()) is str
    assert "sesame" not in repr(made)


def test_aliases_prefix_and_case():
    """As the library's own conventions have it."""
    registry = declared(APP_TOKEN={"default": "a"}, OLD_NAME={"default": "b"}, exact={"default": "c"})
    fields = {
        "token": str,
        "renamed": (str, Field(validation_alias=AliasChoices("new_name", "OLD_NAME"))),
    }
    made = settings(fields, registry, config={"env_prefix": "APP_"})()
    assert (made.token, made.renamed) == ("a", "b")
    assert settings({"exact": str}, registry, config={"case_sensitive": True})().exact == "c"
    with pytest.raises(PydanticError, match="missing"):
        settings({"EXACT": str}, registry, config={"case_sensitive": True})()


class Database(BaseModel):
    user: str
    password: SecretStr
    port: int = 5432


def test_nested_models():
    """From a JSON secret, and from names with the delimiter, which win."""
    registry = declared(DB={"type": "json", "key": "db"}, DB__PASSWORD={"key": "db/password"})
    registry.set_secret("db", '{"user": "app", "password": "old-password", "port": "6000"}')
    registry.set_secret("db/password", "new-password")
    made = settings({"db": Database}, registry, config={"env_nested_delimiter": "__"})()
    assert (made.db.user, made.db.port) == ("app", 6000)
    assert made.db.password.get_secret_value() == "new-password"


class Tls(BaseModel):
    key: str = Field("none", validation_alias="PRIVATE")
    other: Tls | None = None


class Server(BaseModel):
    host: str = "localhost"
    tls: Tls = Tls()


@pytest.mark.parametrize("declares", [True, False])
@pytest.mark.parametrize(
    ("values", "config"),
    [
        ({"SERVER__HOST": "x"}, {}),
        ({"APP_SERVER__HOST": "x", "APP_SERVER__TLS__PRIVATE": "y"}, {"env_prefix": "APP_"}),
        ({"SERVER__TLS__OTHER": '{"PRIVATE": "z"}'}, {}),
        ({"SERVER": '{"host": "a"}', "SERVER__HOST": "b"}, {}),
        ({"SERVER": "null", "TEXT": "null"}, {"env_parse_none_str": "null"}),
        ({"SERVER__HOST": "null"}, {"env_parse_none_str": "null"}),
        ({"SERVER_HOST": "x"}, {"env_nested_delimiter": "_", "env_nested_max_split": 1}),
    ],
)
def test_it_finds_what_variables_of_these_names_would_give(monkeypatch, values, config, declares):
    """Members of nested models and the word for None, declared or as keys."""
    config = {"env_nested_delimiter": "__", **config}
    fields = {"server": (Server | None, Server()), "text": (str | None, "default")}
    registry = declared(**{name: {} for name in values}) if declares else MemorySecretProvider()
    registry.set_secrets(values)

    made = outcome_of(settings(fields, registry, config=config))

    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert made == outcome_of(settings(fields, MemorySecretProvider(), config=config))


def outcome_of(settings_class):
    try:
        return settings_class().model_dump()
    except PydanticError as error:
        return [(one["type"], one["loc"]) for one in error.errors()]


def test_without_declarations_names_are_keys():
    """Of any provider; `keys` names others."""
    provider = Counting({"token": "a", "API_KEY": "b", "database/password": "c"})
    fields = {"token": str, "api_key": str, "password": str, "extra": (str, "default")}
    made = settings(fields, provider, keys={"password": "database/password"})()
    assert (made.token, made.api_key, made.password, made.extra) == ("a", "b", "c", "default")


def test_a_key_is_given_by_the_name_of_a_field_or_of_its_variable():
    """A name that is both counts as that of the variable."""
    provider = MemorySecretProvider()
    provider.set_secrets({"database/password": "a", "mail/token": "b", "other": "c", "THIRD": "d"})
    aliases = {"first": (str, Field(alias="SECOND")), "second": (str, Field(alias="THIRD"))}
    keys = {"password": "database/password", "APP_TOKEN": "mail/token", "second": "other"}
    fields = {"password": str, "token": str, **aliases}
    made = settings(fields, provider, config={"env_prefix": "APP_"}, keys=keys)()
    assert (made.password, made.token, made.first, made.second) == ("a", "b", "c", "d")


def test_only_what_is_asked_for_and_not_given_is_read():
    provider = Counting({"token": "a", "other": "b", "more": "c"})
    settings({"token": str, "other": str}, provider)(other="given")
    assert set(provider.asked) == {"token", "TOKEN"}


def test_what_is_missing_is_pydantics_own_error():
    registry = declared(PASSWORD={"required": True}, OPTION={"required": False})
    fields = {"password": SecretStr, "option": (str, "none"), "unknown": (str, "there")}
    with pytest.raises(PydanticError) as caught:
        settings(fields, registry)()
    assert [one["loc"] for one in caught.value.errors()] == [("password",)]


@pytest.mark.parametrize("hidden", [False, True])
def test_what_the_page_says_of_errors_in_a_json_log(hidden):
    """The input of an error is that of all fields; only without it is an error fit for a log of JSON."""
    config = {"hide_input_in_errors": hidden}
    with pytest.raises(PydanticError) as caught:
        settings({"token": SecretStr, "other": int}, Counting({"token": "hunter2-hunter2"}), config=config)()
    error = caught.value
    assert "hunter2" not in f"{error}{error!r}{error.errors()}"
    assert "hunter2" in json.dumps(error.errors())
    assert "hunter2" in error.json()
    assert "hunter2" not in json.dumps(error.errors(include_input=False, include_context=False))
    assert "hunter2" not in error.json(include_input=False)


@pytest.mark.parametrize("error", [PermissionDeniedError("password"), BackendUnavailableError("down")])
def test_denied_and_down_are_never_taken_for_missing(error, failing):
    """Also where the field has a default, and where only one of several keys is refused."""
    with pytest.raises(type(error)):
        settings({"password": (str, "default")}, failing(error))()
    registry = declared(PASSWORD={"key": "other/password", "default": "x"})
    registry.register("other", failing(error), prefix="other/")
    with pytest.raises(type(error)):
        settings({"password": (str, "default")}, registry)()


def test_a_broken_rule_is_strongrooms_error():
    registry = declared(PASSWORD={"min_length": 12}, PORT={"type": "port"})
    registry.set_secrets({"PASSWORD": "canary-1", "PORT": "canary-2"})
    with pytest.raises(
        ValidationError, match=r"2 declared secrets are wrong: PASSWORD: .*; PORT: "
    ) as caught:
        settings({"password": str, "port": int}, registry)()
    assert "canary" not in str(caught.value)


def test_no_value_in_any_error():
    """Neither in pydantic's messages, nor in causes and contexts."""
    provider = Counting({"port": "canary-port", "db": "canary-json", "other": '{"user": "canary-user"}'})
    cases = [
        ({"port": int}, PydanticError),
        ({"db": Database}, SettingsError),
        ({"other": Database, "absent": int}, PydanticError),
    ]
    for fields, kind in cases:
        with pytest.raises(kind) as caught:
            settings(fields, provider)()
        assert "canary" not in "".join(traceback.format_exception(caught.value))
        error = caught.value.__cause__ or caught.value.__context__
        while error is not None:
            assert "canary" not in repr(error.__dict__)
            error = error.__cause__ or error.__context__


@pytest.mark.parametrize("number", [48213377, 4821.3377, -1, 1e100])
def test_a_number_of_a_json_secret_is_masked_and_stays_a_number(number):
    """Such as a PIN: pydantic shows the input of a field that takes text alone."""
    provider = MemorySecretProvider()
    provider.set_secret("db", json.dumps({"pin": number}))
    with pytest.raises(PydanticError, match="valid string") as caught:
        settings({"db": dict[str, str]}, provider)()
    assert str(number) not in str(caught.value)

    config = {"coerce_numbers_to_str": True}
    kinds = (type(number), Decimal, str, Any)
    found = [settings({"db": dict[str, kind]}, provider, config=config)().db["pin"] for kind in kinds]
    assert found == [number, Decimal(str(number)), str(number), number]
    assert json.dumps(pickle.loads(pickle.dumps(found[-1]))) == json.dumps(number)


def test_reload_changes_the_object_in_place():
    """Whoever holds it sees the new values; one that fails leaves the old."""
    provider = MemorySecretProvider()
    provider.set_secrets({"token": "one", "port": "1"})
    made = settings({"token": SecretStr, "port": int}, provider, config={"frozen": True})()
    holder = made
    provider.set_secret("token", "two")
    assert reload(made) == {"token"}
    assert holder.token.get_secret_value() == "two"
    assert reload(made) == frozenset()
    provider.set_secret("token", "three")
    provider.set_secret("port", "no number")
    with pytest.raises(PydanticError):
        reload(made)
    assert (holder.token.get_secret_value(), holder.port) == ("two", 1)


def test_reload_names_changed_values_beside_the_fields():
    made = settings({"token": (str, "")}, MemorySecretProvider(), config={"extra": "allow"})(more="one")
    assert reload(made, more="one") == frozenset()
    assert reload(made, more="two") == {"more"}


def test_a_lazy_field_reads_when_it_is_asked():
    """Not before, and again each time."""
    provider = Counting({"token": "one"})
    made = settings({"token": LazySecret, "none": (LazySecret | None, None), "n": (int, 1)}, provider)()
    assert "token" not in provider.asked
    assert made.token.get_secret_value() == "one"
    provider.set_secret("token", "two")
    assert made.token.get_secret_value() == "two"
    assert "two" not in f"{made!r}{made.token}{made.model_dump_json()}"
    assert type(made).model_json_schema()["properties"]["token"]["type"] == "string"
    provider.delete_secret("token")
    with pytest.raises(ValidationError, match="'token' is missing"):
        made.token.get_secret_value()


@pytest.mark.parametrize("declares", [True, False])
@pytest.mark.parametrize(
    ("alias", "values", "config"),
    [
        (AliasChoices("FIRST", "SECOND"), {"SECOND": "x"}, {}),
        (AliasChoices("FIRST", "SECOND"), {"FIRST": "x", "SECOND": "y"}, {}),
        ("FIRST", {"TOKEN": "x"}, {"populate_by_name": True}),
        (AliasPath("FIRST", "part"), {"FIRST": '{"part": "x"}'}, {}),
        (AliasChoices("SECOND", AliasPath("FIRST", 0)), {"FIRST": '["x"]'}, {}),
    ],
)
def test_a_lazy_field_has_each_of_its_names(alias, values, config, declares):
    """Which of them exists is known only when it is read."""
    optional = {"required": False}
    registry = (
        declared(FIRST=optional, SECOND=optional, TOKEN=optional) if declares else MemorySecretProvider()
    )
    registry.set_secrets(values)
    fields = {"token": (LazySecret, Field(validation_alias=alias))}
    assert settings(fields, registry, config=config)().token.get_secret_value() == "x"


def test_a_collection_of_lazy_secrets_is_read_as_the_json_that_it_is():
    """The field itself is not lazy, and its parts are as new as the whole."""
    provider = Counting({"tokens": '["one", "two"]', "named": '{"a": "three"}'})
    made = settings({"tokens": list[LazySecret], "named": (dict[str, LazySecret] | None, None)}, provider)()
    assert [one.get_secret_value() for one in made.tokens] == ["one", "two"]
    assert made.named["a"].get_secret_value() == "three"
    assert "three" not in f"{made!r}"


class Login(BaseModel):
    password: LazySecret
    user: str = "me"


def test_a_lazy_member_of_a_nested_model_reads_when_it_is_asked():
    registry = declared(DB__PASSWORD={"key": "p"}, DB__USER={"key": "u", "required": False})
    registry.set_secret("p", "first")
    read = settings({"db": Login}, registry, config={"env_nested_delimiter": "__"})()

    registry.set_secret("p", "second")

    assert read.db.password.get_secret_value() == "second"
    assert reload(read) == frozenset()
    registry.set_secret("u", "you")
    assert reload(read) == {"db"}
    assert read.db.user == "you"


def test_a_lazy_part_of_a_json_secret_is_as_new_as_the_whole():
    registry = declared(DB={"key": "db"})
    registry.set_secret("db", '{"password": "first"}')
    read = settings({"db": Login}, registry)()
    assert reload(read) == frozenset()

    registry.set_secret("db", '{"password": "second"}')

    assert read.db.password.get_secret_value() == "first"
    assert reload(read) == {"db"}
    assert read.db.password.get_secret_value() == "second"


def test_what_a_model_keeps_privately_is_made_of_the_new_values():
    registry = declared(TOKEN={"key": "t"})
    registry.set_secret("t", "first")

    class Header(settings({"token": SecretStr}, registry)):
        _header: str = PrivateAttr("")

        def model_post_init(self, _context):
            self._header = f"Bearer {self.token.get_secret_value()}"

    read = Header()
    registry.set_secret("t", "second")

    assert reload(read) == {"token"}
    assert read._header == "Bearer second"


def test_a_copy_of_a_field_of_any_type_holds_nothing_of_the_registry():
    registry = declared(TOKEN={"key": "t"})
    registry.set_secret("t", "first")
    read = settings({"token": object}, registry)()

    assert pickle.loads(pickle.dumps(read.token)) == copy.deepcopy(read.token) == "first"
    assert "first" not in repr(pickle.loads(pickle.dumps(read.token)))


def test_a_lazy_field_that_nothing_declares_is_missing():
    registry = declared(TOKEN={"key": "t"})
    made = settings({"token": LazySecret}, registry)()
    registry.set_secret("t", "late")
    assert made.token.get_secret_value() == "late"
    with pytest.raises(PydanticError, match="missing"):
        settings({"other": LazySecret}, registry)()
    assert settings({"other": LazySecret}, registry)(other="given").other.get_secret_value() == "given"


def test_a_spec_in_place_of_a_registry(tmp_path):
    """The registry is made at the first read, and shut when nothing needs it any more."""
    path = tmp_path / "strongroom.yaml"
    path.write_text(
        "version: 1\npipelines: {app: {provider: {type: memory}}}\nsecrets: {TOKEN: {default: abc}}\n"
    )
    assert settings({"token": LazySecret}, None, spec=path)().token.get_secret_value() == "abc"


def test_it_says_what_to_install():
    """And strongroom itself needs no host."""
    script = (
        "import sys; sys.modules['pydantic_settings'] = sys.modules['fastapi'] = sys.modules['airflow'] = None\n"
        "import strongroom\n"
        "for name in ('pydantic_settings', 'fastapi', 'airflow'):\n"
        "    try: __import__(f'strongroom.integrations.{name}')\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for line, name in zip(
        done.stdout.splitlines(), ["pydantic-settings", "fastapi", "apache-airflow"], strict=True
    ):
        assert f"pip install {name}" in line
