"""How a device and nRF Cloud come together on a connection: whose it is, which topics it has, and what its shadow says of it. PURE.

Protocol notes, sections 2.2 to 2.5 and 2.7. nRF Cloud ends the connection of a device that subscribes to a topic which is not in its list,
so every topic is made here, from a prefix that is checked; what a shadow says of topics is compared and not followed.

    asking --paired--> paired --another pairing, or none--> (another connection)
    asking --not associated--> waiting --a delta names a pairing--> asking, on the same connection
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent.cloud.dialect import MalformedMessage, Publication
from agent.wire.nrf_mqtt import PREFIX, Association, Delta, PairingState, TransformReply

ASK = (
    'state.{"nrfcloud_mqtt_topic_prefix":desired.nrfcloud_mqtt_topic_prefix,'
    '"pairing":desired.pairing,"control":desired.control}'
)
PAIRED, NOT_ASSOCIATED = "paired", "not_associated"
LOUDEST = 4  # logLvl: 0 none, 1 errors, 2 warnings, 3 information, 4 everything
HOW = (
    "associate this device with your account: `agent onboard nrf-device --self`, "
    "or `agent onboard nrf-associate` with its ownership code"
)
_PREFIX = re.compile(PREFIX, re.ASCII)
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Control:
    """The section of the shadow that the account sets and the device reports."""

    alerts: bool = True
    log_level: int = 0


@dataclass(frozen=True, slots=True)
class About:
    """What the shadow tells of the device: deviceInfo, the firmware types that it takes ([] withdraws them), and the keep-alive."""

    info: Mapping[str, str] = field(default_factory=dict)
    firmware: tuple[str, ...] = ()
    keep_alive: int = 60


@dataclass(frozen=True, slots=True)
class Pairing:
    """A device of an account; `prefix` is `<stage>/<tenant>/`."""

    device: str
    prefix: str

    @property
    def messages(self) -> str:
        return f"{self.prefix}m/d/{self.device}"

    @property
    def d2c(self) -> str:
        return f"{self.messages}/d2c"

    @property
    def bulk(self) -> str:
        return f"{self.messages}/d2c/bulk"

    @property
    def c2d(self) -> str:
        """What is subscribed in place of `…/c2d`: each kind of message has a topic of its own there."""
        return f"{self.messages}/+/r"

    def jobs(self, name: str) -> str:
        """`req`, `rcv` or `update`."""
        return f"{self.prefix}{self.device}/jobs/{name}"


# ---- what is to be done ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    publication: Publication


@dataclass(frozen=True, slots=True)
class Subscribe:
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """Messages may flow."""

    pairing: Pairing


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may flow until the account has the device; why, and what to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class SetControl:
    control: Control


@dataclass(frozen=True, slots=True)
class Leave:
    """End the connection. `anew`: another one is made at once; `forget`: it begins without what the broker keeps for this device."""

    reason: str
    anew: bool = False
    forget: bool = False


Step = Say | Subscribe | Ready | Wait | SetControl | Leave


class Phase(StrEnum):
    ASKING = "asking"
    WAITING = "waiting"
    PAIRED = "paired"


class Conversation:
    """One device's, over all its connections."""

    def __init__(self, device: str, about: About) -> None:
        self.device, self.about = device, about
        self.phase, self.control = Phase.ASKING, Control()
        self.pairing: Pairing | None = None
        shadow = f"{device}/shadow"
        self._ask, self._update = f"{shadow}/get/tf", f"{shadow}/update"
        self._told, self._rejected = f"{shadow}/get/accepted/tf", f"{shadow}/get/rejected"
        self._delta, self._delta_error = f"{shadow}/update/delta/trim", f"{shadow}/update/delta/trim/err"

    @property
    def topics(self) -> tuple[str, ...]:
        """The control topics, which are subscribed before anything is asked."""
        return (self._told, self._rejected, self._delta, self._delta_error)

    def begin(self) -> list[Step]:
        """A connection stands, and the control topics are subscribed."""
        self.phase, self.pairing = Phase.ASKING, None
        return [self._question()]

    def heard(self, topic: str, payload: bytes) -> list[Step]:
        """What follows from a message on a control topic. Raises MalformedMessage."""
        if topic == self._told:
            return self._answered(read(TransformReply, topic, payload))
        if topic == self._delta:
            return self._changed(topic, read(Delta, topic, payload).state)
        if topic == self._delta_error:  # larger than nRF Cloud tells: what matters of it is asked for
            return [self._question()]
        if topic == self._rejected:
            return [Leave("nRF Cloud refuses to tell whose this device is")]
        raise MalformedMessage(f"{topic}: nothing is expected here")

    def shadow(self, reported: Mapping[str, Any], desired: Mapping[str, Any] | None = None) -> Publication:
        """An update of the shadow."""
        state = {"reported": dict(reported)} | ({"desired": dict(desired)} if desired else {})
        payload = json.dumps({"state": state}, separators=(",", ":"), ensure_ascii=False).encode()
        return Publication(self._update, payload)

    def _question(self) -> Say:
        return Say(Publication(self._ask, json.dumps({"t": ASK}).encode()))

    # ---- association ------------------------------------------------------------------------------------------------

    def _answered(self, reply: TransformReply) -> list[Step]:
        if reply.err is not None:
            return [Leave(f"nRF Cloud cannot tell whose this device is: {reply.err} {reply.message[:200]}".rstrip())]
        found = reply.tf or Association.model_validate({})
        try:
            pairing = self._pairing_of(found)
        except ValueError as error:
            if self.phase is Phase.PAIRED:
                return [Leave(str(error), anew=True)]
            self.phase = Phase.WAITING
            return [Wait(f"{error}; onboard the device anew")]
        if self.phase is Phase.PAIRED:
            if pairing == self.pairing:
                return self._controlled(found.control)
            return [Leave("the device's association has changed", anew=True)]
        if pairing is None:
            return self._unassociated()
        self.phase, self.pairing = Phase.PAIRED, pairing
        return self._paired(pairing, found)

    def _pairing_of(self, found: Association) -> Pairing | None:
        """None: nobody has the device. Raises ValueError for a pairing that cannot be nRF Cloud's."""
        if found.prefix is None or found.pairing is None or found.pairing.state != PAIRED:
            return None
        if not _PREFIX.fullmatch(found.prefix):
            raise ValueError("the shadow's topic prefix is not <stage>/<tenant>/")
        pairing = Pairing(self.device, found.prefix)
        told = found.pairing.topics
        c2d = ("", f"{pairing.messages}/c2d", f"{pairing.messages}/c2d/r", pairing.c2d)
        if told is not None and (told.d2c not in ("", pairing.d2c) or told.c2d not in c2d):
            raise ValueError("the shadow's topics are not those of its prefix and this device")
        return pairing

    def _paired(self, pairing: Pairing, found: Association) -> list[Step]:
        topics = {"d2c": pairing.d2c, "c2d": pairing.c2d}
        control, taken_back = self.wished(found.control)
        reported = {
            "pairing": {"state": PAIRED, "topics": topics},
            "nrfcloud_mqtt_topic_prefix": pairing.prefix,
            "connection": {"keepalive": self.about.keep_alive},
            "control": control,
            "device": self.told("MQTT"),
            "hub": None,  # a part of the hub that is no more would stay: the status follows
        }
        desired: dict[str, Any] = {}
        if _c2d(found.pairing) != pairing.c2d:
            desired["pairing"] = {"topics": {"c2d": pairing.c2d}}
        if taken_back:
            desired["control"] = taken_back
        steps: list[Step] = [Say(self.shadow(reported, desired)), Subscribe((pairing.c2d,)), SetControl(self.control)]
        return [*steps, Ready(pairing)]

    def told(self, protocol: str) -> dict[str, Any]:
        """The device section of the shadow."""
        return {
            "deviceInfo": dict(self.about.info),
            # `method` has no word for Ethernet, and Nordic's three do not fit it
            "connectionInfo": {"protocol": protocol},
            "serviceInfo": {"fota_v2": list(self.about.firmware) or None, "ui": None},
        }

    def _unassociated(self) -> list[Step]:
        told = self.phase is Phase.WAITING
        self.phase = Phase.WAITING
        nobody = {
            "pairing": {"state": NOT_ASSOCIATED, "topics": None, "config": None},
            "nrfcloud_mqtt_topic_prefix": None,
            "connection": {"keepalive": None},
            "pairingStatus": None,
            "stage": None,
        }
        said: list[Step] = [] if told else [Say(self.shadow(nobody))]
        return [*said, Wait(f"no account of nRF Cloud has this device: {HOW}")]

    # ---- deltas -----------------------------------------------------------------------------------------------------

    def _changed(self, topic: str, state: Mapping[str, Any]) -> list[Step]:
        if "pairing" in state or "nrfcloud_mqtt_topic_prefix" in state:
            return [self._question()]  # a delta has only what differs, and the answer has all of it
        if "control" in state and self.phase is Phase.PAIRED:
            if not isinstance(state["control"], dict):
                raise MalformedMessage(f"{topic}: control is no object")
            return self._controlled(state["control"])
        return []

    def _controlled(self, wanted: Any) -> list[Step]:
        named = _named(wanted)
        if not named:
            return []
        control, taken_back = self.wished(wanted)
        told = {"control": {name: control[name] for name in named}}
        return [Say(self.shadow(told, {"control": taken_back} if taken_back else None)), SetControl(self.control)]

    def wished(self, wanted: Any) -> tuple[dict[str, Any], dict[str, None]]:
        """Take the account's wishes on: what is reported then, and what of them is taken back from what is desired.

        What is accepted is reported as it is wanted, what is not as it was.
        """
        self.control, rejected = _sorted_out(wanted, self.control)
        control = {"alertsEn": self.control.alerts, "logLvl": self.control.log_level}
        if "memfaultEn" in _named(wanted):
            control["memfaultEn"] = False
        return control, dict.fromkeys(rejected)


def _named(wanted: Any) -> list[str]:
    """The members of a control section that mean something here."""
    return [name for name in ("alertsEn", "logLvl", "memfaultEn") if isinstance(wanted, dict) and name in wanted]


def _sorted_out(wanted: Any, now: Control) -> tuple[Control, list[str]]:
    """What holds after a wish, and the names of what cannot be had. This hub has no Memfault, so that it can only be off."""
    if not isinstance(wanted, dict):
        return now, []
    rejected = []
    alerts, level = wanted.get("alertsEn", now.alerts), wanted.get("logLvl", now.log_level)
    if not isinstance(alerts, bool):
        rejected.append("alertsEn")
        alerts = now.alerts
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= LOUDEST:
        rejected.append("logLvl")
        level = now.log_level
    if wanted.get("memfaultEn", False) is not False:
        rejected.append("memfaultEn")
    return Control(alerts, level), rejected


def _c2d(pairing: PairingState | None) -> str:
    return pairing.topics.c2d if pairing is not None and pairing.topics is not None else ""


def read(model: type[Body], topic: str, payload: bytes) -> Body:
    """Raises MalformedMessage."""
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise MalformedMessage(f"{topic}: {first_wrong(error)}") from None


def first_wrong(error: ValidationError) -> str:
    """The first thing wrong, by its place; the values themselves are a stranger's and stay out of logs."""
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in detail["loc"]) or "message"
    return f"{place}: {detail['msg']}"[:300]
