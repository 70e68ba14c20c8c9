"""Makes the client of the SDK from the options."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from strongroom.clients import leave_connections
from strongroom.deadlines import SharedClient
from strongroom.errors import StrongroomError

from strongroom_azure import credentials as logins
from strongroom_azure import errors
from strongroom_azure.options import Options

if TYPE_CHECKING:
    from strongroom_azure.service import KeyVault


class AzureConnection(SharedClient["KeyVault"]):
    """Holds the client; a transport or credential that the caller made stays open."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.timeout, options.deadline)
        self._options = options

    def leave(self) -> None:
        """Drop the client in a forked child, and the connections of a caller's transport."""
        super().leave()
        given = self._options.client_options
        leave_connections(getattr(given.get("transport"), "session", None))
        leave_connections(given.get("session"))

    def load(self) -> None:
        """Import the SDK."""
        import strongroom_azure.service  # noqa: F401  # so that it is loaded

        if not _is_ready(self._options.credential):
            import azure.identity  # noqa: F401  # as above

    def translate(self, error: Exception) -> StrongroomError:
        """Return strongroom's error for a client that could not be made."""
        return errors.translate(error, doing="setting up the client")

    def make(self, opened: ExitStack) -> KeyVault:
        """Return Microsoft's client with its login."""
        from strongroom_azure import service

        options = self._options
        client, drop_idle = service.make_client(
            options.vault_url, self._login(opened), options.client_options, options.timeout
        )
        if "transport" not in options.client_options:
            opened.callback(client.close)
        return service.KeyVault(client, self._runner, drop_idle=drop_idle)

    def _login(self, opened: ExitStack) -> Any:
        given = self._options.credential
        if _is_ready(given):
            return given
        login = logins.Login(given if given is not None else {"method": "default"})
        opened.callback(login.close)
        return login


def _is_ready(credential: Any) -> bool:
    """Return whether the login is the caller's own object, which the caller closes."""
    return credential is not None and not isinstance(credential, Mapping)
