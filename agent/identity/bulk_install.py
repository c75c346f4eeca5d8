"""A pair of a fetched batch as this hub's own certificate and key."""

import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from agent.errors import UsageError
from agent.files import write_atomic
from agent.identity import commands
from agent.identity.bulk_archive import check_pair
from agent.identity.bulk_folder import TaskFolder
from agent.identity.certificates import KEY, check
from agent.identity.hub_identity import FOLDER, HubIdentity
from agent.identity.keys import KeyTroubleError
from agent.identity.onboarding_csv import LONGEST_ROW
from agent.identity.onboarding_sources import read_bounded
from agent.settings import Settings


def install(settings: Settings, folder: TaskFolder, wanted: str) -> dict[str, Any]:
    """Install the pair of a device, or of a certificate id. Returns what `agent identity show` tells. Raises HubError."""
    entry = _chosen(folder.index(), wanted, folder.devices)
    certificate = read_bounded(folder.devices / Path(str(entry["certificate"])).name, LONGEST_ROW)
    key = read_bounded(folder.devices / Path(str(entry["key"])).name, LONGEST_ROW)
    # The thing of a certificate that is registered at its first connection is the device's name in small letters (notes, 7.2).
    install_pair(settings, certificate, key, settings.hub.id or str(entry["device"]).lower())
    return commands.show(settings)


def install_pair(settings: Settings, certificate: bytes, key: bytes, thing: str) -> None:
    """Keep a certificate chain and its private key (PEM) as the hub's own; doing it again changes nothing.

    Raises ArchiveTroubleError and CertificateTroubleError for a pair that does not fit, before anything is written, and KeyTroubleError
    when the hub has another key.
    """
    identity = HubIdentity(settings)
    leaf = check_pair(certificate, key, "the pair")
    public = leaf.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = certificate.decode("ascii")
    check(pem, public.decode(), time.time())
    if not identity.keys.has(KEY):
        folder = settings.hub.state_dir / FOLDER / "keys"
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        write_atomic(folder / f"{KEY}.key", _pkcs8(key))
    elif identity.keys.public_key(KEY) != public.decode():
        remedy = "offboard the hub, or keep its identity; a key is never overwritten"
        raise KeyTroubleError("the hub has a key of its own already", place="identity", remedy=remedy)
    identity.certificates.install(pem, thing, {}, time.time())


def _pkcs8(key: bytes) -> bytes:
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _chosen(index: list[dict[str, Any]], wanted: str, folder: Path) -> dict[str, Any]:
    members = ("device", "certificateId", "fingerprint")
    found = [entry for entry in index if wanted in [entry.get(member) for member in members]]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(entry["certificateId"])[:16] for entry in found[:5])
        text = f"{len(found)} certificates are of {wanted!r}: {ids}"
        raise UsageError(text, place=str(folder), remedy="name the certificate id")
    known = ", ".join(str(entry["device"]) for entry in index[:5]) or "none that was fetched"
    raise UsageError(f"there is no certificate of {wanted!r}", place=str(folder), remedy=f"there is {known}")
