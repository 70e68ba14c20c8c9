"""Types that strongroom's own distributions provide, so that a missing one can be named.

Made from the plugins by `make docs`; changes here are lost.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["KNOWN_CLASSES", "KNOWN_TYPES", "WITHOUT_VARIABLES"]

KNOWN_TYPES: Mapping[str, Mapping[str, str]] = {
    "cache": {
        "file.cache": "strongroom-file",
        "redis": "strongroom-redis",
    },
    "encryption": {
        "vault.transit": "strongroom-vault",
    },
    "hook": {
        "telemetry": "strongroom-telemetry",
    },
    "provider": {
        "aws": "strongroom-aws",
        "aws.parameters": "strongroom-aws",
        "aws.sts": "strongroom-aws",
        "azure": "strongroom-azure",
        "directory": "strongroom-directory",
        "env": "strongroom-env",
        "etcd": "strongroom-etcd",
        "exec": "strongroom-exec",
        "file": "strongroom-file",
        "gcp": "strongroom-gcp",
        "keepass": "strongroom-keepass",
        "keyring": "strongroom-keyring",
        "memory": "strongroom-memory",
        "pass": "strongroom-pass",
        "postgresql": "strongroom-postgresql",
        "sops": "strongroom-sops",
        "vault": "strongroom-vault",
        "vault.leases": "strongroom-vault",
    },
    "rotator": {
        "mariadb": "strongroom-mariadb",
        "postgresql": "strongroom-postgresql",
        "redis": "strongroom-redis",
    },
}
"""Kind of component -> type name -> the distribution that has it."""

KNOWN_CLASSES: Mapping[str, str] = {
    "AWSParameterProvider": "strongroom-aws",
    "AWSRoleProvider": "strongroom-aws",
    "AWSSecretProvider": "strongroom-aws",
    "AzureSecretProvider": "strongroom-azure",
    "DirectorySecretProvider": "strongroom-directory",
    "EnvSecretProvider": "strongroom-env",
    "EtcdSecretProvider": "strongroom-etcd",
    "ExecSecretProvider": "strongroom-exec",
    "FileCacheStore": "strongroom-file",
    "FileSecretProvider": "strongroom-file",
    "GCPSecretProvider": "strongroom-gcp",
    "KeePassSecretProvider": "strongroom-keepass",
    "KeyringSecretProvider": "strongroom-keyring",
    "MemorySecretProvider": "strongroom-memory",
    "PassSecretProvider": "strongroom-pass",
    "PostgreSQLSecretProvider": "strongroom-postgresql",
    "RedisCacheStore": "strongroom-redis",
    "SopsSecretProvider": "strongroom-sops",
    "VaultLeaseProvider": "strongroom-vault",
    "VaultSecretProvider": "strongroom-vault",
    "VaultTransitEncryption": "strongroom-vault",
}
"""Classes of `strongroom.backends` -> the distribution that has them."""

WITHOUT_VARIABLES: frozenset[str] = frozenset(
    {
        "strongroom_aws.parameters:AWSParameterProvider",
        "strongroom_aws.provider:AWSSecretProvider",
        "strongroom_aws.sts:AWSRoleProvider",
        "strongroom_azure.provider:AzureSecretProvider",
        "strongroom_directory.provider:DirectorySecretProvider",
        "strongroom_etcd.provider:EtcdSecretProvider",
        "strongroom_exec.provider:ExecSecretProvider",
        "strongroom_file.provider:FileSecretProvider",
        "strongroom_gcp.provider:GCPSecretProvider",
        "strongroom_keepass.provider:KeePassSecretProvider",
        "strongroom_keyring.provider:KeyringSecretProvider",
        "strongroom_memory.provider:MemorySecretProvider",
        "strongroom_pass.provider:PassSecretProvider",
        "strongroom_postgresql.provider:PostgreSQLSecretProvider",
        "strongroom_vault.leases:VaultLeaseProvider",
        "strongroom_vault.provider:VaultSecretProvider",
    }
)
"""Factories of providers that keep no secrets in variables, known without loading them."""
