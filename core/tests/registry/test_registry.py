"""Registries: routes, keys, errors, fields, and what may be registered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import strongroom
from registry_support import Recorder, spec
from strongroom import SecretProviderRegistry
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidKeyError,
    PermissionDeniedError,
    PluginError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.plugins import builtins, builtins_encryption, builtins_keys
from strongroom.plugins.factories import load_factory
from strongroom.registry import assembly


def test_a_registry_is_a_provider_with_every_capability():
    registry = SecretProviderRegistry(spec())
    assert isinstance(registry, strongroom.SecretProvider)
    registry.set_secret("a/b", "1")
    assert registry.get_secret("a/b") == "1"
    assert registry.list_secrets("a/") == ["a/b"]
    assert registry.get_secrets(["a/b", "none"]) == {"a/b": "1"}
    version = registry.describe_secret("a/b").version
    assert registry.get_secret_version("a/b", version) == "1"
    new = registry.set_secret_if("a/b", "2", version)
    assert registry.list_versions("a/b")[0].version == new
    registry.delete_secret("a/b")
    with pytest.raises(SecretNotFoundError) as caught:
        registry.get_secret("a/b")
    assert (caught.value.key, caught.value.pipeline, caught.value.provider) == ("a/b", "app", "memory")


def test_the_longest_matching_prefix_wins_and_list_leaves_out_what_another_route_answers(plain):
    registry = SecretProviderRegistry(spec())
    short, long = (
        plain({"dev/a": "short", "dev/x/b": "hidden", "other": "unrouted"}),
        plain({"dev/x/b": "long"}),
    )
    registry.register("short", short, prefix="dev/")
    registry.register("long", long, prefix="dev/x/")
    registry.pipeline("app").set_secret("dev/c", "hidden")
    registry.set_secret("top", "app")
    assert registry.get_secret("dev/x/b") == "long"
    assert registry.get_secret("dev/a") == "short"
    assert registry.list_secrets() == ["dev/a", "dev/x/b", "top"]
    assert registry.list_secrets("dev/x") == ["dev/x/b"]
    assert registry.list_secrets("t") == ["top"]


def test_strip_prefix_takes_the_prefix_off_and_list_puts_it_back():
    registry = SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {"app": {"provider": {"type": "memory"}}, "dev": {"provider": {"type": "memory"}}},
            "default": "app",
            "routes": [{"prefix": "dev/", "pipeline": "dev", "strip_prefix": True}],
        }
    )
    registry.set_secret("dev/a", "1")
    assert registry.pipeline("dev").get_secret("a") == "1"
    assert registry.list_secrets() == ["dev/a"]
    assert registry.list_secrets("dev/a") == ["dev/a"]
    assert registry.list_secrets("d") == ["dev/a"]
    assert registry.describe_secret("dev/a").key == "dev/a"
    with pytest.raises(SecretNotFoundError) as caught:
        registry.get_secret("dev/none")
    assert (caught.value.key, str(caught.value)) == ("dev/none", "secret 'dev/none' not found")


@pytest.mark.parametrize("default", [{"default": "app"}, {}], ids=["default", "no-default"])
@pytest.mark.parametrize("prefix", [b"dev/", 5, "a\0", "dev/\0", "a" * 600])
def test_a_list_with_routes_refuses_what_is_not_a_prefix(default, prefix):
    """As one without routes does; without a default, what is not text is not routed, as by a read."""
    pipelines = {name: {"provider": {"type": "memory"}} for name in ("app", "dev")}
    routes = [{"prefix": "dev/", "pipeline": "dev", "strip_prefix": True}]
    registry = SecretProviderRegistry({"version": 1, "pipelines": pipelines, "routes": routes, **default})
    with pytest.raises(InvalidKeyError if default or isinstance(prefix, str) else ConfigurationError):
        registry.list_secrets(prefix)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"p/a//b": "v"}, InvalidKeyError),
        ({"p/b": 7}, TypeError),
        ({"p/b": "\ud800"}, ValidationError),
        ({"a//b": "v"}, InvalidKeyError),
        ({"b": None}, TypeError),
    ],
)
def test_nothing_is_written_if_one_of_many_cannot_be(plain, bad, error):
    """Also where there are no batches, or several pipelines; hooks see what was refused."""
    registry = SecretProviderRegistry(spec())
    registry.register("plain", plain({}), prefix="p/")
    hook = Recorder()
    registry.add_hook(hook)
    with pytest.raises(error):
        registry.set_secrets({"p/good": "1", "good": "2", **bad, "p/other": "3"})
    assert registry.list_secrets() == []
    assert [key for key in bad if key in {entry[3] for entry in hook.log}] == list(bad)


@pytest.mark.parametrize(
    "key", ["", "a//b", "/a", "a/", "a/../b", ".", "a\nb", "x" * 513, "a/.rotation/b", ".rotation", "\ud800"]
)
def test_invalid_and_reserved_keys_are_refused(key):
    registry = SecretProviderRegistry(spec())
    for call in (
        lambda: registry.get_secret(key),
        lambda: registry.set_secret(key, "v"),
        lambda: registry.delete_secret(key),
        lambda: registry.get_secrets([key]),
        lambda: registry.set_secrets({key: "v"}),
        lambda: registry.describe_secret(key),
        lambda: registry.explain(key),
    ):
        with pytest.raises(InvalidKeyError):
            call()


@pytest.mark.parametrize("prefix", ["../", "a/../", "./", "a//", "/", "../../etc/pass"])
@pytest.mark.parametrize("inside", ["", "team/"])
def test_no_backend_is_asked_for_a_prefix_that_no_key_begins_with(plain, prefix, inside):
    """One that takes keys for paths would list the folder above; keys themselves have no such segment."""

    class Paths(plain):
        asked = ()

        def list_secrets(self, prefix=""):
            self.asked = (*self.asked, prefix)
            return [f"{prefix}outside"]

    own = Paths({})
    registry = SecretProviderRegistry(spec())
    registry.register("own", strongroom.PrefixMiddleware(own, inside) if inside else own, prefix="")
    hook = Recorder()
    registry.add_hook(hook)
    assert registry.list_secrets(prefix) == []
    assert own.asked == ()
    assert [entry[3] for entry in hook.log] == [prefix] * 2
    assert registry.list_secrets("a/..b") == ["a/..boutside"]


def test_a_capability_that_the_keys_pipeline_lacks_is_told(plain):
    registry = SecretProviderRegistry(spec())
    registry.register("plain", plain({"p/k": "v"}), prefix="p/")
    with pytest.raises(UnsupportedOperationError) as caught:
        registry.list_versions("p/k")
    assert caught.value.pipeline == "plain"
    assert registry.get_secrets(["p/k", "p/none"]) == {"p/k": "v"}


def test_a_strangers_errors_become_ours_and_the_value_is_nowhere(plain):
    class Bad(plain):
        def set_secret(self, key, value):
            raise RuntimeError(f"cannot store {value}")

        def get_secret(self, key):
            raise {
                "denied": PermissionError("x"),
                "down": ConnectionError("x"),
                "other": KeyError("unrelated"),
            }[key]

    registry = SecretProviderRegistry(spec())
    registry.register("bad", Bad(), prefix="")
    for key, kind in (
        ("denied", PermissionDeniedError),
        ("down", BackendUnavailableError),
        ("other", StrongroomError),
    ):
        with pytest.raises(kind) as caught:
            registry.get_secret(key)
        assert not isinstance(caught.value, SecretNotFoundError)
        assert caught.value.__cause__ is not None
    with pytest.raises(StrongroomError) as caught:
        registry.set_secret("k", "hunter2")
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "hunter2" not in repr(error) + str(error)


@pytest.mark.parametrize("number", ["1.50", "3.14159265358979323846", "1E5", "1e400", "-0", "9" * 5000])
def test_a_number_within_a_secret_reads_as_it_is_written(plain, number):
    registry = SecretProviderRegistry(spec())
    registry.set_secret("j", f'{{"n": {number}, "l": [{{"m": {number}}}], "t": true, "text": "1"}}')
    assert registry.get_field("j", "n") == number
    assert type(registry.get_field("j", "n")) is str
    assert registry.get_field("j", "l") == f'[{{"m": {number}}}]'


@pytest.mark.parametrize("hooks", [[], [Recorder()]])
def test_an_error_names_the_key_that_was_asked_for(hooks):
    class Refuses:
        def get_secret(self, key):
            raise PermissionDeniedError("no")

        def set_secret(self, key, value):
            raise PermissionDeniedError("no")

        def delete_secret(self, key):
            raise PermissionDeniedError("no", key="its/own")

        def list_secrets(self, prefix=""):
            raise PermissionDeniedError("no")

    registry = SecretProviderRegistry(spec())
    registry.register("refuses", Refuses(), prefix="r/")
    for hook in hooks:
        registry.add_hook(hook)
    for call, key in (
        (lambda: registry.get_secret("r/k"), "r/k"),
        (lambda: registry.set_secret("r/k", "v"), "r/k"),
        (lambda: registry.delete_secret("r/k"), "its/own"),
        (lambda: registry.list_secrets("r/"), None),
        (lambda: registry.get_secrets(["r/k"]), "r/k"),  # it has no batches of its own
    ):
        with pytest.raises(PermissionDeniedError) as caught:
            call()
        assert (caught.value.key, caught.value.pipeline) == (key, "refuses")


def test_get_field_descends(plain):
    registry = SecretProviderRegistry(spec())
    registry.set_secret(
        "j", '{"a": {"b": "x", "c.d": 1}, "l": ["y", {"z": null}], "e.f": "dot", "n": 1.5, "t": true}'
    )
    for field, expected in (
        ("a.b", "x"),
        ("a.c.d", "1"),
        ("l.0", "y"),
        ("l.1.z", "null"),
        ("e.f", "dot"),
        ("n", "1.5"),
        ("t", "true"),
        ("a", '{"b": "x", "c.d": 1}'),
    ):
        assert registry.get_field("j", field) == expected
    for field in ("nope", "a.nope", "l.2", "l.x", "a.b.c", ""):
        with pytest.raises(SecretNotFoundError) as absent:
            registry.get_field("j", field)
        assert (absent.value.key, absent.value.pipeline) == ("j", "app")
    registry.set_secret("text", "hunter2 {")
    with pytest.raises(strongroom.errors.ValidationError) as caught:
        registry.get_field("text", "a")
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)


def test_explain_tells_the_way_without_asking_anybody(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "version: 1\npipelines:\n  app:\n    provider: {type: vault, url: 'http://127.0.0.1:1'}\n"
        "    middleware: [{type: retry}, {type: read-only}]\n  dev: {provider: {type: memory}}\n"
        "  safe: {fallback: {pipelines: [app, dev]}}\n"
        "default: safe\nroutes: [{prefix: dev/, pipeline: dev, strip_prefix: true}]\n"
    )
    registry = SecretProviderRegistry(path)
    explanation = registry.explain("dev/a")
    assert (
        explanation.pipeline,
        explanation.stored_key,
        explanation.route,
        explanation.provider,
        explanation.line,
    ) == (
        "dev",
        "a",
        "dev/",
        "memory",
        6,
    )
    explanation = registry.explain("b")
    assert (explanation.pipeline, explanation.route, explanation.provider) == ("safe", None, None)
    assert [(one.pipeline, one.provider, one.middleware) for one in explanation.fallback] == [
        ("app", "vault", ("retry", "read-only")),
        ("dev", "memory", ()),
    ]
    assert explanation.source == f"{path}:7:9"


def test_the_spec_is_found_in_the_documented_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SecretProviderRegistry().explain("k").provider == "file"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "strongroom.yaml").write_text("version: 1\npipelines: {here: {provider: {type: memory}}}\n")
    assert SecretProviderRegistry().explain("k").pipeline == "here"
    other = tmp_path / "other.yaml"
    other.write_text(
        "version: 1\npipelines: {there: {provider: {type: memory}}}\nprofiles: {p: {pipelines: {q: {provider: {type: env}}}, default: q}}\n"
    )
    monkeypatch.setenv("STRONGROOM_SPEC", str(other))
    assert SecretProviderRegistry().explain("k").pipeline == "there"
    monkeypatch.setenv("STRONGROOM_PROFILE", "p")
    assert SecretProviderRegistry().explain("k").pipeline == "q"


def test_restricted_to_one_pipeline_every_key_is_its_own():
    mapping = spec(routes=[{"prefix": "a/", "pipeline": "b"}], default="app")
    mapping["pipelines"]["b"] = {"provider": {"type": "memory"}}
    registry = SecretProviderRegistry(mapping, pipeline="app")
    registry.set_secret("a/k", "v")
    assert registry.explain("a/k").pipeline == "app"
    assert registry.list_secrets() == ["a/k"]
    with pytest.raises(ConfigurationError, match="no pipeline 'b'"):
        registry.pipeline("b")
    with pytest.raises(ConfigurationError, match="no pipeline 'nope'"):
        SecretProviderRegistry(mapping, pipeline="nope")


def test_without_a_default_the_error_says_what_to_add():
    mapping = {
        "version": 1,
        "pipelines": {"a": {"provider": {"type": "memory"}}, "b": {"provider": {"type": "memory"}}},
    }
    registry = SecretProviderRegistry(mapping)
    with pytest.raises(ConfigurationError, match="add `default:`"):
        registry.get_secret("k")


def test_registering_a_taken_name_or_what_is_no_provider_is_refused(plain):
    registry = SecretProviderRegistry(spec())
    with pytest.raises(ConfigurationError):
        registry.register("app", plain())
    with pytest.raises(TypeError, match="delete_secret"):
        registry.register("x", object())


def test_what_is_no_hook_is_refused():
    with SecretProviderRegistry(spec()) as registry, pytest.raises(TypeError, match="is not a hook"):
        registry.add_hook(object())


@pytest.mark.parametrize(
    ("name", "prefix", "error"), [("", None, ConfigurationError), ("a", "//", InvalidKeyError)]
)
def test_a_name_and_a_prefix_are_looked_at(name, prefix, error):
    with SecretProviderRegistry(spec()) as registry, pytest.raises(error):
        registry.register(name, strongroom.backends.MemorySecretProvider(), prefix=prefix)


def test_an_empty_variable_names_no_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRONGROOM_SPEC", "")
    Path("strongroom.yaml").write_text("version: 1\npipelines: {here: {provider: {type: memory}}}\n")
    with SecretProviderRegistry() as registry:
        assert registry.explain("a").pipeline == "here"


def test_without_its_plugin_the_own_store_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [one for one in sys.modules if one.startswith("strongroom_file.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "strongroom_file", None)
    with pytest.raises(PluginError) as caught:
        SecretProviderRegistry().get_secret("a")
    assert (str(caught.value), caught.value.hint) == (
        "file is not installed; pip install strongroom-file",
        "pip install strongroom-file",
    )


def test_middleware_that_is_told_of_its_pipeline_has_the_addresses_of_what_is_inside():
    modules = (builtins, builtins_encryption, builtins_keys)
    factories = {one.factory for module in modules for one in module.strongroom_middleware()}
    assert set(assembly._WITHOUT_ADDRESSES) <= factories
    for path in assembly._WITHOUT_ADDRESSES:
        assert not hasattr(load_factory(path, ""), "accepts_pipeline_context")
