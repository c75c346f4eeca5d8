"""The attacks that TUF names (specification, section 1.5.2), each refused for its own reason, and the clocks that a hub may have."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

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
    kid,
    permission,
    public,
    release,
    release_document,
    root,
    root_document,
    signed,
    trusted,
)

from agent.clock import ESTIMATED
from agent.ota.documents import DEEPEST, instant
from agent.ota.floor import Floor, merged
from agent.ota.manifest import LARGEST
from agent.ota.refusals import (
    DependencyError,
    EpochError,
    ExpiredError,
    MalformedError,
    MixAndMatchError,
    RefusedError,
    RollbackError,
    RootChainError,
    RootExpiredError,
    SignatureError,
    ThresholdError,
    TimeUnknownError,
    TooLargeError,
    UnsignedError,
    WrongHardwareError,
    WrongProductError,
)
from agent.ota.roots import LARGEST_ROOT, Root, pinned, rotated
from agent.ota.signatures import ROOM, Key, seal, unurl64, url64
from agent.ota.trust import Hub, raised


def clock(year: int) -> float:
    return datetime(year, 6, 1, tzinfo=UTC).timestamp()


class TestArbitrarySoftware:
    def test_unsigned(self) -> None:
        with pytest.raises(UnsignedError):
            check(release(labels=()))

    def test_signed_by_a_stranger(self) -> None:
        with pytest.raises(ThresholdError):
            check(release(labels=("p-x", "ed-y")))

    def test_signed_by_the_keys_of_another_role(self) -> None:
        with pytest.raises(ThresholdError):
            check(release(labels=("ed-a", "ed-b", "p-c", "ed-d")))

    @pytest.mark.parametrize("alg", ["none", "HS256", "EdDSA"])
    def test_with_another_algorithm_than_the_key_has(self, alg: str) -> None:
        header = json.dumps({"alg": alg, "kid": kid("p-r"), "typ": "hub-agent-release+jws"}).encode()
        envelope = json.loads(release())
        envelope["signatures"][0] = f"{url64(header)}..{envelope['signatures'][0].split('..')[1]}"
        with pytest.raises(SignatureError if alg == "EdDSA" else MalformedError):
            check(json.dumps(envelope).encode())

    @pytest.mark.parametrize("member", ["jwk", "jku", "x5c", "crit", "b64"])
    def test_with_a_header_that_brings_its_own_key(self, member: str) -> None:
        header = {"alg": "EdDSA", "kid": kid("ed-s"), "typ": "hub-agent-release+jws", member: "x"}
        envelope = json.loads(release())
        envelope["signatures"][1] = f"{url64(json.dumps(header).encode())}..{'A' * 86}"
        with pytest.raises(MalformedError):
            check(json.dumps(envelope).encode())

    def test_a_document_of_another_type_signed_by_the_right_keys(self) -> None:
        payload = json.dumps(release_document()).encode()
        with pytest.raises(SignatureError, match="root"):
            check(seal(payload, "root", [key("p-r"), key("ed-s")]).encoded())

    def test_of_another_product(self) -> None:
        with pytest.raises(WrongProductError):
            check(release(product="oven"))


class TestRollback:
    def test_to_an_older_release(self) -> None:
        with pytest.raises(RollbackError):
            check(release(5))

    def test_to_an_older_version_under_a_new_number(self) -> None:
        with pytest.raises(RollbackError):
            check(release(8, components=[agent("2.0.4")]))

    def test_below_the_security_epoch(self) -> None:
        with pytest.raises(EpochError):
            check(release(8, components=[agent(security_epoch=1)]))

    def test_to_an_older_root(self) -> None:
        with pytest.raises(RootChainError):
            check(release(), floor=replace(FLOOR, root=2))


class TestFastForward:
    """Who has had the keys signs an absurd number, so that every later release looks old."""

    absurd = 2**53 - 1

    def poisoned(self) -> Floor:
        found = check(release(self.absurd, components=[agent(security_epoch=self.absurd)]))
        return raised(FLOOR, found, trusted())

    def healed(self) -> Root:
        recovery = {"root": 2, "number": 6, "security_epochs": {"agent": 2}}
        return rotated(trusted(), root(2, releases=("p-n", "ed-m", "p-o"), recovery=recovery))

    def test_is_healed_by_a_root_and_by_nothing_else(self) -> None:
        after = self.poisoned()
        for number in (7, self.absurd - 1):
            with pytest.raises(RollbackError):
                check(release(number), floor=after)
        found = check(release(7, ("p-n", "ed-m")), root=self.healed(), floor=after)
        assert raised(after, found, self.healed()) == Floor(
            7,
            found.digest,
            {"agent": 2, "bulb": 0},
            2,
            {"agent": "2.1.0"},
            found.release.created - DAY,
        )

    def test_a_place_that_kept_the_absurd_number_does_not_bring_it_back(self) -> None:
        found = check(release(9, ("p-n", "ed-m")), root=self.healed(), floor=self.poisoned())
        healed = raised(merged([self.poisoned()], self.healed()), found, self.healed())
        both = merged([self.poisoned(), healed], self.healed())
        assert (both.number, both.epochs["agent"], both.digest) == (9, 2, found.digest)

    def test_the_recovery_raises_nothing(self) -> None:
        low = Floor(number=3, digest="a", epochs={"agent": 1})
        assert merged([low], self.healed()) == replace(low, root=2)

    def test_a_date_that_was_signed_with_it_does_not_make_all_that_follows_look_expired(self) -> None:
        nobody_knows = at(NOW, ESTIMATED)
        late = replace(self.poisoned(), time=NOW + 3000 * DAY)
        with pytest.raises(ExpiredError):
            check(release(self.absurd, components=[agent(security_epoch=2**53 - 1)]), floor=late, now=nobody_knows)
        check(release(7, ("p-n", "ed-m")), root=self.healed(), floor=late, now=nobody_knows)

    def test_the_recovery_lowers_nothing_that_was_confirmed_after_it(self) -> None:
        floor = Floor(number=50, epochs={"agent": 9}, root=2)
        assert merged([floor], self.healed()) == replace(floor, time=merged([floor], self.healed()).time)


class TestFreeze:
    def test_an_expired_release(self) -> None:
        with pytest.raises(ExpiredError):
            check(release(expires=instant(int(NOW) - 1)))

    @pytest.mark.parametrize("moment", [at(clock(2020)), at(clock(2020), ESTIMATED), at(0.0), UNKNOWN])
    def test_an_expired_release_while_the_clock_is_set_back(self, moment: object) -> None:
        late = replace(FLOOR, time=NOW + 91 * DAY)
        with pytest.raises(ExpiredError):
            check(release(), floor=late, now=moment)

    def test_an_expired_root(self) -> None:
        with pytest.raises(RootExpiredError):
            check(release(), root=trusted(expires=instant(int(NOW) - 1)))


class TestEndlessData:
    def test_an_envelope_without_end(self) -> None:
        with pytest.raises(TooLargeError):
            check(b"{" + b" " * (LARGEST * 2))

    def test_a_manifest_that_is_too_large_is_not_even_verified(self) -> None:
        payload = b" " * (LARGEST + 1)
        with pytest.raises(TooLargeError):
            check(json.dumps({"payload": base64.b64encode(payload).decode(), "signatures": []}).encode())

    def test_a_root_without_end(self) -> None:
        with pytest.raises(TooLargeError):
            rotated(trusted(), b"x" * (LARGEST_ROOT * 4 // 3 + ROOM + 10))

    def test_signatures_without_end(self) -> None:
        envelope = json.loads(release())
        envelope["signatures"] *= 17
        with pytest.raises(MalformedError):
            check(json.dumps(envelope).encode())

    @pytest.mark.parametrize(
        "data",
        [
            b'{"a":' * 20_000,
            b"[" * 80_000,
            b'"' + rb"\"" * 40_000,
            b'{"payload":' + b"9" * 80_000 + b"}",
            b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1),
        ],
    )
    def test_json_that_costs_a_parser_much(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            check(data)


class TestMixAndMatch:
    def test_two_releases_under_one_number(self) -> None:
        first = check(release())
        after = raised(FLOOR, first, trusted())
        with pytest.raises(MixAndMatchError):
            check(release(components=[agent(options={"other": True}), bulb()]), floor=after)

    def test_the_payload_of_one_with_the_signatures_of_another(self) -> None:
        one, other = json.loads(release(7)), json.loads(release(8))
        with pytest.raises(SignatureError):
            check(json.dumps({**one, "signatures": other["signatures"]}).encode())
        half = [one["signatures"][0], other["signatures"][1]]
        with pytest.raises(SignatureError):
            check(json.dumps({**one, "signatures": half}).encode())

    def test_a_file_of_another_release_under_the_same_name(self) -> None:
        with pytest.raises(MalformedError, match="one name for two files"):
            check(release(components=[agent(), bulb(files=[file(content=b"other")])]))


class TestWrongDevice:
    def test_a_release_for_another_board(self) -> None:
        with pytest.raises(WrongHardwareError):
            check(release(components=[agent()]), hub=Hub(HUB.id, ("raspberrypi,5-model-b",)))


class TestExtraneousDependency:
    def test_on_something_that_nobody_signed(self) -> None:
        with pytest.raises(DependencyError):
            check(release(components=[agent(requires=[{"component": "malware", "minimum": "1"}])]))

    def test_on_a_later_version_than_there_is(self) -> None:
        with pytest.raises(DependencyError):
            check(release(components=[agent(), bulb(requires=[{"component": "agent", "minimum": "3"}])]))


class TestKeyCompromise:
    def test_of_one_release_key(self) -> None:
        with pytest.raises(ThresholdError):
            check(release(labels=("p-r",)))

    def test_of_one_release_key_that_signs_twice(self) -> None:
        envelope = json.loads(release(labels=("p-r",)))
        again = json.loads(release(labels=("p-r",)))  # ECDSA signs differently each time
        with pytest.raises(SignatureError, match="twice"):
            check(json.dumps({**envelope, "signatures": envelope["signatures"] + again["signatures"]}).encode())

    def test_of_one_key_under_two_names(self) -> None:
        document = root_document()
        again = public("ed-s").model_dump(exclude_none=True)
        last = again["x"][-1]
        again["x"] = again["x"][:-1] + chr(ord(last) + 1)  # the same bytes with unused bits set
        document["keys"][kid("ed-s")] = again
        with pytest.raises(MalformedError):
            pinned(signed(document, ("ed-a", "ed-b")))

    def test_of_one_root_key(self) -> None:
        mine = root(2, ("ed-a", "p-evil", "ed-evil"), roots=("p-evil", "ed-evil"), releases=("p-evil", "ed-evil"))
        with pytest.raises(ThresholdError):
            rotated(trusted(), mine)

    def test_of_the_old_root_keys_alone_brings_in_no_keys_that_did_not_agree(self) -> None:
        with pytest.raises(ThresholdError):
            rotated(trusted(), root(2, ("ed-a", "ed-b"), roots=("p-n", "ed-m")))


class TestRevokedKey:
    def test_signs_no_more(self) -> None:
        second = rotated(trusted(), root(2, releases=("p-t", "ed-s"), threshold=2))
        with pytest.raises(ThresholdError):
            check(release(labels=("p-r", "ed-s")), root=second)
        assert check(release(labels=("p-t", "ed-s")), root=second)

    def test_a_release_may_carry_the_signature_of_a_key_that_is_not_known_yet(self) -> None:
        assert len(check(release(labels=("p-r", "ed-s", "p-next"))).signers) == 2


class TestRoots:
    @pytest.mark.parametrize("version", [1, 3])
    def test_follow_each_other_without_a_gap(self, version: int) -> None:
        with pytest.raises(RootChainError):
            rotated(trusted(), root(version))

    def test_are_of_one_product(self) -> None:
        with pytest.raises(WrongProductError):
            rotated(trusted(), root(2, product="oven"))

    def test_an_expired_root_may_still_hand_over(self) -> None:
        """TUF, 5.3.10: only the last one must be valid, or a hub from the shelf could never be updated."""
        assert rotated(trusted(expires=instant(int(NOW) - 1)), root(2)).version == 2

    @pytest.mark.parametrize("labels", [(), ("ed-a",), ("p-r", "ed-s")])
    def test_a_pinned_root_is_whole(self, labels: tuple[str, ...]) -> None:
        with pytest.raises(RefusedError):
            pinned(root(labels=labels))

    def test_name_keys_by_their_thumbprints(self) -> None:
        document = root_document()
        document["keys"][kid("p-r")] = public("p-x").model_dump(exclude_none=True)
        with pytest.raises(MalformedError, match="thumbprint"):
            pinned(signed(document, ("ed-a", "ed-b")))

    def test_recover_from_nothing_that_is_yet_to_come(self) -> None:
        with pytest.raises(MalformedError, match="yet to come"):
            rotated(trusted(), root(2, recovery={"root": 3, "number": 1}))

    @pytest.mark.parametrize(
        "role",
        [
            {"keys": [kid("p-r")], "threshold": 2},
            {"keys": [kid("p-r")] * 2, "threshold": 2},
            {"keys": [kid("p-x")], "threshold": 1},
            {"keys": [kid("p-r")], "threshold": 0},
            {"keys": [], "threshold": 1},
        ],
    )
    def test_have_roles_that_can_be_met(self, role: dict[str, object]) -> None:
        document = root_document()
        document["roles"]["release"] = role
        with pytest.raises(MalformedError):
            pinned(signed(document, ("ed-a", "ed-b")))

    @pytest.mark.parametrize(
        "changes", [{"x": "A" * 43}, {"crv": "Ed25519"}, {"kty": "OKP"}, {"y": None}, {"d": "A" * 43}]
    )
    def test_name_no_key_that_is_none(self, changes: dict[str, object]) -> None:
        document = root_document()
        document["keys"][kid("p-r")] |= changes
        with pytest.raises(MalformedError):
            pinned(signed(document, ("ed-a", "ed-b")))


class TestReplay:
    def test_of_an_old_release(self) -> None:
        with pytest.raises(RollbackError):
            check(release(6), floor=replace(FLOOR, number=7))

    def test_of_a_permission_after_the_next_release(self) -> None:
        with pytest.raises(RefusedError):
            check(release(5), floor=replace(FLOOR, number=8), permission=permission())


class TestClock:
    """A clock that is wrong may keep an update away; it never lets one in that a right clock would not."""

    @pytest.mark.parametrize("year", [1970, 2020])
    @pytest.mark.parametrize("quality", ["trusted", ESTIMATED])
    def test_behind_takes_what_is_newer_and_nothing_else(self, year: int, quality: str) -> None:
        moment = at(clock(year), quality)
        assert check(release(), now=moment).release.number == 7
        with pytest.raises(TimeUnknownError):
            check(release(6, components=[agent()]), now=moment)
        with pytest.raises(RollbackError):
            check(release(5), now=moment)

    @pytest.mark.parametrize("year", [2036, 2038])
    def test_ahead_takes_nothing_if_it_is_believed(self, year: int) -> None:
        with pytest.raises((ExpiredError, RootExpiredError)):
            check(release(), now=at(clock(year)))

    @pytest.mark.parametrize("year", [2036, 2038])
    def test_ahead_does_not_matter_if_it_is_not_believed(self, year: int) -> None:
        assert check(release(), now=at(clock(year), ESTIMATED)).release.number == 7

    def test_the_floor_counts_where_the_clock_does_not(self) -> None:
        with pytest.raises(ExpiredError):
            check(release(), now=UNKNOWN, floor=replace(FLOOR, time=NOW + 91 * DAY))


class TestOneForm:
    """What can be written in two ways is refused in all but one: else one key, or one signature, is two."""

    def test_of_a_signature(self) -> None:
        envelope = json.loads(release())
        for index, text in enumerate(envelope["signatures"]):
            other = [*envelope["signatures"]]
            other[index] = text[:-1] + chr(ord(text[-1]) + 1)  # the same bytes with an unused bit set
            assert unurl64(other[index].split("..")[1]) == unurl64(text.split("..")[1])
            with pytest.raises(MalformedError, match="canonical"):
                check(json.dumps({**envelope, "signatures": other}).encode())

    @pytest.mark.parametrize("payload", ["", "e30", "e31=", "e30=\n", "e-0=", "é"])
    def test_of_a_payload(self, payload: str) -> None:
        with pytest.raises(MalformedError, match="canonical"):
            check(json.dumps({**json.loads(release()), "payload": payload}).encode())

    @pytest.mark.parametrize(
        "changes",
        [
            {"kty": "OKP"},
            {"crv": "Ed25519"},
            {"y": None},
            {"kty": "OKP", "crv": "Ed25519"},
            {"x": "A" * 43},
            {"x": public("p-r").x[:-1] + chr(ord(public("p-r").x[-1]) + 1)},
        ],
    )
    def test_of_a_key(self, changes: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"neither|canonical|no point"):
            Key.model_validate({**public("p-r").model_dump(), **changes})

    @pytest.mark.parametrize(
        "wrong", ["1969-12-31T23:59:59Z", "2027-01-01T00:00:00+00:00", "2027-01-01T00:00:60Z", "2027-01-01", 1]
    )
    def test_of_a_time(self, wrong: object) -> None:
        with pytest.raises(MalformedError, match="created: "):
            check(release(created=wrong))
