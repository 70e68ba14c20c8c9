"""`strongroom edit`."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.app import command
from strongroom.cli.child.environment import child_environment
from strongroom.cli.child.secret_files import SecretFiles
from strongroom.cli.child.signals import handled
from strongroom.cli.command_lines import line_about
from strongroom.cli.declared import names
from strongroom.cli.scanning.leased import refuse_writes
from strongroom.errors import (
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    ValidationError,
    show_key,
)
from strongroom.providers import ConditionalWriter, Describer
from strongroom.providers.programs import refuse_lost_codes

if TYPE_CHECKING:
    from strongroom.cli.child.signals import Handler
    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.plan import SecretPlan

_DEFAULT_EDITOR = "vi"


@command("edit")
@click.argument("key", shell_complete=completions.keys)
@click.option("--allow-empty", is_flag=True, help="Let an empty value replace the old one.")
@click.option("--key", "as_key", is_flag=True, help="Treat KEY as a key, never as a declared name.")
def edit_command(settings: GlobalOptions, *, key: str, allow_empty: bool, as_key: bool) -> int | None:
    """Open the value of KEY in an editor, and store what was saved.

    The editor is $VISUAL, else $EDITOR, else vi. It opens a file that only you can read, in memory if the
    system allows it, and the file is removed afterwards. Nothing is stored if the text is unchanged, the
    editor fails, or another value was stored meanwhile (exit 8). A newline that the editor added at the end
    is dropped.

    Example: EDITOR="sed -i s/old/new/" strongroom edit database/password
    """
    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        pipeline = registry.explain(key).pipeline  # refuses a bad key
        key, declared = names.target(registry, key, as_key=as_key, doing="edit")
        settings.check_tenant(registry, key)
        refuse_writes(registry.pipeline_for(key), key)
        whole, version = _current(registry, key)
        old = _shown(whole, key, declared)
        editor = _Editor(registry.environment())
        changed = None
        with suppress(_Ended), handled(editor.handlers()), SecretFiles() as files:
            name = f"value{_suffix(old)}"
            path = Path(files.put({name: old})[name])
            with editor.may_be_ended():
                changed = _edited(editor, path, old, key, allow_empty=allow_empty)
                while changed is not None:
                    try:
                        _store(registry, key, _whole(whole, key, declared, changed), version, whole)
                        break
                    except StrongroomError as error:
                        if not _again(settings, error):
                            raise
                        if isinstance(error, ConflictError):
                            settings.warn("what you save next replaces what was stored meanwhile")
                            whole, version = _current(registry, key)
                    changed = _edited(editor, path, old, key, allow_empty=allow_empty)
    if editor.signal is not None:
        return 128 + editor.signal
    if settings.json:
        output.as_json({"key": key, "pipeline": pipeline, "changed": changed is not None})
    elif changed is None:
        settings.note(f"{show_key(key)} is unchanged, and nothing was stored")
    else:
        settings.note(f"stored {show_key(key)} in {pipeline}")
    return None


class _Ended(KeyboardInterrupt):
    """A signal asked the command to end; as after Ctrl-C, the file with the value is removed on the way."""


class _Editor:
    """Runs the user's editor, and ends with it when a signal asks for that."""

    def __init__(self, credentials: Collection[str]) -> None:
        self._credentials = credentials
        self._process: subprocess.Popen[bytes] | None = None
        self._raises = False
        self.signal: int | None = None
        """The signal that asked for the end."""

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers for the time in which the file exists; an ignored signal stays ignored."""
        ending = (signal.SIGTERM, signal.SIGHUP)
        return {one: self._end for one in ending if signal.getsignal(one) is not signal.SIG_IGN}

    def _end(self, number: int, _: object) -> None:
        self.signal = number
        if self._process is None:
            self._check()
        elif number == signal.SIGTERM:  # a terminal that hangs up tells the editor, too
            self._process.terminate()

    def _check(self) -> None:
        if self._raises and self.signal is not None:
            raise _Ended

    @contextmanager
    def may_be_ended(self) -> Iterator[None]:
        """Let a signal end the block; one that comes while the file is made or removed waits for that."""
        self._raises = True
        try:
            self._check()
            yield
        except click.Abort:  # the question whether to go on takes the signal for a Ctrl-C
            self._check()
            raise
        finally:
            self._raises = False

    def run(self, path: Path) -> None:
        """Let the user edit the file at `path`.

        Raises:
            UsageError: There is no editor, or it failed.
        """
        words = _editor()
        refuse_lost_codes(words[0])
        environment = child_environment(os.environ, {}, credentials=self._credentials)
        with _signals_left_to_editor():
            try:
                code = self._started([*words, str(path)], environment).wait()
            except OSError as error:
                reason = error.strerror
            else:
                reason = None if code == 0 else f"it ended with {code}"
            finally:
                self._process = None
        self._check()
        if reason is not None:
            raise errors.UsageError(
                f"the editor {words[0]} failed: {reason}; nothing was stored", hint="set VISUAL or EDITOR"
            )

    def _started(self, words: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start the editor. A signal meanwhile ends it afterwards, as it would be left running otherwise."""
        self._raises = False
        try:
            self._process = process = subprocess.Popen(words, env=environment)  # noqa: S603  # the user's own editor
        finally:
            self._raises = True
        if self.signal is not None:
            process.terminate()
        return process


def _current(registry: SecretProviderRegistry, key: str) -> tuple[str, str | None]:
    """Return what is stored at `key`, and its version if that can be compared later."""
    registry.invalidate(key)  # the stored value is edited, not a cached one
    provider = registry.pipeline_for(key)
    version = None
    try:
        if isinstance(provider, ConditionalWriter) and isinstance(provider, Describer):
            # A server may not offer what its provider can, and a user have no right to it.
            with suppress(UnsupportedOperationError, PermissionDeniedError):
                version = provider.describe_secret(key).version
        return registry.get_secret(key), version
    except SecretNotFoundError as error:
        absent = names.with_nearest(registry, error)
        if absent.reason == "absent":
            first = f"{line_about(registry, key, 'set', key)} stores a first value"
            before = f"{absent.hint}{' ' if absent.hint.endswith('?') else '; '}" if absent.hint else ""
            absent.hint = before + first
    raise absent


def _shown(whole: str, key: str, declared: SecretPlan | None) -> str:
    if declared is None or declared.field is None:
        return whole
    from strongroom.declarations.json_fields import member_of

    return member_of(whole, key, declared.field)


def _whole(whole: str, key: str, declared: SecretPlan | None, text: str) -> str:
    if declared is None or declared.field is None:
        return text
    from strongroom.declarations.json_fields import with_member

    return with_member(whole, key, declared.field, text, add=True)


def _suffix(text: str) -> str:
    return ".json" if text.lstrip().startswith(("{", "[")) else ".txt"


def _edited(editor: _Editor, path: Path, old: str, key: str, *, allow_empty: bool) -> str | None:
    """Let the user edit the file at `path`, and return the new text; None if it is still `old`.

    Raises:
        UsageError: There is no editor, it failed, or nothing is left.
        ValidationError: What it saved is not UTF-8 text.
    """
    editor.run(path)
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise errors.UsageError("the editor left no file; nothing was stored") from None
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise ValidationError(
            f"what the editor saved for {show_key(key)} is not UTF-8 text; nothing was stored"
        )
    if not old.endswith("\n"):
        text = text.removesuffix("\n")
    if text == old:
        return None
    if not text and not allow_empty:
        raise errors.UsageError(
            f"the new value of {show_key(key)} is empty, and nothing was stored",
            hint="give --allow-empty if that is intended",
        )
    return text


def _editor() -> list[str]:
    for name in ("VISUAL", "EDITOR"):
        text = os.environ.get(name, "").strip()
        if text:
            try:
                return shlex.split(text)
            except ValueError:
                raise errors.UsageError(f"{name} has a quote that does not end") from None
    return [_DEFAULT_EDITOR]


@contextmanager
def _signals_left_to_editor() -> Iterator[None]:
    """Leave signals of the keyboard to the editor, which shares the terminal."""
    # The editor would inherit an ignored signal, but not a handler.
    before = {one: signal.signal(one, lambda *_: None) for one in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _store(registry: SecretProviderRegistry, key: str, value: str, version: str | None, before: str) -> None:
    if version is not None:
        with suppress(UnsupportedOperationError):
            registry.set_secret_if(key, value, version)
            return
    registry.invalidate(key)
    if names.stored(registry, key) != before:
        raise ConflictError(f"{show_key(key)} was changed meanwhile, and nothing was stored", key=key)
    registry.set_secret(key, value)


def _again(settings: GlobalOptions, error: StrongroomError) -> bool:
    """Ask the user at the terminal whether to go on with the text that could not be stored."""
    if settings.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    errors.print_error(error, as_json=False, debug=settings.debug)
    return click.confirm("Edit the text again?", default=True, err=True)
