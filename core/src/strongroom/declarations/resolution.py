"""The results of reading declared secrets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from strongroom.errors import (
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.runtime.frozen import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, Protocol

    from strongroom.providers import SecretMetadata
    from strongroom.spec.secret_plan import Declarations, SecretPlan

    Status = Literal["ok", "missing", "invalid", "due", "unavailable", "denied"]
    Values = Mapping[str, Any]

    class SecretSource(Protocol):
        """What secrets are read from: a registry, or a part of its methods."""

        @property
        def plan(self) -> Declarations:
            """What is declared."""

        def get_secret(self, key: str) -> str:
            """Return the value of `key`, or raise `SecretNotFoundError`."""

        def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
            """Return the values of those of `keys` that exist."""

    class DescribedSource(SecretSource, Protocol):
        """One that also knows how old a secret is."""

        def describe_secret(self, key: str) -> SecretMetadata:
            """Return what is known about a secret beside its value."""

else:
    Values = Mapping


__all__ = ["Resolution", "ResolvedSecrets"]


class Resolution(NamedTuple):
    """One declared secret as it was found; `problem` says what is wrong, never with the value."""

    plan: SecretPlan
    status: Status
    problem: str | None = None
    error: StrongroomError | None = None
    text: str | None = None
    value: Any = None
    parts: tuple[Resolution, ...] = ()
    """What it is composed of."""
    refused: str | None = None
    """A text that is there and breaks a rule: it cannot be used, and is a secret all the same."""

    @property
    def known_text(self) -> str | None:
        """The text that is to be kept out of outputs and files, whether or not it can be used."""
        return self.text if self.text is not None else self.refused

    @property
    def unreadable(self) -> StrongroomError | None:
        """What kept it from being read; None where it was read, or is not there."""
        if self.refused is not None or isinstance(self.error, SecretNotFoundError):
            return None
        return self.error

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted, destroyed or disabled, which is not absent: no default replaces it."""
        return isinstance(self.error, SecretNotFoundError) and self.error.reason != "absent"

    def __repr__(self) -> str:
        return f"<Resolution {self.plan.name}: {self.status}>"


class ResolvedSecrets(Values):
    """The declared secrets by name, each of its declared type; an absent optional one is None."""

    def __init__(self, found: Mapping[str, Resolution]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> Any:
        return self._found[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def as_env(self) -> dict[str, str]:
        """Return the text of every secret that is there, by name: an environment's variables.

        One that is declared `as_file` has its text here, too: only `run` writes it into a file.
        """
        return {name: found.text for name, found in self._found.items() if found.text is not None}

    def plans(self) -> dict[str, SecretPlan]:
        """Return the declarations by name."""
        return {name: found.plan for name, found in self._found.items()}

    def __repr__(self) -> str:
        masked = ", ".join(
            f"{name}={'None' if found.text is None else '****'}" for name, found in self._found.items()
        )
        return f"<ResolvedSecrets {masked}>"

    __str__ = __repr__
