"""`Popen` and `run` of subprocess, for Python programs that are forked from a process which has imported them: a start imports nothing.

They take the command of a real start, `[sys.executable, "-m", "agent.cli", ...]` or `[sys.executable, "-c", CODE, ...]`, and from `main`
on nothing differs. A test whose subject is the start itself, its environment or what shows in /proc starts for real.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

PRELOADED = (
    "agent.cli",
    "agent.run",
    "agent.sim.cloud",
    "agent.identity.local_ca",
    "agent.identity.provisioning",
    "agent.identity.stores.file",
    "drivers.zigbee.driver",
    "drivers.zigbee.session",
    "bellows.zigbee.application",
    "drivers.sim.zigbee.server",
)
LARGEST = 1 << 18  # bytes of a request


# ---- in the tests -----------------------------------------------------------------------------------------------------


@cache
def _server() -> socket.socket:
    """The way to the process that forks: each worker of the tests has one, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """The child is the server's: how it ended is read from a socket, where subprocess asks the kernel."""

    _told: socket.socket | None = None

    def _execute_child(self, args: list[Any], *rest: Any) -> None:  # type: ignore[override]
        cwd, env, pipes = rest[4], rest[5], rest[9:15]
        assert args[0] == sys.executable
        files = [pipes[at] if pipes[at] != -1 else number for number, at in enumerate((0, 3, 5))]
        request = {"args": [str(word) for word in args[1:]], "cwd": str(cwd or Path.cwd())}
        request["env"] = dict(os.environ if env is None else env)
        self._told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(_server(), [json.dumps(request).encode()], [theirs.fileno(), *files])
        theirs.close()
        self.pid = int(self._told.recv(16))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        assert self._told is not None
        self._told.setblocking(wait_flags == 0)
        try:
            told = self._told.recv(16)
        except BlockingIOError:
            return 0, 0
        self._told.close()
        return self.pid, int(told)

    def _internal_poll(self, _deadstate: int | None = None, **_rest: Any) -> int | None:
        if self.returncode is None and self._told is not None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                if self.returncode is None and (found := self._try_wait(os.WNOHANG))[0]:
                    self._handle_exitstatus(found[1])  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def run(command: list[Any], *, timeout: float | None = None, check: bool = False, **more: Any) -> Any:
    """`subprocess.run` of it."""
    if more.pop("capture_output", False):
        more |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(command, **more) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        done = subprocess.CompletedProcess(command, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


# ---- in the server ----------------------------------------------------------------------------------------------------


def _serve(requests: socket.socket) -> list[str]:
    """Fork for each request; returns in the children only, with the words of a command after the name of Python."""
    children: dict[int, tuple[int, socket.socket]] = {}  # by the descriptor that tells the end of one
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in children:
                    pid, report = children.pop(key.fd)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    with report:
                        _tell(report, os.waitpid(pid, 0)[1])
                    continue
                message, files, _, _ = socket.recv_fds(requests, LARGEST, 4)
                if not message:
                    sys.exit()
                report = socket.socket(fileno=files.pop(0))
                if (pid := os.fork()) == 0:
                    for open_one in (requests, report, *(one for _, one in children.values())):
                        open_one.close()
                    for number in children:
                        os.close(number)
                    return _become(json.loads(message), files)
                for number in files:
                    os.close(number)
                report.sendall(str(pid).encode())
                ended = os.pidfd_open(pid)
                children[ended] = (pid, report)
                selector.register(ended, selectors.EVENT_READ)


def _tell(report: socket.socket, status: int) -> None:
    try:
        report.sendall(str(status).encode())
    except OSError:
        return  # nobody asked


def _become(request: dict[str, Any], files: list[int]) -> list[str]:
    """Be what a real start would have made of it."""
    for number, given in enumerate(files):
        os.dup2(given, number)
        os.close(given)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    words: list[str] = request["args"]
    return words


def _main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the tests
    del sys.path[0]  # of this file
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    how, what, *words = _serve(requests)
    sys.argv = [what if how == "-m" else how, *words]
    try:
        if how == "-m":
            sys.exit(importlib.import_module(what).main())
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102  what `python -c` does
    except SystemExit as end:
        _exit(end.code)
    _exit(0)


def _exit(code: Any) -> None:
    """As Python ends, but for the modules: to take them apart would copy all that was imported."""
    if not (code is None or isinstance(code, int)):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()  # what was left open or never awaited says so
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _main()
