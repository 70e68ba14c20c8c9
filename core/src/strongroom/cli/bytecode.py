"""The bytecode of all modules that commands use, in one file of each distribution.

A plain read uses a hundred small modules. Python looks for each in folders and opens a file for it, which
takes longer than running it: 5 to 7 ms of the 70 that a `get` or `run` takes. So a command that has ended
keeps what it has loaded in one file, in the folder where Python keeps its own files of bytecode, and by the
same rule: the bytecode of a module counts while its source has the time and the size of which it was made.
Anyone who may write there may replace the modules as well.
"""

from __future__ import annotations

import _imp
import contextlib
import marshal
import os
import sys
from importlib._bootstrap_external import MAGIC_NUMBER  # as `importlib.util` has it, which takes time to load
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import accumulate
from types import CodeType

from strongroom._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType
    from typing import Any, Final

    State = tuple[int, int]
    """Time (s) and size of a source, as Python compares them (PEP 552)."""
    Place = tuple[bool, State, int]
    """Whether the module is a package, its source, and the number of the group that has its bytecode."""

__all__ = ["ModulesInOneFile", "file_of", "use_one_file"]

_HEAD: Final = f"strongroom {__version__} 2 {sys.flags.optimize} {MAGIC_NUMBER.hex()}\n".encode()
_LENGTH_BYTES: Final = 8
_MOST_BYTES: Final = 1 << 24
_OURS: Final = "strongroom"
_TAG: Final = f"{sys.implementation.cache_tag}{f'.opt-{sys.flags.optimize}' if sys.flags.optimize else ''}"
"""What names of files of bytecode end with, as those of Python do: with `-O` it has others."""
_DAMAGED: Final = (EOFError, LookupError, MemoryError, OverflowError, TypeError, ValueError)
_PLACE_MEMBERS: Final = 3
_FEW: Final = 8
"""So many modules of a group that a command does not use take as long to read as another group."""


def use_one_file() -> Callable[[], None]:
    """Take modules from the files of earlier commands; return what keeps those that this one has loaded."""
    modules = ModulesInOneFile()
    if sys.pycache_prefix is None:  # else Python does not look for bytecode beside the sources either
        sys.meta_path.insert(0, modules)
    return modules.keep


def file_of(folder: str) -> str:
    """Return the path of the file of a distribution whose top package is in `folder`."""
    return f"{folder}/__pycache__/commands.{_TAG}.bytecode"


class ModulesInOneFile:
    """Finds modules of ours in those files: a finder for `sys.meta_path`."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._process = os.getpid()
        self._before = frozenset(sys.modules)
        """Modules that Python has loaded before it had this finder, as it will next time."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module whose bytecode is in the file; None leaves it to Python."""
        del target
        if not path or not name.startswith(_OURS):
            return None
        # A forked process may close all descriptors, and then another file has the number of ours.
        if os.getpid() != self._process:
            return None
        root = name[: name.index(".")]
        file = self._files.get(root)
        if file is None:
            file = self._files[root] = _File(sys.modules[root].__path__[0])
        place = file.places.get(name)
        if place is None:
            return None
        is_package, state, _ = place
        stem = name[name.rindex(".") + 1 :]
        folder = f"{path[0]}/{stem}" if is_package else path[0]
        stem = "__init__" if is_package else stem
        source = f"{folder}/{stem}.py"
        if _state(source) != state:
            del file.places[name]  # a new file will have it as it is now
            return None
        spec = ModuleSpec(name, _Loader(name, source, file), origin=source, is_package=is_package)
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(folder)
        spec.has_location = True
        spec.cached = f"{folder}/__pycache__/{stem}.{_TAG}.pyc"
        return spec

    def keep(self) -> None:
        """Keep the modules of ours that are not in the files yet, if Python could keep them there, too.

        Modules that are read together and not used together are parted.
        """
        if sys.dont_write_bytecode or sys.pycache_prefix is not None:
            return
        new: dict[str, list[SourceFileLoader]] = {}
        for name, module in list(sys.modules.items()):
            root, has_parent, _ = name.partition(".")
            file = self._files.get(root)
            if file is None or not has_parent or name in file.places or name in self._before:
                continue
            loader = getattr(getattr(module, "__spec__", None), "loader", None)
            # Of others Python did not find the source in a folder, or the module has a second name.
            if not isinstance(loader, SourceFileLoader) or loader.name != name:
                continue
            if type(loader) in {SourceFileLoader, _Loader}:  # another one may change the code
                new.setdefault(root, []).append(loader)
        for root, file in self._files.items():
            if root not in new and not file.has_unused:
                continue
            # It cannot be written, or a source read or compiled: the command has done its work all the same.
            with contextlib.suppress(Exception):
                file.add(new.get(root, ()))


class _File:
    """The file of one distribution; it has no modules if there is none, or one of another Python.

    Those that one command has brought in are one group, which is read as a whole: the names that they have in
    common, half of all, are there once. A command that uses only a part of a group makes two of it, so that
    in the end each reads what it uses, whichever command was the first.
    """

    def __init__(self, folder: str) -> None:
        self._path = file_of(folder)
        self._descriptor = -1
        self.places: dict[str, Place] = {}
        self._groups: list[tuple[int, int]] = []
        """Where each begins, and how long it is."""
        self._read: dict[int, dict[str, CodeType]] = {}
        """What was read of each group, without what was used by then."""
        # A hook for editable packages has a name of its own there instead of a folder; it would lead to what
        # lies in the current one.
        if not os.path.isabs(folder):  # noqa: PTH117  # no pathlib here
            return
        with contextlib.suppress(OSError, *_DAMAGED):
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self.places = self._read_places()

    def _read_places(self) -> dict[str, Place]:
        head = os.pread(self._descriptor, len(_HEAD) + _LENGTH_BYTES, 0)
        length = int.from_bytes(head[len(_HEAD) :], "big")
        if not head.startswith(_HEAD) or length > _MOST_BYTES:
            return {}
        self._begin = len(head) + length
        places: Any
        places, groups = marshal.loads(  # noqa: S302  # as safe as the modules beside it
            os.pread(self._descriptor, length, len(head))
        )
        if any(len(place) != _PLACE_MEMBERS or type(place[-1]) is not int for place in dict.values(places)):
            return {}
        self._groups = list(groups)
        return dict(places)

    def code(self, name: str) -> CodeType | None:
        """Return the bytecode of a module, once; None if there is none."""
        number = self.places[name][2]
        if number not in self._read:
            self._read[number] = self._group(number)
        return self._read[number].pop(name, None)

    def _group(self, number: int) -> dict[str, CodeType]:
        with contextlib.suppress(OSError, *_DAMAGED):
            start, length = self._groups[number]
            return dict(marshal.loads(os.pread(self._descriptor, length, self._begin + start)))  # noqa: S302  # as above
        return {}

    @property
    def has_unused(self) -> bool:
        """Whether more than a few modules of a group were read and not used."""
        return any(len(unused) > _FEW for unused in self._read.values())

    def _kept(self) -> list[dict[str, CodeType]]:
        """Return the groups without modules that have changed, parted where one was not used as a whole."""
        groups: list[dict[str, CodeType]] = []
        for number in range(len(self._groups)):
            known = self._group(number)
            names = [name for name, place in self.places.items() if place[2] == number and name in known]
            unused = self._read.get(number, {})
            apart = unused if len(unused) > _FEW else {}
            groups += [
                {name: known[name] for name in names if (name in apart) is is_apart}
                for is_apart in (False, True)
            ]
        return list(filter(None, groups))

    def add(self, loaders: Iterable[SourceFileLoader]) -> None:
        """Replace the file by one that has the modules of these loaders, too; it may raise any error."""
        folder = os.path.dirname(self._path)  # noqa: PTH120  # no pathlib here
        if not os.path.isabs(folder) or not os.access(folder, os.W_OK):  # noqa: PTH117  # as above
            return
        fresh = {loader.name: known for loader in loaders if (known := _known(loader)) is not None}
        if not fresh and not self.has_unused:
            return
        groups = [*self._kept(), {name: known[2] for name, known in fresh.items()}]
        states = {name: known[:2] for name, known in (self.places | fresh).items()}
        places = {name: (*states[name], number) for number, group in enumerate(groups) for name in group}
        pieces = list(map(marshal.dumps, groups))
        ends = list(accumulate(map(len, pieces), initial=0))
        index = marshal.dumps(
            (places, [(start, len(piece)) for start, piece in zip(ends, pieces, strict=False)])
        )
        from strongroom.paths.new_file import NewFile

        with NewFile(folder) as file:
            file.write(_HEAD + len(index).to_bytes(_LENGTH_BYTES, "big") + index)
            file.write(b"".join(pieces))
            file.sync()
            os.fchmod(file.descriptor, os.stat(folder).st_mode & 0o666)  # noqa: PTH116  # as above
            file.replace(self._path)


class _Loader(SourceFileLoader):
    """Loads a module from its source, as Python does, but takes the bytecode from the file."""

    def __init__(self, name: str, source: str, file: _File) -> None:
        super().__init__(name, source)
        self._file = file

    def get_code(self, fullname: str) -> CodeType | None:
        if fullname in self._file.places:
            code = self._file.code(fullname)
            if isinstance(code, CodeType):
                # As Python does: the tree may be moved.
                _imp._fix_co_filename(code, self.path)  # type: ignore[attr-defined]  # noqa: SLF001
                return code
            del self._file.places[fullname]  # a new file will have it whole
        return super().get_code(fullname)


def _known(loader: SourceFileLoader) -> tuple[bool, State, CodeType] | None:
    """Return what a file holds of a module that Python found in a folder; None if it has changed."""
    state, code = _state(loader.path), loader.get_code(loader.name)
    if state is None or code is None or _state(loader.path) != state:
        return None
    return loader.is_package(loader.name), state, code


def _state(source: str) -> State | None:
    try:
        status = os.stat(source)  # noqa: PTH116  # no pathlib here
    except OSError:
        return None
    return int(status.st_mtime), status.st_size
