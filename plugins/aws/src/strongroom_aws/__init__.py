"""strongroom's aws plugin: secrets in AWS Secrets Manager and the SSM Parameter Store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_aws.parameters import AWSParameterProvider
    from strongroom_aws.provider import AWSSecretProvider
    from strongroom_aws.sts import AWSRoleProvider

__all__ = ["AWSParameterProvider", "AWSRoleProvider", "AWSSecretProvider"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {"AWSParameterProvider": "parameters", "AWSRoleProvider": "sts", "AWSSecretProvider": "provider"},
)
