"""The tenant of a context against a list as the model: blocks that begin and end in any order and place."""

from __future__ import annotations

import asyncio
import gc
import queue
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import Context, copy_context
from typing import Any

import pytest
from strongroom import TenantContext, current_tenant

TENANTS = ("a", "b", "c", "d")
SHARED = {name: TenantContext(name) for name in TENANTS[:2]}
MOST_PLACES, MOST_BLOCKS = 9, 14


def context_of(tenant: str, *, shared: bool) -> TenantContext:
    return SHARED[tenant] if shared and tenant in SHARED else TenantContext(tenant)


def rows(contexts: list[TenantContext]) -> Iterator[str | None]:
    """Yield the tenant from within blocks of `contexts`."""
    with ExitStack() as last, contexts[0]:
        if len(contexts) > 1:
            last.enter_context(TenantContext("x"))  # ends after the others, though it began within one
            with contexts[1]:
                last.pop_all().close()
                while True:
                    yield current_tenant()
        while True:
            yield current_tenant()


async def pages(context: TenantContext, over: asyncio.Event) -> AsyncIterator[str | None]:
    """Yield the same from within an `async with`, and tell when it is over."""
    try:
        async with context:
            while True:
                yield current_tenant()
    finally:
        over.set()


class Place:
    """A context in which code runs, with the model's list of the blocks that are open there."""

    def __init__(self, blocks: list[int]) -> None:
        self.blocks = blocks

    async def run(self, work: Callable[[], Any]) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        return


class ContextPlace(Place):
    """A `contextvars.Context`, run by whichever thread comes."""

    def __init__(self, blocks: list[int], context: Context) -> None:
        super().__init__(blocks)
        self.context = context

    async def run(self, work: Callable[[], Any]) -> Any:
        return self.context.run(work)


class ThreadPlace(Place):
    """A thread, or that of an executor: `start` says what its first function is."""

    def __init__(self, blocks: list[int], start: Callable[[Callable[[], None]], Any]) -> None:
        super().__init__(blocks)
        self.inbox: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()
        self.over = threading.Event()
        start(self._work)

    def _work(self) -> None:
        while (got := self.inbox.get()) is not None:
            work, future = got
            del got
            result = work()
            del work  # before anybody goes on: the last reference to a generator is not to be here
            future.set_result(result)
            del future, result
        self.over.set()

    async def run(self, work: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        self.inbox.put((work, future))
        del work
        return future.result(300)

    async def close(self) -> None:
        self.inbox.put(None)
        assert self.over.wait(300)


class TaskPlace(Place):
    """A task of the loop; it also awaits what is given to it."""

    def __init__(self, blocks: list[int], context: Context) -> None:
        super().__init__(blocks)
        self.inbox: asyncio.Queue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = asyncio.Queue()
        self.task = asyncio.get_running_loop().create_task(self._work(), context=context)

    async def _work(self) -> None:
        while (got := await self.inbox.get()) is not None:
            work, future = got
            del got
            result = work()
            del work
            future.set_result(await result if isinstance(result, Awaitable) else result)
            del future, result

    async def run(self, work: Callable[[], Any]) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.inbox.put_nowait((work, future))
        del work
        return await future

    async def close(self) -> None:
        self.inbox.put_nowait(None)
        await self.task


class World:
    """Places and blocks, a step at a time; every step compares all places with the model."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pool = ThreadPoolExecutor(2 * MOST_PLACES)
        self.places: list[Place] = [ContextPlace([], Context())]
        self.numbers = iter(range(1 << 60))
        self.tenant_of: dict[int, str] = {}
        self.began: dict[int, Place] = {}
        self.generators: dict[tuple[int, ...], Any] = {}
        self.cycles: dict[tuple[int, ...], list[Any]] = {}
        self.pages: dict[int, tuple[Any, asyncio.Event]] = {}
        self.entered: dict[int, TenantContext] = {}

    def expected(self, place: Place) -> str | None:
        return self.tenant_of[place.blocks[-1]] if place.blocks else None

    def begin(self, tenant: str, place: Place) -> int:
        number = next(self.numbers)
        self.tenant_of[number], self.began[number] = tenant, place
        place.blocks.append(number)
        return number

    def end(self, number: int, place: Place) -> None:
        at_home = place is self.began[number]
        for one in [place] if at_home else [place, self.began[number], *self.places]:
            if number in one.blocks:
                one.blocks.remove(number)

    def any_of(self, kind: type[Place]) -> Any:
        found = [place for place in self.places if isinstance(place, kind)]
        return self.random.choice(found) if found else None

    async def step(self) -> None:
        open_ones = len(self.generators) + len(self.cycles) + len(self.pages) + len(self.entered)
        begins = [self.start_generator, self.start_cycle, self.start_pages, self.enter]
        ends = [self.close_generator, self.drop_generator, self.throw, self.collect]
        ends += [self.close_pages, self.drop_pages, self.leave]
        others = [self.resume, self.resume_pages, self.scoped, self.spawn, self.retire, self.aside]
        choice = begins * (open_ones < MOST_BLOCKS) + ends + others
        await self.random.choice(choice)()
        for place in self.places:
            assert await place.run(current_tenant) == self.expected(place), (
                type(place).__name__,
                place.blocks,
            )

    # --- begin

    def _rows(self) -> tuple[list[str], Iterator[str | None]]:
        names = self.random.choices(TENANTS, k=self.random.choice([1, 1, 2]))
        return names, rows([context_of(name, shared=self.random.random() < 0.6) for name in names])

    async def start_generator(self) -> None:
        place = self.any_of(Place)
        names, generator = self._rows()
        await place.run(lambda: next(generator))
        self.generators[tuple(self.begin(name, place) for name in names)] = generator

    async def start_cycle(self) -> None:
        place = self.any_of(Place)
        names, generator = self._rows()
        cycle: list[Any] = [generator]
        await place.run(lambda: next(generator))
        cycle.append(cycle)
        self.cycles[tuple(self.begin(name, place) for name in names)] = cycle

    async def start_pages(self) -> None:
        if (place := self.any_of(TaskPlace)) is not None:
            name, over = self.random.choice(TENANTS), asyncio.Event()
            generator = pages(context_of(name, shared=self.random.random() < 0.6), over)
            await place.run(lambda: anext(generator))
            self.pages[self.begin(name, place)] = (generator, over)

    async def enter(self) -> None:
        place, name = self.any_of(Place), self.random.choice(TENANTS)
        context = TenantContext(name)
        await place.run(context.__enter__)
        self.entered[self.begin(name, place)] = context

    # --- end

    def _taken(self, among: dict[Any, Any]) -> Any:
        return self.random.choice(list(among)) if among else None

    def _end_all(self, numbers: tuple[int, ...], place: Place) -> None:
        for number in reversed(numbers):
            self.end(number, place)

    async def close_generator(self) -> None:
        if (numbers := self._taken(self.generators)) is not None:
            place = self.any_of(Place)
            await place.run(self.generators.pop(numbers).close)
            self._end_all(numbers, place)

    async def drop_generator(self) -> None:
        if (numbers := self._taken(self.generators)) is not None:
            place = self.any_of(Place)
            await place.run(lambda: bool(self.generators.pop(numbers)))
            self._end_all(numbers, place)

    async def throw(self) -> None:
        if (numbers := self._taken(self.generators)) is not None:
            place, generator = self.any_of(Place), self.generators.pop(numbers)

            def thrown() -> None:
                with pytest.raises(ArithmeticError):
                    generator.throw(ArithmeticError())

            await place.run(thrown)
            self._end_all(numbers, place)

    async def collect(self) -> None:
        if (numbers := self._taken(self.cycles)) is not None:
            place = self.any_of(Place)

            def collected() -> None:
                self.cycles.pop(numbers)
                gc.collect()

            await place.run(collected)
            self._end_all(numbers, place)

    async def close_pages(self) -> None:
        place, number = self.any_of(TaskPlace), self._taken(self.pages)
        if place is not None and number is not None:
            await place.run(self.pages.pop(number)[0].aclose)
            self.end(number, place)

    async def drop_pages(self) -> None:
        """The loop closes it, in a task of its own."""
        if (number := self._taken(self.pages)) is not None:
            over = self.pages[number][1]
            await self.any_of(Place).run(lambda: bool(self.pages.pop(number)))
            await asyncio.wait_for(over.wait(), 20)
            self.end(number, Place([]))

    async def leave(self) -> None:
        if (number := self._taken(self.entered)) is not None:
            place, context = self.any_of(Place), self.entered.pop(number)
            await place.run(lambda: context.__exit__(None, None, None))
            self.end(number, place)

    # --- others

    async def resume(self) -> None:
        if (numbers := self._taken(self.generators)) is not None:
            place, generator = self.any_of(Place), self.generators[numbers]
            assert await place.run(lambda: next(generator)) == self.expected(place)

    async def resume_pages(self) -> None:
        place, number = self.any_of(TaskPlace), self._taken(self.pages)
        if place is not None and number is not None:
            generator = self.pages[number][0]
            assert await place.run(lambda: anext(generator)) == self.expected(place)

    async def scoped(self) -> None:
        """A plain block of a shared object in which a generator, perhaps of the same object, ends."""
        place, name = self.any_of(Place), self.random.choice(TENANTS)
        numbers = self._taken(self.generators)
        generator = self.generators.pop(numbers) if numbers is not None else None

        def block() -> tuple[str | None, str | None]:
            with context_of(name, shared=True):
                before = current_tenant()
                if generator is not None:
                    generator.close()
                return before, current_tenant()

        assert await place.run(block) == (name, name)
        if numbers is not None:
            self._end_all(numbers, place)

    async def spawn(self) -> None:
        if len(self.places) >= MOST_PLACES:
            return
        parent = self.any_of(Place)
        context, blocks = await parent.run(copy_context), list(parent.blocks)
        kind = self.random.randrange(6)
        made: Place
        if kind == 0:
            made = ContextPlace(blocks, context)
        elif kind == 1:
            made = ThreadPlace(
                blocks, lambda work: threading.Thread(target=context.run, args=(work,)).start()
            )
        elif kind == 2:
            made = ThreadPlace(blocks, lambda work: self.pool.submit(context.run, work))
        elif kind == 3:
            made = ThreadPlace([], lambda work: threading.Thread(target=Context().run, args=(work,)).start())
        else:
            made = TaskPlace(blocks, context)
        self.places.append(made)

    async def retire(self) -> None:
        if len(self.places) > 4:
            place = self.places.pop(self.random.randrange(len(self.places)))
            await place.close()

    async def aside(self) -> None:
        """A job of an executor under a copy of the context: a generator begins there, and outlives it."""
        parent = self.any_of(Place)
        context = await parent.run(copy_context)
        place = ContextPlace(list(parent.blocks), context)
        names, generator = self._rows()
        assert self.pool.submit(context.run, current_tenant).result(300) == self.expected(place)
        given = [generator]
        self.pool.submit(context.run, lambda: next(given.pop())).result(300)
        self.generators[tuple(self.begin(name, place) for name in names)] = generator


@pytest.mark.parametrize(
    ("seed", "steps"),
    [
        (1, 700),
        (2, 250),
        *(pytest.param(seed, 25_000, marks=pytest.mark.torture) for seed in range(2, 7)),
    ],
)
def test_the_tenant_is_that_of_the_innermost_block_that_is_not_over(seed, steps):
    """Tasks, threads, generators, async generators, executors and collections against a list for each context."""
    gc.collect()
    gc.freeze()  # what is there already need not be looked through at each collection
    world = World(seed)

    async def main() -> None:
        try:
            for _ in range(steps):
                await world.step()
        finally:
            for place in world.places:
                await place.close()

    try:
        asyncio.run(main())
    finally:
        world.pool.shutdown(wait=False, cancel_futures=True)
        gc.unfreeze()
    assert current_tenant() is None
