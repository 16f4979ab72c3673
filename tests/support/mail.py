"""Mail servers for tests: a real one with TLS and a login, and one that plays a script on the wire."""

import socket
import ssl
import subprocess
import threading
from contextlib import closing, contextmanager
from email import message_from_bytes, policy

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
USER, PASSWORD = "shop", "a password for tests"


class Received:
    """The handler of a real server: keeps what it took, and answers as a test says."""

    def __init__(self):
        self.messages = []
        self.envelopes = []
        self.answers = {}
        self.ids = iter(range(1000))

    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from, envelope.mail_options = address, options
        return self.answers.get("MAIL", "250 2.1.0 OK")

    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 2.1.5 OK")

    async def handle_DATA(self, server, session, envelope):
        answer = self.answers.get("DATA", "250 2.0.0 accepted")
        if answer.startswith("2"):
            self.envelopes.append(envelope)
            self.messages.append(message_from_bytes(envelope.original_content, policy=policy.default))
        return answer


class Certificates:
    """An authority of our own, and a certificate of it for localhost."""

    def __init__(self, folder):
        self.ca_file = str(folder / "ca.pem")
        signs = "keyUsage=critical,keyCertSign,cRLSign"
        authority = ("-subj", "/CN=test CA", "-addext", signs)
        _openssl(folder, "req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.pem", *authority)
        _openssl(folder, "req", *KEY, "-keyout", "key.pem", "-out", "csr", "-subj", "/CN=localhost")
        (folder / "names").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
        signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        _openssl(folder, "x509", "-req", "-in", "csr", *signer, "-extfile", "names", "-out", "cert.pem")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "cert.pem", folder / "key.pem")


@contextmanager
def mail_server(certificates=None, *, direct_tls=False, login=False, utf8=True):
    """Run a real server on a free port; yields its port and its ``Received``."""
    received = Received()
    context = certificates.context if certificates else None
    options = {"server_hostname": "localhost", "enable_SMTPUTF8": utf8}
    if direct_tls:
        options["ssl_context"] = context
    else:
        options |= {"tls_context": context, "require_starttls": bool(context)}
    if login:
        options |= {
            "auth_required": not direct_tls,
            "auth_require_tls": not direct_tls,
            "authenticator": _check_login,
        }
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    controller = Controller(received, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port, received
    finally:
        controller.stop()


def _check_login(server, session, envelope, mechanism, data):
    is_right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=False)


def _openssl(folder, *argv):
    subprocess.run(["openssl", *argv], cwd=folder, check=True, capture_output=True)


class Script:
    """Accepts one connection and plays answers: each is sent when a line came; the last may be a function."""

    def __init__(self, *answers):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._answers = answers
        self.lines = []
        self._thread = threading.Thread(target=self._main)
        self._thread.start()

    def close(self):
        self._listener.close()
        self._thread.join(10)

    def _main(self):
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with closing(connection), connection.makefile("rb") as lines:
            connection.settimeout(10)
            try:
                for answer in self._answers:
                    if callable(answer):
                        answer(connection, lines)
                        return
                    connection.sendall(answer)
                    self.lines.append(lines.readline())
            except OSError:
                return  # the client has given up
