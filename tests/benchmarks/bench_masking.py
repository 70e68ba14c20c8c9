"""What masking costs: `run`'s stream, an interactive line, a log record, and `scan`.

Each row is a ratio to a budget, or to a peer that does less: `sed` and Python's `re` look for the values
themselves only, `grep` looks for fixed strings. Those of whole commands are of processor seconds, all processes
and the start of Python counted: other work on the machine hardly changes them. Their details also have the wall
time. `python tests/benchmarks/run.py masking` measures all of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
import re
import resource
import select
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from strongroom.cli.scanning.matcher import find_matches
from strongroom.cli.scanning.targets import files
from strongroom.masking import Masker, MaskingFilter

_MEGABYTES = 64
_ORDINARY_MEGABYTES = 200
_TEXTS = {
    ".py",
    ".pyi",
    ".txt",
    ".md",
    ".rst",
    ".json",
    ".js",
    ".c",
    ".h",
    ".html",
    ".xml",
    ".yaml",
    ".log",
    ".po",
}
_MEMORY = """
import json, os, subprocess
from strongroom.masking import Masker
stream = Masker(json.loads(os.environ["VALUES"])).stream()
stream.feed(b"2026-01-01 12:00:00 INFO request" * 4096)
print(subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())], text=True))
"""
# As `strongroom.cli.script` starts and ends the command.
_DRIVER = """
import gc, json, os, sys
from strongroom.cli.child.masked import masker_of
from strongroom.cli.child.running import run_child
gc.disable()
os._exit(run_child(sys.argv[1:], os.environ, masker_of(json.loads(os.environ["VALUES"]))).code)
"""
_LINE_BY_LINE = """
import json, os, re, sys
mask = re.compile("|".join(json.loads(os.environ["VALUES"])).encode())
for line in open(sys.argv[1], "rb"): sys.stdout.buffer.write(mask.sub(b"********", line))
"""


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    chance = random.Random(7)
    values = [chance.randbytes(18).hex() for _ in range(100)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        output.write_bytes(_text(chance, values))
        return [
            *_stream_rows(output, values),
            _thousand_row(output, values),
            _one_value_row(output, values),
            _interactive_row(values),
            *_long_rows(),
            _memory_row(),
            _ordinary_row(chance),
            _log_row(values),
            *_scan_rows(Path(folder), values),
        ]


def _text(chance: random.Random, values: list[str]) -> bytes:
    """Return log lines of which one in a hundred shows a value."""
    lines = [
        f"2026-01-01 12:00:00 INFO request path=/api/v1/items/{chance.randrange(10**6)} user=alice status=200\n"
        for _ in range(990)
    ]
    lines += [f"2026-01-01 12:00:00 DEBUG login with {chance.choice(values)}\n" for _ in range(10)]
    chance.shuffle(lines)
    block = "".join(lines).encode()
    return block * (_MEGABYTES * 1_000_000 // len(block))


def _stream_rows(output: Path, values: list[str]) -> list[dict[str, Any]]:
    sed = ["sed", "-E", f"s/({'|'.join(values)})/********/g", str(output)]
    python = [sys.executable, "-c", _LINE_BY_LINE, str(output)]
    environment = os.environ | {"VALUES": json.dumps(values)}
    ours = _masked(output, values)
    megabytes = output.stat().st_size / 1e6
    return [
        _budget("masked output of run, 100 values, against 150 MB/s", ours, megabytes, 150),
        *(
            _row(f"masked output of run against {name}", ours[0] / peer[0], limit, _rates(peer, megabytes))
            for name, limit, peer in (
                ("sed, plain values only", 4.0, _copied(sed, environment)),
                ("Python's re line by line, plain values only", 1.0, _copied(python, environment)),
            )
        ),
    ]


def _thousand_row(output: Path, values: list[str]) -> dict[str, Any]:
    chance = random.Random(8)
    more = [*values, *(chance.randbytes(18).hex() for _ in range(900))]
    megabytes = output.stat().st_size / 1e6
    return _budget(
        "masked output of run, 1,000 values, against 120 MB/s", _masked(output, more), megabytes, 120
    )


def _masked(output: Path, values: list[str]) -> tuple[float, float]:
    environment = os.environ | {"VALUES": json.dumps(values)}
    return _copied([sys.executable, "-c", _DRIVER, "cat", str(output)], environment)


def _budget(name: str, taken: tuple[float, float], megabytes: float, rate: float) -> dict[str, Any]:
    return _row(name, taken[0] * rate / megabytes, 1.0, _rates(taken, megabytes))


def _rates(taken: tuple[float, float], megabytes: float) -> str:
    return f"{megabytes / taken[0]:.0f} MB per processor second, {megabytes / taken[1]:.0f} by the clock"


def _one_value_row(output: Path, values: list[str]) -> dict[str, Any]:
    """Return what the output of the command `strongroom run` takes with one value, against `sed` with it."""
    with output.open("rb") as lines:
        start = lines.read(1_000_000).decode()
    value = next(value for value in values if value in start)
    spec = output.parent / "strongroom.yaml"
    spec.write_text(
        "version: 1\npipelines: {app: {provider: {type: env, prefix: BENCH_}}}\nsecrets: {TOKEN: {key: token}}\n"
    )
    environment = os.environ | {"BENCH_TOKEN": value}
    command = [sys.executable, "-m", "strongroom", "--spec", str(spec), "run", "--", "cat", str(output)]
    sed = ["sed", f"s/{value}/********/g", str(output)]
    ours, peer = _copied(command, environment), _copied(sed, environment)
    megabytes = output.stat().st_size / 1e6
    detail = f"{_rates(ours, megabytes)}; sed: {_rates(peer, megabytes)}"
    return _row("the command run with one plain value against sed with it", ours[0] / peer[0], 2.0, detail)


def _copied(command: list[str], environment: dict[str, str], times: int = 3) -> tuple[float, float]:
    """Return the least processor seconds, and seconds by the clock, of a command that writes to a pipe.

    All processes share one processor: on two, each page of a pipe goes from the memory near one to the other,
    at a cost that depends on what else the machine does.
    """
    processor, clock = [], []
    with _one_processor():
        for _ in range(times):
            took = _copied_once(command, environment)
            processor.append(took[0])
            clock.append(took[1])
    return min(processor), min(clock)


@contextlib.contextmanager
def _one_processor() -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _copied_once(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.read1(1 << 20):
            pass
    assert process.returncode == 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return seconds, time.perf_counter() - started


def _long_rows() -> list[dict[str, Any]]:
    """Return how long after a long value was told the first bytes are passed on."""
    chance = random.Random(9)
    found = []
    for name, size, limit in (("64 KiB", 1 << 16, 0.050), ("1 MiB", 1 << 20, 0.300)):
        value = chance.randbytes(size * 3 // 8).hex() + "/" + chance.randbytes(size // 8 - 1).hex()

        def ready(value: str = value) -> None:
            assert Masker([value]).stream().feed(b"a first line of output\n")

        taken = _fastest(ready)
        found.append(
            _row(
                f"a value of {name} ready, against {limit * 1e3:.0f} ms",
                taken / limit,
                1.0,
                f"{taken * 1e3:.1f} ms",
            )
        )
    return found


def _memory_row() -> dict[str, Any]:
    chance = random.Random(10)
    values = json.dumps([chance.randbytes(18).hex() for _ in range(1000)])
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY],
        env=os.environ | {"VALUES": values},
        stdout=subprocess.PIPE,
        check=True,
    )
    megabytes = int(done.stdout) / 1024
    detail = f"{megabytes:.0f} MB, Python included"
    return _row("memory of 1,000 values against 60 MB", megabytes / 60, 1.0, detail)


def _ordinary_row(chance: random.Random) -> dict[str, Any]:
    """Return how often 100 random values are found in sources and pages that hold none of them."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    values = ["".join(chance.choices(letters, k=chance.randint(12, 40))) for _ in range(100)]
    masker = Masker(values)
    seen = finds = 0
    for root in dict.fromkeys(
        (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/usr/share", "/usr/lib")
    ):
        for path in Path(root).rglob("*"):
            if seen >= _ORDINARY_MEGABYTES * 1_000_000:
                break
            if path.suffix in _TEXTS and path.is_file() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    text = path.read_bytes()[: 1 << 20]
                    seen += len(text)
                    finds += len(masker.finder.find(text))
    return _row(
        "false masks in ordinary text, 100 random values", finds, 0.5, f"{finds} in {seen / 1e6:.0f} MB"
    )


def _interactive_row(values: list[str]) -> dict[str, Any]:
    """Return how long a line takes from a child's write to our reading it, and how long without `run`."""
    # The prompt ends with what begins a value, so that it is held as long as anything is.
    script = (
        "import os, sys, time\n"
        f"for _ in range(20): os.write(1, b'%.6f {values[0][:3]}' % time.monotonic()); sys.stdin.readline()"
    )
    child = [sys.executable, "-c", script]
    environment = os.environ | {"VALUES": json.dumps(values)}
    delays = _delays([sys.executable, "-c", _DRIVER, *child], environment)
    direct = _delays(child, environment)
    added, most = (choose(delays) - statistics.median(direct) for choose in (statistics.median, max))
    detail = f"{added * 1e3:.1f} ms added in the middle, {most * 1e3:.1f} ms at most, for a held prompt"
    return _row("delay of an interactive line against its budget of 50 ms", most / 0.050, 1.0, detail)


def _delays(command: list[str], environment: dict[str, str]) -> list[float]:
    delays = []
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for _ in range(20):
            shown = b""
            while len(shown.split(b" ")[-1]) < 3 or b" " not in shown:
                select.select([process.stdout], [], [])
                shown += os.read(process.stdout.fileno(), 4096)
            delays.append(time.monotonic() - float(shown.split(b" ")[0]))
            process.stdin.write(b"\n")
            process.stdin.flush()
    return delays


def _log_row(values: list[str]) -> dict[str, Any]:
    def logging_time(masked: bool) -> float:
        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        if masked:
            handler.addFilter(MaskingFilter(Masker(values)))
        logger = logging.Logger("bench")  # noqa: LOG001  # not one of the process
        logger.addHandler(handler)

        def write() -> None:
            for number in range(2000):
                logger.info("request %s of %s took %d ms", "/api/v1/items", "alice", number)

        return _fastest(write) / 2000

    plain, masked = logging_time(False), logging_time(True)
    detail = f"{masked * 1e6:.1f} µs a record against {plain * 1e6:.1f} µs"
    return _row("a masked log record against a plain one", masked / plain, 2.5, detail)


def _scan_rows(folder: Path, values: list[str]) -> list[dict[str, Any]]:
    text = Path(folder, "output").read_bytes()[:1_000_000]
    clean = re.sub(rb".*DEBUG.*\n", b"", text)
    tree = folder / "tree"
    tree.mkdir()
    for number in range(200):
        (tree / f"file{number}").write_bytes(clean)
    megabytes = 200 * len(clean) / 1e6
    (folder / "values").write_text("\n".join(values))
    masker = Masker()
    for value in values:
        masker.finder.add(value, "secret")

    def scan() -> None:
        for one in files([str(tree)]):
            assert list(find_matches(*one, masker)) == []  # type: ignore[arg-type, misc]  # all are readable

    grep = ["grep", "-rFc", "-f", str(folder / "values"), str(tree)]
    ours = _fastest(scan, times=1)
    peer = _fastest(lambda: subprocess.run(grep, check=False, stdout=subprocess.DEVNULL), times=1)
    detail = f"{megabytes:.0f} MB in {ours:.1f} s, all encodings of 100 values"
    return [
        _row("scan against its budget of 20 s for 200 MB", ours / (20 * megabytes / 200), 1.0, detail),
        _row(
            "scan against grep -F, plain values only", ours / peer, 6.0, f"grep: {megabytes / peer:.0f} MB/s"
        ),
    ]


def _fastest(call: Callable[[], object], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return min(taken)


def _row(name: str, ratio: float, limit: float, detail: str) -> dict[str, Any]:
    return {"name": name, "ratio": round(ratio, 3), "limit": limit, "detail": detail}


if __name__ == "__main__":
    for row in rows():
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
