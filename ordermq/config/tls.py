"""The client's end of TLS: a context made from the files of the settings, and words for what is wrong.

The files are read each time, so that certificates which were replaced are used at the next connection.
"""

import ssl
from typing import NamedTuple

from ordermq.config.settings import BrokerSettings, DatabaseSettings
from ordermq.errors import ConfigError

#: Of the values of database.sslmode those that verify the server's certificate.
VERIFIES = ("verify-ca", "verify-full")

# By X509_V_ERR_*: what to do next. The text of OpenSSL, which says what is wrong, stands before it.
_ADVICE = {
    3: "{crl} has no list of the authority that signed it; it needs one of each authority in the chain",
    7: "{ca} has another authority of the same name; name the one that signed it",
    9: "compare the clocks of both machines",
    10: "have it renewed at the server, and its authority in {ca}, if that has run out",
    12: "the list in {crl} has run out: fetch the next one from the authority",
    18: "have it signed by an authority, or name this certificate itself in {ca}",
    19: "the authority that signed it is not the one in {ca}; name the right one there",
    20: "the authority that signed it is not in {ca}; name it there, and have the server send all in between",
    23: "{crl} says so; have another one made for the server, and find out why it was revoked",
    62: "connect to a name that the certificate has (subjectAltName), or have one made for this name",
    64: "connect to a name that the certificate has (subjectAltName), or have one made for this address",
}
_ADVICE[2] = _ADVICE[21] = _ADVICE[20]
_STRICT = (
    "'openssl verify -x509_strict -CAfile CA CERTIFICATE' says the same; have a certificate made without it"
)

# The alerts by which a server refuses a client's certificate, by OpenSSL's names without the version.
_ALERTS = {
    "CERTIFICATE_REQUIRED": "it wants a client certificate: name one in {cert}, with its key in {key}",
    "CERTIFICATE_EXPIRED": "it says that the client certificate in {cert} has run out: renew it",
    "CERTIFICATE_REVOKED": "it says that the client certificate in {cert} was revoked: have another one made",
    "UNKNOWN_CA": "it does not know the authority that signed the client certificate in {cert}; name that"
    " authority in the server's own list",
    "BAD_CERTIFICATE": "it refuses the client certificate in {cert}: its log says why",
    "CERTIFICATE_UNKNOWN": "it refuses the client certificate in {cert}: its log says why",
    "UNSUPPORTED_CERTIFICATE": "it refuses the client certificate in {cert}: is it for clients?",
    "PROTOCOL_VERSION": "it has no TLS 1.2 or newer",
    "HANDSHAKE_FAILURE": "it wants a client certificate (see {cert}), or has no cipher in common",
}


class TlsFiles(NamedTuple):
    """The files of one ``section`` of the settings; "" is none."""

    section: str
    ca_file: str = ""
    crl_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def named(self, text: str) -> str:
        """Return ``text`` with the settings in the place of {ca}, {crl}, {cert} and {key}."""
        return text.format(
            ca=self._setting("ca_file", self.ca_file or "the authorities of the system"),
            crl=self._setting("crl_file", self.crl_file),
            cert=self._setting("cert_file", self.cert_file),
            key=self._setting("key_file", self.key_file),
        )

    def _setting(self, name: str, value: str) -> str:
        return f"{self.section}.{name} ({value or 'not set'})"


#: No files: those of the system.
NO_FILES = TlsFiles("broker")


def broker_files(settings: BrokerSettings) -> TlsFiles:
    """Return the files that connections to RabbitMQ use."""
    return TlsFiles("broker", settings.ca_file, settings.crl_file, settings.cert_file, settings.key_file)


def database_files(settings: DatabaseSettings) -> TlsFiles:
    """Return the files that connections to PostgreSQL use."""
    return TlsFiles("database", settings.ca_file, settings.crl_file, settings.cert_file, settings.key_file)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context of TLS 1.2 or newer that verifies certificate and host name.

    Raises ConfigError naming the setting whose file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=files.ca_file or None)
    except OSError as exc:
        raise ConfigError(f"{files.named('{ca}')} cannot be used: {exc}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.crl_file:
        _load_revocations(context, files)
    if files.cert_file:
        try:
            context.load_cert_chain(files.cert_file, files.key_file or None, password=_no_passphrase)
        except (OSError, ValueError) as exc:
            raise ConfigError(f"{files.named('{cert} with {key}')} cannot be used: {_why(exc)}") from exc
    return context


def why_untrusted(error: ssl.SSLCertVerificationError, files: TlsFiles) -> str:
    """Return what is wrong with a server's certificate, which setting to look at, and what to do."""
    advice = _ADVICE.get(getattr(error, "verify_code", 0), _STRICT)
    return f"{error.verify_message.rstrip('.')}: {files.named(advice)}"


def why_refused(text: str, files: TlsFiles) -> str:
    """Return what a server means that ended TLS with the alert in ``text``; "" if there is none."""
    said = text.upper().replace(" ", "_")
    return next((files.named(words) for name, words in _ALERTS.items() if f"ALERT_{name}" in said), "")


def _load_revocations(context: ssl.SSLContext, files: TlsFiles) -> None:
    try:
        context.load_verify_locations(cafile=files.crl_file)
    except OSError as exc:
        raise ConfigError(f"{files.named('{crl}')} cannot be used: {exc}") from exc
    if not context.cert_store_stats()["crl"]:
        raise ConfigError(files.named("{crl} holds no revocation list in PEM: -----BEGIN X509 CRL-----"))
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _no_passphrase() -> str:
    # Without this OpenSSL asks on the terminal, and a process would wait for ever.
    raise ValueError(
        "the key is encrypted, and nobody is there to type its passphrase; decrypt it: openssl pkey"
    )


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    return str(error)
