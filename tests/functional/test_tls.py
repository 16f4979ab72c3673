"""TLS to real servers: what each refuses and in which words, and files that are replaced while it runs."""

import shutil
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ordermq.amqp import ConnectionManager, ConnectionState
from ordermq.cli.run import explain
from ordermq.config.settings import Secret
from ordermq.errors import AuthenticationRefused, ConfigError, ConnectionLost, StoreRefused, TlsRefused
from ordermq.shop.intake.generate import generate
from ordermq.store import Session
from tests.support.connection import manager_of
from tests.support.tls import OF_CLIENTS, Certificates, TlsBroker, TlsPostgres

NEVER = threading.Event()

# Of a server's certificate: what is wrong with it, the words for that, the setting to look at.
WRONG = {
    "expired": ("certificate has expired", "renewed at the server", "ca_file"),
    "early": ("not yet valid", "compare the clocks", ""),
    "elsewhere": ("", "name", ""),
    "self-signed": ("self-signed certificate", "signed by an authority", "ca_file"),
    "foreign": ("unable to get local issuer certificate", "name it there", "ca_file"),
    "revoked": ("certificate revoked", "why it was revoked", "crl_file"),
}
# Of a client's: the words of the error, with the setting.
CLIENTS = {
    "expired": "has run out: renew it",
    "foreign": "does not know the authority that signed the client certificate",
    "revoked": "was revoked: have another one made",
}


@pytest.fixture(scope="module")
def certificates():
    # Servers run as another account, which tmp_path keeps out.
    folder = Path(tempfile.mkdtemp(prefix="ordermq-tls-"))
    folder.chmod(0o755)
    yield Certificates(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def tls_broker(ordermq_stack, certificates):
    broker = TlsBroker(ordermq_stack.broker, certificates)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def tls_postgres(ordermq_stack, administrator, certificates):
    data = ordermq_stack.place.given_folder("postgres") / "data"
    postgres = TlsPostgres(ordermq_stack.postgres, administrator, data, certificates)
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture
def by_certificate(ordermq_stack, vhost, broker_settings, tls_broker):
    """Settings of a client with these files, whose user is the name in its certificate."""
    users = ("tls_client", "tls_other")
    for user in users:
        ordermq_stack.broker.add_user(user, "a password that is not used")
        ordermq_stack.broker.set_permissions(user, vhost.name)

    def made(**files):
        return tls_broker.settings(broker_settings, OF_CLIENTS, password=Secret(""), **files)

    yield made
    for user in users:
        ordermq_stack.broker.delete_user(user)


def connect_to_broker(settings):
    with closing(ConnectionManager(settings, name="test")) as manager:
        manager.connect(NEVER)
        return manager.state


def ask_database(settings, sql="SELECT 1"):
    with closing(Session(settings, name="test")) as session, session.transaction() as tx:
        return tx.fetch_one(sql)[0]


def files_of(pair):
    return {"cert_file": str(pair[0]), "key_file": str(pair[1])}


def test_a_broker_s_certificate_that_is_wrong_is_refused_in_words_of_its_own(
    tls_broker, broker_settings, certificates
):
    for name, (what, advice, setting) in WRONG.items():
        settings = tls_broker.settings(broker_settings, name, crl_file=str(certificates.crl))
        with pytest.raises(TlsRefused) as refused:
            connect_to_broker(settings)
        check_words(explain(refused.value), name, what, advice, setting and f"broker.{setting} (/")
    right = tls_broker.settings(broker_settings, "right", crl_file=str(certificates.crl))
    assert connect_to_broker(right) is ConnectionState.OPEN


def test_a_database_s_certificate_that_is_wrong_is_refused_in_words_of_its_own(
    tls_postgres, database_settings, certificates
):
    settings = tls_postgres.settings(database_settings, crl_file=str(certificates.crl))
    for name, (what, advice, setting) in WRONG.items():
        tls_postgres.show(name)
        with pytest.raises(StoreRefused) as refused:
            ask_database(settings)
        check_words(explain(refused.value), name, what, advice, setting and f"database.{setting} (/")
    tls_postgres.show("right")
    assert ask_database(settings, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


def check_words(said, name, *words):
    assert [each for each in words if each not in said] == [], (name, said)


def test_a_revocation_list_must_be_one_and_young_and_of_the_authority(
    tls_broker, tls_postgres, broker_settings, database_settings, certificates
):
    old = certificates.authority.revocations("old", ends=-1)
    other = certificates.other.revocations("others")
    for file, words in (
        (old, "CRL has expired"),
        (other, "unable to get certificate CRL"),
        (certificates.authority.file, "holds no revocation list"),
        (certificates.folder / "absent", "No such file"),
    ):
        with pytest.raises((TlsRefused, ConfigError), match=words) as refused:
            connect_to_broker(tls_broker.settings(broker_settings, "right", crl_file=str(file)))
        assert f"broker.crl_file ({file})" in str(refused.value)
        with pytest.raises(StoreRefused, match=words) as refused:
            ask_database(tls_postgres.settings(database_settings, crl_file=str(file)))
        assert f"database.crl_file ({file})" in str(refused.value)


@pytest.mark.usefixtures("opened_by")
def test_a_client_s_certificate_that_is_wrong_is_refused_by_the_broker_in_words_of_its_own(
    by_certificate, certificates
):
    for name, words in CLIENTS.items():
        pair = certificates.clients[name]
        with pytest.raises(TlsRefused, match=words) as refused:
            connect_to_broker(by_certificate(**files_of(pair)))
        assert f"broker.cert_file ({pair[0]})" in str(refused.value)
    with pytest.raises(TlsRefused, match=r"wants a client certificate: name one in broker\.cert_file"):
        connect_to_broker(by_certificate())
    stranger = certificates.clients["stranger"]
    with pytest.raises(
        AuthenticationRefused, match=r"the user is the name in the certificate of broker\.cert_file"
    ):
        connect_to_broker(by_certificate(**files_of(stranger)))
    assert connect_to_broker(by_certificate(**certificates.client())) is ConnectionState.OPEN


def test_a_client_s_certificate_that_is_wrong_is_refused_by_the_database_in_words_of_its_own(
    tls_postgres, database_settings, certificates
):
    settings = {"username": "tls_client", "password": Secret("")}
    for name, words in {**CLIENTS, "stranger": "is not that in database.username"}.items():
        pair = certificates.clients[name]
        with pytest.raises(StoreRefused, match=words) as refused:
            ask_database(tls_postgres.settings(database_settings, **settings, **files_of(pair)))
        assert f"database.cert_file ({pair[0]})" in str(refused.value)
    with pytest.raises(StoreRefused, match=r"name a certificate in database\.cert_file"):
        ask_database(tls_postgres.settings(database_settings, **settings))
    made = tls_postgres.settings(database_settings, **settings, **certificates.client())
    assert ask_database(made, "SELECT current_user") == "tls_client"


def test_a_key_that_is_not_the_certificate_s_or_encrypted_or_missing_is_named(
    by_certificate, tls_postgres, database_settings, certificates
):
    files = certificates.client()
    other = str(certificates.clients["stranger"][1])
    for wrong, words in (
        ({**files, "key_file": other}, "the key is not that of the certificate"),
        ({**files, "cert_file": str(certificates.folder / "absent.pem")}, "No such file"),
    ):
        with pytest.raises(ConfigError, match=words):
            connect_to_broker(by_certificate(**wrong))
        with pytest.raises(StoreRefused, match=words):
            ask_database(tls_postgres.settings(database_settings, username="tls_client", **wrong))


def test_the_broker_s_client_certificate_and_authority_are_replaced_without_a_restart(
    ordermq_stack, by_certificate, certificates, tmp_path
):
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(certificates.authority.file.read_bytes())
    settings = by_certificate(**certificates.client("rotating"), ca_file=str(ca_file))
    with closing(manager_of(settings)) as manager:
        certificates.client("rotating", common_name="tls_other")  # the same files
        ordermq_stack.broker.delete_user(
            "tls_client"
        )  # closes its connection, and refuses the old certificate
        reconnect(manager)
        ca_file.write_bytes(certificates.other.file.read_bytes())
        manager.drop(ConnectionLost("by the test"))
        threading.Timer(1.0, lambda: ca_file.write_bytes(certificates.authority.file.read_bytes())).start()
        assert manager.connect(NEVER)
        assert "broker.ca_file" in str(manager.last_error)


def reconnect(manager):
    """Notice that the connection was closed, and open another."""
    with pytest.raises(ConnectionLost):
        for _ in range(100):
            manager.tick(0.1)
    assert manager.connect(NEVER)


def test_the_database_s_client_certificate_is_replaced_without_a_restart(
    tls_postgres, database_settings, certificates, administrator
):
    mine = "SELECT pid, client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    files = certificates.client("rotating")
    settings = tls_postgres.settings(database_settings, username="tls_client", password=Secret(""), **files)
    with closing(Session(settings, name="rotating")) as session:
        with session.transaction() as tx:
            pid, before = tx.fetch_one(mine)
        key = Path(files["key_file"])
        old_key = key.read_bytes()
        certificates.client("rotating")
        new_key = key.read_bytes()
        key.write_bytes(old_key)  # as between the two files
        administrator.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
        with (
            pytest.raises(StoreRefused, match="the key is not that of the certificate"),
            session.transaction() as tx,
        ):
            tx.fetch_one(mine)
        key.write_bytes(new_key)
        with session.transaction() as tx:
            assert tx.fetch_one(mine)[1] != before


def test_processes_go_on_with_certificates_that_were_replaced_and_the_old_ones_are_refused(
    pipeline, by_certificate, tls_broker, tls_postgres, certificates
):
    for prefix, files in (
        ("BROKER", certificates.client("of-broker")),
        ("DATABASE", certificates.client("of-database")),
    ):
        del pipeline.env[f"ORDERMQ_{prefix}_PASSWORD"]
        for name, value in {**files, "ca_file": certificates.authority.file}.items():
            pipeline.env[f"ORDERMQ_{prefix}_{name.upper()}"] = str(value)
    pipeline.env |= {
        "ORDERMQ_BROKER_HOSTS": tls_broker.address(OF_CLIENTS), "ORDERMQ_BROKER_TLS": "true",
        "ORDERMQ_DATABASE_HOST": "localhost", "ORDERMQ_DATABASE_SSLMODE": "verify-full",
        "ORDERMQ_DATABASE_USERNAME": "tls_client", "ORDERMQ_TOPOLOGY_MANAGEMENT_URL": "",
    }  # fmt: skip
    orders = list(generate(20, 3))
    pipeline.load(orders)
    pipeline.begin("relay", "inventory")
    pipeline.place(orders[:10])
    pipeline.wait_for(10, "reserved")

    old = Path(pipeline.env["ORDERMQ_DATABASE_CERT_FILE"]).read_bytes()
    certificates.client("of-database")
    certificates.client("of-broker", common_name="tls_other")
    (certificates.folder / "old.pem").write_bytes(old)
    tls_postgres.revoke(certificates.folder / "old.pem")
    tls_postgres.end_sessions("tls_client")
    tls_broker.delete_user("tls_client")

    pipeline.place(orders[10:])
    pipeline.wait_for(20, "reserved")
    assert set(pipeline.stop().values()) == {0}
