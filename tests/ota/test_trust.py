"""A release is taken when everything about it is right, and each thing that is wrong has its own name."""

import json
from dataclasses import replace
from typing import Any

import pytest
from ota_rig import (
    DAY,
    FLOOR,
    HUB,
    NOW,
    UNKNOWN,
    agent,
    at,
    bulb,
    check,
    file,
    key,
    permission,
    release,
    release_document,
    root,
    root_document,
    signed,
    trusted,
)

from agent.ota.documents import instant
from agent.ota.floor import Floor, decoded, encoded, merged
from agent.ota.manifest import File, read_release
from agent.ota.refusals import (
    ContentError,
    DependencyError,
    DowngradeError,
    EpochError,
    ExpiredError,
    MalformedError,
    MixAndMatchError,
    NotYetError,
    RefusedError,
    RollbackError,
    SignatureError,
    ThresholdError,
    TimeUnknownError,
    UnsignedError,
    WrongHardwareError,
    WrongProductError,
    WrongTypeError,
)
from agent.ota.roots import pinned, rotated
from agent.ota.signatures import open_envelope, seal
from agent.ota.trust import ACCEPT, REFUSE, Device, Hub, beside, check_device, next_root, raised, reread, unsigned

BULB = Device("zb.1a62+3f01", "zigbee", 4476, 8454, 12, hardware=2)


def test_a_good_release_is_taken() -> None:
    found = check(release())
    assert (found.release.number, len(found.signers), found.root) == (7, 2, 1)
    assert [c.name for c in found.hub] == ["agent"]
    assert [c.name for c in found.devices] == ["bulb"]
    check_device(found.devices[0], BULB)


def test_the_same_release_is_taken_again_for_devices_that_come_later() -> None:
    first = check(release())
    after = raised(FLOOR, first, trusted())
    assert check(signed(release_document(), ("p-t", "ed-s")), floor=after).digest == first.digest


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (release_document(product="other"), WrongProductError),
        (release_document(expires=instant(int(NOW))), ExpiredError),
        (release_document(not_before=instant(int(NOW) + 1)), NotYetError),
        (release_document(created=instant(int(NOW) + 2 * DAY)), NotYetError),
        (release_document(components=[agent(hub={"boards": ["raspberrypi,5-*", "x86_64"]})]), WrongHardwareError),
        (release_document(components=[agent(requires=[{"component": "agent", "minimum": "2.0.6"}])]), DependencyError),
        (release_document(components=[agent(requires=[{"component": "os", "minimum": "1"}])]), DependencyError),
        (release_document(number=5), RollbackError),
        (release_document(components=[agent("2.0.4")]), RollbackError),
        (release_document(components=[agent(security_epoch=1)]), EpochError),
        (release_document(type="root"), WrongTypeError),
        (release_document(schema_version=2), MalformedError),
        (release_document(more=1), MalformedError),
        (release_document(number=7.0), MalformedError),
        (release_document(number="7"), MalformedError),
        (release_document(number=True), MalformedError),
        (release_document(number=2**53), MalformedError),
        (release_document(components=[]), MalformedError),
        (release_document(components=[agent(), agent()]), MalformedError),
        (release_document(components=[agent(options={"a": "\ud800"})]), MalformedError),
        (release_document(components=[agent(), bulb(files=[file(content=b"other")])]), MalformedError),
        (release_document(components=[agent(files=[{**file(), "chunks": []}])]), MalformedError),
        (release_document(components=[agent(files=[file(), file()])]), MalformedError),
        (release_document(created=instant(int(NOW) + DAY), expires=instant(int(NOW) + DAY)), MalformedError),
        (release_document(not_before=instant(int(NOW) + 90 * DAY)), MalformedError),
        (release_document(components=[agent(files=[file("../etc")])]), MalformedError),
        (release_document(components=[bulb(file_version=None)]), MalformedError),
        (release_document(components=[agent(device=bulb()["device"])]), MalformedError),
        (release_document(components=[agent(version="2.1.x")]), MalformedError),
    ],
)
def test_what_is_wrong_is_named(document: dict[str, Any], reason: type[RefusedError]) -> None:
    with pytest.raises(reason) as caught:
        check(signed(document, ("p-r", "ed-s"), "release"), place="job-1")
    assert type(caught.value) is reason
    assert caught.value.code == reason.code
    assert caught.value.place
    assert caught.value.remedy


def test_every_reason_has_a_code_of_its_own() -> None:
    def below(kind: type[RefusedError]) -> list[type[RefusedError]]:
        return [kind, *(found for one in kind.__subclasses__() for found in below(one))]

    codes = [kind.code for kind in below(RefusedError)]
    assert len(set(codes)) == len(codes)


def test_components_come_in_the_order_of_their_dependencies() -> None:
    os = {**agent("6.2"), "name": "os", "kind": "rauc", "files": [file("os.raucb")]}
    first = agent(requires=[{"component": "os", "minimum": "6.1"}])
    assert [c.name for c in check(release(components=[first, os])).hub] == ["os", "agent"]
    os["requires"] = [{"component": "agent", "minimum": "1"}]
    with pytest.raises(MalformedError, match="require each other"):
        check(release(components=[first, os]))


def test_a_component_for_another_board_satisfies_no_dependency() -> None:
    os = {**agent("6.2", hub={"boards": ["other"]}), "name": "os", "kind": "rauc", "files": [file("os.raucb")]}
    with pytest.raises(DependencyError, match="needs os"):
        check(release(components=[agent(requires=[{"component": "os", "minimum": "6"}]), os]))


def test_a_board_without_a_name_matches_nothing() -> None:
    with pytest.raises(WrongHardwareError):
        check(release(), hub=Hub("hub-1", ()))
    assert check(release(components=[bulb()]), hub=Hub("hub-1", ())).devices


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (replace(BULB, manufacturer=1), WrongHardwareError),
        (replace(BULB, product=1), WrongHardwareError),
        (replace(BULB, kind="zwave"), WrongHardwareError),
        (replace(BULB, target=1), WrongHardwareError),
        (replace(BULB, hardware=4), WrongHardwareError),
        (replace(BULB, hardware=None), WrongHardwareError),
        (replace(BULB, version=9), DependencyError),
        (replace(BULB, version=20), RollbackError),
        (replace(BULB, version=21), RollbackError),
    ],
)
def test_a_device_gets_its_own_image_and_only_a_later_one(device: Device, reason: type[RefusedError]) -> None:
    component = read_release(_payload()).components[1]
    with pytest.raises(reason):
        check_device(component, device)


def _payload() -> bytes:
    return json.dumps(release_document()).encode()


def test_an_image_for_the_hub_goes_to_no_device() -> None:
    with pytest.raises(WrongHardwareError):
        check_device(read_release(_payload()).components[0], BULB)


def test_chunks_are_checked_one_by_one() -> None:
    content = bytes(10_000)
    told = File.model_validate({**file(content=content)})
    assert [told.span(n) for n in range(3)] == [(0, 4096), (4096, 4096), (8192, 1808)]
    told.check(2, content[8192:])
    for index, data in ((0, content[:4095] + b"x"), (2, content[8192:] + b"\0"), (1, b"")):
        with pytest.raises(ContentError):
            told.check(index, data)
    with pytest.raises(IndexError):
        told.check(3, b"")


class TestDowngrade:
    """A planned step back is signed for hubs, for one step, and for a time."""

    floor = replace(FLOOR, number=7, installed={"agent": "2.2.0"})
    older = release(5)

    def test_is_permitted(self) -> None:
        found = check(self.older, floor=self.floor, permission=permission(devices=["*"]))
        assert found.permission is not None
        check_device(found.devices[0], replace(BULB, version=30), found.permission)

    def test_leaves_devices_alone_that_it_does_not_name(self) -> None:
        found = check(self.older, floor=self.floor, permission=permission())
        with pytest.raises(RollbackError):
            check_device(found.devices[0], replace(BULB, version=30), found.permission)

    def test_of_a_later_release_with_older_components_is_permitted_too(self) -> None:
        again, allowed = release(8), permission(to=8, devices=["zb.1a62+3f01"])
        with pytest.raises(RollbackError):
            check(again, floor=self.floor)
        found = check(again, floor=self.floor, permission=allowed)
        check_device(found.devices[0], replace(BULB, version=30), found.permission)
        after = raised(self.floor, found, trusted())
        assert (after.number, after.installed["agent"]) == (8, "2.1.0")
        assert check(again, floor=after, permission=allowed).permission, "for devices that come later"

    def test_of_devices_alone(self) -> None:
        floor = replace(self.floor, installed={"agent": "2.1.0"})
        found = check(release(8), floor=floor, permission=permission(to=8, devices=["*"]))
        check_device(found.devices[0], replace(BULB, version=30), found.permission)
        expired = permission(to=8, devices=["*"], expires=instant(int(NOW) - 1))
        assert check(release(8), floor=floor, permission=expired).permission is None, "the hub itself needs none"

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            (None, RollbackError),
            (permission(hubs=["hub-2"]), DowngradeError),
            (permission(to=4), DowngradeError),
            (permission(**{"from": 8}), DowngradeError),
            (permission(expires=instant(int(NOW) - 1)), ExpiredError),
            (permission(product="other"), WrongProductError),
            (permission(("p-r", "ed-s")), ThresholdError),
            (permission(()), UnsignedError),
            (release(5), SignatureError),
        ],
    )
    def test_is_refused(self, given: bytes | None, reason: type[RefusedError]) -> None:
        with pytest.raises(reason):
            check(self.older, floor=self.floor, permission=given)

    def test_needs_a_time(self) -> None:
        with pytest.raises(TimeUnknownError):
            check(self.older, floor=self.floor, permission=permission(), now=UNKNOWN)

    def test_never_goes_below_the_security_epoch(self) -> None:
        with pytest.raises(EpochError):
            check(self.older, floor=replace(self.floor, epochs={"agent": 3}), permission=permission())

    def test_needs_a_role_in_the_root(self) -> None:
        document = root_document()
        del document["roles"]["downgrade"]
        with pytest.raises(DowngradeError, match="permits no"):
            check(
                self.older,
                floor=self.floor,
                permission=permission(),
                root=pinned(signed(document, ("ed-a", "ed-b"))),
            )

    def test_lowers_no_floor(self) -> None:
        found = check(self.older, floor=self.floor, permission=permission())
        after = raised(self.floor, found, trusted())
        assert (after.number, after.digest, after.installed["agent"]) == (7, "", "2.1.0")


class TestFloor:
    def test_rises_with_what_was_confirmed(self) -> None:
        found = check(release())
        after = raised(Floor(), found, trusted())
        assert after == Floor(
            7, found.digest, {"agent": 2, "bulb": 0}, 1, {"agent": "2.1.0"}, found.release.created - DAY
        )

    def test_of_several_places_the_highest_wins(self) -> None:
        one = Floor(5, "a", {"agent": 3}, 2, {}, NOW)
        other = Floor(6, "", {"agent": 1, "os": 4}, 1, {"agent": "2"}, NOW - 1)
        assert merged([one, other], trusted()) == Floor(6, "", {"agent": 3, "os": 4}, 2, {"agent": "2"}, NOW)
        assert merged([other, Floor(6, "b")], trusted()).digest == "b"
        assert merged([], trusted()) == Floor()

    def test_a_date_that_is_far_ahead_does_not_make_every_later_release_look_expired(self) -> None:
        far = release(created=instant(int(NOW) + 9000 * DAY), expires=instant(int(NOW) + 9100 * DAY))
        found = check(far, now=UNKNOWN, root=trusted(expires=instant(int(NOW) + 9999 * DAY)))
        assert raised(FLOOR, found, trusted()).time == FLOOR.time + 366 * DAY

    def test_is_kept_as_json(self) -> None:
        assert decoded(encoded(FLOOR)) == FLOOR
        for wrong in (b"", b"{}x", b'{"number": "7"}', encoded(FLOOR)[:-9]):
            with pytest.raises(MalformedError):
                decoded(wrong)

    def test_what_is_for_other_boards_is_not_installed_here(self) -> None:
        os = {**agent("6.2", hub={"boards": ["other"]}), "name": "os", "kind": "rauc", "files": [file("os.raucb")]}
        after = raised(Floor(), check(release(components=[agent(), os])), None)
        assert (dict(after.installed), dict(after.epochs)) == ({"agent": "2.1.0"}, {"agent": 2})

    def test_a_trial_that_fails_leaves_the_version_before_installable(self) -> None:
        check(release(8))
        assert check(release(6), floor=replace(FLOOR, number=6)).release.number == 6


def test_without_a_signature_nothing_is_installed_unless_the_owner_says_so_in_those_words() -> None:
    with pytest.raises(UnsignedError) as caught:
        unsigned(REFUSE, "http://host/x.bin")
    assert "x" not in caught.value.message
    unsigned(ACCEPT)
    assert beside("/tmp/x.bin") == "/tmp/x.bin.release.json"
    assert beside("https://h/x.bin?sig=1#f") == "https://h/x.bin.release.json"


@pytest.mark.parametrize(
    ("manifest", "following"),
    [
        ("https://h/hub/release.json?sig=1", "https://h/hub/2.root.json"),
        ("https://h", "https://h/2.root.json"),
        ("/media/usb/release.json", "/media/usb/2.root.json"),
        ("release.json", "2.root.json"),
        ("/media/what?/release.json", "/media/what?/2.root.json"),
    ],
)
def test_the_next_root_lies_beside_the_manifest(manifest: str, following: str) -> None:
    assert next_root(manifest, trusted()) == following


def test_what_was_begun_is_gone_on_with_even_if_it_has_expired() -> None:
    first = check(release())
    again = reread(release(labels=()), first.digest, HUB)
    assert (again.release, again.hub, again.devices) == (first.release, first.hub, first.devices)
    with pytest.raises(MixAndMatchError):
        reread(release(8), first.digest, HUB)


def test_a_root_follows_a_root() -> None:
    second = root(2, ("ed-a", "ed-b", "p-e"), roots=("ed-b", "p-c", "p-e"))
    third = root(3, ("p-c", "p-e"), roots=("p-c", "p-e"))
    assert rotated(rotated(trusted(), second), third).version == 3


def test_a_signature_can_be_added_later() -> None:
    payload = signed(release_document(), ("p-r",))
    with pytest.raises(ThresholdError):
        check(payload)
    opened = open_envelope(payload, 65536, "")
    assert len(check(seal(opened.payload, "release", [key("ed-s")], opened.signatures).encoded()).signers) == 2


def test_this_hub_is_told_in_the_error() -> None:
    with pytest.raises(WrongHardwareError, match=HUB.boards[0]):
        check(release(components=[agent(hub={"boards": ["x"]})]), now=at())
