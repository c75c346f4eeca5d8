"""The link key of an install code: AES-MMO hash (Zigbee specification B.1.3). PURE.

Matyas-Meyer-Oseas needs the AES block cipher; the simulator takes it from the `cryptography` package when a device has a code.
"""

BLOCK = 16


def link_key(code: bytes) -> bytes:
    """The preconfigured link key of an install code with its CRC."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415  only with install codes

    def encrypt(key: bytes, block: bytes) -> bytes:
        # One block: the mode has no part in it. The hash is the specification's, not a choice of ours.
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
        return encryptor.update(block) + encryptor.finalize()

    padded = code + b"\x80"
    padded += bytes(-(len(padded) + 2) % BLOCK) + (len(code) * 8).to_bytes(2, "big")
    digest = bytes(BLOCK)
    for start in range(0, len(padded), BLOCK):
        block = padded[start : start + BLOCK]
        digest = bytes(a ^ b for a, b in zip(encrypt(digest, block), block, strict=True))
    return digest
