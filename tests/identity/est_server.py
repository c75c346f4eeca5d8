"""An EST server (RFC 7030) for tests: the standard library's HTTPS, and OpenSSL as the authority that signs and packs."""

import base64
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from certificates import Authority


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


class EstAuthority:
    """`days`: life of what it issues; `pending`: answers with 202 before a certificate; `garbage`: an answer instead of one."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder, self.authority = folder, authority
        self.days, self.pending, self.garbage = 30, 0, b""
        self.status = 200
        self.asked: list[tuple[str, str, str]] = []  # operation, authorization, subject of the client's certificate
        self.subjects: list[str] = []
        certificate, key = authority.issue("est")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        est = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = est.answer(self.path, self.headers.get("Authorization", ""), self.peer(), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
                self.send_header("Content-Length", str(len(answer)))
                if status == 202:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(answer)

            def peer(self) -> str:
                held = self.connection.getpeercert()  # type: ignore[attr-defined]  it is TLS
                return "/".join("=".join(pair) for part in held.get("subject", ()) for pair in part) if held else ""

            def log_message(self, *_: object) -> None:
                """Not for the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str, authorization: str, client: str, body: bytes) -> tuple[int, bytes]:
        operation = path.removeprefix("/.well-known/est/")
        self.asked.append((operation, authorization, client))
        basic = "Basic " + base64.b64encode(b"hub:enrol-me").decode()
        allowed = authorization == basic if operation == "simpleenroll" else bool(client)
        if not allowed:
            return 401, b"who are you?"
        if self.status != 200:
            return self.status, b"no"
        if self.pending:
            self.pending -= 1
            return 202, b""
        return 200, self.garbage or self.sign(base64.b64decode(body))

    def sign(self, der: bytes) -> bytes:
        request = openssl("req", "-inform", "DER", data=der)
        self.subjects.append(openssl("req", "-noout", "-subject", "-nameopt", "RFC2253", data=request).decode().strip())
        (self.folder / "request.pem").write_bytes(request)
        (self.folder / "leaf.ext").write_text("extendedKeyUsage=clientAuth\n")
        command = ["x509", "-req", "-in", str(self.folder / "request.pem"), "-CA", str(self.authority.ca)]
        more = [
            "-CAkey",
            str(self.authority.key_file()),
            "-days",
            str(self.days),
            "-extfile",
            str(self.folder / "leaf.ext"),
        ]
        (self.folder / "issued.pem").write_bytes(openssl(*command, *more))
        both = ["-certfile", str(self.authority.ca), "-certfile", str(self.folder / "issued.pem")]
        return base64.encodebytes(openssl("crl2pkcs7", "-nocrl", "-outform", "DER", *both))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
