"""A provider from the cached result of a spec, so that `get` and `run` of a plain spec load no registry.

A spec is plain if every key goes to one provider that nothing watches, behind no middleware that changes
the first read of a process. If anything goes wrong here, the registry is loaded after all, and reports it.
"""

from __future__ import annotations

import importlib
from functools import cached_property

from strongroom.errors import ConfigurationError, SecretNotFoundError
from strongroom.runtime.frozen import replaced
from strongroom.spec.locate import applicable
from strongroom.spec.records import recall as recall_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NoReturn, Self

    from strongroom.cli.context import GlobalOptions
    from strongroom.spec.plan import ComponentPlan, Plan
    from strongroom.spec.records import Recalled
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["CachedSpec", "recall", "without_caches"]

_SAME_READS = frozenset({"caching", "read-only", "retry"})
"""Middleware of core that, without parts of its own, changes no first read that succeeds."""
_CACHING = "strongroom.middleware.caching:make_caching_middleware"
_USUAL_WAIT_SECONDS = 60
"""How long a cache waits for a read unless the spec says otherwise, and longer than backends take."""


class CachedSpec:
    """The part of a registry that reads of plain specs need: a provider, and the declared secrets.

    Attributes:
        provider: It answers every key; leaving the context closes it.
        pipeline: The name of its pipeline.
        origin: See `Plan`.
        source: The path of the spec.
        profile: Its profile, if any.
        secrets: The declared secrets, by name.
    """

    def __init__(self, provider: Any, pipeline: str, recalled: Recalled | None) -> None:
        self.provider = provider
        self.pipeline = pipeline
        self.source = recalled.spec.path if recalled is not None else ""
        self.profile = recalled.profile if recalled is not None else None
        self.origin = "own" if recalled is None else "named" if recalled.spec.found is None else "found"
        self._recalled = recalled

    @property
    def plan(self) -> Self:
        return self

    @cached_property
    def secrets(self) -> dict[str, SecretPlan]:
        if self._recalled is None:
            return {}
        from strongroom.spec.recalling import recalled_secrets

        return recalled_secrets(self._recalled)

    @property
    def is_whole(self) -> bool:
        """Whether the spec has no other pipelines that may keep secrets in variables."""
        others = [] if self._recalled is None else self._recalled.data["pipelines"]
        others = [one["provider"] for one in others if one["name"] != self.pipeline]
        if not any(others):
            return True
        from strongroom.plugins.known import WITHOUT_VARIABLES

        return all(one is None or one["factory"] in WITHOUT_VARIABLES for one in others)

    def get_secret(self, key: str) -> str:
        value: str = self.provider.get_secret(key)
        return value

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        values: dict[str, str] = {}
        for key in keys:
            try:
                values[key] = self.get_secret(key)
            except SecretNotFoundError as error:
                if error.reason != "absent":
                    raise
        return values

    def environment(self) -> frozenset[str]:
        """Return the variables that a child does not get: the credentials of the spec and the provider."""
        from strongroom.spec.recalling import environment

        variables = getattr(self.provider, "variables", None)
        own = variables() if callable(variables) else ()
        return frozenset([*own, *(environment(self._recalled.data) if self._recalled is not None else ())])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close = getattr(self.provider, "close", None)
        if close is not None:
            close()


_OUTDATED = (ValueError, LookupError, TypeError, AttributeError, OSError)
"""Errors that a change of the environment, or of the installed code, may cause."""


def recall(settings: GlobalOptions) -> CachedSpec | None:
    """Return the cached spec; None if there is none, or it is not plain: `settings` then keep its record.

    A plain spec has no tenants; if the user names one, a full load reports that.

    Raises:
        StrongroomError: A full load has to report it.
    """
    if settings.tenant is not None:
        return None
    named, profile = applicable(settings.spec, settings.profile)
    if named is None:
        return _own_store() if profile is None and settings.pipeline in {None, "default"} else None
    recalled = settings.recalled = recall_spec(named, profile)
    pipeline = _plain(recalled.data, settings.pipeline) if recalled is not None else None
    if recalled is None or pipeline is None:
        return None
    recalled.closed()
    from strongroom.spec.recalling import Options

    try:
        component = pipeline["provider"]
        factory = _factory(component["factory"])
        options = Options(recalled, _refuse)
        options.look_all_up(recalled.data, None if settings.pipeline is None else {settings.pipeline})
        provider = _guarded(factory(**options.prepare(component, _refuse))) if factory is not None else None
    except _OUTDATED:
        return None  # a variable is missing, or does not fit its option: a full load reports it
    if provider is None or hasattr(provider, "issue_lease"):  # only a registry can keep leases
        return None
    return CachedSpec(provider, pipeline["name"], recalled)


def _own_store() -> CachedSpec | None:
    from strongroom.spec.locate import OWN_PIPELINE, OWN_PROVIDER, own_store

    store, key = own_store()
    factory = _factory(OWN_PROVIDER)
    if factory is None:
        return None
    return CachedSpec(factory(file_path=store, key_file=key), OWN_PIPELINE, None)


def _guarded(provider: Any) -> Any:
    from strongroom.providers.base import BaseProvider

    if isinstance(provider, BaseProvider):
        return provider
    from strongroom.providers import guard

    return guard(provider)


def _factory(place: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):  # the program has changed: a full load says what is wrong
        return None


def _plain(data: Mapping[str, Any], only: str | None) -> Mapping[str, Any] | None:
    """Return the one pipeline that answers; None if there are several, or it is not plain."""
    named = [one for one in data["pipelines"] if only is None or one["name"] == only]
    if len(named) != 1 or data["hooks"] or (only is None and (data["routes"] or data["lock"])):
        return None
    pipeline: Mapping[str, Any] = named[0]
    provider = pipeline["provider"]
    if provider is None or provider["reads"] or pipeline["hooks"]:
        return None
    for one in pipeline["middleware"]:
        ours = one["factory"].startswith("strongroom.middleware.")
        if one["type"] not in _SAME_READS or one["parts"] or not ours or _waits_less(one):
            return None
    return pipeline


def _waits_less(record: Mapping[str, Any]) -> bool:
    """Return whether a recorded middleware may give up a read that takes long."""
    kind, seconds, *_ = (record["options"] or {}).get("fetch_timeout_seconds", ("constant", None))
    return kind != "constant" or _is_short(seconds)


def _is_short(seconds: float | None) -> bool:
    return seconds is not None and seconds < _USUAL_WAIT_SECONDS


def without_caches(plan: Plan, only: str | None) -> Plan:
    """Return the plan for a process that reads each secret once, in which a cache in memory is only work.

    A read through it takes another thread. A cache that gives up sooner than usual stays, and so do all if
    options are secrets of a pipeline, which may be read several times.

    Args:
        plan: A plan whose references were looked up, except those of pipelines that `only` does not use.
        only: The pipeline that answers, if it was chosen.
    """
    if any(one.reads for one in plan.components()):
        return plan
    used = plan.pipelines.keys() if only is None else plan.used_by(only)
    changed = {
        name: replaced(one, middleware=tuple(part for part in one.middleware if not _only_caches(part)))
        for name in used
        if (one := plan.pipelines[name]).middleware
    }
    return replaced(plan, pipelines={**plan.pipelines, **changed})


def _only_caches(part: ComponentPlan) -> bool:
    plain = part.type == "caching" and part.factory == _CACHING and not part.parts and not part.environment
    return plain and not _is_short(part.resolved(_refuse).get("fetch_timeout_seconds"))


def _refuse(*_: object) -> NoReturn:
    raise ConfigurationError("only a full load can report it")
