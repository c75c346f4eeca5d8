"""What is on a disk, and what would be if the power went now: every change stays apart from it until it is synced.

Stricter than most file systems, as POSIX allows it to be: `fsync` of a file makes its content durable but not its name; names are durable
once their folder is synced. A rename is one change, as on every journalling file system. At a cut each file loses its unsynced writes in
one way of its own, and all folders lose their unsynced names in one way:

    dropped     nothing of it is on the disk
    kept        all of it is
    torn        the first so many are, and of the next write some sectors, not all of them sound
    reordered   some of them are, whatever their order was; of some writes some sectors

Beside that sectors go bad by themselves: "rotten" ones hold something else, "unreadable" ones give EIO until they are written again.
"""

import random
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

SECTOR = 512
DAMAGED = 0.1  # of the sectors of a torn write
DROPPED, KEPT, TORN, REORDERED = WAYS = ("dropped", "kept", "torn", "reordered")
ROTTEN, UNREADABLE = "rotten", "unreadable"
ROOT = 1

Write = tuple[int, bytes]  # offset, data
Change = Write | int  # or the new size
T = TypeVar("T")
Naming = tuple["Node", bytes, "Node | None"]  # folder, name, what it names from now on


@dataclass(slots=True, eq=False)
class Node:
    """A file, folder or link. `data` and `names` are what programs see, `kept` and `kept_names` what is on the disk."""

    number: int
    mode: int
    data: bytearray = field(default_factory=bytearray)
    names: dict[bytes, "Node"] = field(default_factory=dict)
    target: bytes = b""  # of a link: it is kept with the name
    kept: bytearray = field(default_factory=bytearray)
    kept_names: dict[bytes, "Node"] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    unreadable: set[int] = field(default_factory=set)  # sectors

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Disk:
    """One file system. `deaf` names the syncs that do nothing, for a negative control: told whether it is a folder, and the file's name."""

    def __init__(self, deaf: Callable[[bool, bytes], bool] = lambda _folder, _name: False) -> None:
        self.nodes = {ROOT: Node(ROOT, stat.S_IFDIR | 0o755)}
        self.lost: Counter[str] = Counter()  # what cuts have done, by way and kind
        self.after_sync: Callable[[Node], object] = lambda _node: None
        self._next, self._deaf = ROOT + 1, deaf
        self._namings: list[tuple[Naming, ...]] = []  # in order; the parts of one are kept together

    @property
    def root(self) -> Node:
        return self.nodes[ROOT]

    # ---- changes ----------------------------------------------------------------------------------------------------

    def make(self, folder: Node, name: bytes, mode: int, target: bytes = b"") -> Node:
        node = Node(self._next, mode, target=target)
        self._next += 1
        self.nodes[node.number] = node
        self.name((folder, name, node))
        return node

    def name(self, *namings: Naming) -> None:
        """Give or take names, all at once."""
        for folder, name, node in namings:
            if node is None:
                del folder.names[name]
            else:
                folder.names[name] = node
        self._namings.append(namings)

    @staticmethod
    def change(node: Node, change: Change) -> None:
        _apply(node.data, change)
        node.changes.append(change)
        if node.unreadable:
            begin, end = (change, 1 << 62) if isinstance(change, int) else (change[0], change[0] + len(change[1]))
            node.unreadable -= {one for one in node.unreadable if begin // SECTOR <= one < -(-end // SECTOR)}

    # ---- what lasts -------------------------------------------------------------------------------------------------

    def sync(self, node: Node) -> None:
        """Put a file's content, or a folder's names, on the disk."""
        name = next((name for one in self.nodes.values() for name, known in one.names.items() if known is node), b"")
        if self._deaf(node.is_folder, name):
            return
        for change in node.changes:
            _apply(node.kept, change)
        node.changes.clear()
        if node.is_folder:
            self._sync_names(node)
        else:
            self.after_sync(node)

    def _sync_names(self, folder: Node) -> None:
        """Its namings, and what went before them in folders that share one with it."""
        folders, later = {folder.number}, []
        wanted = []
        for naming in reversed(self._namings):
            if folders & {part[0].number for part in naming}:
                folders |= {part[0].number for part in naming}
                wanted.append(naming)
            else:
                later.append(naming)
        _keep(reversed(wanted))
        self._namings = later[::-1]

    def settle(self) -> None:
        """An orderly stop: all that there is is on the disk."""
        for node in self.nodes.values():
            node.kept, node.kept_names = bytearray(node.data), dict(node.names)
            node.changes.clear()
        self._namings.clear()

    def cut(self, rng: random.Random) -> None:
        """The power goes and comes again: what programs see is what was on the disk, and by `rng` some of what was not."""
        if self._namings:
            way = rng.choice(WAYS)
            self.lost[f"{way} names"] += 1
            _keep(_some(self._namings, way, rng))
            self._namings = []
        for node in self.nodes.values():
            if node.changes:
                way = rng.choice(WAYS)
                self.lost[f"{way} writes"] += 1
                for change in _survivors(node.changes, way, rng):
                    _apply(node.kept, change)
        found: dict[int, Node] = {}
        _reach(self.root, found)
        self.nodes = found
        for node in found.values():
            node.data, node.names = bytearray(node.kept), dict(node.kept_names)
            node.changes.clear()

    # ---- what goes bad ----------------------------------------------------------------------------------------------

    def files(self) -> list[tuple[str, Node]]:
        """All that hold something, with their paths."""
        return [(path, node) for path, node in _walk(self.root, "") if node.data]

    def spoil(self, node: Node, rng: random.Random) -> None:
        """One of its sectors."""
        sector, way = rng.randrange(-(-len(node.data) // SECTOR)), rng.choice((ROTTEN, UNREADABLE))
        self.lost[f"{way} sectors"] += 1
        if way == UNREADABLE:
            node.unreadable.add(sector)
            return
        at = rng.randrange(sector * SECTOR, min(len(node.data), (sector + 1) * SECTOR))
        for data in (node.data, node.kept):
            if at < len(data):
                data[at] ^= 1 << rng.randrange(8)

    # ---- to begin with ----------------------------------------------------------------------------------------------

    def take(self, folder: Path) -> None:
        """Fill the disk with a copy of `folder`."""
        self._take(self.root, folder)
        self.settle()

    def _take(self, node: Node, folder: Path) -> None:
        for path in folder.iterdir():
            mode, name = path.lstat().st_mode, path.name.encode()
            if path.is_symlink():
                self.make(node, name, mode, str(path.readlink()).encode())
                continue
            made = self.make(node, name, mode)
            if made.is_folder:
                self._take(made, path)
            else:
                made.data[:] = path.read_bytes()


def _apply(data: bytearray, change: Change) -> None:
    if isinstance(change, int):
        del data[change:]
        data.extend(bytes(change - len(data)))
        return
    offset, written = change
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written


def _keep(namings: Iterable[tuple[Naming, ...]]) -> None:
    for naming in namings:
        for folder, name, node in naming:
            if node is None:
                folder.kept_names.pop(name, None)
            else:
                folder.kept_names[name] = node


def _some(these: list[T], way: str, rng: random.Random) -> list[T]:
    if way == KEPT:
        return these
    if way == TORN:
        return these[: rng.randint(0, len(these))]
    return [one for one in these if rng.random() < 0.5] if way == REORDERED else []


def _survivors(changes: list[Change], way: str, rng: random.Random) -> list[Change]:
    some = _some(changes, way, rng)
    if way == TORN and len(some) < len(changes):
        return [*some, *_sectors(changes[len(some)], rng)]
    if way == REORDERED:
        return [part for one in some for part in (_sectors(one, rng) if rng.random() < 0.25 else [one])]
    return some


def _sectors(change: Change, rng: random.Random) -> list[Change]:
    """Those sectors of a write that have reached the disk; now and then one that was under way, and holds anything."""
    if isinstance(change, int):
        return []
    offset, data = change
    bounds = [0, *range(SECTOR - offset % SECTOR, len(data), SECTOR), len(data)]
    parts = [(offset + begin, data[begin:end]) for begin, end in pairwise(bounds)]
    return [
        (at, rng.randbytes(len(part)) if rng.random() < DAMAGED else part) for at, part in parts if rng.random() < 0.5
    ]


def _reach(node: Node, found: dict[int, Node]) -> None:
    found[node.number] = node
    for one in node.kept_names.values():
        if one.number not in found:
            _reach(one, found)


def _walk(folder: Node, path: str) -> Iterable[tuple[str, Node]]:
    for name, node in folder.names.items():
        found = f"{path}/{name.decode()}"
        if node.is_folder:
            yield from _walk(node, found)
        else:
            yield found, node
