"""What Key Vault does, in memory: the service behind the loopback server.

It follows the documented behaviour of the real one: names without case, versions dated to the second and listed in no
order, 403 for a disabled secret, soft delete that takes its time, pages of 25, limits of names, values and tags.
"""

from __future__ import annotations

import collections
import re
import threading
import time
import uuid
from dataclasses import dataclass, field

CURRENT, BEING_DELETED, DELETED, BEING_RECOVERED, BEING_PURGED = range(5)
_CODES = {
    BEING_DELETED: (
        "ObjectIsBeingDeleted",
        "is currently being deleted and cannot be re-created; retry later.",
    ),
    DELETED: (
        "ObjectIsDeletedButRecoverable",
        "is currently in a deleted but recoverable state, and its name cannot be reused.",
    ),
    BEING_RECOVERED: (
        "ObjectIsBeingRecovered",
        "is currently being recovered and cannot be re-created; retry later.",
    ),
    BEING_PURGED: (
        "ObjectIsBeingDeleted",
        "is currently being deleted and cannot be re-created; retry later.",
    ),
}


class Refusal(Exception):
    """An answer that is not a success."""

    def __init__(self, status, code, message, inner=None, headers=None):
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body = {"error": {"code": code, "message": message}}
        if inner is not None:
            self.body["error"]["innererror"] = {"code": inner}


@dataclass
class Version:
    value: str
    tags: dict
    created: int
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    enabled: bool = True
    content_type: str | None = None


@dataclass
class Held:
    name: str
    versions: list = field(default_factory=list)
    state: int = CURRENT
    polls: int = 0
    """How many more requests see it under way."""


class Store:
    def __init__(self):
        self.held: dict[str, Held] = {}
        self.calls: list[str] = []
        self.tokens: list[str] = []
        self.faults = collections.defaultdict(collections.deque)
        self.forever = {}
        self.delay = 0.0
        self.closing = threading.Event()
        self.lag = 0
        """How many requests a delete, recovery or purge is under way for."""
        self.page = 25
        self.soft_delete = True
        self.purge_protection = False
        self.clock = time.time
        self.under_way = self.most_under_way = 0
        self.base = ""
        self._lock = threading.RLock()

    def fail(self, operation, refusal, times=None):
        """Let the next `times` calls of `operation` (or all from now on) be refused."""
        if times is None:
            self.forever[operation] = refusal
        else:
            self.faults[operation].extend([refusal] * times)

    def answer(self, operation, arguments, query, body):
        with self._lock:
            self.calls.append(operation)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.delay:
                self.closing.wait(self.delay)
            with self._lock:
                refusal = (
                    self.faults[operation].popleft()
                    if self.faults[operation]
                    else self.forever.get(operation)
                )
                if refusal is not None:
                    raise refusal
                if "name" in arguments:
                    if not re.fullmatch(r"[0-9a-zA-Z-]{1,127}", arguments["name"]):
                        raise Refusal(400, "BadParameter", "The request URI contains an invalid name.")
                    self._go_on(arguments["name"])
                return getattr(self, "do_" + operation)(query=query, body=body, **arguments)
        finally:
            with self._lock:
                self.under_way -= 1

    # --- the operations of the service ---

    def do_set(self, name, query, body):
        held = self.held.get(name.lower())
        if held is not None and held.state != CURRENT:
            code, words = _CODES[held.state]
            raise Refusal(409, "Conflict", f"Secret {name} {words}", code)
        value, tags = body.get("value"), body.get("tags") or {}
        if not isinstance(value, str) or not value:
            raise Refusal(400, "BadParameter", "The property 'value' is required and must not be empty.")
        if len(value.encode()) > 25_600:
            raise Refusal(400, "BadParameter", "The value exceeds the maximum size of 25k bytes.")
        if len(tags) > 15 or any(len(part.encode("utf-16-le")) > 512 for tag in tags.items() for part in tag):
            raise Refusal(400, "BadParameter", "Tags are too many or too long.")
        held = self.held.setdefault(name.lower(), Held(name))
        version = Version(value, tags, int(self.clock()), content_type=body.get("contentType"))
        held.versions.append(version)
        return self._bundle(held, version, value=version.value)

    def do_get(self, name, query, body, version=""):
        held = self._find(name)
        if version and not re.fullmatch(r"[0-9a-f]{32}", version):
            raise Refusal(400, "BadParameter", "The secret version is not of the right form.")
        found = (
            next((item for item in held.versions if item.id == version), None)
            if version
            else held.versions[-1]
        )
        if found is None:
            raise self._missing(name)
        if not found.enabled:
            raise Refusal(
                403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled"
            )
        return self._bundle(held, found, value=found.value)

    def do_update(self, name, query, body, version=""):
        held = self._find(name)
        found = next(item for item in held.versions if not version or item.id == version)
        found.enabled = (body.get("attributes") or {}).get("enabled", found.enabled)
        return self._bundle(held, found)

    def do_versions(self, name, query, body):
        held = self.held.get(name.lower())
        if held is None or held.state != CURRENT:
            return {"value": [], "nextLink": None}
        found = sorted(held.versions, key=lambda version: version.id)
        return self._page(f"/secrets/{name}/versions", [self._bundle(held, item) for item in found], query)

    def do_list(self, query, body):
        found = [held for name, held in sorted(self.held.items()) if held.state == CURRENT]
        items = [self._bundle(held, held.versions[-1], whole=False) for held in found]
        return self._page("/secrets", items, query)

    def do_delete(self, name, query, body):
        held = self._find(name)
        if not self.soft_delete:
            del self.held[name.lower()]
            return self._bundle(held, held.versions[-1])
        held.state, held.polls = (BEING_DELETED, self.lag) if self.lag else (DELETED, 0)
        return self._deleted(held)

    def do_get_deleted(self, name, query, body):
        return self._deleted(self._find(name, DELETED))

    def do_recover(self, name, query, body):
        held = self._find(name, DELETED, BEING_RECOVERED)
        if held.state == BEING_RECOVERED:
            raise Refusal(409, "Conflict", "There was a conflict while recovering the soft-deleted secret.")
        held.state, held.polls = (BEING_RECOVERED, self.lag) if self.lag else (CURRENT, 0)
        return self._bundle(held, held.versions[-1])

    def do_purge(self, name, query, body):
        held = self._find(name, DELETED)
        if self.purge_protection:
            words = 'Operation "purge" is not allowed because purge protection is enabled for this vault.'
            raise Refusal(403, "Forbidden", words)
        held.state, held.polls = BEING_PURGED, self.lag
        self._go_on(name)

    # --- parts ---

    def _go_on(self, name):
        """Let what is under way for a name come a request further."""
        held = self.held.get(name.lower())
        if held is None or held.state in (CURRENT, DELETED):
            return
        if held.polls:
            held.polls -= 1
        elif held.state == BEING_PURGED:
            del self.held[name.lower()]
        else:
            held.state = DELETED if held.state == BEING_DELETED else CURRENT

    def _find(self, name, *states):
        held = self.held.get(name.lower())
        if held is None or held.state not in (states or (CURRENT,)):
            raise self._missing(name)
        return held

    def _missing(self, name):
        return Refusal(
            404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault."
        )

    def _bundle(self, held, version, *, value=None, whole=True):
        address = f"{self.base}/secrets/{held.name}" + (f"/{version.id}" if whole else "")
        attributes = {
            "enabled": version.enabled,
            "created": version.created,
            "updated": version.created,
            "recoveryLevel": "Recoverable+Purgeable",
        }
        bundle = {"id": address, "attributes": attributes, "tags": version.tags}
        return bundle if value is None else {**bundle, "value": value}

    def _deleted(self, held):
        return {
            **self._bundle(held, held.versions[-1]),
            "recoveryId": f"{self.base}/deletedsecrets/{held.name}",
            "deletedDate": int(self.clock()),
            "scheduledPurgeDate": int(self.clock()) + 86_400,
        }

    def _page(self, path, items, query):
        start = int(query.get("$skiptoken", 0))
        end = start + min(int(query.get("maxresults", self.page)), self.page)
        link = f"{self.base}{path}?api-version={query['api-version']}&$skiptoken={end}"
        return {"value": items[start:end], "nextLink": link if end < len(items) else None}
