"""E-mail over SMTP. A server keeps no keys, so a mail that may have been sent is never sent again.

    the answer is                   to the recipient or the message   to all before, such as the login
    2xx (after DATA 3xx)            accepted                          goes on
    4xx                             GatewayUnavailable                GatewayUnavailable
    5xx                             GatewayRefused                    GatewayUnavailable
    none, the final dot not sent    GatewayUnavailable                GatewayUnavailable
    none, the final dot sent        OutcomeUnknown

Invariants
    SMT1  OutcomeUnknown is raised only after the final dot may have left, and then always unless the
        server answered: before the dot a server must not take the message.
    SMT2  No address, no text of the server and no credential stands in an error: a server's text may
        quote the address. Codes and the server's own name do.
    SMT3  Unless the server is on this machine, nothing is sent before its certificate and name were
        checked: no address, no login.
    SMT4  A refused login or sender costs no order its mail. It is the shop's fault, and is tried again.
"""

import io
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ordermq.clock import Deadline
from ordermq.config.secret import Secret
from ordermq.errors import GatewayError, GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.bounded import BoundedReader, left_s, send_all

_ENHANCED = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?= |$)")
_LOGIN_NEEDED = frozenset({530, 534, 535, 538})
_FAREWELL_S = 1.0

Reply = tuple[int, bytes]


@dataclass(frozen=True)
class SmtpServer:
    """Where the mail server is, and how to be let in; times in seconds.

    ``tls`` checks the server's certificate and name; None sends without encryption. ``starttls``
    begins in the clear and encrypts before anything else is said. The password is read at each
    connection, so it may be changed in its file.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    starttls: bool
    username: str
    password: Secret
    connect_timeout_s: float
    timeout_s: float


class SmtpClient:
    """Sends single messages to one server, a connection each. Safe for many threads."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    def send(
        self, sender: str, recipient: str, message: bytes, *, utf8: bool, timeout_s: float | None = None
    ) -> str:
        """Send one message; return the server's last code, such as ``250 2.0.0``. Blocks until its deadline.

        ``message`` has CRLF at the end of each line. ``utf8`` asks the server for SMTPUTF8. Raises
        GatewayUnavailable, GatewayRefused or OutcomeUnknown, by the table of this module.
        """
        server = self._server
        limit_s = server.timeout_s if timeout_s is None else min(timeout_s, server.timeout_s)
        deadline = Deadline(limit_s)
        with self._connected(deadline) as dialogue:
            with _not_sent(f"{server.host}:{server.port}"):
                self._enter(dialogue)
                _address(dialogue, sender, recipient, utf8=utf8)
                dialogue.send(_stuffed(message))
            try:
                dialogue.send(b".\r\n")
                reply = dialogue.getreply()
            except (OSError, smtplib.SMTPException) as exc:
                raise OutcomeUnknown(
                    f"the mail server got the whole message and gave no answer in {limit_s:g} s: {_name(exc)}"
                ) from None
            said = _accepted_message(reply)
            dialogue.leave()
            return said

    @contextmanager
    def _connected(self, deadline: Deadline) -> "Iterator[_Dialogue]":
        server = self._server
        where = f"{server.host}:{server.port}"
        with _not_sent(where):
            sock = _connect(server, deadline)
        dialogue = _Dialogue(sock, server.host, deadline)
        try:
            yield dialogue
        finally:
            dialogue.close()

    def _enter(self, dialogue: "_Dialogue") -> None:
        """Say hello, encrypt and log in."""
        server = self._server
        if server.tls is not None and not server.starttls:
            dialogue.encrypt(server.tls)
        _expect("greeting", dialogue.getreply())
        dialogue.ehlo_or_helo_if_needed()
        if server.tls is not None and server.starttls:
            if not dialogue.has_extn("starttls"):
                raise GatewayUnavailable(
                    f"the mail server {server.host}:{server.port} offers no STARTTLS; nothing was sent."
                    " If its port begins with TLS, set shop.smtp_security to tls"
                )
            dialogue.starttls(context=server.tls)
            dialogue.ehlo_or_helo_if_needed()
        if server.username:
            _log_in(dialogue, server.username, server.password.reveal())


class _Dialogue(smtplib.SMTP):
    """One connection, already open; everything that is sent and read on it ends at the deadline."""

    def __init__(self, sock: socket.socket, host: str, deadline: Deadline) -> None:
        # A name is given because smtplib asks the resolver for one otherwise, without any limit.
        super().__init__(local_hostname=_own_name(sock))
        self._host = host  # the name that smtplib checks the certificate against
        self._deadline = deadline
        self.sock: socket.socket | None = sock
        self.file: Any = None

    def send(self, s: Any) -> None:
        """Send within the deadline. Raises OSError."""
        data = s.encode(self.command_encoding) if isinstance(s, str) else bytes(s)
        send_all(self._open_socket(), data, self._deadline)

    def getreply(self) -> Reply:
        """Read an answer within the deadline. Raises SMTPException or OSError."""
        if self.file is None:
            sock = self._open_socket()
            self.file = io.BufferedReader(
                BoundedReader(sock, sock.makefile("rb", buffering=0), self._deadline)
            )
        return super().getreply()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Begin TLS. Raises OSError, of which a certificate that is not trusted is one."""
        sock = self._open_socket()
        sock.settimeout(left_s(self._deadline))
        self.sock = context.wrap_socket(sock, server_hostname=self._host)

    def leave(self) -> None:
        """Say goodbye; how that ends changes nothing."""
        self._deadline = Deadline(min(_FAREWELL_S, self._deadline.left_s))
        with suppress(OSError, smtplib.SMTPException):
            self.quit()

    def _open_socket(self) -> socket.socket:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("the connection is closed")
        return self.sock


def _connect(server: SmtpServer, deadline: Deadline) -> socket.socket:
    """Connect to the first address of the host that takes a connection. Raises OSError."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        server.host, server.port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(server.connect_timeout_s, left_s(deadline)))
            sock.connect(address)
        except OSError as exc:
            sock.close()
            failure = failure or exc
        else:
            return sock
    raise failure or OSError("the name has no address")


def _log_in(dialogue: _Dialogue, username: str, password: str) -> None:
    try:
        dialogue.login(username, password)
    except smtplib.SMTPAuthenticationError as exc:
        raise GatewayUnavailable(
            f"the mail server refused the login with {_said((exc.smtp_code, _bytes(exc.smtp_error)))};"
            " see shop.smtp_user and shop.smtp_password"
        ) from None
    except smtplib.SMTPNotSupportedError:
        raise GatewayUnavailable("the mail server offers no login; see shop.smtp_user") from None
    except ValueError:
        raise GatewayUnavailable("the mail server takes no login of these characters") from None


def _address(dialogue: _Dialogue, sender: str, recipient: str, *, utf8: bool) -> None:
    """Say from whom and to whom the message is, and begin it."""
    if utf8 and not dialogue.has_extn("smtputf8"):
        raise GatewayRefused(
            "the address has characters outside of ASCII, and the mail server does not offer SMTPUTF8"
        )
    _expect("sender", dialogue.mail(sender, ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else []))
    _expect("recipient", dialogue.rcpt(recipient), refused=GatewayRefused)
    _expect("data", dialogue.docmd("DATA"), first=3, refused=GatewayRefused)


def _expect(
    phase: str, reply: Reply, *, first: int = 2, refused: Callable[[str], GatewayError] = GatewayUnavailable
) -> None:
    """Return if the answer begins with the digit ``first``; raise ``refused`` for 5xx (SMT4)."""
    code = reply[0]
    if code // 100 == first:
        return
    words = f"the mail server answered {_said(reply)} to the {phase}"
    if code // 100 == 5 and code not in _LOGIN_NEEDED:
        raise refused(words)
    raise GatewayUnavailable(words)


def _accepted_message(reply: Reply) -> str:
    """Return what the server said to the whole message, if it took it."""
    if reply[0] // 100 in (2, 4, 5):
        _expect("message", reply, refused=GatewayRefused)
        return _said(reply)
    raise OutcomeUnknown("the mail server got the whole message and gave no usable answer")


@contextmanager
def _not_sent(where: str) -> Iterator[None]:
    """Say of every failure before the final dot that nothing was sent."""
    try:
        yield
    except ssl.SSLCertVerificationError as exc:
        words = f"the certificate of the mail server {where} is not trusted: {exc.verify_message}"
        raise GatewayUnavailable(words) from None
    except (OSError, smtplib.SMTPException, ValueError) as exc:
        raise GatewayUnavailable(f"the mail server {where}, before the message: {_name(exc)}") from None


def _stuffed(message: bytes) -> bytes:
    """Return the message with a second dot before each line that begins with one, and a line end."""
    stuffed = re.sub(rb"(?m)^\.", b"..", message)
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"


def _own_name(sock: socket.socket) -> str:
    address = sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _said(reply: Reply) -> str:
    """Return the code of an answer, with the enhanced code of RFC 3463 where there is one (SMT2)."""
    enhanced = _ENHANCED.match(_bytes(reply[1]))
    return f"{reply[0]} {enhanced[0].decode()}" if enhanced else str(reply[0])


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode(errors="replace")


def _name(error: Exception) -> str:
    # The text of an OSError holds no data. An exception of smtplib may quote what the server said (SMT2).
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return "no answer in time"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "the connection was closed"
    if isinstance(error, OSError) and not isinstance(error, smtplib.SMTPException):
        return error.strerror or type(error).__name__
    return type(error).__name__
