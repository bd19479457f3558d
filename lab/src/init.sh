#!/bin/sh
# pid 1 of a lab host (and of the lab's switch): makes the private file system, says "ready", then reaps orphans for
# ever. Invariant: it changes mounts of its own namespace only, so that its death leaves nothing behind.
# libvirtd must not be pid 1 itself: it does not reap its QEMU probes, and each then costs 40 s.
#
#   init.sh MARK HOSTNAME FOLDER [SOURCE MOUNTPOINT]...
# MARK      how the processes of this host are found again
# FOLDER    the host's folder: etc (what it has in /etc beside this machine's), etc-work, no-kvm (bound over /dev/kvm if it exists)
set -eu
hostname=$2 folder=$3
shift 3

mount --make-rprivate /
hostname "$hostname"
# /sys shows the network of the namespace that mounted it.
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mkdir -p /run/lock /run/libvirt
if [ -d "$folder/etc" ]; then
  if ! mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/etc-work" overlay /etc 2>/dev/null; then
    # The lab's folder is itself on an overlay, as in a container: a whole copy does the same.
    if [ ! -d "$folder/etc-copy" ]; then
      cp -a /etc "$folder/etc-copy.part"
      cp -a "$folder/etc/." "$folder/etc-copy.part"
      mv "$folder/etc-copy.part" "$folder/etc-copy"
    fi
    mount --bind "$folder/etc-copy" /etc
  fi
fi
while [ $# -ge 2 ]; do
  if [ -d "$2" ]; then mount --bind "$1" "$2"; fi
  shift 2
done
# A read-only regular file, so that access(W_OK) fails as well. With /dev/null libvirt probes QEMU anew at every start.
if [ -e "$folder/no-kvm" ] && [ -e /dev/kvm ]; then
  mount --bind "$folder/no-kvm" /dev/kvm
  mount -o remount,bind,ro /dev/kvm
fi
echo ready
exec >/dev/null

# `wait` collects every orphan of this pid namespace while it waits for the sleeper.
while :; do
  sleep infinity &
  wait $! || :
done
