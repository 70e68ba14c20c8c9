"""Which worker runs which tests: those of one module, or of one plugin, stay together.

A worker so imports each vendor's SDK and starts each server only for what it is given, not for a few tests out of
every plugin: a third of the processor time of a run that shares tests out one by one.
"""

from __future__ import annotations

from itertools import groupby

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController


def place(path: str) -> str:
    """Return whose tests those of this file stay with: their plugin's, or one another's alone."""
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "plugins" else path.partition("::")[0]


class StayTogether(LoadScopeScheduling):
    """Gives out neighbours of one `place`, in the order of collection: a plugin's with servers are a share of their own."""

    def schedule(self) -> None:
        if self.collection is None:
            collected = next(iter(self.registered_collections.values()))
            self._share = {
                nodeid: f"{number} {where}"
                for number, (where, nodeids) in enumerate(groupby(collected, place))
                for nodeid in nodeids
            }
            self._position = {nodeid: position for position, nodeid in enumerate(collected)}
            self.config.option.loadscopereorder = False
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._share[nodeid]

    def _assign_work_unit(self, node: WorkerController) -> None:
        # As xdist does, which looks through 15,000 names for each of them.
        share, tests = self.workqueue.popitem(last=False)
        self.assigned_work.setdefault(node, {})[share] = tests
        node.send_runtest_some([self._position[nodeid] for nodeid, done in tests.items() if not done])

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        # What is done need not be counted again after each test to come.
        given = self.assigned_work[node]
        for share in [share for share, tests in given.items() if all(tests.values())]:
            del given[share]
