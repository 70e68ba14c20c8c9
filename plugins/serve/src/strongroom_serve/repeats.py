"""Answers requests with the same bytes as an earlier one, without parsing them again.

A client that asks for a secret again sends the same bytes. They lead to the result of the first request: the
client, its tenant and the key. The value is read each time, but only if a cache has it and no hook watches;
all other requests, and every first one, are handled as usual.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from strongroom import TenantContext

from strongroom_serve.answers import as_fields, request_id, secret_parts
from strongroom_serve.asking import Asker, Backend
from strongroom_serve.kv_bodies import metadata_of, shown
from strongroom_serve.metrics import Metrics

__all__ = ["Repeats", "Sent"]

Sent: TypeAlias = tuple[bool, int | None, bytes]
"""Whether it came over TCP, the user at the other end of a socket, and all bytes of the request."""
_MOST: Final = 1024
_MOST_BYTES: Final = 4096
_MOST_CHARACTERS: Final = 16_384
"""Of a value: an answer with it is kept for each spelling of a request, of which there may be many."""


class _Repeat:
    """The client, tenant and key of a request, and its last answer."""

    __slots__ = ("asker", "before", "behind", "fields", "key", "number", "read", "value")

    def __init__(self, asker: Asker, key: str, read: Callable[[str], str | None]) -> None:
        self.asker = asker
        self.key = key
        self.read = read
        self.value: str | None = None
        self.number = (0, "")
        self.fields = b""
        self.before = b""
        self.behind = b""

    def value_now(self) -> str | None:
        """Return the value if that takes no waiting."""
        tenant = self.asker.tenant
        if tenant is None:
            return self.read(self.key)
        with TenantContext(tenant):
            return self.read(self.key)

    def prepare(self, value: str, number: tuple[int, str]) -> None:
        """Make the answer for a value and the number and time of its version."""
        before, behind = secret_parts(shown(self.asker, value), metadata_of(*number))
        self.fields = as_fields(len(before) + len(request_id()) + len(behind))
        self.before, self.behind = before, behind
        self.value, self.number = value, number


class Repeats:
    """The requests that can be answered by their bytes; those that were dropped are parsed again.

    It is for one reading of the spec, whose rules were asked.

    Args:
        backend: Where the values are.
        metrics: Counts the answers, as it counts all others.
    """

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._known: OrderedDict[Sent, _Repeat] = OrderedDict()

    def note(self, sent: Sent, asker: Asker, key: str) -> None:
        """Remember that `sent` was answered by the secret `key`, to `asker`."""
        if sent in self._known or len(sent[2]) > _MOST_BYTES:
            return
        self._known[sent] = _Repeat(asker, key, self._backend.registry_of(key).get_secret_nowait)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def answer(self, sent: Sent) -> tuple[bytes, bytes] | None:
        """Return header fields and body for a request; None if it has to be parsed."""
        known = self._known.get(sent)
        if known is None:
            return None
        started = time.perf_counter()
        try:
            value = known.value_now()
        except Exception:  # noqa: BLE001  # whatever it is, the long way makes an answer of it
            return None
        asker = known.asker
        history = self._backend.numbers.get((asker.tenant, known.key))
        if value is None or len(value) > _MOST_CHARACTERS:
            return None
        if history is None or history.value != hash(value):
            return None
        number = history.current, history.created
        if known.value != value or known.number != number:
            known.prepare(value, number)
        self._metrics.requests.add(asker.client.name, "get", "200")
        self._metrics.duration.observe(time.perf_counter() - started)
        return known.fields, known.before + request_id().encode() + known.behind
