"""What a watch reported, for tests that cut it off: the versions of each key, in their order."""

from __future__ import annotations

import threading

__all__ = ["PATIENCE", "Heard"]

PATIENCE = 120.0


class Heard:
    """The versions that a callback was told, by key."""

    def __init__(self, keys):
        self.versions = {key: [] for key in keys}
        self.more = threading.Condition()

    def __call__(self, changes):
        with self.more:
            for one in changes:
                self.versions[one.key].append(one.version)
            self.more.notify_all()

    def wait_for(self, last):
        def is_there():
            return all(self.versions[key][-1:] == [version] for key, version in last.items())

        with self.more:
            assert self.more.wait_for(is_there, PATIENCE), (
                last,
                {key: versions[-3:] for key, versions in self.versions.items()},
            )

    def each_once_and_in_order(self, written, since):
        """Assert that each version came once at most, in the order of writing, and none of those in `since`."""
        for key, versions in self.versions.items():
            places = [written[key].index(version) for version in versions]
            assert places == sorted(set(places)), key
            assert since[key] not in versions
