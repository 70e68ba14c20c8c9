"""Leases are revoked at the end of a process, when no thread of the program needs them any more."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from strongroom import Lease
from strongroom.errors import BackendUnavailableError
from strongroom.leases import LeaseLedger, LeasingProvider, LiveLeases, process_end

AT_EXIT = """
import atexit, sys
from datetime import UTC, datetime, timedelta
from strongroom import Lease, SecretProviderRegistry
from strongroom.leases import LeasingProvider

class Server(LeasingProvider):
    type_name = "server"
    def issue_lease(self, key):
        print("issued", key)
        now = datetime.now(UTC)
        return Lease(key, key, {"password": "s3cret"}, now, now + timedelta(hours=1), True)
    def renew_lease(self, lease):
        return lease
    def revoke_lease(self, lease):
        print("revoked", lease.id)

registry = SecretProviderRegistry({"version": 1, "pipelines": {"own": {"provider": {"type": "memory"}}}})
registry.register("app", Server(), prefix="app/")
for key in sys.argv[1:]:
    registry.get_secret(key)
atexit.register(lambda: print("read", len(registry.get_secret("app/last"))))
"""


@pytest.mark.parametrize("before", [[], ["app/first"]])
def test_a_lease_that_a_function_at_the_exit_reads_is_revoked(state, before):
    """Whether it is the first one of the process, or the earlier ones have been revoked by then."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, *before], capture_output=True, text=True, check=False, timeout=300
    )
    earlier = [f"{what} {key}" for what in ("issued", "revoked") for key in before]
    expected = [*earlier, "issued app/last", "read 22", "revoked app/last"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
    assert LeaseLedger().files() == []


@pytest.mark.parametrize("registered", ["before", "after"])
def test_a_function_at_the_exit_that_leases_do_not_know_yet_leaves_none_behind(state, registered):
    """It may be registered before leases are loaded, which happens at their first use, or before strongroom is."""
    first = "import atexit, sys\nread = []\n"
    register, load = "atexit.register(lambda: read[0]())\n", "import strongroom\n"
    known = "assert 'strongroom.leases.process_end' not in sys.modules\n"
    begin = register + load if registered == "before" else load + known + register
    program, _, last = AT_EXIT.rpartition("atexit.register(")
    done = subprocess.run(
        [sys.executable, "-c", first + begin + program + f"read.append({last}"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    reads = ["issued app/last", "read 22", "revoked app/last"]
    assert done.stdout.splitlines() == (reads if registered == "after" else [])
    assert ("the process is ending" in done.stderr) is (registered == "before")
    assert LeaseLedger().files() == []


def test_what_ends_by_itself_can_be_read_until_the_end(monkeypatch):
    class Own(LeasingProvider):
        type_name, revocable = "own", False

        def issue_lease(self, key):
            now = datetime.now(UTC)
            return Lease("", key, {"password": "p"}, now, now + timedelta(hours=1), renewable=False)

        renew_lease = revoke_lease = issue_lease

    monkeypatch.setattr(process_end, "_ended", os.getpid())
    assert LiveLeases(Own()).text("k") == '{"password": "p"}'
    Own.revocable = True
    with pytest.raises(BackendUnavailableError, match="the process is ending"):
        LiveLeases(Own()).text("k")


AFTER_MAIN = """
import multiprocessing, threading
from concurrent.futures import ThreadPoolExecutor

def work():
    ended.wait()
    print("read", len(registry.get_secret("app/first")), flush=True)

def begin():
    registry.get_secret("app/first")
    POOL.submit(work) if "pool" in sys.argv else threading.Thread(target=work).start()

sys.stdout.reconfigure(line_buffering=True)
POOL = ThreadPoolExecutor(1)
ended = threading.Event()
threading._register_atexit(ended.set)  # those that were registered later run earlier
if "forked" in sys.argv:
    child = multiprocessing.get_context("fork").Process(target=begin)
    child.start()
    child.join()
else:
    begin()
"""


@pytest.mark.parametrize("how", [["thread"], ["forked", "pool"]])
def test_a_lease_lives_as_long_as_a_thread_that_outlives_the_main_one(state, how):
    """A program may begin its threads and let the main one end: the process has not ended by then."""
    program = AT_EXIT.partition("for key in")[0] + AFTER_MAIN
    done = subprocess.run(
        [sys.executable, "-c", program, *how], capture_output=True, text=True, check=False, timeout=300
    )
    expected = ["issued app/first", "read 22", "revoked app/first"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
    assert LeaseLedger().files() == []


DAEMONS = """
import multiprocessing, threading
from strongroom.errors import BackendUnavailableError

class Slow(Server):
    def issue_lease(self, key):
        issuing.set()
        if key == "app/late":
            assert revoked.wait(300)
            sum(range(3_000_000))  # the process would have time to end
        return super().issue_lease(key)

    def revoke_lease(self, lease):
        super().revoke_lease(lease)
        revoked.set()
        if lease.id == "app/first":  # a daemon thread reads whenever its lease is revoked
            asked.release()
            assert answered.acquire(timeout=300)

def read_again():
    while asked.acquire():
        try:
            print("read", len(registry.get_secret("app/first")))
        except BackendUnavailableError as error:
            print(error)
        answered.release()

def read_late():
    assert ending.wait(300)
    registry.get_secret("app/late")

def begin_late():
    revoked.clear(), issuing.clear()
    ending.set()
    assert issuing.wait(300)

def print(*words):  # in one write: other threads print, too
    sys.stdout.write(" ".join(map(str, words)) + "\\n")

sys.stdout.reconfigure(line_buffering=True)
ending, issuing, revoked = threading.Event(), threading.Event(), threading.Event()
asked, answered = threading.Semaphore(0), threading.Semaphore(0)
threading.excepthook = print
registry.register("app", Slow(), prefix="app/")

def work():
    registry.get_secret("app/first")
    threading.Thread(target=read_again, daemon=True).start()

if "forked" in sys.argv:
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
else:
    work()
if "late" in sys.argv:  # from Python 3.12 on, no thread can be started at the exit
    threading.Thread(target=read_late, daemon=True).start()
    atexit.register(begin_late)
"""


IN_A_CHILD = """
import multiprocessing, sys
child = multiprocessing.get_context("fork").Process(target=exec, args=[{program!r}, {{}}])
child.start()
child.join()
"""


@pytest.mark.parametrize("how", ["daemon", "late", "forked", "imported in a child"])
def test_daemon_threads_leave_no_lease_behind(state, how):
    """They go on while the process ends, and may be in the middle of a request then."""
    program = AT_EXIT.partition("registry.register(")[0] + DAEMONS
    if how == "imported in a child":
        program = IN_A_CHILD.format(program=program)
    done = subprocess.run(
        [sys.executable, "-c", program, how], capture_output=True, text=True, check=False, timeout=300
    )
    lines = [line for line in done.stdout.splitlines() if "app/" in line or line.startswith("read")]
    assert lines.count("issued app/first") == lines.count("revoked app/first"), done
    assert any("no lease for 'app/first': the process is ending" in line for line in lines), done
    assert lines.count("issued app/late") == lines.count("revoked app/late") == (how == "late"), done
    assert LeaseLedger().files() == []


def test_nobody_waits_for_a_thread_that_is_just_being_started(monkeypatch):
    """`join` refuses one, and then no lease would be revoked."""
    begun = threading.Thread(target=print)
    monkeypatch.setattr(threading, "_limbo", {begun: begun})
    assert begun in threading.enumerate()
    assert begun not in process_end._threads_at_work()
