"""A superuser's session that stays open from test to test."""

import psycopg2

from ordermq.testing.stack.database import SUPERUSER


class Administrator:
    """Makes and drops databases: a psql for each statement takes as much time as the server does."""

    def __init__(self, postgres):
        self._postgres = postgres
        self._connection = None

    def execute(self, statement):
        try:
            self._execute(statement)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):  # a test restarted the server
            self.close()
            self._execute(statement)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, statement):
        if self._connection is None:
            self._connection = psycopg2.connect(
                host="127.0.0.1", port=self._postgres.port, dbname="postgres", user=SUPERUSER,
                password=self._postgres.superuser_password, options="-c statement_timeout=60000",
            )  # fmt: skip
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
