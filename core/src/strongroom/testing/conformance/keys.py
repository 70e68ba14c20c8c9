"""The kit's tests of keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.errors import InvalidKeyError, SecretNotFoundError
from strongroom.providers import (
    BatchReader,
    BatchWriter,
    ConditionalWriter,
    Describer,
    StagedWriter,
    VersionReader,
)
from strongroom.testing.conformance.base import ConformanceBase, needs, needs_count
from strongroom.testing.conformance.samples import (
    COLLIDING_KEYS,
    HOSTILE_KEYS,
    INVALID_KEYS,
    INVALID_PREFIXES,
    generated_keys,
)

__all__ = ["KeyTests"]

_invalid = pytest.mark.parametrize("key", [pytest.param(key, id=name) for name, key in INVALID_KEYS.items()])
_no_key = pytest.mark.parametrize("key", [None, 42, b"key"], ids=["None", "int", "bytes"])


class KeyTests(ConformanceBase):
    """Every valid key is a name of its own; every other is refused before any request."""

    @pytest.mark.parametrize("key", [pytest.param(key, id=name) for name, key in HOSTILE_KEYS.items()])
    def test_hostile_key_round_trips(self, provider: Any, key: str) -> None:
        """Any valid key can be set, read, listed as it was set, and deleted; those that are too long, cut."""
        self._round_trip(provider, key[: self.max_key_characters].rstrip("/"))

    def test_hostile_keys_of_this_backend_round_trip(self, provider: Any) -> None:
        """What the author named as special to the backend round-trips too."""
        for key in self.hostile_keys:
            if len(key) <= self.max_key_characters:
                self._round_trip(provider, key)

    def test_keys_that_narrow_alphabets_confuse_stay_apart(self, provider: Any) -> None:
        """Keys that differ by case, punctuation, escapes or normalisation alone are different secrets."""
        self._stay_apart(provider, self.run_of(COLLIDING_KEYS))

    def test_generated_keys_stay_apart(self, provider: Any) -> None:
        """Sixty keys made of the characters that escapes are made of are sixty secrets."""
        self._stay_apart(provider, self.run_of(generated_keys(60, seed=20)))

    def test_deleting_one_of_similar_keys_leaves_the_others(self, provider: Any) -> None:
        """A delete hits exactly the key that was meant."""
        self.put(provider, {key: key for key in ("a/b", "a_b", "a-b", "A/B", "a.b")})
        self.remove(provider, "a_b")
        assert provider.list_secrets() == ["A/B", "a-b", "a.b", "a/b"]
        with pytest.raises(SecretNotFoundError):
            provider.get_secret("a_b")
        assert provider.get_secret("a/b") == "a/b"

    def test_case_matters(self, provider: Any) -> None:
        """A key is not found under another case."""
        self.put(provider, {"Key": "value"})
        for key in ("key", "KEY"):
            with pytest.raises(SecretNotFoundError):
                provider.get_secret(key)

    def test_normalisation_matters(self, provider: Any) -> None:
        """A composed and a decomposed accent are different keys."""
        self.put(provider, {"caf\u00e9": "composed"})
        with pytest.raises(SecretNotFoundError):
            provider.get_secret("cafe\u0301")
        self.put(provider, {"cafe\u0301": "decomposed"})
        assert provider.get_secret("caf\u00e9") == "composed"

    def test_trailing_space_matters(self, provider: Any) -> None:
        """Spaces at the ends belong to the key."""
        self.put(provider, {"key ": "with"})
        for key in ("key", " key"):
            with pytest.raises(SecretNotFoundError):
                provider.get_secret(key)

    def test_long_keys_that_differ_at_the_end_stay_apart(self, provider: Any) -> None:
        """Keys are not cut off: the last character counts."""
        keys = [f"{'k' * (self.max_key_characters - 1)}{end}" for end in "ab-é"]
        self._stay_apart(provider, keys)

    def test_long_escaped_keys_that_differ_at_the_end_stay_apart(self, provider: Any) -> None:
        """Nor are keys cut off that have to be escaped."""
        keys = [f"{'ü/' * ((self.max_key_characters - 1) // 2)}{end}" for end in "abÜü"]
        self._stay_apart(provider, keys)

    def test_a_key_and_a_key_below_it(self, provider: Any) -> None:
        """A key can be the beginning of another one's segments."""
        self._stay_apart(provider, ["a", "a/b", "a/b/c"])

    @_invalid
    def test_invalid_key_is_refused_by_get(self, provider: Any, key: str) -> None:
        """Reading an invalid key raises `InvalidKeyError`, with the key."""
        with pytest.raises(InvalidKeyError) as caught:
            provider.get_secret(key)
        assert caught.value.key == key

    @_invalid
    def test_invalid_key_is_refused_by_set(self, provider: Any, key: str) -> None:
        """Writing an invalid key raises `InvalidKeyError`, and nothing is stored."""
        with pytest.raises(InvalidKeyError):
            provider.set_secret(key, "value")
        assert provider.list_secrets() == []

    @_invalid
    def test_invalid_key_is_refused_by_delete(self, provider: Any, key: str) -> None:
        """Deleting an invalid key raises `InvalidKeyError`, never "not found"."""
        with pytest.raises(InvalidKeyError):
            provider.delete_secret(key)

    @_no_key
    def test_a_key_that_is_no_text_is_refused(self, provider: Any, key: Any) -> None:
        """A key that is not text raises `InvalidKeyError`."""
        with pytest.raises(InvalidKeyError):
            provider.get_secret(key)
        with pytest.raises(InvalidKeyError):
            provider.set_secret(key, "value")
        with pytest.raises(InvalidKeyError):
            provider.delete_secret(key)

    @pytest.mark.parametrize(
        "prefix", [pytest.param(prefix, id=name) for name, prefix in INVALID_PREFIXES.items()]
    )
    def test_invalid_prefix_is_refused_by_list(self, provider: Any, prefix: str) -> None:
        """A prefix that no key can start with raises `InvalidKeyError`."""
        with pytest.raises(InvalidKeyError):
            provider.list_secrets(prefix)

    @needs(BatchReader)
    @_invalid
    def test_invalid_key_is_refused_by_batch_reads(self, provider: Any, key: str) -> None:
        """One invalid key among many raises, rather than being left out."""
        with pytest.raises(InvalidKeyError):
            provider.get_secrets(["fine", key])

    @needs(BatchWriter)
    @_invalid
    def test_invalid_key_is_refused_by_batch_writes(self, provider: Any, key: str) -> None:
        """One invalid key among many raises before any of them is written."""
        with pytest.raises(InvalidKeyError):
            provider.set_secrets({"fine": "value", key: "value"})
        assert provider.list_secrets() == []

    @needs(Describer)
    @_invalid
    def test_invalid_key_is_refused_by_describe(self, provider: Any, key: str) -> None:
        """Describing an invalid key raises `InvalidKeyError`."""
        with pytest.raises(InvalidKeyError):
            provider.describe_secret(key)

    @needs(VersionReader)
    @_invalid
    def test_invalid_key_is_refused_by_versions(self, provider: Any, key: str) -> None:
        """Both methods that read versions refuse an invalid key."""
        with pytest.raises(InvalidKeyError):
            provider.list_versions(key)
        with pytest.raises(InvalidKeyError):
            provider.get_secret_version(key, "1")

    @needs(ConditionalWriter)
    @_invalid
    def test_invalid_key_is_refused_by_conditional_writes(self, provider: Any, key: str) -> None:
        """A conditional write of an invalid key raises `InvalidKeyError`, never a conflict."""
        with pytest.raises(InvalidKeyError):
            provider.set_secret_if(key, "value", None)

    @needs(StagedWriter)
    @_invalid
    def test_invalid_key_is_refused_by_staging(self, provider: Any, key: str) -> None:
        """All three methods that stage versions refuse an invalid key."""
        with pytest.raises(InvalidKeyError):
            provider.stage_secret(key, "value")
        with pytest.raises(InvalidKeyError):
            provider.promote_version(key, "1", expected_version=None)
        with pytest.raises(InvalidKeyError):
            provider.discard_version(key, "1")

    @needs_count
    def test_invalid_keys_cost_no_request(
        self, provider: Any, request_count: Callable[[], int] | None
    ) -> None:
        """The backend does not hear of an invalid key."""
        if request_count is None:
            pytest.skip("nothing counts the requests: fixture 'request_count' gives None")
        before = request_count()
        for key in INVALID_KEYS.values():
            for call in (provider.get_secret, provider.delete_secret):
                with pytest.raises(InvalidKeyError):
                    call(key)
            with pytest.raises(InvalidKeyError):
                provider.set_secret(key, "value")
        for prefix in INVALID_PREFIXES.values():
            with pytest.raises(InvalidKeyError):
                provider.list_secrets(prefix)
        assert request_count() == before

    def _round_trip(self, provider: Any, key: str) -> None:
        self.put(provider, {key: f"value of {len(key)}"})
        assert provider.get_secret(key) == f"value of {len(key)}"
        assert provider.list_secrets() == [key]
        self.remove(provider, key)
        assert provider.list_secrets() == []
        with pytest.raises(SecretNotFoundError):
            provider.get_secret(key)

    def _stay_apart(self, provider: Any, keys: list[str]) -> None:
        values = {key: f"value {number}" for number, key in enumerate(keys)}
        self.put(provider, values)
        assert {key: provider.get_secret(key) for key in keys} == values
        assert provider.list_secrets() == sorted(keys)
