"""Forks, locks and threads: what `strongroom.parallel` does for whoever holds them."""

from __future__ import annotations

import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import weakref

import pytest
from interrupts import interrupted
from strongroom import SecretProviderRegistry
from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.parallel import (
    BackgroundPool,
    Condition,
    SingleEntryLock,
    forks_wait,
    in_parallel,
    never_collect,
    renew_after_fork,
    start_thread,
)
from strongroom.runtime import forks
from strongroom.testing.conformance.forks import Children


class Owner:
    def __init__(self, log, name, *, fails=False):
        self.log, self.name, self.fails = log, name, fails

    def renew(self):
        self.log.append(self.name)
        if self.fails:
            raise RuntimeError(self.name)

    def rest(self, take):
        self.log.append(f"{self.name} rests")


def run(code, timeout=60):
    """Run `code` in a new process, which must end by itself, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- renew_after_fork ---


def test_owners_are_renewed_in_the_order_in_which_they_were_registered():
    log = []
    owners = [Owner(log, name) for name in "abc"]
    for owner in reversed(owners):
        renew_after_fork(owner, Owner.renew)
    assert Children(2, lambda _: log).results() == [["c", "b", "a"]] * 2
    assert log == []


def test_an_error_of_one_owner_does_not_keep_the_others_from_being_renewed(monkeypatch):
    log = []
    # As of every handler of a fork.
    monkeypatch.setattr(sys, "unraisablehook", lambda arguments: log.append(str(arguments.exc_value)))
    owners = [Owner(log, "a", fails=True), Owner(log, "b")]
    for owner in owners:
        renew_after_fork(owner, Owner.renew)
    assert Children(1, lambda _: log).results() == [["a", "b", "a"]]


def test_an_owner_is_not_kept_alive_by_its_registration():
    log = []
    owner = Owner(log, "a")
    renew_after_fork(owner, owner.renew)  # a bound method, which holds its owner
    seen = weakref.ref(owner)
    del owner
    gc.collect()
    assert seen() is None
    assert Children(1, lambda _: log).results() == [[]]


def test_an_owner_is_brought_to_rest_in_the_parent_before_the_fork():
    log = []
    owner = Owner(log, "a")
    renew_after_fork(owner, Owner.renew, rest=Owner.rest)
    assert Children(1, lambda _: log).results() == [["a rests", "a"]]
    assert log == ["a rests"]


def test_so_is_one_that_is_registered_while_another_comes_to_rest():
    """By another thread, which did not wait for a fork that takes long."""
    log = []
    late = Owner(log, "late")

    class Slow(Owner):
        def rest(self, take):
            super().rest(take)
            renew_after_fork(late, Owner.renew, rest=Owner.rest)

    owner = Slow(log, "slow")
    renew_after_fork(owner, Owner.renew, rest=Slow.rest)
    assert Children(1, lambda _: log).results() == [["slow rests", "late rests", "slow", "late"]]


def test_a_fork_aside_leaves_the_owners_alone_and_the_forks_of_its_child_do_not():
    log = []
    owner = Owner(log, "a")
    renew_after_fork(owner, Owner.renew, rest=Owner.rest)
    pid = forks.fork_aside()
    if pid == 0:
        try:
            code = 0 if log == [] and Children(1, lambda _: log).results() == [["a rests", "a"]] else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert log == []
    assert Children(1, lambda _: log).results() == [["a rests", "a"]]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_aside_waits_for_no_build(monkeypatch):
    monkeypatch.setattr(forks, "_LONGEST_WAIT", 600.0)
    building, release = threading.Event(), threading.Event()

    def build():
        with forks_wait():
            building.set()
            release.wait(300)

    thread = threading.Thread(target=build)
    thread.start()
    assert building.wait(300)
    pid = forks.fork_aside()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    release.set()
    thread.join(300)


def test_a_lock_taken_for_a_fork_is_free_afterwards_in_parent_and_child():
    class Holder:
        def __init__(self):
            self.lock = threading.Lock()

        def rest(self, take):
            take(self.lock)

    holder = Holder()
    renew_after_fork(holder, lambda _: None, rest=Holder.rest)
    assert Children(1, lambda _: holder.lock.locked()).results() == [False]
    assert not holder.lock.locked()


def test_a_fork_waits_for_a_thread_that_builds(monkeypatch):
    begun, forking, done = threading.Event(), threading.Event(), []
    others_build = forks._others_build

    def look():
        forking.set()
        return others_build()

    monkeypatch.setattr(forks, "_others_build", look)

    def build():
        with forks_wait():
            begun.set()
            assert forking.wait(300)
            done.append("built")

    thread = threading.Thread(target=build)
    thread.start()
    assert begun.wait(300)
    assert Children(1, lambda _: done).results() == [["built"]]
    thread.join(300)


def test_a_fork_gets_its_turn_beside_threads_that_build_again_and_again(monkeypatch):
    monkeypatch.setattr(forks, "_LONGEST_WAIT", 600.0)  # it is not the end of its patience
    inside, begun, ended = set(), threading.Semaphore(0), threading.Event()

    def build(number):
        while not ended.is_set():
            with forks_wait(), forks_wait():  # a build within a build is let through
                inside.add(number)
                begun.release()
                ended.wait(0.001)
                inside.discard(number)

    threads = [threading.Thread(target=build, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        assert begun.acquire(timeout=300)
    try:
        assert Children(3, lambda _: sorted(inside)).results() == [[], [], []]
    finally:
        ended.set()
        for thread in threads:
            thread.join(300)


def test_a_fork_does_not_wait_for_what_its_own_thread_builds():
    with forks_wait():
        assert Children(1, lambda _: "free").results() == ["free"]


def test_a_fork_waits_ten_seconds_at_most(monkeypatch):
    monkeypatch.setattr(forks, "_LONGEST_WAIT", 0.05)
    begun, end = threading.Event(), threading.Event()

    def build():
        with forks_wait():
            begun.set()
            end.wait(300)

    thread = threading.Thread(target=build, daemon=True)
    thread.start()
    assert begun.wait(300)

    def work(_):
        with forks_wait():
            return os.getpid() != parent

    parent = os.getpid()
    assert Children(1, work).results() == [True]
    end.set()
    thread.join(300)


def test_what_is_never_collected_outlives_its_last_reference():
    thing = Owner([], "a")
    seen = weakref.ref(thing)
    never_collect(thing, None)
    del thing
    gc.collect()
    assert seen() is not None


# --- crews and runners ---


def test_a_crew_works_in_a_child_though_its_threads_are_gone():
    crew, done = BackgroundPool(), threading.Event()
    crew.start(done.set)
    assert done.wait(300)

    def work(_):
        again = threading.Event()
        crew.start(again.set)
        return again.wait(300)

    assert Children(2, work).results() == [True, True]


def test_a_child_does_not_do_what_its_parent_still_had_to_do():
    crew, begun, end = BackgroundPool(1), threading.Event(), threading.Event()
    crew.start(lambda: (begun.set(), end.wait(300)))
    assert begun.wait(300)
    log = []
    crew.start(lambda: log.append("of the parent"))

    def work(_):
        done = threading.Event()
        crew.start(done.set)
        done.wait(300)
        return log

    assert Children(1, work).results() == [[]]
    end.set()


def test_a_runner_works_in_a_child_though_its_slots_were_taken():
    runner, begun, end = DeadlineExecutor(2), threading.Semaphore(0), threading.Event()

    def block():
        begun.release()
        end.wait(300)

    for _ in range(2):
        threading.Thread(target=runner.run, args=(block, Deadline(60)), daemon=True).start()
    for _ in range(2):
        assert begun.acquire(timeout=300)
    with pytest.raises(DeadlineExceededError):
        runner.run(lambda: "no slot is free", Deadline(0.01))
    assert Children(2, lambda number: runner.run(lambda: number, Deadline(60))).results() == [1, 2]
    end.set()


def test_a_closed_pool_has_no_idle_threads_and_can_be_used_again():
    pool, threads = BackgroundPool(2), queue.SimpleQueue()
    for _ in range(2):
        pool.start(lambda: threads.put(threading.current_thread()))
        worker = threads.get(timeout=60)
        pool.close()
        worker.join(timeout=20)  # less than an idle thread has
        assert not worker.is_alive()


def test_a_closed_registry_leaves_no_threads():
    cached = {
        "provider": {"type": "memory", "secrets": {"key": "value"}},
        "middleware": [{"type": "caching"}],
    }
    before = set(threading.enumerate())
    with SecretProviderRegistry({"version": 1, "pipelines": {"app": cached}}) as registry:
        registry.get_secret("key")
        begun = set(threading.enumerate()) - before
    for thread in begun:
        thread.join(timeout=20)
    assert begun
    assert not any(thread.is_alive() for thread in begun)


def test_idle_threads_of_a_runner_are_not_counted_on_in_a_child():
    runner = DeadlineExecutor()
    assert runner.run(lambda: 1, Deadline(60)) == 1
    assert Children(1, lambda _: [runner.run(lambda: 2, Deadline(60)) for _ in range(3)]).results() == [
        [2] * 3
    ]


def test_what_an_abandoned_call_returns_is_discarded():
    runner, end, discarded = DeadlineExecutor(), threading.Event(), queue.SimpleQueue()

    def late():
        end.wait(300)
        return "a connection"

    with pytest.raises(DeadlineExceededError):
        runner.run(late, Deadline(0.01), discarded.put)
    assert discarded.empty()
    end.set()
    assert discarded.get(timeout=300) == "a connection"


def test_a_result_that_comes_in_the_moment_of_giving_up_is_discarded():
    runner, discarded = DeadlineExecutor(1), queue.SimpleQueue()

    class AfterTheCall(Deadline):
        """A deadline that is noticed when the call has ended."""

        def remaining(self):
            if self.end == float("inf"):  # for the slot
                self.end = 0.0
                return 60.0
            runner._slots.take(Deadline(60))  # the call has freed its slot, and soon it is settled
            runner._slots.give_back()
            return super().remaining()

    with pytest.raises(DeadlineExceededError):
        runner.run(lambda: "a connection", AfterTheCall(None), discarded.put)
    assert discarded.get(timeout=300) == "a connection"
    assert runner.run(lambda: "taken", Deadline(60), discarded.put) == "taken"
    assert runner.run(lambda: "another", Deadline(60), discarded.put) == "another"
    assert discarded.empty()


def test_a_failure_of_an_abandoned_call_has_nothing_to_discard():
    runner, end, discarded = DeadlineExecutor(1), threading.Event(), queue.SimpleQueue()

    def late():
        end.wait(300)
        raise RuntimeError

    with pytest.raises(DeadlineExceededError):
        runner.run(late, Deadline(0.01), discarded.put)
    end.set()
    assert runner.run(lambda: "the next", Deadline(60)) == "the next"
    assert discarded.empty()


def test_an_interrupt_as_a_thread_of_a_runner_starts_loses_no_slot(monkeypatch):
    """As Ctrl-C, or a time limit by a signal: the call is made, and what it returns is discarded."""
    runner, discarded, start = DeadlineExecutor(1), queue.SimpleQueue(), threading.Thread.start

    def interrupted(thread):
        monkeypatch.undo()
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(lambda: "a connection", Deadline(60), discarded.put)
    assert discarded.get(timeout=60) == "a connection"
    assert runner.run(lambda: "the next", Deadline(60)) == "the next"


def test_a_connection_that_cannot_be_closed_does_not_end_the_thread_of_later_calls():
    runner, end, failed = DeadlineExecutor(1), threading.Event(), threading.Event()

    def close(_):
        failed.set()
        raise OSError

    with pytest.raises(DeadlineExceededError):
        runner.run(lambda: end.wait(300), Deadline(0.01), close)
    end.set()
    assert failed.wait(300)
    assert runner.run(lambda: "the next", Deadline(60)) == "the next"


# --- locks ---


def test_a_lock_takes_a_wait_of_any_length():
    """Python's own refuses more than 292 years."""
    lock = SingleEntryLock("the thing")
    assert lock.acquire(timeout=1e300)
    lock.release()


def test_a_lock_refuses_the_thread_that_has_it():
    lock = SingleEntryLock("the thing")
    with lock:
        assert lock.is_mine()
        with pytest.raises(BackendUnavailableError, match="the thing is in use by the thread") as caught:
            lock.acquire()
        with pytest.raises(BackendUnavailableError), lock:
            pass
        assert lock.locked()
    assert not lock.locked()
    assert "set a flag" in (caught.value.hint or "")


def test_a_lock_keeps_other_threads_waiting():
    lock, found = SingleEntryLock("the thing"), []
    with lock:
        other = threading.Thread(target=lambda: found.append(lock.acquire(timeout=0.01)))
        other.start()
        other.join(300)
    assert found == [False]


def test_what_a_signal_handler_raises_leaves_no_lock_locked():
    """It may come at any moment; one in twenty came as the lock was taken or given back by Python's code."""
    lock = SingleEntryLock("the thing")

    def work():
        with lock:
            len("")
        if lock.acquire(timeout=60):
            try:
                len("")
            finally:
                lock.release()

    for _ in interrupted(work, 300):
        assert not lock.is_mine()
        assert not lock.locked()


@pytest.mark.parametrize("error", [SystemExit, RuntimeError])
def test_a_call_that_raises_after_all_leaves_the_thread_to_the_next(error, caplog):
    """Otherwise all further calls would wait for ever."""
    pool, done = BackgroundPool(1), threading.Event()

    def fail():
        raise error("s3cret")

    for call in (fail, fail, done.set):
        pool.start(call)
    assert done.wait(120)
    assert caplog.messages == [f"a call in the background failed: {error.__name__}"] * 2


def test_what_a_signal_handler_raises_leaves_no_condition_locked():
    changed = Condition()

    def work():
        with changed:
            changed.notify_all()

    for _ in interrupted(work, 300):
        assert not changed._is_owned()


def test_what_a_signal_handler_raises_leaves_a_pool_usable():
    """Its lock free, and no thread taken for one whose calls a signal handler makes."""
    pool = BackgroundPool(4)
    for _ in interrupted(lambda: pool.start(list), 300):
        assert not pool._lock._is_owned()
        assert threading.get_ident() not in pool._starting
    done = threading.Event()
    pool.start(done.set)
    assert done.wait(60)


# --- reads at the same time ---


def test_reads_in_parallel_keep_their_order_and_the_callers_context():
    from strongroom.tenancy import TenantContext, current_tenant

    with TenantContext("acme"):
        found = in_parallel(lambda key: (key, current_tenant()), list(range(20)), 4)
    assert found == [(key, "acme") for key in range(20)]


def test_reads_in_parallel_keep_the_tenant_when_its_block_ends_elsewhere(monkeypatch):
    """Also before their thread is started: the rest would be read for the tenant of the block around."""
    from strongroom.tenancy import TenantContext, current_tenant

    start, closed, both = threading.Thread.start, threading.Event(), threading.Barrier(2)

    def in_block():
        with TenantContext("a"):
            yield

    def start_and_wait(thread):
        start(thread)
        assert closed.wait(120)

    def read(key):
        if key == 1:
            generator.close()
            closed.set()
        both.wait(120)
        return current_tenant()

    monkeypatch.setattr(threading.Thread, "start", start_and_wait)
    with TenantContext("b"):
        generator = in_block()
        next(generator)
        assert in_parallel(read, [1, 2], 2) == ["a"] * 2
        assert current_tenant() == "b"


def test_the_first_failure_is_raised_and_reads_that_have_not_begun_are_dropped():
    begun = []

    def read(key):
        begun.append(key)
        raise KeyError(key)

    with pytest.raises(KeyError):
        in_parallel(read, list(range(1000)), 2)
    assert len(begun) < 1000


def test_an_exit_on_a_thread_is_an_error_of_the_caller():
    """It is not meant for the caller, whose process it would end."""

    def read(key):
        raise SystemExit(key)

    with pytest.raises(StrongroomError, match="SystemExit was raised on a thread"):
        in_parallel(read, list(range(10)), 2)


def test_reads_go_on_after_the_main_thread_has_ended():
    said = run("""
import threading
from strongroom.parallel import in_parallel
def late():
    threading.main_thread().join()
    print(sum(in_parallel(lambda number: number, list(range(10)), 4)))
threading.Thread(target=late).start()
""")
    assert said == "45"


def test_reads_go_on_as_the_interpreter_ends():
    said = run("""
import atexit
from strongroom import parallel
from strongroom.deadlines import Deadline, DeadlineExecutor
from strongroom.parallel import in_parallel
atexit.register(lambda: print(sum(in_parallel(lambda number: number, list(range(10)), 4))))
atexit.register(lambda: print(DeadlineExecutor().run(lambda: "run", Deadline(60))))
""")
    assert said.split() == ["run", "45"]


@pytest.mark.parametrize("threads", ["without a thread", "with an idle thread"])
def test_calls_do_not_wait_for_threads_once_the_interpreter_lets_none_run(threads):
    """As in `__del__` of what is collected last: Python 3.11 would wait forever for a thread to start."""
    said = run(f"""
import os, sys
from strongroom import SecretProviderRegistry
from strongroom.deadlines import Deadline, DeadlineExecutor
from strongroom.parallel import BackgroundPool
pool, runner, said = BackgroundPool(), DeadlineExecutor(), []
registry = SecretProviderRegistry({{"version": 1, "pipelines": {{"app": {{
    "provider": {{"type": "memory", "secrets": {{"a": "secret", "b": "other"}}}}, "middleware": [{{"type": "caching"}}]}}}}}})
class Last:
    def __del__(self):
        pool.start(lambda: said.append("pool"))
        said.append(runner.run(lambda: "runner", Deadline(600)))
        said.append(registry.get_secret("a"))
        os.write(1, " ".join(said).encode())
if {threads == "with an idle thread"}:
    pool.start(lambda: None)
    runner.run(lambda: None, Deadline(600))
    registry.get_secret("b")
    while not (pool._asleep and runner._idle):
        pass
sys.modules["kept to the end"] = Last()
""")
    assert said == "pool runner secret"


def test_a_thread_is_not_started_once_the_interpreter_lets_none_run(monkeypatch):
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    thread = threading.Thread()
    with pytest.raises(RuntimeError, match="the interpreter is ending"):
        start_thread(thread)
    assert thread.ident is None


def test_an_interrupt_ends_a_batch_whose_reads_hang():
    """Ctrl-C: the reads would hang for ten minutes, and the process ends at once."""
    code = """
import time
from strongroom.parallel import in_parallel
def read(number):
    if number == 0:
        print("begun", flush=True)
    time.sleep(600)
in_parallel(read, list(range(40)), 8)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(300) != 0
