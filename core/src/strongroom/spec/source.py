"""Where a spec comes from: a trusted file, a mapping or a `Spec`."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strongroom.errors import ConfigurationError, UntrustedSpecError
from strongroom.ownership import distrust
from strongroom.spec.document import MAX_BYTES, Document, Problem, node_of, read_document
from strongroom.spec.models import Spec
from strongroom.spec.plan import Position

__all__ = ["Source", "read_source", "read_trusted"]


class Source:
    """A spec as it was found: its bytes or data, its name for messages and the folder of its paths."""

    def __init__(self, name: str, folder: Path, document: Document) -> None:
        self.name = name
        self.folder = folder
        self.document = document

    def position(self, line: int, column: int) -> Position:
        """Return a position in this source."""
        return Position(self.name, line, column)


def read_trusted(path: Path) -> bytes:
    """Return the bytes of a spec file.

    Raises:
        ConfigurationError: It is missing, unreadable or no regular file.
        UntrustedSpecError: Others own it or a link to it, or may write it, without `STRONGROOM_TRUST_SPEC=1`.
    """
    try:
        # Non-blocking, so that a FIFO in the spec's place cannot hold the program up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        what = (
            "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        )
        raise ConfigurationError(
            f"the spec file {path} {what}", hint="run `strongroom init`, or name another with --spec"
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"the spec {path} is no regular file")
        _refuse_untrusted(path, status)
        with open(descriptor, "rb", closefd=False) as file:  # an open descriptor, not a path
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _refuse_untrusted(path: Path, status: os.stat_result) -> None:
    if os.environ.get("STRONGROOM_TRUST_SPEC") == "1":
        return
    why = distrust(path, status)
    if why is not None:
        raise UntrustedSpecError(
            f"the spec {path} is not trusted: {why}",
            hint="chown it or chmod o-w it, or set STRONGROOM_TRUST_SPEC=1 if that is meant",
        )


def read_source(spec: str | os.PathLike[str] | Mapping[str, Any] | Spec) -> Source:
    """Return the source of a spec given as path, mapping or `Spec`."""
    if isinstance(spec, Spec):
        return Source(spec.source, Path(spec.folder), Document(spec.document(), []))
    if isinstance(spec, Mapping):
        return Source("spec", Path.cwd(), _document_of(spec))
    path = Path(spec)
    document = read_document(read_trusted(path))
    # Where the file really is: who may make a link to a spec does not choose its neighbours.
    folder = path.resolve().parent if path.is_symlink() else path.absolute().parent
    return Source(str(path), folder, document)


def _document_of(spec: Mapping[str, Any]) -> Document:
    try:
        return Document(node_of(dict(spec)), [])
    except TypeError as error:
        return Document(None, [Problem(0, 0, "", str(error))])
