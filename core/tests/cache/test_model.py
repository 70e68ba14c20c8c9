"""Caches, tenants, writers and hosts against a model that knows what is promised.

The model keeps the history of every stored secret. A read may give what was stored at any moment since the last
change that caches were told of, and no longer ago than a life; after an invalidation or a description, nothing
from before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cache_support import Clock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from strongroom import (
    CachingMiddleware,
    PrefixMiddleware,
    RetryMiddleware,
    SecretProviderRegistry,
    TenantContext,
    TenantMiddleware,
    generate_key,
)
from strongroom.cache import MemoryCacheStore
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import PermissionDeniedError, SecretNotFoundError, StrongroomError
from strongroom_memory import MemorySecretProvider

LIFE = 300.0
KEY = generate_key()
STORED = ("p/db", "p/api", "tenants/a/db", "tenants/b/db", "tenants/a/p/db")
PIPELINES = ("whole", "prefixed", "retried", "plain", "tenanted")
ABSENT = None


class Service(MemorySecretProvider):
    """The backend of all hosts; a batch raises for the first key that is gone or denied."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, str] = {}

    def get_secret(self, key: str) -> str:
        self._check(key)
        return super().get_secret(key)

    def get_secrets(self, keys: Any) -> dict[str, str]:
        asked = list(keys)
        for key in asked:
            self._check(key)
        return super().get_secrets(asked)

    def _check(self, key: str) -> None:
        fault = self.faults.get(key)
        if fault == "denied":
            raise PermissionDeniedError("no", key=key)
        if fault is not None:
            raise SecretNotFoundError(key, reason=fault)  # type: ignore[arg-type]  # one of its own


def stored_as(pipeline: str, tenant: str | None, key: str) -> str | None:
    """Return the stored key, None where there is none."""
    if pipeline in {"prefixed", "retried"}:
        return f"p/{key}"
    if pipeline == "tenanted":
        return None if tenant is None else f"tenants/{tenant}/{key}"
    return key


def outcome(call: Callable[[], Any]) -> tuple[Any, StrongroomError | None]:
    """Return what `call` returns, or the refusal that it raises."""
    try:
        return call(), None
    except (SecretNotFoundError, PermissionDeniedError) as error:
        return ABSENT, error


def reason_of(error: StrongroomError) -> str:
    return error.reason if isinstance(error, SecretNotFoundError) else "denied"


class Caches(RuleBasedStateMachine):
    @initialize(offsets=st.lists(st.sampled_from([0.0, 3600.0, -3600.0]), min_size=2, max_size=2))
    def begin(self, offsets: list[float]) -> None:
        self.clock = Clock()
        self.backend = Service()
        self.store = MemoryCacheStore(clock=self.clock)
        self.hosts = [self.host(offset) for offset in offsets]
        self.count = 0
        # For each stored key what it was from when on, and since when nothing older may be given.
        self.history: dict[str, list[tuple[float, str | None]]] = {key: [(0.0, ABSENT)] for key in STORED}
        self.told: dict[str, int] = dict.fromkeys(STORED, 0)
        self.seen: dict[tuple[Any, ...], int] = {}

    def host(self, offset: float) -> SecretProviderRegistry:
        def cached(inner: Any) -> CachingMiddleware:
            made = CachingMiddleware(
                inner,
                60,
                l2=self.store,
                l2_ttl_seconds=LIFE,
                encryption=AESGCMEncryption(KEY),
                negative_ttl_seconds=30,
                clock=self.clock,
            )
            made.cache._wall = lambda: self.clock() + offset  # type: ignore[union-attr]  # it has two levels
            return made

        registry = SecretProviderRegistry({"version": 1, "pipelines": {}})
        registry.register("whole", cached(self.backend))
        registry.register("prefixed", cached(PrefixMiddleware(self.backend, "p/")))
        registry.register("retried", PrefixMiddleware(cached(RetryMiddleware(self.backend)), "p/"))
        registry.register("plain", self.backend)
        registry.register("tenanted", cached(TenantMiddleware(self.backend)))
        return registry

    places = {  # noqa: RUF012  # of the strategies below
        "host": st.integers(0, 1),
        "tenant": st.sampled_from([None, "a", "b"]),
        "pipeline": st.sampled_from(PIPELINES),
        "key": st.sampled_from(["p/db", "p/api", "db", "api", "tenants/a/db"]),
    }

    def at(self, host: int, tenant: str | None, pipeline: str, key: str, call: str, *args: Any) -> Any:
        provider = self.hosts[host].pipeline(pipeline)
        if tenant is None:
            return getattr(provider, call)(*args)
        with TenantContext(tenant):
            return getattr(provider, call)(*args)

    def now_is(self, stored: str, value: str | None, *, told: bool) -> None:
        self.history[stored].append((self.clock.now, value))
        if told:
            self.told[stored] = len(self.history[stored]) - 1

    def allowed(self, where: tuple[Any, ...], stored: str) -> set[str | None]:
        history = self.history[stored]
        first = max(self.told[stored], self.seen.get((*where, stored), 0))
        until = [since for since, _ in history[1:]] + [float("inf")]
        return {
            value
            for at, ((_, value), end) in enumerate(zip(history, until, strict=True))
            if at >= first and end > self.clock.now - LIFE - 1
        }

    @rule(**places)
    def read(self, host: int, tenant: str | None, pipeline: str, key: str) -> None:
        stored = stored_as(pipeline, tenant, key)
        if stored not in self.history:
            return
        found, error = outcome(lambda: self.at(host, tenant, pipeline, key, "get_secret", key))
        if error is not None:
            assert error.key == key
            if reason_of(error) != "absent":
                assert reason_of(error) == self.backend.faults.get(stored)
                return
        assert found in self.allowed((host, tenant, pipeline), stored), (stored, found)

    @rule(host=places["host"], tenant=places["tenant"], pipeline=st.sampled_from(["whole", "plain"]))
    def read_together(self, host: int, tenant: str | None, pipeline: str) -> None:
        keys = list(STORED)
        found, error = outcome(lambda: self.at(host, tenant, pipeline, "", "get_secrets", keys))
        if error is not None:
            assert reason_of(error) == self.backend.faults.get(str(error.key))
            return
        for key in keys:
            assert found.get(key) in self.allowed((host, tenant, pipeline), key), key

    @rule(**places, delete=st.booleans())
    def write(self, host: int, tenant: str | None, pipeline: str, key: str, delete: bool) -> None:
        stored = stored_as(pipeline, tenant, key)
        if stored not in self.history:
            return
        if delete:
            outcome(lambda: self.at(host, tenant, pipeline, key, "delete_secret", key))
            self.now_is(stored, ABSENT, told=True)
        else:
            self.count += 1
            self.at(host, tenant, pipeline, key, "set_secret", key, f"value {self.count}")
            self.now_is(stored, f"value {self.count}", told=True)

    @rule(stored=st.sampled_from(STORED))
    def another_tool_writes(self, stored: str) -> None:
        self.count += 1
        self.backend.set_secret(stored, f"value {self.count}")
        self.now_is(stored, f"value {self.count}", told=False)

    @rule(**places, how=st.sampled_from(["invalidate", "describe_secret"]))
    def look_again(self, host: int, tenant: str | None, pipeline: str, key: str, how: str) -> None:
        stored = stored_as(pipeline, tenant, key)
        if stored not in self.history:
            return
        if outcome(lambda: self.at(host, tenant, pipeline, key, how, key))[1] is not None:
            return
        self.seen[host, tenant, pipeline, stored] = len(self.history[stored]) - 1

    @rule(stored=st.sampled_from(STORED), fault=st.sampled_from(["disabled", "deleted", "denied", None]))
    def fail(self, stored: str, fault: str | None) -> None:
        self.backend.faults.pop(stored, None)
        if fault is not None:
            self.backend.faults[stored] = fault

    @rule(seconds=st.sampled_from([1.0, 31.0, 61.0, 299.0]))
    def wait(self, seconds: float) -> None:
        self.clock.pass_by(seconds)

    def teardown(self) -> None:
        for host in getattr(self, "hosts", ()):
            host.close()


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Caches,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_read_gives_what_the_model_does_not_allow():
    run(12, 25)


@pytest.mark.torture
def test_nor_does_one_of_a_great_many():
    run(400, 60)
