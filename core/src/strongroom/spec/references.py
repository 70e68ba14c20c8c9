"""References inside the text of a spec: `${env:NAME}`, `${file:path}`, `${secret:PIPELINE:KEY#field}`.

The text that a reference gives is used as it is: not interpolated, not parsed as YAML.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING

from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.keys import is_key, is_reserved
from strongroom.paths.ownership import distrust
from strongroom.paths.user_home import expanded_text
from strongroom.runtime.frozen import frozen
from strongroom.tenancy import TenantContext, current_tenant

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.plugins.credentials import ReferencedText

__all__ = [
    "BadReferenceError",
    "Reference",
    "ReferenceSources",
    "UnresolvedError",
    "has_reference",
    "instead",
    "is_lone_reference",
    "no_secret",
    "parse",
    "references",
    "resolve",
    "with_reference",
]

_MAX_FILE_BYTES = 1 << 20


class BadReferenceError(ValueError):
    """Text that begins like a reference, but is not one."""


class UnresolvedError(ValueError):
    """A reference to something that does not exist."""


@frozen
class Reference:
    """One reference; `kind` is `env`, `file` or `secret`."""

    kind: str
    name: str
    default: str | None = None
    pipeline: str = ""
    field: str | None = None
    past_caches: bool = False
    """Whether the value must not come from a cache."""


@frozen
class ReferenceSources:
    """Where references are looked up."""

    environ: Mapping[str, str]
    folder: str | os.PathLike[str]
    """The spec's folder, to which the paths of files are relative."""
    read_secret: Callable[[Reference], str]


def no_secret(reference: Reference) -> str:
    """Raise: a placeholder for reading secrets if no option has a reference to one."""
    raise AssertionError(reference.pipeline)  # the caller has left out components that read secrets


Part = str | Reference


def parse(text: str) -> list[Part]:
    """Split `text` into literal pieces and references; `$${` is a literal `${`.

    Raises:
        BadReferenceError: The message names the form that is expected and never the text.
    """
    parts: list[Part] = []
    literal: list[str] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start > at and text[start - 1] == "$":
            literal.append(text[at : start - 1] + "${")
            at = start + 2
            continue
        literal.append(text[at:start])
        end = text.find("}", start)
        if end < 0:
            raise BadReferenceError("a reference without its closing '}'; write '$${' for a literal '${'")
        if joined := "".join(literal):
            parts.append(joined)
        literal = []
        if "${" in (body := text[start + 2 : end]):
            raise BadReferenceError("a reference inside another one; a default and a path are text")
        parts.append(_reference(body))
        at = end + 1
    literal.append(text[at:])
    if joined := "".join(literal):
        parts.append(joined)
    return parts


def _reference(body: str) -> Reference:
    kind, colon, rest = body.partition(":")
    if kind == "env" and colon:
        name, has_default, default = rest.partition(":-")
        if name.isascii() and name.isidentifier():
            return Reference("env", name, default if has_default else None)
        raise BadReferenceError("expected ${env:NAME} or ${env:NAME:-default}")
    if kind == "file" and colon:
        if rest and "\x00" not in rest:
            return Reference("file", rest)
        raise BadReferenceError("expected ${file:path}")
    if kind == "secret" and colon:
        pipeline, second, address = rest.partition(":")
        key, has_field, field = address.partition("#")
        if pipeline and second and key and (field or not has_field):
            if not is_key(key) or is_reserved(key):
                raise BadReferenceError(
                    "${secret:PIPELINE:KEY} with what cannot be a key: "
                    "join segments with single slashes, as in 'database/password'"
                )
            return Reference("secret", key, pipeline=pipeline, field=field or None)
        raise BadReferenceError("expected ${secret:PIPELINE:KEY} or ${secret:PIPELINE:KEY#field}")
    raise BadReferenceError(
        "an unknown reference; expected ${env:NAME}, ${file:path} or ${secret:PIPELINE:KEY}, "
        "or '$${' for a literal '${'"
    )


def references(text: str) -> list[Reference]:
    """Return the references in `text`."""
    return [part for part in parse(text) if isinstance(part, Reference)] if "${" in text else []


def has_reference(value: object) -> bool:
    """Return whether `value` is text with something to interpolate, even if it is only an escape."""
    return isinstance(value, str) and "${" in value


def is_lone_reference(text: str) -> bool:
    """Return whether `text` is one reference and nothing else."""
    parts = parse(text)
    return len(parts) == 1 and isinstance(parts[0], Reference)


def resolve(text: str, sources: ReferenceSources) -> str:
    """Return `text` with all references replaced.

    Raises:
        UnresolvedError: Variables or files do not exist; each argument names one.
    """
    pieces: list[str] = []
    missing: list[str] = []
    for part in parse(text):
        try:
            if isinstance(part, str):
                pieces.append(part)
            elif part.kind == "env":
                pieces.append(_variable(part, sources.environ))
            elif part.kind == "file":
                pieces.append(_file(part, sources.folder))
            else:
                pieces.append(sources.read_secret(part))
        except UnresolvedError as error:
            missing.append(str(error))
    if missing:
        raise UnresolvedError(*missing)
    return "".join(pieces)


def with_reference(value: str, text: str, sources: ReferenceSources) -> ReferencedText:
    """Return `value`, which the references in `text` gave, as text that can follow them again.

    That is then done for the current tenant, whichever caller asks.
    """
    tenant = current_tenant()

    def past_caches(reference: Reference) -> str:
        name, pipeline, field = reference.name, reference.pipeline, reference.field
        return sources.read_secret(
            Reference("secret", name, pipeline=pipeline, field=field, past_caches=True)
        )

    renewed = ReferenceSources(sources.environ, sources.folder, past_caches)

    def follow() -> str | None:
        try:
            if tenant is None:
                return resolve(text, renewed)
            with TenantContext(tenant):
                return resolve(text, renewed)
        except (UnresolvedError, StrongroomError):
            return None

    # In a new context: the deadline and actor of a later caller are not meant for this reading.
    from strongroom.plugins.credentials import ReferencedText

    return ReferencedText(value, lambda: Context().run(follow))


def _variable(reference: Reference, environ: Mapping[str, str]) -> str:
    value = environ.get(reference.name)
    if reference.default is not None:
        return value or reference.default
    if value is None:
        raise UnresolvedError(
            f"the environment variable {reference.name} is not set; "
            f"set it, or write ${{env:{reference.name}:-default}}"
        )
    return value


_instead: ContextVar[Mapping[str, str] | None] = ContextVar("strongroom_files_instead", default=None)


@contextmanager
def instead(files: Mapping[Path, str]) -> Iterator[None]:
    """Let `${file:}` references in the block give other texts than the files at these paths hold."""
    token = _instead.set({os.path.realpath(path): text for path, text in files.items()})
    try:
        yield
    finally:
        _instead.reset(token)


def _expanded(name: str) -> str:
    try:
        return expanded_text(name)
    except ConfigurationError as error:
        raise UnresolvedError(f"the file {error}") from None


def _file(reference: Reference, folder: str | os.PathLike[str]) -> str:
    path = os.path.join(folder, _expanded(reference.name))
    other = _instead.get()
    if other is not None and (text := other.get(os.path.realpath(path))) is not None:
        return text
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            why = None if os.environ.get("STRONGROOM_TRUST_SPEC") == "1" else distrust(path, status)
            if not stat.S_ISREG(status.st_mode):
                failure = f"the file {reference.name} is not a regular file"
            elif why is not None:
                failure = f"the file {reference.name} is not trusted: {why}"
            elif status.st_size > _MAX_FILE_BYTES:
                failure = f"the file {reference.name} is larger than {_MAX_FILE_BYTES >> 20} MiB"
            else:
                text = file.read().decode()
                return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    except FileNotFoundError:
        failure = f"the file {reference.name} does not exist"
    except UnicodeDecodeError:
        failure = f"the file {reference.name} is not UTF-8 text"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        failure = f"the file {reference.name} cannot be read: {reason}"
    raise UnresolvedError(failure)
