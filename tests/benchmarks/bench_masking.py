"""What masking costs: `run`'s stream, an interactive line, a log record, and `scan`.

Everything but the `budget` rows is a ratio to a peer that does less: `sed` and Python's `re` look for the
values themselves only, `cat` copies, `grep` looks for fixed strings.
"""

from __future__ import annotations

import io
import json
import logging
import os
import random
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strongroom.cli.scanning.matcher import find_matches
from strongroom.cli.scanning.targets import files
from strongroom.masking import Masker, MaskingFilter

_MEGABYTES = 64
_DRIVER = """
import json, os, sys
from strongroom.cli.child.running import run_child
from strongroom.masking import Masker
sys.exit(run_child(sys.argv[1:], os.environ, lambda: Masker(json.loads(os.environ["VALUES"]))).code)
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
            _one_value_row(output, values),
            _interactive_row(values),
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
    environment = os.environ | {"VALUES": json.dumps(values)}
    run = [sys.executable, "-c", _DRIVER, "cat", str(output)]
    sed = ["sed", "-E", f"s/({'|'.join(values)})/********/g", str(output)]
    python = [sys.executable, "-c", _LINE_BY_LINE, str(output)]
    ours = _fastest(lambda: _copied(run, environment))
    megabytes = output.stat().st_size / 1e6
    detail = f"{megabytes / ours:.0f} MB/s, the start of Python and all encodings of 100 values included"
    return [
        _row("masked output of run against its budget of 50 MB/s", ours * 50 / megabytes, 1.0, detail),
        *(
            _row(f"masked output of run against {name}", ours / peer, limit, f"{megabytes / peer:.0f} MB/s")
            for name, limit, peer in (
                ("sed, plain values only", 4.0, _fastest(lambda: _copied(sed, environment))),
                (
                    "Python's re line by line, plain values only",
                    1.0,
                    _fastest(lambda: _copied(python, environment)),
                ),
            )
        ),
    ]


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
    ours, peer = _fastest(lambda: _copied(command, environment)), _fastest(lambda: _copied(sed, environment))
    megabytes = output.stat().st_size / 1e6
    detail = f"{megabytes / ours:.0f} MB/s, its start included; sed: {megabytes / peer:.0f} MB/s"
    return _row("the command run with one plain value against sed with it", ours / peer, 8.0, detail)


def _copied(command: list[str], environment: dict[str, str]) -> None:
    # Into a pipe, as most output goes; what is read is dropped.
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.read1(1 << 20):
            pass
    assert process.returncode == 0


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
    added = statistics.median(delays) - statistics.median(direct)
    detail = (
        f"{added * 1e3:.1f} ms added in the middle, {max(delays) * 1e3:.1f} ms at most, for a held prompt"
    )
    return _row("delay of an interactive line against its budget of 50 ms", added / 0.050, 1.0, detail)


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
    return _row("a masked log record against a plain one", masked / plain, 3.0, detail)


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
