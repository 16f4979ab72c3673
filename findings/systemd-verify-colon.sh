#!/usr/bin/env bash
# systemd 252.39 (and 257): a unit that runs, with a colon in its name, cannot be given to systemd-analyze verify.
#
# The instance of mail@a:2.service is a:2; systemctl starts it, and other commands of systemd-analyze read it. verify takes what follows
# a colon for the name under which to read the file (FILE:ALIAS, since systemd 250), and no quoting changes that.
# Guess: verify reads every unit that systemctl starts.
# Seen:  verify ./mail@a:2.service ends with 1 and "Couldn't process aliases: No such file or directory", which names no file. The same
#        happens to its name without a folder, and with a second colon. In a test or a Makefile that verifies several
#        units at once, none of them is looked at. security --offline reads it.
# So: verify the template under the name of the instance: systemd-analyze verify ./mail@.service:mail@a:2.service
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
version=252.39-1~deb12u2
apt-get download -qq "systemd=$version" "libsystemd-shared=$version"
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/$(uname -m)-linux-gnu/systemd
analyze() { "$work/root/usr/bin/systemd-analyze" "$@"; }
printf '[Service]\nExecStart=/bin/true\nNoSuchKey=1\n' >mail@.service
ln -s mail@.service mail@a.service
ln -s mail@.service mail@a:2.service

# Print the exit code and what was said of the unit: a file that is read has an unknown key.
verify() {
    local said code=0
    said=$(analyze verify --man=no "$@" 2>&1) || code=$?
    printf '%s: %s %s\n' "$*" "$code" "$(grep -o "Unknown key\|Couldn't process aliases: .*" <<<"$said" | sort -u | paste -sd,)"
}
{
    analyze --version | head -1
    verify ./mail@a.service
    verify ./mail@a:2.service
    verify ./mail@a.service ./mail@a:2.service
    verify ./mail@.service:mail@a:2.service
} | tee seen
diff seen - <<'SEEN'
systemd 252 (252.39-1~deb12u2)
./mail@a.service: 0 Unknown key
./mail@a:2.service: 1 Couldn't process aliases: No such file or directory
./mail@a.service ./mail@a:2.service: 1 Couldn't process aliases: No such file or directory
./mail@.service:mail@a:2.service: 0 Unknown key
SEEN
analyze security --offline=true --no-pager ./mail@a:2.service | tail -1
