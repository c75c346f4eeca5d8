import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import zigpy.exceptions
from zigpy.zcl.foundation import Status
from zigpy.zdo.types import Status as ZdoStatus
from zigpy_znp.types import Status as ZnpStatus

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, DriverLost, NotNow, NotSupported
from drivers.zigbee.radio import Link
from drivers.zigbee.requests import Priority, Requests, Undelivered, expect_success


class Radio:
    """The part of zigpy's controller that requests use."""

    def __init__(self) -> None:
        self.priorities: list[int] = []

    @asynccontextmanager
    async def request_priority(self, priority: int) -> AsyncIterator[None]:
        self.priorities.append(priority)
        yield


@pytest.fixture
async def link() -> Link:
    return Link(Radio(), "/dev/ttyUSB0", "znp", asyncio.get_running_loop().create_future())


def failing(error: Exception) -> Any:
    async def request() -> None:
        raise error

    return request


def delivery(status: ZnpStatus) -> Exception:
    return zigpy.exceptions.DeliveryError("failed", status)


@pytest.mark.parametrize(
    ("error", "options", "meaning"),
    [
        (delivery(ZnpStatus.MAC_NO_ACK), {}, Undelivered),
        (delivery(ZnpStatus.NWK_NO_ROUTE), {"repeatable": False}, Undelivered),
        (delivery(ZnpStatus.APS_NO_ACK), {}, DeviceUnreachable),
        (delivery(ZnpStatus.MAC_TRANSACTION_EXPIRED), {"sleepy": True, "repeatable": False}, NotNow),
        (delivery(ZnpStatus.MAC_TRANSACTION_EXPIRED), {}, DeviceUnreachable),
        (delivery(ZnpStatus.APS_NO_ACK), {"sleepy": True}, NotNow),
        (delivery(ZnpStatus.APS_NO_ACK), {"sleepy": True, "repeatable": False}, DeviceUnreachable),
        (TimeoutError(), {}, DeviceUnreachable),
        (TimeoutError(), {"sleepy": True}, NotNow),
        (TimeoutError(), {"sleepy": True, "repeatable": False}, DeviceUnreachable),
        (zigpy.exceptions.ParsingError(), {}, DeviceRefused),
        (zigpy.exceptions.ControllerException("Duplicate request key"), {}, DeviceUnreachable),
        (ConnectionResetError(), {}, DeviceUnreachable),
        (NotSupported("no"), {}, NotSupported),
    ],
)
async def test_what_a_failure_means(
    link: Link, error: Exception, options: dict[str, bool], meaning: type[DriverError]
) -> None:
    with pytest.raises(meaning) as caught:
        await Requests(link).ask(failing(error), limit=1, **options)
    assert type(caught.value) is meaning


async def test_a_bug_stays_a_bug(link: Link) -> None:
    with pytest.raises(AttributeError):
        await Requests(link).ask(failing(AttributeError("'NoneType' object has no attribute 'write'")), limit=1)


async def test_after_the_loss_an_attribute_error_is_the_loss(link: Link) -> None:
    async def request() -> None:
        link.connection_lost(OSError(5, "Input/output error"))
        raise AttributeError("'NoneType' object has no attribute 'write'")

    with pytest.raises(DriverLost, match="Input/output error"):
        await Requests(link).ask(request, limit=1)
    with pytest.raises(DriverLost):
        await Requests(link).ask(request, limit=1)


@pytest.mark.parametrize(("repeatable", "meaning"), [(True, DriverLost), (False, DeviceUnreachable)])
async def test_the_loss_ends_what_is_under_way_at_once(
    link: Link, *, repeatable: bool, meaning: type[DriverError]
) -> None:
    requests = Requests(link)
    begun = asyncio.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(requests.ask(forever, limit=3600, repeatable=repeatable)) for _ in range(3)]
    await begun.wait()
    link.lose("unplugged")
    async with asyncio.timeout(1):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [meaning] * 3


async def test_a_limit_is_kept_and_priorities_reach_the_radio(link: Link) -> None:
    requests = Requests(link)
    with pytest.raises(DeviceUnreachable):
        await requests.ask(asyncio.Event().wait, limit=0.01, priority=Priority.USER)
    with pytest.raises(DeviceUnreachable):
        await requests.ask(asyncio.Event().wait, limit=0.01, priority=Priority.BACKGROUND)
    assert link.app.priorities == [1, -1]


async def test_cancelling_a_request_is_no_failure_of_the_device(link: Link) -> None:
    task = asyncio.create_task(Requests(link).ask(asyncio.Event().wait, limit=10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_statuses_of_the_device() -> None:
    expect_success(Status.SUCCESS, "it")
    with pytest.raises(NotSupported, match="UNSUP_CLUSTER_COMMAND"):
        expect_success(Status.UNSUP_CLUSTER_COMMAND, "it")
    with pytest.raises(DeviceRefused, match="INVALID_VALUE"):
        expect_success(Status.INVALID_VALUE, "it")
    with pytest.raises(DeviceRefused, match="TABLE_FULL"):
        expect_success(ZdoStatus.TABLE_FULL, "it")
    with pytest.raises(DeviceRefused, match="0xEE"):
        expect_success(0xEE, "it")
