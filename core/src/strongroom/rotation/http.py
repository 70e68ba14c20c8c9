"""The rotator `http`: each step is a request to a service of your own, signed as Standard Webhooks says.

Source: https://www.standardwebhooks.com, the headers and what is signed.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import ipaddress
import json
import os
import secrets
import ssl
import threading
import time
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from strongroom.clients import shut_down_socket
from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor
from strongroom.errors import ConfigurationError, RotationError
from strongroom.plugins.webhook_key import signing_key
from strongroom.rotation.redaction import redact
from strongroom.rotation.rotators import current_step

__all__ = ["HttpRotator"]

_READ: Final = 16_384
"""Bytes of an answer that are read; the last of them say why it failed, if these are all."""


class HttpRotator:
    """Posts each step of a rotation as JSON: `step`, `key`, `old`, `new` and `id`.

    `step` is `apply`, `verify` or `rollback`, and `new` is the value that the target system must take: the
    previous one if a rotation is undone. A repeated step has the same `id`. Any status from 200 to 299 is
    success; a redirect is not followed, and is an error. If the key of the signature is itself the secret
    that is rotated, each request is signed by the old and by the new value: the service may have either.

    Args:
        url: The address to post to.
        hmac_key: The key of the signature: text, or `whsec_` and base64.
        allow_http: Also send without encryption to an address that is not loopback.
        ca_file: The CA of the server's certificate, PEM.
        cert_file: The client's certificate, PEM.
        key_file: Its private key, PEM.
        timeout_seconds: How long one step may take in all.

    Raises:
        ConfigurationError: The URL, the key or a file cannot be used.
    """

    def __init__(
        self,
        url: str,
        hmac_key: str,
        *,
        allow_http: bool = False,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 30,
    ) -> None:
        parts = _parts(url)
        self._tls = parts.scheme == "https"
        self._host: str = parts.hostname
        self._port: int | None = parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.address = f"{parts.scheme}://{parts.netloc}{parts.path}"
        if not self._tls and not allow_http and not _is_loopback(self._host):
            raise ConfigurationError(
                f"rotator http: {self.address} would get unencrypted values",
                hint="use https; or `allow_http: true` if something else encrypts on the way",
            )
        _signing_key(hmac_key)
        self._hmac_key = hmac_key
        self._files = (ca_file, cert_file, key_file)
        self._timeout = timeout_seconds
        self._runner = DeadlineExecutor()
        if self._tls:
            self._context()

    def __repr__(self) -> str:
        return f"<HttpRotator {self.address}>"

    def apply(self, key: str, old: str, new: str) -> None:
        """Post that `new` is to replace `old`.

        Raises:
            RotationError: It could not be sent, or the answer is not a success.
        """
        step = current_step()
        self._post(key, old, new, step.name if step is not None else "apply")

    def verify(self, key: str, new: str) -> None:
        """Post the question whether `new` works.

        Raises:
            RotationError: See `apply`.
        """
        step = current_step()
        self._post(key, None if step is None else step.old, new, "verify")

    def _post(self, key: str, old: str | None, new: str, name: str) -> None:
        step = current_step()
        step_id = secrets.token_hex(16) if step is None else step.id
        body = json.dumps({"step": name, "key": key, "old": old, "new": new, "id": step_id}).encode()
        stamp = str(int(time.time()))
        signed = f"{step_id}.{stamp}.".encode() + body
        headers = {
            "content-type": "application/json",
            "user-agent": "strongroom",
            "webhook-id": step_id,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(_signature(key, signed) for key in self._keys(old, new)),
        }
        values = [one for one in (old, new, self._hmac_key) if one]
        failure = self._failure(body, headers, values)
        if failure is not None:
            raise RotationError(f"http: {name} at {self.address}: {failure}")

    def _keys(self, old: str | None, new: str) -> list[bytes]:
        """Return the keys that sign a request: more than one if the key itself is rotated."""
        itself = [one for one in (old, new) if one] if self._hmac_key in {old, new} else []
        return [_signing_key(one) for one in dict.fromkeys([self._hmac_key, *itself])]

    def _failure(self, body: bytes, headers: dict[str, str], values: list[str]) -> str | None:
        """Send the request, and return what went wrong; afterwards nothing is sent any more."""
        connection = self._connection()
        late = threading.Event()

        def exchange() -> tuple[int, bytes]:
            try:
                connection.connect()
                if late.is_set():  # a name service that hung, or an address before this one
                    raise TimeoutError
                connection.request("POST", self._target, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read(_READ)
            finally:
                connection.close()

        try:
            # The timeout of a socket is for one of its calls: an answer that trickles in could take for ever.
            status, reply = self._runner.run(exchange, Deadline(self._timeout))
        except (DeadlineExceededError, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        except (OSError, http.client.HTTPException) as error:
            # Its text may hold what the server has sent; its kind says enough.
            return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        finally:
            late.set()
            shut_down_socket(connection.sock)
        if 200 <= status < 300:  # noqa: PLR2004  # as HTTP numbers them
            return None
        # A longer answer may break off in the middle of a value, of which a part is not found.
        text = redact(values, reply.decode(errors="replace")) if len(reply) < _READ else ""
        what = "a redirect, which is not followed" if 300 <= status < 400 else "refused"  # noqa: PLR2004  # as above
        return f"status {status}, {what}: {text}" if text else f"status {status}, {what}"

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=self._context()
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _context(self) -> ssl.SSLContext:
        authority, certificate, private = self._files
        failure: str
        try:
            context = ssl.create_default_context(cafile=authority)
            if certificate is not None:
                # With an empty password OpenSSL asks for none at the terminal, where nobody may be.
                context.load_cert_chain(certificate, private, password="")
        except OSError as error:
            failure = error.strerror or type(error).__name__
        else:
            return context
        raise ConfigurationError(
            f"rotator http: the certificate files cannot be used: {failure}",
            hint="they must be PEM, the key without a password",
        )


def _parts(url: str) -> Any:
    parts = None
    with suppress(ValueError):
        given = urlsplit(url)
        parts = given if given.port != 0 else None  # raises if the port is not a number
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        # Not shown: a URL with a user has a password in it.
        raise ConfigurationError(
            "rotator http: the URL is not one of http or https without a user",
            hint="write https://HOST/PATH; the signature says who sends it",
        )
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _signature(key: bytes, signed: bytes) -> str:
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def _signing_key(text: str) -> bytes:
    try:
        return signing_key(text)
    except ValueError as error:
        problem = ConfigurationError(f"rotator http: hmac_key: {error}")
    raise problem
