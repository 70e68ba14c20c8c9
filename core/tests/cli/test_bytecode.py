"""Modules that commands take from one file: the same modules, and those of the source as it is now."""

import importlib
import inspect
import marshal
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from strongroom.cli import bytecode
from strongroom.cli.bytecode import ModulesInOneFile, file_of

SOURCES = {
    "__init__.py": "",
    "one.py": "from strongroom_probe.inner import two\n\n\ndef value():\n    return two.VALUE\n",
    "inner/__init__.py": '"""A package."""\n',
    "inner/two.py": "VALUE = 1\n",
}
NAMES = ["strongroom_probe.inner", "strongroom_probe.inner.two", "strongroom_probe.one"]


class Probe:
    """A package with the prefix of our distributions, and starts of Python that import it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder / "strongroom_probe", patch
        for name, text in SOURCES.items():
            self.write(name, text)
        patch.syspath_prepend(folder)
        patch.setattr(sys, "dont_write_bytecode", False)
        patch.setattr(sys, "pycache_prefix", None)

    @property
    def file(self) -> Path:
        return Path(file_of(str(self.folder)))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()

    def start(self) -> ModulesInOneFile:
        """Import the package as a new process does."""
        for name in [name for name in sys.modules if name.startswith("strongroom_probe")]:
            del sys.modules[name]
        finder, self.by_python = ModulesInOneFile(), []
        with self.patch.context() as patch:
            patch.setattr(SourceFileLoader, "get_code", self.get_code)
            patch.setattr(sys, "meta_path", [finder, *sys.meta_path])
            importlib.import_module("strongroom_probe.one")
        return finder

    @property
    def get_code(self):
        original = SourceFileLoader.get_code

        def get_code(loader, name):
            self.by_python.append(name)
            return original(loader, name)

        return get_code

    def value(self) -> object:
        return sys.modules["strongroom_probe.one"].value()

    def from_the_file(self) -> list[str]:
        """Return the modules that Python has neither found nor read."""
        assert "strongroom_probe" in self.by_python  # the package itself, which no finder of ours gives
        return [name for name in NAMES if name not in self.by_python]


@pytest.fixture
def probe(tmp_path, monkeypatch):
    yield Probe(tmp_path, monkeypatch)
    for name in [name for name in sys.modules if name.startswith("strongroom_probe")]:
        del sys.modules[name]


def looks(name):
    module = sys.modules[name]
    spec = module.__spec__
    return [
        *(getattr(module, attribute, None) for attribute in ("__file__", "__cached__", "__path__", "__package__", "__doc__")),
        *(spec.origin, spec.cached, spec.has_location, spec.parent, spec.submodule_search_locations),
    ]  # fmt: skip


def test_a_start_takes_what_the_one_before_kept_and_modules_look_the_same(probe):
    probe.start().keep()
    assert probe.from_the_file() == []
    before = [looks(name) for name in NAMES]
    finder = probe.start()
    assert probe.from_the_file() == NAMES
    assert [looks(name) for name in NAMES] == before
    assert probe.value() == 1
    one = sys.modules["strongroom_probe.one"]
    assert inspect.getsource(one.value) == "def value():\n    return two.VALUE\n"
    assert one.value.__code__.co_filename == str(probe.folder / "one.py")
    written = probe.file.stat()
    finder.keep()
    assert probe.file.stat().st_ino == written.st_ino  # there is nothing new to keep
    assert not [path for path in probe.file.parent.iterdir() if path.name.startswith(".")]


def test_a_file_grows_by_what_further_commands_use(probe):
    probe.start().keep()
    probe.write("three.py", "VALUE = 3\n")
    finder = probe.start()
    probe.patch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    importlib.import_module("strongroom_probe.three")
    finder.keep()
    finder = probe.start()
    assert probe.from_the_file() == NAMES
    assert finder.find_spec("strongroom_probe.three", [str(probe.folder)]) is not None


def start_with(probe, names):
    """Start, use these further modules, and return the finder."""
    finder = probe.start()
    with probe.patch.context() as patch:
        patch.setattr(sys, "meta_path", [finder, *sys.meta_path])
        for name in names:
            importlib.import_module(name)
    return finder


def unused(finder):
    return sorted(name for group in finder._files["strongroom_probe"]._read.values() for name in group)


@pytest.mark.parametrize("number", [bytecode._FEW, bytecode._FEW + 1])
def test_what_one_command_uses_and_another_does_not_is_parted_once(probe, number):
    more = [f"strongroom_probe.more{place}" for place in range(number)]
    for name in more:
        probe.write(f"{name.partition('.')[2]}.py", f"VALUE = {name!r}\n")
    start_with(probe, more).keep()
    finder = probe.start()
    assert unused(finder) == more
    finder.keep()
    written = probe.file.stat()
    finder = probe.start()
    assert unused(finder) == (more if number == bytecode._FEW else [])
    assert probe.from_the_file() == NAMES
    finder.keep()
    finder = start_with(probe, more)  # the command that has brought them in
    assert [sys.modules[name].VALUE for name in more] == more
    assert not {*more, *NAMES} & {*probe.by_python}
    assert unused(finder) == []
    finder.keep()
    assert probe.file.stat().st_ino == written.st_ino


def test_what_is_parted_holds_what_has_changed_no_more(probe):
    more = [f"strongroom_probe.more{place}" for place in range(2 * bytecode._FEW)]
    for name in more:
        probe.write(f"{name.partition('.')[2]}.py", "VALUE = 1\n")
    start_with(probe, more).keep()
    probe.write("inner/two.py", "VALUE = 222\n")
    probe.write("more3.py", "VALUE = 333\n")
    finder = start_with(probe, more[3:4])
    assert (probe.value(), sys.modules[more[3]].VALUE) == (222, 333)
    finder.keep()
    finder = start_with(probe, more)
    assert (probe.value(), sys.modules[more[3]].VALUE) == (222, 333)
    assert not {*more, *NAMES} & {*probe.by_python}
    assert unused(finder) == []


@pytest.mark.parametrize("how", ["size", "time", "gone"])
def test_a_changed_source_is_noticed_and_the_file_made_again(probe, how):
    probe.start().keep()
    source = probe.folder / "inner/two.py"
    status = source.stat()
    if how == "size":
        probe.write("inner/two.py", "VALUE = 1 + 1\n")
        os.utime(source, ns=(status.st_mtime_ns, status.st_mtime_ns))
    elif how == "time":
        probe.write("inner/two.py", "VALUE = 2\n")
        os.utime(source, ns=(status.st_mtime_ns, status.st_mtime_ns + 2 * 10**9))
    else:
        source.unlink()
        probe.write("inner/two/__init__.py", "VALUE = 2\n")
    finder = probe.start()
    assert probe.value() == 2
    assert "strongroom_probe.inner.two" not in probe.from_the_file()
    finder.keep()
    probe.start()
    assert (probe.value(), probe.from_the_file()) == (2, NAMES)


def test_nothing_is_left_of_what_was_edited_again_and_again(probe):
    sizes = []
    for number in range(4):
        probe.write("inner/two.py", f"VALUE = {'1' * (number + 1)}\n")
        probe.start().keep()
        sizes.append(probe.file.stat().st_size)
    assert sizes[1] == sizes[2] == sizes[3]
    probe.start()
    assert (probe.value(), probe.from_the_file()) == (1111, NAMES)


def test_a_tree_that_was_moved_shows_its_new_place(probe, tmp_path):
    probe.start().keep()
    moved = tmp_path / "elsewhere"
    shutil.copytree(probe.folder, moved / "strongroom_probe")
    probe.patch.syspath_prepend(moved)
    probe.start()
    assert probe.from_the_file() == NAMES
    one = sys.modules["strongroom_probe.one"]
    assert one.value.__code__.co_filename == str(moved / "strongroom_probe/one.py")


def test_a_damaged_file_costs_time_and_nothing_else(probe):
    probe.start().keep()
    whole = probe.file.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        probe.file.write_bytes(whole[:length])
        probe.start()
        assert probe.value() == 1
        probe.file.write_bytes(whole[:length] + bytes(len(whole) - length))  # as a file system may leave it
        finder = probe.start()
        assert probe.value() == 1
        finder.keep()
        probe.start()
        assert probe.from_the_file() == NAMES
    probe.file.write_bytes(whole.replace(b"strongroom ", b"another one", 1))
    finder = probe.start()
    assert (probe.value(), probe.from_the_file()) == (1, [])
    finder.keep()
    assert probe.file.read_bytes() == whole


def test_bytecode_that_is_damaged_is_kept_again(probe):
    probe.start().keep()
    probe.file.write_bytes(probe.file.read_bytes()[:-40] + bytes(40))
    finder = probe.start()
    assert probe.value() == 1
    finder.keep()
    finder = probe.start()
    assert (probe.value(), probe.from_the_file()) == (1, NAMES)
    assert finder._files["strongroom_probe"].places.keys() == set(NAMES)


def test_a_file_loses_what_was_replaced(probe):
    probe.start().keep()
    size = probe.file.stat().st_size
    for number in range(5):
        probe.write("inner/two.py", f"VALUE = {number}\n" + "#" * (number + 1))
        finder = probe.start()
        assert probe.value() == number
        finder.keep()
        probe.start()
        assert (probe.value(), probe.from_the_file()) == (number, NAMES)
    assert probe.file.stat().st_size < size + 400


STATE = (0, 0)


def write_index(probe, index):
    data = marshal.dumps(index)
    head = bytecode._HEAD + len(data).to_bytes(bytecode._LENGTH_BYTES, "big")
    probe.file.write_bytes(head + data + marshal.dumps(7))


@pytest.mark.parametrize(
    "index",
    [
        5,
        [1],
        {NAMES[-1]: 3},
        (1, 2, 3),
        (5, []),
        ({NAMES[-1]: 3}, []),
        ({NAMES[-1]: (1, 2)}, []),
        ({NAMES[-1]: (False, STATE, 0)}, 5),
        ({NAMES[-1]: (False, STATE, 0)}, []),
        ({NAMES[-1]: (False, STATE, "0")}, [(0, 5)]),
        ({NAMES[-1]: (False, STATE, 0)}, [5]),
        ({NAMES[-1]: (False, STATE, 0)}, [(0, 5)]),
        ({NAMES[-1]: (False, STATE, 0)}, [(0, 1 << 60)]),
        ({NAMES[-1]: (False, STATE, 0)}, [(0, 1 << 70)]),
        ({NAMES[-1]: (False, STATE, 0)}, [(0, -1)]),
        ({NAMES[-1]: (False, STATE, [])}, [(0, 5)]),
    ],
)
def test_an_index_of_another_shape_is_taken_for_damaged(probe, index):
    probe.start().keep()
    write_index(probe, index)
    probe.patch.setattr(bytecode, "_state", lambda source: STATE)
    probe.start()
    assert probe.value() == 1


@pytest.mark.parametrize("start", ["0", 1 << 62, 1 << 70])
def test_a_damaged_place_that_a_command_does_not_use_does_not_fail_it(probe, start):
    probe.start().keep()
    write_index(probe, ({"strongroom_probe.unused": (False, STATE, 0)}, [(start, start)]))
    probe.start().keep()  # which finds modules to keep
    probe.start()
    assert (probe.value(), probe.from_the_file()) == (1, NAMES)


def test_what_cannot_be_kept_does_not_fail_a_command(probe):
    finder = probe.start()
    cached = Path(sys.modules[NAMES[0]].__cached__)
    cached.write_bytes(cached.read_bytes()[:20])  # Python raises an EOFError for one that a full disk cut off
    finder.keep()
    assert not probe.file.exists()


@pytest.mark.parametrize(
    "odd", [None, object(), os, "second name"], ids=["none", "object", "module", "alias"]
)
def test_what_python_did_not_find_in_a_folder_is_not_looked_at_again_and_again(probe, odd):
    probe.start().keep()
    written = probe.file.stat()
    finder = probe.start()
    sys.modules["strongroom_probe.odd"] = sys.modules[NAMES[0]] if odd == "second name" else odd
    finder.keep()
    assert probe.file.stat().st_ino == written.st_ino


def test_a_place_that_is_not_a_folder_does_not_lead_to_the_current_folder(probe, monkeypatch):
    probe.start().keep()
    monkeypatch.chdir(probe.folder.parent)
    probe.patch.setattr(sys.modules["strongroom_probe"], "__path__", [probe.folder.name])
    finder = ModulesInOneFile()
    assert finder.find_spec(NAMES[-1], [probe.folder.name]) is None


@pytest.mark.parametrize("prefix", [None, "/elsewhere"])
def test_the_file_is_left_alone_where_python_looks_for_bytecode_elsewhere(monkeypatch, prefix):
    monkeypatch.setattr(sys, "meta_path", sys.meta_path.copy())
    monkeypatch.setattr(sys, "pycache_prefix", prefix)
    bytecode.use_one_file()
    assert isinstance(sys.meta_path[0], ModulesInOneFile) is (prefix is None)


def test_an_optimizing_python_has_a_file_of_its_own():
    script = "from importlib.util import cache_from_source; from strongroom.cli import bytecode; "
    script += "print(bytecode.file_of('/x'), cache_from_source('/x/commands.py'))"
    done = subprocess.run([sys.executable, "-O", "-c", script], capture_output=True, text=True, check=True)
    ours, of_python = done.stdout.split()
    assert ours.removesuffix(".bytecode") == of_python.removesuffix(".pyc")


@pytest.mark.parametrize("why", ["no bytecode", "elsewhere", "no folder", "not ours"])
def test_nothing_is_written_where_python_would_write_nothing(probe, why):
    finder = probe.start()
    if why == "no bytecode":
        probe.patch.setattr(sys, "dont_write_bytecode", True)
    elif why == "elsewhere":
        probe.patch.setattr(sys, "pycache_prefix", str(probe.folder))
    elif why == "no folder":
        shutil.rmtree(probe.file.parent)
    else:
        probe.patch.setattr(os, "access", lambda path, mode: False)
    finder.keep()
    assert not probe.file.exists()


def test_a_source_that_is_being_edited_is_left_out(probe):
    finder = probe.start()
    shutil.rmtree(probe.folder / "inner/__pycache__")
    probe.write("inner/two.py", "VALUE = (\n")
    finder.keep()
    assert not probe.file.exists()


STARTED = """\
import os, sys

opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
leave = os._exit


def report(code):
    of_python = [path for path in opened if "/strongroom" in path and path.endswith(".pyc")]
    forked = os.fork()
    if forked == 0:
        name = "strongroom.errors"
        before = type(sys.modules.pop(name).__loader__).__name__
        __import__(name)
        leave((before, type(sys.modules[name].__loader__).__name__) == ("_Loader", "_Loader"))
    status = os.waitpid(forked, 0)[1]
    print([len(of_python), status, code])
    sys.stdout.flush()
    leave(code)


os._exit = report
sys.argv = ["strongroom", "list"]
from strongroom.cli import script

script()
"""


def test_the_command_opens_hardly_any_file_of_its_modules_and_a_forked_process_none_of_ours(tmp_path):
    (tmp_path / "strongroom.yaml").write_text("version: 1\npipelines: {app: {provider: {type: env}}}\n")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "STRONGROOM_TRUST_SPEC": "1"}
    counts = []
    for _ in range(3):  # the first has no record of the spec, and the second keeps its modules
        done = subprocess.run(
            [sys.executable, "-c", STARTED], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )  # fmt: skip
        opened, status, code = map(int, done.stdout.splitlines()[-1].strip("[]").split(","))
        assert (status, code) == (0, 0)
        counts.append(opened)
    assert counts[-1] < 10


UNUSED = """\
import os, sys

leave = os._exit


def report(code):
    files = sys.meta_path[0]._files.values()
    print()  # a value comes without a line's end
    print([code, max((len(group) for file in files for group in file._read.values()), default=0)])
    sys.stdout.flush()
    leave(code)


sys.argv = ["strongroom", *sys.argv[1:]]
os._exit = report
from strongroom.cli import script

script()
"""


def test_a_command_reads_what_it_uses_whichever_was_the_first(tmp_path):
    packages = tmp_path / "packages"
    for name in ("strongroom", "strongroom_file"):
        folder = Path(importlib.util.find_spec(name).origin).parent
        shutil.copytree(folder, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    provider = "{type: file, file_path: secrets.enc, key_file: app.key}"
    plain = f"version: 1\npipelines: {{app: {{provider: {provider}}}}}\n"
    (tmp_path / "plain.yaml").write_text(plain)
    (tmp_path / "strongroom.yaml").write_text(plain + "secrets: {A: {key: a, min_length: 1}}\n")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(packages)}

    def python(*words):
        return subprocess.run(
            [sys.executable, *words],
            env=environment, cwd=tmp_path, input="value", capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def unused(*words):
        code, number = map(int, python("-c", UNUSED, *words).splitlines()[-1].strip("[]").split(","))
        assert code == 0
        return number

    (tmp_path / "app.key").write_text(python("-m", "strongroom", "keygen"))
    (tmp_path / "app.key").chmod(0o600)
    python("-m", "strongroom", "set", "a")
    for _ in range(2):  # the first has no record of the spec, and the second keeps its modules
        unused("check")
    get = [unused("--spec", "plain.yaml", "get", "a") for _ in range(3)]
    assert get[1] > 3 * bytecode._FEW, "check needs as little as get"
    assert get[2] <= bytecode._FEW
    assert unused("check") <= bytecode._FEW
    assert Path(file_of(str(packages / "strongroom"))).exists()
