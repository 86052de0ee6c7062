#!/bin/sh
# Run a command in Linux namespaces of its own, as root: network (with an address, as hosts have), processes, shared
# memory, and the folder of Ray in /tmp.
# The shell stays as the first process, which buries orphans: a killed one would be taken for alive otherwise.
exec unshare --net --mount --uts --ipc --pid --fork --kill-child --mount-proc sh -ec '
ip link set lo up
ip link add eth0 type veth peer name eth1
ip addr add 10.78.0.1/24 dev eth0
ip link set eth0 up
ip link set eth1 up
mkdir -p /tmp/ray
mount -t tmpfs tmpfs /tmp/ray
mount -t tmpfs tmpfs /dev/shm
mkdir -p /dev/shm/etc
printf "127.0.0.1 localhost\n10.78.0.1 %s\n" "$(hostname)" > /dev/shm/etc/hosts
mount --bind /dev/shm/etc/hosts /etc/hosts
mount --bind /dev/null /etc/resolv.conf
"$@"
' sh "$@"
