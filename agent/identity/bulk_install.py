"""A pair of a fetched batch as this hub's own certificate and key."""

from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.identity import commands
from agent.identity.bulk_archive import check_pair
from agent.identity.bulk_folder import TaskFolder
from agent.identity.hub_identity import HubIdentity
from agent.identity.onboarding_csv import LONGEST_ROW
from agent.identity.onboarding_sources import read_bounded
from agent.identity.pairs import import_pair
from agent.settings import Settings

SOURCE = "bulk certificates"


def install(settings: Settings, folder: TaskFolder, wanted: str) -> dict[str, Any]:
    """Install the pair of a device, or of a certificate id. Returns what `agent identity show` tells. Raises HubError."""
    entry = _chosen(folder.index(), wanted, folder.devices)
    certificate = read_bounded(folder.devices / Path(str(entry["certificate"])).name, LONGEST_ROW)
    key = read_bounded(folder.devices / Path(str(entry["key"])).name, LONGEST_ROW)
    # The thing of a certificate that is registered at its first connection is the device's name in small letters (notes, 7.2).
    check_pair(certificate, key, "the pair")
    thing = settings.hub.id or str(entry["device"]).lower()
    import_pair(HubIdentity(settings).slots, certificate.decode("ascii"), key.decode("ascii"), thing, {}, SOURCE)
    return commands.show(settings)


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
