"""The private stack's servers with TLS: RabbitMQ on ports of its own, PostgreSQL on its own port."""

import subprocess
from dataclasses import replace

from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.ports import free_ports
from tests.support.authority import Authority

SOON = {"reconnect_base_s": 0.1, "reconnect_cap_s": 0.5}
OF_CLIENTS = "clients"  # the listener that asks for a client's certificate


class Certificates:
    """Of servers, by what is wrong with each: ``right``, ``expired``, ...; and the authorities' files."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority(folder, "authority")
        self.other = Authority(folder, "other")
        self.servers = {
            "right": self.authority.issue("right"),
            "expired": self.authority.issue("expired", begins=-30, ends=-1),
            "early": self.authority.issue("early", begins=1),
            "elsewhere": self.authority.issue("elsewhere", names=("elsewhere.example", "127.0.0.2")),
            "self-signed": self.authority.self_signed("self-signed"),
            "foreign": self.other.issue("foreign"),
            "revoked": self.authority.issue("revoked", revoked=True),
        }
        self.clients = {
            "expired": self.authority.issue("client-expired", common_name="tls_client", begins=-30, ends=-1),
            "foreign": self.other.issue("client-foreign", common_name="tls_client"),
            "revoked": self.authority.issue("client-revoked", common_name="tls_client", revoked=True),
            "stranger": self.authority.issue("client-stranger", common_name="tls_stranger"),
        }
        self.crl = self.authority.revocations("revoked")
        # Servers run as another account, which must own its keys.
        server_account().give(*(key for _, key in self.servers.values()))

    def client(self, name="client", common_name="tls_client"):
        """Write a client's certificate and key anew; return the settings that name them."""
        cert, key = self.authority.issue(name, common_name=common_name)
        return {"cert_file": str(cert), "key_file": str(key)}


class TlsBroker:
    """Listeners of a private broker, one for each server's certificate; ``clients`` asks for the client's."""

    def __init__(self, broker, certificates):
        self._broker = broker
        self._certificates = certificates
        names = [*certificates.servers, OF_CLIENTS]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))

    def start(self):
        """Begin to listen: one call of rabbitmqctl."""
        lists = self._certificates.folder / "lists"
        lists.mkdir()
        lists.chmod(0o755)
        (lists / "revoked.crl").write_bytes(self._certificates.crl.read_bytes())
        subprocess.run(["openssl", "rehash", str(lists)], check=True, capture_output=True)
        asks = (
            "{verify, verify_peer}, {fail_if_no_peer_cert, true}, {crl_check, peer},"
            f' {{crl_cache, {{ssl_crl_hash_dir, {{internal, [{{dir, "{lists}"}}]}}}}}}'
        )
        calls = [
            f"rabbit_networking:start_ssl_listener({self._listener(name)}, [{self._files(name)}{more}], 1)"
            for name in self._ports
            for more in [f", {asks}" if name == OF_CLIENTS else ""]
        ]
        self._broker.ctl(
            "eval",
            "application:set_env(rabbit, auth_mechanisms, ['PLAIN', 'EXTERNAL']),"
            " application:set_env(rabbit, ssl_cert_login_from, common_name),"
            # Not that of the listener: RabbitMQ takes no name from certificates that nobody verified.
            f" application:set_env(rabbit, ssl_options, [{{verify, verify_peer}}]), {', '.join(calls)}.",
        )

    def stop(self):
        """Listen no more, and take no certificate for a login."""
        calls = [f"rabbit_networking:stop_tcp_listener({self._listener(name)})" for name in self._ports]
        self._broker.ctl(
            "eval",
            "application:set_env(rabbit, ssl_cert_login_from, distinguished_name),"
            " application:set_env(rabbit, ssl_options, []),"
            f" application:set_env(rabbit, auth_mechanisms, ['PLAIN', 'AMQPLAIN']), {', '.join(calls)}.",
        )

    def settings(self, settings, name, **changes):
        """Return ``settings`` that lead to the listener of this name, and trust the right authority."""
        ca_file = str(self._certificates.authority.file)
        return replace(
            settings,
            **{
                "hosts": (self.address(name),),
                "tls": True,
                "ca_file": ca_file,
                "give_up_after_s": 20.0,
                **SOON,
            }
            | changes,
        )

    def delete_user(self, name):
        """Delete a user, which closes its connections."""
        self._broker.delete_user(name)

    def address(self, name):
        """Return where the listener of this name is."""
        return f"localhost:{self._ports[name]}"

    def _listener(self, name):
        return f'{{"127.0.0.1", {self._ports[name]}}}'

    def _files(self, name):
        cert, key = self._certificates.servers["right" if name == OF_CLIENTS else name]
        files = {"cacertfile": self._certificates.authority.file, "certfile": cert, "keyfile": key}
        return ", ".join(f'{{{option}, "{file}"}}' for option, file in files.items())


class TlsPostgres:
    """The private PostgreSQL with ssl turned on; the role ``tls_client`` logs in by its certificate alone."""

    def __init__(self, postgres, administrator, data, certificates):
        self._postgres = postgres
        self._administrator = administrator
        self._hba = data / "pg_hba.conf"
        self._hba_before = self._hba.read_text()
        self._certificates = certificates

    def start(self):
        """Ask for certificates, and show the right one."""
        self._hba.write_text(
            "hostssl all tls_client 127.0.0.1/32 cert\n"
            "hostssl all tls_other 127.0.0.1/32 cert\n" + self._hba_before
        )
        for role in ("tls_client", "tls_other"):
            self._administrator.execute(f"CREATE ROLE {role} LOGIN IN ROLE ordermq")
        for name, value in (
            ("ssl_ca_file", self._certificates.authority.file),
            ("ssl_crl_file", self._certificates.crl),
            ("ssl", "on"),
        ):  # fmt: skip
            self._administrator.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.show("right")

    def show(self, name):
        """Have the server show this certificate from now on."""
        cert, key = self._certificates.servers[name]
        self._administrator.execute(f"ALTER SYSTEM SET ssl_cert_file = '{cert}'")
        self._administrator.execute(f"ALTER SYSTEM SET ssl_key_file = '{key}'")
        self._reload()

    def stop(self):
        self._hba.write_text(self._hba_before)
        self._administrator.execute("ALTER SYSTEM RESET ALL")
        self._reload()
        for role in ("tls_client", "tls_other"):
            self._administrator.execute(f"DROP ROLE {role}")

    def settings(self, settings, **changes):
        """Return ``settings`` that verify the server and trust the right authority."""
        ca_file = str(self._certificates.authority.file)
        return replace(
            settings, **{"host": "localhost", "sslmode": "verify-full", "ca_file": ca_file} | changes
        )

    def revoke(self, cert_file):
        """Refuse this certificate of a client from now on."""
        self._certificates.authority.revoke_file(cert_file)
        self._certificates.authority.revocations("revoked")
        self._reload()

    def end_sessions(self, role):
        """End what is open under the role."""
        self._administrator.execute(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{role}'"  # noqa: S608 # the test's
        )

    def _reload(self):
        loaded_at = self._postgres.sql("SELECT pg_conf_load_time()")
        self._administrator.execute("SELECT pg_reload_conf()")
        wait_until(
            lambda: self._postgres.sql("SELECT pg_conf_load_time()") != loaded_at, 10.0, what="the reload"
        )
