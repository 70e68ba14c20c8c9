"""The kinds of encryption keys, distinguished strictly and never guessed.

- the text of `generate_key`: 32 random bytes in a typed form with a checksum, used as they are;
- exactly 32 bytes: used as they are;
- a standard Fernet key, 44 characters or bytes: its 32 bytes;
- any other text of 8 characters and more: a passphrase, from which Argon2id derives 32 bytes. Text that is
  nearly one of the keys above is an error: it would be a passphrase that nobody meant.
"""

from __future__ import annotations

import binascii
import os
import threading
from collections import OrderedDict
from typing import Final, Literal, NoReturn, Self

from strongroom.errors import ConfigurationError
from strongroom.parallel import renew_after_fork
from strongroom.runtime import digests
from strongroom.runtime.frozen import NamedTuple
from strongroom.runtime.pickling import ProcessBound, refuse_pickling

__all__ = [
    "ARGON2_CEILING",
    "ARGON2_DEFAULT",
    "ARGON2_FLOOR",
    "KEY_BYTES",
    "KEY_PREFIX",
    "MIN_PASSPHRASE",
    "SALT_BYTES",
    "Argon2Parameters",
    "HoldsKey",
    "KeyMaterial",
    "check_parameters",
    "derive_key",
    "format_key",
    "generate_key",
    "read_key",
]

KEY_PREFIX: Final = "srk1_"
KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
_CHECK_BYTES: Final = 4
_URL_SAFE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
"""Not a pattern, which takes longer to compile than a key takes to read."""
_GENERATED_LENGTH: Final = len(KEY_PREFIX) + (KEY_BYTES + _CHECK_BYTES) * 4 // 3
_FERNET_LENGTH: Final = 44
MIN_PASSPHRASE: Final = 8
"""Characters that a passphrase has at least."""
_CACHED_DERIVATIONS: Final = 64
_NOT_PICKLED: Final = (
    "holds a key and cannot be pickled: send the name of its key file, and make it again in the other process"
)
_HINT: Final = "make a key with `strongroom keygen`"


class HoldsKey(ProcessBound):
    """An object that holds a key. It is not pickled, since the pickle would hold it; a copy is the object."""

    _why_not_pickled = _NOT_PICKLED

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class KeyMaterial(NamedTuple):
    """A key as it was given, before any derivation; the secret part is in no `repr`.

    Attributes:
        kind: `raw` and `fernet` hold 32 bytes to use as they are, `passphrase` UTF-8 text to derive from.
        secret: Those bytes.
    """

    kind: Literal["raw", "fernet", "passphrase"]
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyMaterial(kind={self.kind!r})"

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self, _NOT_PICKLED)  # a named tuple has no other base


class Argon2Parameters(NamedTuple):
    """Cost of Argon2id (RFC 9106): passes, memory in KiB, lanes."""

    iterations: int
    memory_kib: int
    lanes: int


ARGON2_DEFAULT: Final = Argon2Parameters(3, 64 * 1024, 4)
"""The second recommended choice of RFC 9106, section 4."""
ARGON2_FLOOR: Final = Argon2Parameters(2, 19 * 1024, 1)
"""The least that a stored header may ask for (OWASP's password storage cheat sheet)."""
ARGON2_CEILING: Final = Argon2Parameters(6, 256 * 1024, 4)
"""The most that a stored header may ask for, so that a forged one cannot exhaust the machine."""


def generate_key() -> str:
    """Return a new key: `srk1_` and 32 random bytes with a checksum, as URL-safe text."""
    return format_key(os.urandom(KEY_BYTES))


def format_key(raw: bytes) -> str:
    """Return the text form of a raw key.

    Raises:
        ConfigurationError: It is not 32 bytes long.
    """
    if len(raw) != KEY_BYTES:
        raise ConfigurationError(f"a raw key has {KEY_BYTES} bytes, got {len(raw)}", hint=_HINT)
    return KEY_PREFIX + _as_url_safe(raw + _check_sum(raw))


def read_key(key: str | bytes, *, older: bool = False) -> KeyMaterial:
    """Return the kind and bytes of `key`.

    Args:
        key: The key as it was given.
        older: The key only decrypts: a passphrase may then be one that is otherwise refused.

    Raises:
        ConfigurationError: It is empty, not Unicode text, bytes of another length than a key's, a passphrase
            that is blank or short, or nearly one of the other keys. The message never shows it.
    """
    if isinstance(key, bytes | bytearray):
        return _read_bytes(bytes(key))
    if not isinstance(key, str):
        raise ConfigurationError(f"an encryption key is text or bytes, got {type(key).__name__}", hint=_HINT)
    if not key:
        raise ConfigurationError("the encryption key is empty", hint=_HINT)
    if key.startswith(KEY_PREFIX):
        raw = _generated(key)
        if raw is not None:
            return KeyMaterial("raw", raw)
        # An older key may be a whole one with more behind it.
        if not older or _generated(key[:_GENERATED_LENGTH]) is None:
            raise _not_a_generated_key(key)
    fernet = _read_fernet(key)
    if fernet is not None:
        return KeyMaterial("fernet", fernet)
    if not older:
        _refuse_weak(key)
    try:
        return KeyMaterial("passphrase", key.encode())
    except UnicodeEncodeError:
        pass  # raised below: the context of the error would hold the passphrase
    raise ConfigurationError("the passphrase holds a lone surrogate, which is not Unicode text")


def _refuse_weak(text: str) -> None:
    """Raise if `text` is not meant as a passphrase, or is not good enough for one."""
    found = _lookalike(text)
    if found is not None:
        raise ConfigurationError(
            f"the encryption key is {found}: taken as it is, it would be a passphrase",
            hint="give the key alone; what is encrypted under this very text is read with it in `older_keys`",
        )
    if not text.strip():
        raise ConfigurationError("the encryption key is blank", hint=_HINT)
    if len(text) < MIN_PASSPHRASE:
        raise ConfigurationError(
            f"the passphrase has {len(text)} characters, at least {MIN_PASSPHRASE} are needed",
            hint=f"{_HINT}; what is encrypted under a short one is read with it in `older_keys`",
        )


def _read_bytes(key: bytes) -> KeyMaterial:
    if len(key) == KEY_BYTES:
        return KeyMaterial("raw", key)
    if len(key) == _FERNET_LENGTH and key.isascii():
        fernet = _read_fernet(key.decode("ascii"))
        if fernet is not None:
            return KeyMaterial("fernet", fernet)
    raise ConfigurationError(
        f"an encryption key of bytes is {KEY_BYTES} raw ones or a Fernet key, got {len(key)} bytes",
        hint=f"{_HINT}, and give its text as `str`",
    )


def _generated(key: str) -> bytes | None:
    """Return the bytes of a generated key, None where `key` is not one, or is one that was mistyped."""
    if len(key) == _GENERATED_LENGTH and key.startswith(KEY_PREFIX) and _URL_SAFE.issuperset(key):
        decoded = _from_url_safe(key[len(KEY_PREFIX) :])
        raw, check = decoded[:KEY_BYTES], decoded[KEY_BYTES:]
        if _check_sum(raw) == check:
            return raw
    return None


def _lookalike(text: str) -> str | None:
    from strongroom.encryption.lookalikes import lookalike  # only where there is a passphrase, or an error

    return lookalike(text, _generated)


def _not_a_generated_key(key: str) -> ConfigurationError:
    found = _lookalike(key)
    message = (
        f"the encryption key is {found}"
        if found is not None
        else (
            f"the encryption key begins with {KEY_PREFIX!r} but is not a generated key: "
            "its length or checksum is wrong"
        )
    )
    return ConfigurationError(message, hint="copy it again, whole and without blanks or line ends")


def _read_fernet(key: str) -> bytes | None:
    if len(key) != _FERNET_LENGTH or key[-1] != "=" or not _URL_SAFE.issuperset(key[:-1]):
        return None
    try:
        return _from_url_safe(key)
    except binascii.Error:  # pragma: no cover  # nothing is left that base64 refuses
        return None


def _as_url_safe(data: bytes) -> str:
    """Return base64 for URLs; the module `base64` takes longer to import than a key takes to read."""
    return binascii.b2a_base64(data, newline=False).decode().replace("+", "-").replace("/", "_")


def _from_url_safe(text: str) -> bytes:
    return binascii.a2b_base64(text.replace("-", "+").replace("_", "/"))


def _check_sum(raw: bytes) -> bytes:
    # Against typing errors, not against attackers; the label keeps it apart from other uses of the hash.
    return digests.sha256(b"strongroom key 1\0" + raw).digest()[:_CHECK_BYTES]


def check_parameters(parameters: Argon2Parameters) -> Argon2Parameters:
    """Return `parameters`, or raise if a header must not ask for them.

    Raises:
        ConfigurationError: Too cheap to protect a passphrase, or so dear that they would harm the machine.
    """
    for name in ("iterations", "memory_kib", "lanes"):
        cost = getattr(parameters, name)
        least, most = getattr(ARGON2_FLOOR, name), getattr(ARGON2_CEILING, name)
        if not least <= cost <= most:
            raise ConfigurationError(
                f"Argon2id {name} must be between {least} and {most}, the header asks for {cost}",
                hint="the header was changed, or made by another program",
            )
    return parameters


def derive_key(passphrase: bytes, salt: bytes, parameters: Argon2Parameters = ARGON2_DEFAULT) -> bytes:
    """Return the 32 bytes that Argon2id derives; each derivation is made once in a process.

    Raises:
        ConfigurationError: `parameters` are out of bounds, or the salt is shorter than 16 bytes.
    """
    check_parameters(parameters)
    if len(salt) < SALT_BYTES:
        raise ConfigurationError(f"the salt has {len(salt)} bytes, at least {SALT_BYTES} are needed")
    return _derivations.get(passphrase, salt, parameters)


class _Derivations:
    """Derived keys of this process. One lock: two derivations at a time would take twice the memory."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, bytes, Argon2Parameters], bytes] = OrderedDict()
        self._blind = os.urandom(32)
        self._begin_again()
        renew_after_fork(self, _Derivations._begin_again)

    def _begin_again(self) -> None:
        self._lock = threading.RLock()  # a signal handler may derive a key in the middle of a derivation

    def get(self, passphrase: bytes, salt: bytes, parameters: Argon2Parameters) -> bytes:
        # The table is looked up by a keyed hash, so that it holds no passphrase.
        name = (digests.blake2b(passphrase, key=self._blind).digest(), salt, parameters)
        with self._lock:
            derived = self._known.get(name)
            if derived is None:
                derived = self._known[name] = _argon2id(passphrase, salt, parameters)
                if len(self._known) > _CACHED_DERIVATIONS:
                    self._known.popitem(last=False)
            return derived


def _argon2id(passphrase: bytes, salt: bytes, parameters: Argon2Parameters) -> bytes:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    return Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=parameters.iterations,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    ).derive(passphrase)


_derivations = _Derivations()
