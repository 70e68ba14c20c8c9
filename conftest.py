"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("strongroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("strongroom")
