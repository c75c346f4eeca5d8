"""The stand-in's broker where another program has taken the port that the kernel had offered."""

import socket
from pathlib import Path

import pytest

from agent.errors import HubError
from agent.sim import broker
from agent.sim.broker import LOOPBACK, Mosquitto


async def test_a_port_that_is_taken_meanwhile_is_left_to_who_has_it(tmp_path: Path) -> None:
    made = Mosquitto(tmp_path)
    with socket.create_server((LOOPBACK, made.upstream.port)) as other:
        await made.start()
        try:
            assert made.upstream.port != other.getsockname()[1]
            with socket.create_connection((LOOPBACK, made.upstream.port)):
                pass
        finally:
            await made.stop()


async def test_a_broker_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        monkeypatch.setattr(broker, "free_port", lambda: other.getsockname()[1])
        with pytest.raises(HubError, match="Address already in use"):
            await Mosquitto(tmp_path).start()
