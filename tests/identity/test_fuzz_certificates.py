"""Any text as a certificate chain, and real chains with every bit turned: a typed refusal or a chain that fits, and nothing else."""

import base64
import datetime as dt
from pathlib import Path

import pytest
from certificates import Authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from agent.identity.certificates import CertificateTroubleError, Checked, check

# The library takes a serial number of zero today and says that it will not for ever: both are fine here.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
PEM = serialization.Encoding.PEM
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(PEM, form).decode()


def armoured(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


class Made:
    """A leaf with two extensions and its authority, both DER, and the leaf's key."""

    def __init__(self) -> None:
        self.key, above = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.public = public_pem(self.key)
        self.leaf = self._sign("hub-1", self.key, above)
        self.authority = self._sign("authority", above, above)

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, above: ec.EllipticCurvePrivateKey) -> bytes:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("authority"))
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(NOW - dt.timedelta(days=1))
            .not_valid_after(NOW + dt.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
            .add_extension(usage, critical=False)
        )
        return builder.sign(above, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


MADE = Made()


def tried(text: str, now: float | None = NOW.timestamp()) -> Checked | None:
    """None: refused in words."""
    try:
        return check(text, MADE.public, now)
    except CertificateTroubleError:
        return None


def test_no_bit_of_a_leaf_can_be_turned_below_its_authority() -> None:
    """Its authority's signature covers all of it: thousands of mutations, none is taken."""
    above = armoured(MADE.authority)
    assert tried(armoured(MADE.leaf) + above)
    for place in range(len(MADE.leaf) * 8):
        changed = bytearray(MADE.leaf)
        changed[place // 8] ^= 1 << place % 8
        assert tried(armoured(bytes(changed)) + above) is None, f"bit {place}"


def test_a_leaf_alone_with_any_byte_replaced_is_refused_in_words_or_is_for_our_key() -> None:
    """Without its authority nothing vouches for it: also what parses by halves must not raise anything else."""
    taken = 0
    for place in range(len(MADE.leaf)):
        for value in (0x00, 0x7F, 0xFF, MADE.leaf[place] ^ 0x20):
            changed = bytearray(MADE.leaf)
            changed[place] = value
            told = tried(armoured(bytes(changed)), None)
            taken += told is not None
            if told is not None:
                held = x509.load_pem_x509_certificate(told.pem.encode()).public_key()
                assert held == MADE.key.public_key()
    assert taken, "a changed signature is for the broker to see"


def test_parts_that_the_library_reads_late_are_refused_in_words() -> None:
    oid = {"basic": bytes.fromhex("0603551d13"), "usage": bytes.fromhex("0603551d25")}
    curve, other = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030177")
    assert all(part in MADE.leaf for part in (*oid.values(), curve))
    for before, after in ((oid["basic"], oid["usage"]), (oid["usage"], oid["basic"]), (curve, other)):
        assert tried(armoured(MADE.leaf.replace(before, after)), None) is None
    for date in (b"000000000000Z", b"269931000000Z", b"26060100000xZ"):
        start = MADE.leaf.index(b"Z") - 12
        assert tried(armoured(MADE.leaf[:start] + date + MADE.leaf[start + 13 :]), None) is None


@given(st.text() | st.text(alphabet="-BEGIN CERTIFATED\n\\rn=AM/+\"'"))
def test_any_text_is_refused_in_words(text: str) -> None:
    assert tried(text) is None
    assert tried(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n") is None


@given(st.binary(max_size=200))
def test_any_der_is_refused_in_words(der: bytes) -> None:
    assert tried(armoured(der)) is None
    assert tried(armoured(MADE.leaf) + armoured(der)) is None


@pytest.mark.parametrize("text", ["\ud800", "\x00", "x" * 70000, "-----BEGIN CERTIFICATE-----" * 2000])
def test_texts_that_no_file_holds_are_refused_in_words(text: str) -> None:
    assert tried(text) is None


@given(st.data())
def test_a_chain_that_is_cut_doubled_or_shuffled_is_refused_or_whole(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from([MADE.leaf, MADE.authority]), max_size=12))
    told = tried("".join(map(armoured, parts)))
    whole = bool(parts) and len(parts) <= 10 and parts[0] == MADE.leaf and MADE.leaf not in parts[1:]
    assert (told is not None) == whole
    text = armoured(MADE.leaf) + armoured(MADE.authority)
    cut = data.draw(st.integers(0, len(text) - 2))
    told = tried(text[:cut])
    assert told is None or told.common_name == "hub-1"


@pytest.mark.parametrize(
    ("days", "taken"), [(-400, False), (-1.1, False), (-1.0, True), (0, True), (9, True), (9.1, False), (4380, False)]
)
def test_a_certificate_is_good_in_its_time_only(days: float, taken: bool) -> None:  # noqa: FBT001  the outcome
    now = (NOW + dt.timedelta(days=days)).timestamp()
    assert (tried(armoured(MADE.leaf) + armoured(MADE.authority), now) is not None) is taken


def test_a_foreign_and_a_mismatched_one_are_refused(tmp_path: Path) -> None:
    """Of another key; of another authority than the one that is sent along; for a server."""
    certificate, _ = Authority(tmp_path).issue("hub-1")
    assert tried(certificate.read_text(), None) is None
    stranger = Authority(tmp_path, "authority")
    assert tried(armoured(MADE.leaf) + stranger.ca.read_text()) is None
    server = MADE.leaf.replace(bytes.fromhex("2b06010505070302"), bytes.fromhex("2b06010505070301"))
    assert server != MADE.leaf
    with pytest.raises(CertificateTroubleError, match="not for a TLS client"):
        check(armoured(server), MADE.public, None)
