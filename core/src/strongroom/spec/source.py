"""The source of a spec: a trusted file, a mapping or a `Spec`."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigurationError, UntrustedSpecError
from strongroom.paths.ownership import distrust
from strongroom.spec import trust
from strongroom.spec.closed import openings
from strongroom.spec.document import MAX_BYTES, Document, Problem, node_of, read_document
from strongroom.spec.found import SPEC_FILE, FoundSpec
from strongroom.spec.plan import Position

if TYPE_CHECKING:
    from strongroom.spec.models import Spec

__all__ = ["Source", "folder_of", "read_bytes", "read_source"]


class Source:
    """A spec as it is used.

    Attributes:
        name: Its name in messages.
        folder: The folder that paths in it are relative to.
        document: Its document.
        found: Whether it was found, not named.
        closed: Whether it was found, and is used because it is closed.
        digest: The SHA-256 of the file's bytes in hexadecimal; empty without a file.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        document: Document,
        *,
        found: bool = False,
        closed: bool = False,
        digest: str = "",
    ) -> None:
        self.name = name
        self.folder = folder
        self.document = document
        self.found = found
        self.closed = closed
        self.digest = digest

    def position(self, line: int, column: int) -> Position:
        """Return a position in this source."""
        return Position(self.name, line, column)


def read_bytes(path: Path) -> tuple[bytes, os.stat_result]:
    """Return the bytes of a spec file, and the status of the file that they were read from.

    Raises:
        ConfigurationError: It is missing, unreadable or no regular file.
        UntrustedSpecError: Others own it or a link to it, or may write it, without `STRONGROOM_TRUST_SPEC=1`.
    """
    try:
        # Non-blocking, so that a FIFO in the spec's place cannot hold the program up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            problem, hint = "does not exist", "run `strongroom init`, or name another with --spec"
        else:
            problem, hint = (
                f"cannot be read: {error.strerror}",
                "let this user read it, or name another with --spec",
            )
        raise ConfigurationError(f"the spec file {path} {problem}", hint=hint) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            if stat.S_ISDIR(status.st_mode):
                raise ConfigurationError(
                    f"the spec {path} is a folder", hint=f"name the file in it: {Path(path, SPEC_FILE)}"
                )
            raise ConfigurationError(f"the spec {path} is not a regular file", hint="name a file with --spec")
        _refuse_untrusted(path, status)
        with open(descriptor, "rb", closefd=False) as file:  # an open descriptor, not a path
            return file.read(MAX_BYTES + 1), status
    finally:
        os.close(descriptor)


def _refuse_untrusted(path: Path, status: os.stat_result) -> None:
    if trust.all_asked():
        return
    why = distrust(path, status)
    if why is not None:
        raise UntrustedSpecError(
            f"the spec {path} is not trusted: {why}",
            hint="chown it or chmod o-w it, or set STRONGROOM_TRUST_SPEC=1 if that is intended",
        )


def read_source(spec: str | os.PathLike[str] | Mapping[str, Any] | Spec | FoundSpec) -> Source:
    """Return the source of a spec given as path, mapping or `Spec`, or of one that was found.

    Raises:
        ConfigurationError: There is no such file, or it cannot be read.
        UntrustedSpecError: Others could have written it; or it was found, and is neither closed nor trusted.
        TypeError: It is of another type.
    """
    if isinstance(spec, Mapping):
        return Source("spec", Path.cwd(), _document_of(spec))
    if not isinstance(spec, (str, os.PathLike, FoundSpec)):
        if not hasattr(spec, "document"):
            raise TypeError(f"a spec is a path, a mapping or a Spec, not a {type(spec).__name__}")
        return Source(spec.source, Path(spec.folder), Document(spec.document(), []))
    path = Path(spec.path if isinstance(spec, FoundSpec) else spec)
    data, status = read_bytes(path)
    document = read_document(data)
    folder = folder_of(path)
    found = isinstance(spec, FoundSpec)
    closed = found and trust.require(str(path), data, status, openings(document.root, path.name, str(folder)))
    digest = hashlib.sha256(data).hexdigest()
    return Source(str(path), folder, document, found=found, closed=closed, digest=digest)


def folder_of(path: Path) -> Path:
    """Return the folder that paths in the spec at `path` are relative to."""
    # The folder of the real file: a link to a spec must not choose the files that the spec uses.
    return path.resolve().parent if path.is_symlink() else path.absolute().parent


def _document_of(spec: Mapping[str, Any]) -> Document:
    problems: list[Problem] = []
    try:
        return Document(node_of(spec, problems=problems), problems)
    except TypeError as error:
        return Document(None, [*problems, Problem(0, 0, "", str(error))])
