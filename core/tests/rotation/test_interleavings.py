"""No order of steps leaves a target system and readers apart, unless a rotation is in flight that says so.

`make test` goes through a fraction with a fixed seed; `make torture` through more than 20,000 orders. The faults
that the search must find are put back one at a time.
"""

from __future__ import annotations

import random

import pytest
from interleaving import Broken, Scenario, explore, wander
from rotation_support import BACKENDS
from strongroom.errors import ConflictError
from strongroom.rotation import held_record, secret_rotation, state_machine
from strongroom.rotation.secret import Secret
from strongroom.rotation.secret_rotation import SecretRotation
from strongroom.rotation.state_machine import RotationRun

BESIDE = {
    "fresh": ["rotate_too", "rollback", "resume", "due", "status", "set", "stage", "delete", "renew"],
    "failed": ["rollback", "resume", "due", "set", "renew", "rotate_too"],
    "half": ["rollback", "resume", "due", "set", "renew", "rotate_too"],
    "done": ["rotate_too", "rollback", "set", "status", "renew"],
    "over": ["rotate_too", "rollback", "due"],
}
FIRST = {"fresh": ["rotate"], "failed": ["resume", "rollback"], "half": ["resume", "rollback"]}
FIRST |= {"done": ["rollback"], "over": ["status"]}


def possible(backend, names):
    """Tell whether `backend` can do that, and can be expected to notice it.

    With four methods and nothing else nobody can see that a secret was changed between a look and a write.
    """
    able = BACKENDS[backend]
    if "stage" in names and "stage_secret" not in able:
        return False
    return "describe_secret" in able or not names & {"set", "stage", "renew", "due"}


PAIRS = [
    (backend, start, (first, beside))
    for backend in BACKENDS
    for start, others in BESIDE.items()
    for first in FIRST[start]
    for beside in others
    if possible(backend, {first, beside})
]
DEATH, DELAY = {"crashes": 1, "first": "resume"}, {"crashes": 0, "stalls": 1}


def some(count, seed):
    """Return scenarios of two and three actors at random, the same ones for a seed."""
    source = random.Random(seed)
    while count:
        backend, start = source.choice(sorted(BACKENDS)), source.choice(sorted(BESIDE))
        every = sorted({*BESIDE["fresh"], "rotate"})
        names = tuple(source.sample(every, source.choice([2, 3, 3])))
        if possible(backend, set(names)):
            count -= 1
            yield Scenario(
                backend,
                start,
                names,
                grace=source.choice([0, 60]),
                **source.choice([DEATH, DELAY, {**DEATH, "first": "rollback"}]),
            )


def test_a_fraction_of_all_orders():
    assert sum(wander(scenario, 1, 3) for scenario in some(30, seed=13)) == 90


@pytest.mark.torture
@pytest.mark.parametrize("seed", [*range(10), 13])
def test_orders_at_random(seed):
    assert sum(wander(scenario, seed, 5) for scenario in some(200, seed=seed)) == 1000


@pytest.mark.torture
@pytest.mark.parametrize("what", [DEATH, DELAY], ids=["death", "delay"])
@pytest.mark.parametrize(("backend", "start", "actors"), PAIRS)
def test_orders_with_few_preemptions(backend, start, actors, what):
    for grace in (0, 60):
        scenario = Scenario(backend, start, actors, grace=grace, **what)
        explore(scenario, preemptions=1)
        explore(scenario, preemptions=2, most=100)


# --- each fix taken out is found ---


def without_attempts(monkeypatch):
    """Nobody refuses to cross a running `apply`, and nobody makes a late one good: attack 8 (a)."""
    for module in (state_machine, held_record):
        monkeypatch.setattr(module, "is_held", lambda record, now: False)
    monkeypatch.setattr(RotationRun, "_overtaken", lambda self, value: self._held.ledger.in_flight())


def without_refusal(monkeypatch):
    """A running `apply` is crossed: made good afterwards, but not by a process that dies."""
    for module in (state_machine, held_record):
        monkeypatch.setattr(module, "is_held", lambda record, now: False)


def without_making_good(monkeypatch):
    """An `apply` that comes in when its time is over is not made good."""
    monkeypatch.setattr(RotationRun, "_overtaken", lambda self, value: self._held.ledger.in_flight())


def without_comparing(monkeypatch):
    """What somebody else set is not looked at before the target is touched, nor told: attack 8 (b)."""
    readers = Secret.readers

    def like_old(self, record, look):
        seen_as = readers(self, record, look)
        return "old" if seen_as == "other" else seen_as

    def swallowed(self, key, error):
        return None if not isinstance(error, ConflictError) else results

    results = secret_rotation.RotationResult("db", "current")
    monkeypatch.setattr(Secret, "readers", like_old)
    monkeypatch.setattr(SecretRotation, "_state_after", swallowed)


def with_the_old_value(monkeypatch):
    """A rollback lets the target take the value from before, also where readers get another: attack 8 (b)."""
    take_back = RotationRun._take_back
    monkeypatch.setattr(
        RotationRun,
        "_take_back",
        lambda self, record, look, goal: take_back(self, record, look, self._secret.old(record)),
    )


def without_looking_behind(monkeypatch):
    """A resumption does not ask what the new value took the place of."""
    monkeypatch.setattr(RotationRun, "_stop_where_written_over", lambda self, record, look: None)


RECORDED = RotationRun.recorded


def found_of_old(self):
    record = RECORDED(self)
    if record is not None and record.in_flight:
        return record
    look = self._secret.look()
    if not look.pending:
        return record
    return state_machine.Record(self._key, old_version=look.version, new_version=look.pending[0])


def with_foreign_versions(monkeypatch):
    """`rotate_due` takes up what another tool has staged: attack 8 (c)."""
    monkeypatch.setattr(RotationRun, "current_record", found_of_old)
    monkeypatch.setattr(RotationRun, "recorded", found_of_old)


FAULTS = [
    (without_attempts, Scenario("everything", "failed", ("resume", "rollback"), crashes=0)),
    (without_attempts, Scenario("no staging", "failed", ("resume", "rollback"), crashes=0)),
    (without_attempts, Scenario("nothing", "failed", ("resume", "rollback"), crashes=0)),
    (without_refusal, Scenario("no staging", "failed", ("resume", "rollback"))),
    pytest.param(
        *(without_refusal, Scenario("everything", "failed", ("resume", "rollback"))),
        marks=pytest.mark.torture,
    ),
    (without_making_good, Scenario("everything", "failed", ("resume", "rollback"), crashes=0, stalls=1)),
    (without_comparing, Scenario("everything", "failed", ("set", "due"), crashes=0)),
    (with_the_old_value, Scenario("everything", "failed", ("set", "rollback"), crashes=0)),
    (without_looking_behind, Scenario("no conditions", "failed", ("resume", "set"), first="resume")),
    (with_foreign_versions, Scenario("everything", "fresh", ("stage", "due"), crashes=0)),
]


def search(scenario):
    for preemptions in (1, 2):
        explore(scenario, preemptions, most=3000)


@pytest.mark.parametrize(("fault", "scenario"), FAULTS)
def test_a_fault_that_is_put_back_is_found(fault, scenario, monkeypatch):
    explore(scenario, preemptions=1, most=3)
    fault(monkeypatch)
    with pytest.raises(Broken):
        search(scenario)


def test_a_late_apply_meets_the_rollback_of_what_was_promoted():
    """The rollback is told while it settles what it puts back; it ended in an error of no class of ours."""
    late = Scenario(
        "everything", "failed", ("resume", "rollback"), grace=0, first="rollback", crashes=0, stalls=1
    )
    assert explore(late, preemptions=2, most=100) == 100
