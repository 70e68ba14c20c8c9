"""What a reference brought in is brought in again: a component that logs in asks for what is good now."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry, TenantContext
from strongroom.plugins.credentials import ReferencedText, newest

SPEC = """\
version: 1
pipelines:
  keys:
    provider: {type: memory, secrets: {token: "first", login: '{"password": "one"}'}}
    middleware: [{type: caching, ttl_seconds: 300}]
  app:
    provider:
      type: memory
      secrets:
        file: "x${file:./password}y"
        variable: "${env:T_PASSWORD}"
        secret: "${secret:keys:token}"
        member: "${secret:keys:login#password}"
        plain: "as it is"
default: app
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("T_PASSWORD", "v1")
    Path("password").write_text("f1\n")
    Path("strongroom.yaml").write_text(SPEC)
    Path("strongroom.yaml").chmod(0o644)
    return "strongroom.yaml"


@pytest.mark.parametrize("way", ["whole", "recalled"])
def test_each_kind_of_reference_is_brought_in_again_past_caches(written, monkeypatch, way):
    for _ in range(1 if way == "whole" else 2):
        registry = SecretProviderRegistry(written)
        options = registry._assembly.options_of(registry._assembly.plan.pipelines["app"].provider)
        registry.get_secret("secret")
    before = {
        "file": "xf1y", "variable": "v1", "secret": "first", "member": "one", "plain": "as it is",
    }  # fmt: skip
    given = options["secrets"]
    assert given == before == newest(given)

    Path("password").write_text("f2\n")
    monkeypatch.setenv("T_PASSWORD", "v2")
    # Somebody else writes: the cache of this registry knows nothing of it.
    keys = registry._assembly.chain("keys").inner
    keys.set_secret("token", "second")
    keys.set_secret("login", '{"password": "two"}')
    with TenantContext("acme"):
        now = newest(options)["secrets"]
    assert now == {
        "file": "xf2y", "variable": "v2", "secret": "second", "member": "two", "plain": "as it is",
    }  # fmt: skip
    assert given == before

    Path("password").unlink()
    monkeypatch.delenv("T_PASSWORD")
    keys.delete_secret("token")
    keys.set_secret("login", "not an object")
    assert newest(options)["secrets"] == before  # where it leads nowhere, what there was stands
    registry.close()


def test_it_is_text_like_any_other():
    text = ReferencedText("hunter2", lambda: "another")
    assert text == "hunter2"
    assert newest([text, (text,), {"a": text}, 1, None]) == [
        "another",
        ("another",),
        {"a": "another"},
        1,
        None,
    ]
    for one in (copy.deepcopy(text), pickle.loads(pickle.dumps(text)), text + ""):  # its own
        assert type(one) is str
        assert newest(one) == "hunter2"
