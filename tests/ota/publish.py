"""Writes agent/schema/ota: the JSON schemas, and test vectors signed with the fixed keys of tests/ota_rig.py.

ECDSA draws a random number for each signature, so that the vectors differ from run to run: they are made anew when the schema changes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import ota_rig as rig

from agent.ota.manifest import Downgrade, Part, Release, schema
from agent.ota.roots import RootDocument
from agent.ota.signatures import Envelope, open_envelope

PLACE = Path(__file__).parents[2] / "agent/schema/ota"
FLOOR = {"number": 6, "epochs": {"agent": 2}, "installed": {"agent": "2.0.5"}, "time": rig.NOW - 30 * rig.DAY}


def vector(data: bytes, result: str, **more: Any) -> dict[str, Any]:
    told = {"now": rig.NOW, "floor": FLOOR, "result": result, **more}
    return {**told, "sha256": hashlib.sha256(open_envelope(data, 65536, "").payload).hexdigest()}


def main() -> None:
    models: dict[str, type[Part]] = {
        "release": Release,
        "root": RootDocument,
        "downgrade": Downgrade,
        "envelope": Envelope,
    }
    (PLACE / "vectors").mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        (PLACE / f"{name}.json").write_text(json.dumps(schema(model), indent=1) + "\n")
    keys = {"roots": ("ed-b", "p-c", "ed-e"), "releases": ("p-r", "ed-s", "p-u")}
    made = {
        "1.root.json": rig.root(),
        "2.root.json": rig.root(2, ("ed-a", "ed-b", "p-c"), **keys),
        "release.json": rig.release(),
        "older-release.json": rig.release(5),
        "expired-release.json": rig.release(8, created="2026-08-01T00:00:00Z", expires="2026-11-30T00:00:00Z"),
        "one-signature.json": rig.release(8, ("p-r",)),
        "revoked-key.json": rig.release(8, ("p-r", "p-t")),
        "other-board.json": rig.release(8, components=[rig.agent(hub={"boards": ["x86_64"]})]),
        "other-product.json": rig.release(8, product="oven"),
        "unknown-field.json": rig.release(8, more=True),
        "downgrade.json": rig.permission(),
    }
    for name, data in made.items():
        (PLACE / "vectors" / name).write_bytes(data)
    confirmed = {**FLOOR, "number": 7}
    expected = {
        "release.json": vector(made["release.json"], "taken"),
        "older-release.json": vector(made["older-release.json"], "taken", floor=confirmed, permission="downgrade.json"),
        **{
            name: vector(made[name], result)
            for name, result in {
                "expired-release.json": "expired",
                "one-signature.json": "too-few-signatures",
                "revoked-key.json": "too-few-signatures",
                "other-board.json": "wrong-hardware",
                "other-product.json": "wrong-product",
                "unknown-field.json": "malformed",
            }.items()
        },
    }
    (PLACE / "vectors/expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
