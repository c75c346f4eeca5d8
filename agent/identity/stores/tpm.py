"""Keys of a TPM 2.0: files that only the TPM which made them can use ("TSS2 PRIVATE KEY", draft-bottomley-tpm2-keys). The TPM signs.

TLS reads such a file where this Python's OpenSSL has the provider tpm2: config/openssl-tpm.cnf, named by OPENSSL_CONF before it starts.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from agent.identity.keys import (
    P256,
    P384,
    RSA2048,
    RSA3072,
    KeyTroubleError,
    Subject,
    digest_of,
    key_folder,
    make,
    public_pem,
    refused_to_adopt,
    request,
    rsa_bits,
    there_is_none,
    there_is_one,
)
from agent.identity.stores.facade import EcFacade, RsaFacade, facade
from agent.identity.stores.proof import prove_tls
from agent.identity.stores.provider import TPM2
from agent.identity.stores.tpm_device import GENERATE_TIMEOUT, Tpm
from agent.private_files import PrivateFolder
from agent.secret_store import SecretTroubleError

KINDS = (P256, P384, RSA2048, RSA3072)
_BEGIN, _PUBLIC = b"-----BEGIN TSS2 PRIVATE KEY-----", b"-----BEGIN PUBLIC KEY-----"

Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class TpmKeys:
    """Keys of `tpm` as files of `folder`."""

    def __init__(self, folder: Path, tpm: Tpm) -> None:
        self._files = key_folder(folder, ".tss2")
        self._tpm = tpm
        self._known: dict[bytes, Public] = {}  # content of a file -> its public key
        self._proved: set[bytes] = set()

    def generate(self, name: str, kind: str = P256) -> None:
        if self._files.holds(name):
            raise there_is_one(name, str(self._files.path(name)))
        self._files.write(name, _generate(self._tpm, kind))

    def adopt(self, name: str, pem: str) -> None:  # noqa: ARG002  the protocol's
        raise refused_to_adopt(str(self._files.path(name)))

    def names(self) -> tuple[str, ...]:
        return self._files.list()

    def has(self, name: str) -> bool:
        return self._files.holds(name)

    def public_key(self, name: str) -> str:
        return public_pem(self._public(self._load(name), name))

    def sign(self, name: str, data: bytes) -> bytes:
        content = self._load(name)
        digest = digest_of(self._public(content, name))
        hashed = ("-rawin", "-digest", digest.name if digest else "sha256")
        return self._tpm.openssl("pkeyutl", "-sign", "-inkey", "{0}", *hashed, files=(content,), data=data)

    def csr(self, name: str, subject: Subject) -> str:
        return request(self._facade(name), subject)

    def tls_files(self, name: str, chain: Path) -> tuple[str, str]:
        content, path = self._load(name), str(self._files.path(name))
        if content not in self._proved:
            other = f"check that OPENSSL_CONF or TPM2OPENSSL_TCTI names the TPM {self._tpm.tcti}"
            prove_tls(self._facade(name), path, lambda: TPM2.diagnosis() or other)
            self._proved.add(content)
        return str(chain), path

    def destroy(self, name: str) -> None:
        self._files.remove(name)

    def _facade(self, name: str) -> EcFacade | RsaFacade:
        return facade(self._public(self._load(name), name), lambda data: self.sign(name, data))

    def _load(self, name: str) -> bytes:
        place = str(self._files.path(name))
        content = self._files.read(name)
        if content is None:
            raise there_is_none(name, place)
        if not content.startswith(_BEGIN) or content.count(b"-----BEGIN ") != 1:
            # OpenSSL would take a software key of the same file name, and nobody would notice.
            remedy = "restore it from a backup of the state folder, or destroy it and make another"
            raise KeyTroubleError("the file is no key of a TPM", place=place, remedy=remedy)
        return content

    def _public(self, content: bytes, name: str) -> Public:
        if content not in self._known:
            pem = self._tpm.openssl("pkey", "-in", "{0}", "-pubout", files=(content,))
            key = load_pem_public_key(pem)
            if not isinstance(key, Public):
                place = str(self._files.path(name))
                raise KeyTroubleError("the key is of a kind that is not used here", place=place, remedy="make another")
            self._known = {content: key}
        return self._known[content]


def _generate(tpm: Tpm, kind: str) -> bytes:
    if kind not in KINDS:
        raise KeyTroubleError(f"a TPM makes no key of the kind {kind!r}", remedy=f"one of {', '.join(KINDS)}")
    elliptic = ("EC", "-pkeyopt", f"group:{kind}")
    told = elliptic if kind in (P256, P384) else ("RSA", "-pkeyopt", f"bits:{rsa_bits(kind)}")
    made = tpm.openssl("genpkey", "-algorithm", *told, limit=GENERATE_TIMEOUT)
    if not made.startswith(_BEGIN):
        raise KeyTroubleError(
            "openssl has made a key outside of the TPM, which is not used", remedy="update tpm2-openssl"
        )
    return made


def master(tpm: Tpm, files: PrivateFolder) -> bytes:
    """The 32 bytes that seal the secrets: agreed (ECDH) between a key of the TPM and one whose private half exists no more.

    The file holds the TPM's key and the other's public half: worth nothing without that TPM.
    """
    content = files.read("master")
    if content is None:
        peer = public_pem(make(P256).public_key())
        content = _generate(tpm, P256) + peer.encode()
        files.write("master", content)
    key, _, peer_body = content.partition(_PUBLIC)
    if not key.startswith(_BEGIN) or not peer_body:
        remedy = "restore it from a backup of the state folder, or delete the folder: radios then form new networks"
        raise SecretTroubleError("the secrets' key is damaged", place=str(files.path("master")), remedy=remedy)
    agreed = ("pkeyutl", "-derive", "-inkey", "{0}", "-peerkey", "{1}")
    return tpm.openssl(*agreed, files=(key, _PUBLIC + peer_body))
