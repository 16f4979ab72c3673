"""A certificate authority of a test's own: certificates that are right, and each that is wrong in one way."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = timedelta(days=1)


class Authority:
    """Signs certificates, and lists those it has revoked. ``folder`` gets the files, all of them in PEM."""

    def __init__(self, folder, name):
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._revoked = []
        is_authority = (
            x509.BasicConstraints(ca=True, path_length=None),
            _usage(key_cert_sign=True, crl_sign=True),
        )
        self._certificate = self._sign(_named(name), self._key.public_key(), is_authority, -1, 30)
        self.file = self._write(name, _pem(self._certificate))

    def issue(
        self, name, *, common_name="localhost", names=("localhost",), begins=-1, ends=30, revoked=False
    ):
        """Write a certificate and its key as ``name.pem`` and ``name.key``; return both paths.

        ``begins`` and ``ends`` are days from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = (
            x509.SubjectAlternativeName([_alternative(each) for each in names]),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            x509.BasicConstraints(ca=False, path_length=None),
            _usage(digital_signature=True),
        )
        made = self._sign(_named(common_name), key.public_key(), extensions, begins, ends)
        if revoked:
            self.revoke(made)
        return self._write(name, _pem(made)), self._write(name, _pem(key), "key")

    def self_signed(self, name):
        """Write a certificate for localhost that nobody signed but itself."""
        other = Authority(self._folder, f"{name}-itself")
        other._name = "localhost"
        key = other._key
        extensions = (x509.SubjectAlternativeName([x509.DNSName("localhost")]),)
        made = other._sign(_named("localhost"), key.public_key(), extensions, -1, 30)
        return self._write(name, _pem(made)), self._write(name, _pem(key), "key")

    def revoke(self, certificate):
        self._revoked.append(
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(_now() - _DAY)
            .build()
        )

    def revoke_file(self, path):
        self.revoke(x509.load_pem_x509_certificate(path.read_bytes()))

    def revocations(self, name, *, ends=7):
        """Write the list of what was revoked so far; return its path."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_named(self._name))
            .last_update(_now() - 30 * _DAY)
            .next_update(_now() + ends * _DAY)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(x509.CRLNumber(len(self._revoked) + 1), critical=False)
        )
        for each in self._revoked:
            builder = builder.add_revoked_certificate(each)
        return self._write(name, _pem(builder.sign(self._key, hashes.SHA256())), "crl")

    def _sign(self, subject, public_key, extensions, begins, ends):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_named(self._name))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() + begins * _DAY)
            .not_valid_after(_now() + ends * _DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        for each in extensions:
            is_critical = isinstance(each, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(each, critical=is_critical)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name, data, ending="pem"):
        path = self._folder / f"{name}.{ending}"
        new = path.with_suffix(".new")
        new.write_bytes(data)
        new.chmod(0o600 if ending == "key" else 0o644)  # servers run as another account
        new.replace(path)
        return path


def _now():
    return datetime.now(UTC).replace(microsecond=0)


def _named(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name):
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(**is_for):
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: is_for.get(name, False) for name in names})


def _pem(made):
    if isinstance(made, ec.EllipticCurvePrivateKey):
        plain = serialization.NoEncryption()
        return made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return made.public_bytes(serialization.Encoding.PEM)
