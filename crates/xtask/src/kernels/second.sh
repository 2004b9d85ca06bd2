# What a guest runs on its root directory: mounts what a system has, runs the command that stands in
# `shared`, leaves its exit status there, and powers off.
b=/.guest/bin/busybox
shared=/.guest/shared
export HOME=/root TERM=dumb
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.guest/bin
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t tmpfs run /run
$b mkdir -p /dev/pts /dev/shm /run/netns
$b mount -t devpts pts /dev/pts
$b mount -t tmpfs shm /dev/shm
$b mount -t bpf bpf /sys/fs/bpf
$b mount -t cgroup2 cgroup /sys/fs/cgroup
$b mount -t tracefs trace /sys/kernel/tracing
# The host's modules are of another kernel. When this one wants a module (veth, qdiscs), it calls a
# modprobe, with options that busybox's does not know.
modules=/lib/modules/$($b uname -r)
$b mkdir -p "$modules"
$b mount -o bind "$($b cat $shared/modules)" "$modules"
$b printf '#!%s sh\nwhile case "$1" in -*) true;; *) false;; esac; do shift; done\nexec %s modprobe "$@"\n' $b $b >/.guest/bin/modprobe
$b chmod +x /.guest/bin/modprobe
echo /.guest/bin/modprobe >/proc/sys/kernel/modprobe
$b ip link set lo up
cd "$($b cat $shared/folder)" || $b poweroff -f
exec </dev/null >/dev/hvc0 2>&1
$b stty -F /dev/hvc0 -onlcr
$b sh $shared/command
echo $? >$shared/status
$b sync
$b poweroff -f
