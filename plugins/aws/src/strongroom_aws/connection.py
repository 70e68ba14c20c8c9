"""Calls of one service: with retries, at the pace of its throttling, and within their deadline."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from strongroom.clients import call_with_retries
from strongroom.deadlines import Deadline, DeadlineExecutor, held_within
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    PermissionDeniedError,
    StrongroomError,
    ThrottledError,
)
from strongroom.parallel import forks_wait, never_collect, renew_after_fork

from strongroom_aws.account import Account, client_of, session_of
from strongroom_aws.outcomes import CutShortError, OtherAnswerError, Outcome, Refusal

__all__ = ["AwsClient", "Pace"]

_TELLS: dict[str, tuple[str, ...]] = {
    "assume_role": ("Credentials",),
    "batch_get_secret_value": ("SecretValues", "Errors"),
    "create_secret": ("VersionId",),
    "delete_secret": ("Name",),
    "describe_secret": ("Name",),
    "get_secret_value": ("VersionId",),
    "list_secret_version_ids": ("Versions",),
    "list_secrets": ("SecretList",),
    "put_secret_value": ("VersionId",),
    "restore_secret": ("Name",),
    "update_secret_version_stage": ("Name",),
    "describe_parameters": ("Parameters",),
    "get_parameter": ("Parameter",),
    "get_parameter_history": ("Parameters",),
    "get_parameters": ("Parameters", "InvalidParameters"),
    "get_parameters_by_path": ("Parameters",),
    "list_tags_for_resource": ("TagList",),
    "put_parameter": ("Version",),
    "delete_parameter": (),
}
"""The operations, each with members of which its answer has at least one."""
_EACH: dict[str, tuple[str, tuple[str, ...]]] = {
    "batch_get_secret_value": ("SecretValues", ("Name", "VersionId")),
    "list_secret_version_ids": ("Versions", ("VersionId",)),
    "list_secrets": ("SecretList", ("Name",)),
    "describe_parameters": ("Parameters", ("Name",)),
    "describe_secret": ("Tags", ("Key", "Value")),
    "get_parameter": ("Parameter", ("Value", "Version")),
    "get_parameter_history": ("Parameters", ("Version",)),
    "get_parameters": ("Parameters", ("Name", "Value")),
    "get_parameters_by_path": ("Parameters", ("Name",)),
    "list_tags_for_resource": ("TagList", ("Key", "Value")),
}
"""The members that each entry of a list has, or the one thing that is described."""
_KINDS: dict[str, type | tuple[type, ...]] = {
    "blob": bytes,
    "boolean": bool,
    "double": (int, float),
    "integer": int,
    "list": list,
    "long": int,
    "map": dict,
    "string": str,
    "structure": dict,
    "timestamp": datetime,
}
"""The Python types of botocore for the kinds of shapes in a model."""

FIRST_PAUSE = 0.1
_REDIRECTION = 300
_SHORTEST_TOKEN = 16
LONGEST_PAUSE = 2.0
_chance = random.SystemRandom()


class Pace:
    """How long the calls of all threads wait: longer after each throttled answer, shorter after others."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def throttled(self) -> None:
        """Slow down."""
        self.seconds = min(max(self.seconds * 2, FIRST_PAUSE), LONGEST_PAUSE)

    def answered(self) -> None:
        """Speed up."""
        self.seconds = self.seconds / 2 if self.seconds > FIRST_PAUSE / 8 else 0.0


class AwsClient:
    """One service of one account, through boto3's client, which is made at the first call.

    Args:
        service: boto3's name of it.
        provider: The type name, for errors.
        account: Where, as whom, and for how long.
    """

    def __init__(self, service: str, provider: str, account: Account) -> None:
        self.provider = provider
        self.pace = Pace()
        self.pause = time.sleep
        self._service = service
        self._given = self._account = account
        self._runner = DeadlineExecutor()
        self._sending = threading.local()
        self._session: Any = None
        self._client: Any = None
        self._token: str | None = None
        """The session token that was sent last, from the options or the SDK's own chain."""
        self._begin_again()
        renew_after_fork(self, AwsClient._begin_again)

    def _begin_again(self) -> None:
        """Drop client and login in a forked child: they are its parent's."""
        never_collect(self._client, self._session)
        self._client = self._session = None
        self._lock = threading.Lock()

    def deadline(self, within: Deadline | None = None) -> Deadline:
        """Return the deadline of one call that begins now."""
        return Deadline(self._account.timeout, within)

    def call(
        self,
        operation: str,
        doing: str,
        deadline: Deadline,
        *,
        key: str | None = None,
        hidden: str | None = None,
        accept: AbstractSet[Outcome] = frozenset(),
        repeatable: bool = True,
        **parameters: Any,
    ) -> Any:
        """Return the answer of an operation, or a `Refusal` for one of the outcomes in `accept`.

        Args:
            operation: The client's method.
            doing: The operation in words, for messages.
            deadline: When to give up.
            key: The key it is about.
            hidden: A value that is sent and must not appear in any text.
            accept: Outcomes that are returned and not raised.
            repeatable: Whether to send it again if it is not known whether it took effect.
            **parameters: The operation's own.
        """
        if self._client is None:
            _load()
        from strongroom_aws import errors

        retried = False
        used = self._account

        def send() -> Any:
            nonlocal used
            used, client = self._account, self._client
            try:
                answer = self._runner.run(lambda: self._send(operation, parameters, deadline), deadline)
            except Exception as error:
                if client is not None and errors.is_silence(error):
                    # What made its connection silent has met the idle ones too; the client makes new ones.
                    client.close()
                outcome = errors.outcome(error)
                if outcome is None or outcome not in accept:
                    raise
                return Refusal(outcome, retried)
            self.pace.answered()
            return answer

        def is_retryable(failed: Exception, ours: StrongroomError) -> bool:
            nonlocal retried
            if isinstance(ours, ThrottledError):
                self.pace.throttled()
            if isinstance(ours, AuthenticationError):
                return self._has_newer(used)
            not_done = errors.was_not_done(failed)
            retried = retried or not not_done
            lasting = not isinstance(ours, BackendUnavailableError) or errors.is_permanent(failed)
            return not lasting and (repeatable or not_done)

        if self.pace.seconds:
            self.hold_back(_chance.uniform(0, self.pace.seconds), deadline)
        return call_with_retries(
            send,
            deadline,
            translate=lambda failed: errors.translate(
                failed, doing, self.provider, key=key, hidden=hidden, login=self._login()
            ),
            is_retryable=is_retryable,
            retry_after=self._retry_after,
            pause=self.pause,
        )

    def _has_newer(self, used: Account) -> bool:
        """Return whether the references give another login now than the refused one."""
        newer = self._given.newest()
        if newer == used or newer.problem() is not None:  # as of a file that is being written
            return False
        with self._lock:
            if self._account != newer:
                self._account = newer
                # Other threads may still use it, so it is not closed.
                self._client = self._session = None
        return True

    def hold_back(self, seconds: float, deadline: Deadline) -> bool:
        """Wait, and return True; return False at once if the deadline does not allow that."""
        if not deadline.allows(seconds):
            return False
        self.pause(seconds)
        return True

    def client(self) -> Any:
        """Return boto3's client."""
        if self._client is None:
            with forks_wait(), self._lock:
                if self._client is None:
                    self._session = session_of(self._account)
                    made = client_of(self._session, self._service, self._account)
                    made.meta.events.register_last("before-send", self._check_time)
                    made.meta.events.register("before-parse", _check_whole)
                    self._client = made
        return self._client

    def identity(self, deadline: Deadline) -> str:
        """Return the ARN of who is logged in."""
        return str(self._asked(self._ask_who, deadline))

    def _asked(self, ask: Callable[[], Any], deadline: Deadline) -> Any:
        if self._client is None:
            _load()
        from strongroom_aws import errors

        try:
            return self._runner.run(ask, deadline)
        except Exception as error:  # noqa: BLE001  # as in `call`
            failed = error
        raise errors.translate(failed, "asking who is logged in", self.provider, login=self._login())

    def account(self) -> str:
        """Return the account, the region and the service's address; if STS refuses, the access key's id.

        Raises:
            BackendUnavailableError: STS does not answer.
            StrongroomError: Nobody is logged in.
        """
        deadline = self.deadline()
        client = self._asked(self.client, deadline)
        try:
            whose = self._account.account_of_role or self.identity(deadline).split(":")[4]
        except PermissionDeniedError:
            credentials = self._session.get_credentials()
            whose = "key " + str(credentials.access_key if credentials is not None else None)
        return f"{whose} {client.meta.region_name} {client.meta.endpoint_url}"

    def shown(self) -> str:
        """Return the region and the login, as far as the options have them."""
        account = self._account
        parts = {
            "region": account.region_name,
            "endpoint": account.endpoint_url,
            "profile": account.profile_name,
        }
        parts["role"] = account.role_arn
        return " ".join(f"{name}={text}" for name, text in parts.items() if text) or "of the SDK's own chain"

    def close(self) -> None:
        """Close the connections."""
        client = None
        with held_within(self._lock, self._account.timeout) as held:
            if held:  # else it is being made, by an SDK that hangs
                client, self._client, self._session = self._client, None, None
        if client is not None:
            client.close()
        self._runner.close()

    def _ask_who(self) -> Any:
        self.client()
        with contextlib.closing(client_of(self._session, "sts", self._account)) as sts:
            return sts.get_caller_identity()["Arn"]

    def _send(self, operation: str, parameters: dict[str, Any], deadline: Deadline) -> Any:
        client = self.client()
        self._sending.deadline = deadline
        answer = getattr(client, operation)(**parameters)
        name = client.meta.method_to_api_mapping[operation]
        model = client.meta.service_model.operation_model(name).output_shape
        _check_complete(operation, parameters.get("SecretId"), answer, model)
        return answer

    def _login(self) -> tuple[str, ...]:
        """Return the secrets of the login, without short ones, which are an emulator's, such as `test`."""
        tokens = (self._account.session_token, self._token)
        return tuple(one for one in tokens if one is not None and len(one) >= _SHORTEST_TOKEN)

    def _check_time(self, request: Any, **_: Any) -> None:
        """Raise if the deadline has passed, because the login took so long: then no request is sent."""
        token = request.headers.get("X-Amz-Security-Token")
        self._token = token.decode("latin-1") if isinstance(token, bytes) else token
        self._sending.deadline.remaining()

    def _retry_after(self, failed: Exception) -> float:
        from strongroom_aws import errors

        own = self.pace.seconds * _chance.uniform(0.5, 1.0)
        return max(own, errors.retry_after(failed) or 0.0)


def _load() -> None:
    """Import what the first call needs."""
    with forks_wait():
        import boto3  # noqa: F401  # so that it is loaded

        from strongroom_aws import errors  # noqa: F401  # as above


def _check_whole(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Refuse an answer that was cut off, or is not the service's, which botocore would take for `{}`.

    Of a chunked answer the end is known by other means. An empty body is an answer only of an operation that
    tells nothing, and only with the service's request id.
    """
    head, body = response_dict["headers"], response_dict["body"]
    length = head.get("content-length")
    if length is None and "transfer-encoding" not in head:
        raise CutShortError
    if length is not None and "content-encoding" not in head and length != str(len(body)):
        raise CutShortError
    if response_dict["status_code"] < _REDIRECTION and not (
        _is_object(body) or _is_answer_of_sts(body) or _is_empty_answer(head, body)
    ):
        raise CutShortError


def _is_empty_answer(head: Mapping[str, Any], body: bytes) -> bool:
    return not body and "x-amzn-requestid" in head


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def _is_answer_of_sts(body: bytes) -> bool:
    """Return whether a body looks like an answer of STS, which is XML."""
    return body[:400].lstrip().startswith(b"<AssumeRole") and body.rstrip().endswith(b"</AssumeRoleResponse>")


def _check_complete(operation: str, asked: str | None, answer: Mapping[str, Any], model: Any) -> None:
    """Refuse an answer without members that the service always sends, such as the `{}` of a proxy.

    Args:
        operation: The client's method.
        asked: The name of the requested secret, if there is one.
        answer: The answer as botocore parsed it.
        model: botocore's model of it.
    """
    always = _TELLS[operation]
    if not always:
        if "x-amzn-requestid" not in answer["ResponseMetadata"]["HTTPHeaders"]:
            raise CutShortError
        return
    if not _is_of(model, answer):
        raise CutShortError
    member, parts = _EACH.get(operation, ("", ()))
    found = answer.get(member, [])
    entries = found if isinstance(found, list) else [found]
    if not any(name in answer for name in always) or any(
        part not in entry for entry in entries for part in parts
    ):
        raise CutShortError
    if asked is not None and answer.get("Name", asked) != asked:
        raise OtherAnswerError


def _is_of(model: Any, answer: Any) -> bool:
    """Return whether all members of a parsed answer have the types that the model says."""
    kind: Any = _KINDS.get(model.type_name, object)
    if not isinstance(answer, kind):
        return False
    if model.type_name == "structure":
        return all(_is_of(one, answer[name]) for name, one in model.members.items() if name in answer)
    if model.type_name == "list":
        return all(_is_of(model.member, one) for one in answer)
    return model.type_name != "map" or all(_is_of(model.value, one) for one in answer.values())
