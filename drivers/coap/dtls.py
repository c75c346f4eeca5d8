"""DTLS 1.2 with a pre-shared key, as a client (RFC 7252, 9.1.3.1). OpenSSL sees memory and no socket.

pyOpenSSL declares no PSK callback; the binding below it (cryptography's) has the function of OpenSSL, and this is the only place that
calls it. So DTLS needs no compiler on the hub, which aiocoap's own transport (DTLSSocket, a source distribution) does. The callback is made
by ctypes: cffi's need memory that is writable and executable, which the service is not given (MemoryDenyWriteExecute).
"""

import ctypes
from collections.abc import Callable, Iterator

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from agent.driver import DriverError
from agent.errors import install_extra
from drivers.coap.keys import DtlsKey

MTU = 1232  # bytes: what every IPv6 network carries
DATAGRAM = 16384
TICK = 0.25  # seconds between looks at a handshake that waits
# TLS_PSK_WITH_AES_128_CCM_8 is what every CoAP device must have (RFC 7252, 9.1.3.1); OpenSSL ranks its short tag below level 1.
CIPHERS = b"PSK-AES128-CCM8:PSK-AES128-CCM:PSK-AES128-GCM-SHA256:PSK-AES128-CBC-SHA256:@SECLEVEL=0"
_DTLS_1_2 = 0xFEFD
_HEADER = 13  # bytes of a record's header; its last two are the length of what follows
_PSK_CALLBACK = "unsigned int (*)(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)"
_POINTER, _UNSIGNED = ctypes.c_void_p, ctypes.c_uint
_Callback = ctypes.CFUNCTYPE(_UNSIGNED, _POINTER, _POINTER, _POINTER, _UNSIGNED, _POINTER, _UNSIGNED)


class DtlsEndedError(Exception):
    """The session is over: the peer closed it, or its records make no sense."""


class Session:
    """One session as a client; `open` after the handshake, `answered` once the peer has taken part in it."""

    def __init__(self, key: DtlsKey, write: Callable[[bytes], None], heard: Callable[[bytes], None]) -> None:
        self.open = self.answered = False
        self._write, self._heard = write, heard
        self._context, self._callback = _context(key)  # the callback must live as long as OpenSSL may call it
        self._connection = SSL.Connection(self._context, None)
        self._connection.set_connect_state()
        self._connection.set_ciphertext_mtu(MTU)

    def start(self) -> None:
        """Send the first flight."""
        self.take(b"")

    def send(self, datagram: bytes) -> None:
        """Encrypt and send. Raises DtlsEndedError."""
        try:
            self._connection.send(datagram)
        except SSL.Error as error:
            raise DtlsEndedError(str(error)) from None
        self._flush()

    def take(self, datagram: bytes) -> None:
        """Go on with a datagram of the peer. Raises DtlsEndedError at the end of the session."""
        if datagram:
            self.answered = True
            self._connection.bio_write(datagram)
        try:
            if not self.open:
                self._connection.do_handshake()
                self.open = True
            while True:
                self._heard(self._connection.recv(DATAGRAM))
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise DtlsEndedError(str(error) or type(error).__name__) from None
        finally:
            self._flush()

    def repeat(self) -> None:
        """Send the last flight again when its time has come. Raises DtlsEndedError when it was sent too often."""
        try:
            if self._connection.DTLSv1_handle_timeout():
                self._flush()
        except SSL.Error as error:
            raise DtlsEndedError(str(error)) from None

    def close(self) -> None:
        """Tell the peer that this is the end."""
        if self.open:
            self.open = False
            try:
                self._connection.shutdown()
            except SSL.Error:
                return
            self._flush()

    def _flush(self) -> None:
        for datagram in _datagrams(_leaving(self._connection)):
            self._write(datagram)


def _context(key: DtlsKey) -> tuple[SSL.Context, object]:
    if not getattr(lib, "Cryptography_HAS_PSK", 0):
        raise DriverError("the OpenSSL of this Python has no pre-shared keys", remedy=install_extra("coap"))
    identity, psk = key.identity.encode() + b"\0", bytes.fromhex(key.psk)

    def supply(_ssl: int, _hint: int, into: int, most: int, key_into: int, key_most: int) -> int:
        if len(identity) > most or len(psk) > key_most:
            return 0  # OpenSSL's word for "no key": the handshake fails
        ctypes.memmove(into, identity, len(identity))
        ctypes.memmove(key_into, psk, len(psk))
        return len(psk)

    try:
        callback = _Callback(supply)
    except MemoryError as error:
        remedy = "MemoryDenyWriteExecute=no in a drop-in of the service, or a libffi of 3.4 or later"
        raise DriverError("this system lets no library call back, and so no key be given", remedy=remedy) from error
    pointer = ffi.cast(_PSK_CALLBACK, ctypes.cast(callback, _POINTER).value or 0)
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
    context.set_cipher_list(CIPHERS)
    lib.SSL_CTX_set_psk_client_callback(context._context, pointer)  # noqa: SLF001  see the head of this file
    return context, callback


def _leaving(connection: SSL.Connection) -> bytes:
    """What OpenSSL wants to send."""
    parts = []
    while True:
        try:
            parts.append(connection.bio_read(4 * DATAGRAM))
        except SSL.WantReadError:
            return b"".join(parts)


def _datagrams(stream: bytes) -> Iterator[bytes]:
    """Whole records as datagrams, each as full as the MTU allows."""
    start = end = 0
    while end < len(stream):
        after = end + _HEADER + int.from_bytes(stream[end + 11 : end + _HEADER], "big")
        if after - start > MTU and end > start:
            yield stream[start:end]
            start = end
        end = after
    if start < len(stream):
        yield stream[start:]
