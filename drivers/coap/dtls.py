"""The DTLS client's pre-shared key (RFC 7252, 9.1.3.1).

pyOpenSSL declares no PSK callback; the binding below it (cryptography's) has the function of OpenSSL, and this is the only place that
calls it. So DTLS needs no compiler on the hub, which aiocoap's own transport (DTLSSocket, a source distribution) does. The callback is made
by ctypes: cffi's need memory that is writable and executable, which the service is not given (MemoryDenyWriteExecute).
"""

import ctypes

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from agent.coap.dtls import client_context
from agent.driver import DriverError
from agent.errors import install_extra
from drivers.coap.keys import DtlsKey

# TLS_PSK_WITH_AES_128_CCM_8 is what every CoAP device must have (RFC 7252, 9.1.3.1); OpenSSL ranks its short tag below level 1.
CIPHERS = b"PSK-AES128-CCM8:PSK-AES128-CCM:PSK-AES128-GCM-SHA256:PSK-AES128-CBC-SHA256:@SECLEVEL=0"
_PSK_CALLBACK = "unsigned int (*)(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)"
_POINTER, _UNSIGNED = ctypes.c_void_p, ctypes.c_uint
_Callback = ctypes.CFUNCTYPE(_UNSIGNED, _POINTER, _POINTER, _POINTER, _UNSIGNED, _POINTER, _UNSIGNED)


def keyed(key: DtlsKey) -> SSL.Connection:
    """A connection that opens only to who has the key. Raises DriverError."""
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
    context = client_context(CIPHERS)
    context.set_app_data(callback)  # it must live as long as OpenSSL may call it
    lib.SSL_CTX_set_psk_client_callback(context._context, pointer)  # noqa: SLF001  see the head of this file
    return SSL.Connection(context, None)
