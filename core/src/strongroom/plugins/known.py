"""Types that strongroom's own distributions provide, so that a missing one can be named.

Made from the plugins by `make docs`; changes here are lost.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["KNOWN_CLASSES", "KNOWN_TYPES"]

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
