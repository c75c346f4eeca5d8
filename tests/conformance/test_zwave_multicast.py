"""One action for several devices at once, with S2 and without; the other end of S2 multicast was proved with zwave-js."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import until

from agent.driver import ActsTogether, DeviceUnreachable, DriverError, DriverLost, UnknownDevice
from agent.model import Action
from drivers.zwave.driver import ZwaveDriver
from drivers.zwave.keys import CLASSES, network_keys
from drivers.zwave.settings import ZwaveSettings
from tests.conformance.driver_contract import running
from tests.conformance.zwave_sim_rig import ON_OFF, SimRig, hasten

SECURE = ("left", "right")
SWITCH = {0x25: 2, 0x6C: 1, 0x9F: 1}
ON, OFF = Action("0", ON_OFF, "On"), Action("0", ON_OFF, "Off")


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, "800")
    rig.devices = [{"name": name, "profile": "switch", "node": number} for number, name in enumerate(SECURE, 2)]
    rig.devices += [{"name": name, "profile": "old-switch", "node": number} for number, name in enumerate("ab", 4)]
    for number in (2, 3):
        rig.interviewed(number, SWITCH, security=["S2_AUTHENTICATED"])
        rig.secure(number, [0x25])
    for number in (4, 5):
        rig.interviewed(number, {0x25: 1})
    await rig.start()
    keys = network_keys(rig.secrets, ZwaveSettings(), lambda size: bytes([7]) * size)
    for name in SECURE:
        guard = rig.simulation.network.nodes[name].guard
        guard.restore({one.name: keys[one].hex() for one in CLASSES if one.name == "S2_AUTHENTICATED"})
    yield rig
    await rig.close()


async def together(driver: ZwaveDriver, keys: str, action: Action) -> dict[str, DriverError | None]:
    """What each device said, in the order of their ends."""
    assert isinstance(driver, ActsTogether)
    ended: dict[str, DriverError | None] = {}
    await driver.execute_together(list(keys), action, ended.__setitem__)
    return ended


def states(rig: SimRig) -> list[bool]:
    return [bool(node.root.values["switch"]) for node in rig.simulation.network.nodes.values()]


async def test_all_are_told_at_once_and_each_is_made_sure_of(rig: SimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = rig.driver()
    assert isinstance(driver, ZwaveDriver)
    with pytest.raises(DriverLost):
        await together(driver, "2", ON)
    async with running(driver):
        secured = driver._running._network.messages.secured
        for action, wanted in ((ON, True), (OFF, False)):
            assert await together(driver, "2345", action) == dict.fromkeys("2345")
            assert states(rig) == [wanted] * 4
        frames: list[tuple[int, ...]] = []
        multicast = secured.radio.multicast

        async def counted(nodes: tuple[int, ...], data: bytes) -> bool:
            frames.append(nodes)
            return await multicast(nodes, data)

        async def unheard(*_: object, **__: object) -> None:
            raise DeviceUnreachable("nothing follows up")

        # Members know the state of their group by now: the multicast alone does it.
        monkeypatch.setattr(secured.radio, "multicast", counted)
        monkeypatch.setattr(driver._running, "do", unheard)
        ended = await together(driver, "23459", ON)
        assert frames == [(2, 3), (4, 5)]
        assert all(isinstance(ended[key], DeviceUnreachable) for key in "2345")
        assert isinstance(ended["9"], UnknownDevice)
        await until(lambda: states(rig) == [True] * 4)


async def test_one_that_is_away_does_not_hold_up_the_others(rig: SimRig) -> None:
    driver = rig.driver()
    assert isinstance(driver, ZwaveDriver)
    async with running(driver):
        await rig.control("power", "left", on=False)
        ended = await together(driver, "234", ON)
        assert isinstance(ended["2"], DeviceUnreachable)
        assert (ended["3"], ended["4"]) == (None, None)
        assert states(rig) == [False, True, True, False]
