# Read by bash in a clean Debian, see clean_root.py. Each line "proved: ..." is one thing seen.
install="/srv/kit/bin/install-vm --dist /srv/kit/dist --wheels /srv/kit/dist/wheels"
fails() { local code=$1; shift; set +e; "$@" >/tmp/said 2>&1; local found=$?; set -e
          [ $found = "$code" ] || { echo "exit $found, not $code: $*"; cat /tmp/said; exit 1; }; }

fails 64 /srv/kit/bin/install-vm --dist /nowhere
fails 64 $install --nonsense
fails 77 setpriv --reuid=nobody $install
$install --dry-run --enable relay >/tmp/dry
grep -q '^+ user ordermq$' /tmp/dry
grep -q '^+ExecStart=/opt/ordermq/current/bin/ordermq-relay$' /tmp/dry
[ ! -e /opt/ordermq ] && [ ! -e /etc/ordermq ]
echo "proved: --dry-run shows user and units, and changes nothing"

cp -r /srv/kit/dist /tmp/broken
sed -i "s/sha256:[0-9a-f]*/sha256:$(printf '0%.0s' {1..64})/g" /tmp/broken/constraints.txt
fails 65 $install --dist /tmp/broken
[ ! -e /opt/ordermq/current ]
echo "proved: a package with another hash is refused with 65"

$install --enable relay,consumer@payment:1,prune.timer >/tmp/first
current=$(readlink /opt/ordermq/current)
/opt/ordermq/current/bin/ordermq --version
[ "$(stat -c '%A %U %G' /etc/ordermq/ordermq.toml)" = '-rw-r----- root ordermq' ]
[ "$(stat -c '%A %U %G' /etc/ordermq/credentials)" = 'drwx------ root root' ]
[ -L /etc/systemd/system/ordermq.target.wants/ordermq-consumer@payment:1.service ]
systemd-analyze verify --man=no /etc/systemd/system/ordermq*.{service,timer,target} 2>&1 | grep ordermq && exit 1
for unit in relay consumer@x prune reconcile alert@x audit forward; do
    systemd-analyze security --offline=true --threshold=20 --no-pager ordermq-$unit.service >/tmp/said
done
versions="$(python3 --version), $(systemctl --version | head -1)"
echo "proved: installed $current with $versions; units verified, security <= 2.0"

echo '# mine' >>/etc/ordermq/ordermq.toml
$install --enable relay,consumer@payment:1,prune.timer >/tmp/second
grep -v '^systemd does not run here' /tmp/second | tee /tmp/changed
[ "$(cat /tmp/changed)" = "is current: /opt/ordermq/$current" ]
grep -q '# mine' /etc/ordermq/ordermq.toml
echo "proved: a second run changes nothing, and keeps the settings"

fails 64 /srv/kit/bin/install-vm --rollback
$install --own /srv/kit/own/giftshop-*.whl --enable consumer@gifts >/tmp/third
ORDERMQ_MODULES=ordermq.shop,giftshop.gifts /opt/ordermq/current/bin/ordermq config show >/tmp/said
echo "proved: a project of one's own is installed beside ordermq, with its hash"
[ "$(readlink /opt/ordermq/current)" != "$current" ]
echo 'rm this' >>/etc/systemd/system/ordermq-relay.service
/srv/kit/bin/install-vm --rollback >/tmp/back
[ "$(readlink /opt/ordermq/current)" = "$current" ]
grep -q 'rm this' /etc/systemd/system/ordermq-relay.service && exit 1
echo "proved: --rollback goes back, with the units of that release"

python=/opt/ordermq/current/bin/python
extras() { $python -c 'import importlib.util as u; print(*(n for n in ("cryptography", "confluent_kafka") if u.find_spec(n)))'; }
[ "$(extras)" = "" ]
fails 64 $install --enable forward
grep -q 'needs ordermq\[kafka\]: --extras kafka$' /tmp/said
$install --dry-run --extras audit,kafka >/tmp/dry
grep -q '^+ package confluent-kafka==' /tmp/dry && grep -q ' with audit, kafka, and what it needs)$' /tmp/dry
$install --extras audit --enable audit.timer >/tmp/fifth
[ "$(extras)" = cryptography ] && id ordermq-audit >/dev/null
fails 64 $install --extras none
$install --dist /srv/kit/next >/tmp/sixth
[ "$(extras)" = cryptography ]
/srv/kit/bin/install-vm --rollback >/tmp/back
[ "$(extras)" = cryptography ]
echo "proved: --extras brings packages that are pinned, an upgrade and a rollback keep them"
