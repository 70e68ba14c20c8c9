"""Rotation without downtime: a durable state machine, kept with the secret."""

from __future__ import annotations

from strongroom.generators import GENERATORS, Generator, generator_of
from strongroom.rotation.command import CommandRotator
from strongroom.rotation.results import RotationResult, RotationState, RotationStatus
from strongroom.rotation.secret_rotation import SecretRotation

__all__ = [
    "GENERATORS",
    "CommandRotator",
    "Generator",
    "RotationResult",
    "RotationState",
    "RotationStatus",
    "SecretRotation",
    "generator_of",
]
