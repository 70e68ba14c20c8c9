"""strongroom's aws plugin: secrets in AWS Secrets Manager and the SSM Parameter Store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_aws.parameters import AWSParameterProvider
    from strongroom_aws.provider import AWSSecretProvider

__all__ = ["AWSParameterProvider", "AWSSecretProvider"]


def __getattr__(name: str) -> Any:
    if name == "AWSSecretProvider":
        from strongroom_aws.provider import AWSSecretProvider

        return AWSSecretProvider
    if name == "AWSParameterProvider":
        from strongroom_aws.parameters import AWSParameterProvider

        return AWSParameterProvider
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
