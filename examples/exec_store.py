"""A store for `type: exec` in Python: the secrets are in memory, with every capability there is.

    provider: {type: exec, command: [python3, exec_store.py]}

It is the protocol of docs/how-to/backends/exec.md, whole: replace `Store` by what speaks to your store.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any


class StoreError(Exception):
    """An error that the caller gets: the name of a class of strongroom.errors, and more of it."""

    def __init__(self, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.data = {"type": kind, **more}


class Store:
    """Secrets with all their versions, oldest first: `[id, value, time, state]`."""

    def __init__(self) -> None:
        self.versions: dict[str, list[list[str]]] = {}
        self.count = 0

    def capabilities(self) -> list[str]:
        return [
            *("BatchReader", "BatchWriter", "Describer"),
            *("VersionReader", "ConditionalWriter", "StagedWriter"),
        ]

    def get_secret(self, key: str) -> str:
        return self.current(key)[1]

    def set_secret(self, key: str, value: str) -> None:
        self.add(key, value, "current")

    def delete_secret(self, key: str) -> None:
        self.current(key)
        del self.versions[key]

    def list_secrets(self, prefix: str) -> list[str]:
        return [key for key in self.versions if key.startswith(prefix) and self.live(key)]

    def get_secrets(self, keys: list[str]) -> dict[str, str]:
        return {key: found[1] for key in keys if (found := self.live(key))}

    def set_secrets(self, values: dict[str, str]) -> None:
        for key, value in values.items():
            self.add(key, value, "current")

    def describe_secret(self, key: str) -> dict[str, Any]:
        version, _, time, _ = self.current(key)
        return {"version": version, "created_at": self.versions[key][0][2], "updated_at": time, "tags": {}}

    def list_versions(self, key: str) -> list[dict[str, str]]:
        if key not in self.versions:
            self.current(key)
        return [
            {"version": version, "created_at": time, "state": state}
            for version, _, time, state in reversed(self.versions[key])
        ]

    def get_secret_version(self, key: str, version: str) -> str:
        return self.version(key, version)[1]

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        self.expect(key, expected_version)
        return self.add(key, value, "current")

    def stage_secret(self, key: str, value: str) -> str:
        return self.add(key, value, "pending")

    def promote_version(self, key: str, version: str, expected_version: str | None) -> None:
        found = self.pending(key, version)
        self.expect(key, expected_version)
        self.versions[key].remove(found)
        self.add(key, found[1], "current", version)

    def discard_version(self, key: str, version: str) -> None:
        found = self.pending(key, version)
        self.versions[key].remove(found)
        if not self.versions[key]:
            del self.versions[key]

    def live(self, key: str) -> list[str] | None:
        return next((one for one in self.versions.get(key, ()) if one[3] == "current"), None)

    def current(self, key: str) -> list[str]:
        found = self.live(key)
        if found is None:
            raise StoreError("SecretNotFoundError", "there is no such secret", reason="absent")
        return found

    def version(self, key: str, version: str) -> list[str]:
        found = next((one for one in self.versions.get(key, ()) if one[0] == version), None)
        if found is None:
            raise StoreError("SecretNotFoundError", "there is no such version", reason="absent")
        return found

    def pending(self, key: str, version: str) -> list[str]:
        found = self.version(key, version)
        if found[3] != "pending":
            raise StoreError("ConflictError", f"version {version} is {found[3]}, not pending")
        return found

    def expect(self, key: str, expected_version: str | None) -> None:
        found = self.live(key)
        if (found[0] if found else None) != expected_version:
            raise StoreError(
                "ConflictError", "it is at another version", hint="read it again, then decide again"
            )

    def add(self, key: str, value: str, state: str, version: str | None = None) -> str:
        if version is None:
            self.count += 1
            version = str(self.count)
        if state == "current" and (old := self.live(key)):
            old[3] = "previous"
        self.versions.setdefault(key, []).append([version, value, datetime.now(UTC).isoformat(), state])
        return version


def answer(store: Store, line: str) -> dict[str, Any]:
    """Return the answer to one request."""
    request = json.loads(line)
    head: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
    method = getattr(store, request["method"], None) if request["method"] in METHODS else None
    if method is None:
        return {**head, "error": {"code": -32601, "message": f"no method {request['method']}"}}
    try:
        return {**head, "result": method(**request["params"])}
    except StoreError as error:
        return {**head, "error": {"code": -32000, "message": str(error), "data": error.data}}


METHODS = {
    *(
        "capabilities",
        "get_secret",
        "set_secret",
        "delete_secret",
        "list_secrets",
        "get_secrets",
        "set_secrets",
    ),
    *("describe_secret", "list_versions", "get_secret_version", "set_secret_if", "stage_secret"),
    *("promote_version", "discard_version"),
}

if __name__ == "__main__":
    store = Store()
    for line in sys.stdin:
        print(json.dumps(answer(store, line)), flush=True)
