"""Encryption by the transit engine of Vault or OpenBao, which holds the key and never gives it out."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from strongroom.encryption import encoded
from strongroom.encryption.keys import HoldsKey
from strongroom.errors import ConfigurationError, DecryptionError, ValidationError
from strongroom.parallel import renew_after_fork
from strongroom.tenancy import current_tenant

from strongroom_vault.client import client_of
from strongroom_vault.errors import no_server, part, said_by
from strongroom_vault.login import Login

if TYPE_CHECKING:
    from pathlib import Path

_TOKEN: Final = re.compile(r"vault:v([1-9][0-9]{0,9}):[A-Za-z0-9+/]+={0,2}")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_BATCH: Final = 100
"""Values in a request: OpenBao takes no more than 1,000 strings of JSON in one, and a value is four."""
_BATCH_CHARACTERS: Final = 700_000
"""Of the texts in a request, unless it is one value: OpenBao takes 32 MiB, and many a proxy just one."""
_LATEST_SECONDS: Final = 60.0


class VaultTransitEncryption(HoldsKey):
    """Encrypts and decrypts by requests to a transit key; an `Encryption`, makes no request before the first.

    A token is what the server gives, `vault:v3:…`, and names the key's version. It is bound to the context
    and the active tenant: as associated data, or with `derived` by a key that the server derives from them.

    Args:
        url: Address of the server.
        key_name: The transit key; its type is aes256-gcm96, aes128-gcm96 or (x)chacha20-poly1305.
        token: A token; or give `auth`. No `VAULT_*` variable is looked at.
        mount_point: Where the engine is mounted.
        derived: The key was made with `derived=true`. Tokens are then rewrapped by the server itself.
        timeout: Seconds for one call.

    The other options are those of `VaultSecretProvider`.

    Raises:
        ConfigurationError: The key's name cannot be one, or `auth` is not understood.
    """

    algorithm: ClassVar[str] = "vault.transit"

    def __init__(
        self,
        url: str,
        key_name: str,
        token: str | None = None,
        *,
        mount_point: str = "transit",
        derived: bool = False,
        namespace: str | None = None,
        auth: Mapping[str, Any] | None = None,
        verify: bool | str | Path = True,
        client_cert: str | Path | None = None,
        client_key: str | Path | None = None,
        timeout: float = 10.0,
        max_connections: int = 16,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        if not _KEY_NAME.fullmatch(key_name):
            raise ConfigurationError(
                f"vault.transit: no key can be called {key_name[:80]!r}", provider="vault"
            )
        self._client = client_of(
            url,
            Login(token, auth),
            namespace=namespace,
            verify=verify,
            client_cert=client_cert,
            client_key=client_key,
            timeout=timeout,
            max_connections=max_connections,
            proxies=proxies,
            mount=mount_point,
        )
        self._mount = mount_point.strip("/")
        self._name = key_name
        self._derived = derived
        self._latest: tuple[int, float] | None = None
        self._begin_again()
        renew_after_fork(self, VaultTransitEncryption._begin_again)

    def _begin_again(self) -> None:
        self._lock = threading.RLock()

    def encrypt(self, plaintext: str, *, context: bytes = b"") -> str:
        """Return a token of `plaintext`.

        Raises:
            TypeError, ValidationError: It is not text, or not Unicode text.
            ConfigurationError: There is no such key or engine, or its type cannot be bound to a context.
            PermissionDeniedError, AuthenticationError: The server refuses the request, or the login.
            BackendUnavailableError: It does not answer.
        """
        return self.encrypt_many([(plaintext, context)])[0]

    def decrypt(self, token: str, *, context: bytes = b"") -> str:
        """Return the plaintext of `token`.

        Raises:
            DecryptionError: It was changed, or made with another key, context or tenant, or with a version of
                the key that may no longer decrypt. What went wrong with the request is another error.
        """
        token = _checked(token)
        answer = self._ask("decrypt", {"ciphertext": token, **self._bound(context)})
        return _text(part(answer, "plaintext", kind=str))

    def encrypt_many(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        """Return a token for each plaintext and context, up to 100 in a request."""
        inputs = [{"plaintext": _base64(_bytes(text)), **self._bound(context)} for text, context in items]
        return [part(one, "ciphertext", kind=str) for one in self._batches("encrypt", inputs)]

    def decrypt_many(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        """Return the plaintext for each token and context, up to 100 in a request.

        Raises:
            DecryptionError: One of them does not decrypt.
        """
        inputs = [{"ciphertext": _checked(token), **self._bound(context)} for token, context in items]
        return [_text(part(one, "plaintext", kind=str)) for one in self._batches("decrypt", inputs)]

    def rewrap(self, token: str, *, context: bytes = b"") -> str:
        """Return a token of the same plaintext under the key's latest version.

        With `derived` the plaintext does not leave the server. Without, it is decrypted and encrypted here:
        the server's own rewrapping knows no associated data.
        """
        if not self._derived:
            return self.encrypt(self.decrypt(token, context=context), context=context)
        asked = {"ciphertext": _checked(token), **self._bound(context)}
        return str(part(self._ask("rewrap", asked), "ciphertext", kind=str))

    def wrote(self, token: str) -> bool:
        """Return whether `token` is one of a transit key."""
        return _TOKEN.fullmatch(token) is not None

    def needs_rekey(self, token: str) -> bool:
        """Return whether `token` has an older version of the key than the latest, asked once a minute."""
        found = _TOKEN.fullmatch(token)
        return found is None or int(found[1]) < self._latest_version()

    def close(self) -> None:
        """Give back the connections; a second call is harmless."""
        self._client.close()

    def __repr__(self) -> str:
        return f"<VaultTransitEncryption with {self._name}>"

    def _latest_version(self) -> int:
        with self._lock:
            now = time.monotonic()
            if self._latest is None or now >= self._latest[1]:
                path = f"/v1/{self._mount}/keys/{self._name}"
                reply = self._client.call("get", path, f"look up the transit key {self._name}")
                self._latest = (int(part(reply, "data", "latest_version", kind=int)), now + _LATEST_SECONDS)
            return self._latest[0]

    def _bound(self, context: bytes) -> dict[str, str]:
        tenant = current_tenant()
        # The number of parts differs between None and "".
        parts = [b"strongroom transit 1", context, *([tenant.encode()] if tenant is not None else [])]
        return {"context" if self._derived else "associated_data": _base64(encoded(parts))}

    def _batches(self, operation: str, inputs: list[dict[str, str]]) -> list[dict[str, Any]]:
        if len(inputs) == 1:
            return [self._ask(operation, inputs[0])]
        results: list[dict[str, Any]] = []
        for piece in _pieces(inputs):
            batch_results = part(self._ask(operation, {"batch_input": piece}), "batch_results", kind=list)
            if len(batch_results) != len(piece):
                raise no_server()
            results += batch_results
        return results

    def _ask(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"/v1/{self._mount}/{operation}/{self._name}"
        what = f"{operation} with the transit key {self._name}"
        failed: ValidationError
        try:
            answer: dict[str, Any] = part(self._client.call("post", path, what, json=body), "data")
        except ValidationError as error:
            failed = error
        else:
            return answer
        # Raised outside the block, so that the first error is not its context.
        raise _refused(failed, operation, self._name)


def _pieces(inputs: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Yield the inputs of each request."""
    piece: list[dict[str, str]] = []
    length = 0
    for item in inputs:
        size = sum(map(len, item.values()))
        if piece and (len(piece) == _BATCH or length + size > _BATCH_CHARACTERS):
            yield piece
            piece, length = [], 0
        piece.append(item)
        length += size
    if piece:
        yield piece


def _refused(error: ValidationError, operation: str, name: str) -> Exception:
    """Return strongroom's error for a request that the server rejected (status 400)."""
    reason = said_by(getattr(error, "raw", None)).lower()
    if "key not found" in reason:
        return ConfigurationError(
            f"vault.transit: there is no key {name}",
            provider="vault",
            hint="make it: `bao write -f transit/keys/NAME`",
        )
    if "missing 'context'" in reason:
        return ConfigurationError(
            f"vault.transit: the key {name} is a derived one", provider="vault", hint="say `derived: true`"
        )
    if "associated_data" in reason or "not support" in reason:
        return ConfigurationError(
            f"vault.transit: the key {name} is of a type that cannot be bound to a secret's name",
            provider="vault",
            hint="use a key of type aes256-gcm96 or chacha20-poly1305",
        )
    if operation == "encrypt":
        return error
    if "too old" in reason:
        return DecryptionError(
            f"the value was encrypted with a version of the transit key {name} that may no longer decrypt",
            provider="vault",
            hint="lower the key's min_decryption_version, run `strongroom rekey`, and raise it again",
        )
    return _no(name)


def _no(name: str) -> DecryptionError:
    return DecryptionError(
        f"the value cannot be decrypted with the transit key {name}: "
        "another key, name or tenant, or it was changed",
        provider="vault",
    )


def _checked(token: str) -> str:
    if isinstance(token, bytes | bytearray):
        token = token.decode("ascii", "replace")  # no token has other characters than ASCII
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise DecryptionError("the value is not a transit key's token, or it was changed", provider="vault")
    return token


def _bytes(plaintext: str) -> bytes:
    if not isinstance(plaintext, str):
        message = f"a plaintext is text, got {type(plaintext).__name__}"
        raise TypeError(message)
    try:
        return plaintext.encode()
    except UnicodeEncodeError:
        pass  # raised below: the error's context would hold the plaintext
    raise ValidationError("the plaintext holds a lone surrogate, which is not Unicode text")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _text(encoded_text: str) -> str:
    try:
        return base64.b64decode(encoded_text).decode()
    except ValueError:
        pass  # as above
    raise DecryptionError("what was encrypted is not UTF-8 text: another tool wrote it", provider="vault")
