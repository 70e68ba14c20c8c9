"""Live leases: one a key, renewed, replaced and revoked; with a clock that the test moves."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from interrupts import interrupted
from lease_support import Clock, Driven, Server
from strongroom import Lease, TenantContext, current_tenant
from strongroom.errors import (
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.hooks import acting_as
from strongroom.hooks.identity import actor
from strongroom.leases import LiveLeases, live
from strongroom.leases.live import _Flight
from strongroom.registry.leases import LiveLease


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


def test_a_callback_has_the_tenant_and_actor_of_its_subscriber_whoever_needs_the_lease():
    """All tenants share the lease: what a callback read for its own tenant was that of the next reader."""
    driven, heard = Driven(), []
    handle = LiveLease(driven.leases, (None, "app"), "app", "db")
    driven.user()

    def hear(_):
        heard.append((current_tenant(), actor()))

    with TenantContext("a"), acting_as("ann"):
        handle.subscribe(hear)
    handle.subscribe(hear)
    driven.clock.seconds += 100  # no thread has replaced it in time
    with TenantContext("b"), acting_as("bob"):
        assert driven.user() == "u2"
    assert heard == [("a", "ann"), (None, actor())]
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
