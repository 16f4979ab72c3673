#!/usr/bin/env bash
# Atheris 3.0.0: merging a corpus keeps nothing and exits with 0, unless the script of the target is an executable file.
#
# `python fuzz.py -merge=1 KEPT FOUND` is to copy to KEPT the inputs of FOUND that reach different code. libFuzzer does it in a
# process that it starts again for each input that ends it. It starts argv[0] by a shell.
# Guess: what can be run as `python fuzz.py` or `python -m fuzz` can be merged in the same way, or the exit code says that it cannot.
# Seen:  "sh: fuzz.py: not found" for each of the inputs, "0 new files with 0 new features added", exit code 0.
#        KEPT is empty. Who replaces a corpus by what was merged, as is usual to keep it small, has lost it.
# So: give libFuzzer a command as argv[0], sys.argv[0] = f"{sys.executable} fuzz.py", and take an empty KEPT for a failure.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'atheris==3.0.0' 2>/dev/null

cat > "$work/fuzz.py" <<'PY'
import sys

import atheris


@atheris.instrument_func
def target(data):
    if data[:1] == b"a":
        if data[1:2] == b"b":
            pass


if len(sys.argv) > 1 and sys.argv[-1] == "command":
    sys.argv.pop()
    sys.argv[0] = f"{sys.executable} {sys.argv[0]}"
atheris.Setup(sys.argv, target)
atheris.Fuzz()
PY
mkdir "$work/found"
for each in a ab b; do printf %s "$each" > "$work/found/$each"; done
seen=""
for how in "" command; do
    mkdir "$work/kept$how"
    # shellcheck disable=SC2086 # no word at all where it is empty
    code=0; (cd "$work" && venv/bin/python fuzz.py -merge=1 "kept$how" found $how) >"$work/said" 2>&1 || code=$?
    kept=$(find "$work/kept$how" -type f | wc -l)
    seen+="${how:-the script}: exit $code, $([ "$kept" = 0 ] && echo nothing || echo some) kept"$'\n'
done
expected=$'the script: exit 0, nothing kept\ncommand: exit 0, some kept\n'
printf '%s' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'atheris no longer behaves as stated; expected:\n%s' "$expected" >&2
    exit 1
fi
