"""What all tests share: which are collected, in which order, and what a run tells who began it."""

from __future__ import annotations

import faulthandler
import gc
import importlib.metadata
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import warnings
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import importlib_metadata  # noqa: F401  # see below
import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, settings

# Its first import takes the place of the standard library's finder of metadata. Within a run of pytester that
# is undone by half, and no later test of the process finds a distribution: moto's server does not start.

# Hundreds of tests start a Python: without its caches each would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# jsonschema compiles a grammar of IRIs, for seconds a process, where a tool has brought it: we need none.
sys.modules["rfc3987_syntax"] = None

# Each write of a store waits for the disk, and tests make tens of thousands: where memory is enough, and
# may hold programs, they are made there. What a killed process left is seen all the same.
MEMORY = Path("/dev/shm")  # noqa: S108  # pytest makes folders of its own in it
_ENOUGH = 4 << 30
if (
    "TMPDIR" not in os.environ
    and os.access(MEMORY, os.W_OK)
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    and shutil.disk_usage(MEMORY).free > _ENOUGH
):
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# Each worker has a state of its own: what whoever runs the tests has trusted, or other runs, decides none.
STATE = tempfile.mkdtemp(prefix="strongroom-state-")
os.environ["XDG_STATE_HOME"] = STATE

# A spec of root's needs no trust, so that of another user who runs the tests shall need none.
if os.geteuid() != 0:
    os.environ["STRONGROOM_TRUST_SPEC"] = "1"

# How long an example takes says more of the machine than of the code.
settings.register_profile("strongroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("strongroom")

# Fixtures that start a server: whoever asks for one, directly or not, comes after the tests that need none.
SERVERS = {
    "bench",
    "ministack",
    "mariadb",
    "moto_server",
    "other_bus_address",
    "postgres",
    "secret_service",
    "server",
    "shared",
    "shared_oldest",
    "start",
}
# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent / "tests"))

from scheduling import StayTogether, place  # noqa: E402  # as above
from shared_work import find_share_of_constants, rewrite_share  # noqa: E402  # as above
from skipped_time import SkippedTime  # noqa: E402  # as above
from warm_command import warm_command  # noqa: E402

STALLS = ExitStack()
DURATIONS = Path(__file__).parent / ".cache" / "durations.json"
TOO_LATE = "no time is left for it"
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    parser.addoption(
        "--shuffle", metavar="SEED", help="let SEED decide the order of modules and of their tests"
    )
    parser.addoption("--stalls", metavar="SEED", help="let threads and servers stand still for moments")
    parser.addoption("--for-seconds", type=float, help="leave out what begins later after a worker's first")
    parser.addini("hang_seconds", "after how long a test shows what all threads do")
    if not pluginmanager.has_plugin("cacheprovider"):
        parser.addini("cache_dir", "where the cache is, which -p no:cacheprovider does without")


def pytest_configure(config: pytest.Config) -> None:
    """Let signals do what they do in a terminal, where pytest was started to ignore them (`nohup`, `&`)."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _refuse_an_old_installation()
    if config.option.markexpr.startswith("not torture"):
        # Between modules all garbage is looked for (see below); what is torture is run as Python does it.
        gc.set_threshold(10_000, 20, 20)
    if config.option.stalls:
        import stalls

        stalls.begin_stalls(config.option.stalls)
        if "PYTEST_XDIST_WORKER" not in os.environ:
            STALLS.enter_context(stalls.stalled_servers(config.option.stalls))


def pytest_unconfigure() -> None:
    faulthandler.cancel_dump_traceback_later()
    STALLS.close()
    shutil.rmtree(STATE, ignore_errors=True)


def _refuse_an_old_installation() -> None:
    """End the run where entry points of core changed since it was installed: hundreds of tests would fail."""
    project = tomllib.loads((Path(__file__).parent / "core" / "pyproject.toml").read_text())["project"]
    installed = importlib.metadata.distribution("strongroom-core").entry_points.select(group="strongroom")
    if {point.name: point.value for point in installed} != project["entry-points"]["strongroom"]:
        pytest.exit("core's entry points are other ones than those installed: run `make setup`", returncode=4)


@pytest.fixture(scope="session")
def warm_strongroom(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The path of a `strongroom` that need not import itself first; its folder may stand first in a PATH."""
    with warm_command(tmp_path_factory.mktemp("bin")) as command:
        yield str(command)


@pytest.fixture(scope="session")
def warm_python(warm_strongroom: str) -> str:
    """The path of a Python for `-c CODE …` that need not import strongroom first, nor start."""
    return str(Path(warm_strongroom).with_name("warm-python"))


@pytest.fixture
def skipped_time(monkeypatch: pytest.MonkeyPatch) -> Generator[SkippedTime]:
    """A clock for deadlines; who sets what a provider pauses by to its `pause` waits for nothing."""
    from strongroom import deadlines

    clock = SkippedTime()
    monkeypatch.setattr(deadlines, "time", clock)
    yield clock
    clock.ended = True


def pytest_xdist_auto_num_workers() -> int:
    """Return two workers more than there are processors: for a third of the time, tests wait for others."""
    return len(os.sched_getaffinity(0)) + 2 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 2


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> StayTogether:
    return StayTogether(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> list[pytest.Item] | None:
    # 25,000 tests that are not run take longer to collect and to leave out than not to collect.
    leaves_out = collector.config.option.markexpr in {"not torture", "not torture and not server"}
    module = collector.obj if isinstance(collector, pytest.Module) else None
    return [] if leaves_out and (_is_torture(obj) or _is_torture(module)) else None


def _is_torture(obj: object) -> bool:
    marks = getattr(obj, "pytestmark", ())
    marks = marks if isinstance(marks, list) else [marks]  # as a class may say it of itself
    return any(getattr(mark, "name", "") == "torture" for mark in marks)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        number, workers = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        rewrite_share(session.config, number % workers, workers)
        find_share_of_constants(Path(__file__).parent, number % workers, workers)
    # What is collected stays: looking through it for garbage, again and again, finds nothing.
    gc.disable()
    collected = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return collected


_module: list[Path] = []
_watched: list[float] = []
_WATCHED_SECONDS = 20
"""How long a timer serves for the next tests too: pytest's own starts and ends a thread for each test."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    now = time.monotonic()
    if not _watched or now - _watched[0] > _WATCHED_SECONDS:
        _watched[:] = [now]
        seconds = float(item.config.getini("hang_seconds")) + _WATCHED_SECONDS
        faulthandler.dump_traceback_later(seconds, file=item.config.stash[fault_handler_stderr_fd_key])
    # Tests look for garbage by the hundred. What modules before this one left, imports above all, is not
    # theirs: going through it takes half a second each time, and in a forked child more.
    if _module != [item.path]:
        _module[:] = [item.path]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what another module did not close is not this test's failure
            gc.collect()
        gc.freeze()


_began: list[float] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    seconds = item.config.option.for_seconds
    if seconds is not None:
        _began.append(time.monotonic())
        if _began[-1] - _began[0] > seconds:
            pytest.skip(TOO_LATE)


def shuffled(items: list[pytest.Item], seed: str) -> list[pytest.Item]:
    """Return them by chance as pytest-randomly does: modules, then the classes of each, then their tests."""
    draw = random.Random(seed).random  # noqa: S311  # no secret
    rank: defaultdict[object, float] = defaultdict(draw)

    def place_by_chance(item: pytest.Item) -> tuple[float, float, float]:
        return rank[item.path], rank[item.path, getattr(item, "cls", None)], draw()

    return sorted(items, key=place_by_chance)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("server")
    if config.option.shuffle:
        items[:] = shuffled(items, config.option.shuffle)
    else:
        # Large shares first: the last ones, with which some workers have nothing left to do, are small.
        where = [(item.get_closest_marker("server") is not None, place(item.nodeid)) for item in items]
        sizes = Counter(where)
        order = {share: (share[0], -size, share[1]) for share, size in sizes.items()}
        items[:] = [
            item for _, item in sorted(zip(where, items, strict=True), key=lambda pair: order[pair[0]])
        ]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell the scripts how many tests ended how, and how long those of each module took."""
    stats = terminalreporter.stats
    if path := os.environ.get("TEST_OUTCOMES"):
        counts = {name: len(stats.get(name, ())) for name in OUTCOMES}
        Path(path).write_text(json.dumps(counts))
    took: dict[str, float] = {}
    left_out = [report.nodeid for report in stats.get("skipped", ()) if TOO_LATE in str(report.longrepr)]
    if left_out:
        terminalreporter.write_line(
            f"{len(left_out)} tests were left out: their time was over. `make unit` has all"
        )
    cut_short = {node.partition("::")[0] for node in left_out}
    for report in (report for name in ("", *OUTCOMES) for report in stats.get(name, ())):
        module = report.nodeid.partition("::")[0]
        if module not in cut_short:
            took[module] = round(took.get(module, 0) + getattr(report, "duration", 0), 3)
    known: dict[str, float] = json.loads(DURATIONS.read_text()) if DURATIONS.is_file() else {}
    DURATIONS.parent.mkdir(exist_ok=True)
    DURATIONS.write_text(json.dumps(known | took))
