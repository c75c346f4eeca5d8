"""Whole updates that are fetched from a bad server onto a disk that goes bad: sectors rot and cannot be read, before and after the power goes.

What is damaged is what is not yet activated: downloads, and the slot that does not run. Each must be noticed and had again, or end the update
with the old version; the rest is as with the other updates.
"""

import atexit
import os
import random
import signal
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from faults.power_disk import Disk, Node
from faults.power_updates import Updates
from hostile_files import Manner, Server, Talk, cut, good

from agent.ota.fetch import FetchPolicy
from agent.ota.plan import HARMLESS

POLICY = FetchPolicy(first=0.01, longest=0.1, unsynced=16_384)
FETCHED, WRITTEN = ("/hub/state/ota/", "/hub/slots/.B.new/"), ("/hub/slots/B/",)
AFTER_CUT, AFTER_SYNC, MOST = 0.7, 0.02, 6  # that something is damaged then; sectors after a cut


class Mirror:
    """A file server in a process of its own, over what is laid into its folder: every second answer is torn or damaged."""

    def __init__(self, rng: random.Random) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="power-rot-site-"))
        server = Server(b"", self._manner(random.Random(rng.random())))
        self._url, owner = server.url, os.getpid()
        child = os.fork()
        if child == 0:
            with server:
                signal.pause()
            os._exit(0)
        server._listener.close()
        atexit.register(lambda: os.getpid() == owner and os.kill(child, signal.SIGKILL))

    def take(self, told: dict[str, Any]) -> None:
        for name, content in told.pop("images").items():
            (self._folder / name).write_bytes(content)
        for component in told["components"]:
            for file in component["files"]:
                file["url"] = f"{self._url}/{file['name']}"

    def _manner(self, rng: random.Random) -> Manner:
        def answer(server: Server, talk: Talk) -> None:
            data = bytearray((self._folder / talk.path[1:]).read_bytes())
            way = rng.choice(("good", "good", "torn", "damaged"))
            if way == "damaged" and talk.offset < len(data):
                data[rng.randrange(talk.offset, len(data))] ^= 1 << rng.randrange(8)
            whole: Manner = lambda one, asked: good(one, asked, data=bytes(data))  # noqa: E731  of these bytes
            (cut(whole, rng.randrange(len(data)), reset=rng.random() < 0.5) if way == "torn" else whole)(server, talk)

        return answer


class Rot(Updates):
    """One update on each disk."""

    name = "rot"
    _mirrors: ClassVar[dict[int, Mirror]] = {}  # of this process: one serves all its disks

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._rng = rng
        super().__init__(folder, rng)
        self.cycle.machine.fetch = POLICY

    def site(self) -> Mirror:
        return self._mirror

    @cached_property
    def _mirror(self) -> Mirror:
        return self._mirrors.setdefault(os.getpid(), self._mirrors.get(os.getpid()) or Mirror(self._rng))

    def watch(self, disk: Disk) -> None:
        """Before the first life: what goes bad by itself."""

        def after_sync(node: Node) -> None:
            path = next((path for path, known in disk.files() if known is node), "")
            if path.startswith(FETCHED) and self.rng.random() < AFTER_SYNC:
                disk.spoil(node, self.rng)

        disk.after_sync = after_sync

    def age(self, disk: Disk) -> None:
        """The power has gone and come again: what has gone bad meanwhile."""
        harmless = self.where in {"before", *HARMLESS}
        found = [node for path, node in disk.files() if harmless and path.startswith(FETCHED + WRITTEN)]
        if found and self.rng.random() < AFTER_CUT:
            for _ in range(self.rng.randint(1, MOST)):
                disk.spoil(self.rng.choice(found), self.rng)
