"""The base of providers whose secrets are leases."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, NoReturn

from strongroom.errors import SecretNotFoundError, UnsupportedOperationError, show_key
from strongroom.keys import check_key, check_keys, check_prefix
from strongroom.leases.live import LiveLeases
from strongroom.parallel import renew_after_fork
from strongroom.providers import BaseProvider, Lease

__all__ = ["LeasingProvider"]


class LeasingProvider(BaseProvider, ABC):
    """A provider that issues leases; reading a key gives the JSON object of its live lease's values.

    A subclass has `issue_lease`, `renew_lease` and `revoke_lease`, and `list_secrets` if it can list. In a
    registry the pipeline keeps the leases, and reads of this object issue none.

    Attributes:
        revocable: Whether a lease can be ended before its time; if not, that is not tried.
    """

    revocable: ClassVar[bool] = True

    @abstractmethod
    def issue_lease(self, key: str) -> Lease:
        """Return new credentials for `key`."""

    @abstractmethod
    def renew_lease(self, lease: Lease) -> Lease:
        """Return `lease` with its new end."""

    @abstractmethod
    def revoke_lease(self, lease: Lease) -> None:
        """End `lease` now."""

    _leases: LiveLeases | None = None
    _making = threading.RLock()  # a signal handler may interrupt it

    def leases(self) -> LiveLeases:
        """Return the leases that reads of this object itself have issued."""
        leases = self._leases
        if leases is None:
            with self._making:
                leases = self._leases = self._leases or LiveLeases(self)
        return leases

    def get_secret(self, key: str) -> str:
        return self.leases().text(check_key(key))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        return self.leases().texts(check_keys(keys))

    def set_secret(self, key: str, value: str) -> None:  # noqa: ARG002  # refused whatever it is
        self._refuse("set", key)

    def delete_secret(self, key: str) -> None:
        self._refuse("delete", key)

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        raise UnsupportedOperationError(f"{self.type_name} cannot list", provider=self.type_name)

    def close(self) -> None:
        """Revoke what reads of this object have issued."""
        leases, self._leases = self._leases, None
        if leases is not None:
            leases.close()

    def _refuse(self, what: str, key: str) -> NoReturn:
        check_key(key)
        raise UnsupportedOperationError(
            f"{self.type_name}: cannot {what} {show_key(key)}: it is issued by the server",
            key=key,
            provider=self.type_name,
            hint="leases are issued as they are read; `strongroom lease revoke` ends one",
        )

    def not_found(self, key: str) -> SecretNotFoundError:
        """Return the error for a key that the server issues nothing for."""
        return SecretNotFoundError(key, provider=self.type_name)


def _begin_again() -> None:
    LeasingProvider._making = threading.RLock()  # noqa: SLF001  # its own


renew_after_fork(LeasingProvider, lambda _: _begin_again())
