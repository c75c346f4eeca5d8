"""The provisioning service: devices that are claimed, the commands that each is to carry out, and rules that add some. PURE.

Owner plane: protocol notes, section 6.4, nrfcloud-utils' `nrf_cloud_diap`, and the service's guides. Device plane: the SDK's
`nrf_provisioning_cbor.cddl`. How a request becomes an AT command is not published: it is derived from the commands %KEYGEN and %CMNG of
the modem. So are the names of the states after IN_PROGRESS, and that what has failed holds up what comes after it.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agent.clock import iso
from agent.sim.authority import p256_key_of_request
from agent.sim.nrf import cbor
from agent.sim.nrf.answers import BAD_REQUEST, DENIED, INVALID, NOT_FOUND, NrfError
from agent.sim.nrf.identities import Identities
from agent.sim.records import Record, Records

COMMANDS = 20  # of one device
RECEIVED = 8192  # bytes of commands that a device takes, when it names no other number
AT, CONFIGURATION, FINISHED = range(3)  # kinds of commands
FAILED, DONE, CONFIGURED, ENDED = range(99, 103)  # and of responses
PENDING, IN_PROGRESS, SUCCEEDED = "PENDING", "IN_PROGRESS", "SUCCEEDED"
CLAIMED = 40900
SECURITY_TAGS = 2**31
_SIZES = {"secTag": 0, "content": 4096, "attributes": 1024, "keyUsage": 9, "password": 256}  # characters of a text
_REQUESTS: dict[str, tuple[str, str, tuple[str, ...]]] = {  # -> AT command, its parameters, the members that it needs
    "clientPrivateKeyGeneration": ("%KEYGEN", "{secTag},2,1", ("secTag",)),
    "cloudAccessKeyGeneration": ("%KEYGEN", "{secTag},2,0", ("secTag",)),
    "certificateSigningRequest": (
        "%KEYGEN",
        '{secTag},2,0,"{attributes}","{keyUsage}"',
        ("secTag", "attributes", "keyUsage"),
    ),
    "serverCertificate": ("%CMNG", '0,{secTag},0,"{content}"', ("secTag", "content")),
    "clientCertificate": ("%CMNG", '0,{secTag},1,"{content}"', ("secTag", "content")),
    "clientPrivateKey": ("%CMNG", '0,{secTag},2,"{content}"', ("secTag", "content")),
}

Body = dict[str, Any]


class Provisioning:
    """Claims in the records of kind `nrf-claim`, commands in `nrf-command`, rules in `nrf-rule`, tags in `nrf-provisioning-tag`.

    `onboard(device, public key)` gives a device of the account the key that it has made for the cloud; `forget(device)` takes the device
    and its key from the account.
    """

    def __init__(
        self,
        records: Records,
        now: Callable[[], float],
        identities: Identities,
        onboard: Callable[[str, str], None],
        forget: Callable[[str], None],
    ) -> None:
        self._records, self._now, self._identities = records, now, identities
        self._onboard, self._forget = onboard, forget

    # ---- claims -----------------------------------------------------------------------------------------------------

    def claim(self, token: str, tags: Any, *, dry: bool = False) -> Body:
        """Claim the device of an attestation token. Raises NrfError."""
        found = self._identities.attested(token)
        if not isinstance(tags, list) or not all(isinstance(tag, str) and 0 < len(tag) <= 256 for tag in tags):  # noqa: PLR2004
            raise NrfError(INVALID, "tags is a list of texts")
        if self._records.get("nrf-claim", found.device) is not None:
            raise NrfError(CLAIMED, "the device is claimed already")
        # nrfcloud-utils puts all tags of its option into one text
        tags = [name for tag in tags for name in tag.split(",")]
        made: Record = {
            "id": found.device,
            "deviceType": found.kind,
            "firmwareId": found.firmware,
            "ownershipStatus": "IDENTIFIED",
            "tags": tags,
            "status": "READY",
            "claimedAt": iso(self._now()),
            "rules": [],
        }
        if not dry:
            self._records.put("nrf-claim", found.device, made)
        return shown(made)

    def claims(self) -> Iterable[Body]:
        return map(shown, self._records.all("nrf-claim"))

    def claimed(self, device: str) -> Record:
        """Raises NrfError."""
        found = self._records.get("nrf-claim", device)
        if found is None:
            raise NrfError(NOT_FOUND, f"{device[:100]} is not claimed")
        return found

    def unclaim(self, device: str) -> None:
        """Give a device up, with its commands and its place in the account. Raises NrfError."""
        self.claimed(device)
        for command in list(self._records.all("nrf-command", claimId=device)):
            self._records.delete("nrf-command", command["id"])
        self._records.delete("nrf-claim", device)
        self._forget(device)

    # ---- commands ---------------------------------------------------------------------------------------------------

    def add(self, device: str, body: Body) -> Body:
        """Queue a command. Raises NrfError."""
        self.claimed(device)
        kind = _checked(body.get("request"))
        if self._room(device) < 1:
            raise NrfError(INVALID, f"a device has {COMMANDS} commands at most")
        made: Record = {
            "id": str(uuid.uuid4()),
            "claimId": device,
            "description": str(body.get("description", ""))[:1024],
            "request": body["request"],
            "kind": kind,
            "status": PENDING,
            "createdAt": iso(self._now()),
        }
        self._records.put("nrf-command", made["id"], made)
        return shown(made)

    def commands(self, device: str) -> Iterable[Body]:
        self.claimed(device)
        return map(shown, self._records.all("nrf-command", claimId=device))

    def command(self, device: str, identifier: str) -> Record:
        """Raises NrfError."""
        found = self._records.get("nrf-command", identifier)
        if found is None or found["claimId"] != device:
            raise NrfError(NOT_FOUND, "no such command")
        return found

    def discard(self, device: str, identifier: str) -> None:
        """Raises NrfError."""
        self._records.delete("nrf-command", self.command(device, identifier)["id"])

    # ---- rules and tags ---------------------------------------------------------------------------------------------

    def add_rule(self, body: Body) -> Body:
        """A rule adds its commands to the devices with its tags, when they next ask. Raises NrfError."""
        commands, tags = body.get("commands"), body.get("tags", [])
        if not isinstance(commands, list) or not 1 <= len(commands) <= COMMANDS:
            raise NrfError(INVALID, f"a rule has 1 to {COMMANDS} commands")
        if not isinstance(tags, list) or not isinstance(body.get("name"), str):
            raise NrfError(INVALID, "a rule has a name and a list of tags")
        for command in commands:
            _checked(command.get("request") if isinstance(command, dict) else None)
        made = {"active": True, **body, "id": str(uuid.uuid4()), "tags": tags, "createdAt": iso(self._now())}
        self._records.put("nrf-rule", made["id"], made)
        return made

    def rules(self) -> Iterable[Body]:
        return self._records.all("nrf-rule")

    def remove_rule(self, identifier: str) -> None:
        """Raises NrfError."""
        if not self._records.delete("nrf-rule", identifier):
            raise NrfError(NOT_FOUND, "no such rule")

    def add_tag(self, body: Body) -> Body:
        """Raises NrfError."""
        if not isinstance(body.get("tag"), str):
            raise NrfError(INVALID, "tag is a text")
        if self._records.get("nrf-provisioning-tag", body["tag"]) is not None:
            raise NrfError(CLAIMED, "the tag is there already")
        made = {"tag": body["tag"], "description": str(body.get("description", ""))}
        self._records.put("nrf-provisioning-tag", body["tag"], made)
        return made

    def tags(self) -> Iterable[Body]:
        return self._records.all("nrf-provisioning-tag")

    # ---- what devices ask -------------------------------------------------------------------------------------------

    def fetch(self, device: str, query: Mapping[str, str]) -> bytes:
        """The commands after `after`, CBOR: `limit` at most, in `rxMaxSize` bytes. Empty when there are none. Raises NrfError."""
        claim = self._records.get("nrf-claim", device)
        if claim is None:
            raise NrfError(DENIED, "the device is not claimed", status=403)
        limit, size = _number(query, "limit", COMMANDS), _number(query, "rxMaxSize", RECEIVED)
        self._apply_rules(claim)
        waiting = list(self._records.all("nrf-command", claimId=device))
        places = [place for place, command in enumerate(waiting) if command["id"] == query.get("after")]
        given: list[Record] = []
        for command in waiting[places[0] + 1 if places else 0 :]:
            if command["status"] == "FAILED" or len(given) == limit:
                break
            if command["status"] == SUCCEEDED:
                continue
            if len(cbor.dumps([_told(entry) for entry in (*given, command)])) > size:
                break
            given.append(command)
        for command in given:
            self._records.put("nrf-command", command["id"], {**command, "status": IN_PROGRESS})
        return cbor.dumps([_told(command) for command in given]) if given else b""

    def _apply_rules(self, claim: Record) -> None:
        """Add the commands of rules for this device; those of which not all have room wait for it."""
        for rule in list(self._records.all("nrf-rule")):
            new = (
                rule["active"]
                and rule["id"] not in claim["rules"]
                and any(tag in claim["tags"] for tag in rule["tags"])
            )
            if new and self._room(claim["id"]) >= len(rule["commands"]):
                claim["rules"].append(rule["id"])
                self._records.put("nrf-claim", claim["id"], claim)
                for command in rule["commands"]:
                    self.add(claim["id"], command)

    def _room(self, device: str) -> int:
        return COMMANDS - sum(1 for _ in self._records.all("nrf-command", claimId=device))

    def respond(self, device: str, body: bytes) -> None:
        """Take a device's responses. Raises NrfError, and then takes none of them."""
        rows = cbor.loads(body)
        if not isinstance(rows, list) or not rows:
            raise NrfError(BAD_REQUEST, "responses are a list")
        changed = [self._response(device, row) for row in rows]
        for command in changed:
            self._records.put("nrf-command", command["id"], command)
        if any(command["status"] == "FAILED" for command in changed):
            for command in list(self._records.all("nrf-command", claimId=device)):
                if command["status"] == IN_PROGRESS:  # the device did not come to it
                    self._records.put("nrf-command", command["id"], {**command, "status": PENDING})
        if any(command["kind"] == "finished" for command in changed):
            self._records.put("nrf-claim", device, {**self.claimed(device), "status": "FINISHED"})

    def _response(self, device: str, row: Any) -> Record:
        match row:
            case [str(identifier), int(kind), *rest]:
                command = self.command(device, identifier)
            case _:
                raise NrfError(BAD_REQUEST, "a response is [correlation, kind, …]")
        done = {**command, "completedAt": iso(self._now())}
        expected = {"finished": ENDED, "config": CONFIGURED}.get(command["kind"], DONE)
        match kind, rest:
            case (99, [int(error), str(text)]):
                return {**done, "status": "FAILED", "response": {"error": {"cmeError": error, "message": text}}}
            case (100, [str(text)]) if expected == DONE:
                return {
                    **done,
                    "status": SUCCEEDED,
                    "response": {command["kind"]: self._taken(device, command["kind"], text)},
                }
            case (101 | 102, []) if kind == expected:
                return {**done, "status": SUCCEEDED, "response": {command["kind"]: {}}}
        raise NrfError(BAD_REQUEST, f"this is no response to {command['kind']}")

    def _taken(self, device: str, kind: str, text: str) -> Body:
        """What the owner sees of a modem's answer; a key for the cloud is taken, when the modem has signed that it made it."""
        said = text.partition('"')[2].partition('"')[0] if "%KEYGEN" in text else text
        if kind != "cloudAccessKeyGeneration":
            return {"csr": said} if kind == "certificateSigningRequest" else {"message": said}
        try:
            self._onboard(device, p256_key_of_request(self._identities.made_key(device, said)))
        except ValueError as error:
            raise NrfError(INVALID, f"the CSR is none: {error}") from None
        return {"csr": said}


def shown(entry: Record) -> Body:
    """What the owner sees of a claim or a command."""
    return {name: value for name, value in entry.items() if name not in ("claimId", "kind", "rules")}


def _checked(request: Any) -> str:
    """The kind of a request. Raises NrfError."""
    match request:
        case {**one} if len(one) == 1:
            ((kind, members),) = one.items()
        case _:
            raise NrfError(INVALID, "request is an object with the one command that it is")
    if not isinstance(members, dict):
        raise NrfError(INVALID, f"{kind} is an object")
    if kind == "finished":
        return str(kind)
    if kind == "config":
        if not all(isinstance(value, str) for value in members.values()) or not 0 < len(members) <= 10:  # noqa: PLR2004
            raise NrfError(INVALID, "config has 1 to 10 texts")
        return str(kind)
    if kind not in _REQUESTS:
        raise NrfError(INVALID, f"a command is one of finished, config, {', '.join(_REQUESTS)}")
    for name in _REQUESTS[kind][2]:
        value, size = members.get(name), _SIZES[name]
        if size and not (isinstance(value, str) and len(value) <= size and '"' not in value):
            raise NrfError(INVALID, f"{kind}: {name} is a text of {size} characters at most, without quotation marks")
        if not size and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SECURITY_TAGS):
            raise NrfError(INVALID, f"{kind}: {name} is a security tag")
    return str(kind)


def _told(command: Record) -> list[Any]:
    """A command as a device gets it."""
    kind, members = command["kind"], command["request"][command["kind"]]
    if kind == "finished":
        return [command["id"], FINISHED]
    if kind == "config":
        return [command["id"], CONFIGURATION, members]
    name, form, needed = _REQUESTS[kind]
    return [command["id"], AT, name, form.format(**{member: members[member] for member in needed}), []]


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if text and (not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**31):
        raise NrfError(BAD_REQUEST, f"{name} is a number")
    return int(text) if text else default
