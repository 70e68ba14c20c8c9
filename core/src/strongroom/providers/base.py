"""The base class of providers that follow strongroom's rules themselves, and the layers around a provider."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, ClassVar, Self

from strongroom.errors import (
    UnsupportedOperationError,
    show_key,
)
from strongroom.runtime.pickling import ProcessBound

__all__ = ["BaseProvider", "innermost", "layers", "unsupported"]


def layers(chain: Any) -> Iterator[Any]:
    """Yield the layers of a pipeline from the outside: itself, its middleware, and the provider."""
    while True:
        yield chain
        if not hasattr(chain, "inner"):
            return
        chain = chain.inner


def innermost(chain: Any) -> Any:
    """Return the provider of a pipeline, below all middleware; of a fallback, that of its first member."""
    while hasattr(chain, "inner"):
        chain = chain.inner
    return chain


def unsupported(operation: str, provider: object, key: str | None = None) -> UnsupportedOperationError:
    """Return the error for a capability that `provider` does not have."""
    name = getattr(provider, "type_name", None) or type(provider).__name__
    about = f" for {show_key(key)}" if key is not None else ""
    return UnsupportedOperationError(
        f"{name} has no {operation}{about}",
        key=key,
        provider=name,
        hint="use a provider that has it: the reference of each lists its capabilities",
    )


class BaseProvider(ProcessBound):
    """A base class for providers: a context manager with a quiet `repr`, and one promise.

    Deriving from it promises that the methods raise nothing but `strongroom.errors` (and
    `TypeError` for a value that is not text), so that nothing needs to translate their errors again.
    """

    type_name: ClassVar[str] = ""

    def close(self) -> None:
        """Give back what the provider holds open; a second call is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
