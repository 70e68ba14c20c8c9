"""The conformance kit: what every provider does alike, as tests to subclass.

```python
import pytest
from strongroom.testing import ProviderConformance
from strongroom_acme import AcmeSecretProvider


class TestAcme(ProviderConformance):
    sdk_modules = ("acme_sdk",)
    construction = "from strongroom_acme import AcmeSecretProvider; AcmeSecretProvider('https://127.0.0.1:1')"

    @pytest.fixture
    def provider(self, acme_server):
        with AcmeSecretProvider(acme_server.url) as provider:
            yield provider

    @pytest.fixture
    def reopened(self, provider, acme_server):
        with AcmeSecretProvider(acme_server.url) as second:
            yield second
```

Capabilities are found by the protocols of `strongroom.providers`; tests of others are skipped. If a backend
cannot do what a test asks, the test is waived in the open, with its reason:

```python
    @pytest.mark.xfail(reason="Acme forgets versions older than a day")
    def test_every_version_can_be_read(self, provider):
        super().test_every_version_can_be_read(provider)
```
"""

from __future__ import annotations

from strongroom.testing.conformance.batches import BatchTests
from strongroom.testing.conformance.errors import ErrorTests
from strongroom.testing.conformance.forks import ForkTests
from strongroom.testing.conformance.keys import KeyTests
from strongroom.testing.conformance.lifecycle import LifecycleTests
from strongroom.testing.conformance.listing import ListingTests
from strongroom.testing.conformance.live import LiveTests
from strongroom.testing.conformance.staging import StagingTests
from strongroom.testing.conformance.threads import ThreadTests
from strongroom.testing.conformance.values import ValueTests
from strongroom.testing.conformance.versions import VersionTests
from strongroom.testing.conformance.watching import WatchingTests

__all__ = ["ProviderConformance"]


class ProviderConformance(
    ValueTests,
    KeyTests,
    ListingTests,
    ErrorTests,
    BatchTests,
    VersionTests,
    StagingTests,
    WatchingTests,
    LiveTests,
    ThreadTests,
    ForkTests,
    LifecycleTests,
):
    """Subclass it as `Test…` and override the fixture `provider`: a provider on an empty backend.

    If possible, also override `reopened` (a second provider on the same backend) and `request_count` (a
    function that returns how many requests the backend has seen). The class attributes say what protocols
    cannot: see `ConformanceBase`.
    """
