"""The errors of strongroom, one class for each thing a caller can do something about.

    StrongroomError
    ├── SecretNotFoundError (KeyError)          the key is not there; `reason` says in which way
    ├── InvalidKeyError (ValueError)            the key breaks the rules, no request was made
    ├── SecretTooLargeError (ValueError)        the backend cannot hold a value of this size
    ├── ValidationError (ValueError)            the value breaks a rule, or the backend cannot hold it
    ├── ConfigurationError                      the set-up is wrong
    │   ├── SpecError                           the YAML spec is wrong; lists every problem
    │   ├── UntrustedSpecError                  others could have written the spec, or you have not trusted it
    │   └── PluginError                         a plugin is broken, missing or there twice
    ├── PermissionDeniedError (PermissionError) known to the backend, and not allowed
    ├── AuthenticationError                     not logged in, or the login is no longer good
    ├── BackendUnavailableError (ConnectionError)  down, unreachable or too slow
    │   └── ThrottledError                      asked too often
    ├── ConflictError                           somebody else changed it first
    ├── UnsupportedOperationError               this backend cannot do that
    ├── ReadOnlyError                           writing is switched off here
    ├── EncryptionError
    │   └── DecryptionError                     wrong key, or changed data
    │       └── TamperedError                   stored data was changed behind strongroom's back
    ├── TenantContextError                      no tenant is active
    ├── InvalidTenantError (ValueError)         the tenant's id breaks the rules
    ├── RotationError                           a rotation did not get to its end
    └── AuditError                              the audit trail could not be written

No message, attribute or context of these ever holds a secret's value, a token or a key of a cipher.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Literal, TypeVar

    NotFoundReason = Literal["absent", "deleted", "destroyed", "disabled"]
    E = TypeVar("E", bound=BaseException)
else:

    def __getattr__(name: str) -> Any:
        if name != "NotFoundReason":
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        from typing import Literal  # takes as long to import as ten modules of ours

        return globals().setdefault(name, Literal["absent", "deleted", "destroyed", "disabled"])


__all__ = [
    "AuditError",
    "AuthenticationError",
    "BackendUnavailableError",
    "ConfigurationError",
    "ConflictError",
    "DecryptionError",
    "EncryptionError",
    "InvalidKeyError",
    "InvalidTenantError",
    "NotFoundReason",
    "PermissionDeniedError",
    "PluginError",
    "ReadOnlyError",
    "RotationError",
    "SecretNotFoundError",
    "SecretTooLargeError",
    "SpecError",
    "StrongroomError",
    "TamperedError",
    "TenantContextError",
    "ThrottledError",
    "UnsupportedOperationError",
    "UntrustedSpecError",
    "ValidationError",
    "show_key",
]

_SHOWN_KEY_CHARACTERS = 80


def show_error(error: BaseException) -> str:
    """Return an error for a line of a log: one of ours with its message, else its class."""
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, StrongroomError) else kind


def raised_at(error: BaseException) -> str:
    """Return file and line where `error` was raised, without a text of it."""
    trace, at = error.__traceback__, "an unknown place"
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
        at, trace = f"{name}:{trace.tb_lineno}", trace.tb_next
    return at


def bare_error(error: StrongroomError, asked: str | None, provider: str) -> StrongroomError:
    """Return an error of the class of ours that `error` has, without a text of it."""
    kind = next(
        one
        for one in type(error).__mro__
        if issubclass(one, StrongroomError) and one.__module__ == StrongroomError.__module__
    )
    summary = f"{provider} failed with {kind.__name__}"
    if isinstance(error, SecretNotFoundError) and error.reason in {
        "absent",
        "deleted",
        "destroyed",
        "disabled",
    }:
        return SecretNotFoundError(asked or "", summary, reason=error.reason, provider=provider)
    if issubclass(kind, SecretNotFoundError | InvalidKeyError | SecretTooLargeError):
        return kind(asked or "", summary, provider=provider)
    if issubclass(kind, SpecError):
        return ConfigurationError(summary, key=asked, provider=provider)
    return kind(summary, key=asked, provider=provider)


def raisable_again(error: E) -> E:
    """Return a copy of an error of ours that several callers get: each adds to its own."""
    if not isinstance(error, StrongroomError):
        return error
    import copy  # here, as reading one value raises none

    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    return fresh


def show_key(key: object) -> str:
    """Return `key` for a message: quoted, control characters escaped, shortened."""
    if not isinstance(key, str):
        return f"a {type(key).__name__}"
    shown = ascii(key) if not key.isprintable() else repr(key)
    if len(shown) > _SHOWN_KEY_CHARACTERS:
        return f"{shown[:_SHOWN_KEY_CHARACTERS]}… ({len(key)} characters)"
    return shown


def of_thread(error: BaseException) -> BaseException:
    """Return the exception for callers that wait for a thread in which `error` was raised.

    An exit, or a panic of an extension in Rust, would end the caller as well, such as a server's event loop.
    """
    if isinstance(error, Exception | KeyboardInterrupt):
        return error
    return StrongroomError(
        f"{type(error).__name__} was raised on a thread", hint=f"it was raised at {raised_at(error)}"
    )


class StrongroomError(Exception):
    """The base class of strongroom's errors.

    Attributes:
        message: What happened, without the hint.
        key: The key that was asked for, where the error is about one.
        pipeline: The pipeline that answered, where one did.
        provider: The type name of the provider (`vault`, `aws`, …).
        hint: What to do next.
        retryable: Whether the same call may succeed later.
    """

    if TYPE_CHECKING:  # at run time, `get_type_hints` of what derives from this would need `typing`
        retryable: ClassVar[bool]
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        pipeline: str | None = None,
        provider: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.pipeline = pipeline
        self.provider = provider
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross processes.
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[StrongroomError], args: tuple[Any, ...], state: dict[str, Any]) -> StrongroomError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _KeyedError(StrongroomError):
    """An error about one key, which is its first argument."""

    if TYPE_CHECKING:
        _default: ClassVar[str]
    _default = "{key}: failed"

    def __init__(
        self,
        key: str,
        message: str | None = None,
        *,
        pipeline: str | None = None,
        provider: str | None = None,
        hint: str | None = None,
    ) -> None:
        text = message if message is not None else self._default.format(key=show_key(key))
        super().__init__(text, key=key, pipeline=pipeline, provider=provider, hint=hint)
        # `KeyError.args[0]` is by custom the key, and mappings' users rely on it.
        self.args = (key,)


class SecretNotFoundError(_KeyedError, KeyError):
    """The secret is not there.

    Attributes:
        reason: `absent`, `deleted` (recoverable), `destroyed` or `disabled`, as far as the backend tells.
    """

    def __init__(
        self,
        key: str,
        message: str | None = None,
        *,
        reason: NotFoundReason = "absent",
        pipeline: str | None = None,
        provider: str | None = None,
        hint: str | None = None,
    ) -> None:
        said = "not found" if reason == "absent" else f"not found: {reason}"
        text = message if message is not None else f"secret {show_key(key)} {said}"
        super().__init__(key, text, pipeline=pipeline, provider=provider, hint=hint)
        self.reason: NotFoundReason = reason


class InvalidKeyError(_KeyedError, ValueError):
    """The key breaks the rules for keys; no backend was asked."""

    _default = "invalid key {key}"


class SecretTooLargeError(_KeyedError, ValueError):
    """The value is larger than the backend accepts; the old value is still there."""

    _default = "the value for {key} is too large"


class ValidationError(StrongroomError, ValueError):
    """A value breaks a rule, or the backend cannot store it."""


class ConfigurationError(StrongroomError):
    """The set-up is wrong: an option, a file, a mount, a project."""


class SpecError(ConfigurationError):
    """The spec is wrong. `problems` lists everything that is, in the order of the file.

    Attributes:
        problems: One line each, `file:line:column: path: what`.
    """

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems or (message,)


class UntrustedSpecError(ConfigurationError):
    """Others could have written the spec; or it was found, and the user has not trusted it."""


class PluginError(ConfigurationError):
    """A plugin is missing, fails to import, exists twice, or breaks the rules."""


class PermissionDeniedError(StrongroomError, PermissionError):
    """The backend knows the caller and says no."""


class AuthenticationError(StrongroomError):
    """The backend does not know the caller: no login, or one that is no longer valid."""


class BackendUnavailableError(StrongroomError, ConnectionError):
    """The backend is down, out of reach, or did not answer before the deadline."""

    retryable = True


class ThrottledError(BackendUnavailableError):
    """The backend gets too many requests; ask again later.

    Attributes:
        retry_after: Seconds that the backend asked to wait, where it said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after = retry_after


class ConflictError(StrongroomError):
    """The secret is not in the state that a conditional write expected."""


class UnsupportedOperationError(StrongroomError):
    """The backend, or the pipeline in front of it, cannot do this."""


class ReadOnlyError(StrongroomError):
    """Writing is switched off here."""


class EncryptionError(StrongroomError):
    """A value could not be encrypted."""


class DecryptionError(EncryptionError):
    """A value could not be decrypted: the wrong key, or data that was changed."""


class TamperedError(DecryptionError):
    """Stored data was removed, swapped, copied, changed or reset to an older state."""


class TenantContextError(StrongroomError):
    """No tenant is active where one is needed."""


class InvalidTenantError(StrongroomError, ValueError):
    """A tenant's id breaks the rules: 1-64 of `[A-Za-z0-9_-]`."""


class RotationError(StrongroomError):
    """A rotation or rollback did not reach its end; readers get the same value as before."""


class AuditError(StrongroomError):
    """The audit trail could not be written: the operation was refused, or the message says it took effect."""
