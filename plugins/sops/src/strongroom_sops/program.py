"""Runs the program sops for one file, and makes strongroom's errors of its messages."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from strongroom.clients import redact_message
from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    StrongroomError,
    TamperedError,
)
from strongroom.providers.files import file_error, version_of
from strongroom.providers.programs import Ended, environment_for_programs, run_program

from strongroom_sops.refusals import why_locked

__all__ = ["TYPE_NAME", "SopsProgram"]

TYPE_NAME: Final = "sops"
_KEYS: Final = frozenset({111, 128})
_TAMPERED: Final = frozenset({24, 25, 51, 52})
_SETUP: Final = frozenset({5, 61})
"""Exit codes of sops: no key opens the file; it was changed without sops; no rule says for whom it is."""
_OF_THE_DISK: Final = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES)
_RULES: Final = (
    "no matching creation rules",
    "no creation rules",
    "error loading config",
    "failed to parse input, unknown recipient type",
    "malformed recipient",
    "Could not generate data key",
    "key configuration: ",
)
"""Messages of sops, with exit code 1, about rules that it cannot read and recipients that it cannot use."""


class SopsProgram:
    """The program, for one file.

    Args:
        path: The file.
        file_format: Its format, as sops calls it.
        program: A name in PATH, or a path.
        environment: Variables that it gets beside those of this process.
        timeout: Seconds that one run may take.
    """

    def __init__(
        self, path: Path, file_format: str, *, program: str, environment: Mapping[str, str], timeout: float
    ) -> None:
        self._path, self._format = path, file_format
        self._program, self._environment, self._timeout = program, dict(environment), timeout

    def run(
        self,
        words: Sequence[str],
        doing: str,
        key: str | None = None,
        given: bytes = b"",
        values: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run sops, and return the result of a run without an error.

        Args:
            words: Its arguments.
            doing: The operation, as a verb for the message.
            key: The secret that it is about.
            given: Its standard input.
            values: Values that must not be in a message.

        Raises:
            StrongroomError: It failed, or did not end in time.
        """
        try:
            ended = run_program(
                [self._program, *words],
                Deadline(self._timeout),
                provider=TYPE_NAME,
                given=given,
                environment=environment_for_programs(
                    {"SOPS_DISABLE_VERSION_CHECK": "1", **self._environment}
                ),
                # The folder itself is made by the first write.
                folder=next((one for one in self._path.parents if one.is_dir()), None),
            )
        except DeadlineExceededError:
            ended = None
        if ended is None:
            raise self.late(f"{doing}: it did not end within {self._timeout:g} s")
        if ended.code == 0:
            return ended
        raise self._error(ended, doing, key, (values or {}).values())

    def _error(self, ended: Ended, doing: str, key: str | None, hidden: Iterable[str]) -> StrongroomError:
        message = ended.err.decode(errors="replace")
        about = f"sops: {doing} {self._path}"
        if ended.code in _KEYS:
            hint = "give it the key, as by SOPS_AGE_KEY_FILE, or have yourself added: `sops updatekeys`"
            if version_of(self._path, provider=TYPE_NAME) is None:
                # This was to be the file: nobody else is asked.
                hint = "add your own recipient to .sops.yaml or SOPS_AGE_RECIPIENTS, or give it the key"
            return AuthenticationError(
                f"{about}: {why_locked(message)}", key=key, provider=TYPE_NAME, hint=hint
            )
        if ended.code in _TAMPERED:
            hint = (
                "it was edited without sops: put back what was there, or decrypt it with --ignore-mac to look"
            )
            return TamperedError(f"{about}: it was changed behind sops' back", provider=TYPE_NAME, hint=hint)
        if "metadata not found" in message:
            return self._without_metadata(about)
        wrong = self._wrong(ended.code, message, hidden)
        if wrong is not None:
            what, hint = wrong
            return ConfigurationError(f"{about}: {what}", provider=TYPE_NAME, hint=hint)
        for number in _OF_THE_DISK:
            if doing != "decrypt" and os.strerror(number).lower() in message.lower():
                error = OSError(number, os.strerror(number))
                return file_error(error, about.removeprefix("sops: "), provider=TYPE_NAME, key=key)
        how = f"exit code {ended.code}" if ended.code > 0 else f"signal {-ended.code}"
        # What it says of a file that it cannot read may quote it.
        return BackendUnavailableError(
            f"{about}: it ended with {how}",
            key=key,
            provider=TYPE_NAME,
            hint="run it yourself: sops decrypt",
        )

    def _without_metadata(self, about: str) -> StrongroomError:
        """Return the error for a file without the metadata that sops adds."""
        try:
            there = self._path.read_bytes()
        except OSError:  # it went away meanwhile
            there = b""
        if b"ENC[AES256_GCM," in there:
            # To encrypt it, as is right for a plain file, would encrypt its ciphertext once more.
            what, hint = "it is cut off, or its part `sops` was removed", "restore a copy of it"
            return TamperedError(f"{about}: {what}", provider=TYPE_NAME, hint=hint)
        if there.strip():
            what, hint = (
                "it is not encrypted by sops",
                f"encrypt it: sops encrypt --in-place {self._path.name}",
            )
        else:
            what = "it is empty"
            hint = "remove it, so that the first write makes it again, or restore a copy of it"
        return ConfigurationError(f"{about}: {what}", provider=TYPE_NAME, hint=hint)

    def _wrong(self, code: int, said: str, hidden: Iterable[str]) -> tuple[str, str] | None:
        """Return the problem with file, rules or program, and what to do; None if it is another one."""
        if "rror unmarshalling input" in said or "invalid dotenv input" in said:  # what follows may quote it
            kind = {"yaml": "YAML", "json": "JSON"}.get(self._format, ".env")
            return f"it is not a {kind} file that sops can read", "repair it, or restore a copy of it"
        if "unsupported value" in said:
            return (
                "it has .inf or .nan for a value, which sops does not give as JSON",
                "quote it: `sops edit`",
            )
        if code in _SETUP or any(one in said for one in _RULES):
            hint = "say in .sops.yaml, or in SOPS_AGE_RECIPIENTS, for whom it is encrypted"
            return redact_message(said, *hidden), hint
        if "value-stdin" in said or "No help topic" in said:
            return (
                "this sops is too old",
                "install sops 3.11 or newer, which takes values on its standard input",
            )
        return None

    def late(self, what: str) -> BackendUnavailableError:
        """Return the error for a run that did not end in time."""
        return BackendUnavailableError(f"sops: {what}", provider=TYPE_NAME, hint="call again")
