"""The provider for Google Cloud Secret Manager."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from strongroom.deadlines import Deadline
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    show_key,
)
from strongroom.keys import Name, check_key, check_keys, check_prefix, check_value, visible_keys
from strongroom.parallel import present_in_parallel
from strongroom.providers import BaseProvider, SecretMetadata, SecretVersion, VersionState, version_is_enough

from strongroom_gcp import credentials as logins
from strongroom_gcp import payload
from strongroom_gcp.connection import GcpConnection
from strongroom_gcp.names import ANNOTATION, key_of, name_of
from strongroom_gcp.options import bad, checked

if TYPE_CHECKING:
    from strongroom_gcp.service import SecretManager

# A number, or an alias: https://cloud.google.com/secret-manager/docs/assign-alias-to-secret-version
_SETTLING_PAUSE = 0.05
_VERSION = re.compile(r"[1-9][0-9]{0,17}|[A-Za-z][A-Za-z0-9_-]{0,62}")


class GCPSecretProvider(BaseProvider):
    """Secrets in Google Cloud Secret Manager.

    A key is a secret, a write adds a version, a read gets the newest one (`latest`), a delete removes the
    secret with all its versions for good. Reading a secret whose newest version is disabled or destroyed
    raises `SecretNotFoundError` with that reason, as the service does not fall back to an older one.

    The service has no conditional write of a version (`AddSecretVersion` takes no etag) and shows a new
    version to readers at once, so the provider has neither `set_secret_if` nor staging.

    Args:
        project_id: Id or number of the project.
        location: Region of regional secrets, such as `europe-west3`; None for global ones.
        credentials: A `google.auth` credentials object, or the JSON (text or mapping) of a service account's
            key or an authorised user. None: Application Default Credentials, found at the first call.
        credentials_file: File with that JSON; not together with `credentials`.
        client_options: What the SDK's client takes, such as `{"api_endpoint": …, "quota_project_id": …}`.
        transport: `"grpc"`, `"rest"`, or a ready transport of the SDK, which then brings its own login and
            stays open after `close`.
        timeout: Seconds for one get, set, delete or page, retries included.
        deadline: Seconds for a whole list or batch; None: no limit.
        max_workers: How many secrets of a batch are read at the same time.
        replication: Locations that new secrets are kept in; none: Google's automatic replication.
        kms_key_name: Cloud KMS key for new secrets; `{location}` in it is replaced by each replica's
            location.
        labels: Labels that new secrets get.

    Raises:
        ConfigurationError: An option is malformed, or two do not go together.
    """

    type_name: ClassVar[str] = "gcp"
    counts_again: ClassVar[bool] = True

    def __init__(
        self,
        project_id: str,
        *,
        location: str | None = None,
        credentials: Any = None,
        credentials_file: str | Path | None = None,
        client_options: Any = None,
        transport: Any = "grpc",
        timeout: float = 10.0,
        deadline: float | None = None,
        max_workers: int = 32,
        replication: Sequence[str] = (),
        kms_key_name: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._options = checked(
            project_id=project_id,
            location=location,
            credentials=credentials,
            credentials_file=credentials_file,
            client_options=client_options,
            transport=transport,
            timeout=timeout,
            deadline=deadline,
            max_workers=max_workers,
            replication=replication,
            kms_key_name=kms_key_name,
            labels=labels,
        )
        self._parent = self._options.parent
        self._secrets = f"{self._parent}/secrets/"
        self._connection = GcpConnection(self._options)

    def __repr__(self) -> str:
        return f"<GCPSecretProvider {self._parent}>"

    def address(self) -> dict[str, Any]:
        """Return what decides which secret is meant."""
        client_options = self._options.client_options
        where = {
            name: client_options[name]
            for name in ("api_endpoint", "universe_domain")
            if client_options.get(name) is not None
        }
        return {
            "project_id": self._options.project_id,
            "location": self._options.location,
            "client_options": where,
        }

    def get_secret(self, key: str) -> str:
        name = name_of(check_key(key))
        service, deadline = self._connection.start()
        return self._read(service, key, name, "latest", deadline)

    def set_secret(self, key: str, value: str) -> None:
        """Add a version to the secret, which is created where it is missing (as two more requests).

        Raises:
            SecretTooLargeError: The value is over 65,536 bytes of UTF-8.
            ConflictError: The name belongs to another secret, or it was deleted as often as it was created.
            BackendUnavailableError: The secret was created, but the service does not know it yet.
        """
        name = name_of(check_key(key))
        data = payload.encode(key, check_value(value, key))
        service, deadline = self._connection.start()

        def add() -> bool:
            try:
                service.add(self._secrets + name.text, key, data, deadline, hidden=value)
            except SecretNotFoundError:
                return False  # the usual way to learn that the secret has to be created first
            return True

        if self._is_there(service, key, name, deadline) and add():
            return
        self._create(service, key, name, deadline)
        pause = _SETTLING_PAUSE
        while not add():  # the service may need a moment to know the secret that it has just created
            if not deadline.allows(pause):
                raise BackendUnavailableError(
                    f"gcp: {show_key(key)} was created, but Secret Manager does not know it yet",
                    key=key,
                    provider=self.type_name,
                    hint="set it again; somebody else may be deleting it",
                )
            service.pause(pause)
            pause *= 2

    def delete_secret(self, key: str) -> None:
        """Delete the secret with all its versions; nobody can bring them back."""
        name = name_of(check_key(key))
        service, deadline = self._connection.start()
        self._check_owner(service, key, name, deadline)
        # Not repeated when its answer was lost: the repetition would say that there is nothing to delete.
        service.call(
            "delete_secret",
            {"name": self._secrets + name.text},
            deadline,
            key=key,
            doing="deleting",
            repeatable=False,
        )

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return all keys, of every page; secrets whose names no key has (see `names`) are left out."""
        check_prefix(prefix)
        service, whole = self._connection.start_batch()
        pages = service.pages(
            "list_secrets",
            {"parent": self._parent},
            lambda: self._connection.next_deadline(whole),
            doing="listing secrets",
        )
        keys = (
            key_of(secret.name.rpartition("/")[2], dict(secret.annotations))
            for page in pages
            for secret in page.secrets
        )
        return visible_keys(keys, prefix)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of the keys that are there, read up to `max_workers` at a time."""
        wanted = check_keys(keys)
        if not wanted:
            return {}
        service, whole = self._connection.start_batch()

        def read(key: str) -> str:
            return self._read(service, key, name_of(key), "latest", self._connection.next_deadline(whole))

        return present_in_parallel(read, wanted, self._options.max_workers)

    def describe_secret(self, key: str) -> SecretMetadata:
        """Return the newest version's number and date, the secret's own date, and its labels as tags.

        Raises:
            SecretNotFoundError: There is none; `reason` tells a disabled or destroyed one.
        """
        name = name_of(check_key(key))
        service, deadline = self._connection.start()
        # The version says whether there is a secret; its own record has dates and labels, and whose it is.
        enough = version_is_enough() and not name.hashed
        secret = None if enough else self._secret(service, key, name, deadline)
        version = service.call(
            "get_secret_version",
            {"name": f"{self._secrets}{name.text}/versions/latest"},
            deadline,
            key=key,
            doing="describing",
        )
        state = _state(version, current=True)
        if state in ("disabled", "destroyed"):
            raise SecretNotFoundError(key, reason=state, provider=self.type_name)
        return SecretMetadata(
            key=key,
            version=version.name.rpartition("/")[2],
            created_at=None if secret is None else _utc(secret.create_time),
            updated_at=_utc(version.create_time),
            tags={} if secret is None else dict(secret.labels),
        )

    def list_versions(self, key: str) -> list[SecretVersion]:
        """Return all versions, newest first; only the newest can be `current`, as readers get no other.

        Raises:
            SecretNotFoundError: There is no such secret.
        """
        name = name_of(check_key(key))
        service, whole = self._connection.start_batch()
        self._check_owner(service, key, name, self._connection.next_deadline(whole))
        pages = service.pages(
            "list_secret_versions",
            {"parent": self._secrets + name.text},
            lambda: self._connection.next_deadline(whole),
            key=key,
            doing="listing the versions of",
        )
        listed = sorted(
            (version for page in pages for version in page.versions),
            key=lambda version: int(version.name.rpartition("/")[2]),
            reverse=True,
        )
        if not listed:
            raise SecretNotFoundError(key, provider=self.type_name)
        return [
            SecretVersion(
                version=version.name.rpartition("/")[2],
                created_at=_utc(version.create_time),
                state=_state(version, current=place == 0),
            )
            for place, version in enumerate(listed)
        ]

    def get_secret_version(self, key: str, version: str) -> str:
        """Return the value of a version, by its number or by an alias of the secret.

        Raises:
            SecretNotFoundError: There is none; `reason` tells a disabled or destroyed one.
        """
        name = name_of(check_key(key))
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise SecretNotFoundError(
                key, f"secret {show_key(key)} has no version {show_key(version)}", provider=self.type_name
            )
        service, deadline = self._connection.start()
        return self._read(service, key, name, version, deadline)

    def diagnose(self) -> dict[str, str]:
        """Return whether the service is reachable, who is logged in, and whether it may list: one request.

        Raises:
            StrongroomError: The service is not reachable, or the login is refused.
        """
        service, deadline = self._connection.start()
        report = {
            "project": self._options.project_id,
            "endpoint": str(service.client.transport.host),
            "transport": service.transport,
            "identity": logins.identity(self._connection.login),
        }
        try:
            service.call(
                "list_secrets", {"parent": self._parent, "page_size": 1}, deadline, doing="listing secrets"
            )
            report["can_list"] = "yes"
        except PermissionDeniedError:
            # The service knows the caller and answers: those who only read by name need no more.
            report["can_list"] = (
                "no: grant secretmanager.secrets.list (roles/secretmanager.viewer) if it should"
            )
        # No clock skew: the client does not pass the server's time on.
        return {"reachable": "yes", **report}

    def close(self) -> None:
        """Close the connections; a later call opens them again.

        A ready transport stays open: it is its maker's.
        """
        self._connection.close()

    # --- the parts of the above ---

    def _read(self, service: SecretManager, key: str, name: Name, version: str, deadline: Deadline) -> str:
        if name.hashed:
            self._check_owner(service, key, name, deadline)
        data = service.access(f"{self._secrets}{name.text}/versions/{version}", key, deadline)
        return payload.decode(key, data)

    def _secret(self, service: SecretManager, key: str, name: Name, deadline: Deadline) -> Any:
        """Return the secret's own record, of a hashed name only where it says that it is this key's."""
        secret = service.call(
            "get_secret", {"name": self._secrets + name.text}, deadline, key=key, doing="looking up"
        )
        if name.hashed and secret.annotations.get(ANNOTATION) != key:
            raise ConflictError(
                f"gcp: the name {name.text}, under which {show_key(key)} is stored, is another secret's: "
                f"its annotation {ANNOTATION!r} is missing or names another key",
                key=key,
                provider=self.type_name,
                hint="put the annotation back, or delete that secret",
            )
        return secret

    def _check_owner(self, service: SecretManager, key: str, name: Name, deadline: Deadline) -> None:
        if name.hashed:
            self._secret(service, key, name, deadline)

    def _is_there(self, service: SecretManager, key: str, name: Name, deadline: Deadline) -> bool:
        """Return whether a write may be tried at once; of a hashed name the owner is compared first."""
        try:
            self._check_owner(service, key, name, deadline)
        except SecretNotFoundError:
            return False
        return True

    def _create(self, service: SecretManager, key: str, name: Name, deadline: Deadline) -> None:
        """Create the secret, or find that somebody else has just done so."""
        secret: dict[str, Any] = {"labels": self._options.labels}
        if name.hashed:
            secret["annotations"] = {ANNOTATION: key}
        secret |= self._options.placement()
        try:
            service.call(
                "create_secret",
                {"parent": self._parent, "secret_id": name.text, "secret": secret},
                deadline,
                key=key,
                doing="creating",
            )
        except ConflictError:
            cause = None
            self._check_owner(service, key, name, deadline)
        except SecretNotFoundError as error:
            cause = error.__cause__
        else:
            return
        if cause is not None:
            raise bad(f"creating {show_key(key)}: {cause}", "check project_id and location") from cause


def _utc(when: Any) -> datetime | None:
    return datetime.fromtimestamp(when.timestamp(), UTC) if when is not None else None


def _state(version: Any, *, current: bool) -> VersionState:
    state = getattr(version.state, "name", "")  # none, of a state that is younger than the client
    if state == "DISABLED":
        return "disabled"
    if state == "DESTROYED":
        return "destroyed"
    return "current" if current else "previous"
