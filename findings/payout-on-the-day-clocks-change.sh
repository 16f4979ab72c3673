#!/usr/bin/env bash
# A nightly payout at 02:30 in Berlin: systemd 252.39 leaves out the day in March, croniter and APScheduler pay twice in October.
#
# On 29 March 2026 the clock goes from 02:00 to 03:00; on 25 October it is 02:30 twice. By cron(8) of Debian a job of the lost hour
# runs soon after the change, and one of the repeated hour does not run again.
# Guess: a daily schedule has one run a day, on every day.
# Seen:  systemd goes from Saturday's run to Monday's: its OnCalendar= with a zone has no run on that Sunday. In October it runs once.
#        croniter 7.0.0 and APScheduler 3.11.3 run at 00:30 and again at 01:30 UTC that night in October, in March once.
#        cronsim 2.8, croner 11.0.1 and cron-parser 5.10.6 run once a day, in March at 03:00 or at 03:30 local time.
# So: schedule what moves money in UTC, or outside the hours in which clocks change, and let a day's payout be done once by its date.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'croniter==7.0.0' 'cronsim==2.8' 'APScheduler==3.11.3' 2>/dev/null
npm install --silent --no-audit --no-fund 'croner@11.0.1' 'cron-parser@5.10.6' >/dev/null 2>&1
version=252.39-1~deb12u2
apt-get download -qq "systemd=$version" "libsystemd-shared=$version" 2>/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/$(uname -m)-linux-gnu/systemd TZ=UTC

cat > seen.py <<'PY'
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

LINE, BERLIN = "30 2 * * *", ZoneInfo("Europe/Berlin")


def read_by_croniter(begin):
    return croniter(LINE, begin.astimezone(BERLIN)).all_next(datetime)


def read_by_cronsim(begin):
    return CronSim(LINE, begin.astimezone(BERLIN))


def read_by_apscheduler(begin):
    trigger, run, now = CronTrigger.from_crontab(LINE, timezone=BERLIN), None, begin
    while run := trigger.get_next_fire_time(run, now):
        yield run
        now = run.astimezone(UTC) + timedelta(microseconds=1)


begin = datetime.fromisoformat(sys.argv[1])
for read in (read_by_croniter, read_by_cronsim, read_by_apscheduler):
    runs = [run.astimezone(UTC).strftime("%a %d %H:%M") for run in islice(read(begin), 3)]
    print(f"{read.__name__.removeprefix('read_by_')}: {', '.join(runs)}")
PY
cat > seen.js <<'JS'
const { Cron } = require('croner')
const { CronExpressionParser } = require('cron-parser')

const begin = new Date(process.argv[2])
const show = date => date.toUTCString().replace(/^(...), (..) .* (..:..):00 GMT$/, '$1 $2 $3')
const runs = new Cron('30 2 * * *', { timezone: 'Europe/Berlin', paused: true }).nextRuns(3, begin)
console.log(`croner: ${runs.map(show).join(', ')}`)
const parser = CronExpressionParser.parse('30 2 * * *', { tz: 'Europe/Berlin', currentDate: begin })
console.log(`cron-parser: ${[1, 2, 3].map(() => show(parser.next().toDate())).join(', ')}`)
JS
seen=$(
    for day in 2026-03-28 2026-10-24; do
        echo "Runs after noon of $day, in UTC"
        root/usr/bin/systemd-analyze calendar --base-time="$day 12:00:00 UTC" --iterations=3 '*-*-* 02:30:00 Europe/Berlin' |
            sed -nE 's/^ *(Next elapse|Iter\. #.): (...) ....-..-(..) (..:..):00 UTC/\2 \3 \4/p' | paste -sd, | sed 's/,/, /g; s/^/systemd: /'
        venv/bin/python seen.py "${day}T12:00:00+00:00"
        node seen.js "${day}T12:00:00Z"
    done
)
expected='Runs after noon of 2026-03-28, in UTC
systemd: Mon 30 00:30, Tue 31 00:30, Wed 01 00:30
croniter: Sun 29 01:00, Mon 30 00:30, Tue 31 00:30
cronsim: Sun 29 01:00, Mon 30 00:30, Tue 31 00:30
apscheduler: Sun 29 01:30, Mon 30 00:30, Tue 31 00:30
croner: Sun 29 01:00, Mon 30 00:30, Tue 31 00:30
cron-parser: Sun 29 01:30, Mon 30 00:30, Tue 31 00:30
Runs after noon of 2026-10-24, in UTC
systemd: Sun 25 00:30, Mon 26 01:30, Tue 27 01:30
croniter: Sun 25 00:30, Sun 25 01:30, Mon 26 01:30
cronsim: Sun 25 00:30, Mon 26 01:30, Tue 27 01:30
apscheduler: Sun 25 00:30, Sun 25 01:30, Mon 26 01:30
croner: Sun 25 00:30, Mon 26 01:30, Tue 27 01:30
cron-parser: Sun 25 00:30, Mon 26 01:30, Tue 27 01:30'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the schedulers no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
