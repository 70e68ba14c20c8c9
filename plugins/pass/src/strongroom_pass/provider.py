"""The provider for password stores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from strongroom.clients import redact_message
from strongroom.deadlines import check_limits
from strongroom.errors import (
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    ValidationError,
    show_key,
)
from strongroom.keys import check_key, check_keys, check_prefix, check_value, visible_keys
from strongroom.parallel import present_in_parallel
from strongroom.providers import BaseProvider, SecretMetadata, expect_version
from strongroom.providers.files import file_error, file_version, folder_locked, replace_file, written_at

from strongroom_pass.names import key_of, name_of
from strongroom_pass.program import RENEW_HINT, TYPE_NAME, PassProgram, damaged

__all__ = ["PassSecretProvider"]

_ENDINGS: Final = (".gpg", ".age")
_PARALLEL: Final = 8


class PassSecretProvider(BaseProvider):
    """Secrets in a password store, by `pass` or `gopass`; the first line of an entry, or the whole of it.

    Args:
        path: The store; else PASSWORD_STORE_DIR, else `~/.password-store`.
        program: `pass` or `gopass`, by name or path; else the first of them that is there.
        whole: The secret is the whole entry, not only its first line. Without it the other lines
            of an entry stay as they are when its secret is written.
        timeout: Seconds that one run of the program may take.

    Raises:
        ConfigurationError: `path` is empty, or `timeout` is not more than 0.
    """

    type_name = TYPE_NAME

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        program: str | None = None,
        whole: bool = False,
        timeout: float = 10.0,
    ) -> None:
        check_limits(self.type_name, counts={}, timeout=timeout)
        if path == "":
            raise ConfigurationError(
                "pass: the path is empty", provider=self.type_name, hint="name the store, or leave `path` out"
            )
        self._path = None if path is None else Path(path).expanduser().absolute()
        self._pass = PassProgram(self._path, program, timeout)
        self._program = program
        self._whole = bool(whole)
        self._timeout = timeout

    def address(self) -> dict[str, str | bool | None]:
        """Return what decides which secret is meant."""
        return {"path": str(self._pass.store()), "program": self._program, "whole": self._whole}

    def get_secret(self, key: str) -> str:
        """Return the first line of an entry, or the whole of it.

        Raises:
            ValidationError: It is not text.
            TamperedError: Its file is damaged, or was changed.
        """
        text = self._text(check_key(key))
        return text if self._whole else text.partition("\n")[0]

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        return present_in_parallel(self.get_secret, check_keys(keys), _PARALLEL)

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        return visible_keys((key_of(name) for name in self._names()), prefix)

    def describe_secret(self, key: str) -> SecretMetadata:
        """Return a version, that of the file of the entry, which any write changes."""
        with self._files("read"):
            status = self._entry(check_key(key)).stat()
        return SecretMetadata(key, file_version(status), None, written_at(status))

    def set_secret(self, key: str, value: str) -> None:
        self._checked(value, check_key(key))
        with self._writing():
            self._write(key, value)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        """Write if the entry has `expected_version`; programs other than strongroom are not locked out."""
        self._checked(value, check_key(key))
        with self._writing():
            found = self._file(key)
            current = file_version(found.stat()) if found is not None else None
            expect_version(self.type_name, key, current, expected_version)
            self._write(key, value)
            return file_version(self._entry(key).stat())

    def check_new_value(self, key: str, old: str, new: str) -> None:  # noqa: ARG002  # core's signature
        """Raise if `new` cannot be written, before a rotation changes anything else.

        Raises:
            ValidationError: It has several lines, and the secret is the first.
        """
        self._checked(new, check_key(key))

    def delete_secret(self, key: str) -> None:
        check_key(key)
        self._entry(key)
        with self._writing():
            self._entry(key)
            self._pass.run(["rm", "--force", name_of(key)], "delete", key)

    def diagnose(self) -> dict[str, str]:
        """Return the facts for `strongroom doctor`.

        Raises:
            ConfigurationError: There is no store, or no program that could open it.
        """
        with self._files("read"):
            marks = (self._pass.store() / name for name in (".gpg-id", ".age-recipients"))
            if not any(mark.exists() for mark in marks):
                raise self._pass.no_store()
        keys = self.list_secrets()
        if keys:  # opened as a reader would: with the program, and the user's key
            self.get_secret(keys[0])
        elif shutil.which(self._pass.name()) is None:
            raise ConfigurationError(
                f"pass: there is no program {self._pass.name()}",
                provider=self.type_name,
                hint="install it, or give its whole path",
            )
        else:
            self._pass.usable("try", "the program")
        return {
            "store": str(self._pass.store()),
            "program": self._pass.name(),
            "decrypts": "yes" if keys else "not tried: there is nothing in it",
            **self._recipients(),
            "can_list": f"yes, {len(keys)} keys",
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'' if self._path is None else str(self._path)!r}>"

    def _recipients(self) -> dict[str, str]:
        """Encrypt an empty text for the keys of each `.gpg-id`, as a write would; return the number of keys.

        Raises:
            ConfigurationError: One of them cannot be encrypted for, or a file names none.
        """
        if Path(self._pass.name()).name != "pass":
            return {}
        recipients: set[str] = set()
        for path in sorted(self._pass.store().rglob(".gpg-id")):
            try:
                lines = path.read_text(errors="replace").splitlines()
            except OSError as error:
                raise file_error(error, f"read {path}", provider=self.type_name) from None
            keys = os.environ.get("PASSWORD_STORE_KEY", "").split()
            keys = keys or [key for line in lines if (key := line.partition("#")[0].strip())]
            self._try_keys(str(path.relative_to(self._pass.store())), keys)
            recipients.update(keys)
        return (
            {"encrypts": f"for {len(recipients)} {'key' if len(recipients) == 1 else 'keys'}"}
            if recipients
            else {}
        )

    def _try_keys(self, name: str, keys: list[str]) -> None:
        reason, hint = "it names no key", "`pass init KEY` writes it"
        if keys:
            command = ["gpg2" if shutil.which("gpg2") else "gpg", "--batch", "--quiet", "--no-encrypt-to"]
            command += os.environ.get("PASSWORD_STORE_GPG_OPTS", "").split()
            command += [word for key in keys for word in ("--recipient", key)]
            ended = self._pass.ended([*command, "--encrypt"], "encrypt for", name)
            if ended.code == 0:
                return
            reason, hint = redact_message(ended.err.decode(errors="replace")), RENEW_HINT
        raise ConfigurationError(f"pass: {name}: {reason}", provider=self.type_name, hint=hint)

    # --- the store ---

    def _names(self) -> Iterator[str]:
        store = self._pass.store()
        if not store.is_dir():
            raise self._pass.no_store()
        # For each folder: those from which links led there, and itself at the end, all without links.
        ways: dict[str, tuple[Path, ...]] = {str(store): (Path(os.path.realpath(store)),)}
        try:
            for folder, inside, files in os.walk(store, onerror=_unread, followlinks=True):
                ways |= _further(folder, inside, ways.pop(folder))
                inside[:] = [name for name in inside if os.path.join(folder, name) in ways]  # noqa: PTH118  # as below
                at = os.path.relpath(folder, store)
                for name in files:
                    stem, ending = os.path.splitext(name)  # noqa: PTH122  # paths are made per entry
                    if ending in _ENDINGS and not name.startswith("."):
                        yield stem if at == "." else f"{at}/{stem}"
        except OSError as error:
            failed = file_error(error, f"list {store}", provider=self.type_name)
        else:
            return
        raise failed

    def _file(self, key: str) -> Path | None:
        """Return the file of an entry: `pass show` of a folder prints a tree, and ends well."""
        name = name_of(key)
        try:
            for ending in _ENDINGS:
                file = self._pass.store() / f"{name}{ending}"
                if file.is_file():
                    return file
        except OSError as error:
            failed = file_error(error, f"look for {show_key(key)}", provider=self.type_name, key=key)
        else:
            return None
        raise failed

    def _entry(self, key: str) -> Path:
        file = self._file(key)
        if file is None and not self._pass.store().is_dir():
            raise self._pass.no_store()
        if file is None:
            raise SecretNotFoundError(key, provider=self.type_name)
        return file

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._files("write to"):
            if not self._pass.store().is_dir():
                raise self._pass.no_store()
            with folder_locked(self._pass.store(), seconds=self._timeout, provider=self.type_name):
                yield

    @contextmanager
    def _files(self, doing: str) -> Iterator[None]:
        """Raise strongroom's errors for the operating system's errors about the store."""
        try:
            yield
        except StrongroomError:
            raise  # some of which are the operating system's for Python as well
        except OSError as error:
            failed = file_error(error, f"{doing} {self._pass.store()}", provider=self.type_name)
        else:
            return
        raise failed

    def _checked(self, value: str, key: str) -> None:
        if "\n" in check_value(value, key) and not self._whole:
            raise ValidationError(
                f"pass: the value for {show_key(key)} has several lines, and the secret is the first",
                key=key,
                provider=self.type_name,
                hint="set `whole: true`, with which the whole of an entry is the secret",
            )

    def _write(self, key: str, value: str) -> None:
        rest = ""
        if not self._whole:
            rest = "\n"
            if self._file(key) is not None:
                rest = "\n" + self._shown(key).partition("\n")[2]
        entry = f"{value}{rest}"
        words = [self._pass.usable("write", key), "insert", "--multiline", "--force", name_of(key)]
        before, ended = self._bytes(key), None
        try:
            ended = self._pass.ended(words, "write", key, entry)
        finally:  # even if it was interrupted, or killed at its deadline
            if ended is None or ended.code != 0:
                self._put_back(key, before, None if ended is None else entry)
        if ended.code != 0:
            raise self._pass.error(ended, "write", key, entry)

    def _bytes(self, key: str) -> bytes | None:
        file = self._file(key)
        try:
            return None if file is None else file.read_bytes()
        except OSError as error:
            failed = file_error(error, f"read {file}", provider=self.type_name, key=key)
        raise failed

    def _put_back(self, key: str, before: bytes | None, given: str | None) -> None:
        """Restore the file of an entry after a failed write, as the program writes it in place.

        On a disk that is full it has emptied the file before it can write nothing. An entry that now holds
        `given` stays: what failed came afterwards, such as the commit to git.
        """
        with suppress(OSError, StrongroomError):
            if self._bytes(key) == before:
                return
            with suppress(StrongroomError):
                if given is not None and self._shown(key) == given:
                    return
            file = self._entry(key)
            if before is None:
                file.unlink()
                return
            try:
                replace_file(file, before)
            except OSError:  # no space for a second one: in the place of what was begun
                with file.open("r+b") as opened:
                    opened.write(before)
                    opened.truncate()

    def _text(self, key: str) -> str:
        """Return an entry; a damaged one is read again without writers, as `pass` writes in place."""
        try:
            return self._shown(key)
        except TamperedError:
            pass
        with self._writing():
            return self._shown(key)

    def _shown(self, key: str) -> str:
        self._entry(key)
        out = self._pass.run(["show", name_of(key)], "read", key).out or self._empty(key)
        try:
            return out.decode()
        except UnicodeDecodeError:
            pass  # its `object` is the value: raised below, where it is no longer the context
        raise ValidationError(
            f"pass: {show_key(key)} is not text in UTF-8",
            key=key,
            provider=self.type_name,
            hint="store binary data as base64 text",
        )

    def _empty(self, key: str) -> bytes:
        """Return the text of an entry that seems empty: gpg does not report a file that was cut off."""
        if Path(self._pass.name()).name != "pass":
            return b""
        options = f"{os.environ.get('PASSWORD_STORE_GPG_OPTS', '')} --status-fd=2"
        variables = {"PASSWORD_STORE_GPG_OPTS": options}
        ended = self._pass.run(["show", name_of(key)], "read", key, variables=variables)
        if b"DECRYPTION_OKAY" not in ended.err:
            raise damaged(key, "its file is cut off")
        return ended.out


def _further(folder: str, names: list[str], way: tuple[Path, ...]) -> dict[str, tuple[Path, ...]]:
    """Return the ways to the folders to look into: none that is hidden, and no link back."""
    ways: dict[str, tuple[Path, ...]] = {}
    for name in names:
        path = os.path.join(folder, name)  # noqa: PTH118  # paths are made per folder
        if name.startswith("."):
            continue
        if not os.path.islink(path):  # noqa: PTH114  # as above
            ways[path] = (*way[:-1], way[-1] / name)
        elif not any(one.is_relative_to(os.path.realpath(path)) for one in way):
            ways[path] = (*way, Path(os.path.realpath(path)))
    return ways


def _unread(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # as a folder is that somebody has just emptied
        raise error
