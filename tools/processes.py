"""CPU and memory of a stand's processes, by what they do."""

import psutil
from stand import Stand

NAMED = ("outputs", "index", "lane", "nursery", "keeper", "archive")
"""Processes that go by their own name; main's other children are workers."""


class Processes:
    """The manager's main process and its children, and what else is to be watched."""

    def __init__(self, stand: Stand, **others: int) -> None:
        """`others`: role -> process id, without its children."""
        assert stand.manager is not None
        self._roots = {"main": stand.manager.pid, **others}
        nodes = stand.nodes()
        self._named = {nodes[name]["facts"]["pid"]: name for name in NAMED if name in nodes}

    def each(self) -> dict[str, list[psutil.Process]]:
        """The living processes by role."""
        found = {role: [psutil.Process(pid)] for role, pid in self._roots.items()}
        for child in found["main"][0].children(recursive=True):
            found.setdefault(self._named.get(child.pid, "workers"), []).append(child)
        return found

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each role since its start."""
        return {
            role: sum(process.cpu_times().user + process.cpu_times().system for process in processes)
            for role, processes in self.each().items()
        }

    def rss(self) -> dict[str, float]:
        """Resident MiB of each role."""
        return {
            role: sum(process.memory_info().rss for process in processes) / 1048576
            for role, processes in self.each().items()
        }
