"""The command line's client against daemons that are away, foreign, dying or hung."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.client import Client
from agent.control import SOCKET
from agent.errors import HubError, PermissionDeniedError, TryAgainError


def test_no_daemon_is_said_with_what_to_do(tmp_path: Path) -> None:
    for _ in ("no socket", "a socket of a killed daemon"):
        with pytest.raises(HubError, match="not running") as caught:
            Client(tmp_path).get("status")
        assert "agent run" in caught.value.remedy
        with socket.socket(socket.AF_UNIX) as left, suppress(OSError):
            left.bind(str(tmp_path / SOCKET))


def test_a_socket_of_another_user_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(PermissionDeniedError, match="not yours"):
        Client(tmp_path).get("status")


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Callable[[bytes | None], None]]:
    """A server that answers the next request with these bytes and the end; with None it says nothing."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / SOCKET))
    server.listen()
    threads: list[threading.Thread] = []
    over = threading.Event()

    def serve(answer: bytes | None) -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            if answer is None:
                over.wait(10)
            else:
                peer.sendall(answer)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):  # what is left unread at the end would reset the connection
                    pass

    def answer_with(answer: bytes | None) -> None:
        threads.append(threading.Thread(target=serve, args=(answer,)))
        threads[-1].start()

    yield answer_with
    over.set()
    for thread in threads:
        thread.join(10)
    server.close()


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 2",
        b"\x00\x01\x02\r\n",
        HEAD,
        HEAD + b'c\r\n{"done": fal',
    ],
)
def test_a_daemon_that_ends_in_its_answer_is_said(
    tmp_path: Path, answers: Callable[[bytes | None], None], answer: bytes
) -> None:
    for ask in (lambda: list(Client(tmp_path).stream("command", {})), lambda: Client(tmp_path).get("status")):
        answers(answer)
        with pytest.raises(HubError, match="ended before"):
            ask()


def test_a_stream_without_its_last_line_is_not_taken_for_whole(
    tmp_path: Path, answers: Callable[[bytes | None], None]
) -> None:
    answers(HEAD + b'10\r\n{"done": false}\n\r\n0\r\n\r\n')
    lines = Client(tmp_path).stream("command", {})
    assert next(lines) == {"done": False}
    with pytest.raises(HubError, match="ended before"):
        next(lines)


def test_a_daemon_that_hangs_is_said(tmp_path: Path, answers: Callable[[bytes | None], None]) -> None:
    answers(None)
    with pytest.raises(TryAgainError, match="does not answer"):
        Client(tmp_path, patience=0.05).get("status")
