"""The client of nRF Cloud's REST plane against the stand-in: state, messages and location, with tokens of its own key."""

import base64
import struct
import time
from pathlib import Path

import pytest
from nrf_client_rig import Device
from nrf_location_rig import CELL, PRIVATE_CELL, elements
from nrf_rig import Keys, ask, bulk
from rest_rig import Pauses
from standin_rig import Cloud

from agent.cloud.nrf_rest import ConflictError, NrfRest
from agent.cloud.rest import Rest, RestError
from agent.errors import Exit
from agent.wire.nrf import AccessPoint, Assistance, Cell, Predictions, StateChange, Surroundings, WiFi
from agent.wire.nrf import Device as Shown

HUB = "hub-1"
GPS_EPOCH = 315_964_800 - 18


@pytest.fixture(scope="module")
def device(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Device:
    """Onboarded; the key of its tokens is not the certificate's."""
    made = Device(tmp_path_factory.mktemp("keys") / "store", HUB)
    certificate = Keys(tmp_path_factory.mktemp("certificate"), HUB).certificate
    assert bulk(cloud, "/devices", f'{HUB},,,APP|BOOT,"{certificate}"\n')["status"] == "SUCCEEDED"
    assert bulk(cloud, "/devices/public-keys", f'{HUB},"{made.public}"\n')["status"] == "SUCCEEDED"
    return made


def url(cloud: Cloud) -> str:
    return str(cloud.told["nrf"])


# ---- who asks -------------------------------------------------------------------------------------------------------


async def test_a_clock_that_is_wrong_is_put_right_by_the_first_refusal(
    cloud: Cloud, device: Device, tmp_path: Path
) -> None:
    late = Device(tmp_path, HUB)
    late.keys, late.watch.skew = device.keys, -7200.0
    pauses = Pauses()
    async with late.rest(url(cloud), pauses) as rest:
        assert (await NrfRest(rest, HUB).device()).id == HUB
    assert not pauses.waited


async def test_a_clock_that_is_not_trusted_is_told_the_time_by_the_cloud(
    cloud: Cloud, device: Device, tmp_path: Path
) -> None:
    lost = Device(tmp_path, HUB)
    lost.keys, lost.watch.skew, lost.watch.quality = device.keys, -1e9, "estimated"
    async with lost.rest(url(cloud)) as rest:
        assert (await NrfRest(rest, HUB).device()).id == HUB


async def test_a_stranger_is_told_what_to_do(cloud: Cloud, device: Device, tmp_path: Path) -> None:
    stranger = Device(tmp_path, HUB)
    async with stranger.rest(url(cloud)) as rest:
        with pytest.raises(RestError, match="Access denied") as told:
            await NrfRest(rest, HUB).device()
    assert (told.value.status, told.value.code, told.value.exit_code) == (401, "40100", Exit.NOPERM)
    assert "public key" in told.value.remedy
    async with device.rest(url(cloud)) as rest:
        with pytest.raises(RestError) as other:
            await NrfRest(rest, "hub-2").device()
    assert other.value.status == 403


# ---- state and messages ---------------------------------------------------------------------------------------------


async def test_only_what_differs_is_reported(cloud: Cloud, device: Device) -> None:
    wanted = {"device": {"serviceInfo": {"fota_v2": ["APP"]}, "deviceInfo": {"appVersion": "1.0"}}}
    async with device.rest(url(cloud)) as rest:
        nrf = NrfRest(rest, HUB)
        before = await nrf.report({**wanted})
        after = await nrf.device()
        assert after.state.reported["device"] == wanted["device"]
        assert after.meta.version != before.meta.version
        assert (await nrf.report({**wanted})).meta.version == after.meta.version  # nothing was sent
    assert ask(cloud, "GET", f"/devices/{HUB}").json()["firmware"]["supports"] == ["APP"]


async def test_a_change_of_somebody_else_is_read_and_kept(cloud: Cloud, device: Device) -> None:
    async with device.rest(url(cloud)) as rest:
        nrf = NrfRest(rest, HUB)
        seen: list[object] = []

        def change(found: Shown) -> StateChange:
            seen.append(found.state.reported.get("other"))
            if len(seen) < 3:  # while this one thinks, another writes
                ask(cloud, "PATCH", f"/devices/{HUB}/state", json={"reported": {"other": len(seen)}})
            return StateChange(reported={"mine": 1})

        await nrf.change_state(change)
        reported = (await nrf.device()).state.reported
        assert (reported["other"], reported["mine"], seen) == (2, 1, [None, 1, 2])

        def never(_found: Shown) -> StateChange:
            ask(cloud, "PATCH", f"/devices/{HUB}/state", json={"reported": {"other": time.time()}})
            return StateChange(reported={"mine": 2})

        with pytest.raises(ConflictError, match="5 times"):
            await nrf.change_state(never)


async def test_messages_arrive_in_each_form(cloud: Cloud, device: Device) -> None:
    async with device.rest(url(cloud)) as rest:
        nrf = NrfRest(rest, HUB)
        await nrf.send({"appId": "TEMP", "messageType": "DATA", "data": "23.5"})
        await nrf.send_bulk([{"appId": "HUMID"}, {"appId": "LIGHT"}])
        await nrf.send_binary(b"\0\1\2")
    items = ask(cloud, "GET", f"/messages?deviceId={HUB}&pageSort=asc").json()["items"]
    topics = [item["topic"] for item in items]
    assert topics == [f"d/{HUB}/d2c", f"d/{HUB}/d2c/bulk", f"d/{HUB}/d2c/bin"]
    assert base64.b64decode(items[2]["message"]) == b"\0\1\2"


# ---- location -------------------------------------------------------------------------------------------------------


async def test_the_device_is_found_by_what_it_sees(cloud: Cloud, device: Device) -> None:
    points = (
        AccessPoint(mac_address="00-18-39-59-8C-53", signal_strength=-42),
        AccessPoint(mac_address="00:21:55:61:F3:0A"),
    )
    cell = Cell.model_validate(CELL)
    async with device.rest(url(cloud)) as rest:
        nrf = NrfRest(rest, HUB)
        by_cell = await nrf.ground_fix(Surroundings(lte=(cell,)))
        by_wifi = await nrf.ground_fix(Surroundings(lte=(cell,), wifi=WiFi(access_points=points)))
        assert by_cell is not None
        assert by_wifi is not None
        assert (by_cell.fulfilled_with, by_cell.lat, by_cell.uncertainty) == ("SCELL", 61.4982, 1500)
        assert by_wifi.fulfilled_with == "WIFI"
        sure = await nrf.ground_fix(Surroundings(lte=(cell,)), sure=True)
        assert sure is not None
        assert sure.uncertainty > by_cell.uncertainty
        assert await nrf.ground_fix(Surroundings(lte=(cell,)), reply=False) is None
        with pytest.raises(RestError) as told:
            await nrf.ground_fix(Surroundings(lte=(Cell.model_validate(PRIVATE_CELL),)))
    assert (told.value.status, told.value.code) == (404, "40410")


@pytest.mark.parametrize("fragment", [100, 2048, 32_768])
async def test_assistance_data_is_whole_however_it_is_cut(
    cloud: Cloud, device: Device, fragment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cloud.nrf_rest.FRAGMENT", fragment)
    async with device.rest(url(cloud)) as rest:
        found = elements(await NrfRest(rest, HUB).assistance(Assistance(types=(1, 2, 7))))
    assert list(found) == [1, 2, 7]
    assert len(found[2]) == 32
    day, second = struct.unpack_from("<HI", found[7][0])
    assert day * 86400 + second == pytest.approx(time.time() - GPS_EPOCH, abs=60)


async def test_predictions_are_a_file_to_download(cloud: Cloud, device: Device, tmp_path: Path) -> None:
    async with device.rest(url(cloud)) as rest:
        place = await NrfRest(rest, HUB).predictions(Predictions(prediction_count=2))
    async with Rest(f"http://{place.host}") as files:
        found = await files.download(f"/{place.path}", tmp_path / "pgps")
    version, kind, _, count = struct.unpack_from("<BBHH", (tmp_path / "pgps").read_bytes())
    assert (version, kind, count, found.size) == (1, 10, 2, (tmp_path / "pgps").stat().st_size)
