"""Leases of a secrets engine: databases, certificates, cloud accounts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from strongroom.deadlines import check_limits
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    ValidationError,
    show_key,
)
from strongroom.keys import check_key, check_prefix, visible_keys
from strongroom.leases import LeasingProvider
from strongroom.parallel import renew_after_fork
from strongroom.providers import Lease

from strongroom_vault.client import client_of
from strongroom_vault.errors import part, said_by, says_empty, texts
from strongroom_vault.login import Login
from strongroom_vault.names import url_path
from strongroom_vault.payload import as_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VaultLeaseProvider"]

_UNKNOWN: Final = ("unknown role", "no such role", "role not found", "unable to find role")
_ENDED: Final = ("lease not found", "invalid lease", "lease expired", "lease is not renewable")


class _Known(NamedTuple):
    """What is known of a lease beside itself; times are of the monotonic clock."""

    asked: float
    """The seconds that it had as it was issued, which each renewal asks for."""
    token: str | None
    """The token that it was issued under."""
    token_ends: float | None
    ends: float


class VaultLeaseProvider(LeasingProvider):
    """Credentials that an engine of Vault or OpenBao issues for a time; makes no request before the first.

    The key `app` reads `{mount_point}/{path}/app`. Members that are not text are JSON text; the chain of a
    certificate is joined by newlines. What has no lease, as a certificate, ends at its `expiration` and is
    not revoked. No lease outlives the token that it was issued under, and its end says so.

    Args:
        url: Address of the server.
        token: A token; or give `auth`. No `VAULT_*` variable is looked at.
        mount_point: Where the engine is mounted.
        path: What is between the mount and the role: `creds` of databases, `issue` of pki.
        parameters: What is sent with the request for a role, by role; the request is then a POST.
        timeout: Seconds for one call.
        deadline: Seconds for a whole list.

    The other options are those of `VaultSecretProvider`.

    Raises:
        ConfigurationError: An option is out of bounds, or `auth` is not understood.
    """

    type_name = "vault.leases"

    def __init__(
        self,
        url: str,
        token: str | None = None,
        mount_point: str = "database",
        *,
        path: str = "creds",
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        namespace: str | None = None,
        auth: Mapping[str, Any] | None = None,
        verify: bool | str | Path = True,
        client_cert: str | Path | None = None,
        client_key: str | Path | None = None,
        timeout: float = 10.0,
        deadline: float | None = None,
        max_connections: int = 16,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._login = Login(token, auth)
        self._mount, self._path = mount_point.strip("/"), path.strip("/")
        if not self._mount or not self._path:
            raise ConfigurationError(
                "vault.leases: mount_point and path are not empty", provider="vault.leases"
            )
        self._client = client_of(
            url,
            self._login,
            namespace=namespace,
            verify=verify,
            client_cert=client_cert,
            client_key=client_key,
            timeout=timeout,
            max_connections=max_connections,
            proxies=proxies,
            mount=self._mount,
        )
        check_limits("vault.leases", deadline=deadline, counts={})
        self._namespace, self._whole = namespace, deadline
        self._parameters = {role: dict(sent) for role, sent in (parameters or {}).items()}
        self._begin_again()
        renew_after_fork(self, VaultLeaseProvider._begin_again)

    def _begin_again(self) -> None:
        self._known: dict[str, _Known] = {}

    def address(self) -> dict[str, Any]:
        """Return what decides which secret is meant."""
        return {
            "url": self._client.url,
            "namespace": self._namespace,
            "mount_point": self._mount,
            "path": self._path,
            "parameters": self._parameters,
        }

    def __repr__(self) -> str:
        return f"<VaultLeaseProvider {self._mount}/{self._path}>"

    def issue_lease(self, key: str) -> Lease:
        check_key(key)
        sent = self._parameters.get(key)
        call = self._client.new_call()
        more: dict[str, Any] = {"call": call} if sent is None else {"call": call, "json": sent}
        started, now = time.monotonic(), datetime.now(UTC)
        where = f"/v1/{url_path(self._mount)}/{quote(self._path)}/{url_path(key)}"
        failed: StrongroomError
        try:
            reply = self._call("get" if sent is None else "post", where, "issue", key, **more)
        except ValidationError as error:
            if not _says(error, *_UNKNOWN):
                raise
            failed = self.not_found(key)
        except ConfigurationError as error:
            if not _says(error, "unsupported path"):
                raise
            # The name of a role has no slash, so the engine cannot have a key with one.
            failed = self.not_found(key) if "/" in key else self._no_such_path(key)
        except UnsupportedOperationError as error:
            if sent is None:
                error.hint = f"if the engine needs something with the request: parameters: {{{key}: {{…}}}}"
            raise
        else:
            return self._issued(key, reply, started, now, call)
        raise failed

    def _no_such_path(self, key: str) -> ConfigurationError:
        return ConfigurationError(
            f"vault.leases: the engine at {self._mount} has no path {self._path}/{show_key(key)}",
            key=key,
            provider=self.type_name,
            hint="check mount_point and path: `creds` for databases, `issue` for pki",
        )

    def _call(self, *args: Any, **more: Any) -> Any:
        try:
            return self._client.call(*args, **more)
        except StrongroomError as error:
            error.provider = self.type_name
            raise

    def renew_lease(self, lease: Lease) -> Lease:
        if not lease.id or not lease.renewable:
            raise UnsupportedOperationError(
                "vault.leases: the lease is not renewable", provider=self.type_name
            )
        known, now, call = self._known.get(lease.id), datetime.now(UTC), self._client.new_call()
        # Not what it has had since it was issued, or each renewal would ask for more than the one before.
        seconds = (lease.expires_at - lease.issued_at).total_seconds() if known is None else known.asked
        body = {"lease_id": lease.id, "increment": max(round(seconds), 1)}
        reply = self._about_lease("renew", lease, body, call)
        granted = float(part(reply, "lease_duration", kind=int))
        if known is not None:
            token, ends = known.token, known.token_ends
            if token is not None and self._login.is_at(token):  # it may have been renewed
                ends = self._token_end(time.monotonic(), call)[1]
            granted = self._note(lease.id, granted, known.asked, token, ends)
        until = now + timedelta(seconds=granted)
        return Lease(lease.id, lease.key, lease.values, lease.issued_at, until, bool(reply.get("renewable")))

    def revoke_lease(self, lease: Lease) -> None:
        if not lease.id:
            return  # it ends by itself
        try:
            body = {"lease_id": lease.id, "sync": True}
            self._about_lease("revoke", lease, body, self._client.new_call())
        except SecretNotFoundError:
            return
        finally:
            self._known.pop(lease.id, None)

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return the engine's roles."""
        check_prefix(prefix)
        with self._client.within(self._whole):
            try:
                reply = self._call("list", f"/v1/{url_path(self._mount)}/roles", "list roles")
            except ConfigurationError as error:
                if not says_empty(error):
                    raise
                return []  # there is no role yet
        return visible_keys(texts(reply, "data", "keys"), prefix)

    def diagnose(self) -> dict[str, str]:
        """Return `reachable`, `identity`, `can_list` and `clock_skew` (seconds), or raise our errors."""
        from strongroom_vault.diagnosis import diagnose

        return diagnose(self._client, self.list_secrets)

    def close(self) -> None:
        super().close()
        self._client.close()

    def _issued(self, key: str, reply: Any, started: float, now: datetime, call: Any) -> Lease:
        data = part(reply, "data")
        lease_id = str(reply.get("lease_id") or "")
        values = {name: _as_text(name, one) for name, one in data.items() if one is not None}
        if not lease_id:
            return Lease("", key, values, now, self._end_of(key, data, now), False)
        seconds = float(part(reply, "lease_duration", kind=int))
        self._forget_ended(started)
        life = self._note(lease_id, seconds, seconds, *self._token_end(started, call))
        ends = now + timedelta(seconds=life)
        return Lease(lease_id, key, values, now, ends, bool(reply.get("renewable")))

    def _end_of(self, key: str, data: Mapping[str, Any], now: datetime) -> datetime:
        """Return when a secret without a lease ends: a certificate, or the password of a static role."""
        expiration, left = data.get("expiration"), data.get("ttl")
        if isinstance(expiration, int | str) and str(expiration).isdigit():
            with contextlib.suppress(ValueError, OverflowError, OSError):  # beyond the calendar
                return datetime.fromtimestamp(int(expiration), UTC)
        if isinstance(left, int) and not isinstance(left, bool):
            return now + timedelta(seconds=max(left, 1))
        raise ConfigurationError(
            f"vault.leases: the server gave no lease for {show_key(key)}, nor an end of what it gave",
            key=key,
            provider=self.type_name,
            hint=f"check that {self._mount}/{self._path} issues credentials; `vault` reads what is kept",
        )

    def _about_lease(self, what: str, lease: Lease, body: Mapping[str, Any], call: Any) -> Any:
        failed: StrongroomError
        try:
            path = f"/v1/sys/leases/{what}"
            return self._call("post", path, f"{what} a lease", lease.key, json=body, call=call)
        except ValidationError as error:
            if not _says(error, *_ENDED):
                raise
            failed = self.not_found(lease.key)
        raise failed

    def _note(
        self, lease_id: str, seconds: float, asked: float, token: str | None, token_ends: float | None
    ) -> float:
        """Note what is known of a lease of so many seconds, and return its life: it ends with its token."""
        now = time.monotonic()
        life = seconds if token_ends is None else min(seconds, max(token_ends - now, 0.0))
        self._known[lease_id] = _Known(asked, token, token_ends, now + life)
        return life

    def _forget_ended(self, now: float) -> None:
        """Forget the leases that have ended by themselves: a process may replace many while it runs."""
        for lease_id, known in list(self._known.items()):
            if known.ends < now:
                self._known.pop(lease_id, None)

    def _token_end(self, now: float, call: Any) -> tuple[str | None, float | None]:
        """Return the token in use, and when it ends; None if it does not end, or that is unknown."""
        token, ends = self._login.present()
        if ends is not None or self._login.lasts:
            return token, ends
        try:
            path = "/v1/auth/token/lookup-self"
            reply = self._client.call("get", path, "look up the token", counts=False, call=call)
            left = part(reply, "data").get("ttl")
        except (PermissionDeniedError, BackendUnavailableError):
            return token, None
        if not isinstance(left, int) or left <= 0:
            self._login.lasts = True
            return token, None
        return token, now + left


def _says(error: StrongroomError, *words: str) -> bool:
    """Return whether the server's message has one of `words`."""
    said = said_by(getattr(error, "raw", None)).lower()
    return any(one in said for one in words)


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if name == "ca_chain" and isinstance(value, list):
        return "\n".join(str(one).strip("\n") for one in value)
    return as_json(value)
