#!/bin/busybox sh
# The first thing a guest runs, from its initial RAM disk: makes the host's root directory, read-only
# under a layer of memory, its own, and goes on there with second.sh.
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
for module in $($b cat /modules); do $b modprobe "$module"; done
$b mkdir -p /host /memory /root
$b mount -t tmpfs memory /memory
$b mkdir /memory/upper /memory/work
host=trans=virtio,version=9p2000.L,msize=524288
$b mount -t 9p -o "$host,cache=loose,ro" host /host || $b poweroff -f
$b mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root || $b poweroff -f
$b mkdir -p /root/.guest/bin /root/.guest/shared
$b cp /second.sh "$b" /root/.guest/bin/
$b mount -t 9p -o "$host" shared /root/.guest/shared || $b poweroff -f
$b mount --move /dev /root/dev
exec $b switch_root -c /dev/ttyS0 /root /.guest/bin/busybox sh /.guest/bin/second.sh
