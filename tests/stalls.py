"""What a busy machine does to tests, without its load: threads, event loops and servers stand still for moments.

`pytest --stalls=SEED`. A test whose outcome depends on how soon something happens fails here, and a quiet machine has
processors left for it: a run takes some three times as long as one without stalls.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["begin_stalls", "stalled_servers"]

_SERVERS = frozenset({"bao", "etcd", "mariadbd", "pgbouncer", "postgres", "vault"})
"""Those of Redis are left alone: tests stop and continue them, too."""
_MOST_STOPPED = 4
_LONGEST_STOP = 4.0
_TURN_SECONDS = 0.05
_STOPS_A_TURN = 0.01
"""The chance that a process is stopped in a turn: so each stands still for a tenth of the time."""
_sleep = time.sleep  # tests replace it


def begin_stalls(seed: str) -> None:
    """Let threads of this process begin and go on late from now on, at random."""
    chance = random.Random(f"{seed} {os.getpid()}")

    def late(place: Any, name: str, share: float, most: float, *, afterwards: bool = True) -> None:
        """Make so large a share of the calls of a function up to `most` seconds longer."""
        real = getattr(place, name)

        def called(*args: Any, **options: Any) -> Any:
            seconds = chance.random() * most if chance.random() < share else 0.0
            if not afterwards:
                _sleep(seconds)
            result = real(*args, **options)
            if afterwards:
                _sleep(seconds)
            return result

        setattr(place, name, called)

    from strongroom.testing.faults import FaultProxy

    late(threading.Thread, "run", 0.15, 0.7, afterwards=False)
    late(threading.Condition, "wait", 0.05, 0.2)
    late(socket.socket, "accept", 0.1, 0.4)
    late(subprocess.Popen, "__init__", 0.15, 0.8)
    late(asyncio.BaseEventLoop, "_run_once", 0.005, 0.4, afterwards=False)
    late(FaultProxy, "_count", 0.15, 0.4, afterwards=False)


@contextlib.contextmanager
def stalled_servers(seed: str) -> Any:
    """Stop servers that this process's descendants have started, and pytest's workers, for moments at random."""
    chance = random.Random(seed)
    ended = threading.Event()

    def stop_and_go() -> None:
        stopped: dict[int, float] = {}
        try:
            while True:
                last = ended.wait(_TURN_SECONDS)
                now = time.monotonic()
                for process in [one for one, until in stopped.items() if last or now > until]:
                    del stopped[process]
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGCONT)
                if last:
                    return
                going = [one for one in _to_stall() if one not in stopped]
                if len(stopped) < _MOST_STOPPED and chance.random() < _STOPS_A_TURN * len(going):
                    process = chance.choice(going)
                    stopped[process] = now + min(_LONGEST_STOP, chance.expovariate(1.2))
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGSTOP)
        finally:
            for process in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=stop_and_go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _to_stall() -> list[int]:
    """Return the servers and workers below this process."""
    own, parents, names = os.getpid(), {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            text = path.read_text()
            process = int(path.parent.name)
            names[process] = text[text.index("(") + 1 : text.rindex(")")]
            parents[process] = int(text[text.rindex(")") + 2 :].split()[1])

    def is_below(process: int) -> bool:
        while process not in {0, own}:
            process = parents.get(process, 0)
        return process == own

    return sorted(
        process
        for process, name in names.items()
        if (name in _SERVERS and is_below(process)) or (name.startswith("python") and parents[process] == own)
    )
