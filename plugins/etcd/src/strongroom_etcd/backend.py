"""The calls of a sealed store on etcd: each is one transaction, except lists and the largest batches."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import ceil
from typing import Any, Final

from strongroom.deadlines import Deadline
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    SecretTooLargeError,
    StrongroomError,
)
from strongroom.providers import Closeable
from strongroom.sealed import Change, Found, StoreGoneError

from strongroom_etcd.client import Client
from strongroom_etcd.errors import TYPE_NAME, ServerError, translate
from strongroom_etcd.http import LostError, is_number
from strongroom_etcd.listening import Listener, Written

__all__ = ["SPARE_BYTES", "EtcdBackend"]

SPARE_BYTES: Final = 65_536
"""The bytes of a request beside the value: head, names, and comparisons."""
_PAGE: Final = 500
_LAST: Final = (1 << 64) - 1
_TURNS: Final = 5
_LONGEST_LEASE: Final = 9_000_000_000
"""The seconds that etcd takes at most."""

Op = dict[str, Any]


def text(data: bytes) -> str:
    """Return bytes as in JSON: in base64."""
    return b64encode(data).decode()


def range_end(data: bytes) -> bytes:
    """Return the end of the range of all keys that begin with `data`."""
    kept = data.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


class EtcdLock:
    """A lock for one holder: a key that ends with its lease.

    Args:
        call: Sends a request.
        key: The key.
        ttl_seconds: How long the lock is held at most; the cluster counts in whole seconds.
    """

    def __init__(self, call: Callable[..., dict[str, Any]], key: bytes, ttl_seconds: float) -> None:
        self._call, self._key = call, key
        self._ttl = str(max(1, ceil(min(ttl_seconds, _LONGEST_LEASE))))
        self._lease: str | None = None
        self._refused = False

    def acquire(self, deadline: Deadline) -> int | None:
        """Return its fencing token, the cluster's revision; None if another holder has it."""
        if self._refused and self._holder(deadline):
            return None
        lease = self._granted(deadline)
        absent = {"key": text(self._key), "target": "CREATE", "create_revision": "0"}
        mine = {"requestPut": {"key": text(self._key), "value": "", "lease": lease}}
        request = {"compare": [absent], "success": [mine], "failure": [_range(self._key)]}
        answer = self._call("lock", "/v3/kv/txn", request, deadline)
        if answer.get("succeeded"):
            return _revision(answer, "lock")
        responses = answer.get("responses", [])
        holder = _pairs(responses[0], "lock") if responses else []
        if holder and holder[0].get("lease") == lease:  # the answer to the same request was lost
            return int(holder[0]["create_revision"])
        self._refused = True
        return None

    def release(self, deadline: Deadline) -> None:
        """Release it, with its lease."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._call("unlock", "/v3/lease/revoke", {"ID": lease}, deadline)

    def _holder(self, deadline: Deadline) -> bool:
        """Return whether somebody holds it."""
        asked = {"key": text(self._key), "keys_only": True}
        return bool(self._call("lock", "/v3/kv/range", asked, deadline).get("kvs"))

    def _granted(self, deadline: Deadline) -> str:
        """Return a new lease, so that what was waited for the lock is not taken from the time of it."""
        with suppress(StrongroomError):  # it may have ended meanwhile
            self.release(deadline)
        lease = self._call("lock", "/v3/lease/grant", {"TTL": self._ttl}, deadline).get("ID")
        if not isinstance(lease, str):
            raise _damaged("lock")
        self._lease = lease
        return lease


class EtcdBackend:
    """A sealed store below one prefix of a cluster.

    Heads are below `s/`, and rows below `v/`, by name and number counted down, so that the last row is the
    first of its range.

    Args:
        client: Sends requests.
        prefix: What all keys begin with.
        max_request_bytes, max_txn_ops: The cluster's limits.
    """

    def __init__(self, client: Client, prefix: str, *, max_request_bytes: int, max_txn_ops: int) -> None:
        self._client = client
        own = prefix.encode()
        self._header, self._heads, self._rows, self._locks = (
            own + one for one in (b"header", b"s/", b"v/", b"l/")
        )
        self._most_bytes = max_request_bytes
        self._most_ops = max_txn_ops
        self._listeners: list[Listener] = []

    # --- the store ---

    def header(self, deadline: Deadline) -> bytes:
        found = self._range("read the header", {"key": text(self._header)}, deadline)
        if not found:
            raise StoreGoneError
        return _decoded(found[0])

    def create(self, header: bytes, deadline: Deadline) -> bytes:
        won, answers = self._txn(
            "make the store",
            [{"key": text(self._header), "target": "CREATE", "create_revision": "0"}],
            [_put(self._header, header)],
            [_range(self._header)],
            deadline,
        )
        if won:
            return header
        found = _pairs(answers[0], "make the store")
        return _decoded(found[0]) if found else self.header(deadline)

    def replace_header(self, before: bytes, after: bytes, deadline: Deadline) -> bool:
        compare = [_same(self._header, before)]
        return self._txn("replace the header", compare, [_put(self._header, after)], [], deadline)[0]

    # --- reading ---

    def read(self, names: Sequence[bytes], deadline: Deadline) -> dict[bytes, Found]:
        return self._found("read", names, deadline, bodies=True)

    def heads(self, names: Sequence[bytes], deadline: Deadline) -> dict[bytes, Found]:
        return self._found("read", names, deadline, bodies=False)

    def _found(
        self, doing: str, names: Sequence[bytes], deadline: Deadline, *, bodies: bool
    ) -> dict[bytes, Found]:
        stored: dict[bytes, Found] = {}
        ops = [
            op for name in names for op in (_range(self._heads + name), self._last_row(name, bodies=bodies))
        ]
        at = None
        for start in range(0, len(ops), self._most_nested):
            some = ops[start : start + self._most_nested]
            answers, at = self._read(doing, some, deadline, at)
            for place in range(0, len(answers), 2):
                name = names[(start + place) // 2]
                heads, rows = _pairs(answers[place], doing), _pairs(answers[place + 1], doing)
                if heads:
                    stored[name] = Found(_decoded(heads[0]), [self._row(rows[0])] if rows else [])
        return stored

    def row(self, name: bytes, number: int, deadline: Deadline) -> bytes | None:
        found = self._range("read a version", {"key": text(self._row_key(name, number))}, deadline)
        return _decoded(found[0]) if found else None

    def scan(
        self, start: bytes, part: Callable[[], Deadline], after: bytes | None = None
    ) -> Iterator[list[tuple[bytes, Found]]]:
        least = self._heads + start if after is None else self._heads + after + b"\0"
        end = text(range_end(self._heads + start))
        while True:
            deadline = part()
            asked = {"key": text(least), "range_end": end, "limit": str(_PAGE)}
            heads = self._range("list", asked, deadline)
            keys = [_decoded(one, "key") for one in heads]
            names = [key[len(self._heads) :] for key in keys]
            # Of one moment each: a head and its row, where something was written since the page was read.
            found = self._found("list", names, deadline, bodies=False) if names else {}
            if found:
                yield [(name, found[name]) for name in names if name in found]
            if len(heads) < _PAGE:
                return
            least = keys[-1] + b"\0"

    # --- writing ---

    def write(self, changes: Sequence[Change], deadline: Deadline) -> dict[bytes, bytes | None] | None:
        ops = [op for one in changes for op in self._ops(one)]
        size = sum(
            len(one.head) + len(one.body) + 2 * len(one.name) + len(one.before or b"") + 200
            for one in changes
        )
        if size > self._most_bytes or len(ops) > self._most_nested:
            raise SecretTooLargeError(
                "",
                f"{TYPE_NAME}: {len(changes)} secrets do not fit into one transaction: {size} bytes of "
                f"{self._most_bytes}, {len(ops)} operations of {self._most_nested}",
                provider=TYPE_NAME,
                hint="write fewer at once; nothing was written",
            )
        if len(changes) > self._half:
            return self._write_many(changes, ops, deadline)
        compare = [_as_before(self._heads + one.name, one.before) for one in changes]
        won, answers = self._txn(
            "write", compare, self._nested(ops), [_range(self._heads + one.name) for one in changes], deadline
        )
        if won:
            return None
        heads = [_pairs(one, "write") for one in answers]
        now = {
            one.name: _decoded(head[0]) if head else None for one, head in zip(changes, heads, strict=True)
        }
        return {one.name: now[one.name] for one in changes if now[one.name] != one.before}

    def _write_many(
        self, changes: Sequence[Change], ops: list[Op], deadline: Deadline
    ) -> dict[bytes, bytes | None] | None:
        """Write changes with more comparisons than a transaction takes, if no head changed meanwhile."""
        for _ in range(_TURNS):
            asked = [_range(self._heads + one.name) for one in changes]
            answers, at = self._read("write", asked, deadline, None)
            found = [_pairs(one, "write") for one in answers]
            now = {
                one.name: _decoded(head[0]) if head else None
                for one, head in zip(changes, found, strict=True)
            }
            conflicts = {one.name: now[one.name] for one in changes if now[one.name] != one.before}
            if conflicts:
                return conflicts
            nothing_newer = {
                "key": text(self._heads),
                "range_end": text(range_end(self._heads)),
                "target": "MOD",
                "result": "LESS",
                "mod_revision": str(int(at) + 1),
            }
            if self._txn("write", [nothing_newer], self._nested(ops), [], deadline)[0]:
                return None
        raise ConflictError(
            f"{TYPE_NAME}: other secrets keep changing while these {len(changes)} are written",
            provider=TYPE_NAME,
            hint=f"write {self._half} or fewer at once",
        )

    def _ops(self, one: Change) -> list[Op]:
        dropped = [
            {"requestDeleteRange": {"key": text(self._row_key(one.name, number))}} for number in one.dropped
        ]
        return [
            _put(self._heads + one.name, one.head),
            _put(self._row_key(one.name, one.number), one.body),
            *dropped,
        ]

    # --- the rest ---

    def subscribe(self, changed: Callable[[Written | None], object], deadline: Deadline) -> Closeable:
        try:
            listener = Listener(self._client, self._heads, range_end(self._heads), changed, deadline)
        except ServerError as error:
            failed = translate(error, "watch")
        except LostError as error:
            failed = BackendUnavailableError(
                f"{TYPE_NAME}: watch: {error}", provider=TYPE_NAME, hint="is that etcd, and not a proxy?"
            )
        else:
            self._listeners.append(listener)
            for one in [one for one in self._listeners if one.ended]:  # it holds what its callback does
                with suppress(ValueError):
                    self._listeners.remove(one)
            return listener
        raise failed

    def lock(self, name: bytes, ttl_seconds: float, _deadline: Deadline) -> EtcdLock:
        """Return the lock of a sealed name; this makes no request."""
        return EtcdLock(self._call, self._locks + name, ttl_seconds)

    def server(self, deadline: Deadline) -> dict[str, str]:
        """Return the cluster's facts for `doctor`.

        Raises:
            BackendUnavailableError: The cluster has no leader, or its database is full.
        """
        status = self._call("look at the cluster", "/v3/maintenance/status", {}, deadline)
        facts = {
            "server": str(status.get("version", "")),
            "database": f"{status.get('dbSize', 0)} bytes",
        }
        if str(status.get("leader", 0)) == "0":
            raise BackendUnavailableError(
                f"{TYPE_NAME}: the cluster has no leader",
                provider=TYPE_NAME,
                hint="look at its other members",
            )
        if any("NOSPACE" in str(one) for one in status.get("errors", ())):
            raise BackendUnavailableError(
                f"{TYPE_NAME}: the cluster's database is full",
                provider=TYPE_NAME,
                hint="compact, defragment, then `etcdctl alarm disarm`",
            )
        return facts

    def close(self) -> None:
        listeners, self._listeners = self._listeners, []
        for one in listeners:
            one.close()
        self._client.close()

    # --- requests ---

    @property
    def _half(self) -> int:
        """How many operations a transaction has, beside as many in each nested transaction."""
        return self._most_ops // 2

    @property
    def _most_nested(self) -> int:
        return self._half * self._half // 2 * 2

    def _nested(self, ops: list[Op]) -> list[Op]:
        """Return operations for one transaction: many of them in nested transactions."""
        if len(ops) <= self._half:
            return ops
        return [
            {"requestTxn": {"success": ops[at : at + self._half]}} for at in range(0, len(ops), self._half)
        ]

    def _read(
        self, doing: str, ops: list[Op], deadline: Deadline, at: str | None
    ) -> tuple[list[Mapping[str, Any]], str]:
        """Return the answers to reads, all of one moment, and its revision."""
        if at is not None:
            ops = [{"requestRange": {**one["requestRange"], "revision": at}} for one in ops]
        answer = self._call(doing, "/v3/kv/txn", {"success": self._nested(ops)}, deadline)
        answers = _flat(answer.get("responses", []))
        if len(answers) != len(ops):
            raise _damaged(doing)
        return answers, at or str(_revision(answer, doing))

    def _txn(
        self, doing: str, compare: list[Op], success: list[Op], failure: list[Op], deadline: Deadline
    ) -> tuple[bool, list[Mapping[str, Any]]]:
        body = {"compare": compare, "success": success, "failure": failure}
        answer = self._call(doing, "/v3/kv/txn", body, deadline)
        won, answers = bool(answer.get("succeeded")), _flat(answer.get("responses", []))
        if not won and len(answers) != len(failure):
            raise _damaged(doing)
        return won, answers

    def _range(self, doing: str, asked: Op, deadline: Deadline) -> list[dict[str, Any]]:
        return list(self._call(doing, "/v3/kv/range", asked, deadline).get("kvs", []))

    def _call(self, doing: str, path: str, body: Op, deadline: Deadline) -> dict[str, Any]:
        try:
            return self._client.call(doing, path, body, deadline)
        except ServerError as error:
            failed = translate(error, doing)
        raise failed

    def _last_row(self, name: bytes, *, bodies: bool) -> Op:
        key = self._rows + name
        asked: Op = {"key": text(key), "range_end": text(range_end(key)), "limit": "1"}
        return {"requestRange": asked if bodies else {**asked, "keys_only": True}}

    def _row_key(self, name: bytes, number: int) -> bytes:
        return self._rows + name + (_LAST - number).to_bytes(8, "big")

    @staticmethod
    def _row(pair: Mapping[str, Any]) -> tuple[int, bytes]:
        number = _LAST - int.from_bytes(_decoded(pair, "key")[-8:], "big")
        return number, _decoded(pair)


def _range(key: bytes) -> Op:
    return {"requestRange": {"key": text(key)}}


def _put(key: bytes, value: bytes) -> Op:
    return {"requestPut": {"key": text(key), "value": text(value)}}


def _same(key: bytes, value: bytes) -> Op:
    return {"key": text(key), "target": "VALUE", "value": text(value)}


def _as_before(key: bytes, before: bytes | None) -> Op:
    if before is None:
        return {"key": text(key), "target": "CREATE", "create_revision": "0"}
    return _same(key, before)


def _flat(answers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the answers of a transaction and its nested ones, in order."""
    flat: list[Mapping[str, Any]] = []
    for one in answers:
        inner = one.get("response_txn")
        flat += [one] if inner is None else _flat(inner.get("responses", []))
    return flat


def _pairs(answer: Mapping[str, Any], doing: str) -> list[dict[str, Any]]:
    response = answer.get("response_range")
    if response is None:
        raise _damaged(doing)
    return list(response.get("kvs", []))


def _decoded(pair: Mapping[str, Any], member: str = "value") -> bytes:
    """Return the key or value of a pair; an empty one is not in the answer."""
    try:
        return b64decode(pair.get(member, ""), validate=True)
    except ValueError:
        pass
    raise _damaged("read")


def _revision(answer: Mapping[str, Any], doing: str) -> int:
    """Return the revision of an answer; 64-bit numbers are text in this gateway."""
    revision = answer["header"].get("revision")
    if not is_number(revision):
        raise _damaged(doing)
    return int(revision)


def _damaged(doing: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{TYPE_NAME}: {doing}: the answer is damaged",
        provider=TYPE_NAME,
        hint="is there a proxy in between, or another server at that address?",
    )
