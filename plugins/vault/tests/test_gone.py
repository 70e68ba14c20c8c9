"""A batch tells what was deleted or destroyed from what was never there."""

from __future__ import annotations

import pytest
from strongroom.errors import SecretNotFoundError


def test_a_batch_raises_for_what_was_deleted_or_destroyed(provider, server):
    for key in ("a", "deleted", "destroyed"):
        provider.set_secret(key, "value")
    provider.delete_secret("deleted")
    server.client.secrets.kv.v2.destroy_secret_versions("destroyed", [1], mount_point=provider._mount.name)
    assert provider.get_secrets(["a", "never"]) == {"a": "value"}
    for key in ("deleted", "destroyed"):
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secrets(["a", key])
        assert (caught.value.key, caught.value.reason) == (key, key)
