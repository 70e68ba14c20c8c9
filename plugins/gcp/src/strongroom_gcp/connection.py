"""The way from options to a working client: at the first call, once, and within its deadline."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from strongroom.deadlines import Deadline, Runner
from strongroom.errors import ConfigurationError

from strongroom_gcp import credentials as logins
from strongroom_gcp.options import Options

if TYPE_CHECKING:
    from strongroom_gcp.service import Service


class Connection:
    """Holds the client that the provider's threads share, and makes it when one first needs it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._runner = Runner()
        self._lock = threading.Lock()
        self._service: Service | None = None
        self.login: Any = None

    def begin(self) -> tuple[Service, Deadline]:
        """Return the service, and the deadline of the one operation that begins now."""
        service = self._service
        if service is not None:
            return service, Deadline(self._options.timeout)
        # Importing takes this machine's time and not the service's, so no deadline counts it.
        from strongroom_gcp import errors  # noqa: F401  # imports the SDK

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
        """Close what was opened here."""
        with self._lock:
            service, self._service = self._service, None
        if service is not None and not self._options.ready:
            service.client.transport.close()
        self._runner.close()

    def _connect(self, deadline: Deadline) -> Service:
        from strongroom_gcp import errors

        try:
            # On another thread, as the search for a login may ask a server that does not answer.
            return self._runner.run(self._make, deadline)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever the SDK raises as it is set up
            failed = error
        raise errors.translate(failed, doing="logging in")

    def _make(self) -> Service:
        from strongroom_gcp import service

        options = self._options
        with self._lock:
            if self._service is None:
                client_options = dict(options.client_options)
                if options.location and not options.ready:
                    endpoint = f"secretmanager.{options.location}.rep.googleapis.com"
                    client_options.setdefault("api_endpoint", endpoint)
                self.login = self._credentials()
                client = service.make_client(self.login, options.transport, client_options)
                self._service = service.Service(client, self._runner)
            return self._service

    def _credentials(self) -> Any:
        """Return the login, given or found; None where the transport or an API key brings it."""
        from strongroom_gcp import service

        options = self._options
        if options.credentials_file is not None:
            source = f"credentials_file {options.credentials_file}"
            return logins.build(logins.read(options.credentials_file), source)
        if isinstance(options.credentials, Mapping):
            return logins.build(options.credentials, "credentials")
        if options.credentials is not None or options.ready or options.client_options.get("api_key"):
            return options.credentials
        return service.find_credentials(options.client_options.get("quota_project_id"))
