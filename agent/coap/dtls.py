"""DTLS 1.2 as a client (RFC 6347): sessions over datagrams, and connections that verify a server's certificate. OpenSSL sees memory, no socket.

pyOpenSSL declares no call that has a server's name verified, so the one of the binding below it (cryptography's) is made, here only: then
OpenSSL itself refuses a certificate of another name within the handshake. Connection IDs (RFC 9146) are not in OpenSSL.
"""

from collections.abc import Callable, Iterator
from ipaddress import ip_address

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from agent.errors import ConfigError, UsageError

MTU = 1232  # bytes: what every IPv6 network carries
DATAGRAM = 16384  # bytes; OpenSSL reads a longer one in two, and takes the second for another datagram
TICK = 0.25  # seconds between looks at a handshake that waits
DTLS_1_2 = 0xFEFD
CIPHERS = b"DEFAULT:!kRSA:!PSK:!SRP"  # keys of one session do not open another
_HEADER = 13  # bytes of a record's header; its last two are the length of what follows
_NO_WILDCARD_IN_PARTS = 4  # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: *.example.com, and not www*.example.com


class DtlsEndedError(Exception):
    """The session is over: the peer closed it, its records make no sense, or its certificate was refused."""


class Session:
    """One session as a client; `open` after the handshake, `answered` once the peer has taken part in it."""

    def __init__(
        self, connection: SSL.Connection, write: Callable[[bytes], None], heard: Callable[[bytes], None]
    ) -> None:
        self.open = self.answered = False
        self._write, self._heard = write, heard
        self._connection = connection
        self._connection.set_connect_state()
        self._connection.set_ciphertext_mtu(MTU)

    @property
    def distrust(self) -> str:
        """Why the peer's certificate was refused, in OpenSSL's words; empty where it was not."""
        code = lib.SSL_get_verify_result(self._connection._ssl)  # noqa: SLF001  see the head of this file
        return ffi.string(lib.X509_verify_cert_error_string(code)).decode() if code else ""

    def start(self) -> None:
        """Send the first flight. Raises DtlsEndedError."""
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
        for datagram in datagrams(leaving(self._connection)):
            self._write(datagram)


def client_context(ciphers: bytes) -> SSL.Context:
    """What all sessions as a client have in common."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_min_proto_version(DTLS_1_2)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
    context.set_cipher_list(ciphers)
    return context


def verifying(ca: str) -> SSL.Context:
    """What certificates are verified by: `ca` is a PEM file of authorities, empty for the system's. Raises ConfigError naming the file."""
    context = client_context(CIPHERS)
    context.set_verify(SSL.VERIFY_PEER)  # without a callback: one would need memory that is writable and executable
    try:
        if ca:
            context.load_verify_locations(ca)
        else:
            context.set_default_verify_paths()
    except SSL.Error as error:
        remedy = "check that the file is PEM and readable by the agent's user"
        raise ConfigError("the CA cannot be used", place=ca, remedy=remedy) from error
    return context


def verified(host: str, context: SSL.Context) -> SSL.Connection:
    """A connection that opens only to who proves to be `host`, a name or an address, by `verifying`. Raises UsageError for what is neither."""
    connection = SSL.Connection(context, None)
    parameters = lib.SSL_get0_param(connection._ssl)  # noqa: SLF001  see the head of this file
    lib.X509_VERIFY_PARAM_set_hostflags(parameters, _NO_WILDCARD_IN_PARTS)
    try:
        packed = ip_address(host).packed
    except ValueError:
        name = host.removesuffix(".").encode("idna")
        done = lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
        connection.set_tlsext_host_name(name)
    else:
        done = lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
    if done != 1:
        raise UsageError("OpenSSL cannot verify this name", place=host, remedy="give a host name or an IP address")
    return connection


def leaving(connection: SSL.Connection) -> bytes:
    """What OpenSSL wants to send."""
    parts = []
    while True:
        try:
            parts.append(connection.bio_read(4 * DATAGRAM))
        except SSL.WantReadError:
            return b"".join(parts)


def datagrams(stream: bytes) -> Iterator[bytes]:
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
