"""Runs the program of a password store, `pass` or `gopass`, and makes strongroom's errors of its messages."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from strongroom.clients import redact_message
from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    show_key,
)
from strongroom.providers.files import file_error
from strongroom.providers.programs import Ended, environment_for_programs, run_program

__all__ = ["RENEW_HINT", "TYPE_NAME", "PassProgram", "damaged"]

TYPE_NAME: Final = "pass"
_PROGRAMS: Final = ("pass", "gopass")
_UNUSABLE: Final = (
    "nusable public key",
    "No public key",
    ": skipped: ",  # a recipient, and why; the reason depends on what gpg's look-up on the network met
    "no assurance this key belongs",
)
RENEW_HINT: Final = (
    "a key of .gpg-id is expired, absent or not trusted: see `gpg --list-keys`, then "
    "`gpg --quick-set-expire KEY 1y`, import or sign it, or `pass init` with another one"
)
_DAMAGED: Final = (
    "has been manipulated",
    "no valid OpenPGP data",
    "decrypt_message failed",
    "nvalid packet",
    "length invalid",
    "unknown version",
    "Checksum error",
)
_OF_THE_DISK: Final = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES)
_BY_HAND: Final = {"write": "insert --multiline", "delete": "rm"}
_NO_KEY: Final = ("No secret key", "decryption failed", "No pinentry", "Inappropriate ioctl", "cancelled")


class PassProgram:
    """The program, for one store.

    Args:
        path: The store; None for that of the environment.
        program: By name or path; None for the first of `pass` and `gopass` that is there.
        timeout: Seconds that one run may take.
    """

    def __init__(self, path: Path | None, program: str | None, timeout: float) -> None:
        self._path, self._program, self._timeout = path, program, timeout
        self._tried: str | None = None

    def store(self) -> Path:
        """Return the folder of the store."""
        if self._path is not None:
            return self._path
        folder = os.environ.get("PASSWORD_STORE_DIR")
        return Path(folder).absolute() if folder else Path(os.path.expanduser("~/.password-store"))  # noqa: PTH111  # a user without a home is left as it is

    def no_store(self) -> ConfigurationError:
        """Return the error for a folder that is not a password store."""
        return ConfigurationError(
            f"pass: {self.store()} is not a password store",
            provider=TYPE_NAME,
            hint="make it with `pass init KEY`, or correct path",
        )

    def name(self) -> str:
        """Return the program by name or path.

        Raises:
            ConfigurationError: None is installed.
        """
        if self._program is not None:
            return self._program
        for name in _PROGRAMS:
            if shutil.which(name):
                return name
        raise ConfigurationError(
            "pass: neither pass nor gopass is installed",
            provider=TYPE_NAME,
            hint="install one of them, or name it by `program`",
        )

    def run(
        self,
        words: list[str],
        doing: str,
        key: str,
        given: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run the command of these `words`, and return the result of a run without an error.

        Args:
            words: The arguments.
            doing: The operation, as a verb for the message.
            key: The secret that it is about.
            given: Its standard input, which no message shows.
            variables: More of its environment.

        Raises:
            StrongroomError: It failed, or did not end in time.
        """
        ended = self.ended([self.usable(doing, key), *words], doing, key, given, variables)
        if ended.code == 0:
            return ended
        raise self.error(ended, doing, key, given)

    def usable(self, doing: str, key: str) -> str:
        """Return the program, after checking that its commands are those of `pass`.

        Debian's package gopass is another program: it opens an editor for a value of several lines, and says
        that it has stored it where it stored an empty one for want of a terminal.

        Raises:
            ConfigurationError: They are not.
        """
        program = self.name()
        if Path(program).name.startswith("gopass") and program != self._tried:
            if self.ended([program, "--version"], doing, key).code != 0:
                raise ConfigurationError(
                    f"pass: {show_key(program)} is another program of the name gopass",
                    provider=TYPE_NAME,
                    hint="install pass, or the gopass of gopass.pw; Debian's package gopass is another one",
                )
            self._tried = program
        return program

    def ended(
        self,
        command: list[str],
        doing: str,
        key: str,
        given: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run `command` as `run` does, and return the result, even of a failed run.

        Raises:
            BackendUnavailableError: It did not end in time.
        """
        try:
            ended = run_program(
                command,
                Deadline(self._timeout),
                provider=TYPE_NAME,
                given=given.encode(),
                # gopass reads the same variable, and neither is to ask anybody. What they and gpg say is
                # compared, and so is to be in English.
                environment=environment_for_programs(
                    {
                        "LANGUAGE": "C",
                        "LC_MESSAGES": "C",
                        "PASSWORD_STORE_DIR": str(self.store()),
                        "GOPASS_NO_NOTIFY": "true",
                        **(variables or {}),
                    }
                ),
            )
        except DeadlineExceededError:
            ended = None
        if ended is None:
            raise BackendUnavailableError(
                f"pass: {doing} {show_key(key)}: it did not end within {self._timeout:g} s",
                key=key,
                provider=TYPE_NAME,
                hint="it may wait for a passphrase: unlock the key first, by `pass show` in a terminal",
            )
        return ended

    def _of_the_file(self, reason: str, doing: str, key: str) -> StrongroomError | None:
        """Return the problem of the file of an entry, or of its disk; None if it is another one."""
        if doing == "read":
            return damaged(key, reason) if any(one in reason for one in _DAMAGED) else None
        for number in _OF_THE_DISK:
            if os.strerror(number) in reason:
                error = OSError(number, os.strerror(number))
                return file_error(error, f"{doing} {show_key(key)}", provider=TYPE_NAME, key=key)
        return None

    def error(self, ended: Ended, doing: str, key: str, given: str) -> StrongroomError:
        """Return the error for a failed run."""
        # The whole of what was written, and each line of it.
        reason = redact_message(ended.err.decode(errors="replace"), given, *given.splitlines())
        about = f"pass: {doing} {show_key(key)}: "
        if (of_the_file := self._of_the_file(reason, doing, key)) is not None:
            return of_the_file
        if any(one in reason for one in _NO_KEY):
            hint = "unlock or import the key of the store: gpg --list-secret-keys shows those that are there"
            return AuthenticationError(f"{about}{reason}", key=key, provider=TYPE_NAME, hint=hint)
        if any(one in reason for one in _UNUSABLE):
            return ConfigurationError(
                f"{about}{reason}",
                key=key,
                provider=TYPE_NAME,
                hint=RENEW_HINT,
            )
        if "You must run" in reason or "not initialized" in reason:
            return self.no_store()
        if "is not in the password store" in reason:  # it went away meanwhile
            return SecretNotFoundError(key, provider=TYPE_NAME)
        how = f"exit code {ended.code}" if ended.code > 0 else f"signal {-ended.code}"
        return BackendUnavailableError(
            f"{about}{reason or how}",
            key=key,
            provider=TYPE_NAME,
            hint=f"run it yourself: pass {_BY_HAND.get(doing, 'show')} {key}",
        )


def damaged(key: str, reason: str) -> TamperedError:
    """Return the error for an entry whose file was cut off or changed."""
    return TamperedError(
        f"pass: the entry of {show_key(key)} is damaged, or was changed: {reason}",
        key=key,
        provider=TYPE_NAME,
        hint="restore a copy of its file, as from git, or set it again",
    )
