"""The interface of AWS's secrets agent: one GET, which returns one object."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import SecretNotFoundError, StrongroomError, UnsupportedOperationError
from strongroom.providers import SecretVersion

from strongroom_serve.answers import Answer, as_json, bad_request
from strongroom_serve.asking import Asker, Backend
from strongroom_serve.request import Refused, Request

if TYPE_CHECKING:
    from strongroom_serve.kv import KeyValue

__all__ = ["PATH", "STAGES", "TOKEN_HEADER", "Asked", "answer", "asked"]

PATH: Final = "/secretsmanager/get"
TOKEN_HEADER: Final = b"x-aws-parameters-secrets-token"
STAGES: Final = {"AWSCURRENT": "current", "AWSPREVIOUS": "previous", "AWSPENDING": "pending"}
_YES: Final = frozenset({"true", "1"})


class Asked:
    """The parameters of a request."""

    __slots__ = ("key", "refresh", "stage", "version")

    def __init__(self, key: str, version: str | None, stage: str, *, refresh: bool) -> None:
        self.key, self.version, self.stage, self.refresh = key, version, stage, refresh

    @property
    def is_old(self) -> bool:
        """Whether it may be another version than the current one."""
        return self.version is not None or self.stage != "AWSCURRENT"


def asked(request: Request, *, by_uid: bool) -> Asked:
    """Return the parameters of a request.

    Args:
        request: The request.
        by_uid: Whether its client is known by its user on the socket, and so has no token.

    Raises:
        Refused: The token did not come by the agent's own header, which a forged request does not have; or
            `secretId` is missing; or it came through a proxy, which the agent refuses too.
    """
    if not by_uid and request.header(TOKEN_HEADER) is None:
        raise Refused(bad_request("send the token as `X-Aws-Parameters-Secrets-Token`"), "header")
    if request.header(b"x-forwarded-for") is not None:
        raise Refused(bad_request("requests that were forwarded are refused"), "forwarded")
    query = request.query()
    key, stage = query.get("secretId", ""), query.get("versionStage") or "AWSCURRENT"
    if not key:
        raise Refused(bad_request("`secretId` is missing"), "query")
    if stage not in STAGES:
        raise Refused(bad_request(f"`versionStage` must be one of: {', '.join(STAGES)}"), "query")
    refresh = query.get("refreshNow", "").lower() in _YES
    return Asked(key, query.get("versionId") or None, stage, refresh=refresh)


async def answer(backend: Backend, kv: KeyValue, asker: Asker, wanted: Asked) -> Answer:
    """Answer with the object that GetSecretValue gives."""
    key = wanted.key
    registry = backend.registry_of(key)
    if wanted.refresh:
        await registry.invalidate(key)
    if not wanted.is_old:
        value, version, created = await kv.read_with_id(asker, key)
        return _answer(key, value, version, "AWSCURRENT", datetime.fromisoformat(created))
    try:
        versions = await _versions(backend, key)
    except StrongroomError as error:
        await backend.fail("get", key, error)
    one = next((one for one in versions if _is_asked(one, wanted)), None)
    if one is None:
        await backend.fail("get", key, SecretNotFoundError(key))
    value = await registry.get_secret_version(key, one.version)
    stages = {state: stage for stage, state in STAGES.items()}
    return _answer(key, value, one.version, stages.get(one.state), one.created_at)


def _is_asked(one: SecretVersion, what: Asked) -> bool:
    if what.version is not None:
        return one.version == what.version
    return one.state == STAGES[what.stage]


async def _versions(backend: Backend, key: str) -> list[SecretVersion]:
    listing = getattr(await backend.past_caches(key), "list_versions", None)
    if listing is None:
        return []
    try:
        found: list[SecretVersion] = await backend.in_thread(lambda: listing(key), backend.registry_of(key))
    except UnsupportedOperationError:
        return []
    return found


def _answer(key: str, value: str, version: str | None, stage: str | None, created: datetime | None) -> Answer:
    members: dict[str, Any] = {
        "ARN": f"arn:aws:secretsmanager:local:000000000000:secret:{key}",
        "Name": key,
        "VersionId": version or "1",
        "SecretString": value,
        "VersionStages": [stage] if stage is not None else [],
    }
    if created is not None and created.timestamp() > 0:
        members["CreatedDate"] = f"{created.timestamp():.3f}"
    return Answer(200, as_json(members))
