"""boto3's client, made at the first call, with calls that end in time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strongroom.deadlines import Deadline, OutOfTimeError, Runner
from strongroom.errors import BackendUnavailableError, StrongroomError

__all__ = ["Connection", "CutShortError"]

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class CutShortError(Exception):
    """An answer that ended before it had told how long it is."""


class Connection:
    """Calls of one service: retried while that may help, and over by their deadline.

    Args:
        service: boto3's name of it.
        provider: The type name, for errors.
        timeout: Seconds for one call, with its retries.
        options: The credentials and addresses of the provider's constructor.
    """

    def __init__(self, service: str, provider: str, timeout: float, options: dict[str, Any]) -> None:
        self.provider = provider
        self.timeout = timeout
        self._service = service
        self._options = options
        self._lock = threading.Lock()
        self._runner = Runner()
        self._client: Any = None

    def deadline(self, within: Deadline | None = None) -> Deadline:
        """Return the deadline of one call that begins now."""
        return Deadline(self.timeout, within)

    def call(
        self,
        operation: str,
        doing: str,
        deadline: Deadline,
        *,
        key: str | None = None,
        hidden: str | None = None,
        tolerate: Callable[[Exception], Any] | None = None,
        **parameters: Any,
    ) -> Any:
        """Return the answer of an operation.

        `tolerate` is asked about each error first; what it returns, other than None, is the answer.
        Every write carries a client token or is the same when done twice, so all may be tried again.
        """
        pause = _FIRST_PAUSE
        while True:
            failed, ours = None, None
            try:
                return self._runner.run(lambda: self._run(operation, parameters), deadline)
            except Exception as error:  # noqa: BLE001  # botocore, urllib3 and the OS raise many kinds
                failed = error
            from strongroom_aws.errors import translate

            answer = tolerate(failed) if tolerate is not None else None
            if answer is not None:
                return answer
            ours = translate(failed, doing, self.provider, key=key, hidden=hidden)
            if isinstance(failed, OutOfTimeError) or not self._again(ours, pause, deadline):
                # Outside the `except` block: the SDK's error may hold the request.
                raise ours
            pause = min(pause * 2, _LONGEST_PAUSE)

    def client(self) -> Any:
        """Return boto3's client."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = _made(self._service, self.timeout, self._options)
        return self._client

    def identity(self) -> str:
        """Return the ARN of who is logged in."""
        deadline = self.deadline()
        found = self._runner.run(
            lambda: _made("sts", self.timeout, self._options).get_caller_identity(), deadline
        )
        return str(found["Arn"])

    def close(self) -> None:
        """Give back the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
        self._runner.close()

    def _run(self, operation: str, parameters: dict[str, Any]) -> Any:
        answer = getattr(self.client(), operation)(**parameters)
        head = answer["ResponseMetadata"]["HTTPHeaders"]
        if "content-length" not in head and "transfer-encoding" not in head:
            raise CutShortError  # it ended within its head; to botocore that is an empty answer
        return answer

    @staticmethod
    def _again(error: StrongroomError, pause: float, deadline: Deadline) -> bool:
        if not isinstance(error, BackendUnavailableError):
            return False
        wait = pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads retries, keeps no secret
        if not deadline.allows(wait):
            return False
        time.sleep(wait)
        return True


def _made(service: str, timeout: float, options: dict[str, Any]) -> Any:
    import boto3
    from botocore.config import Config

    verify = options["verify"]
    config = Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        retries={"total_max_attempts": 1, "mode": "standard"},  # the deadline decides, not a number
        max_pool_connections=options["max_connections"],
    )
    session: Any = boto3.Session(
        aws_access_key_id=options["access_key_id"],
        aws_secret_access_key=options["secret_access_key"],
        aws_session_token=options["session_token"],
        region_name=options["region_name"],
        profile_name=options["profile_name"],
    )
    address = options["sts_endpoint_url"] if service == "sts" else options["endpoint_url"]
    more = {"config": config, "verify": str(verify) if isinstance(verify, Path) else verify}
    if options["role_arn"] is not None and service != "sts":
        session = _assumed(session, options, more)
    return session.client(service, endpoint_url=address or options["endpoint_url"], **more)


def _assumed(session: Any, options: dict[str, Any], more: dict[str, Any]) -> Any:
    """Return a session with a role's credentials, which botocore renews before they run out."""
    import botocore.session
    from boto3 import Session
    from botocore.credentials import DeferredRefreshableCredentials

    asked = {"RoleArn": options["role_arn"], "RoleSessionName": options["role_session_name"]}
    if options["external_id"] is not None:
        asked["ExternalId"] = options["external_id"]
    address = options["sts_endpoint_url"] or options["endpoint_url"]

    def renew() -> dict[str, str]:
        found = session.client("sts", endpoint_url=address, **more).assume_role(**asked)["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }

    inner: Any = botocore.session.get_session()
    inner._credentials = DeferredRefreshableCredentials(renew, "assume-role")  # noqa: SLF001  # botocore has no other way in
    return Session(botocore_session=inner, region_name=options["region_name"] or session.region_name)
