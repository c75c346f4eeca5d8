"""Downloads of an update under power cuts: what is done stays whole, and a cut takes no more than the policy says."""

import asyncio
import random
from pathlib import Path
from typing import Any

from faults.power_fs import Life, Tell
from faults.power_scenario import LostError, Scenario
from hostile_files import Server, content, source

from agent.files import make_folder
from agent.ota.fetch import Fetch, FetchPolicy

SIZE, CHUNK, UNSYNCED = 150_001, 4096, 16_384
POLICY = FetchPolicy(unsynced=UNSYNCED)
DATA = [content(SIZE, number) for number in range(3)]


class Downloads(Scenario):
    """Three files, one after the other; every other disk has no chunk map, but a note of how far it came."""

    name, most, reach = "downloads", 30, (10, 150)

    def __init__(self, folder: Path, rng: random.Random) -> None:
        super().__init__(folder, rng)
        self.mapped = rng.random() < 0.5
        self.done = 0  # files
        self.there = 0  # bytes of the next one
        self.where = f"{'mapped' if self.mapped else 'plain'} file 1"

    def take(self, word: str, *told: Any) -> None:
        if word == "there":
            self.there = told[0]
        elif word == "done":
            self.done, self.there = self.done + 1, 0
            self.where = f"{self.where[:-1]}{self.done + 1}"
        elif word == "all":
            self.over = True

    def judge(self, _life: Life) -> None:
        """Over once a life has found all of it."""

    def live(self, tell: Tell) -> None:
        folder = self.folder / "state" / "ota"
        for number in range(self.done):
            if (folder / str(number)).read_bytes() != DATA[number]:
                raise LostError(f"file {number} was there, and is not whole")
        if self.done == len(DATA):
            tell("all")
            return
        make_folder(folder)
        for number in range(self.done, len(DATA)):
            asyncio.run(self._download(folder / str(number), DATA[number], tell))
            self.there = 0
            tell("done")

    async def _download(self, path: Path, data: bytes, tell: Tell) -> None:
        with Server(data) as server:
            made = source(data, f"{server.url}/image", chunk=CHUNK, mapped=self.mapped)
            with Fetch(made, path, POLICY, progress=lambda done: tell("there", done)) as fetch:
                await fetch.run()
            begun = server.asked[0].offset if server.asked else SIZE
        least = self.there - CHUNK - UNSYNCED * (1 if self.mapped else 2)
        if begun < least:
            raise LostError(f"{self.there} bytes were there, and it went on from {begun}")
