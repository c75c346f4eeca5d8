"""paho connects in a thread of its own, which may end after the handshake was given up: it touches nothing of the loop's."""

import asyncio
import threading

from agent.cloud.mqtt import V5, Endpoint, MqttConnection


def connection() -> MqttConnection:
    endpoint = Endpoint("127.0.0.1", 1, "hub", 60, None)
    return MqttConnection(
        endpoint, version=V5, will=None, on_message=lambda _m: None, on_acknowledged=lambda _mid: None
    )


async def test_the_end_that_the_connecting_thread_tells_is_heard_by_the_loop() -> None:
    """Else two ends at the same moment, a timeout here and a failed handshake there, were a bug that ended the process."""
    made = connection()
    thread = threading.Thread(target=made._disconnected, args=(None, None, None, "gone", None))
    thread.start()
    thread.join()
    assert not made.closed.done(), "the loop has not run since"
    assert await asyncio.wait_for(made.closed, 5) == "gone"
    made.close("again")
    assert made.closed.result() == "gone"


def test_a_thread_that_outlives_the_loop_says_nothing() -> None:
    async def make() -> MqttConnection:
        return connection()

    made = asyncio.run(make())
    failed: list[BaseException] = []

    def end() -> None:
        try:
            made._disconnected(None, None, None, "gone", None)  # type: ignore[arg-type]
        except RuntimeError as error:
            failed.append(error)

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert not failed
    assert not made.closed.done()
