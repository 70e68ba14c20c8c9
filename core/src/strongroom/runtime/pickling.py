"""Objects that stay in their process: connections and locks cannot be pickled, and values must not be."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, NoReturn


__all__ = ["ProcessBound", "refuse_pickling"]


def refuse_pickling(it: object, why: str) -> NoReturn:
    """Raise the `TypeError` that says why `it` is not pickled, and shows nothing of its content."""
    message = f"{type(it).__name__} {why}"
    raise TypeError(message)


class ProcessBound:
    """An object that is neither pickled nor copied, and so cannot be passed to a spawned process."""

    __slots__ = ()

    if TYPE_CHECKING:  # at run time, `get_type_hints` of what derives from this would need `typing`
        _why_not_pickled: ClassVar[str]
    _why_not_pickled = (
        "cannot be pickled or copied, nor given to another process: build the registry in the child process, "
        "from the same spec (start methods spawn and forkserver; a forked child may go on using its parent's)"
    )

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self, self._why_not_pickled)
