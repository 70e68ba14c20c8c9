"""The description of the server's interface, as OpenAPI 3.1, at the same path as Vault's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from strongroom.keys import MAX_KEY_CHARACTERS

from strongroom_serve import aws_agent, vault_sys
from strongroom_serve.answers import Answer, as_json

__all__ = ["answer"]

_BARE: Final = r"[^/\u0000-\u001f\u007f-\u009f\u2028\u2029"
_SEGMENT: Final = rf"(?:\.{{0,2}}{_BARE}.]{_BARE}]*|\.{{3}}{_BARE}]*)"  # not empty, not '.' and not '..'
_KEY: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_KEY_CHARACTERS,
    "pattern": f"^{_SEGMENT}(?:/{_SEGMENT})*$",
}
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_FLAG: Final = {"type": "boolean"}
_TEXTS: Final = {"type": "object", "additionalProperties": _TEXT}
_LIST: Final = {"type": "boolean", "enum": [True]}
_STAGE: Final = {"type": "string", "enum": list(aws_agent.STAGES)}

_REFUSALS: Final = {
    "400": "The request cannot be read, or breaks a rule that the answer names.",
    "403": "An unknown token, no rule that allows it, or a foreign `Host`: alike for what is not there.",
    "405": "The path does not have this method, or the pipeline cannot do it.",
    "429": "Too many wrong tokens, or the backend throttles; `Retry-After` has the seconds.",
    "500": "The audit trail cannot be written, the secret cannot be decrypted, or a mistake of the server.",
    "503": "The backend is not available, or refuses the server's own login.",
}


@lru_cache(maxsize=4)
def answer(mount: str) -> Answer:
    """Answer with the description of a server whose KV engine is mounted at `mount`."""
    return Answer(200, as_json(_description(mount)))


def _description(mount: str) -> dict[str, Any]:
    from importlib.metadata import version  # it loads much, and few ask for this

    description = "The secret's key: segments joined by `/`, which may be sent as they are or as `%2F`."
    key = {"name": "key", "in": "path", "required": True, "description": description, "schema": _KEY}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "strongroom serve",
            "version": version("strongroom-serve"),
            "description": "The pipelines of a spec as Vault's KV engine, version 2, and as AWS's agent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"VaultToken": []}, {"Bearer": []}],
        "paths": {
            f"/v1/{mount}/data/{{key}}": {"parameters": [key], **_data()},
            f"/v1/{mount}/metadata/{{key}}": {"parameters": [key], **_metadata()},
            f"/v1/{mount}/metadata/": {"get": _names("listAll", "List the names at the top.")},
            aws_agent.PATH: {"get": _agent()},
            **_server(mount),
        },
        "components": {"securitySchemes": _SCHEMES, "schemas": _SCHEMAS, "responses": _responses()},
    }


# --- the KV engine ---


def _data() -> dict[str, Any]:
    deleted = {"anyOf": [_ref("Errors"), _ref("Secret")]}
    options = _object({"cas": {**_COUNT, "description": "The version that is current; 0 for none."}})
    body = _object({"data": {**_TEXTS, "description": "Strings by name."}, "options": options}, ["data"])
    writing = {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _answers("WriteResult", "413"),
    }
    return {
        "get": {
            "operationId": "readSecret",
            "summary": "Read a secret, the current version or the one named.",
            "parameters": [_query("version", _COUNT, "Its number; 0 is the current one.")],
            "responses": _answers("Secret") | {"404": _with_body("Absent, or deleted.", deleted)},
        },
        "post": {"operationId": "writeSecret", "summary": "Write a secret.", **writing},
        "put": {"operationId": "replaceSecret", "summary": "Write a secret.", **writing},
        "delete": _deletion("deleteSecret"),
    }


def _metadata() -> dict[str, Any]:
    either = {"anyOf": [_ref("Metadata"), _ref("Names")]}
    reading = _names("describeSecret", "Read what is known of a secret, or list the names below a folder.")
    reading["responses"] = reading["responses"] | {"200": _with_body("What is known, or the names.", either)}
    return {"get": reading, "delete": _deletion("deleteSecretAndMetadata")}


def _names(name: str, summary: str) -> dict[str, Any]:
    listing = _query("list", _LIST, "Lists, as the method LIST does.")
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [
            listing if name == "describeSecret" else listing | {"required": True},
            _query("after", _TEXT, "Only names after this one."),
            _query("limit", {"type": "integer"}, "The maximum number of names; 0 or less means all."),
        ],
        "responses": _answers("Names", "404"),
    }


def _deletion(name: str) -> dict[str, Any]:
    gone = {"204": {"description": "The secret was deleted."}}
    return {
        "operationId": name,
        "summary": "Delete a secret.",
        "responses": gone | _refusals("404"),
    }


# --- the agent, and the server itself ---


def _agent() -> dict[str, Any]:
    return {
        "operationId": "getSecretValue",
        "summary": "Read a secret as AWS's secrets agent gives it.",
        "security": [{"AgentToken": []}],
        "parameters": [
            _query("secretId", _KEY, "Its key.") | {"required": True},
            _query("versionId", _TEXT, "The id of a version."),
            _query("versionStage", _STAGE, "The stage of a version."),
            _query("refreshNow", _FLAG, "Ask the backend, and not a cache."),
        ],
        "responses": _answers("SecretValue", "404"),
    }


def _server(mount: str) -> dict[str, Any]:
    anyone: dict[str, Any] = {"security": [{}, {"VaultToken": []}, {"Bearer": []}]}
    metrics = {"text/plain; version=0.0.4; charset=utf-8": {"schema": _TEXT}}
    return {
        "/healthz": {
            "get": _plain("isHealthy", "Return whether backends answer.", "Health", "503", **anyone)
        },
        vault_sys.HEALTH: {
            "get": _plain("readHealth", "Return the same in Vault's form.", "VaultHealth", "503", **anyone)
        },
        "/metrics": {
            "get": {
                "operationId": "readMetrics",
                "summary": "Read the counts, for Prometheus.",
                "responses": {"200": {"description": "The counts.", "content": metrics}, **_refusals()},
            }
        },
        "/v1/sys/init": {"get": _plain("isInitialized", "Say that it is initialized.", "Initialized")},
        "/v1/sys/seal-status": {"get": _plain("readSealStatus", "Say that it is not sealed.", "SealStatus")},
        "/v1/sys/leader": {"get": _plain("readLeader", "Say that there is one server.", "Leader")},
        vault_sys.LOOKUP_SELF: {"get": _plain("lookUpSelf", "Return whose token it is.", "Data")},
        vault_sys.MOUNTS: {"get": _plain("listMounts", "List the mounts.", "Data")},
        f"{vault_sys.MOUNTS}/{mount}": {"get": _plain("readMount", "Describe a mount.", "Data")},
        vault_sys.OPENAPI: {"get": _plain("readOpenApi", "Read this description.", "Description")},
    }


def _plain(name: str, summary: str, schema: str, *further: str, **more: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": _answers(schema),
        **more,
    }
    for status in further:
        operation["responses"][status] = _with_body(
            "Not all of it.", {"anyOf": [_ref(schema), _ref("Errors")]}
        )
    return operation


# --- pieces ---


def _object(members: Mapping[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": dict(members), "required": required or [], **more}


def _nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _query(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _with_body(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _answers(schema: str, *refusals: str) -> dict[str, Any]:
    return {"200": _with_body("Done.", _ref(schema)), **_refusals(*refusals)}


def _refusals(*more: str) -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted({*_REFUSALS, *more})}


def _responses() -> dict[str, Any]:
    descriptions = {**_REFUSALS, "404": "There is no such secret.", "413": "The body is larger than 2 MiB."}
    return {status: _with_body(text, _ref("Errors")) for status, text in descriptions.items()}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"type": "apiKey", "in": "header", "name": name, "description": description}


_SCHEMES: Final = {
    "VaultToken": _header("X-Vault-Token", "The client's token, as Vault's clients send it."),
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same, as others send it."},
    "AgentToken": _header("X-Aws-Parameters-Secrets-Token", "The same, as clients of AWS's agent send it."),
}


def _envelope(data: Mapping[str, Any]) -> dict[str, Any]:
    return _object({"request_id": {"type": "string", "format": "uuid"}, "data": data}, ["request_id", "data"])


_VERSION: Final = _object(
    {
        "created_time": {"type": "string", "format": "date-time"},
        "deletion_time": _TEXT,
        "destroyed": _FLAG,
        "version": _COUNT,
        "custom_metadata": _nullable(_TEXTS),
    },
    ["created_time", "deletion_time", "destroyed"],
)
_SCHEMAS: Final = {
    "Errors": _object({"errors": {"type": "array", "items": _TEXT}}, ["errors"], additionalProperties=False),
    "Secret": _envelope(_object({"data": _nullable(_TEXTS), "metadata": _VERSION}, ["data", "metadata"])),
    "WriteResult": _envelope(_VERSION),
    "Metadata": _envelope(
        _object(
            {
                "created_time": {"type": "string", "format": "date-time"},
                "updated_time": {"type": "string", "format": "date-time"},
                "current_version": _COUNT,
                "oldest_version": _COUNT,
                "max_versions": _COUNT,
                "custom_metadata": _nullable(_TEXTS),
                "versions": {"type": "object", "additionalProperties": _VERSION},
            },
            ["current_version", "versions"],
        )
    ),
    "Names": _envelope(_object({"keys": {"type": "array", "items": _TEXT, "minItems": 1}}, ["keys"])),
    "Data": _envelope({"type": "object"}),
    "Description": _object({"openapi": _TEXT, "paths": {"type": "object"}}, ["openapi", "paths"]),
    "Health": _object({"ok": _FLAG, "draining": _FLAG, "pipelines": _TEXTS}, ["ok"]),
    "VaultHealth": _object({"initialized": _FLAG, "sealed": _FLAG, "version": _TEXT}, ["sealed"]),
    "Initialized": _object({"initialized": _FLAG}, ["initialized"]),
    "SealStatus": _object({"initialized": _FLAG, "sealed": _FLAG, "version": _TEXT}, ["sealed"]),
    "Leader": _object({"ha_enabled": _FLAG, "is_self": _FLAG, "leader_address": _TEXT}, ["ha_enabled"]),
    "SecretValue": _object(
        {
            "ARN": _TEXT,
            "Name": _KEY,
            "VersionId": _TEXT,
            "SecretString": _TEXT,
            "VersionStages": {"type": "array", "items": _STAGE},
            "CreatedDate": _TEXT,
        },
        ["ARN", "Name", "VersionId", "SecretString", "VersionStages"],
    ),
}
