"""Where a spec comes from: files that cannot be trusted or read, mappings, and objects."""

from __future__ import annotations

import os
from collections import UserDict
from types import MappingProxyType

import pytest
from spec_support import MEMORY
from strongroom.errors import ConfigurationError, SpecError, UntrustedSpecError
from strongroom.spec import load_plan, load_spec


def test_untrusted_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("STRONGROOM_TRUST_SPEC", raising=False)
    path = tmp_path / "s.yaml"
    path.write_text(MEMORY)
    path.chmod(0o666)
    with pytest.raises(UntrustedSpecError, match="everybody may write it"):
        load_plan(path)
    monkeypatch.setenv("STRONGROOM_TRUST_SPEC", "1")
    assert load_plan(path).default == "app"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_spec_of_another_user_is_refused(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(MEMORY)
    os.chown(path, 12345, 12345)
    with pytest.raises(UntrustedSpecError, match="12345"):
        load_plan(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_strangers_link_to_a_spec_is_refused(tmp_path):
    """Whoever may make a link in a shared folder does not choose which spec, key and log are used."""
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.mkdir()
    shared.mkdir()
    (own / "s.yaml").write_text(MEMORY)
    link, second = shared / "s.yaml", shared / "t.yaml"
    link.symlink_to(own / "s.yaml")
    second.symlink_to("s.yaml")
    assert load_plan(second).folder == own
    os.chown(link, 12345, 12345, follow_symlinks=False)
    for path in (link, second):
        with pytest.raises(UntrustedSpecError, match=r"link .* belongs to user 12345"):
            load_plan(path)


def test_what_is_no_file_is_refused_without_hanging(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / "fifo"):
        with pytest.raises(ConfigurationError):
            load_plan(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe\x00",
        b"",
        b"# only a comment\n",
        b"a\n---\nb\n",
        b"\x00",
        b"version: 1\n" + b" " * (1 << 20),
    ],
)
def test_what_is_no_single_utf8_document_is_refused(tmp_path, data):
    path = tmp_path / "s.yaml"
    path.write_bytes(data)
    with pytest.raises(SpecError):
        load_plan(path)


def test_a_spec_loads_with_a_byte_order_mark_and_crlf(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MEMORY.replace("\n", "\r\n").encode())
    assert load_spec(path).pipelines["app"].provider.type == "memory"


def test_a_mapping_and_a_spec_object_load_alike(tmp_path):
    mapping = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    assert load_plan(mapping).default == "app"
    assert load_plan(load_spec(mapping)).default == "app"
    with pytest.raises(SpecError, match="spec: pipelines: expected a mapping"):
        load_plan({"version": 1, "pipelines": 3})
    with pytest.raises(SpecError, match="a key of a mapping"):
        load_plan({1: 2})


@pytest.mark.parametrize("wrong", [5, b"s.yaml", [], object()])
def test_what_can_be_no_spec_is_refused_by_its_type(wrong):
    with pytest.raises(TypeError, match=f"not a {type(wrong).__name__}$"):
        load_plan(wrong)


def test_no_part_of_a_spec_shows_the_options_of_a_component():
    """A token or a key may be written there, as in `repr` of the whole."""
    vault = {"type": "vault", "url": "https://x", "token": "hunter2"}
    spec = load_spec(
        {
            "version": 1,
            "pipelines": {
                "app": {
                    "provider": vault,
                    "middleware": [{"type": "encryption", "key": "hunter2-hunter2"}],
                    "hooks": [{"type": "audit", "path": "a", "key": "hunter2-hunter2"}],
                }
            },
            "rotation_lock": {"type": "redis", "url": "redis://:hunter2@x"},
            "serve": {"clients": [{"name": "web", "token": "hunter2-hunter2-hunter2"}]},
            "profiles": {"test": {"pipelines": {"app": {"provider": vault}}}},
        }
    )
    app = spec.pipelines["app"]
    assert app.provider.token == "hunter2"
    assert repr(app.provider) == "Component(type='vault')"
    assert spec.profiles == {"test": {"pipelines": {"app": {"provider": vault}}}}
    assert spec.serve == {"clients": [{"name": "web", "token": "hunter2-hunter2-hunter2"}]}
    assert repr(spec.profiles) == "<test>"
    sections = (spec.serve, spec.serve["clients"], spec.profiles["test"]["pipelines"])
    for part in (spec, app, app.provider, app.middleware, app.hooks, spec.rotation_lock, *sections):
        assert "hunter2" not in f"{part!r}{part}"


def test_a_spec_of_mappings_of_any_type_loads():
    provider = MappingProxyType({"type": "memory"})
    pipelines = UserDict(app=MappingProxyType({"provider": provider, "middleware": ({"type": "retry"},)}))
    (part,) = load_plan(MappingProxyType({"version": 1, "pipelines": pipelines})).pipelines["app"].middleware
    assert part.type == "retry"


def test_each_thing_of_python_that_cannot_be_in_a_spec_is_told_with_its_path():
    """Beside all else that is wrong; before, the first alone, without its path."""
    provider = {"type": "memory", "secrets": {"a": b"hunter2"}}
    mapping = {
        "version": 2,
        "pipelines": {"app": {"provider": provider, "middleware": [{"type": "caching", 5: 1}]}},
        "hooks": {"hunter2"},
    }
    with pytest.raises(SpecError) as caught:
        load_plan(mapping)
    assert {
        "spec: version: expected 1",
        "spec: pipelines.app.provider.secrets.a: expected a mapping, list or scalar, got bytes",
        "spec: pipelines.app.middleware[0]: a key of a mapping must be text, got int",
        "spec: hooks: expected a mapping, list or scalar, got set",
    } <= set(caught.value.problems)
    assert "hunter2" not in str(caught.value)


def test_a_mapping_that_holds_itself_is_refused_at_once():
    mapping = {"version": 1}
    mapping |= {"pipelines": mapping, "hooks": [mapping, mapping]}
    with pytest.raises(SpecError, match="nested deeper than 40 levels"):
        load_plan(mapping)
