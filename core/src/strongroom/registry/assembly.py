"""From a validated plan to live pipelines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import (
    ConfigurationError,
    PluginError,
    SecretNotFoundError,
    StrongroomError,
    ValidationError,
    raised_at,
)
from strongroom.hooks import SecretHook
from strongroom.parallel import forks_wait, renew_after_fork
from strongroom.pipeline import Pipeline
from strongroom.plugins.factories import check_made, load_factory
from strongroom.providers.base import has_capability, layers
from strongroom.providers.guarding import guard
from strongroom.runtime.frozen import frozen
from strongroom.runtime.logs import logger
from strongroom.spec.plan import ComponentPlan, PipelinePlan, Plan
from strongroom.tenancy import context_of, current_tenant

if TYPE_CHECKING:
    from strongroom.spec.references import Reference

__all__ = ["Assembly", "PipelineContext", "first_to_raise"]

_PAUSE_SECONDS: Final = 60.0
_WITHOUT_ADDRESSES: Final = (
    "strongroom.middleware.read_only:ReadOnlyMiddleware",
    "strongroom.middleware.retry:RetryMiddleware",
    "strongroom.middleware.validation:ValidationMiddleware",
)
"""The factories of middleware that needs no address of what is inside of it."""
_log = logger("strongroom.cache")


@frozen
class PipelineContext:
    """What a component learns of its pipeline, if its factory has `accepts_pipeline_context`.

    Attributes:
        pipeline: The pipeline's name.
        address: A text made of everything inside that decides which secret a key means.
        rotate_days: The interval of each declared secret that is to be rotated, by key.
    """

    pipeline: str
    address: str
    rotate_days: Mapping[str, int]


class Assembly:
    """The pipelines of a plan, each assembled once.

    All are assembled at construction, so that errors show at the start; only those whose options are secrets
    of another pipeline wait for their first use.

    Args:
        plan: A validated plan.
        only: Assemble only this pipeline and what it needs.
        pipeline_of: Returns the pipeline of a name as callers read it; its hooks see operations on leases,
            and reads of references.
        asked_as: Returns the callers' key for a pipeline's name and the key that it is asked for.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        only: str | None = None,
        pipeline_of: Callable[[str], Pipeline],
        asked_as: Callable[[str, str], str] = lambda _, key: key,
    ) -> None:
        self.plan = plan
        self._pipeline_of = pipeline_of
        self._asked_as = asked_as
        self._used = plan.used_by(only) if only is not None else frozenset(plan.pipelines)
        self._begin_again()
        renew_after_fork(self, Assembly._begin_again)
        self._chains: dict[str, Any] = {}
        self._own_hooks: dict[str, list[SecretHook]] = {}
        self._made: list[Any] = []
        self._has_addresses = any(
            part.factory not in _WITHOUT_ADDRESSES
            for one in plan.pipelines.values()
            for part in one.middleware
        )
        self._addresses: dict[str, list[Any] | None] = {}
        """What each provider and middleware that was made adds to an address, by its path."""
        self._tenants: dict[str, str] = {}
        """The tenant of each component that a secret of a tenant was read for, by the component's path."""
        self._rotation_lock: Any = None
        self._sharing = frozenset(
            name
            for name, one in plan.pipelines.items()
            if any(part.type == "caching" and "l2" in part.parts for part in one.middleware)
        )
        self._tried_again: dict[str, float] = {}
        try:
            self.hooks: list[SecretHook] = [self._make(hook, among=self._made) for hook in plan.hooks]
            for name in plan.pipelines:
                if name in self._used and not self._reads_secrets(name):
                    self.chain(name)
        except BaseException:
            _closed(self._made)  # nobody else can
            raise

    def _begin_again(self) -> None:
        # One for each pipeline: a first use may ask a slow server for a token, and must not hold up others.
        # References never form a circle, so no two threads wait for each other.
        self._locks = {name: threading.RLock() for name in self.plan.pipelines}
        self._rotation = threading.RLock()

    def _reads_secrets(self, name: str) -> bool:
        return any(part.reads for member in self.plan.used_by(name) for part in self._parts(member))

    def _parts(self, name: str) -> Sequence[ComponentPlan]:
        return self.plan.pipelines[name].components()

    def is_used(self, name: str) -> bool:
        """Return whether this assembly has the pipeline `name`."""
        return name in self._used

    def chain(self, name: str) -> Any:
        """Return provider and middleware of a pipeline, without hooks."""
        chain = self._chains.get(name)
        if chain is None:
            with forks_wait(), self._locks[name]:
                chain = self._chains.get(name)
                if chain is None:
                    chain = self._assembled(self.plan.pipelines[name])
                    self._chains[name] = chain
        return chain

    def chains(self) -> list[Any]:
        """Return the pipelines that are assembled by now."""
        return list(self._chains.values())

    def by_name(self) -> dict[str, Any]:
        """Return the pipelines that are assembled by now, members of fallbacks among them, by name."""
        return dict(self._chains)

    def hooks_made(self) -> list[SecretHook]:
        """Return the hooks of single pipelines that are made by now."""
        return [hook for hooks in list(self._own_hooks.values()) for hook in hooks]

    def shares_more(self) -> bool:
        """Return whether a pipeline with a second level of its cache is not assembled yet."""
        return bool(self._sharing) and not self._sharing.issubset(self._chains)

    def share_levels(self, types: frozenset[str | None]) -> None:
        """Assemble the pipelines that share a level of their cache and whose providers are of these types.

        Other processes may read there what a write through this assembly has changed. One that cannot be
        assembled is logged, and tried again after a minute: a write that is done must not fail for it.
        """
        for name in self._sharing.difference(self._chains):
            if types.isdisjoint(self._types(name)) or time.monotonic() < self._tried_again.get(name, 0.0):
                continue
            try:
                self.chain(name)
            except StrongroomError as error:
                self._tried_again[name] = time.monotonic() + _PAUSE_SECONDS
                _log.warning(
                    "the second level of the cache of %s could not be cleared after a write, and may return "
                    "older values until they expire: %s", name, error,
                )  # fmt: skip

    def _types(self, name: str) -> set[str]:
        """Return the types of the providers that a pipeline reads from."""
        plan = self.plan.pipelines[name]
        if plan.fallback is not None:
            return {one for member in plan.fallback.pipelines for one in self._types(member)}
        return {plan.provider.type} if plan.provider is not None else set()

    def pipeline_hooks(self, name: str) -> Sequence[SecretHook]:
        """Return the hooks that the spec gives to this pipeline alone."""
        self.chain(name)
        return self._own_hooks[name]

    def variables(self) -> frozenset[str]:
        """Return the environment variables that hold secrets, as providers with `variables` report them.

        Those of pipelines that this assembly does not use are among them.
        """
        methods = [getattr(made, "variables", None) for made in (*self._made, *self._others_with_variables())]
        return frozenset(name for variables in methods if callable(variables) for name in variables())

    def _others_with_variables(self) -> Iterator[Any]:
        from strongroom.plugins.known import WITHOUT_VARIABLES

        for name, plan in self.plan.pipelines.items():
            if name in self._used or plan.provider is None or self._reads_secrets(name):
                continue
            factory = plan.provider.factory
            if isinstance(factory, str) and factory in WITHOUT_VARIABLES:
                continue  # and it is not loaded
            with suppress(StrongroomError):  # what is not used need not be right
                if hasattr(self._factory(plan.provider), "variables"):
                    yield self._built(plan.provider)

    def rotation_lock(self) -> Any:
        """Return the store whose lock is for rotations, made at the first call; None if there is none."""
        with self._rotation:
            if self._rotation_lock is None and self.plan.rotation_lock is not None:
                self._rotation_lock = self._make(self.plan.rotation_lock, among=self._made)
            return self._rotation_lock

    def rotator(self, name: str) -> Any:
        """Return a new rotator of the declared secret `name`, with its credentials as they are now.

        Raises:
            ConfigurationError: The declaration has none.
        """
        component = self.plan.rotators.get(name)
        if component is None:
            raise ConfigurationError(f"{name[:80]!r} is declared with no rotator")
        with forks_wait():
            return self._built(component)

    def close(self) -> None:
        """Close everything that was made, the last first; the first error is raised after all are closed.

        What is used afterwards opens again, until the next call.
        """
        errors = _closed(self._made)
        if errors:
            raise first_to_raise(errors)

    def _assembled(self, plan: PipelinePlan) -> Any:
        components: list[Any] = []
        try:
            chain = self._chained(plan, components)
        except BaseException:
            _closed(components)  # the next use makes all of them again
            raise
        self._made += components
        return chain

    def _chained(self, plan: PipelinePlan, components: list[Any]) -> Any:
        """Return provider and middleware of a pipeline; what is made for it is added to `components`."""
        for part in plan.components():  # an earlier attempt, which failed, may have been of another tenant
            self._tenants.pop(part.path, None)
        hooks: list[SecretHook] = [self._make(hook, among=components) for hook in plan.hooks]
        if plan.fallback is not None:
            from strongroom.pipeline.fallback import FallbackProvider

            members = [
                Pipeline(self.chain(name), name=name, hooks=self.pipeline_hooks(name))
                for name in plan.fallback.pipelines
            ]
            chain: Any = FallbackProvider(members[0], others=members[1:], when=plan.fallback.when)
        else:
            assert plan.provider is not None  # noqa: S101  # the loader lets nothing else pass
            chain = guard(self._make(plan.provider, among=components))
            if any(part.type == "caching" for one in self.plan.pipelines.values() for part in one.middleware):
                from strongroom.cache.addresses import as_place

                # A guard, or a provider of our own base: both take attributes.
                chain._place = as_place(self._address_of(plan.provider, plan.name) or [])  # noqa: SLF001  # see `place_of`
        for at in reversed(range(len(plan.middleware))):
            inside = plan.middleware[at + 1 :]
            layer = self._make(plan.middleware[at], chain, among=components, plan=plan, inside=inside)
            chain = guard(layer, around=chain)
        leasing = self.with_leases(self._of_one_tenant(chain, plan), plan.name)
        if leasing is not chain:
            components.append(leasing)
        self._own_hooks[plan.name] = hooks
        return leasing

    def _of_one_tenant(self, chain: Any, plan: PipelinePlan) -> Any:
        """Return a chain that was set up with a secret of a tenant so that it answers that tenant alone."""
        tenants = [self._tenants[part.path] for part in plan.components() if part.path in self._tenants]
        if not tenants:
            return chain
        from strongroom.middleware.tenant import OneTenantMiddleware

        return OneTenantMiddleware(chain, tenants[0])

    def with_leases(self, chain: Any, name: str) -> Any:
        """Return a chain that issues leases with the middleware that keeps them; any other unchanged."""
        if not has_capability(chain, "LeaseProvider"):
            return chain
        from strongroom.leases.ledger import ProcessLedger, issuer_of
        from strongroom.middleware.leases import LeaseMiddleware

        ledger = ProcessLedger(self.plan.location(), issuer=issuer_of(chain))
        observer = partial(self._pipeline_of, name)
        asked_as = partial(self._asked_as, name)
        return LeaseMiddleware(chain, ledger=ledger, observer=observer, asked_as=asked_as)

    def _make(
        self,
        component: ComponentPlan,
        *inner: Any,
        among: list[Any],
        plan: PipelinePlan | None = None,
        inside: Sequence[ComponentPlan] = (),
    ) -> Any:
        """Return a component that was made, and add it to those that are to be closed."""
        made = self._built(component, *inner, plan=plan, inside=inside)
        among.append(made)
        return made

    def _built(
        self,
        component: ComponentPlan,
        *inner: Any,
        plan: PipelinePlan | None = None,
        inside: Sequence[ComponentPlan] = (),
    ) -> Any:
        options = self.options_of(component)
        if self._has_addresses and component.kind in {"provider", "middleware"}:
            # Before the factory gets the options, since it may change them.
            self._addresses[component.path] = self._added_to_address(component, options)
        factory = self._factory(component)
        if plan is not None and getattr(factory, "accepts_pipeline_context", False):
            options = {**options, "context": self._pipeline_context(plan, inside)}
        failure: StrongroomError
        try:
            return check_made(factory(*inner, **options), component.kind)
        except StrongroomError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  # the constructor of a plugin may raise anything
            failure = _factory_failed(error)
        # Outside the `except` block: a third party's error may hold an option's value.
        failure.message = f"{component.position}: {component.path}: {failure.message}"
        failure.__context__ = None
        raise failure

    def _pipeline_context(self, plan: PipelinePlan, inside: Sequence[ComponentPlan]) -> PipelineContext:
        days = {one.key: one.rotate_days for one in self.plan.secrets.values() if one.rotate_days is not None}
        return PipelineContext(plan.name, json.dumps(self._chain_address(plan, inside), sort_keys=True), days)

    def _chain_address(self, plan: PipelinePlan, inside: Sequence[ComponentPlan]) -> list[Any]:
        """Return what decides which secret a key means, in the layers `inside` and the provider."""
        parts: list[Any] = [
            address for one in inside if (address := self._address_of(one, plan.name)) is not None
        ]
        if plan.fallback is not None:
            members = [self.plan.pipelines[name] for name in plan.fallback.pipelines]
            each = [self._chain_address(member, member.middleware) for member in members]
            return [*parts, ["fallback", sorted(plan.fallback.when), each]]
        assert plan.provider is not None  # noqa: S101  # the loader lets nothing else pass
        return [*parts, self._address_of(plan.provider, plan.name)]

    def _address_of(self, component: ComponentPlan, pipeline: str) -> list[Any] | None:
        """Return what a component that has been made adds to the address of its pipeline."""
        address = self._addresses[component.path]
        if address is not None and (component.kind, component.type) == ("provider", "memory"):
            kind, name, decides = address
            return [kind, name, [*decides, ["pipeline", pipeline]]]  # each pipeline has a memory of its own
        return address

    @staticmethod
    def _added_to_address(component: ComponentPlan, options: Mapping[str, Any]) -> list[Any] | None:
        from strongroom.cache.addresses import component_address

        return component_address(
            component.kind, component.type, options, component.public, decides=component.address
        )

    @staticmethod
    def _factory(component: ComponentPlan) -> Callable[..., Any]:
        if isinstance(component.factory, str):
            return load_factory(component.factory, component.type)
        return component.factory

    def options_of(self, component: ComponentPlan) -> Mapping[str, Any]:
        """Return the options of a component, with the references in them filled in."""
        return component.resolved(lambda reference: self._read_reference(component, reference))

    def _read_reference(self, component: ComponentPlan, reference: Reference) -> str:
        source, key, field = reference.pipeline, reference.name, reference.field
        pipeline = self._pipeline_of(source)  # so that hooks, and masking of logs, see this read as any other
        hint = f"store it with `strongroom --pipeline {source} set {key}`"
        try:
            if reference.past_caches:
                pipeline.invalidate(key)
            value = pipeline.get_secret(key)
            self._note_tenant(component, pipeline, key, value)
            if field is None:
                return value
            from strongroom.declarations.json_fields import member_of

            hint = f"add the field with `strongroom --pipeline {source} edit {key}`"
            try:
                return member_of(value, key, field)
            except ValidationError as error:  # it is not JSON with members
                raise self._leads_nowhere(component, reference, error, hint) from error
        except SecretNotFoundError as error:
            # Not "not found": the caller asked for another key, whose pipeline cannot be set up.
            raise self._leads_nowhere(component, reference, error, hint) from error

    @staticmethod
    def _leads_nowhere(
        component: ComponentPlan, reference: Reference, error: StrongroomError, hint: str
    ) -> ConfigurationError:
        source, key, field = reference.pipeline, reference.name, reference.field
        written = key if field is None else f"{key}#{field}"
        return ConfigurationError(
            f"{component.position}: {component.path}: ${{secret:{source}:{written}}} "
            f"leads nowhere: {error.message}",
            pipeline=source,
            hint=hint,
        )

    def _note_tenant(self, component: ComponentPlan, pipeline: Pipeline, key: str, value: str) -> None:
        """Note that a component has a secret of the active tenant: its pipeline is for that tenant alone."""
        tenant = current_tenant()
        if tenant is not None:
            from strongroom.middleware.tenant import keeps_tenants_apart

            if keeps_tenants_apart(pipeline) and not _is_shared(pipeline, key, value):
                self._tenants[component.path] = tenant


def _is_shared(pipeline: Pipeline, key: str, value: str) -> bool:
    """Return whether a member of a fallback that all tenants share has `value`."""
    if not any(hasattr(layer, "members") for layer in layers(pipeline)):
        return False
    try:
        return context_of(None).run(pipeline.get_secret, key) == value
    except StrongroomError:
        return False


def _factory_failed(error: Exception) -> PluginError:
    trace = error.__traceback__
    hint = f"it was raised at {raised_at(error)}"
    if isinstance(error, TypeError) and trace is not None and trace.tb_next is None:  # the call itself failed
        hint = "it has to take every option of its config as a keyword argument"
    return PluginError(f"its factory failed with {type(error).__name__}", hint=hint)


def first_to_raise(errors: Sequence[BaseException]) -> BaseException:
    """Return the one of several errors that the caller gets: an interrupt if there is one, else the first."""
    return next((one for one in errors if isinstance(one, KeyboardInterrupt)), errors[0])


def _closed(components: Sequence[Any]) -> list[BaseException]:
    """Close components, the last first, and return the errors of those that fail."""
    errors: list[BaseException] = []
    for component in reversed(tuple(components)):
        if has_capability(component, "Closeable"):
            try:
                component.close()
            except BaseException as error:  # noqa: BLE001  # the others must be closed too, whatever it is
                errors.append(_close_failed(component, error))
    return errors


def _close_failed(component: Any, error: BaseException) -> BaseException:
    """Return the error for a component that could not be closed; a third party's text may hold anything."""
    if isinstance(error, StrongroomError | KeyboardInterrupt):
        return error
    return StrongroomError(
        f"{type(component).__name__} failed with {type(error).__name__} as it was closed",
        hint=f"the cause is in the component itself; it was raised at {raised_at(error)}",
    )
