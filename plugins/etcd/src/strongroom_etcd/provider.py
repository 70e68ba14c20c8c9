"""Secrets in an etcd cluster, sealed before they reach it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.deadlines import DeadlineExceededError, check_limits
from strongroom.errors import ConfigurationError
from strongroom.parallel import forks_wait
from strongroom.sealed import SealedSecretProvider, StoreKeySource

from strongroom_etcd.endpoints import is_endpoint

if TYPE_CHECKING:
    from strongroom_etcd.backend import EtcdBackend

__all__ = ["EtcdSecretProvider"]

_SPARE_BYTES: Final = 65_536


def _now() -> datetime:
    return datetime.now(UTC)


class EtcdSecretProvider(SealedSecretProvider["EtcdBackend"]):
    """Secrets below a prefix of an etcd cluster, for many hosts, with every capability.

    Args:
        endpoints: Addresses of members, as in https://etcd-1.example.com:2379; one, or several.
        prefix: What all of the store's keys in etcd begin with.
        username: The user, if authentication is enabled.
        password: Its password.
        encryption_key: Text of `generate_key`, 32 bytes, a Fernet key, or a passphrase.
        key_file: A file that holds one of these as text.
        older_keys: Keys that open the store as well.
        ca_file: The CA of the members' certificates, PEM; the system's by default.
        client_cert: The client's certificate, PEM.
        client_key: Its private key, PEM.
        max_versions: Versions kept of each secret, 1 to 1,000; current and pending ones are never dropped.
        destroy_on_delete: Whether a delete drops all versions for good; else `recover_secret` brings it back.
        timeout: Seconds for one get, set, delete or page.
        deadline: Seconds for a whole list or batch; None: no limit.
        max_connections: Connections of this process at most; a subscription to changes has one more.
        max_request_bytes: The cluster's `--max-request-bytes`: a value is at most 64 KiB shorter.
        max_txn_ops: The cluster's `--max-txn-ops`.
        clock: Gives the aware time now.

    Raises:
        ConfigurationError: There is no key, or two; a key or an endpoint is not one; an option is wrong.
    """

    type_name = "etcd"

    def __init__(
        self,
        endpoints: str | Iterable[str],
        *,
        prefix: str = "strongroom/",
        username: str | None = None,
        password: str | None = None,
        encryption_key: str | bytes | None = None,
        key_file: str | os.PathLike[str] | None = None,
        older_keys: Iterable[str | bytes] = (),
        ca_file: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
        max_versions: int = 20,
        destroy_on_delete: bool = False,
        timeout: float = 10.0,
        deadline: float | None = None,
        max_connections: int = 8,
        max_request_bytes: int = 1_572_864,
        max_txn_ops: int = 128,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        counts = {
            "max_connections": max_connections,
            "max_request_bytes": max_request_bytes,
            "max_txn_ops": max_txn_ops,
        }
        check_limits(self.type_name, counts=counts, timeout=timeout)
        if max_request_bytes < 2 * _SPARE_BYTES or max_txn_ops < 8:  # noqa: PLR2004  # as the options say
            raise ConfigurationError(
                f"etcd: max_request_bytes must be {2 * _SPARE_BYTES} or more, and max_txn_ops 8 or more",
                provider=self.type_name,
            )
        addresses = [endpoints] if isinstance(endpoints, str) else list(endpoints)
        if not addresses or not all(isinstance(one, str) and is_endpoint(one) for one in addresses):
            raise ConfigurationError(
                "etcd: each endpoint must be http:// or https://, a host, and usually a port",
                provider=self.type_name,
                hint="https://etcd-1.example.com:2379; user and password are options of their own",
            )
        if not isinstance(prefix, str) or not prefix:
            raise ConfigurationError("etcd: the prefix is empty", provider=self.type_name)
        if client_key is not None and client_cert is None:
            raise ConfigurationError(
                "etcd: client_key without client_cert",
                provider=self.type_name,
                hint="give both, or neither and no certificate is shown to the cluster",
            )
        self._endpoints = [one.rstrip("/") for one in addresses]
        self._prefix = prefix
        self._login = (username, password)
        files = (ca_file, client_cert, client_key)
        self._files = tuple(None if one is None else Path(one) for one in files)
        self._limits = (max_connections, max_request_bytes, max_txn_ops)
        super().__init__(
            StoreKeySource(self.type_name, encryption_key, key_file, older_keys),
            max_value_bytes=max_request_bytes - _SPARE_BYTES,
            max_versions=max_versions,
            destroy_on_delete=destroy_on_delete,
            timeout=timeout,
            deadline=deadline,
            clock=clock,
        )

    def address(self) -> dict[str, object]:
        """Return what decides which secret is meant."""
        return {"endpoints": sorted(self._endpoints), "prefix": self._prefix}

    def diagnose(self) -> dict[str, str]:
        """Return the facts for `doctor`: the version of a member, and the size of the database."""
        try:
            return self._backend.server(self._deadline())
        except DeadlineExceededError:
            raise self._late("look at the cluster") from None

    def _connect_backend(self) -> EtcdBackend:
        with forks_wait():
            from strongroom_etcd.backend import EtcdBackend
            from strongroom_etcd.client import Client

            most, request_bytes, ops = self._limits
            ca, cert, key = self._files
            client = Client(self._endpoints, *self._login, (ca, cert, key), most)
            return EtcdBackend(client, self._prefix, max_request_bytes=request_bytes, max_txn_ops=ops)

    def _shown(self) -> str:
        return f"{', '.join(self._endpoints)}, prefix {self._prefix}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoints!r} prefix={self._prefix!r}>"
