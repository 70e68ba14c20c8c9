"""Values that apply within a `with` block, for the context that runs it, in whatever order blocks end.

`ContextVar.reset` is right only where blocks end innermost first and in the context they began in. A block in
a generator need not: the generator is suspended, and closed later, by another task or thread, or by the
garbage collector. So a context keeps all blocks that are open in it, and the innermost of them counts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, Generic, TypeVar, cast

__all__ = ["Block", "OpenBlocks", "as_here", "copied_context"]

T = TypeVar("T")
_kinds: list[OpenBlocks[Any]] = []


def copied_context() -> Context:
    """Return a copy of this context for work on another thread, in which what applies here goes on to apply.

    In a plain copy a block is over as soon as it ends in another context than it began in, even if that is in
    the middle of the work: then what is around the block would apply, such as another tenant.
    """
    context = copy_context()
    context.run(_hold_all)
    return context


def _hold_all() -> None:
    for blocks in _kinds:
        value = blocks.innermost()
        if value is not None:
            blocks.hold(value)


def as_here(callback: Callable[[T], object]) -> Callable[[T], object]:
    """Return `callback` for others to call, to which applies what applies here, and nothing of theirs.

    A subscriber is called by the thread of a writer or reader, which may act for another tenant.
    """
    here = {blocks: blocks.innermost() for blocks in _kinds}

    def call(thing: T) -> object:
        context = copy_context()
        for blocks in _kinds:
            context.run(blocks.hold, here.get(blocks))
        return context.run(callback, thing)

    return call


class Block(Generic[T]):
    """One entry into a block.

    Attributes:
        value: The value within the block. It is deleted when the block ends in another context than it began
            in: readers then get an `AttributeError`, and need no check before.
        home: A token that only the context in which the block began accepts; None once the block has ended,
            and if it never ends.
    """

    __slots__ = ("home", "value")

    def __init__(self, value: T, home: Token[None] | None = None) -> None:
        self.value = value
        self.home = home

    def is_over(self) -> bool:
        """Return whether the value was taken away."""
        return not hasattr(self, "value")


class OpenBlocks(Generic[T]):
    """The blocks of one kind. Make one for each module, since a context never forgets a variable.

    Where a block ends in the context it began in, that context forgets it; contexts that were copied from it
    meanwhile (tasks, threads) keep it, as they keep every other variable. Where it ends in another one it is
    over for all of them, since nothing says whether a copy was made before or after that.

    Args:
        name: The name of the context variable.
    """

    def __init__(self, name: str) -> None:
        outside: tuple[Block[T | None], ...] = (Block(None),)
        self.open: ContextVar[tuple[Block[T | None], ...]] = ContextVar(name, default=outside)
        """Innermost first; the last stands for the outside of all blocks."""
        self._home: ContextVar[None] = ContextVar(f"{name}_home")
        _kinds.append(self)

    def enter(self, value: T) -> Block[T | None]:
        """Begin a block in this context and return it; `leave` ends it."""
        block: Block[T | None] = Block(value, self._home.set(None))
        try:
            while not self._replaced(seen := self.open.get(), (block, *seen)):
                pass
        except BaseException:  # of a signal handler: nobody else could end the block
            self.leave(block)
            raise
        return block

    def hold(self, value: T | None) -> None:
        """Let `value` apply in this context for good; for a copy that is made for one piece of work."""
        block = Block(value)  # without a home, whose token would keep the context in a cycle
        while not self._replaced(seen := self.open.get(), (block, *seen)):
            pass

    def leave(self, block: Block[T | None]) -> None:
        """End `block`, wherever it began; if that was interrupted, a second call goes on with it."""
        try:
            if block.home is not None and not self._took_home(block) and not block.is_over():
                del block.value
            block.home = None
            self._drop(block)
        except BaseException:  # of a signal handler: the block is over all the same
            self._drop(block)
            raise

    def _drop(self, block: Block[T | None]) -> None:
        while not self._replaced(seen := self.open.get(), tuple([one for one in seen if one is not block])):
            pass

    def innermost(self) -> T | None:
        """Return the value of the innermost block that is open in this context; None where there is none."""
        try:
            return self.open.get()[0].value
        except AttributeError:
            return self.after_ends_elsewhere()

    def after_ends_elsewhere(self) -> T | None:
        """Forget the blocks that ended in other contexts, and return what `innermost` does."""
        while True:
            seen = self.open.get()
            if self._replaced(seen, tuple([one for one in seen if not one.is_over()])):
                return self.innermost()

    def _took_home(self, block: Block[T | None]) -> bool:
        """Return whether this is the context that `block` began in."""
        try:
            self._home.reset(cast("Token[None]", block.home))
        except ValueError:  # another context's
            return False
        except RuntimeError:  # it was taken already, before an interrupt
            return True
        return True

    def _replaced(self, seen: tuple[Block[T | None], ...], blocks: tuple[Block[T | None], ...]) -> bool:
        """Set the open blocks, unless they have changed since they were `seen`; return whether they are set.

        Between any two lines the garbage collector may end another block of this context.
        """
        found = self.open.set(blocks).old_value
        if found is seen or found is Token.MISSING:
            return True
        self.open.set(found)
        return False
