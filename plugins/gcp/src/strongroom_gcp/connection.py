"""Makes the client of the SDK from the options."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from strongroom.clients import leave_connections
from strongroom.deadlines import SharedClient
from strongroom.errors import BackendUnavailableError, ConfigurationError, StrongroomError
from strongroom.plugins.credentials import newest

from strongroom_gcp import credentials as logins
from strongroom_gcp.options import Options

if TYPE_CHECKING:
    from strongroom_gcp.service import SecretManager


class GcpConnection(SharedClient["SecretManager"]):
    """Holds the client; a ready transport stays open, for it is its maker's."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.timeout, options.deadline)
        self._options = options
        self.login: Any = None
        self._used: Mapping[str, Any] | None = None
        self._forked = False

    def leave(self) -> None:
        """Drop the client in a forked child, and the connections of a caller's transport."""
        super().leave()
        self._forked = True
        if self._options.ready:
            leave_connections(getattr(self._options.transport, "_session", None))

    def load(self) -> None:
        """Import the SDK."""
        from strongroom_gcp import service  # noqa: F401

    def translate(self, error: Exception) -> StrongroomError:
        """Return strongroom's error for a login that failed."""
        from strongroom_gcp import errors

        return errors.translate(error, doing="logging in")

    def make(self, opened: ExitStack) -> SecretManager:
        """Return Google's client, logged in.

        Raises:
            BackendUnavailableError: The ready gRPC transport is that of the parent process.
        """
        from strongroom_gcp import service

        options = self._options
        if self._forked and options.ready and str(options.transport.kind) == "grpc":
            raise BackendUnavailableError(
                "gcp: the ready gRPC transport belongs to the process that this one was forked from",
                provider="gcp",
                hint="make transport and provider after the fork, or let the provider make its transport",
            )
        client_options = dict(options.client_options)
        if options.location and not options.ready:
            client_options.setdefault("api_endpoint", f"secretmanager.{options.location}.rep.googleapis.com")
        self._used = self._key()
        self.login = self._credentials(self._used)
        client = service.make_client(self.login, options.transport, client_options)
        if not options.ready:
            opened.callback(client.transport.close)

        def newer() -> Any:
            """Return a client with the present key; None if that is the one in use."""
            key = self._key_of_now()
            if key is None or key == self._used:
                return None
            login = self._credentials(key)
            made = service.make_client(login, options.transport, client_options)
            self._opened.callback(made.transport.close)
            self._used, self.login = key, login
            return made

        # gRPC's own threads were not there while the parent forked: it is not relied upon for deadlines.
        return service.SecretManager(
            client, self._runner, guarded=self._forked, ready=options.ready, newer=newer
        )

    def _key(self) -> Mapping[str, Any] | None:
        """Return the present key of the options; None if they have none.

        Raises:
            ConfigurationError: What a file or reference holds now is not a key.
        """
        file, credentials = self._options.credentials_file, self._options.credentials
        if file is not None:
            return logins.read(file)
        if isinstance(credentials, str):
            return logins.parse(newest(credentials), "credentials")
        return newest(credentials) if isinstance(credentials, Mapping) else None

    def _key_of_now(self) -> Mapping[str, Any] | None:
        try:
            return self._key()
        except ConfigurationError:  # then the one that was used stays
            return None

    def _credentials(self, key: Mapping[str, Any] | None) -> Any:
        """Return the login, given or found; None if the transport or an API key has it."""
        from strongroom_gcp import service

        options = self._options
        if key is not None:
            file = options.credentials_file
            return logins.build(key, "credentials" if file is None else f"credentials_file {file}")
        if options.credentials is not None or options.ready or options.client_options.get("api_key"):
            return options.credentials
        return service.find_credentials(options.client_options.get("quota_project_id"))
