"""A file system in this process whose power can be cut: the kernel's FUSE protocol on /dev/fuse, over a Disk.

No thread and no library: the process that owns it forks each life of what is tested, and serves that life's requests until it ends or the
power goes. So a cut falls on a numbered request and a seed replays it. The owner must never touch the mounted folder itself.

Kept from the kernel's defaults: each write(2) comes here at once, pages of a shared mapping when they are synced or later; locks of fcntl
and flock are the kernel's own. SQLite's WAL needs no more. Modes and owners are durable at once; there are no hard links.
"""

import errno
import json
import os
import random
import select
import signal
import socket
import stat
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

from faults.power_disk import ROOT, SECTOR, Disk, Node

Tell = Callable[..., None]
REMEDY = "install fuse3 (scripts/setup.sh test does), and let this user open /dev/fuse: in a container, --device /dev/fuse --cap-add SYS_ADMIN"


class Op(IntEnum):
    """Requests of the kernel, as linux/fuse.h numbers them."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    INIT = 26
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45


SILENT = {Op.FORGET, Op.INTERRUPT, Op.BATCH_FORGET}  # no answer is expected
SYNCS = {Op.FSYNC, Op.FSYNCDIR}
NAMES = {Op.SYMLINK, Op.MKNOD, Op.MKDIR, Op.UNLINK, Op.RMDIR, Op.RENAME, Op.RENAME2, Op.CREATE}
CHANGING = {*NAMES, *SYNCS, Op.SETATTR, Op.WRITE, Op.FALLOCATE}

HEADER, ANSWER = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
ENTRY, VALID, OPENED = struct.Struct("<QQQQII"), struct.Struct("<QII"), struct.Struct("<QII")
INITED = struct.Struct("<IIIIHHIIHHI28x")
STATUS = struct.Struct("<QQQQQIIII24x")
SET = struct.Struct("<IIQQQQQQIIIIIIII")
SET_MODE, SET_SIZE = 1, 8
BIG_WRITES, MANY_PAGES = 1 << 5, 1 << 22
LARGEST = 1 << 20  # of one write
FOREVER = 3600  # seconds: nobody else changes these files, so that the kernel may remember names and attributes
BLOCKS = 1 << 18  # of 4096
PATIENCE, HANGS = 90, "hangs"  # seconds: a life asks the disk for something long before


@dataclass
class Life:
    """How a forked process ended: by the power cut, or with an exit code. `told`: what it has said until then."""

    cut: bool
    code: int
    told: list[Any] = field(default_factory=list)
    after: str = ""  # what it asked of the disk when the power went


class PowerFs:
    """Mounts `disk` at `folder`, which must be there."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder, self.disk, self.requests = folder, disk, 0
        self.refused = (0, 0)  # the change that the disk does not make, by its number, and what it says instead
        self.counts = b""  # what a life has said before its changes count
        self._fuse = -1
        self._calls = {
            Op.LOOKUP: self._lookup,
            Op.GETATTR: lambda node, _: VALID.pack(FOREVER, 0, 0) + _attributes(node),
            Op.SETATTR: self._set,
            Op.READLINK: lambda node, _: node.target,
            Op.SYMLINK: self._link,
            Op.MKNOD: lambda node, body: self._make(node, body[16:-1], body),
            Op.MKDIR: lambda node, body: self._make(node, body[8:-1], body, stat.S_IFDIR),
            Op.CREATE: lambda node, body: self._make(node, body[16:-1], body[4:]) + OPENED.pack(0, 0, 0),
            Op.UNLINK: self._remove,
            Op.RMDIR: self._remove,
            Op.RENAME: lambda node, body: self._rename(node, body[:8], body[8:]),
            Op.RENAME2: lambda node, body: self._rename(node, body[:16], body[16:]),
            Op.READ: self._read,
            Op.WRITE: self._write,
            Op.STATFS: lambda _node, _: STATUS.pack(BLOCKS, BLOCKS, BLOCKS, 1 << 20, 1 << 20, 4096, 255, 4096, 0),
            Op.RELEASE: lambda _node, _: b"",
            Op.RELEASEDIR: lambda _node, _: b"",
            Op.FSYNC: self._sync,
            Op.FSYNCDIR: self._sync,
            Op.READDIR: self._list,
            Op.FALLOCATE: self._allocate,
            Op.INIT: _init,
        }

    def __enter__(self) -> Self:
        self._on()
        return self

    def __exit__(self, *_: object) -> None:
        if self._fuse >= 0:
            self._off()

    def _on(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            options = "fsname=power,subtype=power,default_permissions,nosuid,nodev"
            command = ["fusermount3", "-o", options, "--", str(self.folder)]
            environment = {**os.environ, "_FUSE_COMMFD": str(theirs.fileno())}
            try:
                done = subprocess.run(
                    command, env=environment, pass_fds=[theirs.fileno()], capture_output=True, text=True, check=False
                )
            except FileNotFoundError:
                raise SystemExit(f"fusermount3 is not there: {REMEDY}") from None
            if done.returncode:
                raise SystemExit(f"{done.stderr.strip()}: {REMEDY}")
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        self._fuse = descriptors[0]
        os.set_inheritable(self._fuse, False)

    def _off(self) -> None:
        """Closed, the connection is dead: whatever waits for an answer gets an error, and what the kernel holds is gone."""
        os.close(self._fuse)
        self._fuse = -1
        subprocess.run(["fusermount3", "-u", "-z", "-q", "--", str(self.folder)], check=True)

    def cut(self, rng: random.Random) -> None:
        """The power goes and comes again."""
        self._off()
        self.disk.cut(rng)
        self._on()

    def again(self) -> None:
        """What was killed is gone, and all that it wrote is there."""
        self._off()
        self._on()

    # ---- lives ------------------------------------------------------------------------------------------------------

    def life(self, work: Callable[[Tell], object], at: int = 0) -> Life:
        """Run `work` in a process of its own. With `at` the power goes at its so many-th change; call `cut` then."""
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(self._fuse)
            os.close(reads)
            _live(work, writes)
        os.close(writes)
        ends = os.pidfd_open(child)
        os.set_blocking(reads, False)
        said = bytearray()
        after = self._until(reads, ends, said, self.requests + at if at else 0)
        if after:
            os.kill(child, signal.SIGKILL)
            os.close(self._fuse)  # only now can it die: it waits for an answer
            self._fuse = os.open(os.devnull, os.O_RDONLY)
        _, status = os.waitpid(child, 0)
        _drain(reads, said)
        os.close(reads)
        os.close(ends)
        told = [json.loads(line) for line in said[: said.rfind(b"\n") + 1].splitlines()]  # the last may be torn too
        if after == HANGS:
            raise TimeoutError(f"nothing moves within {PATIENCE} s after {told[-3:]}")
        return Life(bool(after), os.waitstatus_to_exitcode(status), told, after)

    def _until(self, reads: int, ends: int, said: bytearray, last: int) -> str:
        """Serve a life until it ends by itself, "", or until the request `last`, which is named."""
        waiting = select.poll()
        for descriptor in (self._fuse, reads, ends):
            waiting.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in waiting.poll(PATIENCE * 1000)}
            if not ready:
                return HANGS
            if reads in ready and not _drain(reads, said):
                waiting.unregister(reads)
            if self._fuse in ready:
                after = self._serve(last, counts=self.counts in said)
                if after:
                    return after
            elif ends in ready:
                return ""

    # ---- the protocol -----------------------------------------------------------------------------------------------

    def _serve(self, last: int, *, counts: bool) -> str:
        """Answer one request, or none: the name of the one that the power went at."""
        try:
            request = os.read(self._fuse, LARGEST + 4096)
        except InterruptedError:
            return ""
        _, code, unique, number, *_ = HEADER.unpack_from(request)
        if code in SILENT:
            return ""
        body, failed, answer = request[HEADER.size :], 0, b""
        changing = counts and code in CHANGING
        if changing:
            self.requests += 1
        gone = changing and self.requests == last
        try:
            if code not in self._calls:
                raise OSError(errno.ENOSYS, "")
            if changing and self.requests == self.refused[0]:
                raise OSError(self.refused[1], "")
            if not (gone and code in SYNCS):
                answer = self._calls[code](self.disk.nodes[number or ROOT], body)
        except OSError as error:
            failed, answer = error.errno or errno.EIO, b""
        if gone:
            return Op(code).name.lower()
        try:
            os.write(self._fuse, ANSWER.pack(ANSWER.size + len(answer), -failed, unique) + answer)
        except FileNotFoundError:  # the one who asked was killed meanwhile
            return ""
        return ""

    def _lookup(self, node: Node, body: bytes) -> bytes:
        found = node.names.get(body[:-1])
        if found is None:
            raise OSError(errno.ENOENT, "")
        return _entry(found)

    def _make(self, node: Node, name: bytes, body: bytes, kind: int = 0) -> bytes:
        (mode,) = struct.unpack_from("<I", body)
        if name in node.names:
            raise OSError(errno.EEXIST, "")
        return _entry(self.disk.make(node, name, mode | kind))

    def _link(self, node: Node, body: bytes) -> bytes:
        name, target, _ = body.split(b"\0")
        return _entry(self.disk.make(node, name, stat.S_IFLNK | 0o777, target))

    def _remove(self, node: Node, body: bytes) -> bytes:
        if node.names[body[:-1]].names:
            raise OSError(errno.ENOTEMPTY, "")
        self.disk.name((node, body[:-1], None))
        return b""

    def _rename(self, node: Node, where: bytes, names: bytes) -> bytes:
        folder, flags, _ = struct.unpack("<QII", where.ljust(16, b"\0"))
        old, new, _ = names.split(b"\0")
        target = self.disk.nodes[folder]
        if flags:  # an exchange, or not over something
            raise OSError(errno.EINVAL, "")
        if new in target.names and target.names[new].names:
            raise OSError(errno.ENOTEMPTY, "")
        self.disk.name((node, old, None), (target, new, node.names[old]))
        return b""

    def _set(self, node: Node, body: bytes) -> bytes:
        valid, _, _, size, *_, mode, _, _, _, _ = SET.unpack_from(body)
        if valid & SET_SIZE:
            self.disk.change(node, size)
        if valid & SET_MODE:
            node.mode = mode
        return VALID.pack(FOREVER, 0, 0) + _attributes(node)

    def _read(self, node: Node, body: bytes) -> bytes:
        offset, size = struct.unpack_from("<QI", body, 8)
        if any(offset // SECTOR <= sector < -(-(offset + size) // SECTOR) for sector in node.unreadable):
            raise OSError(errno.EIO, "")
        return bytes(node.data[offset : offset + size])

    def _write(self, node: Node, body: bytes) -> bytes:
        offset, size = struct.unpack_from("<QI", body, 8)
        self.disk.change(node, (offset, body[40 : 40 + size]))
        return struct.pack("<II", size, 0)

    def _allocate(self, node: Node, body: bytes) -> bytes:
        offset, size, mode = struct.unpack_from("<QQI", body, 8)
        if mode:
            raise OSError(errno.EOPNOTSUPP, "")
        if offset + size > len(node.data):
            self.disk.change(node, offset + size)
        return b""

    def _sync(self, node: Node, _: bytes) -> bytes:
        self.disk.sync(node)
        return b""

    @staticmethod
    def _list(node: Node, body: bytes) -> bytes:
        offset, size = struct.unpack_from("<QI", body, 8)
        made = bytearray()
        for place, (name, one) in enumerate(list(node.names.items())[offset:], offset + 1):
            entry = struct.pack("<QQII", one.number, place, len(name), one.mode >> 12) + name
            entry += bytes(-len(entry) % 8)
            if len(made) + len(entry) > size:
                break
            made += entry
        return bytes(made)


def _init(_node: Node, body: bytes) -> bytes:
    _, minor, ahead, _ = struct.unpack_from("<IIII", body)
    return INITED.pack(7, min(minor, 31), ahead, BIG_WRITES | MANY_PAGES, 12, 9, LARGEST, 1, LARGEST // 4096, 0, 0)


def _attributes(node: Node) -> bytes:
    size = len(node.data) or len(node.target)
    blocks = -(-size // SECTOR)
    return ATTRIBUTES.pack(
        node.number, size, blocks, 0, 0, 0, 0, 0, 0, node.mode, 1, os.getuid(), os.getgid(), 0, 4096, 0
    )


def _entry(node: Node) -> bytes:
    return ENTRY.pack(node.number, 0, FOREVER, FOREVER, 0, 0) + _attributes(node)


def _live(work: Callable[[Tell], object], pipe: int) -> None:
    """The forked process: it never returns into the code of the one that serves it."""

    def tell(*words: Any) -> None:
        os.write(pipe, json.dumps(words).encode() + b"\n")

    try:
        work(tell)
    except BaseException as error:  # noqa: BLE001  told to the one who judges
        tell("failed", f"{type(error).__name__}: {error}"[:2000])
        os._exit(75)
    os._exit(0)


def _drain(pipe: int, said: bytearray) -> bool:
    """Whether more may come."""
    try:
        while part := os.read(pipe, 1 << 16):
            said += part
    except BlockingIOError:
        return True
    return False
