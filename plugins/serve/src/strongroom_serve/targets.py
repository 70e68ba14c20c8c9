"""The target of a request to the KV engine: the operation, the key and the version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from strongroom_serve.answers import ABSENT, Answer, errors, not_allowed
from strongroom_serve.request import Refused, Request

__all__ = ["Target", "limit_of", "not_offered", "target_of"]

_NOT_OFFERED: Final = frozenset({"config", "delete", "destroy", "detailed-metadata", "subkeys", "undelete"})
_METHODS: Final = {"data": "GET, POST, PUT, DELETE", "metadata": "GET, LIST, DELETE"}
_YES: Final = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_NO: Final = frozenset({"", "0", "f", "F", "false", "False", "FALSE"})
_WRITES: Final = frozenset({"POST", "PUT"})


class Target:
    """The operation, key and version of a request to the KV engine."""

    __slots__ = ("key", "operation", "version")

    def __init__(self, operation: str, key: str, version: int = 0) -> None:
        self.operation, self.key, self.version = operation, key, version

    @property
    def event_key(self) -> str:
        """The key that hooks see: of a list, its prefix."""
        return f"{self.key}/" if self.operation == "list" and self.key else self.key


def target_of(request: Request, engine: str) -> Target | None:
    """Return the target of a request to the engine at `engine`; None if it does not offer that."""
    kind, _, key = request.path[len(engine) :].partition("/")
    method, query = request.method, request.query()
    if method == "GET" and _is_set(query.get("list", "0"), "list"):
        method = "LIST"
    if kind == "data" and method == "GET":
        version = _whole_number(query.get("version", "0"), "version")
        return Target("history" if version else "get", key, version)
    if kind == "data" and method in _WRITES:
        return Target("set", key)
    if kind in {"data", "metadata"} and method == "DELETE":
        return Target("delete", key)
    if kind == "metadata" and method == "LIST":
        return Target("list", key.removesuffix("/"))
    if kind == "metadata" and method == "GET":
        return Target("describe", key)
    return None


def not_offered(path: str, engine: str) -> Answer:
    """Return the answer to a request that the engine does not offer."""
    kind = path[len(engine) :].partition("/")[0]
    if kind not in _NOT_OFFERED and kind not in _METHODS:
        return ABSENT
    if kind in _NOT_OFFERED:
        problem = f"`{kind}` is not offered; secrets are read, written, listed and deleted"
    else:
        problem = "this method is not offered for this path"
    return not_allowed(f"unsupported operation: {problem}", _METHODS.get(kind, ""))


def _is_set(text: str, name: str) -> bool:
    if text in _YES or text in _NO:
        return text in _YES
    raise Refused(errors(400, f"`{name}` must be true or false"), "query")


def limit_of(query: Mapping[str, str]) -> int:
    """Return the most names to answer; 0 and less mean all, as in OpenBao."""
    text = query.get("limit", "0")
    number = _whole_number(text.removeprefix("-"), "limit")
    return 0 if text.startswith("-") else number


def _whole_number(text: str, name: str) -> int:
    """Return the parameter `name` of a query, a whole number from 0."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004  # as many digits as a number of ours has
        raise Refused(errors(400, f"`{name}` must be a whole number from 0"), "query")
    return int(text)
