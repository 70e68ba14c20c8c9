"""Django databases whose connections follow a secret: a lease, or a rotated password.

An engine of Django is a module with a `DatabaseWrapper`. Any of them can be made to follow:

```python
# mysite/live/base.py; in the settings: ENGINE "mysite.live", FOLLOWS "app"
from django.db.backends.postgresql import base
from strongroom.integrations.django import FollowsSecret


class DatabaseWrapper(FollowsSecret, base.DatabaseWrapper): ...
```
"""

from __future__ import annotations

import weakref
from contextvars import Context
from typing import TYPE_CHECKING, Any

from strongroom.integrations.following import Follower, Stamp
from strongroom.integrations.hosts import MissingHostError
from strongroom.parallel import BuildLock

try:
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
except ModuleNotFoundError as _error:
    raise MissingHostError("django", "django") from _error

if TYPE_CHECKING:
    from collections.abc import Callable

    Base = Any
else:
    Base = object

__all__ = ["FollowsSecret"]

_followers: weakref.WeakKeyDictionary[Any, dict[tuple[str, float | None], Follower]] = (
    weakref.WeakKeyDictionary()
)
_making = BuildLock()


class FollowsSecret(Base):  # type: ignore[misc]  # only Django knows the class that it is mixed into
    """Makes a Django `DatabaseWrapper` log in with the current values of a secret.

    In the settings, `STRONGROOM` is the registry. In those of the database, `FOLLOWS` is the key of a
    lease, of a JSON secret with `username` and `password`, or of a plain password; `MIN_LIFE` is
    how many seconds a connection's values still have to live when a request begins (without it 10, or a
    quarter of their life if that is less).

    When Django checks whether a connection is too old, at the beginning and the end of each request, a
    connection with older values is closed. With the option `pool`, Django's pool follows in the same way. If
    a login is refused while a rotation of the key is in flight, the value is read again, for 5 seconds at
    most; if it is refused with the values of a lease, the server is asked whether the lease still exists.

    Requests of all tenants share the connections, so the secret is read without a tenant.

    Raises:
        ImproperlyConfigured: `STRONGROOM` or `FOLLOWS` is missing.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stamp: Stamp | None = None
        self.execute_wrappers.append(self._notice)

    @property
    def pool(self) -> Any:
        """Django's pool of psycopg, which follows; None if the option `pool` is not set."""
        pool = super().pool
        if pool is None or getattr(pool, "_strongroom", None) is not None:
            return pool
        from strongroom.integrations.psycopg import follow

        registry, key, min_life = self._followed()
        with _making.held():  # the threads of a server share it
            if getattr(pool, "_strongroom", None) is None:
                made = Context().run(follow, pool, registry, key, min_life=min_life)
                pool._strongroom = made  # noqa: SLF001  # marks a pool that follows
        return pool

    def close_pool(self) -> None:
        """Close Django's pool, and the handle by which it follows."""
        pool = super().pool
        super().close_pool()
        if pool is not None and getattr(pool, "_strongroom", None) is not None:
            pool._strongroom.close()  # noqa: SLF001  # as above

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Log in with the live values."""
        if getattr(self, "pool", None) is not None:
            return super().get_new_connection(conn_params)
        connect = super().get_new_connection
        connection, self._stamp = self._follower().log_in(lambda values: connect({**conn_params, **values}))
        return connection

    def close_if_unusable_or_obsolete(self) -> None:
        """Close a connection whose values are no longer the live ones; else do what Django does."""
        if self.connection is not None and self._stamp is not None and not self.in_atomic_block:
            follower = self._follower()
            if follower.came_back(self._stamp) or not follower.may_go_out(self._stamp):
                self.close()
                return
        super().close_if_unusable_or_obsolete()

    def _notice(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Run a query; if it fails because its user is gone, ask whether the lease still lives."""
        try:
            return execute(sql, params, many, context)
        except Exception as error:
            pool = getattr(self, "pool", None)
            follower = self._follower() if pool is None else pool._strongroom  # noqa: SLF001  # as above
            follower.failed(error.__cause__)
            raise

    def _followed(self) -> tuple[Any, str, float | None]:
        registry = getattr(settings, "STRONGROOM", None)
        if registry is None:
            raise ImproperlyConfigured(
                "the setting STRONGROOM is missing: the registry that the database's values come from, "
                "such as STRONGROOM = SecretProviderRegistry(BASE_DIR / 'strongroom.yaml')"
            )
        key = self.settings_dict.get("FOLLOWS")
        if not key:
            raise ImproperlyConfigured(
                f"the database {self.alias!r} has no FOLLOWS, the key of what it logs in with"
            )
        return registry, key, self.settings_dict.get("MIN_LIFE")

    def _follower(self) -> Follower:
        registry, key, min_life = self._followed()
        followers = _followers.setdefault(registry, {})
        follower = followers.get((key, min_life))
        if follower is None:
            # Without the tenant of this request: those of others will get the same connections.
            made = Context().run(Follower, registry, key, min_life=min_life)
            follower = followers.setdefault((key, min_life), made)
            if follower is not made:  # another thread was faster
                made.close()
        return follower
