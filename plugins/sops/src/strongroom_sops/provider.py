"""The provider for sops files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Final, NamedTuple

from strongroom.deadlines import check_limits
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    ValidationError,
    show_key,
)
from strongroom.keys import check_key, check_keys, check_prefix, check_value, visible_keys
from strongroom.parallel import SingleEntryLock, renew_after_fork
from strongroom.providers import BaseProvider, SecretMetadata, expect_version
from strongroom.providers.files import (
    file_error,
    file_version,
    folder_locked,
    replace_file,
    status_of,
    version_of,
)

from strongroom_sops import tree
from strongroom_sops.encrypted_file import documents, encrypted_members, member_at
from strongroom_sops.program import TYPE_NAME, SopsProgram
from strongroom_sops.refusals import differing_recipients
from strongroom_sops.tree import Tree, argument_of

__all__ = ["SopsSecretProvider"]

_FORMATS: Final = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".env": "dotenv"}
_KEY_VARIABLE: Final = "SOPS_AGE_KEY"
_ATTEMPTS: Final = 5
"""How often a write is tried again after another program has written."""


class _State(NamedTuple):
    """The file as it was read."""

    version: str | None
    data: bytes
    tree: Tree


class SopsSecretProvider(BaseProvider):
    """Secrets in a sops file, read and written by the program `sops`; `/` descends in it.

    What was decrypted is kept in this process while the file stays as it is.

    Args:
        path: The file: .yaml, .yml, .json or .env. The first write makes it, for whom `.sops.yaml` or the
            variables of sops say.
        sops: The program: a name in PATH, or its path. Writing needs sops 3.11 or newer.
        environment: Variables that it gets beside those of this process.
        timeout: Seconds that one run of it may take.

    Raises:
        ConfigurationError: The file's name has another end, or an option makes no sense.
    """

    type_name = TYPE_NAME

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sops: str = "sops",
        environment: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        check_limits(self.type_name, counts={}, timeout=timeout)
        self._path = Path(path).expanduser().absolute()
        file_format = _FORMATS.get(self._path.suffix.lower())
        # `.env` itself has no ending for pathlib.
        file_format = "dotenv" if self._path.name == ".env" else file_format
        if file_format is None:
            raise ConfigurationError(
                f"sops: {show_key(self._path.name)} is not one of .yaml, .yml, .json and .env",
                provider=self.type_name,
                hint="give the file one of these endings, which say its format",
            )
        self._format = file_format
        self._timeout = timeout
        self._sops = SopsProgram(
            self._path, file_format, program=sops, environment=environment or {}, timeout=timeout
        )
        self._state: _State | None = None
        self._begin_again()
        renew_after_fork(self, SopsSecretProvider._begin_again)

    def _begin_again(self) -> None:
        self._lock = SingleEntryLock(f"the file {self._path}")

    def address(self) -> dict[str, str]:
        """Return what decides which secret is meant."""
        return {"path": str(self._path)}

    def variables(self) -> list[str]:
        """Return the names of variables that hold a private key; `run` hands none of them over."""
        return [_KEY_VARIABLE]

    def absent(self) -> str | None:
        """Return, in words, that there is no file yet; None where there is one."""
        return None if os.path.lexists(self._path) else f"there is no file {self._path}"

    def get_secret(self, key: str) -> str:
        """Return the text of `key`; numbers as they are written, and `true` or `false`.

        Raises:
            ValidationError: It is null.
        """
        check_key(key)
        return self._value(self._read().tree, key)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = check_keys(keys)
        found = self._read().tree
        return {key: self._value(found, key) for key in asked if key in found.paths}

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        return visible_keys(self._read().tree.paths, prefix)

    def describe_secret(self, key: str) -> SecretMetadata:
        """Return a version, which changes as sops encrypts another value; the file tells no dates of it.

        Raises:
            SecretNotFoundError: There is none.
        """
        check_key(key)
        state = self._read()
        if key not in state.tree.paths:
            raise SecretNotFoundError(key, provider=self.type_name)
        return SecretMetadata(key, self._version(state, key))

    def set_secret(self, key: str, value: str) -> None:
        self.set_secrets({key: value})

    def set_secrets(self, values: Mapping[str, str]) -> None:
        """Write all of `values`, with one replacement of the file."""
        checked = {check_key(key): check_value(value, key) for key, value in values.items()}
        if checked:
            self._change(lambda _: None, checked, ())

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        check_value(value, check_key(key))

        def expect(state: _State) -> None:
            there = self._version(state, key) if key in state.tree.paths else None
            expect_version(self.type_name, key, there, expected_version)

        return self._version(self._change(expect, {key: value}, ()), key)

    def delete_secret(self, key: str) -> None:
        """Delete `key`, and the mapping or list that held nothing else.

        Raises:
            ValidationError: It is a member of a list and not the last: the others' keys would change.
        """
        check_key(key)

        def expect(state: _State) -> None:
            if key not in state.tree.paths:
                raise SecretNotFoundError(key, provider=self.type_name)
            if any(map(state.tree.is_followed, state.tree.paths[key])):
                raise ValidationError(
                    f"sops: {show_key(key)} is followed by others in its list, which would get its place",
                    key=key,
                    provider=self.type_name,
                    hint="delete the last of the list first, or remove it with `sops edit`",
                )

        self._change(expect, {}, (key,))

    def close(self) -> None:
        """Forget the decrypted values; the next call decrypts the file again."""
        self._state = None

    def diagnose(self) -> dict[str, str]:
        """Return the facts for `strongroom doctor`."""
        if status_of(self._path) is None:
            self._try_rules()
            return {
                "file": f"{self._path} is not there; the first write makes it",
                "trial": "encrypts and decrypts",
            }
        count = len(self.list_secrets())
        facts = {"file": str(self._path), "decrypts": f"yes, {count} keys"}
        return {**facts, **self._unencrypted(), **self._recipients()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self._path)!r}>"

    def _try_rules(self) -> None:
        """Encrypt and decrypt a test value by the rules of the first write, without writing a file."""
        trial = self._encrypted_anew(self._tree({}), {"trial": "trial"})
        self._sops.run(["decrypt", "--input-type", self._format, "--output-type", "json"], "try", given=trial)

    def _unencrypted(self) -> dict[str, str]:
        """Return how many values the file holds readable; nothing where there are none.

        The rules of a file are those of `.sops.yaml` at the time when it was made: `sops updatekeys` and
        `rotate` leave them as they are. Empty values and null are never encrypted.
        """
        state = self._read()
        encrypted = encrypted_members(state.data, self._format)
        count = sum(
            bool(state.tree.value(key)) and not str(member_at(encrypted, paths[0])).startswith("ENC[")
            for key, paths in state.tree.paths.items()
        )
        if not count:
            return {}
        values = "1 value" if count == 1 else f"{count} values"
        return {"unencrypted": f"{values}, by the rules in the file"}

    def _recipients(self) -> dict[str, str]:
        """Return whether the recipients of the file are those of `.sops.yaml`; nothing without a rule."""
        try:
            # It asks before it writes; the answer is no.
            ended = self._sops.run(["updatekeys", str(self._path)], "compare the recipients of", given=b"n\n")
        except (ConfigurationError, BackendUnavailableError):
            return {}
        added, gone = differing_recipients(ended.out.decode(errors="replace"))
        if not added and not gone:
            return {"recipients": "as in .sops.yaml"}
        return {
            "recipients": f"differ from .sops.yaml ({added} of its cannot open the file, "
            f"{gone} others can): sops updatekeys {self._path.name}"
        }

    # --- reading ---

    def _read(self) -> _State:
        seen = self._seen()
        state = self._state
        if state is not None and state.version == seen:
            return state
        # One thread decrypts, and the others wait for it no longer than it may take.
        if not self._lock.acquire(timeout=self._timeout):
            raise self._sops.late("another thread is decrypting")
        try:
            state = self._state
            if state is None or state.version != self._seen():
                state = self._state = self._loaded()
            return state
        finally:
            self._lock.release()

    def _seen(self) -> str | None:
        return version_of(self._path, provider=self.type_name)

    def _loaded(self) -> _State:
        for _ in range(_ATTEMPTS):
            version = self._seen()
            if version is None:
                return _State(None, b"", self._tree({}))
            try:
                data = self._path.read_bytes()
            except OSError as error:
                failed: StrongroomError = file_error(error, f"read {self._path}", provider=self.type_name)
            else:
                state = _State(version, data, self._decrypted(self._path))
                if self._format == "yaml" and documents(data) > 1:
                    raise self._not_one_mapping()  # of which sops gave the first alone
                if self._seen() == version:  # else somebody wrote it meanwhile
                    return state
                continue
            raise failed
        raise self._sops.late(f"{self._path} is written again and again")

    def _decrypted(self, path: Path) -> Tree:
        words = ["--decrypt", "--input-type", self._format, "--output-type", "json", str(path)]
        ended = self._sops.run(words, "decrypt")
        try:
            root = tree.parsed(ended.out)
        except (ValueError, RecursionError):
            root = None  # its error holds the text: raised below
        if not isinstance(root, Mapping):
            raise self._not_one_mapping()
        return self._tree(root)

    def _tree(self, root: Mapping[str, Any]) -> Tree:
        return Tree(root, is_flat=self._format == "dotenv", is_json=self._format == "json")

    def _not_one_mapping(self) -> ConfigurationError:
        return ConfigurationError(
            f"sops: {self._path} is not one mapping",
            provider=self.type_name,
            hint="several YAML documents, or a list, have no keys: make one mapping of them",
        )

    def _value(self, tree: Tree, key: str) -> str:
        if key not in tree.paths:
            inside = f"{key}/"
            has_members = any(one.startswith(inside) for one in tree.paths)
            hint = f"it has members: ask for one of them, such as {inside}…" if has_members else None
            raise SecretNotFoundError(key, provider=self.type_name, hint=hint)
        value = tree.value(key)
        if value is None:
            raise ValidationError(
                f"sops: {show_key(key)} is null, which is not text",
                key=key,
                provider=self.type_name,
                hint="set it to a text, or delete it",
            )
        return value

    def _version(self, state: _State, key: str) -> str:
        """Return a version of one value: of its ciphertext, which sops keeps while the value is the same."""
        path = state.tree.paths[key][0]
        identity = [list(path), member_at(encrypted_members(state.data, self._format), path)]
        return hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()[:20]

    # --- writing ---

    def _change(
        self, expect: Callable[[_State], object], values: Mapping[str, str], removed: Sequence[str]
    ) -> _State:
        """Write `values`, delete `removed`, and return the new state.

        What another program writes meanwhile is not overwritten: the change begins again on its file.
        `expect` gets the old state, and may raise.
        """
        folder = Path(os.path.realpath(self._path)).parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with folder_locked(folder, seconds=self._timeout, provider=self.type_name):
                for _ in range(_ATTEMPTS):
                    known = self._state
                    is_current = known is not None and known.version == self._seen()
                    state = known if known is not None and is_current else self._loaded()
                    expect(state)
                    written = self._written(state, values, removed, folder)
                    if written is not None:
                        self._state = written
                        return written
        except StrongroomError:
            raise  # some of which are the operating system's for Python as well
        except OSError as error:
            failed = file_error(error, f"write {self._path}", provider=self.type_name)
        else:
            raise self._sops.late(f"{self._path} is written by others again and again")
        raise failed

    def _written(
        self, state: _State, values: Mapping[str, str], removed: Sequence[str], folder: Path
    ) -> _State | None:
        """Return the state after a change; None if another program changed the file meanwhile."""
        suffix = self._path.suffix if self._path.name != ".env" else ".env"
        descriptor, name = mkstemp(prefix=".strongroom-", suffix=suffix, dir=folder)
        work = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(state.data)
            if state.version is None:
                work.write_bytes(self._encrypted_anew(state.tree, values))
            else:
                self._apply(work, state.tree, values, removed)
            after, data = self._decrypted(work), work.read_bytes()
            self._check(state.tree, after, data, values, removed)

            def unchanged(_: object) -> None:
                if self._seen() != state.version:
                    raise _MeanwhileError

            target = Path(os.path.realpath(self._path))
            try:
                status = replace_file(target, data, check=unchanged)
            except _MeanwhileError:
                return None
            return _State(file_version(status), data, after)
        finally:
            with suppress(OSError):
                work.unlink()

    def _apply(self, work: Path, before: Tree, values: Mapping[str, str], removed: Sequence[str]) -> None:
        kind = ["--input-type", self._format, "--output-type", self._format]
        for path, value, key in _steps(before, values):
            argument = self._argument(path, key)
            given = json.dumps(value, ensure_ascii=False).encode()
            self._sops.run(["set", *kind, "--value-stdin", str(work), argument], "write", key, given, values)
        for key in removed:
            for path in before.taken_out(before.paths[key]):
                self._sops.run(["unset", *kind, str(work), self._argument(path, key)], "delete", key)

    def _encrypted_anew(self, before: Tree, values: Mapping[str, str]) -> bytes:
        root: dict[str, Any] = {}
        grown = before
        for key, value in values.items():
            _put(root, grown.path_for(key), value)
            grown = Tree(root, is_flat=before.is_flat, is_json=before.is_json)
        kind = ["--input-type", "json", "--output-type", self._format]
        words = ["encrypt", "--filename-override", str(self._path), *kind]
        given = json.dumps(root, ensure_ascii=False).encode()
        return self._sops.run(words, "write", None, given, values).out

    def _check(
        self, before: Tree, after: Tree, data: bytes, values: Mapping[str, str], removed: Sequence[str]
    ) -> None:
        """Check that the new file holds all values, and all encrypted."""
        encrypted = encrypted_members(data, self._format)
        for key, value in values.items():
            if key not in after.paths or after.value(key) != value:
                raise ValidationError(
                    f"sops: its format {self._format} cannot hold the value for {show_key(key)}",
                    key=key,
                    provider=self.type_name,
                    hint="keep it in a file of another format, or as base64 text",
                )
            found = member_at(encrypted, after.paths[key][0])
            if value and not str(found).startswith("ENC["):
                raise ConfigurationError(
                    f"sops: the rules of {self._path} would leave {show_key(key)} unencrypted",
                    key=key,
                    provider=self.type_name,
                    hint="look at encrypted_regex, unencrypted_suffix and the like in it and in .sops.yaml",
                )
        others = set(before.paths) - set(values) - set(removed)
        if any(key not in after.paths or after.value(key) != before.value(key) for key in others):
            raise ConfigurationError(  # as it would be the next time: no outage
                f"sops: writing {self._path} would have changed other secrets; nothing was written",
                provider=self.type_name,
                hint="write it with sops itself, and see what it does to the other values",
            )

    def _argument(self, path: tree.Path, key: str) -> str:
        try:
            return argument_of(path)
        except ValueError:
            pass
        raise ValidationError(
            f"sops: {show_key(key)} has a name in the file that sops takes in no argument",
            key=key,
            provider=self.type_name,
            hint="rename it with `sops edit`: no brackets, quotes and backslashes",
        )


class _MeanwhileError(Exception):
    pass


def _steps(before: Tree, values: Mapping[str, str]) -> list[tuple[tree.Path, Any, str]]:
    """Return what is to be set: a way, a text or mapping, and a key of it. New branches are set at once."""
    root = json.loads(json.dumps(before.root))
    steps: list[tuple[tree.Path, Any, str]] = []
    branches: dict[str | int, dict[str, Any]] = {}
    grown = before
    for key, value in values.items():
        path = grown.path_for(key)
        is_new = key not in grown.paths
        _put(root, path, value)
        if len(path) > 1 and (path[0] in branches or path[0] not in before.root):
            if path[0] not in branches:
                branches[path[0]] = {}
                steps.append(((path[0],), branches[path[0]], key))
            _put(branches[path[0]], path[1:], value)
        else:
            steps.append((path, value, key))
        if is_new:
            grown = Tree(root, is_flat=before.is_flat, is_json=before.is_json)
    return steps


def _put(root: Any, path: tree.Path, value: str) -> None:
    for name in path[:-1]:
        root = root[name] if isinstance(name, int) else root.setdefault(name, {})
    root[path[-1]] = value
