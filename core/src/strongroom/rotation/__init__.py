"""Rotation without downtime: a durable state machine, kept with the secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports
from strongroom.generators import GENERATORS, Generator, generator_of

if TYPE_CHECKING:
    from strongroom.rotation.command import CommandRotator
    from strongroom.rotation.redaction import redact
    from strongroom.rotation.results import RotationResult, RotationState, RotationStatus
    from strongroom.rotation.rotators import (
        Rehearser,
        Retirer,
        RotationStep,
        Rotator,
        ValueComposer,
        current_step,
    )
    from strongroom.rotation.secret_rotation import SecretRotation
    from strongroom.rotation.target import without_value_middleware
    from strongroom.rotation.users import Credentials, UserRotator, credentials, with_password

__all__ = [
    "GENERATORS",
    "CommandRotator",
    "Credentials",
    "Generator",
    "Rehearser",
    "Retirer",
    "RotationResult",
    "RotationState",
    "RotationStatus",
    "RotationStep",
    "Rotator",
    "SecretRotation",
    "UserRotator",
    "ValueComposer",
    "credentials",
    "current_step",
    "generator_of",
    "redact",
    "with_password",
    "without_value_middleware",
]

_HOMES = {
    "CommandRotator": "command",
    "Credentials": "users",
    "Rehearser": "rotators",
    "Retirer": "rotators",
    "RotationResult": "results",
    "RotationState": "results",
    "RotationStatus": "results",
    "RotationStep": "rotators",
    "Rotator": "rotators",
    "SecretRotation": "secret_rotation",
    "UserRotator": "users",
    "ValueComposer": "rotators",
    "credentials": "users",
    "current_step": "rotators",
    "redact": "redaction",
    "with_password": "users",
    "without_value_middleware": "target",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
