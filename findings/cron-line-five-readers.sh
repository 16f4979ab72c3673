#!/usr/bin/env bash
# One crontab line, several schedules: APScheduler 3.11.3 runs Mondays' jobs on Tuesday, cron-converter 2.0.2 and pycron 3.3.0
# leave days out.
#
# crontab(5): if both day of month and day of week are restricted, the command runs when either matches; 0 and 7 are Sunday.
# A payout is due on the 1st, the 15th and every Monday: "0 9 1,15 * 1". The script looks at the runs of April 2026.
# Guess: libraries that read crontab lines agree on plain ones, or refuse what they do not know.
# Seen:  CronTrigger.from_crontab() counts days from Monday = 0, so a 1 is Tuesday and a 0 Monday (its docstring warns of it); it
#        refuses a 7. It and cron-converter want both days to match: no payout in all April. pycron never matches the 7:
#        "0 9 * * 7" never runs, and "1-7", every day, leaves out Sundays. With "*/2" for the day croniter runs on either, 17
#        times, the others where both match, twice; cronsim follows Debian's cron there.
# So: write names of days, one restricted field a line, and print the next runs of a schedule where it is set.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'croniter==7.0.0' 'cronsim==2.8' 'cron-converter==2.0.2' 'pycron==3.3.0' 'APScheduler==3.11.3' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pycron
from apscheduler.triggers.cron import CronTrigger
from cron_converter import Cron
from croniter import croniter
from cronsim import CronSim

BEGIN, END = datetime(2026, 3, 31, 23, 59), datetime(2026, 5, 1)


def read_by_croniter(line):
    runs = croniter(line, BEGIN)
    return iter(lambda: runs.get_next(datetime), None)


def read_by_converter(line):
    return iter(Cron(line).schedule(BEGIN).next, None)


def read_by_pycron(line):
    hours = (BEGIN + timedelta(minutes=1) + timedelta(hours=n) for n in range(24 * 40))
    return (hour for hour in hours if pycron.is_now(line, hour))


def read_by_apscheduler(line):
    trigger, run = CronTrigger.from_crontab(line, timezone=UTC), BEGIN.replace(tzinfo=UTC)
    while run := trigger.get_next_fire_time(None, run + timedelta(seconds=1)):
        yield run.replace(tzinfo=None)


def read_by_cronsim(line):
    return CronSim(line, BEGIN)


def runs_of_april(read, line):
    try:
        runs = list(takewhile(lambda run: run < END, read(line)))
    except ValueError:
        return "refused"
    return f"{len(runs)}" + (f" from {runs[0]:%a %d}" if runs else "")


readers = {"croniter": read_by_croniter, "cronsim": read_by_cronsim, "APScheduler": read_by_apscheduler,
           "cron-converter": read_by_converter, "pycron": read_by_pycron}
for line in ("0 9 * * 1", "0 9 1,15 * 1", "0 9 * * 7", "0 9 * * 1-7", "0 9 */2 * 1"):
    print(f"{line}: " + ", ".join(f"{name} {runs_of_april(read, line)}" for name, read in readers.items()))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='0 9 * * 1: croniter 4 from Mon 06, cronsim 4 from Mon 06, APScheduler 4 from Tue 07, cron-converter 4 from Mon 06, pycron 4 from Mon 06
0 9 1,15 * 1: croniter 6 from Wed 01, cronsim 6 from Wed 01, APScheduler 0, cron-converter 0, pycron 6 from Wed 01
0 9 * * 7: croniter 4 from Sun 05, cronsim 4 from Sun 05, APScheduler refused, cron-converter 4 from Sun 05, pycron 0
0 9 * * 1-7: croniter 30 from Wed 01, cronsim 30 from Wed 01, APScheduler refused, cron-converter 30 from Wed 01, pycron 26 from Wed 01
0 9 */2 * 1: croniter 17 from Wed 01, cronsim 2 from Mon 13, APScheduler 2 from Tue 07, cron-converter 2 from Mon 13, pycron 2 from Mon 13'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the readers no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
