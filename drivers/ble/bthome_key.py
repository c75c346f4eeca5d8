"""The encryption of BTHome v2: AES-128-CCM with a MIC of 4 octets (https://bthome.io/encryption).

The nonce is the address, the UUID, device info and counter; each packet's counter is higher than that of the one before.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from drivers.ble.bthome import OVERHEAD, Decrypt

KEY_SIZE, MIC_SIZE = 16, 4
UUID = bytes.fromhex("d2fc")


def nonce(address: str, info: bytes, counter: bytes) -> bytes:
    return bytes.fromhex(address.replace(":", "")) + UUID + info + counter


def opener(key: bytes, address: str) -> Decrypt:
    """What opens the service data of the device at `address`."""
    cipher = AESCCM(key, tag_length=MIC_SIZE)

    def decrypt(data: bytes) -> bytes | None:
        if len(data) < OVERHEAD:
            return None
        info, sealed, counter, mic = data[:1], data[1:-8], data[-8:-4], data[-4:]
        try:
            return info + cipher.decrypt(nonce(address, info, counter), sealed + mic, None)
        except InvalidTag:
            return None

    return decrypt
