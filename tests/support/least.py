"""Users and roles that may do what ``ordermq db grants`` and ``ordermq topology grants`` say, and no more."""

import json
import shlex
import subprocess

from ordermq.testing.stack import programs
from ordermq.testing.stack.database import SUPERUSER

PASSWORD = "of-a-private-stack"  # of a private stack


class LeastPrivilege:
    """One user of the broker and one of the database for each role, under names of the test's own."""

    def __init__(self, pipeline, vhost, database):
        self._pipeline = pipeline
        self._vhost = vhost
        self._database = database
        self._prefix = f"{vhost.name}-"
        self.roles = [each["role"] for each in json.loads(self._print("db", "--json"))]

    def grant_on_database(self, *roles):
        """Do what the printed SQL says, for all roles or for these."""
        chosen = [word for role in roles for word in ("--role", role)]
        self.psql(self._print("db", "--create", *chosen))
        self.psql(
            "".join(
                f"ALTER ROLE \"{self.user(each)}\" PASSWORD '{PASSWORD}';" for each in roles or self.roles
            )
        )

    def grant_on_broker(self):
        """Do what the printed commands say; the definitions are the same, and one request in place of 26."""
        broker = self._vhost.broker
        printed = [shlex.split(line) for line in self._print("topology").splitlines()]
        for line in printed:
            if line[1] == "set_user_tags":
                broker.add_user(line[3], PASSWORD, ",".join(line[4:]))
        definitions = json.loads(self._print("topology", "--json"))
        assert [line[5:] for line in printed if line[1] == "set_permissions"] == [
            [each["user"], each["configure"], each["write"], each["read"]]
            for each in definitions["permissions"]
        ]
        broker.api("POST", "definitions", definitions)
        for line in printed[:2]:
            assert line[0] == "rabbitmqctl"
            broker.ctl(*line[1:])

    def __call__(self, role):
        """Return the environment of a process that is no more than this role."""
        return {
            "ORDERMQ_BROKER_USERNAME": self.user(role), "ORDERMQ_BROKER_PASSWORD": PASSWORD,
            "ORDERMQ_DATABASE_USERNAME": self.user(role), "ORDERMQ_DATABASE_PASSWORD": PASSWORD,
        }  # fmt: skip

    def user(self, role):
        """Return what the role is called on both servers."""
        return self._prefix + role

    def psql(self, script):
        """Run a script as a superuser."""
        psql(self._database, script)

    def revoke(self):
        """Delete the users and roles. Roles that own something lose it."""
        for each in self.roles:
            self._vhost.broker.delete_user(self.user(each))
            self.psql(f'DROP OWNED BY "{self.user(each)}" CASCADE; DROP ROLE "{self.user(each)}";')

    def _print(self, command, *options):
        done = self._pipeline.run("ordermq", command, "grants", f"--prefix={self._prefix}", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout


def psql(database, script):
    """Run a script as a superuser, as an administrator does who pipes it into psql."""
    postgres = database.postgres
    done = subprocess.run(
        [programs.psql(), "-X", "-q", "-w"],
        input=script, capture_output=True, text=True, timeout=60, check=False,
        env={
            "PATH": programs.PATH, "LANG": "C.UTF-8", "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port),
            "PGUSER": SUPERUSER, "PGPASSWORD": postgres.superuser_password,
            "PGDATABASE": database.name, "PGSSLMODE": "disable",
            "PGOPTIONS": "-c client_min_messages=warning",
        },
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
