"""Secrets of the active tenant alone, each tenant's under names of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self

from strongroom.errors import (
    ConfigurationError,
    InvalidKeyError,
    InvalidTenantError,
    TenantContextError,
    show_key,
)
from strongroom.keys import cannot_start_key, check_key, check_prefix, is_reserved
from strongroom.middleware.renaming import RenamingMiddleware
from strongroom.tenancy import check_tenant_id, current_tenant

__all__ = [
    "DEFAULT_TEMPLATE",
    "OneTenantMiddleware",
    "TenantMiddleware",
    "TenantSecretProvider",
    "keeps_tenants_apart",
]

DEFAULT_TEMPLATE = "tenants/{tenant}/{key}"


class TenantMiddleware(RenamingMiddleware):
    """Keeps each tenant's secrets under a prefix that `template` makes of its id.

    Names in errors, descriptions and lists are the tenant's own, without the prefix. A key cannot reach
    beyond the prefix: no key has an empty, `.` or `..` segment, and `{tenant}` is a whole segment.

    Args:
        inner: The provider that holds the secrets of all tenants.
        template: Where they are: segments joined by `/`, of which one is `{tenant}` and the last is `{key}`.

    Raises:
        ConfigurationError: The template has another form. Every method raises `TenantContextError` while no
            tenant is active.
    """

    type_name = "tenant"

    def __init__(self, inner: Any, *, template: str = DEFAULT_TEMPLATE) -> None:
        super().__init__(inner)
        self._before, self._after = _around_tenant(template)

    def address(self) -> dict[str, Any]:
        """Return what decides which secret is meant."""
        return {"template": f"{self._before}{{tenant}}{self._after}{{key}}"}

    def stored(self, key: str) -> str:
        return _under(self._prefix(), key)

    def stored_names(self, keys: Iterable[str]) -> dict[str, str]:
        prefix = self._prefix()  # once: the block of the tenant may end meanwhile, in a garbage collection
        return {_under(prefix, key): key for key in keys}

    def own_names(self) -> Callable[[str], str | None]:
        own = self._prefix()
        return lambda stored: (
            stored[len(own) :] if stored.startswith(own) and len(stored) > len(own) else None
        )

    def list_secrets(self, prefix: str = "") -> list[str]:
        own = self._prefix()
        if cannot_start_key(check_prefix(prefix)):
            return []  # not asked for: a backend may take `..` for the folder above
        found = self.listed(own + prefix, lambda stored: stored.removeprefix(own))
        return [key[len(own) :] for key in found]

    def tenant(self) -> str:
        """Return the id of the tenant whose secrets are meant.

        Raises:
            TenantContextError: None is active.
        """
        active = current_tenant()
        if active is None:
            raise TenantContextError(
                "no tenant is active", hint="enter `with TenantContext(tenant_id=…)`, or give --tenant"
            )
        return active

    def tenants(self) -> list[str]:
        """Return the ids of the tenants that have secrets, sorted, whichever of them is active."""
        tenants = set()
        for stored in self.inner.list_secrets(self._before):
            tenant, _, rest = stored.removeprefix(self._before).partition("/")
            if f"/{rest}".startswith(self._after) and f"/{rest}" != self._after:
                with suppress(InvalidTenantError):  # another key that looks like a tenant's
                    tenants.add(check_tenant_id(tenant))
        return sorted(tenants)

    def _prefix(self) -> str:
        return f"{self._before}{self.tenant()}{self._after}"


class TenantSecretProvider(TenantMiddleware):
    """`TenantMiddleware` under the name for use around a single provider.

    Args:
        base_provider: The provider that holds the secrets of all tenants.
        template: See `TenantMiddleware`.
    """

    def __new__(cls, base_provider: Any, *, template: str = DEFAULT_TEMPLATE) -> Self:
        return super().__new__(cls, base_provider, template=template)

    def __init__(self, base_provider: Any, *, template: str = DEFAULT_TEMPLATE) -> None:
        super().__init__(base_provider, template=template)


class OneTenantMiddleware(RenamingMiddleware):
    """Answers one tenant alone: what is inside was set up with a secret of that tenant.

    Args:
        inner: What is inside.
        tenant: The tenant's id. For any other, or none, every method raises `TenantContextError`.
    """

    def __init__(self, inner: Any, tenant: str) -> None:
        super().__init__(inner)
        self._tenant = tenant

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def stored(self, key: str) -> str:
        self._check()
        return key

    def own_names(self) -> Callable[[str], str | None]:
        self._check()
        return lambda stored: stored

    def list_secrets(self, prefix: str = "") -> list[str]:
        self._check()
        return self.inner.list_secrets(prefix)

    def _check(self) -> None:
        if current_tenant() != self._tenant:
            raise TenantContextError(
                "this pipeline was set up with a secret of another tenant, by a ${secret:…} reference",
                hint="let the reference name a pipeline without a tenant middleware, or use a registry for "
                "each tenant",
            )


def keeps_tenants_apart(chain: Any) -> bool:
    """Return whether a chain, or a member of its fallback, gives each tenant secrets of its own."""
    node = chain
    while node is not None:
        if isinstance(node, TenantMiddleware | OneTenantMiddleware):
            return True
        if any(map(keeps_tenants_apart, getattr(node, "members", ()))):
            return True
        node = getattr(node, "inner", None)
    return False


def _under(prefix: str, key: str) -> str:
    """Return the name of a tenant's key, whose names begin with `prefix`."""
    try:
        return check_key(prefix + check_key(key))
    except InvalidKeyError as error:
        if error.key == key:
            raise
        raise InvalidKeyError(
            key, f"invalid key {show_key(key)}: too long with the tenant's prefix before it"
        ) from None


def _around_tenant(template: str) -> tuple[str, str]:
    """Return the text before and after the tenant's id in the prefix of its keys."""
    segments = template.split("/")
    others = [one for one in segments[:-1] if one != "{tenant}"]
    right = segments.count("{tenant}") == 1 and segments[-1] == "{key}"
    if not right or any("{" in one or "}" in one for one in others):
        raise ConfigurationError(
            f"tenant: the template {template!r} is not understood",
            hint="write segments of which one is {tenant} and the last {key}, as in tenants/{tenant}/{key}",
        )
    at = segments.index("{tenant}")
    before = "".join(f"{one}/" for one in segments[:at])
    after = "".join(f"/{one}" for one in segments[at + 1 : -1]) + "/"
    try:
        check_key(f"{before}x{after}x")
    except InvalidKeyError as error:
        raise ConfigurationError(
            f"tenant: no key can be made from the template {template!r}: {error}"
        ) from error
    if is_reserved(template):  # no list would show what is stored there
        raise ConfigurationError(
            f"tenant: the template {template!r} has the segment '.rotation', which is reserved"
        )
    return before, after
