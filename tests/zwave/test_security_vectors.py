"""Primitives against the numbers of their standards."""

import pytest

from drivers.zwave.security.classes import SecurityError
from drivers.zwave.security.drbg import CtrDrbg
from drivers.zwave.security.primitives import (
    aes_ecb,
    aes_ofb,
    ccm_decrypt,
    ccm_encrypt,
    cmac,
    public_key,
    shared_secret,
)

H = bytes.fromhex
RFC_4493_KEY = H("2b7e151628aed2a6abf7158809cf4f3c")
RFC_4493_MESSAGE = H(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_cmac_of_rfc_4493(length: int, expected: str) -> None:
    assert cmac(RFC_4493_KEY, RFC_4493_MESSAGE[:length]) == H(expected)


def test_block_cipher_of_fips_197() -> None:
    assert aes_ecb(H("000102030405060708090a0b0c0d0e0f"), H("00112233445566778899aabbccddeeff")) == H(
        "69c4e0d86a7b0430d8cdb78070b4c55a"
    )


def test_output_feedback_of_sp_800_38a() -> None:
    """F.4.1, OFB-AES128."""
    iv = H("000102030405060708090a0b0c0d0e0f")
    cipher = H(
        "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed8259740051e9c5fecf64344f7a82260edcc304c6528f659c77866a510d9c1d6ae5e"
    )
    assert aes_ofb(RFC_4493_KEY, iv, RFC_4493_MESSAGE) == cipher
    assert aes_ofb(RFC_4493_KEY, iv, cipher[:20]) == RFC_4493_MESSAGE[:20]


def test_ccm_of_rfc_3610() -> None:
    """Packet vector 1: the same sizes of nonce and tag as in S2."""
    key = H("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf")
    nonce = H("00000003020100a0a1a2a3a4a5")
    head, data = bytes(range(8)), bytes(range(8, 31))
    sealed = H("588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0")
    assert ccm_encrypt(key, nonce, data, head) == sealed
    assert ccm_decrypt(key, nonce, sealed, head) == data
    for wrong in (sealed[:-1] + b"\0", sealed[:7], b""):
        with pytest.raises(SecurityError):
            ccm_decrypt(key, nonce, wrong, head)


def test_x25519_of_rfc_7748() -> None:
    """Section 5.2."""
    scalar = H("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = H("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert shared_secret(scalar, point) == H("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")


def test_a_public_key_of_low_order_is_refused() -> None:
    for wrong in (bytes(32), b"\x01" + bytes(31), bytes(31)):
        with pytest.raises(SecurityError):
            shared_secret(b"\x05" * 32, wrong)
    assert len(public_key(b"\x05" * 32)) == 32


def test_ctr_drbg_of_the_cavp() -> None:
    """CTR_DRBG.rsp, AES-128 no df, without prediction resistance, COUNT = 0: reseeded, two outputs, the second counts."""
    generator = CtrDrbg.instantiate(H("ed1e7f21ef66ea5d8e2a85b9337245445b71d6393a4eecb0e63c193d0f72f9a9"))
    generator.reseed(H("303fb519f0a4e17d6df0b6426aa0ecb2a36079bd48be47ad2a8dbfe48da3efad"))
    generator.generate(64)
    assert generator.generate(64) == H(
        "f80111d08e874672f32f42997133a5210f7a9375e22cea70587f9cfafebe0f6a6aa2eb68e7dd9164536d53fa020fcab20f54caddfab7d6d91e5ffec1dfd8deaa"
    )


def test_looking_ahead_changes_nothing() -> None:
    generator = CtrDrbg.instantiate(bytes(32))
    ahead = generator.copy()
    assert ahead.generate(16) == generator.generate(16)
