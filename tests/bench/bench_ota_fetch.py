"""A download with all that it checks beside a local read, SHA-256 and write of the same file in the same run; its memory; what a cut costs.

Both end with the file on the disk (fsync); the download has read it back as well. That the disk itself is read and hashed once more before the
file is used belongs to the use and is not in here. The file server is another process, which takes from the same cores.
"""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from rig import disk, figure, median, rss_mb, scratch

from agent.ota.fetch import Fetch, Source

SIZE = 500 << 20
MIB = 1 << 20
BLOCK = 1 << 18
ROUNDS = 5
CUTS = 5


def serve(path: str) -> None:
    """One file with ranges, sent by the kernel; prints its port, then the offset of each request."""
    size = Path(path).stat().st_size
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        with connection, Path(path).open("rb") as file:
            asked = connection.recv(65536).decode()
            start = int(asked.partition("Range: bytes=")[2].partition("-")[0] or 0)
            print(start, flush=True)
            status = f"206 X\r\nContent-Range: bytes {start}-{size - 1}/{size}" if start else "200 OK"
            head = f'HTTP/1.1 {status}\r\nContent-Length: {size - start}\r\nETag: "1"\r\n\r\n'
            connection.sendall(head.encode())
            try:
                connection.sendfile(file, start)
            except ConnectionError:
                continue


def local(source: Path, target: Path, sha256: str) -> tuple[float, float]:
    """Seconds to read, hash and write, until the disk has it; and of the processor."""
    buffer = memoryview(bytearray(BLOCK))
    begin, used, found = time.perf_counter(), time.process_time(), hashlib.sha256()
    reader, writer = os.open(source, os.O_RDONLY), os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.posix_fallocate(writer, 0, SIZE)
    while count := os.readv(reader, [buffer]):
        found.update(buffer[:count])
        os.write(writer, buffer[:count])
    os.fsync(writer)
    taken, used = time.perf_counter() - begin, time.process_time() - used
    os.close(reader)
    os.close(writer)
    if found.hexdigest() != sha256:
        raise RuntimeError("the local copy is wrong")
    target.unlink()
    return taken, used


class Timed(Fetch):
    """Tells the processor's seconds of the thread that receives: on a machine with other work these say more than the clock."""

    used = 0.0

    def _work(self) -> None:
        begin = time.thread_time()
        super()._work()
        self.used = time.thread_time() - begin


def child(told: Path, target: Path) -> None:
    """One download in a process of its own: its time, and the memory that it took beyond what was there before."""
    facts = json.loads(told.read_text())
    source = Source(tuple(facts["urls"]), facts["size"], facts["sha256"], MIB, tuple(facts["chunks"]))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, used, begin = rss_mb(os.getpid()), time.process_time(), time.perf_counter()
    with Timed(source, target) as fetch:
        asyncio.run(fetch.run())
        taken = time.perf_counter() - begin
        fetch.take().close()
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    figures = {"seconds": taken, "cpu": time.process_time() - used, "receiving": fetch.used, "growth_mb": peak - before}
    print(json.dumps(figures))


def make(path: Path) -> tuple[str, list[str]]:
    """A file of chance: its hash, and those of its chunks."""
    whole, chunks = hashlib.sha256(), []
    with path.open("wb") as file:
        for _ in range(SIZE // MIB):
            piece = os.urandom(MIB)
            whole.update(piece)
            chunks.append(hashlib.sha256(piece).hexdigest())
            file.write(piece)
    return whole.hexdigest(), chunks


def fetch(told: Path, target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "fetch", str(told), str(target)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def compare(name: str, origin: Path, target: Path, told: Path, sha256: str) -> None:
    ratios, processor, receiving, speeds, growths = [], [], [], [], []
    for _ in range(ROUNDS):
        base, base_cpu = local(origin, target, sha256)
        ours = json.loads(fetch(told, target).communicate()[0])
        target.unlink()
        ratios.append(base / ours["seconds"])
        processor.append(ours["cpu"] / base_cpu)
        receiving.append(base_cpu / ours["receiving"])
        speeds.append(SIZE / ours["seconds"] / 1e6)
        growths.append(ours["growth_mb"])
    figure(
        "ota fetch of 500 MiB",
        on=name,
        ratio_to_local=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        wanted_ratio=0.9,
        mb_per_s=median(speeds),
        cpu_of_local=median(processor),
        ratio_of_the_receiving_threads_cpu=median(receiving),
        rss_growth_mb=max(growths),
        wanted_growth_mb=8,
        load=os.getloadavg()[0],
    )


def cut(origin: Path, target: Path, told: Path, share: float) -> int:
    """A download that is killed when so much is there: the bytes that the file has then."""
    at = int(SIZE * share)
    with origin.open("rb") as file:
        file.seek(at)
        wanted = file.read(4096)
    with fetch(told, target) as first:
        while not target.exists() or not holds(target, at, wanted):
            if first.poll() is not None:
                raise RuntimeError("the download was faster than the look at it")
        first.kill()
    had = 0
    with origin.open("rb") as right, target.open("rb") as found:
        while (piece := right.read(4096)) and piece == found.read(4096):
            had += len(piece)
    return had


def holds(path: Path, at: int, wanted: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(len(wanted)) == wanted


def measure(name: str, folder: Path) -> None:
    origin, target, told = folder / "origin", folder / "target", folder / "source.json"
    sha256, chunks = make(origin)
    command = [sys.executable, __file__, "serve", str(origin)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        offsets = server.stdout
        if offsets is None:
            raise RuntimeError("the server has no output")
        url = f"http://127.0.0.1:{offsets.readline().strip()}/image"
        told.write_text(json.dumps({"urls": [url], "size": SIZE, "sha256": sha256, "chunks": chunks}))
        try:
            compare(name, origin, target, told, sha256)
            for _ in range(ROUNDS):
                offsets.readline()
            again = []
            for number in range(1, CUTS + 1):
                had = cut(origin, target, told, number / (CUTS + 1))
                fetch(told, target).communicate()
                offsets.readline()
                again.append(had - int(offsets.readline()))
                target.unlink()
        finally:
            server.kill()
        figure("ota fetch after kill -9", on=name, cuts=CUTS, bytes_again_most=max(again), wanted_most=MIB)


def main() -> None:
    with disk() as folder:
        measure("disk", folder)
    with scratch() as folder:
        measure("memory", folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    elif sys.argv[1:2] == ["fetch"]:
        child(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
