"""A search over interleavings: actors that move one request at a time, in an order that is chosen.

Every request to the backend, every `apply` and `verify` is one step. The search goes through all orders with a
bounded number of preemptions (after Musuvathi and Qadeer, "Iterative Context Bounding for Systematic Testing
of Multithreaded Programs", PLDI 2007), with one process that dies, or one that is so slow that its time runs
out, at any step.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from rotation_support import ABILITIES, BACKENDS, FOUR, KEY, NEW, OLD, memory_with
from strongroom.errors import StrongroomError
from strongroom.pipeline import Pipeline
from strongroom.providers import BaseProvider
from strongroom.rotation import SecretRotation

BY_HAND = "value-made-by-hand"
STAGED = "staged-by-another-tool"
BY_PEOPLE = {"set", "renew", "stage"}
"""What does not die half-way: a repair that its maker left half done is not of our making."""
MOST_STEPS = 400
PARTS = {name for names in (FOUR, *ABILITIES.values()) for name in names}


class Killed(BaseException):
    """The process is gone: nothing after this is done."""


class Broken(AssertionError):
    """What must hold does not."""


class Actor:
    """One process, on a thread that is given the turn and gives it back."""

    def __init__(self, name, work, back):
        self.name, self.work, self.back = name, work, back
        self.turn = threading.Semaphore(0)
        self.waits_for = None
        self.dead = self.done = False
        self.outcome = None

    def run(self):
        self.turn.acquire()
        try:
            if not self.dead:
                self.outcome = self.work()
        except Killed:
            pass
        except BaseException as error:  # it is looked at by the search
            self.outcome = error
        self.done = True
        self.back.release()

    def pause(self):
        if self.dead:
            raise Killed
        self.back.release()
        self.turn.acquire()
        if self.dead:
            raise Killed


class Lock:
    """What keeps two processes apart where the backend does not: freed where its holder dies."""

    def __init__(self, world):
        self.world, self.holder = world, None

    @contextmanager
    def lock(self, name, *, ttl_seconds, wait_seconds):
        actor = self.world.actor()
        while actor is not None and self.holder is not None:
            actor.waits_for = self
            actor.pause()
        if actor is not None:
            actor.waits_for = None
        self.holder = actor
        try:
            yield 1
        finally:
            self.holder = None


class World:
    """A backend, a target system, a clock, and the actors between them."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.memory = memory_with()
        self.target = OLD
        self.trace = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.lock = Lock(self)
        self.broken_apply = self.broken_verify = False
        self.by_thread = {}
        self.provider = provider_of(scenario.backend)(self)
        self.back = threading.Semaphore(0)
        getattr(self, f"start_{scenario.start}")()

    def actor(self):
        return self.by_thread.get(threading.get_ident())

    def pause(self):
        actor = self.actor()
        if actor is not None:
            actor.pause()

    def call(self, name, *args, **kwargs):
        self.pause()
        self.trace.append((getattr(self.actor(), "name", "-"), name, *args))
        return getattr(self.memory, name)(*args, **kwargs)

    # --- what the actors do ---

    def rotation(self, **options):
        return SecretRotation(
            self.provider,
            1000,
            apply=self.apply,
            verify=self.verify,
            lock=self.lock,
            clock=lambda: self.now,
            **{"grace_seconds": self.scenario.grace, **options},
        )

    def apply(self, key, old, new):
        self.pause()
        self.trace.append((getattr(self.actor(), "name", "-"), "apply", old, new))
        if self.broken_apply:
            raise ConnectionError
        self.target = new

    def verify(self, key, new):
        self.pause()
        return self.target == new and not self.broken_verify

    def rotate(self):
        return self.rotation().rotate(KEY, NEW)

    def rotate_too(self):
        return self.rotation().rotate(KEY, f"{NEW}-too")

    def resume(self):
        return self.rotation().resume(KEY)

    def rollback(self):
        return self.rotation().rollback(KEY)

    def due(self):
        return self.rotation().rotate_due()

    def status(self):
        return self.rotation().status()

    def set(self):
        """Repair by hand, the store and the target system in one step: nobody can order two by hand."""
        self.call("set_secret", KEY, BY_HAND)
        self.target = BY_HAND

    def stage(self):
        self.call("stage_secret", KEY, STAGED)

    def delete(self):
        Pipeline(self.provider, name="p").delete_secret(KEY)

    def renew(self):
        self.delete()
        self.set()

    # --- how it begins ---

    def start_fresh(self):
        pass

    def start_failed(self):
        """An `apply` has failed: a rotation is in flight, and the target system has the old value."""
        self.broken_apply = True
        self.fails()

    def start_half(self):
        """A `verify` has failed: a rotation is in flight, and the target system has the new value."""
        self.broken_verify = True
        self.fails()

    def fails(self):
        try:
            self.rotate()
        except StrongroomError:
            self.broken_apply = self.broken_verify = False
        self.now += timedelta(hours=1)  # a due run may try again

    def start_done(self):
        self.rotation(grace_seconds=60).rotate(KEY, NEW)

    def start_over(self):
        self.start_done()
        self.now += timedelta(seconds=61)

    # --- what must hold ---

    def check(self, actors):
        reported = any(isinstance(one.outcome, BaseException) or unfinished(one.outcome) for one in actors)
        died = any(one.dead for one in actors)
        names = {one.name for one in actors}
        reported = reported or not names - BY_PEOPLE - {"delete", "status"}  # nobody was at the rotation
        for one in actors:
            if isinstance(one.outcome, BaseException) and not isinstance(one.outcome, StrongroomError):
                raise Broken(f"{one.name} raised {one.outcome!r}")
            self.check_words(one)
        if not self.memory.get_secrets([KEY]):
            return
        self.now += timedelta(days=1)
        texts = {v.value for v in self.memory._records[KEY].versions.values()}
        if "stage" in names and not names & {"resume", "rollback", "delete", "renew"}:
            if self.memory.get_secret(KEY) == STAGED:
                raise Broken("readers got what another tool had staged")
            if STAGED not in texts and not any(one.dead for one in actors if one.name == "stage"):
                raise Broken("what another tool had staged is gone")
        if self.in_flight():
            if not (reported or died):
                raise Broken("a rotation is in flight, and nobody said so")
            self.ends()
        if self.target != self.memory.get_secret(KEY):
            raise Broken(f"the target has {self.target}, readers get {self.memory.get_secret(KEY)}")

    def in_flight(self):
        with self.rotation()._at(KEY) as steps:
            record = steps.recorded()
        return record is not None and record.in_flight

    def ends(self):
        """A rotation that is in flight is shown, and `resume` or `rollback` ends it."""
        status = self.rotation().status_of(KEY)
        if status.state not in {"pending", "applied", "verified"}:
            raise Broken(f"a rotation is in flight, and its state is told as {status.state}")
        order = ["resume", "rollback"] if self.scenario.first == "resume" else ["rollback", "resume"]
        for name in order:
            with suppress(StrongroomError):  # it says what stands in the way
                getattr(self.rotation(), name)(KEY)
            if not self.in_flight():
                return
        raise Broken("neither resume nor rollback ended the rotation that was in flight")

    def check_words(self, actor):
        if isinstance(actor.outcome, StrongroomError):
            said = f"{actor.outcome} {actor.outcome.__cause__!r} {actor.outcome.__context__!r}"
            if any(value in said for value in (OLD, NEW, BY_HAND, STAGED)):
                raise Broken(f"{actor.name} told a value")


def unfinished(outcome):
    return isinstance(outcome, list) and any(one.state not in {"current", "rolled_back"} for one in outcome)


class Scenario(NamedTuple):
    backend: str
    start: str
    actors: tuple[str, ...]
    grace: int = 0
    first: str = "rollback"
    """What is tried first on a rotation that is left in flight."""
    crashes: int = 1
    stalls: int = 0
    """How often the clock may go on past every attempt's time; such an actor is slow, and does not die."""


_providers = {}


def provider_of(backend):
    """Return a class of providers over a world's memory, each request of which is a step."""
    if backend not in _providers:
        names = [*FOUR, *(name for ability in BACKENDS[backend] for name in ABILITIES[ability])]

        def passed_on(name):
            return lambda self, *args, **kwargs: self.world.call(name, *args, **kwargs)

        def begin(self, world):
            self.world = world

        members = {"__init__": begin, **{name: passed_on(name) for name in names}}
        _providers[backend] = type("Stepwise", (BaseProvider,), members)
    return _providers[backend]


def run(scenario, choose):
    """Let the actors of `scenario` move as `choose` says, then check the world.

    `choose` gets the moves there are, the one that goes on with the same actor first if it can, and returns
    one of them: ("go", i), ("kill", i), ("stall", i), which lets i go on when its time is over.
    """
    world = World(scenario)
    actors = [Actor(name, getattr(world, name), world.back) for name in scenario.actors]
    threads = [threading.Thread(target=one.run, daemon=True) for one in actors]
    for thread, actor in zip(threads, actors, strict=True):
        thread.start()
        world.by_thread[thread.ident] = actor
    try:
        play(world, actors, choose)
    finally:
        for actor in actors:
            if not actor.done:
                actor.dead = True
                actor.turn.release()
                world.back.acquire()
        for thread in threads:
            thread.join()
            world.by_thread.pop(thread.ident, None)
    world.check(actors)


def play(world, actors, choose):
    # A delete takes the record of the rotation along: of a process that dies after that nobody knows.
    last, stalls = None, world.scenario.stalls
    crashes = 0 if {"renew", "delete"} & set(world.scenario.actors) else world.scenario.crashes
    for _ in range(MOST_STEPS):
        moves = moves_of(actors, last, crashes, stalls)
        if not moves:
            if not all(one.done for one in actors):
                raise Broken("somebody waits for ever")
            return
        what, which = choose(moves)
        if what == "stall":
            stalls, crashes, last = stalls - 1, 0, None
            world.now += timedelta(hours=1)
            continue
        if what == "kill":
            crashes, stalls = crashes - 1, 0
            actors[which].dead = True
        last = which
        actors[which].turn.release()
        world.back.acquire()
    raise Broken("it does not come to an end")


def moves_of(actors, last, crashes, stalls):
    able = [
        number
        for number, one in enumerate(actors)
        if not one.done and (one.waits_for is None or one.waits_for.holder is None)
    ]
    able.sort(key=lambda number: number != last)
    moves = [("go", number) for number in able]
    if last in able and actors[last].name not in BY_PEOPLE:
        moves += [("kill", last)] * bool(crashes) + [("stall", last)] * bool(stalls and len(able) > 1)
    return moves


def explore(scenario, preemptions, most=10**9):
    """Run every order with at most so many preemptions, up to `most`; return how many there were."""
    count, script = 0, []
    while script is not None and count < most:
        taken = []  # at each point: the moves, which was taken, the preemptions left before, whether one goes on

        def choose(moves, taken=taken, script=script):
            left, last = preemptions, None
            if taken:
                before, number, left, goes_on = taken[-1]
                left -= goes_on and number > 0
                last = before[number]
            number = script[len(taken)] if len(taken) < len(script) else 0
            taken.append((moves, number, left, moves[0] == last))
            return moves[number]

        failure = None
        try:
            run(scenario, choose)
        except Broken as broken:
            failure = f"{scenario}: {broken}; moves: {[moves[n] for moves, n, _, _ in taken]}"
        if failure is not None:
            raise Broken(failure)
        count += 1
        script = next_script(taken)
    return count


def next_script(taken):
    for at in range(len(taken) - 1, -1, -1):
        moves, number, left, goes_on = taken[at]
        # Another move than to go on with an actor that could go on is a preemption.
        if number + 1 < len(moves) and left >= goes_on:
            return [n for _, n, _, _ in taken[:at]] + [number + 1]
    return None


def wander(scenario, seed, count):
    """Run `count` orders at random."""
    for number in range(count):
        source = random.Random(f"{scenario} {seed} {number}")
        chance = source.choice([0.1, 0.3, 0.6])
        moved = []

        def choose(moves, source=source, chance=chance, moved=moved):
            weights = [1 if what == "go" else 0.1 for what, _ in moves]
            move = moves[0] if source.random() > chance else source.choices(moves, weights)[0]
            moved.append(move)
            return move

        failure = None
        try:
            run(scenario, choose)
        except Broken as broken:
            failure = f"{scenario}, seed {seed}, {number}: {broken}; moves: {moved}"
        if failure is not None:
            raise Broken(failure)
    return count
