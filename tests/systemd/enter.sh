# Becomes a machine of its own: mounts, then systemd as process 1. Runs in new namespaces (machine.py), as
#   bash enter.sh LOWER WORK KIT
# LOWER is a Debian root that stays as it is, WORK keeps what the machine writes, KIT is shown at /srv/kit.
set -euo pipefail
lower=$1 work=$2 kit=$3
ip link set lo up
hostname ordermq-vm
mkdir -p "$work"/{upper,work,root}
root=$work/root
mount -t overlay ordermq-vm -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/work" "$root"
mkdir -p "$root/srv/kit"
mount --bind "$kit" "$root/srv/kit"
mount -o remount,bind,ro "$root/srv/kit"

# Without a read-only /proc/sys and a /dev of its own, the services of this machine would change the host.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<<"$device"
    mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done
touch "$root/dev/console" "$work/console.log"
mount --bind "$work/console.log" "$root/dev/console"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do
    ln -s "fd/${number%:*}" "$root/dev/${number#*:}"
done

# What belongs to a machine's hardware.
for unit in systemd-sysctl systemd-binfmt systemd-modules-load systemd-remount-fs systemd-udevd \
            systemd-random-seed systemd-networkd systemd-timesyncd getty@tty1 console-getty e2scrub_reap; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
done
rm -f "$root/etc/fstab"
echo ordermq-vm >"$root/etc/hostname"
echo "127.0.0.1 localhost ordermq-vm" >"$root/etc/hosts"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"

cd "$root"
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
# A service's credentials are mounted for it alone, which takes a shared root.
mount --make-rshared /
exec env -i container=ordermq PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=0
