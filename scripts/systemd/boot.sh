#!/bin/sh
# Boots systemd as process 1 of namespaces of its own, on a root that cannot be written. Nothing that it does shows outside.
#   boot.sh <package> <units> <cgroup> [<systemd>]
# The package is seen at /srv/package. The units are all that this systemd knows. It is that of this machine, or one that has
# been unpacked into a directory.
set -eu
package=$1 units=$2 cgroup=$3 systemd=${4:-}

if [ "${INSIDE:-}" != yes ]; then
  echo $$ >"$cgroup/cgroup.procs"
  INSIDE=yes exec unshare --mount --propagation private --uts --ipc --cgroup --pid --fork --kill-child -- \
    sh "$0" "$package" "$units" "$cgroup" "$systemd"
fi

mount -t tmpfs -o mode=755 tmpfs /srv
mkdir /srv/package /srv/units /srv/dev
mount --bind "$package" /srv/package
mount -o remount,bind,ro /srv/package
cp "$units"/* /srv/units/

if [ -n "$systemd" ]; then
  mount -t overlay -o "lowerdir=$systemd/usr:/usr" overlay /usr
fi

for device in null zero full random urandom tty; do
  : >"/srv/dev/$device"
  mount --bind "/dev/$device" "/srv/dev/$device"
done
ln -s /proc/self/fd /srv/dev/fd
mkdir /srv/dev/shm /srv/dev/pts
mount --rbind /srv/dev /dev

mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
mount -t tmpfs -o mode=755 tmpfs /var/log
mount -t tmpfs -o mode=755 tmpfs /var/lib/systemd
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/units
cp /srv/units/* /run/units/

mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -o remount,bind,ro /sys
mount -o remount,bind,ro /

exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=tableflip \
  SYSTEMD_UNIT_PATH=/run/units \
  /lib/systemd/systemd --system --unit=tiny.target --log-target=null --show-status=no
