"""The driver and simulated devices that lose, double, delay and replay messages, restart, die, answer late, or talk nonsense."""

import random
from contextlib import suppress
from typing import Any

import pytest
from conftest import until

from agent.driver import DeviceUnreachable, DriverError
from agent.model import (
    Action,
    Availability,
    AvailabilityChanged,
    DeviceFound,
    DeviceJoining,
    Discovery,
    Report,
)
from drivers.coap import availability
from tests.conformance.coap_rig import LEVEL, ON_OFF, PSK, TEMPERATURE, CoapRig, Made
from tests.conformance.driver_contract import Watched, command, running, shows

LAMP = {"name": "lamp", "profile": "light"}
HALL = {"name": "hall", "profile": "climate"}
WARM = "/3303/0/5700"


async def joined(rig: CoapRig, watched: Watched, name: str) -> str:
    """The device joins; its key."""
    await watched.driver.discover(Discovery("d1", "COAP", 60, rig.material(name)))
    key = f"127.0.0.1-{rig.port(name)}"
    await watched.wait(DeviceFound, lambda f: f.device.id.key == key)
    return key


def temperature(degrees: float) -> Any:
    return shows(("3303x0", TEMPERATURE, "MeasuredValue", round(degrees * 100)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals come right after Max-Age, and second attempts soon."""
    monkeypatch.setattr(availability, "GRACE", (0.05, 0.1))
    monkeypatch.setattr(availability, "FIRST_PAUSE", 0.2)


async def test_a_device_is_what_it_says(make: Made) -> None:
    rig = await make(HALL)
    async with running(rig.driver()) as watched:
        await joined(rig, watched, "hall")
        found = (await watched.wait(DeviceFound)).device
        assert (found.manufacturer, found.model, found.secure) == ("Tern", "Climate One", False)
        assert found.node_id == f"coap.127.0.0.1-{rig.port('hall')}"
        kinds = {e.device_types[0] for e in found.endpoints}
        assert kinds == {"Temperature Sensor", "Humidity Sensor", "Power Source"}
        await watched.wait(Report, temperature(21.5))
        assert rig.simulation.devices["hall"].observers > 0


async def test_an_observation_is_renewed_after_silence_and_after_a_restart(make: Made, quick: None) -> None:
    rig = await make(HALL, max_age=1)
    hall = rig.simulation.devices["hall"]
    async with running(rig.driver()) as watched:
        await joined(rig, watched, "hall")
        await watched.wait(Report, temperature(21.5))
        hall.restart()  # it has forgotten who observes it, and counts from elsewhere
        hall.resources[WARM].value = 18.0  # nobody is told
        await watched.wait(Report, temperature(18.0), timeout=5)
        await rig.control("set", "hall", path=WARM, value=17.0)
        await watched.wait(Report, temperature(17.0))
        offline = [
            e for e in watched.events if isinstance(e, AvailabilityChanged) and e.availability is Availability.OFFLINE
        ]
        assert offline == []


async def test_a_notification_that_was_overtaken_is_dropped_and_a_replay_too(make: Made) -> None:
    rig = await make(HALL)
    hall = rig.simulation.devices["hall"]
    async with running(rig.driver()) as watched:
        await joined(rig, watched, "hall")
        await watched.wait(Report, temperature(21.5))
        hall._told = 0
        hall.reorder(2)
        for value in (30.0, 31.0):
            await rig.control("set", "hall", path=WARM, value=value)
        await watched.wait(Report, temperature(31.0))
        hall.replay()
        await rig.control("set", "hall", path=WARM, value=32.0)
        await watched.wait(Report, temperature(32.0))
        told = [
            e.properties["MeasuredValue"]
            for e in watched.events
            if isinstance(e, Report) and e.capability == TEMPERATURE
        ]
        assert told == [2150, 3100, 3200]


async def test_replies_from_another_port_are_not_heard(make: Made) -> None:
    rig = await make(HALL)
    async with running(rig.driver()) as watched:
        await joined(rig, watched, "hall")
        await watched.wait(Report, temperature(21.5))
        assert (await rig.control("spoof", "hall", value="99"))["sent"] > 0
        await rig.control("set", "hall", path=WARM, value=22.0)
        await watched.wait(Report, temperature(22.0))
        assert not any(isinstance(e, Report) and 9900 in e.properties.values() for e in watched.events)


async def test_an_end_of_the_session_is_noticed_at_once(make: Made) -> None:
    """A DTLS device says that it ends; what it observed for us is asked for again, long before Max-Age is over."""
    rig = await make({**LAMP, "psk": PSK}, max_age=3600)
    lamp = rig.simulation.devices["lamp"]
    async with running(rig.driver()) as watched:
        await joined(rig, watched, "lamp")
        await watched.wait(Report, shows(("3311x0", LEVEL, "CurrentLevel", 254)))
        assert lamp._door is not None
        for peer, connection in list(lamp._door._sessions.items()):
            connection.shutdown()
            lamp._door._flush(peer)
        lamp.restart()
        lamp.resources["/3311/0/5851"].value = 50.0
        await watched.wait(Report, shows(("3311x0", LEVEL, "CurrentLevel", 127)))


async def test_a_list_of_resources_in_blocks(make: Made) -> None:
    rig = await make({"name": "big", "profile": "big"})
    assert len(rig.simulation.devices["big"].links()) > 2 * 1024
    async with running(rig.driver()) as watched:
        await joined(rig, watched, "big")
        assert len((await watched.wait(DeviceFound)).device.endpoints) == 100
        await until(lambda: len({e.endpoint for e in watched.events if isinstance(e, Report)}) == 100)


async def test_loss_and_duplicates_are_survived(make: Made) -> None:
    rig = await make(LAMP)
    rig.settings |= {"retransmissions": 7, "ack_timeout": 0.05}
    async with running(rig.driver()) as watched:
        key = await joined(rig, watched, "lamp")
        await rig.control("faults", spec="lost=0.25,dup=0.2,late=0.1:0.02", seed=7)
        for on in (True, False) * 2:
            outcome = await watched.driver.execute(
                command(rig, Action("3311x0", ON_OFF, "On" if on else "Off"), key=key)
            )
            assert outcome.succeeded, outcome
            assert rig.simulation.devices["lamp"].resources["/3311/0/5850"].value is on


async def test_a_device_that_thinks_is_waited_for(make: Made) -> None:
    rig = await make({"name": "lamp", "profile": "slow"})
    rig.settings["response_timeout"] = 5.0
    async with running(rig.driver()) as watched:
        key = await joined(rig, watched, "lamp")
        outcome = await watched.driver.execute(command(rig, rig.good, key=key, ttl=0.1))
        assert [r.code for r in outcome.results] == [408]
        assert (await watched.driver.execute(command(rig, rig.good, key=key))).succeeded


async def test_a_dead_device_is_offline_and_back_with_its_values(make: Made, quick: None) -> None:
    rig = await make(LAMP, max_age=1)
    rig.settings["retransmissions"] = 1
    async with running(rig.driver()) as watched:
        key = await joined(rig, watched, "lamp")
        await watched.wait(AvailabilityChanged, lambda a: a.availability is Availability.ONLINE)
        await rig.control("power", on=False)
        before = len(watched.events)
        await watched.wait(AvailabilityChanged, lambda a: a.availability is Availability.OFFLINE, after=before)
        with pytest.raises(DeviceUnreachable):
            await watched.driver.refresh(key)
        rig.simulation.devices["lamp"].resources["/3311/0/5851"].value = 50.0
        before = len(watched.events)
        await rig.control("power", on=True)
        await watched.wait(AvailabilityChanged, lambda a: a.availability is Availability.ONLINE, after=before)
        await watched.wait(Report, shows(("3311x0", LEVEL, "CurrentLevel", 127)), after=before)


async def test_a_command_whose_time_is_over_is_not_carried_out_later(make: Made) -> None:
    rig = await make(LAMP)
    rig.settings |= {"ack_timeout": 0.3, "retransmissions": 4}
    async with running(rig.driver()) as watched:
        key = await joined(rig, watched, "lamp")
        await watched.wait(Report, shows(("3311x0", LEVEL, "CurrentLevel", 254)))
        await rig.control("mute", seconds=0.6)
        outcome = await watched.driver.execute(command(rig, rig.good, key=key, ttl=0.2))
        assert [r.code for r in outcome.results] == [408]
        with suppress(DeviceUnreachable):
            await watched.driver.refresh(key)  # goes on until the device hears again
        assert rig.simulation.devices["lamp"].resources["/3311/0/5850"].value is False


async def test_what_cannot_be_observed_is_read_from_time_to_time(make: Made) -> None:
    rig = await make({"name": "shed", "profile": "shed"})
    rig.settings["poll_interval"] = 1.0
    async with running(rig.driver()) as watched:
        await joined(rig, watched, "shed")
        pressure = ("sensorsxpressure", "matter.PressureMeasurement@1.4", "MeasuredValue")
        await watched.wait(Report, shows((*pressure, 1013)))
        await rig.control("set", "shed", path="/sensors/pressure", value=99000)
        await watched.wait(Report, shows((*pressure, 990)))


async def test_a_set_point_and_a_device_that_refuses(make: Made) -> None:
    rig = await make({"name": "heating", "profile": "heating"})
    thermostat = "matter.Thermostat@1.4"
    async with running(rig.driver()) as watched:
        key = await joined(rig, watched, "heating")
        before = len(watched.events)
        wanted = Action("3308x0", thermostat, "UpdateState", {"OccupiedHeatingSetpoint": 2250})
        assert (await watched.driver.execute(command(rig, wanted, key=key))).succeeded
        await watched.wait(Report, shows(("3308x0", thermostat, "OccupiedHeatingSetpoint", 2250)), after=before)
        hot = Action("3308x0", thermostat, "UpdateState", {"OccupiedHeatingSetpoint": 9000})
        outcome = await watched.driver.execute(command(rig, hot, key=key))
        assert [r.code for r in outcome.results] == [502]
        assert "not within 5 and 30" in outcome.results[0].error
        state = await watched.driver.execute(command(rig, Action("3308x0", thermostat, "ReadState"), key=key))
        assert state.results[0].values == {"OccupiedHeatingSetpoint": 2250}


async def test_toggle_dim_and_the_plug_that_measures(make: Made) -> None:
    rig = await make(LAMP, {"name": "plug", "profile": "plug"})
    async with running(rig.driver()) as watched:
        lamp, plug = await joined(rig, watched, "lamp"), await joined(rig, watched, "plug")
        level = {"Level": 127, "TransitionTime": None, "OptionsMask": 0, "OptionsOverride": 0}
        actions = (Action("3311x0", ON_OFF, "Toggle"), Action("3311x0", LEVEL, "MoveToLevel", level))
        assert (await watched.driver.execute(command(rig, *actions, key=lamp))).succeeded
        await watched.wait(Report, shows(("3311x0", ON_OFF, "OnOff", True)))
        await watched.wait(Report, shows(("3311x0", LEVEL, "CurrentLevel", 127)))
        assert (await watched.driver.execute(command(rig, Action("3312x0", ON_OFF, "On"), key=plug))).succeeded
        await watched.wait(Report, shows(("3312x0", "matter.ElectricalPowerMeasurement@1.4", "ActivePower", 42_000)))


async def test_nonsense_is_survived(make: Made) -> None:
    """Any datagrams from the device's own port, and a list of resources that is none."""
    rig = await make(HALL, {"name": "odd", "profile": "climate"})
    hall, odd = rig.simulation.devices["hall"], rig.simulation.devices["odd"]
    rng = random.Random(1)
    async with running(rig.driver()) as watched:
        await joined(rig, watched, "hall")
        await watched.wait(Report, temperature(21.5))
        to = [addr for addr, _ in hall._seen][-1]
        for addr, data in list(hall._seen):
            for _ in range(20):
                bent = bytearray(data)
                bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
                hall._put(bytes(bent), addr)
        for _ in range(100):
            hall._put(rng.randbytes(rng.randrange(60)), to)
        await rig.control("set", "hall", path=WARM, value=19.0)
        await watched.driver.refresh(f"127.0.0.1-{rig.port('hall')}")
        await watched.wait(Report, temperature(19.0))
        odd.answers = lambda _: b"<"
        odd.resources.clear()
        odd.links = lambda: b"</3303/0/5700>;rt="  # type: ignore[method-assign]
        await watched.driver.discover(Discovery("d2", "COAP", 30, rig.material("odd")))
        failed = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert "no link format" in failed.detail


async def test_a_device_that_never_answers_is_told_at_the_end_of_the_window(make: Made) -> None:
    rig = await make({**LAMP, "pairing": False})
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "COAP", 1, rig.material("lamp")))
        failed = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert "does not answer" in failed.detail


async def test_a_full_disk_is_told_and_the_device_stays(make: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = await make(LAMP)
    async with running(rig.driver()) as watched:
        key = await joined(rig, watched, "lamp")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device", "devices.json")

        monkeypatch.setattr("drivers.coap.book.write_atomic", full)
        for call in (watched.driver.remove(key, force=False), watched.driver.interview(key)):
            with pytest.raises(DriverError, match="No space left"):
                await call
