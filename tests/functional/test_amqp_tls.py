"""TLS to a real broker with a private certificate authority, and the ways it can be set up wrong."""

import subprocess
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ordermq.amqp import ConnectionManager, ConnectionState
from ordermq.cli.run import explain
from ordermq.errors import ConnectionLost, TlsRefused
from ordermq.testing.stack.ports import free_ports
from tests.support.commands import run_program

pytestmark = pytest.mark.usefixtures("opened_by")

NEVER = threading.Event()
_SIGNS = "keyUsage=critical,keyCertSign,cRLSign"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Tls:
    """A second listener of the broker: its address, and the authority that signed its certificate."""

    address: str
    ca_file: str


@pytest.fixture(scope="module")
def tls(ordermq_stack):
    with tempfile.TemporaryDirectory(prefix="ordermq-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the broker runs as another account
        yield from listening(ordermq_stack.broker, folder)


def issue(folder, *extensions):
    """Make an authority with these extensions in ca.pem, and a certificate of it for localhost."""
    authority = ("-subj", "/CN=test CA", *extensions)
    openssl(folder, "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", *authority)
    openssl(folder, "req", *_KEY, "-keyout", "key.pem", "-out", "csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    openssl(folder, "x509", "-req", "-in", "csr", *signer, "-extfile", "names", "-out", "cert.pem")


def listening(broker, folder):
    issue(folder, "-addext", _SIGNS)
    (folder / "key.pem").chmod(0o644)
    port = free_ports(1)[0]
    listener = f'{{"127.0.0.1", {port}}}'
    files = ", ".join(
        f'{{{name}, "{folder / file}"}}'
        for name, file in (("cacertfile", "ca.pem"), ("certfile", "cert.pem"), ("keyfile", "key.pem"))
    )
    broker.ctl("eval", f"rabbit_networking:start_ssl_listener({listener}, [{files}], 1).")
    yield Tls(f"localhost:{port}", str(folder / "ca.pem"))
    broker.ctl("eval", f"rabbit_networking:stop_tcp_listener({listener}).")


def openssl(folder, *argv):
    subprocess.run(["openssl", *argv], cwd=folder, check=True, capture_output=True)


def connect(settings):
    manager = ConnectionManager(settings, name="test")
    try:
        manager.connect(NEVER)
        return manager.state
    finally:
        manager.close()


def test_a_broker_whose_authority_is_known_is_connected_to(broker_settings, tls):
    settings = replace(broker_settings, hosts=(tls.address,), tls=True, ca_file=tls.ca_file)
    assert connect(settings) is ConnectionState.OPEN


@pytest.mark.parametrize(
    ("extensions", "words"),
    [(("-addext", _SIGNS), "cert.pem: OK"), ((), "CA cert does not include key usage extension")],
)
def test_an_authority_that_may_sign_passes_the_strict_checks_of_python_3_13(tmp_path, extensions, words):
    issue(tmp_path, *extensions)
    argv = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", "cert.pem"]
    found = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert words in found.stdout + found.stderr


def test_a_certificate_for_another_name_is_refused(broker_settings, tls):
    address = tls.address.replace("localhost", "127.0.0.1")
    with pytest.raises(TlsRefused, match="not trusted: IP address mismatch"):
        connect(replace(broker_settings, hosts=(address,), tls=True, ca_file=tls.ca_file))


def test_tls_to_a_port_without_it_is_refused_and_names_the_setting(broker_settings):
    with pytest.raises(TlsRefused, match="does not speak TLS") as refused:
        connect(replace(broker_settings, tls=True))
    assert "broker.tls" in explain(refused.value)


def test_a_plain_connection_to_a_port_with_tls_says_what_it_may_be(broker_settings, tls):
    settings = replace(broker_settings, hosts=(tls.address,), give_up_after_s=0.1)
    with pytest.raises(ConnectionLost, match="TLS is on at one end only"):
        connect(settings)


def test_a_process_that_does_not_know_the_authority_ends_with_78_and_what_to_check(
    ordermq_stack, vhost, database, tls
):
    env = {
        **ordermq_stack.environment(),
        "ORDERMQ_BROKER_VHOST": vhost.name,
        "ORDERMQ_BROKER_HOSTS": tls.address,
        "ORDERMQ_BROKER_TLS": "true",
        "ORDERMQ_DATABASE_NAME": database.name,
    }
    assert run_program("ordermq", "db", "migrate", env=env).returncode == 0
    relay = run_program("ordermq-relay", env=env)
    assert relay.returncode == 78
    assert "is not trusted" in relay.stderr
    assert "broker.tls, ca_file" in relay.stderr
