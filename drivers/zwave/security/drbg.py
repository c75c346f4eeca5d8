"""CTR_DRBG with AES-128, no derivation function (NIST SP 800-90A, 10.2.1): the nonces of S2. PURE."""

from dataclasses import dataclass, field

from drivers.zwave.security.primitives import BLOCK, aes_ecb, xor

SEED = 2 * BLOCK


@dataclass(slots=True)
class CtrDrbg:
    """The generator's state. Make one with `instantiate`."""

    key: bytes = field(repr=False)
    counter: bytes = field(repr=False)

    @classmethod
    def instantiate(cls, entropy: bytes, personalization: bytes = b"") -> "CtrDrbg":
        """From 32 bytes of entropy and up to 32 of personalization."""
        generator = cls(bytes(BLOCK), bytes(BLOCK))
        generator._update(xor(entropy, personalization.ljust(SEED, b"\0")))
        return generator

    def reseed(self, entropy: bytes, additional: bytes = b"") -> None:
        """Mix 32 bytes of new entropy in."""
        self._update(xor(entropy, additional.ljust(SEED, b"\0")))

    def generate(self, size: int, additional: bytes = b"") -> bytes:
        """The next `size` bytes."""
        extra = additional.ljust(SEED, b"\0")
        if additional:
            self._update(extra)
        out = b"".join(self._block() for _ in range(0, size, BLOCK))[:size]
        self._update(extra)
        return out

    def copy(self) -> "CtrDrbg":
        """The same state, to look ahead."""
        return CtrDrbg(self.key, self.counter)

    def _block(self) -> bytes:
        self.counter = ((int.from_bytes(self.counter, "big") + 1) % (1 << 8 * BLOCK)).to_bytes(BLOCK, "big")
        return aes_ecb(self.key, self.counter)

    def _update(self, data: bytes) -> None:
        mixed = xor(self._block() + self._block(), data)
        self.key, self.counter = mixed[:BLOCK], mixed[BLOCK:]
