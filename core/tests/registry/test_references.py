"""Components that are set up with secrets of other pipelines."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import strongroom
from strongroom import SecretProviderRegistry, TenantContext
from strongroom.errors import ConfigurationError, SecretNotFoundError, TenantContextError
from strongroom_memory import MemorySecretProvider


def test_a_secret_reference_is_read_when_its_pipeline_is_first_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HIDDEN_PREFIX__x", "unused")
    registry = SecretProviderRegistry(
        {
            "version": 1,
            "pipelines": {
                "vault": {"provider": {"type": "memory"}},
                "app": {"provider": {"type": "env", "prefix": "${secret:vault:settings#prefix}"}},
            },
            "default": "app",
        }
    )
    with pytest.raises(ConfigurationError, match="settings#prefix} leads nowhere") as caught:
        registry.get_secret("token")
    assert not isinstance(caught.value, SecretNotFoundError)
    assert caught.value.hint == "store it with `strongroom --pipeline vault set settings`"
    registry.pipeline("vault").set_secret("settings", "text")
    with pytest.raises(ConfigurationError, match="settings#prefix} leads nowhere: 'settings' has no fields"):
        registry.get_secret("token")
    registry.pipeline("vault").set_secret("settings", '{"other": "kept"}')
    with pytest.raises(ConfigurationError, match="has no field 'prefix'") as caught:
        registry.get_secret("token")
    # Not `set`, which would replace the other fields.
    assert str(caught.value).endswith("; add the field with `strongroom --pipeline vault edit settings`")
    registry.pipeline("vault").set_secret("settings", '{"prefix": "FROM_VAULT_"}')
    monkeypatch.setenv("FROM_VAULT_TOKEN", "value")
    assert registry.get_secret("token") == "value"


def test_what_was_made_before_a_reference_that_leads_nowhere_is_closed(monkeypatch):
    """Each read tries again; otherwise an outage would leave a provider behind for each."""
    spec = {
        "version": 1,
        "pipelines": {
            "vault": {"provider": {"type": "memory"}},
            "app": {
                "provider": {"type": "memory"},
                "middleware": [
                    {"type": "encryption", "key": "${secret:vault:key}"},
                    {"type": "retry"},
                ],
            },
        },
        "default": "app",
    }
    made, closed = [], []
    begin, end = MemorySecretProvider.__init__, MemorySecretProvider.close
    monkeypatch.setattr(
        MemorySecretProvider, "__init__", lambda self, **options: made.append(self) or begin(self, **options)
    )
    monkeypatch.setattr(MemorySecretProvider, "close", lambda self: closed.append(self) or end(self))
    with SecretProviderRegistry(spec) as registry:
        for attempt in (1, 2, 3):
            with pytest.raises(ConfigurationError, match="leads nowhere"):
                registry.get_secret("token")
            assert len(made) == 1 + attempt
            assert [one for one in made if one in closed] == made[1:]
        registry.pipeline("vault").set_secret("key", strongroom.generate_key())
        registry.set_secret("token", "value")
        assert registry.get_secret("token") == "value"
        assert made[0] not in closed
        assert made[-1] not in closed
    assert all(one in closed for one in made)


def test_what_was_made_before_a_pipeline_that_cannot_be_made_is_closed(monkeypatch):
    """As at each SIGHUP of a server whose spec has such a mistake."""
    closed = []
    monkeypatch.setattr(MemorySecretProvider, "close", lambda _: closed.append("first"))

    def fails(_self, **_):
        raise ConfigurationError("not like this")

    monkeypatch.setattr(strongroom.backends.EnvSecretProvider, "__init__", fails)
    pipelines = {"first": {"provider": {"type": "memory"}}, "second": {"provider": {"type": "env"}}}
    with pytest.raises(ConfigurationError, match="not like this"):
        SecretProviderRegistry({"version": 1, "pipelines": pipelines})
    assert closed == ["first"]


def of_tenants(**pipelines):
    """Return a spec whose pipeline `app` reads what `keys` has for the active tenant."""
    return {
        "version": 1,
        "pipelines": {
            "keys": {
                "provider": {
                    "type": "memory",
                    "secrets": {"tenants/a/prefix": "A_", "tenants/b/prefix": "B_"},
                },
                "middleware": [{"type": "caching"}, {"type": "tenant"}],
            },
            "app": {"provider": {"type": "env", "prefix": "${secret:keys:prefix}"}},
            **pipelines,
        },
        "default": "app",
    }


@pytest.mark.parametrize(
    "pipelines",
    [
        {},
        {"app": {"provider": {"type": "env", "prefix": "${secret:safe:prefix}"}},
         "safe": {"fallback": {"pipelines": ["plain", "keys"]}}, "plain": {"provider": {"type": "memory"}}},
        {"app": {"fallback": {"pipelines": ["inner"]}},
         "inner": {"provider": {"type": "env", "prefix": "${secret:keys:prefix}"}}},
    ],
    ids=["a reference", "to a fallback", "of a member"],
)  # fmt: skip
def test_what_a_reference_read_for_one_tenant_serves_no_other(pipelines, monkeypatch):
    """The pipeline is set up once: otherwise all would get what the first caller may see."""
    monkeypatch.setenv("A_TOKEN", "of a")
    monkeypatch.setenv("B_TOKEN", "of b")
    with SecretProviderRegistry(of_tenants(**pipelines)) as registry:
        with TenantContext("a"):
            assert registry.get_secret("token") == "of a"
            assert registry.list_secrets() == ["token"]
        for other in (TenantContext("b"), nullcontext()):
            with other:
                for call in (
                    lambda: registry.get_secret("token"),
                    lambda: registry.get_secrets(["token"]),
                    registry.list_secrets,
                    lambda: registry.watch("token", print),
                ):
                    with pytest.raises(TenantContextError, match="set up with a secret of another tenant"):
                        call()
        with TenantContext("a"):
            assert registry.get_secrets(["token"]) == {"token": "of a"}
    with SecretProviderRegistry(of_tenants(**pipelines)) as registry, TenantContext("b"):
        assert registry.get_secret("token") == "of b"


SHARED = {"provider": {"type": "memory", "secrets": {"prefix": "ALL_"}}}


@pytest.mark.parametrize(
    "pipelines",
    [
        {"keys": SHARED},
        {"app": {"provider": {"type": "env", "prefix": "${secret:safe:prefix}"}},
         "safe": {"fallback": {"pipelines": ["shared", "keys"]}}, "shared": SHARED},
    ],
    ids=["a reference", "to a fallback"],
)  # fmt: skip
def test_a_reference_to_what_all_tenants_share_serves_all(pipelines, monkeypatch):
    monkeypatch.setenv("ALL_TOKEN", "of all")
    with SecretProviderRegistry(of_tenants(**pipelines)) as registry:
        for tenant in ("a", "b"):
            with TenantContext(tenant):
                assert registry.get_secret("token") == "of all"


def test_a_tenant_under_whom_a_pipeline_could_not_be_set_up_binds_it_no_more(monkeypatch):
    """Its own secret was read in vain: what is set up later is set up with what all tenants share."""
    monkeypatch.setenv("ALL_TOKEN", "of all")
    spec = of_tenants(
        app={
            "provider": {"type": "env", "prefix": "${secret:safe:prefix}"},
            "middleware": [{"type": "encryption", "key": "${secret:shared:key}", "migrate": True}],
        },
        safe={"fallback": {"pipelines": ["shared", "keys"]}},
        shared={"provider": {"type": "memory"}},
    )
    with SecretProviderRegistry(spec) as registry:
        with TenantContext("a"), pytest.raises(ConfigurationError, match="leads nowhere"):
            registry.get_secret("token")
        registry.pipeline("shared").set_secret("key", strongroom.generate_key())
        registry.pipeline("shared").set_secret("prefix", "ALL_")
        for tenant in ("a", "b"):
            with TenantContext(tenant):
                assert registry.get_secret("token") == "of all"
