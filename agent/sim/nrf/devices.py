"""What a device may do at nRF Cloud, whichever way it asks: who it is, its state, its messages. FOTA is beside it.

A device token is verified as the cloud does: ES256 with the key that the device was onboarded or registered with, `sub`, and `exp`
(protocol notes, section 1).
"""

import base64
from collections.abc import Callable
from typing import Any

import jwt

from agent.clock import iso
from agent.sim.exchange import Query
from agent.sim.iot.shadows import Shadows
from agent.sim.nrf.answers import BAD_REQUEST, DENIED, NOT_ASSOCIATED, NOT_FOUND, NrfError
from agent.sim.nrf.fota import Fota
from agent.sim.nrf.pages import page
from agent.sim.nrf.pairing import desired
from agent.sim.records import Record, Records

ACCOUNT = ""  # who asks with an API key; a device token names its device
GRACE = 1.0  # seconds that a deleted device stays connected to hear of it
FORMS: dict[str, tuple[type, str]] = {  # what follows d/<deviceId>/d2c -> what the message is
    "": (dict, "an object"),
    "/bulk": (list, "a list"),
    "/bin": (str, "a text"),
    "/raw": (str, "a text"),
}


class Devices:
    """Devices in the records of kind `nrf-device`, their uploaded keys in `nrf-key`, their messages in `nrf-message`."""

    def __init__(self, records: Records, now: Callable[[], float], shadows: Shadows, fota: Fota) -> None:
        self._records, self.now, self._shadows = records, now, shadows
        self.fota = fota
        self.transaction = records.transaction
        self.kept: Callable[[str, Any], None] = lambda _device, _message: None  # told of each message

    def who(self, token: str) -> str:
        """The device of a token. Raises NrfError."""
        return token_device(token, self._key)

    def _key(self, device: str) -> str | None:
        return (self._records.get("nrf-key", device) or self._records.get("nrf-device", device) or {}).get("key")

    def find(self, device: str, who: str = ACCOUNT) -> Record:
        """The record of a device that `who` may ask for. Raises NrfError."""
        if who not in (ACCOUNT, device):
            raise NrfError(DENIED, "Access denied: the token is another device's", status=403)
        found = self.known(device)
        if not found["associated"]:
            raise NrfError(NOT_ASSOCIATED, "The device is not associated with your account", status=403)
        return found

    def is_known(self, device: str) -> bool:
        return self._records.get("nrf-device", device) is not None

    def known(self, device: str) -> Record:
        """The record of a device, associated or not. Raises NrfError."""
        found = self._records.get("nrf-device", device)
        if found is None:
            raise NrfError(NOT_FOUND, f"Device {device[:128]} not found")
        return found

    def of_account(self) -> list[Record]:
        """Those that are associated, the oldest first."""
        return [found for found in self._records.all("nrf-device") if found["associated"]]

    def tagged(self, tag: str) -> list[str]:
        """The devices of the account that have a tag."""
        return [
            found["id"] for found in self._records.all("nrf-device") if found["associated"] and tag in found["tags"]
        ]

    def pair(self, device: Record) -> None:
        """Tell a device, in its shadow, whether the account has it."""
        self._shadows.alter(device["id"], "", {"state": {"desired": desired(device)}})

    def forget(self, device: Record) -> None:
        """A device is no more; it stays connected for a moment, to hear of it."""
        self.fota.forsake(device["id"])
        self._shadows.forget(device["id"])
        self._records.delete("nrf-device", device["id"])
        if device["certificate"]:
            leaving = {**device, "associated": False, "until": self.now() + GRACE}
            self._records.put("nrf-leaving", device["certificateId"], leaving)

    def tick(self) -> None:
        """Have the certificates of deleted devices count no more."""
        for device in list(self._records.all("nrf-leaving")):
            if device["until"] <= self.now():
                self._records.delete("nrf-leaving", device["certificateId"])

    def state(self, device: Record) -> dict[str, Any]:
        """State, metadata and version."""
        return self._shadows.document(device["id"], "")

    def delta(self, device: Record) -> dict[str, Any]:
        """What is desired and not reported so."""
        return self._shadows.delta(device["id"], "")

    def change_state(self, device: Record, sections: dict[str, Any]) -> None:
        """Merge `reported`, `desired` or both. Raises NrfError and ShadowError."""
        if not sections.keys() <= {"reported", "desired"} or not sections:
            raise NrfError(BAD_REQUEST, "the body has reported, desired or both")
        self._shadows.alter(device["id"], "", {"state": sections})
        changed = {**device, "version": device["version"] + 1, "updatedAt": iso(self.now())}
        self._records.put("nrf-device", device["id"], changed)

    def keep_message(self, device: Record, form: str, message: Any) -> None:
        """Keep a message; `form` is one of FORMS, octets are kept in base64. Raises NrfError."""
        if isinstance(message, bytes):
            message = base64.b64encode(message).decode()
        if form not in FORMS:
            raise NrfError(BAD_REQUEST, f"there is no d2c{form[:40]}")
        kind, name = FORMS[form]
        if not isinstance(message, kind):
            raise NrfError(BAD_REQUEST, f"the message for d2c{form} is not {name}")
        number, topic = self._records.count("nrf-message") + 1, f"d/{device['id']}/d2c{form}"
        kept = {"deviceId": device["id"], "topic": topic, "message": message, "receivedAt": iso(self.now())}
        self._records.put("nrf-message", f"{number:012}", kept)
        for said in message if isinstance(message, list) else [message]:
            self.kept(device["id"], said)

    def messages(self, query: Query) -> dict[str, Any]:
        """A page of messages, the newest first unless pageSort is asc. Raises NrfError."""
        given = {name: values[0] for name, values in query.items()}
        found = [{"tenantId": "stand-in", **entry} for entry in self._records.all("nrf-message") if _fits(entry, given)]
        if given.get("pageSort") != "asc":
            found.reverse()
        return page(found, query)


def token_device(token: str, key_of: Callable[[str], str | None], *, ends: bool = True) -> str:
    """The device that a token names: as its subject or, when the modem made it, as the UUID of its issuer.

    It is signed with the key of that device. `ends`: the token has to have an end. Raises NrfError.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
        device = str(claims["sub"] if "sub" in claims else str(claims["iss"]).partition(".")[2])
        key = key_of(device)
        if key:
            required = ["exp"] if ends else []
            jwt.decode(token, key, algorithms=["ES256"], options={"require": required, "verify_aud": False})
            return device
    except (jwt.InvalidTokenError, KeyError, UnicodeError, RecursionError) as error:
        raise NrfError(DENIED, f"Access denied: {error}") from None
    raise NrfError(DENIED, "Access denied: no key is known for this device")


def _fits(entry: Record, wanted: dict[str, str]) -> bool:
    message = entry["message"]
    app = message.get("appId") if isinstance(message, dict) else None
    held = {"deviceId": entry["deviceId"], "topic": entry["topic"], "appId": app}
    return all(held[name] == wanted[name] for name in held if name in wanted)
