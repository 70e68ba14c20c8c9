"""The registry: one provider over all pipelines of a spec."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom.cache.addresses import caches_of, places_of, sources_of, type_of
from strongroom.declarations.json_fields import member_of
from strongroom.errors import ConfigurationError, InvalidKeyError, show_key
from strongroom.hooks import SecretHook
from strongroom.keys import cannot_start_key, check_prefix, distinct
from strongroom.middleware.base import innermost
from strongroom.middleware.prefix import StripPrefixMiddleware
from strongroom.parallel import renew_after_fork
from strongroom.pipeline import Pipeline, check_user_key, describe_many, read_many
from strongroom.plugins import did_you_mean
from strongroom.providers import (
    BaseProvider,
    BatchWriter,
    ConditionalWriter,
    Describer,
    FullProvider,
    SecretMetadata,
    SecretProvider,
    SecretVersion,
    StagedWriter,
    VersionReader,
    guard,
    unsupported,
)
from strongroom.registry.assembly import Assembly
from strongroom.registry.explanation import Explanation, explain
from strongroom.registry.figures import RegistryFigures, audit_failures, cache_stats, lease_seconds_left
from strongroom.registry.routing import Routes, no_default
from strongroom.spec.locate import find_plan
from strongroom.spec.plan import Plan, RoutePlan

if TYPE_CHECKING:
    from strongroom.cache.store import CacheStore
    from strongroom.declarations.resolution import ResolvedSecrets
    from strongroom.providers import SecretChange
    from strongroom.registry.leases import LiveLease
    from strongroom.registry.watch import Watch
    from strongroom.spec.models import Spec

__all__ = ["SecretProviderRegistry"]

T = TypeVar("T")


class SecretProviderRegistry(BaseProvider):
    """Answers every key through the pipeline that the spec routes it to. Itself a provider.

    Args:
        spec: A path, a mapping or a `strongroom.spec.Spec`. Without one, in this order: the file that
            `STRONGROOM_SPEC` names, `strongroom.yaml` in the current folder or above it, the user's own
            embedded store.
        profile: The profile to merge over the spec; without one, what `STRONGROOM_PROFILE` names.
        pipeline: Answer every key from this pipeline, and assemble nothing else.

    Raises:
        SpecError: The spec is wrong; `problems` lists everything.
        UntrustedSpecError: Others could have written the spec; or it was found, and is neither closed nor
            trusted.
        PluginError: A plugin that the spec names is broken.
        ConfigurationError: No such file, profile or pipeline.
    """

    type_name = "registry"

    def __init__(
        self,
        spec: str | os.PathLike[str] | Mapping[str, Any] | Spec | None = None,
        *,
        profile: str | None = None,
        pipeline: str | None = None,
    ) -> None:
        self._plan = find_plan(spec, profile=profile, pipeline=pipeline)
        self._assembly = Assembly(
            self._plan, only=pipeline, pipeline_of=self.pipeline, asked_as=self.asked_as
        )
        self._lock = threading.RLock()
        renew_after_fork(self, SecretProviderRegistry._begin_again)
        self._hooks: list[SecretHook] = list(self._assembly.hooks)
        self._value_observer: Callable[[str], object] | None = None
        self._known_caches: tuple[list[Any], list[Any]] = ([], [])
        self._watches: tuple[Watch, ...] = ()
        self._resumed = True
        self._registered: dict[str, Any] = {}
        self._pipelines: dict[str, Pipeline] = {}
        self._default = pipeline if pipeline is not None else self._plan.default
        self._plain: Pipeline | None = None
        """The default pipeline where there are no routes, as soon as it was used: all that a read needs."""
        self._routes = Routes() if pipeline is not None else Routes(self._plan.routes)
        self._stripping_pipelines: dict[RoutePlan, Pipeline] = {}
        self._introduce(self._hooks)

    # --- reading and writing ---

    def get_secret(self, key: str) -> str:
        """Return the value of `key`, as the pipeline that its route leads to has it.

        Raises:
            SecretNotFoundError: There is no such secret; `reason` says whether it was deleted or disabled.
            InvalidKeyError: That is not a key.
            PermissionDeniedError: The backend refuses it to this login.
            AuthenticationError: The backend does not take the login.
            BackendUnavailableError: The backend is away or throttles, or the deadline has passed.
            DecryptionError: What is stored does not decrypt under the key: another key, or it was changed.
            TenantContextError: The pipeline keeps tenants apart, and none is active.
            ConfigurationError: No route matches, and there is no default pipeline.
        """
        plain = self._plain
        return (plain if plain is not None else self._route(key)).get_secret(key)

    def set_secret(self, key: str, value: str) -> None:
        """Create or replace `key`; no cache of this registry gives the older value afterwards.

        Raises:
            ReadOnlyError: The pipeline or the backend takes no writes.
            ValidationError: A rule of the pipeline, or a limit of the backend, refuses the value.
            InvalidKeyError: That is not a key, or not one that the backend can have.
            PermissionDeniedError: The backend refuses it to this login.
            AuthenticationError: The backend does not take the login.
            BackendUnavailableError: The backend is away or throttles, or the deadline has passed.
        """
        self._route(key).set_secret(key, value)

    def delete_secret(self, key: str) -> None:
        """Delete `key`, and what a rotation keeps beside it.

        Raises:
            SecretNotFoundError: There is no such secret.
            ReadOnlyError: The pipeline or the backend takes no writes.
            PermissionDeniedError: The backend refuses it to this login.
            AuthenticationError: The backend does not take the login.
            BackendUnavailableError: The backend is away or throttles, or the deadline has passed.
        """
        self._route(key).delete_secret(key)

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return the keys of all routes; a key that another route would answer is left out."""
        self._resume()
        found: set[str] = set()
        for pipeline, asked, route in self.answering(prefix, prefix=True):
            found.update(key for key in pipeline.list_secrets(asked) if self._routes.matching(key) is route)
        return sorted(found)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of those of `keys` that are there, batched or in parallel per pipeline."""
        found: dict[str, str] = {}
        for provider, part in self._by_pipeline(keys):
            found |= read_many(provider, part)
        return found

    def set_secrets(self, values: Mapping[str, str]) -> None:
        """Write all `values`; keys of one pipeline in one batch where it has that."""
        for provider, part in self._by_pipeline(values):
            if isinstance(provider, BatchWriter):
                provider.set_secrets({key: values[key] for key in part})
            else:
                for key in part:
                    provider.set_secret(key, values[key])

    def get_field(self, key: str, field: str) -> str:
        """Return a member of a JSON secret; `a.b` and `a.0` descend.

        Raises:
            ValidationError: The secret holds no JSON object.
            SecretNotFoundError: There is no such secret or member.
        """
        return member_of(self.get_secret(key), key, field)

    # --- capabilities: raise `UnsupportedOperationError` where the key's pipeline lacks them ---

    def describe_secret(self, key: str) -> SecretMetadata:
        """Return version, dates (aware, UTC) and tags of `key`, without its value.

        Raises:
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend tells nothing about its secrets.
        """
        return self._require(key, Describer, "describe").describe_secret(key)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        """Return version, dates and tags of those of `keys` that are there, batched where it can be."""
        found: dict[str, SecretMetadata] = {}
        for _, part in self._by_pipeline(keys):
            found |= describe_many(self._require(part[0], Describer, "describe"), part)
        return found

    def list_versions(self, key: str) -> list[SecretVersion]:
        """Return the versions of `key`, the newest first.

        Raises:
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend keeps no versions.
        """
        return self._require(key, VersionReader, "history").list_versions(key)

    def get_secret_version(self, key: str, version: str) -> str:
        """Return the value that `key` had in `version`, an id from `list_versions`.

        Raises:
            SecretNotFoundError: There is no such secret or version.
            UnsupportedOperationError: The backend keeps no versions.
        """
        return self._require(key, VersionReader, "history").get_secret_version(key, version)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        """Write `value` if `expected_version` is still the current one, and return the new version's id.

        Args:
            key: The key.
            value: The value.
            expected_version: The id that the caller has seen; None where the key must not be there yet.

        Raises:
            ConflictError: Somebody else has written meanwhile.
            UnsupportedOperationError: The backend has no conditional writes.
        """
        return self._require(key, ConditionalWriter, "conditional write").set_secret_if(
            key, value, expected_version
        )

    def stage_secret(self, key: str, value: str) -> str:
        """Store a version that readers do not get yet, and return its id.

        Raises:
            UnsupportedOperationError: The backend cannot stage versions.
        """
        return self._require(key, StagedWriter, "staging").stage_secret(key, value)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        """Make the staged `version` the current one if `expected_version` still is.

        Raises:
            ConflictError: Another version is the current one by now.
            SecretNotFoundError: There is no such version.
            UnsupportedOperationError: The backend cannot stage versions.
        """
        able = self._require(key, StagedWriter, "staging")
        able.promote_version(key, version, expected_version=expected_version)

    def discard_version(self, key: str, version: str) -> None:
        """Drop a staged version.

        Raises:
            SecretNotFoundError: There is no such version.
            UnsupportedOperationError: The backend cannot stage versions.
        """
        self._require(key, StagedWriter, "staging").discard_version(key, version)

    def invalidate(self, key: str) -> None:
        """Forget what is remembered of `key` for the active tenant, so that the next read asks the backend.

        In every cache on the way of `key`, and in the second level, so also on other hosts.

        Raises:
            InvalidKeyError: It is not a key.
            ConfigurationError: No route matches and there is no default pipeline.
        """
        self._route(key).invalidate(key)

    def replaced(self, name: str) -> None:
        """Let every cache forget what was read from where the pipeline `name` writes: all of it was replaced.

        Of every tenant and pipeline, and in the second level, so also on other hosts.

        Raises:
            ConfigurationError: There is no such pipeline.
        """
        chain = self._chain(name)
        places = places_of(chain, written=True)
        for one in self._caches(chain):
            one.drop_all(places)

    # --- leases and watching ---

    def holds_leases(self) -> bool:
        """Tell whether this process holds a lease by this registry at present."""
        chains = [*self._assembly.chains(), *self._registered.values()]
        return any(bool(chain.leases.current()) for chain in chains if hasattr(chain, "leases"))

    def lease(self, key: str) -> LiveLease:
        """Return a handle on the live lease of `key`, which is issued where this process has none yet.

        All handles and reads of a key share one lease. It is renewed in the background, and replaced before
        it can end, until the registry is closed or the process ends normally, when it is revoked.

        Raises:
            UnsupportedOperationError: The pipeline of `key` issues no leases.
            SecretNotFoundError: The server issues nothing for `key`.
        """
        from strongroom.registry.leases import LiveLease, leases_of, refuse

        pipeline = self._route(key)
        check_user_key(key)
        leased = leases_of(pipeline.inner, key)
        if leased is None:
            error = refuse(key, innermost(pipeline))
            error.pipeline = pipeline.name
            raise error
        pipeline.get_secret(key)  # as a read, which hooks see and may refuse
        return LiveLease(*leased, key)

    def watch(
        self,
        keys: str | Iterable[str],
        callback: Callable[[list[SecretChange]], object],
        *,
        poll_seconds: float = 30.0,
    ) -> Watch:
        """Call `callback` with what changes, whoever changes it, until what is returned is closed.

        It runs on a thread of the watch's own, one call at a time, with the tenant in which the watch was
        made. What changed together comes in one list, without values, and every cache of this registry has
        dropped those keys before: a read in the callback gives the new value.

        Args:
            keys: A key, or several; one that ends in `/` stands for all that begin with it, `/` for all.
            callback: Called with a list of `SecretChange`; not for the state at the start.
            poll_seconds: How often backends are asked that do not tell of changes by themselves.

        Raises:
            ValueError: There are no keys.
            InvalidKeyError: One of them is not a key.
            ConfigurationError: `poll_seconds` is not above 0, or no pipeline answers a key.
            StrongroomError: Reading the present state failed. An outage does not raise: the watch then begins
                with the first answer.
        """
        from strongroom.registry.watch import Watch

        self._resume()
        watch = Watch(self, keys, callback, poll_seconds=poll_seconds)
        with self._lock:
            self._watches = (*self._watches, watch)
        watch.start()
        return watch

    def answering(self, key: str, *, prefix: bool) -> Iterator[tuple[Pipeline, str, RoutePlan | None]]:
        """Yield who answers a key, or keys with a prefix: the pipeline, what it is asked, and by which route.

        Raises:
            ConfigurationError: Nobody.
        """
        if not prefix:
            yield self._route(key), key, self._routes.matching(key)
            return
        for route in self._routes:
            if route.prefix.startswith(key) or key.startswith(route.prefix):
                yield self._routed(route), key if key.startswith(route.prefix) else route.prefix, route
        if self._default is not None and self._routes.matching(key) is None:
            yield self.pipeline(self._default), key, None
        elif self._default is None and not self._routes:
            raise self._no_default(key)

    def answers(self, route: RoutePlan | None, key: str) -> bool:
        """Tell whether `key` is answered by this route; None is the default pipeline."""
        return self._routes.matching(key) is route

    def forget(self, chain: Any, key: str) -> None:
        """Let every cache of this registry drop what is read as `key` through `chain`."""
        caches = self._caches(chain)
        for source in sources_of(chain, key) if caches else ():
            for one in caches:
                one.drop(source)

    def drop_watch(self, watch: Watch) -> None:
        """Tell no more of this registry's writes to a watch."""
        with self._lock:
            self._watches = tuple(one for one in self._watches if one is not watch)

    def _resume(self) -> None:
        """Let watches go on in a forked child, which begins with its first use of the registry."""
        if not self._resumed:
            self._resumed = True
            for watch in self._watches:
                watch.wake()

    # --- set-up ---

    def add_hook(self, hook: SecretHook) -> None:
        """Let `hook` see every operation of every pipeline from now on.

        Raises:
            TypeError: It lacks `before` or `after`.
        """
        if not (callable(getattr(hook, "before", None)) and callable(getattr(hook, "after", None))):
            raise TypeError(f"a {type(hook).__name__} is not a hook: it needs the methods before and after")
        self._introduce([hook])
        with self._lock:
            self._hooks.append(hook)
            for name, pipeline in self._pipelines.items():
                pipeline.watch(self._hooks_of(name))
            for route, pipeline in self._stripping_pipelines.items():
                pipeline.watch(self._hooks_of(route.pipeline))

    def tell_values(self, seen: Callable[[str], object]) -> None:
        """Give `seen` every value that is read from now on; `strongroom.masking.install` asks for it."""
        with self._lock:
            self._value_observer = seen
            for pipeline in (*self._pipelines.values(), *self._stripping_pipelines.values()):
                pipeline.tell_values(seen)

    def register(self, name: str, provider: SecretProvider, *, prefix: str | None = None) -> None:
        """Add a provider made in Python as the pipeline `name`.

        Args:
            name: The pipeline's name; it must be new.
            provider: Any object with the four methods. Closing the registry closes it too.
            prefix: Keys that begin with this go to it, as by a route; "" means all that no route matches.

        Raises:
            ConfigurationError: The name or the prefix is taken, or the name is empty.
            InvalidKeyError: No key begins with the prefix.
            TypeError: The provider lacks one of the four methods.
        """
        guarded = self._assembly.with_leases(guard(provider), name)
        if not name:
            raise ConfigurationError("a pipeline needs a name")
        if prefix and cannot_start_key(check_prefix(prefix)):
            raise InvalidKeyError(prefix, f"no key begins with {show_key(prefix)}")
        with self._lock:
            if name in self._registered or name in self._plan.pipelines:
                raise ConfigurationError(f"a pipeline {name!r} exists already", pipeline=name)
            if prefix and prefix in self._routes:
                raise ConfigurationError(f"a route for the prefix {prefix!r} exists already", pipeline=name)
            self._registered[name] = guarded
            if prefix:
                self._routes = self._routes.with_one_more(RoutePlan(prefix, name))
            elif prefix is not None:
                self._default = name
            self._plain = None

    def pipeline(self, name: str) -> Pipeline:
        """Return the pipeline `name` as a provider.

        Raises:
            ConfigurationError: There is none.
        """
        pipeline = self._pipelines.get(name)
        if pipeline is None:
            chain = self._chain(name)  # outside the lock: it may ask a server for a token
            with self._lock:
                pipeline = self._pipelines.get(name)
                if pipeline is None:
                    pipeline = self._assembled(chain, name)
                    self._pipelines[name] = pipeline
        return pipeline

    def pipeline_for(self, key: str) -> Pipeline:
        """Return the pipeline that answers `key`, with its prefix stripped where the route says so.

        Raises:
            ConfigurationError: No route matches and there is no default pipeline.
        """
        return self._route(key)

    def asked_as(self, pipeline: str, key: str) -> str:
        """Return what callers ask for where `pipeline` is asked for `key`: with what a route strips of it.

        Where several keys lead there, it is the one of the first route.
        """
        for route in self._routes:
            asked = route.prefix + key if route.strip_prefix else key
            if route.pipeline == pipeline and self._routes.matching(asked) is route:
                return asked
        return key

    def assembled_pipeline(self, key: str) -> Pipeline | None:
        """Return the pipeline that answers `key`, where it has been used before; else None, and no I/O."""
        if self._plain is not None:
            return self._plain
        route = self._routes.matching(key) if isinstance(key, str) else None
        if route is None:
            return self._pipelines.get(self._default or "")
        return (
            self._stripping_pipelines.get(route)
            if route.strip_prefix
            else self._pipelines.get(route.pipeline)
        )

    def default_pipeline(self) -> str:
        """Return the name of the pipeline that answers keys which no route matches.

        Raises:
            ConfigurationError: There is none.
        """
        if self._default is None:
            raise self._no_default("")
        return self._default

    def pipelines(self) -> list[str]:
        """Return the names of all pipelines."""
        return [*(name for name in self._plan.pipelines if self._assembly.is_used(name)), *self._registered]

    def used_pipelines(self) -> dict[str, Pipeline]:
        """Return the pipelines that have been used by now, by name; no I/O."""
        return dict(self._pipelines)

    def absent_store(self, key: str) -> str | None:
        """Return, in words, that the store `key` is in is not there yet; None where it is, or has none."""
        absent = getattr(innermost(self._route(key)), "absent", None)
        store: str | None = absent() if callable(absent) else None
        return store

    def explain(self, key: str) -> Explanation:
        """Return how `key` would be answered, without asking anybody.

        Raises:
            ConfigurationError: No route matches and there is no default pipeline.
        """
        registered = {
            name: provider.type_name or type(provider).__name__ for name, provider in self._registered.items()
        }
        return explain(self._plan, key, routes=self._routes, default=self._default, registered=registered)

    def resolve(self, group: str | None = None) -> ResolvedSecrets:
        """Return what `secrets:` declares, typed and checked; see `strongroom.declarations.resolve`.

        Raises:
            ValidationError: Secrets are missing or wrong; the message names every one.
        """
        from strongroom.declarations.resolve import resolve

        return resolve(self, self._plan, group=group)

    def declared_keys(self, group: str | None = None) -> list[str]:
        """Return the keys of what `secrets:` declares, for `watch`; of composed secrets those of their parts.

        Raises:
            ValidationError: No declaration has this group.
        """
        from strongroom.declarations.resolve import keys_of, select_group

        return keys_of(self._plan, select_group(self._plan, group))

    def rotation_lock(self) -> CacheStore | None:
        """Return the store whose lock the spec gives to rotations, for `SecretRotation(lock=)`."""
        found: CacheStore | None = self._assembly.rotation_lock()
        return found

    def rotator(self, name: str) -> Any:
        """Return a new rotator of the declared secret `name`, for `SecretRotation(rotator=)`.

        Raises:
            ConfigurationError: It has none, or an option of it cannot be looked up.
        """
        return self._assembly.rotator(name)

    def serve_options(self) -> Mapping[str, Any] | None:
        """Return the spec's section `serve:` with its references filled in; None where there is none.

        Raises:
            SpecError: A reference leads nowhere, or what it brings in does not fit.
        """
        return None if self._plan.serve is None else self._assembly.options_of(self._plan.serve)

    def environment(self) -> frozenset[str]:
        """Return the variables that are not for a child: the spec's credentials, and providers' secrets."""
        return self._plan.environment() | self._assembly.variables()

    def figures(self) -> RegistryFigures:
        """Return what its caches and audit hooks have counted until now, without asking a backend."""
        with self._lock:
            chains = {**self._assembly.by_name(), **self._registered}
            hooks = [*self._hooks, *self._assembly.hooks_made()]
        counted = {name: stats for name, one in chains.items() if (stats := cache_stats(one)) is not None}
        failures = audit_failures({id(hook): hook for hook in hooks}.values())
        left = {name: end for name, one in chains.items() if (end := lease_seconds_left(one)) is not None}
        return RegistryFigures(counted, failures, left)

    @property
    def plan(self) -> Plan:
        """The validated spec that the registry was made from."""
        return self._plan

    def close(self) -> None:
        """Close every provider; a second call is harmless."""
        for hook in [*self._hooks, *self._assembly.hooks_made()]:
            look = getattr(hook, "registry_closing", None)
            if callable(look):
                look(self)
        with self._lock:
            registered, self._registered = list(self._registered.values()), {}
        for watch in self._watches:
            watch.close()
        self._assembly.close()
        for provider in registered:
            close = getattr(provider, "close", None)
            if close is not None:
                close()

    def _begin_again(self) -> None:
        """Make a lock that no thread of a forked child's parent holds; under it nothing is half-done."""
        self._lock = threading.RLock()
        # The next read goes the long way, on which watches are woken.
        self._plain, self._resumed = None, False

    def __repr__(self) -> str:
        return f"<SecretProviderRegistry {self._plan.source}: {', '.join(self.pipelines())}>"

    # --- routing ---

    def _route(self, key: str) -> Pipeline:
        if not self._resumed:
            self._resume()
        routes = self._routes
        route = routes.matching(key) if isinstance(key, str) else None
        if route is not None:
            return self._routed(route)
        if self._default is None:
            raise self._no_default(key)
        name = self._default
        pipeline = self.pipeline(name)
        if not routes and self._plain is None:
            with self._lock:
                if self._routes is routes and self._default == name:  # nobody registered one meanwhile
                    self._plain = pipeline
        return pipeline

    def _routed(self, route: RoutePlan) -> Pipeline:
        if not route.strip_prefix:
            return self.pipeline(route.pipeline)
        pipeline = self._stripping_pipelines.get(route)
        if pipeline is None:
            chain = StripPrefixMiddleware(self._chain(route.pipeline), route.prefix)  # as in `pipeline`
            with self._lock:
                pipeline = self._stripping_pipelines.get(route)
                if pipeline is None:
                    pipeline = self._assembled(chain, route.pipeline)
                    self._stripping_pipelines[route] = pipeline
        return pipeline

    def _by_pipeline(self, keys: Iterable[str]) -> list[tuple[Pipeline, list[str]]]:
        parts: dict[int, tuple[Pipeline, list[str]]] = {}
        for key in distinct(keys):
            provider = self._route(key)
            parts.setdefault(id(provider), (provider, []))[1].append(key)
        return list(parts.values())

    def _require(self, key: str, protocol: type[Any], operation: str) -> FullProvider:
        provider = self._route(key)
        if not isinstance(provider, protocol):
            error = unsupported(operation, innermost(provider), key)
            error.pipeline = provider.name
            raise error
        able: Any = provider  # it has what the protocol asks for, and the caller uses no more
        return able  # type: ignore[no-any-return]  # as above

    def _chain(self, name: str) -> Any:
        if name in self._registered:
            return self._registered[name]
        if name in self._plan.pipelines and self._assembly.is_used(name):
            return self._assembly.chain(name)
        raise ConfigurationError(f"no pipeline {name!r}", hint=did_you_mean(name, self.pipelines()))

    def _assembled(self, chain: Any, name: str) -> Pipeline:
        pipeline = Pipeline(chain, name=name, hooks=self._hooks_of(name))
        if self._value_observer is not None:
            pipeline.tell_values(self._value_observer)
        pipeline.observe_changes(self._changed)
        return pipeline

    def _changed(self, chain: Any, keys: Sequence[str]) -> None:
        """Let every cache forget what was read from where a write through `chain` went, and watches look."""
        caches = self._caches(chain)
        if not caches and not self._watches:
            return
        passed = {id(one) for one in caches_of(chain, written=True)}
        caches = [one for one in caches if id(one) not in passed]
        written: dict[str, list[str]] = {}
        for key in keys:
            for source in sources_of(chain, key, written=True):
                written.setdefault(source.place, []).append(source.key)
                for one in caches:
                    one.drop(source)
        for watch in self._watches:
            watch.wrote(written)

    def _caches(self, chain: Any) -> list[Any]:
        """Return the caches that may hold what is written through `chain`, and the others of the registry."""
        if self._assembly.shares_more():
            types = frozenset(map(type_of, places_of(chain, written=True)))
            self._assembly.share_levels(types)
        chains = [*self._assembly.chains(), *self._registered.values()]
        known, caches = self._known_caches
        if len(known) != len(chains) or not all(map(operator.is_, known, chains)):
            found = {id(one): one for other in chains for one in caches_of(other)}
            caches = list(found.values())
            self._known_caches = chains, caches  # at once: threads write beside each other
        return caches

    def _hooks_of(self, name: str) -> list[SecretHook]:
        own = self._own_hooks(name)
        self._introduce(self._assembly.hooks_made())  # also of a fallback's members, which have no other way
        return [*self._hooks, *own]

    def _own_hooks(self, name: str) -> Sequence[SecretHook]:
        return self._assembly.pipeline_hooks(name) if name not in self._registered else ()

    def _introduce(self, hooks: Iterable[SecretHook]) -> None:
        for hook in hooks:
            meet = getattr(hook, "registry_opened", None)
            if callable(meet):
                meet(self)

    def _no_default(self, key: str) -> ConfigurationError:
        return no_default(self._plan, key, self.pipelines())
