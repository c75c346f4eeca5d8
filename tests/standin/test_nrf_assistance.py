"""A-GNSS answers and P-GPS files of the stand-in's nRF Cloud, read by their layout and by the algorithm that receivers use."""

import math
import struct
import time
from typing import Any

import pytest
import urllib3
from nrf_location_rig import CELL, PRIVATE_CELL, elements
from nrf_rig import Keys, ask, bulk
from standin_rig import Cloud

pytestmark = pytest.mark.conformance

DEVICE = "tracker-1"
EPHEMERIS = struct.Struct("<BBHHbhibBBHihiiIhIiihhhhhh")
GPS_EPOCH = 315_964_800 - 18


@pytest.fixture(scope="module")
def keys(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    made = Keys(tmp_path_factory.mktemp("keys"), DEVICE)
    assert bulk(cloud, "/devices", f'{DEVICE},,,,"{made.certificate}"\n')["status"] == "SUCCEEDED"
    return made


def elevation(ephemeris: bytes, lat: float, lon: float, second: float) -> float:
    """Degrees above the horizon by the user's algorithm of IS-GPS-200, for an orbit without corrections."""
    values = EPHEMERIS.unpack(ephemeris)
    toe, m0, root = values[10] * 16, values[13] * 2**-31, values[17] * 2**-19
    i0, omega0 = values[18] * 2**-31, values[19] * 2**-31
    u = math.pi * m0 + math.sqrt(3.986005e14) / root**3 * (second - toe)
    node = math.pi * omega0 - 7.2921151467e-5 * second
    x, y, tilt = root**2 * math.cos(u), root**2 * math.sin(u), math.pi * i0
    place = (
        x * math.cos(node) - y * math.cos(tilt) * math.sin(node),
        x * math.sin(node) + y * math.cos(tilt) * math.cos(node),
        y * math.sin(tilt),
    )
    lat, lon = math.radians(lat), math.radians(lon)
    up = (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
    away = [there - 6_371_000 * here for there, here in zip(place, up, strict=True)]
    return math.degrees(math.asin(sum(a * b for a, b in zip(away, up, strict=True)) / math.hypot(*away)))


# ---- A-GNSS ---------------------------------------------------------------------------------------------------------


def test_assistance_comes_in_parts_that_fit_together(cloud: Cloud, keys: Keys) -> None:
    def part(span: str, body: Any = None, method: str = "POST") -> Any:
        return ask(cloud, method, "/location/agnss", keys.token(DEVICE), json=body or {}, headers={"Range": span})

    size = int(part("", method="HEAD").headers["Content-Length"])
    first = part("bytes=0-2199")
    assert (first.status, first.headers["Content-Range"]) == (206, f"bytes 0-2199/{size}")
    assert first.headers["Content-Type"] == "application/octet-stream"
    last = part(f"bytes=2200-{size + 100}")
    assert last.headers["Content-Range"] == f"bytes 2200-{size - 1}/{size}"
    found = elements(first.data + last.data)
    assert list(found) == [1, 2, 3, 4, 6, 7, 9]
    assert (len(found[2]), len(found[3]), [entry[0] for entry in found[2]]) == (32, 32, list(range(1, 33)))
    day, second = struct.unpack_from("<HI", found[7][0])
    assert day * 86400 + second == pytest.approx(time.time() - GPS_EPOCH, abs=60)
    assert found[1][0][-4] == found[1][0][-1] == 18  # leap seconds, now and to come
    assert part("bytes=-4").data == found[9][0]
    for span in ("", "bytes=", "bytes=x-y", "bytes=9-3", f"bytes={size}-"):
        refused = part(span)
        assert (refused.status, refused.json()["code"]) == (416, 41600)
    query = "&".join(f"{name}={value}" for name, value in CELL.items())
    old = ask(
        cloud,
        "GET",
        f"/location/agps?{query}&types=8,9&types=4",
        keys.token(DEVICE),
        headers={"Range": "bytes=0-"},
    )
    assert list(elements(old.data)) == [4, 8, 9]
    assert ask(cloud, "GET", "/location/agps?mcc=x", keys.token(DEVICE)).status == 422


def test_filtered_ephemerides_are_those_above_the_mask(cloud: Cloud, keys: Keys) -> None:
    def asked(**body: Any) -> Any:
        return ask(cloud, "POST", "/location/agnss", keys.token(DEVICE), json=body, headers={"Range": "bytes=0-"})

    now = (time.time() - GPS_EPOCH) % 604_800
    seen = {}
    for mask in (0, 5, 30):
        found = elements(asked(types=[2, 8], filtered=True, mask=mask, **CELL).data)
        seen[mask] = {entry[0] for entry in found.get(2, [])}
        assert all(elevation(entry, 61.4982, 23.761, now) > mask - 1 for entry in found.get(2, []))
        assert len(seen[mask]) <= 16
    everything = elements(asked(types=[2, 12, 11, 13, 5], **CELL).data)
    above = {entry[0] for entry in everything[2] if elevation(entry, 61.4982, 23.761, now) > 6}
    assert above <= seen[5] or len(seen[5]) == 16
    assert seen[30] <= seen[5] <= seen[0]
    assert [entry[0] for entry in everything[12]] == [193, 194, 195, 196]
    (place,) = elements(asked(types=[8], **CELL).data)[8]
    lat, lon = struct.unpack_from("<ii", place)
    assert (lat * 90 / 2**23, lon * 360 / 2**24) == (pytest.approx(61.4982, abs=1e-4), pytest.approx(23.761, abs=1e-4))
    for body in (
        {"types": [10]},
        {"types": []},
        {"types": "x"},
        {"types": [8]},
        {"types": [True]},
        {"filtered": True},
        {"filtered": "yes", **CELL},
        {"filtered": True, "mask": 91, **CELL},
    ):
        assert asked(**body).status == 422, body
    assert asked(types=[8], **PRIVATE_CELL).status == 404


# ---- P-GPS ----------------------------------------------------------------------------------------------------------


def check_predictions(cloud: Cloud, place: dict[str, str], count: int, minutes: int, start: int) -> None:
    url = f"http://{place['host']}/{place['path']}"
    head = urllib3.request("GET", url, headers={"Range": "bytes=0-15"})
    assert (head.status, head.headers["Content-Range"]) == (206, f"bytes 0-15/{16 + 2006 * count}")
    assert struct.unpack("<BBHHHHhi", head.data) == (1, 10, 1, count, 2006, minutes, *divmod(start, 86400))
    for number in (0, count - 1):
        begin = 16 + 2006 * number
        one = urllib3.request("GET", url, headers={"Range": f"bytes={begin}-{begin + 2005}"}).data
        found = elements(b"\1" + one)
        assert {kind: len(entries) for kind, entries in found.items()} == {7: 1, 2: 32}
        day, second = struct.unpack_from("<HI", found[7][0])
        assert day * 86400 + second == start + number * minutes * 60


def test_predictions_are_a_file_with_ranges(cloud: Cloud, keys: Keys) -> None:
    def asked(path: str) -> Any:
        return ask(cloud, "GET", f"/location/{path}", keys.token(DEVICE))

    today = int(time.time() - GPS_EPOCH) // 86400
    custom = "predictionCount=3&predictionIntervalMinutes=120&startGpsTimeOfDaySeconds=3600"
    place = asked(f"pgnss?{custom}&startGpsDay={today + 1}").json()
    check_predictions(cloud, place, 3, 120, (today + 1) * 86400 + 3600)
    name = place["path"].rpartition("/")[2]
    assert name == f"{today + 1}-3600_{today + 1}-18000-120.bin"
    default = asked("pgps").json()
    count, start = 42, int(default["path"].rpartition("/")[2].partition("_")[0].split("-")[1])
    day = int(default["path"].rpartition("/")[2].partition("-")[0])
    check_predictions(cloud, default, count, 240, day * 86400 + start)
    longest = f"predictionCount=84&startGpsDay={today}&startGpsTimeOfDaySeconds=85399"
    check_predictions(cloud, asked(f"pgps?{longest}").json(), 84, 240, today * 86400 + 85399)
    for query in (
        "predictionCount=0",
        "predictionCount=85",
        "predictionCount=1.5",
        "predictionIntervalMinutes=100",
        "predictionIntervalMinutes=130",
        "startGpsTimeOfDaySeconds=86400",
        "startGpsDay=100",
        f"startGpsDay={today + 15}",
        "predictionCount=84&predictionIntervalMinutes=480",
        "predictionCount=x",
    ):
        assert asked(f"pgps?{query}").status == 422, query
