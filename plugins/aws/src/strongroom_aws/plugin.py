"""What the entry point `aws` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_aws.config import AWSConfig, AWSParameterConfig, AWSRoleConfig


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    return [
        Plugin(
            name="aws",
            summary="Secrets in AWS Secrets Manager.",
            config=AWSConfig,
            factory="strongroom_aws.provider:AWSSecretProvider",
        ),
        Plugin(
            name="aws.parameters",
            summary="Secrets as SecureString parameters in AWS Systems Manager's Parameter Store.",
            config=AWSParameterConfig,
            factory="strongroom_aws.parameters:AWSParameterProvider",
        ),
        Plugin(
            name="aws.sts",
            summary="Temporary credentials of AWS roles, from the Security Token Service.",
            config=AWSRoleConfig,
            factory="strongroom_aws.sts:AWSRoleProvider",
        ),
    ]
