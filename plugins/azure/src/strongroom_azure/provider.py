"""The provider for Azure Key Vault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from strongroom.clients import check_answer
from strongroom.deadlines import Deadline
from strongroom.errors import ConflictError, SecretNotFoundError, StrongroomError, show_key
from strongroom.keys import Name, check_key, check_keys, check_prefix, check_value, visible_keys
from strongroom.parallel import present_in_parallel
from strongroom.providers import BaseProvider, SecretMetadata, SecretVersion

from strongroom_azure import payload, versions
from strongroom_azure.connection import AzureConnection
from strongroom_azure.names import TAG, belongs, key_of, name_of, tags_for
from strongroom_azure.options import checked

if TYPE_CHECKING:
    from strongroom_azure.service import KeyVault

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,127}")


class AzureSecretProvider(BaseProvider):
    """Secrets in Azure Key Vault.

    A key is a secret, a write adds a version, a read gets the newest one. A delete is soft: the secret stays
    recoverable for the vault's retention time, and setting its key again recovers it, with its history, and
    adds a version. A secret that is disabled raises `SecretNotFoundError` with that reason.

    The service has no conditional write and shows a new version to readers at once, so the provider has
    neither `set_secret_if` nor staging.

    Args:
        vault_url: Address of the vault, as in `https://my-vault.vault.azure.net`.
        credential: An object with `get_token`, such as azure-identity's; or a mapping with a `method`
            (`client_secret`, `managed_identity`, … see `strongroom_azure.credentials`) and its members. None:
            `DefaultAzureCredential`, made at the first call.
        client_options: Keyword arguments of the SDK's `SecretClient`, such as `connection_verify` (a file
            with the CA) or `verify_challenge_resource`. A `transport` in it stays open after `close`.
        timeout: Seconds for one get, set, delete or page, retries included.
        deadline: Seconds for a whole list or batch; None: no limit.
        max_workers: How many secrets of a batch are read at the same time.
        purge: Whether a delete is for good: it then waits until the service lets it purge the secret.
        tags: Tags that each version gets that is written.

    Raises:
        ConfigurationError: An option is malformed.
    """

    type_name: ClassVar[str] = "azure"

    def __init__(
        self,
        vault_url: str,
        *,
        credential: Any = None,
        client_options: Mapping[str, Any] | None = None,
        timeout: float = 10.0,
        deadline: float | None = None,
        max_workers: int = 32,
        purge: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._options = checked(
            vault_url=vault_url,
            credential=credential,
            client_options=client_options,
            timeout=timeout,
            deadline=deadline,
            max_workers=max_workers,
            purge=purge,
            tags=tags,
        )
        self._connection = AzureConnection(self._options)

    def __repr__(self) -> str:
        return f"<AzureSecretProvider {self._options.vault_url}>"

    def address(self) -> dict[str, str]:
        """Return what decides which secret is meant."""
        return {"vault_url": self._options.vault_url}

    def get_secret(self, key: str) -> str:
        """Return the newest version's value, by one request, or two if it is not found."""
        name = name_of(check_key(key))
        service, deadline = self._connection.start()
        return self._read(service, key, name, deadline)

    def set_secret(self, key: str, value: str) -> None:
        """Add a version; one that waits for its deletion is recovered first.

        Raises:
            SecretTooLargeError: The value is over 25,600 bytes of UTF-8.
            ConflictError: The name belongs to another secret.
            BackendUnavailableError: A delete or recovery of that name took longer than `timeout`.
        """
        name = name_of(check_key(key))
        text = payload.encode(key, check_value(value, key))
        tags = {**self._options.tags, **tags_for(key, name), **versions.written_now()}
        service, deadline = self._connection.start()
        self._check_owner(service, key, name, deadline)
        service.write(name.text, text, tags, deadline, key=key, hidden=value)

    def delete_secret(self, key: str) -> None:
        """Delete the secret: recoverable, or with the option `purge` for good."""
        name = name_of(check_key(key))
        service, deadline = self._connection.start()
        self._check_owner(service, key, name, deadline)
        try:
            service.delete(name.text, key, deadline, purge=self._options.purge)
        except SecretNotFoundError as error:
            missing = error
        else:
            return
        raise self._with_reason(missing, service, name, deadline)

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return all keys, of every page; secrets whose names no key has (see `names`) are left out."""
        check_prefix(prefix)
        service, whole = self._connection.start_batch()
        items = service.pages(
            service.client.list_properties_of_secrets,
            lambda: self._connection.next_deadline(whole),
            doing="listing secrets",
        )
        keys = (key_of(item.name, item.tags) for item in items)
        return visible_keys(keys, prefix)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of the keys that are there, read up to `max_workers` at a time."""
        wanted = check_keys(keys)
        if not wanted:
            return {}
        service, whole = self._connection.start_batch()

        def read(key: str) -> str:
            return self._read(service, key, name_of(key), self._connection.next_deadline(whole))

        return present_in_parallel(read, wanted, self._options.max_workers)

    def describe_secret(self, key: str) -> SecretMetadata:
        """Return the newest version's id, date and tags, and the date of the oldest: no value is asked for.

        The service tells no date of the secret as such, so all versions are listed: one request for each 25.

        Raises:
            SecretNotFoundError: There is none; `reason` tells a disabled one.
        """
        listed = self._versions(key)
        newest = listed[0]
        if newest.enabled is False:
            raise SecretNotFoundError(key, reason="disabled", provider=self.type_name)
        return SecretMetadata(
            key=key,
            version=newest.version,
            created_at=versions.utc(listed[-1].created_on),
            updated_at=versions.utc(newest.created_on),
            tags=versions.users_tags(newest),
        )

    def list_versions(self, key: str) -> list[SecretVersion]:
        """Return all versions, newest first; only the newest can be `current`, as readers get no other."""
        return versions.described(self._versions(key))

    def get_secret_version(self, key: str, version: str) -> str:
        """Return the value of a version.

        Raises:
            SecretNotFoundError: There is none; `reason` tells a disabled one, and a deleted secret.
        """
        name = name_of(check_key(key))
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise SecretNotFoundError(
                key, f"secret {show_key(key)} has no version {show_key(version)}", provider=self.type_name
            )
        service, deadline = self._connection.start()
        return self._read(service, key, name, deadline, version)

    def diagnose(self) -> dict[str, str]:
        """Return `reachable`, `identity`, `can_list` and `clock_skew` (seconds), by one request.

        Raises:
            StrongroomError: The vault is not reachable, or the login is refused.
        """
        service, deadline = self._connection.start()
        from strongroom_azure.diagnosis import diagnose

        return diagnose(service, deadline)

    def close(self) -> None:
        """Close the connections; a later call opens them again.

        A credential or transport that was given as an object stays open: it is its maker's.
        """
        self._connection.close()

    # --- the parts of the above ---

    def _read(
        self, service: KeyVault, key: str, name: Name, deadline: Deadline, version: str | None = None
    ) -> str:
        """Return a value, or find out why there is none."""
        try:
            return self._read_known(service, key, name, deadline, version)
        except SecretNotFoundError as error:
            missing = error
        raise self._with_reason(missing, service, name, deadline)

    def _read_known(
        self, service: KeyVault, key: str, name: Name, deadline: Deadline, version: str | None = None
    ) -> str:
        secret = service.read(name.text, key, deadline, version)
        check_answer("azure", key, name.text.lower(), secret.name and secret.name.lower())
        check_answer("azure", key, version or "", secret.properties.version if version else None)
        self._check_tags(key, name, secret.properties.tags)
        return payload.decode(key, secret.value, named=secret.properties.version is not None)

    def _versions(self, key: str) -> list[Any]:
        """Return the SDK's descriptions of all versions, newest first."""
        name = name_of(check_key(key))
        service, whole = self._connection.start_batch()
        try:
            items = service.pages(
                lambda: service.client.list_properties_of_secret_versions(name.text),
                lambda: self._connection.next_deadline(whole),
                key=key,
                doing="listing the versions of",
            )
            listed = versions.newest_first(items)
            missing = SecretNotFoundError(key, provider=self.type_name)
        except SecretNotFoundError as error:
            listed, missing = [], error
        if not listed:
            raise self._with_reason(missing, service, name, self._connection.next_deadline(whole))
        self._check_tags(key, name, listed[0].tags)
        if versions.is_unsure(listed):
            is_current = self._newest(service, key, name, self._connection.next_deadline(whole))
            latest = listed[0].created_on
            listed.sort(key=lambda item: not (item.created_on == latest and is_current(item)))
        return listed

    def _newest(self, service: KeyVault, key: str, name: Name, deadline: Deadline) -> Callable[[Any], bool]:
        """Return a function that tells the version that readers get from others of the same second."""
        try:
            current = service.read(name.text, key, deadline).properties.version
        except SecretNotFoundError as error:
            if error.reason == "disabled":
                return lambda item: item.enabled is False
        except StrongroomError:
            pass  # not for us to read
        else:
            return lambda item: bool(item.version == current)
        return lambda _: False  # the order by dates stays

    def _check_owner(self, service: KeyVault, key: str, name: Name, deadline: Deadline) -> None:
        """Before a change of a hashed name, compare the key that the secret there is for."""
        if not name.hashed:
            return
        try:
            tags = service.read(name.text, key, deadline).properties.tags
        except SecretNotFoundError:
            return  # nothing there, or disabled and not readable
        self._check_tags(key, name, tags)

    def _check_tags(self, key: str, name: Name, tags: Mapping[str, str] | None) -> None:
        if not belongs(key, name, tags):
            raise ConflictError(
                f"azure: the name {name.text}, under which {show_key(key)} is stored, is another secret's: "
                f"its tag {TAG!r} is missing or names another key",
                key=key,
                provider=self.type_name,
                hint="put the tag back, or delete that secret",
            )

    def _with_reason(
        self, missing: SecretNotFoundError, service: KeyVault, name: Name, deadline: Deadline
    ) -> SecretNotFoundError:
        """Return the error for a secret that is not found, after asking for the reason."""
        if missing.reason != "absent" or service.reason_for(name.text, deadline) == "absent":
            return missing
        explained = SecretNotFoundError(str(missing.key), reason="deleted", provider=self.type_name)
        explained.__cause__ = missing.__cause__
        return explained
