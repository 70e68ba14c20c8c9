"""Live leases: one a key, renewed, replaced and revoked; with a clock that the test moves."""

from __future__ import annotations

import copy
import dataclasses
import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from interrupts import interrupted
from strongroom import Lease, SecretProviderRegistry, SecretRotation, TenantContext
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.hooks import SecretHook
from strongroom.leases import (
    LeaseLedger,
    LeasingProvider,
    LiveLeases,
    ProcessLedger,
    ledger,
    live,
    process_end,
)
from strongroom.leases.ledger import issuer_of
from strongroom.leases.live import _Flight
from strongroom.middleware.leases import LeaseMiddleware
from strongroom.registry.leases import LiveLease
from strongroom_memory import MemorySecretProvider

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds

    def now(self):
        return START + timedelta(seconds=self.seconds)


class Server(LeasingProvider):
    """Issues leases of `ttl` seconds, renewed up to `most`; it can be down, forget, and refuse."""

    type_name = "server"

    def __init__(self, clock, ttl=12.0, most=48.0, renewable=True):
        self.clock, self.ttl, self.most, self.renewable = clock, ttl, most, renewable
        self.living = {}
        self.issued = 0
        self.renewals = 0
        self.error = None
        self.refusing = None

    def _answer(self):
        if self.error is not None:
            raise self.error

    def issue_lease(self, key):
        self._answer()
        if self.refusing is not None:
            raise self.refusing
        if key == "none":
            raise self.not_found(key)
        self.issued += 1
        now = self.clock()
        lease_id = f"{key}/{self.issued}"
        self.living[lease_id] = (now + self.ttl, now + self.most)
        values = {"username": f"u{self.issued}", "password": f"s3cret-{self.issued}"}
        start = self.clock.now()
        return Lease(lease_id, key, values, start, start + timedelta(seconds=self.ttl), self.renewable)

    def renew_lease(self, lease):
        self._answer()
        ends, most = self.living.get(lease.id, (0, 0))
        now = self.clock()
        if ends <= now:
            raise SecretNotFoundError(lease.key)
        self.renewals += 1
        ends = min(now + self.ttl, most)
        self.living[lease.id] = (ends, most)
        left = timedelta(seconds=ends - now)
        return Lease(lease.id, lease.key, lease.values, lease.issued_at, self.clock.now() + left, True)

    def revoke_lease(self, lease):
        self._answer()
        self.living.pop(lease.id, None)

    def good(self, username):
        number = username[1:]
        return any(name.endswith(f"/{number}") and end[0] > self.clock() for name, end in self.living.items())

    def alive(self):
        return sorted(name for name, (ends, _) in self.living.items() if ends > self.clock())


class Driven:
    """Leases whose thread is the test."""

    def __init__(self, **options):
        self.clock = Clock()
        self.server = Server(self.clock, **options)
        self.leases = LiveLeases(
            self.server, clock=self.clock, now=self.clock.now, uniform=lambda least, _: least
        )
        self.leases._run = lambda: None

    def work(self):
        self.leases.start_due(lambda call: call())

    def pass_seconds(self, seconds, step=0.25):
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            self.clock.seconds += step
            self.work()

    def user(self, key="app"):
        return json.loads(self.leases.text(key))["username"]


def test_a_lease_is_renewed_at_two_thirds_and_replaced_before_its_greatest_age():
    """Values that are given are always good, with hardly more leases than their greatest age asks for."""
    driven = Driven()
    heard = []
    driven.leases.subscribe((None, "app"), lambda lease: heard.append(lease.values["username"]))
    for _ in range(960):
        driven.pass_seconds(0.5)
        assert driven.server.good(driven.user())
    assert driven.server.issued <= 1.3 * 480 / 48
    assert heard == [f"u{number}" for number in range(2, driven.server.issued + 1)]


def test_what_cannot_be_renewed_is_replaced_at_two_thirds():
    """As a certificate, or a token of STS."""
    driven = Driven(renewable=False)
    driven.user()
    driven.pass_seconds(7.5)
    assert driven.user() == "u1"
    driven.pass_seconds(1)
    assert driven.user() == "u2"
    assert driven.server.renewals == 0


def test_a_server_that_forgot_leads_to_another_lease():
    """Seen at the renewal, or by who is refused and asks for a check."""
    driven = Driven()
    assert driven.user() == "u1"
    driven.server.living.clear()
    driven.pass_seconds(8.5)
    assert driven.user() == "u2"
    driven.server.living.clear()
    driven.pass_seconds(2)
    driven.leases.check((None, "app"))
    assert driven.user() == "u3"
    driven.leases.check((None, "app"))  # at most once a second
    assert driven.server.issued == 3


def test_checks_without_end_make_few_leases():
    """As of an application that lacks a right, and is refused by each query, though its lease is good."""
    driven = Driven(ttl=3600.0, renewable=False)
    driven.user()
    for _ in range(300):
        driven.clock.seconds += 1
        driven.leases.check((None, "app"))
    assert driven.server.issued == 6
    last = Driven(ttl=12.0, most=13.0)
    last.user()
    last.pass_seconds(8.25)  # renewed, for the last time
    assert last.server.renewals == 1
    last.leases._held[(None, "app")].act_at += 60  # nothing but checks
    last.clock.seconds += 1.5
    last.leases.check((None, "app"))
    assert (last.server.issued, last.server.renewals) == (1, 2)


@pytest.mark.parametrize("error", [SystemExit, ValueError])
def test_a_callback_that_raises_keeps_no_lease_from_the_others(error):
    """Otherwise a pool beside it would go on with values that have ended."""
    driven, heard = Driven(renewable=False), []

    def fail(_):
        raise error("s3cret")

    driven.user()
    for callback in (fail, lambda lease: heard.append(lease.values["username"])):
        driven.leases.subscribe((None, "app"), callback)
    driven.pass_seconds(8.5)
    driven.clock.seconds += 60
    with pytest.raises(SystemExit) if error is SystemExit else nullcontext():
        driven.user()  # it issues another one, in this thread, which an exit ends as everywhere
    assert (heard, driven.user()) == (["u2", "u3"], "u3")


def test_a_check_within_a_check_is_left_to_that_one(monkeypatch):
    """As by a signal handler, or by a provider that looks at its own connection."""
    driven = Driven()
    driven.user()
    driven.clock.seconds += 2
    renew = driven.server.renew_lease
    monkeypatch.setattr(
        driven.server, "renew_lease", lambda lease: driven.leases.check((None, "app")) or renew(lease)
    )
    driven.leases.check((None, "app"))
    assert driven.server.renewals == 1


def test_what_a_signal_handler_raises_leaves_no_lease_locked():
    """Otherwise it is not renewed any more."""
    driven = Driven()
    driven.user()
    for _ in interrupted(lambda: driven.leases.check((None, "app")), 100):
        assert not driven.leases._held[(None, "app")].lock.locked()


def test_a_batch_is_of_the_tenant_for_whom_it_was_begun():
    """The block ends as the first lease of the batch is issued."""

    def in_block():
        with TenantContext("a"):
            yield

    class Own(Server):
        def issue_lease(self, key):
            generator.close()
            return super().issue_lease(key)

    clock = Clock()
    leases = LiveLeases(Own(clock), by_tenant=True, clock=clock, now=clock.now)
    leases._run = lambda: None
    with TenantContext("b"):
        generator = in_block()
        next(generator)
        assert list(leases.texts(["x", "y"])) == ["x", "y"]
    assert sorted(leases.current()) == [("a", "x"), ("a", "y")]


@pytest.mark.parametrize("error", [BackendUnavailableError("down"), PermissionDeniedError("no")])
def test_values_are_given_until_they_end_and_then_unavailable(error):
    """Whatever keeps the lease from being renewed or replaced."""
    driven = Driven()
    assert driven.user() == "u1"
    driven.server.error = error
    driven.pass_seconds(11.5)
    assert driven.user() == "u1"
    driven.pass_seconds(1)
    with pytest.raises(BackendUnavailableError, match="has ended") as ended:
        driven.user()
    assert ended.value.key == "app"
    driven.server.error = None
    driven.pass_seconds(31)
    assert driven.user() == "u2"


def test_an_outage_that_ends_before_the_lease_does_leaves_it():
    """Several tries are left."""
    driven = Driven()
    driven.user()
    driven.server.error = BackendUnavailableError("down")
    driven.pass_seconds(10.5)
    driven.server.error = None
    driven.pass_seconds(1.25)
    driven.pass_seconds(4)
    assert driven.user() == "u1"


def test_a_lease_that_ended_in_an_outage_leaves_the_ledger(tmp_path):
    """As it is replaced; nothing is left behind for a sweep."""
    driven = Driven()
    driven.leases._calls._ledger = ProcessLedger("spec", tmp_path)
    driven.user()
    driven.server.error = BackendUnavailableError("down")
    driven.pass_seconds(20)
    driven.server.error = None
    driven.pass_seconds(1)
    assert driven.user() == "u2"
    [file] = LeaseLedger(tmp_path).files()
    assert [entry.id for entry in file.entries()] == driven.server.alive()
    driven.leases.close()
    assert LeaseLedger(tmp_path).files() == []


def test_an_outage_is_warned_of_once_and_so_is_the_next(caplog):
    """Before the values end, and not once for each try: `doctor` points to this log."""
    driven = Driven(ttl=60.0, most=6000.0)
    driven.user()

    def warned():
        return [one.getMessage() for one in caplog.records if "cannot be" in one.getMessage()]

    for count in (1, 2):
        driven.server.error = BackendUnavailableError("down")
        driven.pass_seconds(45)
        assert len(warned()) == count
        assert warned()[-1].startswith("the lease of 'app' cannot be renewed now (BackendUnavailableError)")
        driven.server.error = None
        driven.pass_seconds(10)
    assert driven.user() == "u1"
    driven.server.error = BackendUnavailableError("down")
    driven.pass_seconds(90)
    assert len(warned()) == 3
    assert "s3cret" not in caplog.text


def test_values_are_given_until_they_end_however_long_issuing_took():
    """What the server says is counted from when it said it."""
    driven = Driven()
    issue = driven.server.issue_lease

    def slowly(key):
        driven.clock.seconds += 5
        return issue(key)

    driven.server.issue_lease = slowly
    driven.user()
    left, life = driven.leases.seconds_left((None, "app"))
    assert (left, life) == (12.0, 12.0)


def test_many_threads_share_one_lease():
    """And one failure, which is not kept."""
    driven = Driven()
    entered, go = threading.Event(), threading.Event()
    issue = driven.server.issue_lease

    def slowly(key):
        entered.set()
        assert go.wait(300)
        return issue(key)

    driven.server.issue_lease = slowly
    users = []
    threads = [threading.Thread(target=lambda: users.append(driven.user())) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert entered.wait(300)
    go.set()
    for thread in threads:
        thread.join(300)
    assert users == ["u1"] * 16
    assert driven.server.issued == 1
    with pytest.raises(SecretNotFoundError):
        driven.leases.text("none")
    assert driven.leases.texts(["app", "none"]).keys() == {"app"}


def test_an_interrupt_ends_the_thread_that_asks_and_no_other(monkeypatch):
    """Ctrl-C in the main thread is not raised in those that wait for its lease: one of them asks again."""
    driven = Driven()
    entered, waiting = threading.Event(), threading.Event()
    issue, result = driven.server.issue_lease, _Flight.result

    def interrupted(key):
        driven.server.issue_lease = issue
        entered.set()
        assert waiting.wait(300)
        raise KeyboardInterrupt

    def note_and_wait(flight, timeout=None):
        waiting.set()
        return result(flight, timeout)

    monkeypatch.setattr(_Flight, "result", note_and_wait)
    driven.server.issue_lease = interrupted
    users, ended = [], []

    def ask():
        try:
            users.append(driven.user())
        except BaseException as error:  # an interrupt is what is looked for
            ended.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    threads[0].start()
    assert entered.wait(300)
    threads[1].start()
    for thread in threads:
        thread.join(300)
    assert (users, ended) == (["u1"], [KeyboardInterrupt])


def test_a_lease_is_replaced_in_the_background_after_a_reader_that_asked_at_the_same_time_got_none():
    """Nobody may read it for long, as a pool that waits for its subscription."""
    driven = Driven()
    heard = []
    driven.leases.subscribe((None, "app"), lambda lease: heard.append(lease.values["username"]))
    driven.user()
    driven.clock.seconds += 20.0
    issue = driven.server.issue_lease

    def fail_while_the_background_works(key):
        thread = threading.Thread(target=driven.work)
        thread.start()
        thread.join(300)
        raise BackendUnavailableError("down")

    driven.server.issue_lease = fail_while_the_background_works
    with pytest.raises(BackendUnavailableError):
        driven.user()
    driven.server.issue_lease = issue
    assert heard == []
    driven.pass_seconds(2)
    assert heard == ["u2"]


def test_closing_revokes_all_and_what_is_read_afterwards_is_another_one():
    """Those too that were replaced and have not ended yet."""
    driven = Driven()
    driven.user()
    driven.pass_seconds(47)
    assert len(driven.server.alive()) == 2
    driven.leases.close()
    assert driven.server.alive() == []
    driven.leases.close()
    assert driven.user() == "u3"
    driven.leases.close()


def test_closing_does_not_wait_for_a_server_that_is_down_with_each_lease(caplog):
    """Each try may take the whole time of a call: a process with many leases would not end."""
    driven = Driven(ttl=3600.0)
    for number in range(100):
        driven.user(f"key {number}")
    tried = []

    def slowly(lease):
        tried.append(lease)
        driven.clock.seconds += 10
        raise BackendUnavailableError("down")

    driven.server.revoke_lease = slowly
    driven.leases.close()
    assert 3 <= len(tried) <= 8
    assert f"{100 - len(tried)} more leases are not revoked" in caplog.text
    for number in range(20):
        driven.user(f"key {number}")
    revoked = []

    def slowly_and_well(lease):
        driven.clock.seconds += 10
        revoked.append(lease)

    driven.server.revoke_lease = slowly_and_well
    driven.leases.close()
    assert len(revoked) == 20


def test_a_lease_that_comes_after_the_close_is_revoked():
    """Who waited for it is told."""
    driven = Driven()
    issue = driven.server.issue_lease

    def closing(key):
        lease = issue(key)
        driven.leases.close()
        return lease

    driven.server.issue_lease = closing
    with pytest.raises(BackendUnavailableError):
        driven.user()
    assert driven.server.alive() == []


def test_a_renewal_that_comes_after_the_close_starts_nothing():
    """The lease was revoked meanwhile: no thread waits for its next renewal, and none is told of it."""
    driven = Driven()
    renew = driven.server.renew_lease
    heard = []
    driven.leases.subscribe((None, "app"), lambda lease: heard.append(lease.id))
    driven.user()

    def closing(lease):
        renewed = renew(lease)
        driven.leases.close()
        return renewed

    driven.server.renew_lease = closing
    driven.pass_seconds(9)
    assert driven.server.alive() == []
    assert driven.leases._thread is None
    assert driven.leases.start_due(lambda call: call()) is None
    assert driven.user() == "u2"
    assert heard == []
    driven.leases.close()


def test_a_renewal_that_comes_after_the_end_leaves_the_lease_that_a_reader_got_meanwhile():
    """And ends what it renewed: nobody uses that any more, and nobody would revoke it."""
    driven = Driven()
    renew = driven.server.renew_lease
    heard = []
    driven.leases.subscribe((None, "app"), lambda lease: heard.append(lease.values["username"]))
    driven.user()

    def slowly(lease):
        driven.server.renew_lease = renew
        renewed = renew(lease)
        driven.clock.seconds += 6  # the values have ended, as far as this side knows
        assert driven.user() == "u2"
        return renewed

    driven.server.renew_lease = slowly
    driven.pass_seconds(8.5)
    assert driven.user() == "u2"
    assert heard == ["u2"]
    assert driven.server.alive() == ["app/2"]
    driven.leases.close()


def test_a_lease_that_is_over_by_this_clock_is_an_error_and_is_not_issued_again_and_again():
    """As of a server that gives both times, whose clock is behind this one."""
    driven = Driven(renewable=False)
    issue = driven.server.issue_lease
    driven.user()

    def behind(key):
        if driven.server.issued > 50:
            pytest.fail("one is issued after the other")
        lease = issue(key)
        past = timedelta(hours=1)
        return dataclasses.replace(
            lease, issued_at=lease.issued_at - past, expires_at=lease.expires_at - past
        )

    driven.server.issue_lease = behind
    driven.pass_seconds(12)
    assert driven.server.issued < 20
    with pytest.raises(BackendUnavailableError, match="has ended") as ended:
        driven.user()
    assert "compare the clocks" in ended.value.hint
    assert driven.server.alive() == []


def test_a_provider_that_gives_what_it_issued_before_is_not_asked_again_and_again():
    """As one that keeps a cloud's token until shortly before its end, and tells when that began."""
    driven = Driven(ttl=3600.0, renewable=False)
    issue, kept = driven.server.issue_lease, []

    def keeping(key):
        asked.append(driven.clock.seconds)
        if not kept or kept[0].expires_at <= driven.clock.now() + timedelta(seconds=60):
            kept[:] = [issue(key)]
        return kept[0]

    asked = []
    driven.server.issue_lease = keeping
    keeping("app")
    driven.clock.seconds += 3000
    driven.user()
    driven.pass_seconds(600)
    assert driven.user() == "u2"
    assert len(asked) < 12


def test_an_interrupt_as_the_thread_starts_leaves_nobody_waiting(monkeypatch):
    """As Ctrl-C or a time limit by a signal: who asks next, in this thread too, gets the lease."""
    driven = Driven()

    def interrupted(thread):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        driven.user()
    assert driven.leases._flights == {}
    driven.clock.seconds += 20
    assert driven.user() == "u2"
    driven.leases.close()


def test_a_renewal_without_a_thread_of_its_own_keeps_nobody_waiting():
    """As where a machine has no more threads: it is made by the one that waits for what is due."""
    driven = Driven()
    renew = driven.server.renew_lease
    driven.user()
    others = []

    def beside_another(lease):
        other = threading.Thread(target=driven.user, args=("another",), daemon=True)
        other.start()
        other.join(60)
        others.append(other.is_alive())
        return renew(lease)

    driven.server.renew_lease = beside_another
    driven.pass_seconds(8.25)
    assert others == [False]
    driven.leases.close()


def test_what_a_renewal_gives_anew_is_shown_to_be_masked():
    """A server may change a value as it renews."""
    driven = Driven()
    renew = driven.server.renew_lease
    seen = []

    class Observer:
        name = "app"

        def run_with_hooks(self, operation, key, call):
            return call()

        def observed(self, value):
            seen.append(value)
            return value

    driven.leases._calls._observer = Observer
    driven.user()
    driven.server.renew_lease = lambda lease: dataclasses.replace(
        renew(lease), values={"username": "u1", "password": "other"}
    )
    driven.pass_seconds(9)
    assert json.loads(driven.leases.text("app"))["password"] == "other"
    assert "other" in seen
    driven.leases.close()


class LeaseMachine(RuleBasedStateMachine):
    """What is given is good, or it is an error, whatever the server does."""

    def __init__(self):
        super().__init__()
        self.driven = Driven()
        self.cut = 0.0

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.0, 9.0, 20.0]))
    def time_passes(self, seconds):
        self.driven.pass_seconds(seconds)

    @rule()
    def goes_down(self):
        self.driven.server.error = BackendUnavailableError("down")

    @rule()
    def comes_back(self):
        self.driven.server.error = None

    @rule()
    def closes(self):
        if self.driven.server.error is None:
            self.driven.leases.close()
            assert self.driven.server.alive() == []

    @rule()
    def reads(self):
        try:
            user = self.driven.user()
        except BackendUnavailableError:
            assert self.driven.server.error is not None or self.driven.clock.seconds < self.cut + 31
        else:
            assert self.driven.server.good(user)

    @invariant()
    def notes_when_it_was_down(self):
        if self.driven.server.error is not None:
            self.cut = self.driven.clock.seconds

    def teardown(self):
        self.driven.leases.close()


TestLeaseMachine = LeaseMachine.TestCase
TestLeaseMachine.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


# --- in a registry ---


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "strongroom" / "leases"


class Wall:
    """The real time, for registries whose leases are not driven."""

    def __call__(self):
        return time.monotonic()

    def now(self):
        return datetime.now(UTC)


def registry_over(server, *middleware):
    made = SecretProviderRegistry(
        {"version": 1, "pipelines": {"own": {"provider": {"type": "memory"}, "middleware": list(middleware)}}}
    )
    made.register("app", server, prefix="")
    return made


def test_a_registry_gives_one_lease_to_reads_and_handles(state):
    """JSON, fields, handles; revoked as it is closed, and noted down in between."""
    server = Server(Wall(), ttl=3600.0, most=7200.0)
    with registry_over(server) as registry:
        handle = registry.lease("app")
        assert handle.values == {"username": "u1", "password": "s3cret-1"}
        assert json.loads(registry.get_secret("app")) == dict(handle.values)
        assert registry.get_field("app", "username") == "u1"
        assert registry.get_secrets(["app", "none"]).keys() == {"app"}
        assert handle.expires_at > datetime.now(UTC) + timedelta(minutes=50)
        with registry.lease("app") as second:
            assert second.values == handle.values
        assert handle.values["username"] == "u1"
        assert "s3cret" not in f"{handle!r}{handle.lease!r}{registry!r}{handle.values!r}{handle.values}"
        assert repr(handle.values) == "<values: username, password>"
        assert handle.values | {"host": "h"} == {"host": "h"} | handle.values
        assert {"username": "other", **handle.values}["username"] == (handle.values | {})["username"] == "u1"
        with pytest.raises(UnsupportedOperationError):
            registry.set_secret("app", "x")
        with pytest.raises(UnsupportedOperationError):
            registry.delete_secret("app")
        with pytest.raises(SecretNotFoundError):
            registry.lease("none")
        [file] = LeaseLedger().files()
        [entry] = file.entries()
        assert (entry.id, entry.key, entry.pipeline, entry.pid, file.alive()) == (
            "app/1", "app", "app", os.getpid(), True,
        )  # fmt: skip
        assert file.path.stat().st_mode & 0o777 == 0o600
        assert b"app/1" not in file.path.read_bytes()
        assert server.issued == 1
    assert server.alive() == []
    assert LeaseLedger().files() == []


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


def test_nobody_waits_for_a_thread_that_is_just_being_started(monkeypatch):
    """`join` refuses one, and then no lease would be revoked."""
    begun = threading.Thread(target=print)
    monkeypatch.setattr(threading, "_limbo", {begun: begun})
    assert begun in threading.enumerate()
    assert begun not in process_end._threads_at_work()


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux counts the time of a sleep")
def test_a_lease_that_ended_while_the_machine_slept_is_not_given(state, monkeypatch):
    """`time.monotonic` is still then, and the server's time is not."""
    slept = [0.0]
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + slept[0])
    with registry_over(Server(Wall(), ttl=3600.0, most=7200.0)) as registry:
        assert registry.get_field("app", "username") == "u1"
        slept[0] = 4000.0
        assert registry.get_field("app", "username") == "u2"


def test_a_lease_is_not_rotated(state):
    """No lease is issued to find that out, and what stands beside it is rotated."""
    server = Server(Wall())
    with registry_over(server) as registry:
        registry.register("plain", MemorySecretProvider(), prefix="plain/")
        registry.set_secret("plain/a", "1")
        rotation = SecretRotation(registry, rotation_interval_days=0)
        server.list_secrets = lambda _prefix="": ["app"]
        for work in (
            rotation.rotate,
            rotation.resume,
            rotation.rollback,
            rotation.status_of,
            rotation.forget,
        ):
            with pytest.raises(UnsupportedOperationError, match="is a lease"):
                work("app")
        with pytest.raises(UnsupportedOperationError):
            rotation.needs_rotation("app")
        assert [one.key for one in rotation.rotate_due()] == ["plain/a"]
        assert [one.key for one in rotation.status()] == ["plain/a"]
    assert server.issued == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"expires_at": datetime(2126, 1, 1)}, "times without a zone"),  # noqa: DTZ001  # it is the test
        ({"expires_at": "soon"}, "times that are not of datetime"),
        ({"values": {"password": b"s3cret"}}, "values that are not text"),
    ],
)
def test_a_lease_that_is_not_one_is_refused_and_given_back(changes, expected):
    """A provider of somebody else's may make it; a renewal like that leads to another lease."""
    driven = Driven()
    plain = {name: getattr(driven.server, name) for name in ("issue_lease", "renew_lease")}

    def replaced(lease):
        names = ("id", "key", "values", "issued_at", "expires_at", "renewable")
        return Lease(**{name: getattr(lease, name) for name in names} | changes)

    def spoil(name):
        setattr(driven.server, name, lambda given: replaced(plain[name](given)))

    spoil("issue_lease")
    with pytest.raises(StrongroomError, match=expected) as caught:
        driven.user()
    assert "s3cret" not in str(caught.value)
    assert driven.server.alive() == []
    driven.server.issue_lease = plain["issue_lease"]
    assert driven.user() == "u2"
    spoil("renew_lease")
    driven.pass_seconds(10)
    assert driven.user() == "u3"


def test_an_end_in_another_age_is_waited_for():
    """As certificates have it that are good until the year 9999: the thread must not fail on the number."""
    driven = Driven(ttl=250_000_000_000.0, most=250_000_000_000.0)
    driven.user()
    assert 0 < driven.leases.start_due(lambda call: call()) <= threading.TIMEOUT_MAX


def test_whose_lease_it_is_shows_in_the_ledger(state):
    """A server that does not know a lease says that it has revoked it: it must not be asked."""

    class Issuer(Server):
        def __init__(self, url, roles=()):
            super().__init__(Wall())
            self.url, self.roles = url, dict.fromkeys(roles)

        def address(self):
            return {"url": self.url, "roles": self.roles}

    hashes = [issuer_of(Issuer(*given)) for given in (("a", "r"), ("a", "rs"), ("b", "r"))]
    assert hashes[0] == hashes[1] != hashes[2]
    assert issuer_of(Server(Wall())) == ""
    with registry_over(Issuer("a")) as registry:
        registry.get_secret("app")
        [entry] = LeaseLedger().files()[0].entries()
    assert entry.is_from(hashes[0])
    assert not entry.is_from(hashes[2])
    assert entry.is_from("")
    assert hashes[0] not in str(entry.shown())


def test_a_handle_has_the_key_and_the_pipeline_of_its_caller():
    """Its leases, those that subscribers get, and its errors: a route may strip a prefix of the key."""
    driven, heard = Driven(), []
    handle = LiveLease(driven.leases, (None, "app"), "db/app", "db")
    assert handle.lease.key == "db/app"
    handle.subscribe(heard.append)
    driven.server.living.clear()
    driven.pass_seconds(9)
    assert [one.key for one in heard] == ["db/app"]
    driven.server.error = BackendUnavailableError("down", provider="server")
    driven.pass_seconds(13)
    for ask in (lambda: handle.values, lambda: handle.expires_at, lambda: handle.lease, handle.seconds_left):
        with pytest.raises(BackendUnavailableError, match="the lease of 'db/app' has ended") as raised:
            ask()
        error = raised.value
        assert (error.key, error.pipeline, error.provider) == ("db/app", "db", "server")
    driven.server.error = None
    with pytest.raises(TypeError, match="NoneType is not a callback"):
        handle.subscribe(None)
    driven.leases.close()


def test_a_handle_names_its_callers_key_when_no_lease_comes_in_time(monkeypatch):
    """Another thread asks for one, and gets no answer."""
    monkeypatch.setattr(live, "_PATIENCE_SECONDS", 0.0)
    driven = Driven()
    driven.leases._flights[None, "app"] = flight = _Flight(driven.leases._generation)
    flight.thread = 0
    with pytest.raises(BackendUnavailableError, match="no lease for 'db/app' came in time") as raised:
        _ = LiveLease(driven.leases, (None, "app"), "db/app", "db").lease
    assert (raised.value.key, raised.value.pipeline) == ("db/app", "db")


def test_what_another_member_of_a_fallback_answers_is_no_lease(state):
    """A read gives it; a handle would have nothing to follow."""
    from strongroom.pipeline.fallback import FallbackProvider

    static = MemorySecretProvider()
    static.set_secret("none", "static")
    both = FallbackProvider(LeaseMiddleware(Server(Wall())), others=[static], when=frozenset({"not_found"}))
    with registry_over(both) as registry:
        assert registry.get_secret("none") == "static"
        with pytest.raises(SecretNotFoundError):
            registry.lease("none")
        assert registry.lease("app").values["username"] == "u1"


def test_other_pipelines_issue_no_leases(state):
    """The error says which do."""
    with registry_over(Server(Wall())) as registry:
        registry.register("plain", MemorySecretProvider(), prefix="plain/")
        with pytest.raises(UnsupportedOperationError, match="issues no lease"):
            registry.lease("plain/a")


def test_hooks_see_what_becomes_of_leases_and_may_refuse_them(state):
    """Under the caller's name; the values are made known to what masks."""
    seen, values = [], []

    class Recorder(SecretHook):
        def before(self, event):
            if (event.operation, event.key) == ("issue", "refused"):
                raise PermissionError

        def after(self, event):
            seen.append((event.operation, event.key, event.pipeline, event.outcome))

    registry = registry_over(Server(Wall(), ttl=3600.0))
    registry.add_hook(Recorder())
    registry.observe_values(values.append)
    registry.get_secret("app")
    with pytest.raises(PermissionError):
        registry.get_secret("refused")
    registry.close()
    assert seen == [
        ("issue", "app", "app", "ok"), ("get", "app", "app", "ok"), ("issue", "refused", "app", "vetoed"),
        ("get", "refused", "app", "error"), ("revoke", "app", "app", "ok"),
    ]  # fmt: skip
    assert {"u1", "s3cret-1"} <= set(values)


def test_what_a_hook_refuses_after_it_was_issued_is_revoked(state):
    """As where an audit trail cannot be written; nobody would know of it."""

    class Full(SecretHook):
        def after(self, event):
            if event.operation == "issue":
                raise AuditError("no space left")

    server = Server(Wall(), ttl=3600.0)
    with registry_over(server) as registry:
        registry.add_hook(Full())
        with pytest.raises(AuditError, match="no space"):
            registry.get_secret("app")
        assert server.issued == 1
        assert server.alive() == []
        assert LeaseLedger().files() == []


def test_a_forked_child_has_leases_of_its_own(state):
    """It never renews or revokes its parent's, whose ledger it leaves alone."""
    server = Server(Wall(), ttl=3600.0)
    registry = registry_over(server)
    handle = registry.lease("app")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            mine = handle.values["username"]
            count = [len(file.entries()) for file in LeaseLedger().files() if file.alive()]
            registry.close()
            os.write(writing, f"{mine} {server.alive()} {count}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "u2 ['app/1'] [1, 1]"
    os.waitpid(pid, 0)
    assert handle.values["username"] == "u1"
    registry.close()
    assert server.alive() == []


def test_each_tenant_has_leases_of_its_own_where_tenants_are_heeded(state):
    """And else one for all. The overview says whose each is."""
    from strongroom import TenantMiddleware
    from strongroom.cli.actions.overview import Overview
    from strongroom.cli.context import GlobalOptions

    server = Server(Wall(), ttl=3600.0)
    registry = registry_over(TenantMiddleware(server))
    users = {}
    for tenant in ("a", "b", "a"):
        with TenantContext(tenant):
            users.setdefault(tenant, set()).add(registry.get_field("app", "username"))
    assert users == {"a": {"u1"}, "b": {"u2"}}
    assert server.alive() == ["tenants/a/app/1", "tenants/b/app/2"]
    shown = Overview(GlobalOptions()).leases(registry)
    assert [(one["tenant"], one["key"]) for one in shown] == [("a", "app"), ("b", "app")]
    registry.close()
    assert server.alive() == []
    with registry_over(server) as plain:
        with TenantContext("a"):
            mine = plain.get_secret("app")
        assert plain.get_secret("app") == mine


def test_the_ledger_is_read_and_written_whichever_tenant_is_active(state):
    """`lease list` and `lease sweep` run without a tenant, and a line says itself whose lease it is."""
    from strongroom import TenantMiddleware

    with registry_over(TenantMiddleware(Server(Wall(), ttl=3600.0))) as registry:
        registry.register("all", Server(Wall(), ttl=3600.0), prefix="all/")
        for tenant in ("a", "b"):
            with TenantContext(tenant):
                registry.get_secret("app")
                registry.get_secret("all/app")
        [file] = LeaseLedger().files()
        noted = [(one.tenant, one.key) for one in file.entries()]
        assert sorted(noted, key=str) == [("a", "app"), ("b", "app"), (None, "all/app")]
        with TenantContext("b"):
            assert len(file.entries()) == 3
            file.over(file.entries()[0].id)
        assert len(file.entries()) == 2


def test_hooks_see_that_a_lease_is_refused_before_it_is_looked_for(state):
    """Without a tenant, and with what is not a key."""
    from strongroom import SecretHook, TenantMiddleware
    from strongroom.errors import InvalidKeyError, TenantContextError

    seen = []

    class Recorder(SecretHook):
        def after(self, event):
            if event.operation == "get":
                seen.append((event.key, event.outcome, event.error_type))

    registry = registry_over(TenantMiddleware(Server(Wall(), ttl=3600.0)))
    registry.add_hook(Recorder())
    for key, error in (("app", TenantContextError), ("a//b", InvalidKeyError)):
        with pytest.raises(error):
            registry.lease(key)
    assert seen == [("app", "denied", "TenantContextError"), ("a//b", "error", "InvalidKeyError")]
    registry.close()


def test_a_cache_keeps_nothing_of_a_lease(state):
    """Reads pass through it, also in a fallback."""
    from strongroom import CachingMiddleware
    from strongroom.pipeline.fallback import FallbackProvider
    from strongroom_memory import MemorySecretProvider

    server = Server(Wall(), ttl=3600.0)
    cache = CachingMiddleware(server)
    assert json.loads(cache.get_secret("app"))["username"] == "u1"
    assert cache.get_secrets(["app"]).keys() == {"app"}
    assert cache.stats().entries == 0
    both = CachingMiddleware(
        FallbackProvider(MemorySecretProvider(), others=[server], when=frozenset({"not_found"}))
    )
    assert json.loads(both.get_secret("app"))["username"] == "u1"
    assert both.stats().entries == 0
    server.close()
    assert server.alive() == []


def test_a_watch_on_a_lease_tells_of_the_next_one(state):
    """With the lease's id as the version."""
    clock = Clock()
    server = Server(clock, ttl=12.0, most=12.0)
    registry = registry_over(server)
    leases = registry.pipeline("app").inner.leases
    leases._clock, leases._run = clock, lambda: None
    leases._times = dataclasses.replace(leases._times, clock=clock, now=clock.now)
    heard, more = [], threading.Event()

    def hear(changes):
        heard.extend(
            (one.key, one.kind, one.version, registry.get_field("app", "username")) for one in changes
        )
        more.set()

    with registry.watch("app", hear):
        clock.seconds += 9
        leases.start_due(lambda call: call())
        clock.seconds += 3
        leases.start_due(lambda call: call())
        assert more.wait(300)
    assert heard == [("app", "set", "app/2", "u2")]
    registry.close()


@pytest.mark.parametrize("with_fallback", [False, True])
def test_a_watch_on_all_keys_has_no_lease_issued(state, with_fallback):
    """It would be kept alive with nobody who uses it. Those that the process holds are watched."""
    from strongroom.pipeline.fallback import FallbackProvider
    from strongroom.registry.watched import group_of

    server = Server(Wall(), ttl=3600.0)
    server.list_secrets = lambda prefix="": ["app", "other"]
    issuing = LeaseMiddleware(server)
    static = MemorySecretProvider()
    static.set_secret("none", "here alone")
    chain = FallbackProvider(issuing, others=[static], when=frozenset({"not_found"}))
    with registry_over(chain if with_fallback else server) as registry:
        with registry.watch("/", lambda _: None):
            assert server.issued == 0
        registry.get_secret("app")
        group = group_of(registry.pipeline("app"), lambda _: True)
        assert "app" in group.chain.list_secrets()
        assert "other" not in group.chain.list_secrets()
        with registry.watch(["/", "other"], lambda _: None):
            assert server.issued == 2
        assert {"app", "other"} <= set(registry.list_secrets())


def test_the_ledger_keeps_one_file_a_process_short(state):
    """However often a lease is replaced; what is over is not in it."""
    ledger = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    keep = Lease("keep", "k", {}, now, now + timedelta(hours=1), True)
    ledger.issued(keep, "acme", "app")
    for number in range(1500):
        one = Lease(f"id-{number}", "k", {}, now, now, True)
        ledger.issued(one, None, "app")
        ledger.ended(one)
    [file] = LeaseLedger().files()
    assert [(entry.id, entry.tenant, entry.spec) for entry in file.entries()] == [
        ("keep", "acme", "spec.yaml")
    ]
    assert len(file.path.read_bytes().split(b"\n")) < 1100
    ledger.ended(keep)
    assert LeaseLedger().files() == []


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_that_somebody_removed_is_written_again(state, whole):
    """Its process would write to no file: `lease sweep` would know of none of its leases."""
    ledger = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    first, second = (Lease(one, "k", {}, now, now + timedelta(hours=1), True) for one in ("1", "2"))
    ledger.issued(first, None, "app")
    [file] = LeaseLedger().files()
    if whole:
        shutil.rmtree(file.path.parent)
    else:
        file.path.unlink()
    ledger.issued(second, None, "app")
    [file] = LeaseLedger().files()
    assert ([one.id for one in file.entries()], file.alive()) == (["1", "2"], True)
    file.path.unlink()
    ledger.renewed(first)
    [file] = LeaseLedger().files()
    assert [one.id for one in file.entries()] == ["1", "2"]
    ledger.ended(first)
    file.path.unlink()
    ledger.ended(second)
    assert LeaseLedger().files() == []


def test_a_renewal_that_comes_after_the_end_makes_no_file(state):
    """As one that was under way while the registry was closed: a process without leases has no file."""
    now = datetime.now(UTC)
    process = ProcessLedger("spec")
    lease = Lease("id", "k", {}, now, now + timedelta(hours=1), True)
    process.issued(lease, None, "app")
    process.ended(lease)
    process.renewed(lease)
    process.ended(lease)
    assert LeaseLedger().files() == []


def test_a_fork_waits_for_a_file_of_the_ledger_that_is_being_made(state, monkeypatch):
    """A child that inherits it without knowing it would keep its lock after the parent has died."""
    making, forking = threading.Event(), threading.Event()
    new_file, lock = ProcessLedger._new_file, ledger._lock

    class Noting:
        """The lock, which notes that the fork wants it."""

        def acquire(self, **options):
            forking.set()
            return lock.acquire(**options)

        release = lock.release
        __enter__ = lock.__enter__
        __exit__ = lock.__exit__

    def slowly(self):
        made = new_file(self)
        making.set()
        forking.wait(5)
        return made

    monkeypatch.setattr(ledger, "_lock", Noting())
    monkeypatch.setattr(ProcessLedger, "_new_file", slowly)
    now = datetime.now(UTC)
    process = ProcessLedger("spec")
    lease = Lease("id", "k", {}, now, now + timedelta(hours=1), True)
    thread = threading.Thread(target=process.issued, args=(lease, None, "app"))
    thread.start()
    assert making.wait(300)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            names = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
            os.write(writer, b"%d" % sum(name.endswith(".leases") for name in names))
        finally:
            os._exit(0)
    thread.join(300)
    os.waitpid(pid, 0)
    assert os.read(reader, 9) == b"0"
    process.ended(lease)
    os.close(reader)
    os.close(writer)


def test_a_line_that_a_full_disk_cut_short_does_not_spoil_the_next_one(state, monkeypatch, caplog):
    """Nor does a file that could not be written again shorter stay beside the one that it was to replace."""
    now = datetime.now(UTC)
    leases = [Lease(f"id-{number}", "k", {}, now, now + timedelta(hours=1), True) for number in range(4)]
    process = ProcessLedger("spec")
    write, full = os.write, [False]
    monkeypatch.setattr(ledger.os, "write", lambda fd, data: write(fd, data[: len(data) // (1 + full[0])]))

    def note(lease, *, on_full_disk=False):
        full[0] = on_full_disk
        process.issued(lease, None, "app")
        full[0] = False
        return [sorted(entry.id for entry in file.entries()) for file in LeaseLedger().files()]

    assert note(leases[0]) == [["id-0"]]
    assert note(leases[1], on_full_disk=True) == [["id-0"]]
    assert "cannot be written" in caplog.text
    assert note(leases[2]) == [["id-0", "id-2"]]
    for _ in range(10):
        process.renewed(leases[0])
    monkeypatch.setattr(ledger, "_LINES", 0)
    assert note(leases[2], on_full_disk=True) == [["id-0", "id-2"]]
    monkeypatch.setattr(ledger, "_LINES", 1000)
    assert note(leases[3]) == [["id-0", "id-2", "id-3"]]
    [file] = LeaseLedger().files()
    assert not file.has_unread()
    for lease in leases:
        process.ended(lease)
    file.over("id-0")  # after its process has removed it
    assert LeaseLedger().files() == []


def test_a_ledger_that_cannot_be_written_is_told_of_once(tmp_path, caplog):
    """Leases work all the same."""
    (tmp_path / "file").write_text("")
    ledger = ProcessLedger("spec.yaml", tmp_path / "file" / "folder")
    now = datetime.now(UTC)
    for _ in range(3):
        ledger.issued(Lease("id", "k", {}, now, now, True), None, "app")
    assert caplog.text.count("cannot be written") == 1


def test_a_file_of_the_ledger_that_cannot_be_locked_leaves_nothing_behind(tmp_path, monkeypatch, caplog):
    """As on a file system without locks, for each lease: neither a file nor a descriptor."""
    made, open_, close = set(), os.open, os.close

    def noting(path, *flags):
        descriptor = open_(path, *flags)
        if str(path).endswith(".new"):
            assert descriptor not in made
            made.add(descriptor)
        return descriptor

    def without_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(ledger.fcntl, "flock", without_locks)
    monkeypatch.setattr(ledger.os, "open", noting)
    monkeypatch.setattr(ledger.os, "close", lambda one: made.discard(one) or close(one))
    process = ProcessLedger("spec.yaml", tmp_path)
    now = datetime.now(UTC)
    for _ in range(3):
        process.issued(Lease("id", "k", {}, now, now, True), None, "app")
    assert "cannot be written" in caplog.text
    assert made == set()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.key"]


def test_what_is_over_is_noted_also_after_a_line_that_was_cut_short(state):
    """The process that wrote it is dead: it does not begin the next line anew."""
    process = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    process.issued(Lease("id", "k", {}, now, now, True), None, "app")
    [file] = LeaseLedger().files()
    with file.path.open("ab") as more:
        more.write(file.sealed({"id": "other", "over": True})[:40])
    file.over("id")
    assert file.entries() == []
    assert not file.has_unread()
    process.ended(Lease("id", "k", {}, now, now, True))


def test_lines_of_somebody_else_are_left_out(state):
    """Cut short, changed, or moved from another file."""
    ledger = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    ledger.issued(Lease("id", "k", {}, now, now, True), None, "app")
    [file] = LeaseLedger().files()
    line = file.path.read_bytes()
    other = file.path.with_name("1-other.leases")
    other.write_bytes(line)
    with file.path.open("ab") as more:
        more.write(b"rubbish\n" + line[:40])
    found = {one.path.name: len(one.entries()) for one in LeaseLedger().files()}
    assert found == {file.path.name: 1, other.name: 0}
    other.unlink()
    ledger.ended(Lease("id", "k", {}, now, now, True))


def test_an_entry_of_a_newer_version_is_read(state):
    """Versions share the ledger of a user: what this one does not know of a lease it leaves out."""
    ledger = ProcessLedger("spec.yaml")
    now = datetime.now(UTC)
    ledger.issued(Lease("id", "k", {}, now, now, True), None, "app")
    [file] = LeaseLedger().files()
    [entry] = file.entries()
    newer = {"entry": entry.to_json() | {"id": "newer", "colour": "blue"}}
    with file.path.open("ab") as more:
        more.write(file.sealed(newer))
    assert [one.id for one in file.entries()] == ["id", "newer"]
    ledger.ended(Lease("id", "k", {}, now, now, True))


def test_a_lease_shows_no_value_whoever_made_it_and_goes_through_copies():
    now = datetime.now(UTC)
    given = {"username": "ann", "password": "s3cret-of-lease"}
    lease = Lease("id", "app", given, now, now + timedelta(hours=1), True)
    given["password"] = "changed"
    assert "s3cret" not in f"{lease!r}{lease.values!r}{lease.values}{dataclasses.asdict(lease)!r}"
    for copied in (
        copy.deepcopy(lease),
        pickle.loads(pickle.dumps(lease)),
        dataclasses.replace(lease, id="id"),
    ):
        assert copied == lease
        assert copied.values == {"username": "ann", "password": "s3cret-of-lease"}
    assert json.loads(lease.as_json()) == dict(lease.values)
