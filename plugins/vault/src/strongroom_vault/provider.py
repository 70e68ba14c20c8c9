"""Secrets in a KV engine of Vault or OpenBao."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from strongroom.deadlines import check_limits
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    ValidationError,
    show_key,
)
from strongroom.keys import cannot_start_key, check_key, check_keys, check_prefix, check_value, visible_keys
from strongroom.parallel import in_parallel
from strongroom.providers import (
    BaseProvider,
    SecretMetadata,
    SecretVersion,
    report_version,
    unsupported,
    version_is_enough,
)

from strongroom_vault.client import client_of
from strongroom_vault.errors import body_of, no_server, part, said_by, says_empty, texts
from strongroom_vault.login import Login
from strongroom_vault.mounts import Mount
from strongroom_vault.names import key_of, path_of, url_path
from strongroom_vault.payload import fields_for, text_of
from strongroom_vault.versions import LONGEST_NUMBER, made_at, metadata_in, server_time, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.errors import NotFoundReason

T = TypeVar("T")
R = TypeVar("R")

_CAS_ATTEMPTS = 8
_NEAR_SECONDS = 0.002
"""Only if an answer takes longer, requests are made in parallel; else threads cost more than they gain."""
_FEW_AT_ONCE = 8
_ROUNDS = 6
"""Reads at once: so many, or as many as let a batch take so many rounds; `max_connections` at most."""
_WORTH_A_LIST = 3
"""From this many keys of one folder on, one list of the folder describes them."""
_EXACT = {"X-Strongroom-Exact": "true"}
"""Asks `strongroom serve` for texts as they are, even if they are JSON, and for the state of rotations; other
servers ignore it."""
_CAS = "x-strongroom-cas"
"""A header of `strongroom serve`; with `unchecked` in it, its pipeline has no versions to compare."""


class VaultSecretProvider(BaseProvider):
    """Reads and writes a KV engine (version 2 or 1); makes no request before the first call.

    Args:
        url: Address of the server.
        token: A token; or give `auth`. No `VAULT_*` variable is looked at.
        mount_point: Where the engine is mounted.
        timeout: Seconds for one get, set, delete or page.
        deadline: Seconds for a whole list or batch; None: no limit.

    The other options are described in `strongroom_vault.config`.
    """

    type_name: ClassVar[str] = "vault"
    counts_again: ClassVar[bool] = True

    def __init__(
        self,
        url: str,
        token: str | None = None,
        mount_point: str = "secret",
        *,
        namespace: str | None = None,
        auth: Mapping[str, Any] | None = None,
        verify: bool | str | Path = True,
        client_cert: str | Path | None = None,
        client_key: str | Path | None = None,
        timeout: float = 10.0,
        deadline: float | None = None,
        kv_version: Literal[1, 2] | None = None,
        destroy_on_delete: bool = False,
        list_deleted: bool = False,
        field: str | None = None,
        max_connections: int = 16,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client_of(
            url,
            Login(token, auth),
            namespace=namespace,
            verify=verify,
            client_cert=client_cert,
            client_key=client_key,
            timeout=timeout,
            max_connections=max_connections,
            proxies=proxies,
            mount=mount_point,
        )
        self._mount = Mount(self._client, mount_point, kv_version)
        self._namespace = namespace
        self._lists_metadata = True
        self._destroy, self._list_deleted, self._field = destroy_on_delete, list_deleted, field
        check_limits("vault", deadline=deadline, counts={})
        self._workers = max_connections
        self._whole = deadline

    def address(self) -> dict[str, Any]:
        """Return what decides which secret is meant."""
        return {
            "url": _without_user(self._client.url),
            "namespace": self._namespace,
            "mount_point": self._mount.name,
            "field": self._field,
        }

    def __repr__(self) -> str:
        return f"<VaultSecretProvider {_without_user(self._client.url).rstrip('/')} {self._mount.name}>"

    def get_secret(self, key: str) -> str:
        """Return the value, in one request."""
        fields, version, created = self._read(check_key(key), self._client.new_call())
        value = text_of(fields, self._field, key)
        if version:
            # The numbers of versions count from 1, and include those that the engine has dropped.
            report_version(value, SecretVersion(str(version), made_at(created), "current"), version)
        return value

    def set_secret(self, key: str, value: str) -> None:
        check_value(value, check_key(key))
        call = self._client.new_call()

        def write() -> None:
            old, version = self._state(key, call)[:2]
            self._write(key, fields_for(old, value, self._field, key), version, call)

        _again_after_others(write)

    def check_new_value(self, key: str, old: str, new: str) -> None:
        """Raise if `new` cannot be written over `old`, before a rotation changes anything else.

        Raises:
            ValidationError: The secret has several fields, and `new` is not an object of texts.
        """
        check_value(new, check_key(key))
        if self._field is None and old.startswith("{"):  # else it has the one field `value`
            fields_for(self._state(key, self._client.new_call())[0], new, None, key)

    def delete_secret(self, key: str) -> None:
        check_key(key)
        call = self._client.new_call()
        _again_after_others(lambda: self._delete(key, call))

    def _delete(self, key: str, call: Any) -> None:
        old, version, _, reason = self._state(key, call)
        if old is None:
            raise SecretNotFoundError(key, reason=reason, provider="vault")
        if self._field is not None:
            rest = {name: text for name, text in old.items() if name != self._field}
            if self._field not in old:
                raise SecretNotFoundError(key, provider="vault")
            if rest:
                self._write(key, rest, version, call)
                return
        kind = "metadata" if self._destroy else "data"
        _check_done(self._ask("delete", kind, key, "delete", call))

    def list_secrets(self, prefix: str = "") -> list[str]:
        if cannot_start_key(check_prefix(prefix)):
            return []  # not asked for: `..` would lead out of the mount
        with self._client.within(self._whole):
            return self._list(prefix)

    def _list(self, prefix: str) -> list[str]:
        folder = path_of(prefix.rpartition("/")[0])
        found = self._walk(f"{folder}/" if folder else "", path_of(prefix))
        keys = visible_keys(map(key_of, found), prefix)
        if self._list_deleted or self._mount.version(self._client.new_call()) == 1:
            return keys
        return [key for key, there in zip(keys, self._each(self._is_there, keys), strict=True) if there]

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return those that are there, read in parallel over kept connections."""
        wanted = check_keys(keys)
        with self._client.within(self._whole):
            values = self._each(self._get_or_none, wanted)
        return {key: value for key, value in zip(wanted, values, strict=True) if value is not None}

    def set_secrets(self, values: Mapping[str, str]) -> None:
        """Write all, in parallel; no transaction, for the server has none."""
        for key, value in values.items():
            check_value(value, check_key(key))
        with self._client.within(self._whole):
            self._each(lambda item: self.set_secret(*item), list(values.items()))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        check_value(value, check_key(key))
        call = self._client.new_call()
        self._need_v2("conditional writes", call)
        old, version, *_ = self._state(key, call)
        self._need_v2("conditional writes", call)  # as the read may have found out
        is_there = old is not None and (self._field is None or self._field in old)
        now = str(version) if is_there else None
        if now != expected_version:
            without = f"has no field {self._field!r}" if old is not None else "is not there"
            at = without if now is None else f"is at version {now}"
            raise _conflict(f"secret {show_key(key)} {at}", key)
        fields = fields_for(old, value, self._field, key)
        return str(self._write(key, fields, version, call, conditional=True))

    def describe_secret(self, key: str) -> SecretMetadata:
        metadata, now = self._metadata(check_key(key), "describe")
        current = str(metadata["current_version"])
        _raise_if_gone(key, metadata["versions"].get(current), now)
        updated = made_at(metadata["versions"][current].get("created_time"))
        if updated is None and version_is_enough():
            # Of a secret without versions and dates, as `strongroom serve` may have, each version is 1.
            raise unsupported("version that changes", self, key)
        return SecretMetadata(
            key, current, made_at(metadata.get("created_time")), updated, metadata["custom_metadata"]
        )

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        """Return those that readers find; if possible, three and more of a folder by one request."""
        wanted = check_keys(keys)
        folders: dict[str, list[str]] = {}
        for key in wanted:
            folders.setdefault(path_of(key).rpartition("/")[0], []).append(key)
        with self._client.within(self._whole):
            alone = [key for whole in folders.values() for key in whole]
            collected: dict[str, SecretMetadata] = {}
            if self._lists_metadata and wanted:
                many = [folder for folder, inside in folders.items() if len(inside) >= _WORTH_A_LIST]
                for folder, described in zip(many, self._each(self._described_folder, many), strict=True):
                    if described is not None:
                        collected |= {key: described[key] for key in folders[folder] if key in described}
                        alone = [key for key in alone if key not in folders[folder]]
            for key, one in zip(alone, self._each(self._described_or_none, alone), strict=True):
                if one is not None:
                    collected[key] = one
        return {key: collected[key] for key in wanted if key in collected}

    def _described_or_none(self, key: str) -> SecretMetadata | None:
        try:
            return self.describe_secret(key)
        except SecretNotFoundError:
            return None

    def _described_folder(self, folder: str) -> dict[str, SecretMetadata] | None:
        """Return the metadata of the keys in a folder, as OpenBao lists them; None if the server cannot."""
        from urllib.parse import quote

        call = self._client.new_call()
        self._need_v2("metadata", call)
        path = f"/v1/{url_path(self._mount.name)}/detailed-metadata/{quote(folder)}"
        try:
            reply = self._client.call("list", path, "list", call=call)
            key_info = part(reply, "data", "key_info")
        except (BackendUnavailableError, AuthenticationError):
            raise
        except StrongroomError as error:
            # HashiCorp's server has no such list, or the policy does not allow it.
            if not says_empty(error):
                self._lists_metadata = False
            return None
        now = server_time(call.date)
        described: dict[str, SecretMetadata] = {}
        for name, found in key_info.items():
            if name.endswith("/"):
                continue
            entry = metadata_in(found)
            if entry is None:
                raise no_server(reply.where)
            current = str(entry["current_version"])
            info = entry["versions"].get(current)
            if info is None or state_of(info, True, now) != "current":
                continue
            key = key_of(f"{folder}/{name}" if folder else name)
            if key is None:
                continue
            described[key] = SecretMetadata(
                key,
                current,
                made_at(entry.get("created_time")),
                made_at(info.get("created_time")),
                entry["custom_metadata"],
            )
        return described

    def list_versions(self, key: str) -> list[SecretVersion]:
        metadata, now = self._metadata(check_key(key), "list versions of")
        current = str(metadata["current_version"])
        if not metadata["versions"]:  # only metadata were written
            raise SecretNotFoundError(key, provider="vault")
        return [
            SecretVersion(number, made_at(info.get("created_time")), state_of(info, number == current, now))
            for number, info in sorted(metadata["versions"].items(), key=lambda item: -int(item[0]))
        ]

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)
        call = self._client.new_call()
        self._need_v2("versions", call)
        if not (
            isinstance(version, str)
            and version.isascii()
            and version.isdigit()
            and len(version) <= LONGEST_NUMBER
            and int(version) > 0
        ):
            raise SecretNotFoundError(key, provider="vault", hint="versions are numbers from 1")
        return text_of(self._read(key, call, {"version": version})[0], self._field, key)

    def diagnose(self) -> dict[str, str]:
        """Return `reachable`, `identity`, `can_list` and `clock_skew` (seconds), or raise our errors."""
        from strongroom_vault.diagnosis import diagnose

        return diagnose(self._client, lambda: self._walk("", "", deep=False))

    def close(self) -> None:
        self._client.close()

    def _need_v2(self, what: str, call: Any) -> None:
        if self._mount.version(call) == 1 and self._mount.asked_again(call) == 1:
            raise UnsupportedOperationError(
                f"vault: KV version 1 has no {what}", provider="vault", hint="use a mount of KV version 2"
            )

    def _ask(self, method: str, kind: str, key: str, what: str, call: Any, **kwargs: Any) -> Any:
        rest = kwargs.pop("rest", None) or url_path(key)
        if self._field is None:
            kwargs["headers"] = _EXACT
        path = self._mount.path(kind, rest, call)
        try:
            return self._client.call(method, path, what, key, call=call, **kwargs)
        except (SecretNotFoundError, ConfigurationError) as error:
            if not self._mount.was_mistaken(error, call):
                raise
        path = self._mount.path(kind, rest, call)
        return self._client.call(method, path, what, key, call=call, **kwargs)

    def _read(self, key: str, call: Any, params: Any = None) -> tuple[dict[str, Any], int, Any]:
        """Return the fields, and the number and time of their version; 0 and None if there is none.

        Raises:
            SecretNotFoundError: There are none; `reason` tells why.
        """
        fields, version, created, reason = self._state(key, call, params)
        if fields is None:
            raise SecretNotFoundError(key, reason=reason, provider="vault")
        return fields, version, created

    def _state(
        self, key: str, call: Any, params: Any = None
    ) -> tuple[dict[str, Any] | None, int, Any, NotFoundReason]:
        """Return what `_read` does; without fields None, the newest version of all, None, and the reason."""
        try:
            reply = self._ask("get", "data", key, "read", call, params=params)
        except SecretNotFoundError as error:
            raw = getattr(error, "raw", None)
        else:
            if self._mount.version(call) == 1:
                return part(reply, "data"), 0, None, "absent"
            metadata = part(reply, "data", "metadata")
            version, created = part(metadata, "version", kind=int), metadata.get("created_time")
            # A tool may have written a secret without fields by `data: null`.
            if part(reply, "data").get("data", "") is None:
                return {}, version, created, "absent"
            return part(reply, "data", "data"), version, created, "absent"
        found = body_of(raw).get("data")
        given = found.get("metadata") if isinstance(found, dict) else None
        gone = given if isinstance(given, dict) else {}
        number = gone.get("version")
        newest = number if isinstance(number, int) else 0
        if gone.get("destroyed"):
            return None, newest, None, "destroyed"
        return None, newest, None, "deleted" if gone.get("deletion_time") else "absent"

    def _write(
        self, key: str, fields: dict[str, Any], version: int, call: Any, *, conditional: bool = False
    ) -> int:
        """Write over `version`; if the server compares none, over any, or not at all if `conditional`."""
        if self._mount.version(call) == 1:
            _check_done(self._ask("post", "data", key, "write", call, json=fields))
            return 0
        body = {"data": fields, "options": {"cas": version}}
        try:
            reply = self._ask("post", "data", key, "write", call, json=body)
        except ValidationError as error:
            refusal = getattr(error, "raw", None)
            if "check-and-set" not in said_by(refusal):
                raise
            compares = refusal is None or refusal.headers.get(_CAS) != "unchecked"
        else:
            version = part(reply, "data", "version", kind=int)
            return int(version)
        if compares:
            raise _conflict(f"somebody else wrote {show_key(key)} first", key)
        if conditional:
            raise unsupported("conditional write", self, key)
        _check_done(self._ask("post", "data", key, "write", call, json={"data": fields}))
        return version

    def _metadata(self, key: str, what: str) -> tuple[Any, datetime]:
        """Return a secret's metadata, and the server's time at which it gave them."""
        call = self._client.new_call()
        self._need_v2("metadata", call)
        reply = self._ask("get", "metadata", key, what, call)
        self._need_v2("metadata", call)  # as the request itself may have found out
        part(reply, "data", "versions")
        metadata = metadata_in(reply["data"])
        if metadata is None:
            raise no_server(reply.where)
        return metadata, server_time(call.date)

    def _is_there(self, key: str) -> bool:
        try:
            found, now = self._metadata(key, "list")
        except SecretNotFoundError:
            return False
        info = found["versions"].get(str(found["current_version"]))
        return info is not None and state_of(info, True, now) == "current"

    def _get_or_none(self, key: str) -> str | None:
        try:
            return self.get_secret(key)
        except SecretNotFoundError as error:
            if error.reason != "absent":
                raise
            return None

    def _folder(self, folder: str) -> list[str]:
        from urllib.parse import quote

        call = self._client.new_call()
        try:
            reply = self._ask("list", "metadata", folder, "list", call, rest=quote(folder))
        except SecretNotFoundError:
            return []
        return [folder + name for name in texts(reply, "data", "keys")]

    def _walk(self, folder: str, prefix: str, *, deep: bool = True) -> list[str]:
        keys: list[str] = []
        folders = [folder]
        while folders:
            names = [name for page in self._each(self._folder, folders) for name in page]
            keys += [name for name in names if not name.endswith("/")]
            folders = [name for name in names if name.endswith("/") and deep]
            folders = [name for name in folders if name.startswith(prefix) or prefix.startswith(name)]
        return keys

    def _each(self, function: Callable[[T], R], items: list[T]) -> list[R]:
        """Return the result of `function` for each item, in parallel unless the server is near."""
        results = []
        for item in items:
            results.append(function(item))
            if self._client.round_trip > _NEAR_SECONDS:
                break
        rest = items[len(results) :]
        most = min(self._workers, max(_FEW_AT_ONCE, len(items) // _ROUNDS))
        return results + in_parallel(function, rest, most)


def _without_user(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def _again_after_others(change: Callable[[], None]) -> None:
    """Read and write again if somebody else wrote in between, some times."""
    for attempt in range(_CAS_ATTEMPTS):
        try:
            change()
        except ConflictError:
            if attempt == _CAS_ATTEMPTS - 1:
                raise
        else:
            return


def _conflict(what: str, key: str) -> ConflictError:
    return ConflictError(f"vault: {what}", key=key, provider="vault", hint="read it again, then decide")


def _check_done(reply: Any) -> None:
    """Raise if an answer to a write, which need not have a body, is not the server's."""
    if reply is not None and "request_id" not in reply:
        raise no_server(reply.where)


def _raise_if_gone(key: str, info: Mapping[str, Any] | None, now: datetime) -> None:
    state = "absent" if info is None else state_of(info, True, now)
    if state != "current":
        raise SecretNotFoundError(key, reason=state, provider="vault")  # type: ignore[arg-type]  # never pending here
