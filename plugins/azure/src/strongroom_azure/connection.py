"""The way from options to a working client: at the first call, once, and within its deadline."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from strongroom.deadlines import Deadline, Runner
from strongroom.errors import ConfigurationError

from strongroom_azure import credentials as logins
from strongroom_azure import errors
from strongroom_azure.options import Options

if TYPE_CHECKING:
    from strongroom_azure.service import Service


class Connection:
    """Holds the client that the provider's threads share, and makes it when one first needs it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._runner = Runner()
        self._lock = threading.Lock()
        self._service: Service | None = None
        self._own_login: Any = None

    def begin(self) -> tuple[Service, Deadline]:
        """Return the service, and the deadline of the one operation that begins now."""
        service = self._service
        if service is not None:
            return service, Deadline(self._options.timeout)
        # Importing takes this machine's time and not the service's, so no deadline counts it.
        import strongroom_azure.service  # noqa: F401  # it imports the SDK

        if not _is_ready(self._options.credential):
            import azure.identity  # noqa: F401  # as above

        deadline = Deadline(self._options.timeout)
        return self._connect(deadline), deadline

    def begin_whole(self) -> tuple[Service, Deadline]:
        """Return the service, and the deadline of a list or batch that begins now."""
        whole = Deadline(self._options.deadline)
        return self.begin()[0], whole

    def part(self, whole: Deadline) -> Deadline:
        """Return the deadline of one request of a list or batch."""
        return Deadline(self._options.timeout, whole)

    def close(self) -> None:
        """Close what was opened here: neither a transport nor a credential that the caller made."""
        with self._lock:
            service, self._service = self._service, None
            login, self._own_login = self._own_login, None
        if service is not None and "transport" not in self._options.client_options:
            service.client.close()
        if hasattr(login, "close"):
            login.close()
        self._runner.close()

    def _connect(self, deadline: Deadline) -> Service:
        try:
            # On another thread, as a credential may ask for a login while it is made.
            return self._runner.run(self._make, deadline)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever the SDK raises as it is set up
            failed = error
        raise errors.translate(failed, doing="setting up the client")

    def _make(self) -> Service:
        from strongroom_azure import service

        options = self._options
        with self._lock:
            if self._service is None:
                client = service.make_client(
                    options.vault_url, self._login(), options.client_options, options.timeout
                )
                self._service = service.Service(client, self._runner)
            return self._service

    def _login(self) -> Any:
        given = self._options.credential
        if _is_ready(given):
            return given
        self._own_login = logins.build(given if given is not None else {"method": "default"})
        return self._own_login


def _is_ready(credential: Any) -> bool:
    """Tell whether the login is an object that the caller made, and closes."""
    return credential is not None and not isinstance(credential, Mapping)
