# SPDX-License-Identifier: GPL-2.0-only
"""A real systemd as PID 1 for the tests of a script, on the running kernel.

boot() runs the calling script again under systemd, in namespaces of its own (mount, pid, network, uts, ipc, cgroup), over a
root that is this machine's with a temporary layer on top: nothing outside changes, and all of it is gone when the script
is done, also after SIGKILL, but for the cgroup, which is removed at exit and swept at the next start. What the script
prints there is printed here.

In: the script, the folders that it needs as they are. Out: its output, and the exit status 0 if it ran to its end.
"""

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from weirtest import SLOW, cgroup_mount, write  # of tests/kernel; the script has put that into sys.path

PREFIX = "weir-test"
INSIDE = "WEIR_UNDER_SYSTEMD"
SYSTEMD = "/lib/systemd/systemd"
LIMIT = 240 * SLOW  # seconds

# What stays out: units that look for hardware, change the kernel's settings, or wait for what will not come.
MASKED = """
systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service
systemd-timesyncd.service systemd-networkd.service systemd-remount-fs.service systemd-random-seed.service
systemd-hwdb-update.service systemd-pstore.service systemd-sysctl.service systemd-modules-load.service
systemd-journald-audit.socket systemd-journal-flush.service getty.target console-getty.service e2scrub_reap.service
remote-fs.target tmp.mount dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount
sys-fs-fuse-connections.mount systemd-ask-password-console.path systemd-ask-password-wall.path kmod-static-nodes.service
networking.service nftables.service systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service
""".split()

# Becomes PID 1: mounts the root, leaves the old one, and executes systemd.
FIRST = r"""
set -eu
scratch=$1 script=$2; shift 2
mount -t tmpfs tmpfs "$scratch/t" -o mode=755
mkdir "$scratch/t/upper" "$scratch/t/work" "$scratch/t/root"
root=$scratch/t/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/t/upper,workdir=$scratch/t/work" "$root"
for folder in "$scratch/io" "$@"; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
done
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/run"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf bpf "$root/sys/fs/bpf" -o mode=700
mount -t tmpfs tmpfs "$root/run" -o mode=755
mount -t tmpfs tmpfs "$root/dev" -o mode=755
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666,mode=620
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s "$scratch/io/console" "$root/dev/console"
mkdir -p "$root/run/systemd/system"
for unit in $MASKED; do ln -sf /dev/null "$root/run/systemd/system/$unit"; done
cp "$scratch/io/here.service" "$root/run/systemd/system/"
: >"$scratch/t/fstab"
[ ! -e "$root/etc/fstab" ] || mount --bind "$scratch/t/fstab" "$root/etc/fstab"
cd "$root"
mkdir -p .old
pivot_root . .old
umount -l .old
unset NOTIFY_SOCKET LISTEN_FDS LISTEN_PID MASKED
export container=weir-test
exec </dev/null >>"$scratch/io/console" 2>&1
exec /lib/systemd/systemd --system --unit=here.service --crash-reboot=no --log-target=journal --show-status=no
"""

SERVICE = """
[Unit]
DefaultDependencies=no
Wants=dbus.socket systemd-journald.service
After=dbus.socket systemd-journald.socket systemd-journald.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
StandardInput=null
StandardOutput=append:%(io)s/out
StandardError=append:%(io)s/out
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root %(inside)s=1 %(environment)s
ExecStart=/usr/bin/python3 %(script)s %(arguments)s
ExecStopPost=/bin/sh -c 'echo "$EXIT_STATUS" >%(io)s/status'
"""


def inside():
    return INSIDE in os.environ


def why_not():
    """The reason why systemd cannot be started here, or None."""
    if os.geteuid():
        return "needs root"
    if not os.path.exists(SYSTEMD):
        return "there is no systemd"
    if not cgroup_mount():
        return "no cgroup2 mount"
    with open("/proc/filesystems") as file:
        if "\toverlay\n" not in file.read():
            return "the kernel has no overlay file system"
    return None


def remove_cgroup(path):
    """With all that is in it."""
    kill = os.path.join(path, "cgroup.kill")
    if os.path.exists(kill):
        write(kill, "1")
    for _ in range(100):
        for folder, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass
        if not os.path.exists(path):
            return
        time.sleep(0.02)


def sweep(top):
    for name in os.listdir(top):
        match = re.match(PREFIX + r"-systemd-(\d+)$", name)
        if match and not os.path.exists("/proc/" + match.group(1)):
            remove_cgroup(os.path.join(top, name))


def boot(script, folders, environment):
    """Runs the script under systemd and prints what it printed. False if it did not come to an end."""
    top = cgroup_mount()
    sweep(top)
    scratch = tempfile.mkdtemp(prefix=PREFIX + "-systemd-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    io = os.path.join(scratch, "io")
    os.mkdir(io)
    os.mkdir(os.path.join(scratch, "t"))
    write(os.path.join(scratch, "first"), FIRST)
    write(os.path.join(io, "out"), "")
    write(os.path.join(io, "console"), "")
    write(os.path.join(io, "here.service"), SERVICE % {
        "io": io, "inside": INSIDE, "script": script, "arguments": " ".join(sys.argv[1:]),
        "environment": " ".join("%s=%s" % pair for pair in environment.items())})
    cgroup = os.path.join(top, "%s-systemd-%d" % (PREFIX, os.getpid()))
    os.mkdir(cgroup)
    atexit.register(remove_cgroup, cgroup)
    command = ["unshare", "--mount", "--propagation", "private", "--cgroup", "--pid", "--fork", "--uts", "--ipc", "--net",
               "--kill-child", "/bin/bash", os.path.join(scratch, "first"), scratch, script] + folders
    subprocess.run(command, env=dict(os.environ, MASKED=" ".join(MASKED)), timeout=LIMIT, check=False,
                   preexec_fn=lambda: write(os.path.join(cgroup, "cgroup.procs"), "0"))
    with open(os.path.join(io, "out")) as file:
        sys.stdout.write(file.read())
    status = os.path.join(io, "status")
    if not os.path.exists(status):
        with open(os.path.join(io, "console")) as file:
            sys.stdout.write(file.read())
        return False
    with open(status) as file:
        return file.read().strip() == "0"
