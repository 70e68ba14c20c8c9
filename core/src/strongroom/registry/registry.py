"""The registry: one provider over all pipelines of a spec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom.errors import StrongroomError
from strongroom.keys import distinct
from strongroom.pipeline import (
    Pipeline,
    check_user_key,
    describe_many,
    read_many,
    refused_first,
    write_many,
)
from strongroom.providers.base import has_capability, innermost, layers, unsupported
from strongroom.registry.routing import RoutedPipelines
from strongroom.spec.locate import find_plan
from strongroom.spec.plan import Plan, RoutePlan
from strongroom.tenancy import current_tenant

if TYPE_CHECKING:
    from strongroom.cache.store import CacheStore
    from strongroom.declarations.resolution import ResolvedSecrets
    from strongroom.providers import FullProvider, SecretChange, SecretMetadata, SecretVersion
    from strongroom.registry.explanation import Explanation
    from strongroom.registry.figures import RegistryFigures
    from strongroom.registry.leases import LiveLease
    from strongroom.registry.watch import Watch
    from strongroom.spec.models import Spec

__all__ = ["SecretProviderRegistry"]

T = TypeVar("T")


class SecretProviderRegistry(RoutedPipelines):
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
        plan = find_plan(spec, profile=profile, pipeline=pipeline)
        super().__init__(plan, only=pipeline)

    # --- reading and writing ---

    def get_secret(self, key: str) -> str:
        """Return the value of `key` from the pipeline that its route leads to.

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
        bound = self._bound_default
        return (bound if bound is not None else self._route(key)).get_secret(key)

    def set_secret(self, key: str, value: str) -> None:
        """Create or replace `key`; no cache of this registry returns the older value afterwards.

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
        return self._listed(self.answering(prefix, prefix=True))

    def list_readable(self, prefix: str = "") -> list[str]:
        """Return what `list_secrets` does; without a tenant, leave out pipelines that keep tenants apart.

        Raises:
            TenantContextError: No tenant is active, and no other pipeline answers keys that begin so.
        """
        self._resume()
        answering = list(self.answering(prefix, prefix=True))
        if current_tenant() is None and len(answering) > 1:
            from strongroom.middleware.tenant import keeps_tenants_apart

            shared = [one for one in answering if not keeps_tenants_apart(one[0])]
            answering = shared or answering
        return self._listed(answering)

    def _listed(self, answering: Iterable[tuple[Pipeline, str, RoutePlan | None]]) -> list[str]:
        found: set[str] = set()
        for pipeline, asked, route in answering:
            found.update(key for key in pipeline.list_secrets(asked) if self._routes.matching(key) is route)
        return sorted(found)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of those of `keys` that are there, batched or in parallel per pipeline."""
        found: dict[str, str] = {}
        for provider, part in self._by_pipeline(keys):
            found |= read_many(provider, part)
        return found

    def set_secrets(self, values: Mapping[str, str]) -> None:
        """Write all `values`; keys of one pipeline in one batch where it has that.

        Nothing is written if one of them is not a key or not text.
        """
        for provider, part in self._by_pipeline(refused_first(values)):
            write_many(provider, {key: values[key] for key in part})

    def get_field(self, key: str, field: str) -> str:
        """Return a member of a JSON secret; `a.b` and `a.0` descend.

        Raises:
            ValidationError: The secret holds no JSON object.
            SecretNotFoundError: There is no such secret or member.
        """
        from strongroom.declarations.json_fields import member_of

        value = self.get_secret(key)
        try:
            return member_of(value, key, field)
        except StrongroomError as error:
            error.pipeline = self._route(key).name
            raise

    # --- capabilities: raise `UnsupportedOperationError` where the key's pipeline lacks them ---

    def describe_secret(self, key: str) -> SecretMetadata:
        """Return version, dates (aware, UTC) and tags of `key`, without its value.

        Raises:
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend tells nothing about its secrets.
        """
        return self._require(key, "Describer", "describe").describe_secret(key)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        """Return version, dates and tags of those of `keys` that are there, batched where it can be."""
        found: dict[str, SecretMetadata] = {}
        for _, part in self._by_pipeline(keys):
            found |= describe_many(self._require(part[0], "Describer", "describe"), part)
        return found

    def list_versions(self, key: str) -> list[SecretVersion]:
        """Return the versions of `key`, the newest first.

        Raises:
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend keeps no versions.
        """
        return self._require(key, "VersionReader", "history").list_versions(key)

    def get_secret_version(self, key: str, version: str) -> str:
        """Return the value that `key` had in `version`, an id from `list_versions`.

        Raises:
            SecretNotFoundError: There is no such secret or version.
            UnsupportedOperationError: The backend keeps no versions.
        """
        return self._require(key, "VersionReader", "history").get_secret_version(key, version)

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
        return self._require(key, "ConditionalWriter", "conditional write").set_secret_if(
            key, value, expected_version
        )

    def stage_secret(self, key: str, value: str) -> str:
        """Store a version that readers do not get yet, and return its id.

        Raises:
            UnsupportedOperationError: The backend cannot stage versions.
        """
        return self._require(key, "StagedWriter", "staging").stage_secret(key, value)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        """Make the staged `version` the current one if `expected_version` still is.

        Raises:
            ConflictError: Another version is the current one by now.
            SecretNotFoundError: There is no such version.
            UnsupportedOperationError: The backend cannot stage versions.
        """
        able = self._require(key, "StagedWriter", "staging")
        able.promote_version(key, version, expected_version=expected_version)

    def discard_version(self, key: str, version: str) -> None:
        """Drop a staged version.

        Raises:
            SecretNotFoundError: There is no such version.
            UnsupportedOperationError: The backend cannot stage versions.
        """
        self._require(key, "StagedWriter", "staging").discard_version(key, version)

    def invalidate(self, key: str) -> None:
        """Forget what is remembered of `key` for the active tenant, so that the next read asks the backend.

        That is done in every cache on the way of `key`, and in the second level, so also on other hosts.

        Raises:
            InvalidKeyError: It is not a key.
            ConfigurationError: No route matches and there is no default pipeline.
        """
        self._route(key).invalidate(key)

    # --- leases and watching ---

    def holds_leases(self, *, revocable: bool = False) -> bool:
        """Return whether this process holds a lease by this registry at present.

        With `revocable`, whether it holds one that is revoked when the registry is closed.
        """
        chains = [*self._assembly.chains(), *self._registered.values()]
        return any(bool(one.leases.current(revocable=revocable)) for one in chains if hasattr(one, "leases"))

    def lease(self, key: str) -> LiveLease:
        """Return a handle on the live lease of `key`, which is issued if this process has none yet.

        All handles and reads of a key share one lease. It is renewed in the background, and replaced before
        it can end, until the registry is closed or the process ends normally: then it is revoked.

        Raises:
            UnsupportedOperationError: The pipeline of `key` issues no leases.
            SecretNotFoundError: The server issues nothing for `key`.
        """
        from strongroom.registry.leases import LiveLease, leases_of, refuse

        pipeline = self._route(key)
        leased = pipeline.check_with_hooks("get", key, lambda: leases_of(pipeline.inner, check_user_key(key)))
        if leased is None:
            error = refuse(key, innermost(pipeline))
            error.pipeline = pipeline.name
            raise error
        pipeline.get_secret(key)  # a read, which hooks see and may refuse
        handle = LiveLease(*leased, key, pipeline.name)
        _ = handle.lease  # raises if another member of a fallback has answered that read
        return handle

    def watch(
        self,
        keys: str | Iterable[str],
        callback: Callable[[list[SecretChange]], object],
        *,
        poll_seconds: float = 30.0,
    ) -> Watch:
        """Call `callback` with every change, by any program, until the returned handle is closed.

        It runs on a thread of the watch's own, one call at a time, with the tenant in which the watch was
        made. What changed together comes in one list, without values, and every cache of this registry has
        dropped those keys before: a read in the callback gives the new value.

        Args:
            keys: A key, or several; one that ends in `/` stands for all that begin with it, `/` for all.
            callback: Called with a list of `SecretChange`; not for the state at the start.
            poll_seconds: How often backends are asked that do not report changes by themselves.

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
        try:
            with self._lock:
                self._watches = (*self._watches, watch)
            watch.start()
        except BaseException:  # perhaps of a signal handler
            watch.close()
            raise
        return watch

    # --- what the spec says ---

    def explain(self, key: str) -> Explanation:
        """Return how `key` would be answered, without asking anybody.

        Raises:
            ConfigurationError: No route matches and there is no default pipeline.
        """
        registered = {
            name: provider.type_name or type(provider).__name__ for name, provider in self._registered.items()
        }
        from strongroom.registry.explanation import explain

        return explain(self._plan, key, routes=self._routes, default=self._default, registered=registered)

    def resolve(self, group: str | None = None) -> ResolvedSecrets:
        """Return the declared secrets, typed and checked; see `strongroom.declarations.resolve`.

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
        """Return the variables that a child must not get: the spec's credentials, and providers' secrets."""
        return self._plan.environment() | self._assembly.variables()

    def figures(self) -> RegistryFigures:
        """Return what its caches and audit hooks have counted until now, without asking a backend."""
        from strongroom.registry.figures import figures_of

        with self._lock:
            chains = {**self._assembly.by_name(), **self._registered}
            hooks = [*self._hooks, *self._assembly.hooks_made()]
        return figures_of(chains, hooks)

    @property
    def plan(self) -> Plan:
        """The validated spec that the registry was made from."""
        return self._plan

    def __repr__(self) -> str:
        return f"<SecretProviderRegistry {self._plan.source}: {', '.join(self.pipelines())}>"

    # --- routing ---

    def _by_pipeline(self, keys: Iterable[str]) -> list[tuple[Pipeline, list[str]]]:
        parts: dict[int, tuple[Pipeline, list[str]]] = {}
        for key in distinct(keys):
            provider = self._route(key)
            parts.setdefault(id(provider), (provider, []))[1].append(key)
        return list(parts.values())

    def _require(self, key: str, capability: str, operation: str) -> FullProvider:
        provider = self._route(key)
        if not has_capability(provider, capability):
            # A third party's middleware may lack what the provider inside of it has.
            lacking = [layer for layer in layers(provider) if not has_capability(layer, capability)]
            error = unsupported(operation, lacking[-1], key)
            error.pipeline = provider.name
            raise error
        able: Any = provider  # it has the methods of the capability, and the caller uses no more
        return able  # type: ignore[no-any-return]  # as above
