"""The kit's tests of lists."""

from __future__ import annotations

from typing import Any

from strongroom.testing.conformance.base import ConformanceBase

__all__ = ["ListingTests"]


class ListingTests(ConformanceBase):
    """A list is whole, sorted, and filtered by the text that keys start with."""

    def test_an_empty_backend_lists_nothing(self, provider: Any) -> None:
        """With nothing stored a list is empty, and no error."""
        assert provider.list_secrets() == []
        assert provider.list_secrets("a/") == []

    def test_list_is_a_list_of_text(self, provider: Any) -> None:
        """A list is a `list` of plain `str`."""
        self.put(provider, {"key": "value"})
        listed = provider.list_secrets()
        assert type(listed) is list
        assert [type(key) for key in listed] == [str]

    def test_list_is_sorted(self, provider: Any) -> None:
        """Keys are sorted as Python sorts text, whatever the order they were set in."""
        keys = ["b", "a", "c/d", "B", "c", "é", "a b", "c.d", "Z/z", "10", "9"]
        self.put(provider, dict.fromkeys(keys, "value"))
        assert provider.list_secrets() == sorted(keys)

    def test_list_gives_whole_keys(self, provider: Any) -> None:
        """With a prefix, keys are not shortened by it."""
        self.put(provider, {"app/db/password": "value"})
        assert provider.list_secrets("app/db/") == ["app/db/password"]

    def test_a_key_is_listed_once(self, provider: Any) -> None:
        """Replacing a value does not list its key twice."""
        for turn in range(3):
            self.put(provider, {"key": f"value {turn}"})
        assert provider.list_secrets() == ["key"]

    def test_list_goes_down_all_levels(self, provider: Any) -> None:
        """Keys of any depth are listed."""
        keys = ["a", "a/b", "a/b/c", "a/b/c/d/e/f", "g/h/i"]
        self.put(provider, dict.fromkeys(keys, "value"))
        assert provider.list_secrets() == keys

    def test_prefix_behind_a_slash(self, provider: Any) -> None:
        """A prefix that ends behind a slash lists what is below it, and nothing beside."""
        self.put(provider, dict.fromkeys(["app", "app/a", "app/b/c", "apple/d"], "value"))
        assert provider.list_secrets("app/") == ["app/a", "app/b/c"]

    def test_prefix_within_a_segment(self, provider: Any) -> None:
        """A prefix is text: it may end in the middle of a segment."""
        self.put(provider, dict.fromkeys(["app", "app/a", "apple/d", "ap", "b/app"], "value"))
        assert provider.list_secrets("app") == ["app", "app/a", "apple/d"]

    def test_prefix_within_a_lower_segment(self, provider: Any) -> None:
        """So it may below a slash."""
        self.put(provider, dict.fromkeys(["app/db1/x", "app/db2", "app/dc", "app/d"], "value"))
        assert provider.list_secrets("app/db") == ["app/db1/x", "app/db2"]

    def test_a_whole_key_is_a_prefix(self, provider: Any) -> None:
        """A key starts with itself."""
        self.put(provider, dict.fromkeys(["a/b", "a/bc", "a/b/c"], "value"))
        assert provider.list_secrets("a/b") == ["a/b", "a/b/c", "a/bc"]

    def test_empty_prefix_lists_all(self, provider: Any) -> None:
        """The empty prefix is the default."""
        self.put(provider, dict.fromkeys(["a", "b/c"], "value"))
        assert provider.list_secrets("") == provider.list_secrets() == ["a", "b/c"]

    def test_prefix_by_name(self, provider: Any) -> None:
        """The prefix may be given by its name."""
        self.put(provider, dict.fromkeys(["a", "b"], "value"))
        assert provider.list_secrets(prefix="b") == ["b"]

    def test_prefix_that_nothing_starts_with(self, provider: Any) -> None:
        """A prefix without keys gives an empty list."""
        self.put(provider, {"a/b": "value"})
        for prefix in ("b", "a/c", "a/b/", "/", "a//", "./", "../", "a/../"):
            assert provider.list_secrets(prefix) == []

    def test_prefix_heeds_case(self, provider: Any) -> None:
        """A prefix is compared with its case."""
        self.put(provider, dict.fromkeys(["App/a", "app/a"], "value"))
        assert provider.list_secrets("App") == ["App/a"]

    def test_prefix_is_no_pattern(self, provider: Any) -> None:
        """Characters that mean something to patterns, queries and SQL mean themselves."""
        keys = ["100%/a", "1000/a", "a*b", "a.b", "a?b", "a[b", "a_b", "axb"]
        self.put(provider, dict.fromkeys(keys, "value"))
        for prefix in ("100%", "a*", "a.", "a?", "a[", "a_"):
            assert provider.list_secrets(prefix) == [key for key in keys if key.startswith(prefix)]

    def test_prefix_of_hostile_characters(self, provider: Any) -> None:
        """A prefix may end within what has to be escaped."""
        keys = ["schlüssel/ä", "schlüssel/ö", "schlu", "with space", "with/space"]
        self.put(provider, dict.fromkeys(keys, "value"))
        assert provider.list_secrets("schlü") == ["schlüssel/ä", "schlüssel/ö"]
        assert provider.list_secrets("with ") == ["with space"]
        assert provider.list_secrets("schlüssel/ö") == ["schlüssel/ö"]

    def test_list_has_all_pages(self, provider: Any) -> None:
        """A list that is longer than a page of the service is whole and sorted."""
        keys = [f"page/{number:04}" for number in range(self.listed_keys)]
        self.put(provider, dict.fromkeys(reversed(keys), "value"))
        assert provider.list_secrets() == keys
        assert provider.list_secrets("page/") == keys
        assert provider.list_secrets("page/000") == keys[:10]

    def test_a_deleted_key_is_not_listed(self, provider: Any) -> None:
        """A list has what is there, with and without a prefix."""
        self.put(provider, dict.fromkeys(["a/b", "a/c", "a"], "value"))
        self.remove(provider, "a/b")
        assert provider.list_secrets() == ["a", "a/c"]
        assert provider.list_secrets("a/") == ["a/c"]

    def test_list_returns_a_list_of_ones_own(self, provider: Any) -> None:
        """Changing a returned list changes nothing else."""
        self.put(provider, {"key": "value"})
        provider.list_secrets().clear()
        assert provider.list_secrets() == ["key"]

    def test_rotation_state_is_stored_and_never_listed(self, provider: Any) -> None:
        """Keys with the segment `.rotation` are read and deleted like others, and in no list."""
        keys = [".rotation/a", "db/.rotation/password", "db/password/.rotation"]
        self.put(provider, {**{key: key for key in keys}, "db/password": "value"})
        assert [provider.get_secret(key) for key in keys] == keys
        for prefix in ("", "db/", "db/.rotation/", ".rotation"):
            assert not set(keys) & set(provider.list_secrets(prefix))
        assert provider.list_secrets() == ["db/password"]
        self.remove(provider, *keys)
        assert provider.get_secret("db/password") == "value"

    def test_only_the_whole_segment_is_reserved(self, provider: Any) -> None:
        """Keys that merely look like rotation state are listed."""
        keys = [".rotations", "a.rotation", "a/.rotation-b/c", "rotation/a"]
        self.put(provider, dict.fromkeys(keys, "value"))
        assert provider.list_secrets() == keys
