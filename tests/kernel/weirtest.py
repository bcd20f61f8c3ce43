# SPDX-License-Identifier: GPL-2.0-only
"""What the tests with real packets share: a world of their own, traffic, the weir command, and TAP.

Importing this and calling main() moves the process into a network namespace and a mount namespace of its own, with a
bpffs of its own (WEIR_BPFFS), so that nothing outside is touched and nothing is left behind, even after SIGKILL; only
the cgroup that a test makes lives outside, and is removed at exit and swept at the next start.

The process itself stands for the host ("us"); a second namespace is the peer. They are joined by a veth pair:

    us: weir0 10.77.0.1, fd77::1          peer: peer0 10.77.0.2, fd77::2
"""

import atexit
import contextlib
import ctypes
import errno
import functools
import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

PREFIX = "weir-test"  # of what has a name outside: the cgroups and the folder for files
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WEIR = os.environ.get("WEIR", os.path.join(ROOT, "build/src/cli/weir"))

OUR4, PEER4 = "10.77.0.1", "10.77.0.2"
OUR6, PEER6 = "fd77::1", "fd77::2"
OUR_MAC, PEER_MAC = "02:77:00:00:00:01", "02:77:00:00:00:02"
IPV4, IPV6 = socket.AF_INET, socket.AF_INET6
FAMILIES = (IPV4, IPV6)
SLOW = float(os.environ.get("WEIR_SLOW", "1"))  # emulated machines
SHORT = 0.15 * SLOW  # seconds to wait for what should not come; veth delivers in microseconds

libc = ctypes.CDLL(None, use_errno=True)


def check_call(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def unshare(flags):
    check_call(libc.unshare(flags))


def setns(fd):
    check_call(libc.setns(fd, CLONE_NEWNET))


def mount(source, target, kind, flags, data=None):
    check_call(libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags,
                          data.encode() if data else None))


def run(*command, check=True, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if check and done.returncode:
        raise RuntimeError("%s: exit status %d\n%s%s" % (" ".join(command), done.returncode, done.stdout, done.stderr))
    return done


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


class Namespace:
    """A network namespace, held by a descriptor. `with namespace:` runs the block in it."""

    def __init__(self, fd=None):
        self.back = []
        if fd is not None:
            self.fd = fd
            return
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        unshare(CLONE_NEWNET)
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        setns(home)
        os.close(home)

    @property
    def path(self):
        return "/proc/%d/fd/%d" % (os.getpid(), self.fd)

    def __enter__(self):
        self.back.append(os.open("/proc/self/ns/net", os.O_RDONLY))
        setns(self.fd)
        return self

    def __exit__(self, *unused):
        fd = self.back.pop()
        setns(fd)
        os.close(fd)

    def run(self, *command, **options):
        with self:
            return run(*command, **options)

    def close(self):
        os.close(self.fd)


class World:
    """The two namespaces and the folder for files."""

    us = None
    peer = None
    folder = None


world = World()


def quiet_interface(name):
    """No IPv6 chatter of its own: tests count packets. What multicast must say, it says once and at once."""
    base = "/proc/sys/net/ipv6/conf/%s/" % name
    with contextlib.suppress(OSError):
        write("/proc/sys/net/ipv6/mld_qrv", "1")
    for key, value in (("accept_ra", 0), ("router_solicitations", 0), ("accept_dad", 0), ("addr_gen_mode", 1),
                       ("mldv1_unsolicited_report_interval", 10), ("mldv2_unsolicited_report_interval", 10)):
        with contextlib.suppress(OSError):
            write(base + key, "%d" % value)


def configure(name, mac, four, six):
    quiet_interface(name)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "set", name, "address", mac)
    run("ip", "link", "set", name, "up")
    run("ip", "addr", "add", four + "/24", "dev", name)
    run("ip", "-6", "addr", "add", six + "/64", "dev", name, "nodad")


def join(name, mac, four, six):
    """Neighbours by hand, so that no ARP and no neighbour discovery disturbs the counts."""
    run("ip", "neigh", "replace", four, "lladdr", mac, "dev", name, "nud", "permanent")
    run("ip", "-6", "neigh", "replace", six, "lladdr", mac, "dev", name, "nud", "permanent")


def make_world():
    unshare(CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    world.folder = tempfile.mkdtemp(prefix=PREFIX + "-", dir=world.folder)  # in that of the world that this one is beside
    atexit.register(shutil.rmtree, world.folder, ignore_errors=True)
    bpffs = os.path.join(world.folder, "bpf")
    os.mkdir(bpffs)
    mount("bpf", bpffs, "bpf", 0)
    atexit.register(libc.umount2, bpffs.encode(), 2)
    os.environ["WEIR_BPFFS"] = bpffs
    os.environ["WEIR_RUN"] = os.path.join(world.folder, "run")
    unshare(CLONE_NEWNET)
    world.us = Namespace(os.open("/proc/self/ns/net", os.O_RDONLY))
    world.peer = Namespace()
    run("ip", "link", "add", "weir0", "type", "veth", "peer", "name", "peer0", "netns", world.peer.path)
    configure("weir0", OUR_MAC, OUR4, OUR6)
    join("weir0", PEER_MAC, PEER4, PEER6)
    with world.peer:
        configure("peer0", PEER_MAC, PEER4, PEER6)
        join("peer0", OUR_MAC, OUR4, OUR6)
    time.sleep(0.1)


def side_by_side(*works):
    """Each in a process and a world of its own, all at the same time. Fails with what they say."""
    children = []
    for work in works:
        said, says = os.pipe()
        child = os.fork()
        if not child:
            with open(says, "w") as file:
                try:
                    make_world()
                    work()
                except BaseException:  # SIGTERM too: nothing of the parent's is to be tidied up here
                    file.write(traceback.format_exc())
            os._exit(0)
        os.close(says)
        children.append((child, said))
    complaints = ""
    for child, said in children:
        with open(said) as file:
            complaints += file.read()
        if os.waitpid(child, 0)[1]:
            complaints += "a process was killed\n"
    if complaints:
        raise AssertionError(complaints)


# --- cgroups ---------------------------------------------------------------------------------------------------------


def cgroup_mount():
    with open("/proc/self/mounts") as file:
        for line in file:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    return None


def cgroup_of_self():
    with open("/proc/self/cgroup") as file:
        for line in file:
            if line.startswith("0::"):
                return line.strip()[3:]
    return "/"


class Cgroup:
    """A child of the cgroup2 root. `with cgroup:` moves this process into it for the block."""

    number = itertools.count()

    def __init__(self, suffix=""):
        self.top = cgroup_mount()
        if self.top is None:
            raise unittest.SkipTest("no cgroup2 mount")
        self.name = "/%s-%d-%d%s" % (PREFIX, os.getpid(), next(self.number), suffix)
        self.path = self.top + self.name
        os.mkdir(self.path)
        atexit.register(self.remove)

    def __enter__(self):
        self.back = cgroup_of_self()
        write(self.path + "/cgroup.procs", "0")
        return self

    def __exit__(self, *unused):
        write(self.top + self.back + "/cgroup.procs", "0")

    def remove(self):
        for _ in range(50):
            try:
                os.rmdir(self.path)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


def sweep_cgroups():
    top = cgroup_mount()
    for name in os.listdir(top) if top else ():
        match = re.match(PREFIX + r"-(\d+)", name)
        if match and not os.path.exists("/proc/" + match.group(1)):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(top, name))


# --- bpf(2) ----------------------------------------------------------------------------------------------------------

SYS_BPF = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine)
BPF_OBJ_GET, BPF_OBJ_GET_INFO_BY_FD, BPF_F_RDONLY = 7, 15, 8
INFO_SIZE, INFO_VERIFIED_INSNS = 232, 216  # struct bpf_prog_info


def open_pin(path):
    attributes = ctypes.create_string_buffer(path.encode())
    request = struct.pack("=QII", ctypes.addressof(attributes), 0, BPF_F_RDONLY)
    fd = libc.syscall(SYS_BPF, BPF_OBJ_GET, request, len(request))
    check_call(fd)
    return fd


def checked_instructions(path):
    """How many instructions the kernel has looked at to check a pinned program."""
    fd = open_pin(path)
    info = ctypes.create_string_buffer(INFO_SIZE)
    request = struct.pack("=IIQ", fd, INFO_SIZE, ctypes.addressof(info))
    try:
        check_call(libc.syscall(SYS_BPF, BPF_OBJ_GET_INFO_BY_FD, request, len(request)))
    finally:
        os.close(fd)
    return struct.unpack_from("=I", info.raw, INFO_VERIFIED_INSNS)[0]


# --- killed commands -------------------------------------------------------------------------------------------------


def ptrace(request, pid):
    check_call(libc.ptrace(request, pid, None, None))


def run_killed(arguments, stops, steps=0, reached=(lambda: False)):
    """Runs weir until it has entered or left so many system calls and taken so many instructions more, or until `reached`
    says so after one of these, then kills it. How many stops there were, if it ended before."""
    traceme, syscall, singlestep = 0, 24, 9
    process = subprocess.Popen([WEIR, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: libc.ptrace(traceme, 0, None, None))
    count = 0
    _, status = os.waitpid(process.pid, 0)
    while os.WIFSTOPPED(status) and count < stops + steps and not reached():
        ptrace(syscall if count < stops else singlestep, process.pid)
        _, status = os.waitpid(process.pid, 0)
        count += 1
    if os.WIFSTOPPED(status):
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
    process.returncode = 0
    return count


# --- programs of somebody else ---------------------------------------------------------------------------------------

FOREIGN = """
__attribute__((section("%s"), used)) int stranger(void *context) { return %d; }
char _license[] __attribute__((section("license"), used)) = "GPL";
"""


def foreign_program(section, answer):
    """Loads a program that always gives the same answer, and pins it; the path."""
    source, target = os.path.join(world.folder, "stranger.c"), os.path.join(world.folder, "stranger.o")
    pin = os.path.join(os.environ["WEIR_BPFFS"], "stranger_" + section)
    write(source, FOREIGN % (section, answer))
    run("clang", "-O2", "-target", "bpf", "-c", source, "-o", target)
    run("bpftool", "prog", "load", target, pin)
    return pin


def let_xdp_answer():
    """XDP_TX over a veth pair arrives only if the other end runs XDP too, unlike with a network card."""
    pin = foreign_program("xdp", 2)
    world.peer.run("bpftool", "net", "attach", "xdp", "pinned", pin, "dev", "peer0")
    os.unlink(pin)


# --- the weir command ------------------------------------------------------------------------------------------------


def weir(*arguments, check=True, **options):
    return run(WEIR, *arguments, check=check, **options)


def policy_file(text, name="policy.weir"):
    path = os.path.join(world.folder, name)
    write(path, text)
    return path


def apply(text, *options, name="policy.weir"):
    """Must succeed, unless this kernel is too old for a hook. The root cgroup is everybody's: tests beside would lose packets."""
    assert not re.search(r'on (cgroup|connect|bind) "/"', text), text
    path = policy_file(text, name)
    done = weir("apply", *options, path, check=False)
    too_old = re.search(r"hook .* needs Linux [\d.]+ or later", done.stderr)
    if done.returncode == 2 and too_old:
        raise unittest.SkipTest(too_old.group())
    if done.returncode:
        raise RuntimeError("weir apply %s: exit status %d\n%s%s" % (path, done.returncode, done.stderr, text))
    return done


class Counts:
    """What `weir show --json` says: rule(n), default, malformed, non_ip as (packets, bytes)."""

    def __init__(self, policy):
        shown = json.loads(weir("show", policy, "--json").stdout)
        self.raw = shown
        self.rules = {rule["number"]: (rule["packets"], rule["bytes"]) for rule in shown["rules"]}
        self.default = self.pair(shown["default"])
        self.malformed = self.pair(shown["malformed"])
        self.non_ip = self.pair(shown["non_ip"])

    @staticmethod
    def pair(value):
        return value["packets"], value["bytes"]

    def packets(self, number):
        return self.rules[number][0]


def stack_counts():
    """What the stack of our side took in: (protocol, counter, number)."""
    with world.us, open("/proc/thread-self/net/snmp") as file:
        lines = [line.split() for line in file]
    for names, numbers in zip(lines[::2], lines[1::2]):
        yield from ((names[0], name, int(number)) for name, number in zip(names[1:], numbers[1:]))


def circumstances():
    """For who reads of a failure: what policies in force have counted by now, and what the stack took in, dropped or not."""
    said = []
    with contextlib.suppress(Exception):
        for name in os.listdir(os.path.join(os.environ["WEIR_BPFFS"], "weir")):
            if not name.startswith("@"):
                counts = Counts(name)
                rules = ["%d: %d" % (rule, packets) for rule, (packets, _) in counts.rules.items() if packets]
                said.append("`%s` counted %s" % (name, ", ".join(
                    rules + ["default: %d" % counts.default[0], "malformed: %d" % counts.malformed[0]])))
        said.append("the stack counted " + ", ".join("%s %s %d" % one for one in stack_counts()
                                                     if one[0] in ("Ip:", "Udp:") and one[1] != "DefaultTTL" and one[2]))
    return "".join(line + "\n" for line in said)


def bpffs_leftovers():
    """What is pinned, as paths below the mount; the shared epoch and empty folders do not count."""
    top = os.environ["WEIR_BPFFS"]
    found = []
    for folder, _, files in os.walk(top):
        found += [os.path.relpath(os.path.join(folder, name), top) for name in files]
    return sorted(found)


# --- traffic ---------------------------------------------------------------------------------------------------------


def ours(family):
    return OUR4 if family == IPV4 else OUR6


def peers(family):
    return PEER4 if family == IPV4 else PEER6


def ends(inbound, family):
    """(source namespace, target namespace, source address, target address)"""
    if inbound:
        return world.peer, world.us, peers(family), ours(family)
    return world.us, world.peer, ours(family), peers(family)


NOWHERE = contextlib.nullcontext()  # not in a cgroup of its own


def udp(port, inbound=True, family=IPV4, count=1, size=8, sport=0, wait=SHORT, sender=None, place=NOWHERE):
    """Sends `count` datagrams (from address `sender`, out of `place`, a cgroup). How many arrived, or the errno's name
    if sending failed."""
    source, target, from_address, to_address = ends(inbound, family)
    with target:
        server = socket.socket(family, socket.SOCK_DGRAM)
    with source, place:
        client = socket.socket(family, socket.SOCK_DGRAM)
    with server, client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        server.bind((to_address, port))
        client.bind((sender or from_address, sport))
        arrived = 0
        refused = None
        for sent in range(count):
            try:
                client.sendto(b"x" * size, (to_address, port))
            except OSError as error:
                refused = errno.errorcode[error.errno]
            arrived += drain(server) if sent % 32 == 31 else 0
        server.settimeout(wait)
        while arrived < count and not refused:
            try:
                server.recv(65536)
                arrived += 1
            except TimeoutError:
                break
        return refused or arrived


@contextlib.contextmanager
def one_cpu():
    """What one CPU sends arrives in order; what two send need not."""
    back = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {libc.sched_getcpu()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, back)


def probe(ports, inbound=True, family=IPV4, control=9, from_port=0):
    """Sends a datagram to each port, then one to `control`, which must be let through; the set of those that came."""
    source, target, from_address, to_address = ends(inbound, family)
    with contextlib.ExitStack() as stack:
        servers = {}
        for port in list(ports) + [control]:
            with target:
                servers[port] = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            servers[port].bind((to_address, port))
        with source:
            client = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            client.bind((from_address, from_port))
        with one_cpu():
            for port in servers:
                with contextlib.suppress(PermissionError):
                    client.sendto(b"probe", (to_address, port))
        servers[control].settimeout(2)
        servers[control].recv(64)
        return {port for port in ports if drain(servers[port])}


def udp_answer(port, inbound=True, family=IPV4, wait=0.3):
    """What a connected UDP socket is told about a datagram to `port`: an errno's name, or None."""
    source, _, from_address, to_address = ends(inbound, family)
    with source:
        client = socket.socket(family, socket.SOCK_DGRAM)
    with client:
        client.bind((from_address, 0))
        client.connect((to_address, port))
        client.settimeout(wait * SLOW)
        try:
            client.send(b"hello")
            client.recv(64)
        except TimeoutError:
            return None
        except OSError as error:
            return errno.errorcode[error.errno]
    return None


def drain(server):
    """Takes what is there, so that a long run fits into the socket's buffer."""
    taken = 0
    while True:
        try:
            server.recv(65536, socket.MSG_DONTWAIT)
            taken += 1
        except BlockingIOError:
            return taken


def tcp(port, inbound=True, family=IPV4, wait=0.4, listen=True, payload=b"", place=NOWHERE):
    """'connected', 'timeout', or the errno's name ('ECONNREFUSED', 'EPERM'); seconds it took."""
    source, target, from_address, to_address = ends(inbound, family)
    wait *= SLOW
    with target:
        server = socket.socket(family, socket.SOCK_STREAM)
    with source, place:
        client = socket.socket(family, socket.SOCK_STREAM)
    with server, client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listen:
            server.bind((to_address, port))
            server.listen()
        client.bind((from_address, 0))
        client.settimeout(wait)
        # An abortive close: no FIN exchange, no TIME-WAIT that a later test could meet.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        begin = time.monotonic()
        try:
            client.connect((to_address, port))
            if payload:
                child, _ = server.accept()
                child.settimeout(wait)
                pour(client, child, payload)
            return "connected", time.monotonic() - begin
        except TimeoutError:
            return "timeout", time.monotonic() - begin
        except OSError as error:
            return errno.errorcode[error.errno], time.monotonic() - begin


def pour(client, child, payload):
    """Sends as fast as the receiver takes it: big writes become big buffers in the kernel."""
    client.setblocking(False)
    sent = got = 0
    with child:
        while got < len(payload):
            with contextlib.suppress(BlockingIOError):
                sent += client.send(payload[sent:sent + (1 << 18)])
            with contextlib.suppress(BlockingIOError):
                got += len(child.recv(1 << 20, 0 if sent == len(payload) else socket.MSG_DONTWAIT))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ping(inbound=True, family=IPV4, wait=0.3):
    """True if an echo request was answered. Works without the ping program."""
    source, _, from_address, to_address = ends(inbound, family)
    echo, answer = ((8, 0), 0) if family == IPV4 else ((128, 0), 129)
    with source:
        client = socket.socket(family, socket.SOCK_RAW,
                               socket.IPPROTO_ICMP if family == IPV4 else socket.IPPROTO_ICMPV6)
    with client:
        client.bind((from_address, 0))
        body = struct.pack("!HH", os.getpid() & 0xffff, 1) + b"weir"
        head = struct.pack("!BBH", *echo, 0)
        if family == IPV4:
            head = struct.pack("!BBH", *echo, checksum(head + body))
        try:
            client.sendto(head + body, (to_address, 0))
        except OSError as error:
            return errno.errorcode[error.errno]
        until = time.monotonic() + wait * SLOW
        while time.monotonic() < until:
            client.settimeout(max(until - time.monotonic(), 0.001))
            try:
                data = client.recv(2048)
            except TimeoutError:
                return False
            message = data[(data[0] & 15) * 4:] if family == IPV4 else data
            if message[0] == answer and message[4:8] == body[:4]:
                return True
    return False


# Frames by hand, for what sockets do not send.


def ethernet(kind, inbound=True, vlan=None):
    to_mac, from_mac = (OUR_MAC, PEER_MAC) if inbound else (PEER_MAC, OUR_MAC)
    head = bytes.fromhex((to_mac + from_mac).replace(":", ""))
    for tag in vlan or ():
        head += struct.pack("!HH", 0x8100, tag)
    return head + struct.pack("!H", kind)


def ipv4(proto, payload, inbound=True, options=b"", length=None, fragment=0, identification=1, ttl=64):
    source, destination = (PEER4, OUR4) if inbound else (OUR4, PEER4)
    words = 5 + len(options) // 4
    total = words * 4 + len(payload) if length is None else length
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, total, identification, fragment, ttl, proto, 0,
                       socket.inet_aton(source), socket.inet_aton(destination)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(proto, payload, inbound=True, length=None, hop_limit=64):
    source, destination = (PEER6, OUR6) if inbound else (OUR6, PEER6)
    return struct.pack("!IHBB16s16s", 0x60000000, len(payload) if length is None else length, proto, hop_limit,
                       socket.inet_pton(IPV6, source), socket.inet_pton(IPV6, destination)) + payload


def udp_header(dport, payload=b"", sport=4000, length=None):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload) if length is None else length, 0) + payload


def tcp_header(dport, flags=0x02, sport=4000, offset=5, payload=b""):
    return struct.pack("!HHIIBBHHH", sport, dport, 1, 0, offset << 4, flags, 1024, 0, 0) + payload


def send_frames(frames, inbound=True):
    """Puts frames on the wire at the source's side of the veth."""
    source, name = (world.peer, "peer0") if inbound else (world.us, "weir0")
    with source:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((name, 0))
            for frame in frames:
                raw.send(frame)


@contextlib.contextmanager
def sniffer(inbound=True):
    """A function that returns the frames that came to the target's side since it was called last."""
    target, name = (world.us, "weir0") if inbound else (world.peer, "peer0")
    with target:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    raw.bind((name, 0x0003))
    raw.settimeout(SHORT)

    def take():
        frames = []
        while True:
            try:
                data, address = raw.recvfrom(65536)
            except TimeoutError:
                return frames
            if address[2] != 4:  # PACKET_OUTGOING
                frames.append(data)

    try:
        yield take
    finally:
        raw.close()


# --- running ---------------------------------------------------------------------------------------------------------


class TapResult(unittest.TestResult):
    """One line a test, whatever went wrong in it, its set-up, its clean-up or its sub-tests."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.bad = 0

    def startTest(self, test):
        super().startTest(test)
        self.why = []
        self.skip = None

    def stopTest(self, test):
        super().stopTest(test)
        self.number += 1
        self.bad += bool(self.why)
        print("%sok %d - %s%s" % ("not " if self.why else "", self.number, name_of(test),
                                  " # SKIP " + self.skip if self.skip and not self.why else ""))
        for line in "".join(self.why).splitlines():
            print("# " + line)
        sys.stdout.flush()

    def addSkip(self, test, reason):
        self.skip = reason

    def addFailure(self, test, err):
        self.why += traceback.format_exception(*err) + [circumstances()]

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.why.append("in %s\n" % subtest)
            self.addFailure(test, err)


def name_of(test):
    return test.id().split(".", 1)[-1]


def each(cases):
    """Makes a method one test for each of `cases`: (label, arguments) pairs."""

    def mark(method):
        method.cases = cases
        return method

    return mark


class TestCase(unittest.TestCase):
    """Every test starts and ends with no policy in force."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name, method in list(vars(cls).items()):
            if hasattr(method, "cases"):
                delattr(cls, name)
                for label, arguments in method.cases:
                    case = functools.partialmethod(method, *arguments)
                    setattr(cls, "%s: %s" % (name, label), case)

    def tearDown(self):
        weir("flush", "--all")


def why_not():
    """The reason why the tests cannot run here, or None."""
    if not os.path.exists(WEIR):
        sys.exit("no weir program at " + WEIR)
    return None if os.geteuid() == 0 else "needs root"


def skip_all(suite, reason):
    cases = list(flatten(suite))
    print("1..%d" % len(cases))
    for number, case in enumerate(cases, 1):
        print("ok %d - %s # SKIP %s" % (number, name_of(case), reason))


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def main():
    """Runs the tests of the calling script; arguments choose some by a part of their names."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    cases = [case for case in flatten(suite) if all(word in case.id() for word in sys.argv[1:])]
    suite = unittest.TestSuite(cases)
    reason = why_not()
    if reason:
        skip_all(suite, reason)
        return
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(1))
    sweep_cgroups()
    make_world()
    print("1..%d" % len(cases))
    result = TapResult()
    suite.run(result)
    sys.exit(1 if result.bad else 0)
