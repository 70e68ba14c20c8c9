"""Which pipeline answers a key: the routes, the pipelines behind them, and what all of them share."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigurationError, InvalidKeyError, StrongroomError, of_thread, show_key
from strongroom.hooks import SecretHook
from strongroom.keys import cannot_start_key, check_prefix, starts_reserved
from strongroom.parallel import forks_wait, renew_after_fork
from strongroom.pipeline import Pipeline
from strongroom.plugins.factories import HOOK_METHODS
from strongroom.providers.base import BaseProvider, innermost
from strongroom.providers.guarding import guard
from strongroom.registry.assembly import Assembly, first_to_raise
from strongroom.runtime.coroutines import refuse_async, refuse_class
from strongroom.runtime.logs import logger
from strongroom.spec.plan import Plan, RoutePlan

if TYPE_CHECKING:
    from strongroom.providers import SecretProvider
    from strongroom.registry.watch import Watch

__all__ = ["RoutedPipelines", "Routes", "no_default", "warn_of_closing"]

_log = logger("strongroom.registry")


class Routes:
    """Routes by their prefixes, which differ. The object does not change.

    A look-up takes a step for each length that prefixes have, however many routes there are.
    """

    def __init__(self, routes: Iterable[RoutePlan] = ()) -> None:
        self._by_prefix = {route.prefix: route for route in sorted(routes, key=lambda one: -len(one.prefix))}
        self._lengths = tuple(dict.fromkeys(map(len, self._by_prefix)))

    def matching(self, key: str) -> RoutePlan | None:
        """Return the route with the longest prefix that `key` begins with."""
        for length in self._lengths:
            route = self._by_prefix.get(key[:length])
            if route is not None:
                return route
        return None

    def with_one_more(self, route: RoutePlan) -> Routes:
        """Return these routes and another one."""
        return Routes((*self, route))

    def __contains__(self, prefix: str) -> bool:
        return prefix in self._by_prefix

    def __iter__(self) -> Iterator[RoutePlan]:
        """Yield the routes, longest prefix first."""
        return iter(self._by_prefix.values())

    def __len__(self) -> int:
        return len(self._by_prefix)


def no_default(plan: Plan, key: str, pipelines: Sequence[str]) -> ConfigurationError:
    """Return the error for a key that no pipeline answers; "" stands for every key."""
    if not pipelines:
        return ConfigurationError(
            f"{plan.source} has no pipeline",
            hint="add one under `pipelines:`; `strongroom init` writes a spec",
        )
    unmatched = f"no route matches {show_key(key)}, and " if key else ""
    return ConfigurationError(
        f"{unmatched}{plan.source} has no default pipeline",
        hint=f"add `default:` to the spec, or give --pipeline; there are: {', '.join(pipelines)}",
    )


class RoutedPipelines(BaseProvider):
    """The pipelines of a plan and those registered beside them, and the routes that lead to them.

    Args:
        plan: A validated plan.
        only: Answer every key from this pipeline, and assemble nothing else.
    """

    def __init__(self, plan: Plan, *, only: str | None = None) -> None:
        self._plan = plan
        self._assembly = Assembly(plan, only=only, pipeline_of=self._any_pipeline, asked_as=self.asked_as)
        self._lock = threading.RLock()
        renew_after_fork(self, RoutedPipelines._begin_again)
        self._hooks: list[SecretHook] = list(self._assembly.hooks)
        self._value_observers: tuple[Callable[[str], object], ...] = ()
        self._known_caches: tuple[list[Any], list[Any]] = ([], [])
        self._watches: tuple[Watch, ...] = ()
        self._resumed = True
        self._closed = False
        """Whether it was closed, and not used since."""
        self._registered: dict[str, Any] = {}
        self._pipelines: dict[str, Pipeline] = {}
        self._default = only if only is not None else plan.default
        self._bound_default: Pipeline | None = None
        """The default pipeline once it was used, if there are no routes: then a read needs nothing else."""
        self._routes = Routes() if only is not None else Routes(plan.routes)
        self._stripping_pipelines: dict[RoutePlan, Pipeline] = {}
        self._introduce(self._hooks)

    # --- which pipeline answers ---

    def pipeline_for(self, key: str) -> Pipeline:
        """Return the pipeline that answers `key`; it strips the prefix if the route says so.

        Raises:
            ConfigurationError: No route matches and there is no default pipeline.
        """
        return self._route(key)

    def answering(self, key: str, *, prefix: bool) -> Iterator[tuple[Pipeline, str, RoutePlan | None]]:
        """Yield each pipeline that answers a key or prefix, with what it is asked, and the route.

        Raises:
            ConfigurationError: There is none.
        """
        if not prefix:
            yield self._route(key), key, self._routes.matching(key)
            return
        if not isinstance(key, str):
            yield self._route(key), key, None  # which refuses it
            return
        within = self._routes.matching(key)  # all keys that begin so are answered by it, or by longer routes
        for route in self._routes:
            if route is within or route.prefix.startswith(key):
                yield self._routed(route), key if route is within else route.prefix, route
        if self._default is not None and within is None:
            yield self.pipeline(self._default), key, None
        elif self._default is None and not self._routes:
            raise self._no_default(key)
        else:
            check_prefix(key)  # perhaps no pipeline was asked, which would refuse it

    def answers(self, route: RoutePlan | None, key: str) -> bool:
        """Return whether `key` is answered by this route; None is the default pipeline."""
        return self._routes.matching(key) is route

    def asked_as(self, pipeline: str, key: str) -> str:
        """Return the key that callers use for `key` of `pipeline`: with the prefix that a route strips.

        If several keys lead there, it is the one of the first route.
        """
        for route in self._routes:
            asked = route.prefix + key if route.strip_prefix else key
            if route.pipeline == pipeline and self._routes.matching(asked) is route:
                return asked
        return key

    def assembled_pipeline(self, key: str) -> Pipeline | None:
        """Return the pipeline that answers `key` if it has been used before, else None; without I/O."""
        if self._bound_default is not None:
            return self._bound_default
        if not self._resumed:
            self._resume()
        route = self._routes.matching(key) if isinstance(key, str) else None
        if route is None:
            return self._pipelines.get(self._default or "")
        return (
            self._stripping_pipelines.get(route)
            if route.strip_prefix
            else self._pipelines.get(route.pipeline)
        )

    def stored_at(self, key: str) -> tuple[str, str] | None:
        """Return the place that `key` of the active tenant is written to, and its name there; without I/O.

        Equal places are the same store, also for another registry; only those of AWS do not say which account
        and region are meant. It is None if the pipeline has not been used before.
        """
        pipeline = self.assembled_pipeline(key)
        return None if pipeline is None else _addresses().stored_at(pipeline.inner, key)

    def default_pipeline(self) -> str:
        """Return the name of the pipeline that answers keys which no route matches.

        Raises:
            ConfigurationError: There is none.
        """
        if self._default is None:
            raise self._no_default("")
        return self._default

    def absent_store(self, key: str) -> str | None:
        """Return a sentence that says that the store of `key` does not exist yet; None if it does."""
        absent = getattr(innermost(self._route(key)), "absent", None)
        store: str | None = absent() if callable(absent) else None
        return store

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
        if not routes and self._bound_default is None and self._resumed:
            with self._lock:
                # Only if no other thread registered one meanwhile.
                if self._routes is routes and self._default == name:
                    self._bound_default = pipeline
        return pipeline

    def _routed(self, route: RoutePlan) -> Pipeline:
        if not route.strip_prefix:
            return self.pipeline(route.pipeline)
        pipeline = self._stripping_pipelines.get(route)
        if pipeline is None:
            from strongroom.middleware.prefix import StripPrefixMiddleware

            chain = StripPrefixMiddleware(self._chain(route.pipeline), route.prefix)  # as in `pipeline`
            with self._lock:
                pipeline = self._stripping_pipelines.get(route)
                if pipeline is None:
                    pipeline = self._assembled(chain, route.pipeline)
                    self._stripping_pipelines[route] = pipeline
        return pipeline

    def _no_default(self, key: str) -> ConfigurationError:
        return no_default(self._plan, key, self.pipelines())

    # --- the pipelines ---

    def register(self, name: str, provider: SecretProvider, *, prefix: str | None = None) -> None:
        """Add a provider made in Python as the pipeline `name`.

        Watches that were made before do not look at it.

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
        if prefix and (cannot_start_key(check_prefix(prefix)) or starts_reserved(prefix)):
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
            self._bound_default = None

    def pipeline(self, name: str) -> Pipeline:
        """Return the pipeline `name` as a provider.

        Raises:
            ConfigurationError: There is none.
        """
        if not self._resumed:
            self._resume()
        pipeline = self._pipelines.get(name)
        if pipeline is None:
            chain = self._chain(name)  # outside the lock: it may ask a server for a token
            with self._lock:
                pipeline = self._pipelines.get(name)
                if pipeline is None:
                    pipeline = self._assembled(chain, name)
                    self._pipelines[name] = pipeline
        return pipeline

    def _any_pipeline(self, name: str) -> Pipeline:
        """Return the pipeline `name`, also one of the plan that this registry answers no key from."""
        if name in self._plan.pipelines and not self._assembly.is_used(name):
            return self._assembled(self._assembly.chain(name), name)
        return self.pipeline(name)

    def pipelines(self) -> list[str]:
        """Return the names of all pipelines."""
        return [*(name for name in self._plan.pipelines if self._assembly.is_used(name)), *self._registered]

    def used_pipelines(self) -> dict[str, Pipeline]:
        """Return the pipelines that have been used by now, by name; without I/O."""
        return dict(self._pipelines)

    def _chain(self, name: str) -> Any:
        if name in self._registered:
            return self._registered[name]
        if name in self._plan.pipelines and self._assembly.is_used(name):
            return self._assembly.chain(name)
        from strongroom.plugins import did_you_mean

        raise ConfigurationError(f"no pipeline {name!r}", hint=did_you_mean(name, self.pipelines()))

    def _assembled(self, chain: Any, name: str) -> Pipeline:
        pipeline = Pipeline(chain, name=name, hooks=self._hooks_of(name))
        if self._value_observers:
            pipeline.observe_values(self._observe_value)
        pipeline.observe_changes(self._changed, refuse=self._refuse_inner_write)
        return pipeline

    # --- hooks ---

    def add_hook(self, hook: SecretHook) -> None:
        """Let `hook` see every operation of every pipeline from now on.

        Raises:
            TypeError: It lacks `before` or `after`, or a method of a hook is a coroutine function there.
        """
        if not (callable(getattr(hook, "before", None)) and callable(getattr(hook, "after", None))):
            raise TypeError(f"a {type(hook).__name__} is not a hook: it needs the methods before and after")
        refuse_class(hook, "before")
        refuse_async(type(hook).__name__, **{name: getattr(hook, name, None) for name in HOOK_METHODS})
        self._introduce([hook])
        with self._lock:
            self._hooks.append(hook)
            for name, pipeline in self._pipelines.items():
                pipeline.set_hooks(self._hooks_of(name))
            for route, pipeline in self._stripping_pipelines.items():
                pipeline.set_hooks(self._hooks_of(route.pipeline))

    def observe_values(self, seen: Callable[[str], object]) -> None:
        """Call `seen`, too, with every value that is read from now on, for `strongroom.masking.install`."""
        with self._lock:
            if seen in self._value_observers:
                return
            self._value_observers += (seen,)
            for pipeline in (*self._pipelines.values(), *self._stripping_pipelines.values()):
                pipeline.observe_values(self._observe_value)

    def stop_observing_values(self, seen: Callable[[str], object]) -> None:
        """Call `seen` no more."""
        with self._lock:
            self._value_observers = tuple(one for one in self._value_observers if one != seen)

    def _observe_value(self, value: str) -> None:
        for seen in self._value_observers:
            seen(value)

    def _hooks_of(self, name: str) -> list[SecretHook]:
        own = self._own_hooks(name)
        # Also those of a fallback's members, which are made with it.
        self._introduce(self._assembly.hooks_made())
        return [*self._hooks, *own]

    def _own_hooks(self, name: str) -> Sequence[SecretHook]:
        return self._assembly.pipeline_hooks(name) if name not in self._registered else ()

    def _introduce(self, hooks: Iterable[SecretHook]) -> None:
        for hook in hooks:
            meet = getattr(hook, "registry_opened", None)
            if callable(meet):
                meet(self)

    # --- what was read before ---

    def replaced(self, name: str) -> None:
        """Let every cache forget all that was read from where the pipeline `name` writes: it was replaced.

        That is done for every tenant and pipeline, and in the second level, so also on other hosts.

        Raises:
            ConfigurationError: There is no such pipeline.
        """
        chain = self._chain(name)
        places = _addresses().places_of(chain, written=True)
        for one in self._caches(chain):
            one.drop_all(places)

    def forget(self, chain: Any, key: str) -> None:
        """Let every cache of this registry drop what is read as `key` through `chain`."""
        caches = self._caches(chain)
        for source in _addresses().sources_of(chain, key) if caches else ():
            for one in caches:
                one.drop(source)

    def _refuse_inner_write(self) -> None:
        """Refuse the write of a signal handler that a cache of this registry could not forget.

        Raises:
            BackendUnavailableError: The handler came while its thread was at work on the cache's entries.
        """
        for one in self._made_caches():
            one.cache.refuse_inner_write()

    def _changed(self, chain: Any, keys: Sequence[str]) -> None:
        """Let every cache forget what a write through `chain` has changed, and let watches look at it."""
        if not self._resumed:
            self._resume()
        caches = self._caches(chain)
        if not caches and not self._watches:
            return
        from strongroom.cache.addresses import caches_of, sources_of  # `_caches` has loaded it

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
        """Return the caches of the registry, after making those that may hold what `chain` writes."""
        if self._assembly.shares_more():
            addresses = _addresses()
            types = frozenset(map(addresses.type_of, addresses.places_of(chain, written=True)))
            self._assembly.share_levels(types)
        return self._made_caches()

    def _made_caches(self) -> list[Any]:
        """Return the caches of the pipelines that have been used by now."""
        chains = [*self._assembly.chains(), *self._registered.values()]
        known, caches = self._known_caches
        if len(known) != len(chains) or not all(map(operator.is_, known, chains)):
            caches_of = _addresses().caches_of
            found = {id(one): one for other in chains for one in caches_of(other)}
            caches = list(found.values())
            self._known_caches = chains, caches  # in one assignment, since threads do this at the same time
        return caches

    # --- watches, forks and the end ---

    def drop_watch(self, watch: Watch) -> None:
        """Stop telling a watch of this registry's writes."""
        with self._lock:
            self._watches = tuple(one for one in self._watches if one is not watch)

    def wake_watches(self) -> None:
        """Let the next use of the registry start the threads of watches that have none."""
        self._bound_default, self._resumed = None, False

    def _resume(self) -> None:
        """Note the first use in a forked child, in which watches go on, or the first one after `close`."""
        if not self._resumed:
            self._resumed = True
            self._closed = False
            for watch in self._watches:
                watch.wake()

    def _await_use(self) -> None:
        """Let the next use call `_resume`, also if a caller keeps a pipeline and does not ask for it."""
        self.wake_watches()  # by the next read, which takes the slow path
        for pipeline in (*self._pipelines.values(), *self._stripping_pipelines.values()):
            pipeline.tell_first_use(self._resume)

    def _begin_again(self) -> None:
        """Give a forked child a free lock; what it protects is never half-changed."""
        self._lock = threading.RLock()
        if self._watches or self._closed:
            self._await_use()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception as failed:
            if error is None:
                raise
            warn_of_closing(failed)

    def close(self) -> None:
        """Close every provider; a second call is harmless. The first error is raised after all are closed.

        A use afterwards, as by another thread, opens again what it needs: that takes another `close`.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            registered = list(self._registered.values())
        self._await_use()
        hooks = [*self._hooks, *self._assembly.hooks_made()]
        looks = [getattr(hook, "registry_closing", None) for hook in hooks]
        steps: list[Any] = [partial(look, self) for look in looks if callable(look)]
        steps += [watch.close for watch in self._watches]
        steps += [self._assembly.close, *(getattr(one, "close", None) for one in registered)]
        errors: list[BaseException] = []
        for step in steps:
            try:
                if step is not None:
                    step()
            except BaseException as error:  # noqa: BLE001  # of a hook or a provider of anybody's, also an exit
                errors.append(of_thread(error))
        if errors:
            raise first_to_raise(errors)


def _addresses() -> ModuleType:
    """Return the module that finds caches and places, of which a registry that only reads needs nothing."""
    with forks_wait():
        from strongroom.cache import addresses
    return addresses


def warn_of_closing(error: Exception) -> None:
    """Log why a registry did not close after another error, which is the one that its caller handles."""
    said = error if isinstance(error, StrongroomError) else type(error).__name__
    _log.warning("the registry did not close: %s", said)
