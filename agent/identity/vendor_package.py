"""A certificate vendor's package: a zip file with a certificate and its private key, behind an address that is good for five minutes.

What the members are called is up to the operator (protocol notes, 7.3, step 4): the pair is found by what it is.
"""

import tempfile
from pathlib import Path

from agent.cloud.rest import Rest
from agent.cloud.rest_request import origin_of
from agent.identity.bulk_archive import ArchiveTroubleError, check_pair, members

LARGEST = 1 << 20  # bytes; a pair has some kilobytes


async def fetch_package(location: str, folder: Path) -> tuple[str, str]:
    """Certificate chain and private key, PEM. `folder` is private and holds it for a moment. Raises RestError, ArchiveTroubleError."""
    origin = origin_of(location)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".package-") as scratch:
        file = Path(scratch) / "package.zip"
        async with Rest(origin) as rest:
            await rest.download(location.removeprefix(origin), file, limit=LARGEST)
        return pair_of(members(file, "the vendor's package"))


def pair_of(found: dict[str, bytes]) -> tuple[str, str]:
    """The certificate and the key that belong together. Raises ArchiveTroubleError."""
    keys = [content for content in found.values() if b"PRIVATE KEY-----" in content]
    chains = [content for content in found.values() if b"-----BEGIN CERTIFICATE-----" in content]
    for chain in chains:
        for key in keys:
            try:
                check_pair(chain, key, "the vendor's package")
            except ArchiveTroubleError:
                continue
            return chain.decode("ascii", "replace"), key.decode("ascii", "replace")
    text = f"of {len(chains)} certificates and {len(keys)} keys no two belong together"
    raise ArchiveTroubleError(text, place="the vendor's package", remedy="have the operator make the package again")
