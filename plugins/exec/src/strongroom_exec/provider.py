"""The provider for any program that speaks JSON-RPC."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, cast, get_args

from strongroom.deadlines import Deadline, DeadlineExceededError, check_limits, held_within
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidKeyError,
    StrongroomError,
    ValidationError,
    show_key,
)
from strongroom.keys import check_key, check_keys, check_prefix, check_value, visible_keys
from strongroom.parallel import SingleEntryLock, never_collect, present_in_parallel, renew_after_fork
from strongroom.providers import (
    BaseProvider,
    BatchReader,
    BatchWriter,
    ConditionalWriter,
    Describer,
    SecretMetadata,
    SecretVersion,
    StagedWriter,
    VersionReader,
    VersionState,
    unsupported,
)
from strongroom.providers.programs import end_program, start_program

from strongroom_exec.channel import Channel, ProgramEndedError
from strongroom_exec.errors import error_of
from strongroom_exec.words import Words, texts_of

__all__ = ["ExecSecretProvider"]

_FOUR: Final = frozenset({"get_secret", "set_secret", "delete_secret", "list_secrets"})
_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    BatchReader.__name__: ("get_secrets",),
    BatchWriter.__name__: ("set_secrets",),
    Describer.__name__: ("describe_secret",),
    VersionReader.__name__: ("list_versions", "get_secret_version"),
    ConditionalWriter.__name__: ("set_secret_if",),
    StagedWriter.__name__: ("stage_secret", "promote_version", "discard_version"),
}
"""The capabilities that a program may say it has, and their methods, by which it may say so as well."""
_OPTIONAL: Final = frozenset(method for methods in _METHODS.values() for method in methods)
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0
_MOST_DOUBLINGS: Final = 9
_PARALLEL: Final = 32
"""Simultaneous requests of a batch, if the program does not have batches."""


class ExecSecretProvider(BaseProvider):
    """Secrets in any store, through a program that speaks JSON-RPC 2.0 on its standard input and output.

    The program is started at the first call, goes on running, and is started again after a pause where it
    ended, hung or talked nonsense. What it says on its standard error goes to the logger `strongroom.exec`,
    without the values that went over its pipe. The protocol is in docs/how-to/backends/exec.md.

    Args:
        command: The program and its arguments, which others on this machine can read: no secrets.
        timeout: Seconds that one request may take.
        folder: Where it runs, and what a command with a slash is relative to; by default the current folder.
        pause: Waits the seconds it is given.

    Raises:
        ConfigurationError: `command` is not a list of texts, or empty; `timeout` is not more than 0.
    """

    type_name = "exec"

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout: float = 10,
        folder: str | os.PathLike[str] | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        if (
            isinstance(command, str)
            or not command
            or not all(isinstance(one, str) and one for one in command[:1])
        ):
            raise ConfigurationError(
                "exec: the command must be a list: a program, and its arguments",
                provider=self.type_name,
                hint="as in [python3, store.py]; there is no shell",
            )
        if not all(isinstance(one, str) for one in command):
            raise ConfigurationError("exec: each argument must be text; quote it", provider=self.type_name)
        check_limits(self.type_name, counts={}, timeout=timeout)
        self._folder = Path.cwd() if folder is None else Path(folder).expanduser().absolute()
        program = str(self._folder / command[0]) if "/" in command[0] else command[0]
        self._command = [program, *command[1:]]
        self._timeout = timeout
        self._pause = pause
        self._channel: Channel | None = None
        self._begin_again()
        renew_after_fork(self, ExecSecretProvider._begin_again)

    def _begin_again(self) -> None:
        """Drop the program in a forked child, which starts its own."""
        never_collect(self._channel)
        self._channel = None
        self._lock = SingleEntryLock("the program")
        self._words = Words(Path(self._command[0]).name)
        self._methods: frozenset[str] = frozenset()
        self._failures = 0
        self._not_before = 0.0

    def address(self) -> dict[str, Any]:
        """Return what decides which secret is meant."""
        return {"command": self._command, "folder": str(self._folder)}

    def get_secret(self, key: str) -> str:
        check_key(key)
        return self._value(self._ask("get_secret", {"key": key}, key), "get_secret", key)

    def set_secret(self, key: str, value: str) -> None:
        check_value(value, check_key(key))
        self._ask("set_secret", {"key": key, "value": value}, key, [value])

    def delete_secret(self, key: str) -> None:
        check_key(key)
        self._ask("delete_secret", {"key": key}, key)

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        found = self._ask("list_secrets", {"prefix": prefix})
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self._nonsense("list_secrets", "a list of texts")
        return visible_keys((key for key in found if _is_key(key)), prefix)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of those of `keys` that are there: one request, or one a key, many at once."""
        wanted = check_keys(keys)
        if not wanted:
            return {}
        if not self._knows("get_secrets"):
            return present_in_parallel(self.get_secret, wanted, _PARALLEL)
        found = self._ask("get_secrets", {"keys": wanted})
        if not isinstance(found, dict) or not set(found) <= set(wanted):
            raise self._nonsense("get_secrets", "an object of the keys that were asked for")
        return {key: self._value(found[key], "get_secrets", key) for key in wanted if key in found}

    def set_secrets(self, values: Mapping[str, str]) -> None:
        checked = {check_key(key): check_value(value, key) for key, value in values.items()}
        self._ask("set_secrets", {"values": checked}, None, checked.values())

    def describe_secret(self, key: str) -> SecretMetadata:
        check_key(key)
        described = self._ask("describe_secret", {"key": key}, key)
        tags = described.get("tags") or {} if isinstance(described, dict) else None
        if not isinstance(tags, dict) or not all(isinstance(one, str) for one in (*tags, *tags.values())):
            raise self._nonsense("describe_secret", "an object with version and times", key)
        return SecretMetadata(
            key,
            self._version(described, "describe_secret", key),
            self._time(described, "created_at", "describe_secret", key),
            self._time(described, "updated_at", "describe_secret", key),
            tags,
        )

    def list_versions(self, key: str) -> list[SecretVersion]:
        check_key(key)
        listed = self._ask("list_versions", {"key": key}, key)
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise self._nonsense("list_versions", "a list of objects", key)
        return [
            SecretVersion(
                self._version(one, "list_versions", key),
                self._time(one, "created_at", "list_versions", key),
                self._state(one, key),
            )
            for one in listed
        ]

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)
        found = self._ask("get_secret_version", {"key": key, "version": version}, key)
        return self._value(found, "get_secret_version", key)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        check_value(value, check_key(key))
        params = {"key": key, "value": value, "expected_version": expected_version}
        return self._id(self._ask("set_secret_if", params, key, [value]), "set_secret_if", key)

    def stage_secret(self, key: str, value: str) -> str:
        check_value(value, check_key(key))
        found = self._ask("stage_secret", {"key": key, "value": value}, key, [value])
        return self._id(found, "stage_secret", key)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        check_key(key)
        params = {"key": key, "version": version, "expected_version": expected_version}
        self._ask("promote_version", params, key)

    def discard_version(self, key: str, version: str) -> None:
        check_key(key)
        self._ask("discard_version", {"key": key, "version": version}, key)

    def close(self) -> None:
        """End the program; a later call starts it again."""
        with held_within(self._lock, self._timeout) as held:
            channel = self._channel
            if held:
                self._channel = None
        if channel is not None:
            channel.close()

    def diagnose(self) -> dict[str, str]:
        """Return the facts for `strongroom doctor`."""
        keys = self.list_secrets()
        can = sorted(name for name, methods in _METHODS.items() if self._methods.issuperset(methods))
        return {
            "program": self._command[0],
            "can_list": f"yes, {len(keys)} keys",
            "capabilities": ", ".join(can) or "the four methods",
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._command[0]!r}>"

    # --- asking ---

    def _ask(
        self, method: str, params: Mapping[str, Any], key: str | None = None, hidden: Iterable[str] = ()
    ) -> Any:
        """Return the `result` of an answer.

        Args:
            method: The method.
            params: Its parameters, by name.
            key: The key that it is about.
            hidden: Values in the parameters.
        """
        hidden = list(hidden)
        self._words.know(hidden)
        deadline = Deadline(self._timeout)
        answer = self._within(lambda: self._answer(method, params, key, deadline), method, key)
        if "error" in answer:
            raise error_of(
                answer["error"], method=method, key=key, clean=partial(self._words.clean, hidden=hidden)
            )
        return answer["result"]

    def _answer(
        self, method: str, params: Mapping[str, Any], key: str | None, deadline: Deadline
    ) -> dict[str, Any]:
        channel = self._running(deadline)
        if method not in self._methods:
            raise unsupported(method, self, key)
        answer = channel.ask(method, params, deadline)
        self._words.know(texts_of(answer.get("result")) if method.startswith("get_") else ())
        channel.finish(answer["id"])
        self._failures = 0
        return answer

    def _knows(self, method: str) -> bool:
        deadline = Deadline(self._timeout)
        self._within(lambda: self._running(deadline), method, None)
        return method in self._methods

    def _within(self, call: Callable[[], Any], method: str, key: str | None) -> Any:
        about = f"exec: {method}" + (f" {show_key(key)}" if key is not None else "")
        program = show_key(self._command[0])
        try:
            return call()
        except DeadlineExceededError:
            reason = f"the program {program} did not answer within {self._timeout:g} s"
            hint = "see the logger strongroom.exec for what it says; a longer `timeout` may help"
        except ProgramEndedError as error:
            reason = f"the program {program} is gone: {error}"
            hint = (
                "call again: it is started again after a pause; the logger strongroom.exec has what it said"
            )
        raise BackendUnavailableError(f"{about}: {reason}", key=key, provider=self.type_name, hint=hint)

    def _running(self, deadline: Deadline) -> Channel:
        """Return the program's channel; start the program if it is not running."""
        channel = self._channel
        if channel is not None and channel.ended is None:
            return channel
        with held_within(self._lock, deadline.remaining()) as held:
            if not held:
                raise DeadlineExceededError
            channel = self._channel
            if channel is not None and channel.ended is not None:
                self._channel = None
                self._fail()
                channel = None
            return self._started(deadline) if channel is None else channel

    def _started(self, deadline: Deadline) -> Channel:
        wait = self._not_before - time.monotonic()
        if wait > 0:
            if not deadline.allows(wait):
                raise ProgramEndedError(
                    f"it failed {self._failures} times; the next start is in {wait:.1f} s"
                )
            self._pause(wait)
        program = start_program(self._command, provider=self.type_name, folder=self._folder)
        try:
            channel = Channel(program, self._words)
        except RuntimeError as error:  # the interpreter is on its way out, or the machine has no more threads
            end_program(program)
            raise ProgramEndedError(str(error)) from None
        try:
            answer = channel.ask("capabilities", {}, deadline)
            channel.finish(answer["id"])
            self._methods = _FOUR | _methods_of(answer.get("result"))
        except BaseException as error:
            channel.end("it did not say what it can")
            if isinstance(error, (DeadlineExceededError, ProgramEndedError)):
                self._fail()
            raise
        self._channel = channel
        return channel

    def _fail(self) -> None:
        """Delay the next start, longer each time until a request is answered again."""
        pause = min(_FIRST_PAUSE * 2 ** min(self._failures, _MOST_DOUBLINGS), _LONGEST_PAUSE)
        self._failures += 1
        self._not_before = time.monotonic() + pause

    # --- looking at what came ---

    def _nonsense(self, method: str, wanted: str, key: str | None = None) -> StrongroomError:
        return BackendUnavailableError(
            f"exec: {method}: the program's answer is not {wanted}",
            key=key,
            provider=self.type_name,
            hint="`strongroom plugins kit-exec` tests a program",
        )

    def _value(self, value: Any, method: str, key: str) -> str:
        if not isinstance(value, str):
            raise self._nonsense(method, "text", key)
        if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            raise ValidationError(
                f"exec: the value of {show_key(key)} is not Unicode text",
                key=key,
                provider=self.type_name,
                hint="let the program give binary data as base64 text",
            )
        return value

    def _id(self, found: Any, method: str, key: str) -> str:
        if not isinstance(found, str) or not found:
            raise self._nonsense(method, "a version, which is text", key)
        return found

    def _version(self, found: Mapping[str, Any], method: str, key: str) -> str:
        return self._id(found.get("version"), method, key)

    def _state(self, found: Mapping[str, Any], key: str) -> VersionState:
        state = found.get("state")
        if state not in get_args(VersionState):
            raise self._nonsense("list_versions", "a list of objects with a state each", key)
        return cast("VersionState", state)

    def _time(self, found: Mapping[str, Any], name: str, method: str, key: str) -> datetime | None:
        text = found.get(name)
        if text is None:
            return None
        try:
            time = datetime.fromisoformat(text)
            if time.tzinfo is not None:
                return time.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):  # the last of a time before the year 1 in UTC
            pass
        raise self._nonsense(method, f"with {name} as RFC 3339 has it, such as 2026-01-31T12:00:00Z", key)


def _methods_of(capabilities: Any) -> frozenset[str]:
    """Return the methods beside the four that a program declares, by name or by capability."""
    if isinstance(capabilities, Mapping):
        lists = [one for name, one in capabilities.items() if name in {"capabilities", "methods"}]
        listed = [name for names in lists if isinstance(names, (list, dict)) for name in names]
        capabilities = [*listed, *(name for name, has in capabilities.items() if has is True)]
    names = [one for one in capabilities if isinstance(one, str)] if isinstance(capabilities, list) else []
    found = {method for name in names for method in _METHODS.get(name, (name,))}
    return frozenset(found & _OPTIONAL)


def _is_key(key: str) -> bool:
    try:
        check_key(key)
    except InvalidKeyError:
        return False
    return True
