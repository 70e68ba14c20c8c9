"""Types that strongroom's own distributions provide, so that a missing one can be named.

A test holds this table equal to the entry points in `plugins/*/pyproject.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["KNOWN_CLASSES", "KNOWN_TYPES"]

KNOWN_TYPES: Mapping[str, Mapping[str, str]] = {
    "cache": {"file.cache": "strongroom-file", "redis": "strongroom-redis"},
    "encryption": {"vault.transit": "strongroom-vault"},
    "hook": {"telemetry": "strongroom-telemetry"},
    "provider": {
        "aws": "strongroom-aws",
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
        "postgresql": "strongroom-postgresql",
        "pass": "strongroom-pass",
        "sops": "strongroom-sops",
        "vault": "strongroom-vault",
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
    "PostgreSQLSecretProvider": "strongroom-postgresql",
    "RedisCacheStore": "strongroom-redis",
    "PassSecretProvider": "strongroom-pass",
    "SopsSecretProvider": "strongroom-sops",
    "VaultSecretProvider": "strongroom-vault",
    "VaultTransitEncryption": "strongroom-vault",
}
"""Classes of `strongroom.backends` -> the distribution that has them."""
