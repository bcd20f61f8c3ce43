#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Knocks: who sends the right packets in the right order is let in, and nobody else. (Times, and every order of packets,
are what tests/packet/differential.c goes through.)"""

import ipaddress
import sys

from weirtest import *

OTHER4 = "10.77.0.3"  # the peer's second address
OTHER6, FAR6 = "fd77::3", "fd77:0:0:1::2"  # in the same /64, and in another

POLICY = """
policy t {
    on %s
    default accept
    knock door { sequence udp.dst_port == 7101, tcp.dst_port == 7102, udp.dst_port == 7103 within 1min open 1h %s }
    drop if dst_port in 7101-7103
    drop if udp.dst_port == 7100 and not knocked(door)
}
"""
HOOKS = [(hook, (hook,)) for hook in ("xdp weir0", "tc weir0 ingress", "netfilter prerouting", "netfilter input",
                                      'cgroup "%s" ingress')]


def send(port, family=IPV4, sender=None, kind=socket.SOCK_DGRAM):
    """One packet to the port, answered or not. Somebody is there: a cgroup sees what has found its socket."""
    with world.peer:
        client = socket.socket(family, kind)
    with client, socket.socket(family, kind) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((ours(family), port))
        if kind == socket.SOCK_STREAM:
            server.listen()
        client.bind((sender or peers(family), 0))
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect((ours(family), port))
            client.send(b"x")


def knock(*ports, family=IPV4, sender=None):
    for port in ports:
        kind = socket.SOCK_STREAM if port == 7102 else socket.SOCK_DGRAM
        send(port, family, sender, kind)


class Knock(TestCase):
    def setUp(self):
        super().setUp()
        for address, length in ((OTHER4, 24), (OTHER6, 64), (FAR6, 64)):
            world.peer.run("ip", "addr", "replace", "%s/%d" % (address, length), "dev", "peer0", "nodad")
        run("ip", "-6", "route", "replace", FAR6 + "/128", "dev", "weir0")

    def is_open(self, family=IPV4, sender=None):
        return udp(7100, family=family, sender=sender) == 1

    @each(HOOKS)
    def test_hook(self, hook):
        """In order it opens, for that source alone; by either family."""
        place = NOWHERE
        if hook.startswith("cgroup"):
            place = Cgroup()
            self.addCleanup(place.remove)
            hook = hook % place.name
        apply(POLICY % (hook, ""))
        with place:
            self.check_sources(hook)

    def test_show(self):
        """Who is on the way and who is let in, and for how long."""
        apply(POLICY % ("tc weir0 ingress", "") + "")
        knock(7101, 7102)
        knock(7101, 7102, 7103, family=IPV6)
        shown = json.loads(weir("show", "t", "--json").stdout)
        self.assertEqual([(k["knock"], k["source"], k["open"], k["next_step"]) for k in shown["knocks"]],
                         [("door", str(ipaddress.ip_network(PEER6 + "/64", strict=False)), True, 0),
                          ("door", PEER4, False, 3)])
        self.assertTrue(3590 < shown["knocks"][0]["left"] <= 3600 and 50 < shown["knocks"][1]["left"] <= 60)
        state = {s["name"]: s for s in shown["state"]}
        self.assertEqual([(state[name]["elements"], state[name]["max"]) for name in ("knock-open", "knock-way")],
                         [(1, 16384), (2, 16384)])
        self.assertGreater(state["knock-open"]["memory"], 16384 * 88)
        text = weir("show", "t").stdout
        self.assertRegex(text, r"(?m)^knock door: open for fd77::/64, another 3[56]\d\d\.\d s$")
        self.assertRegex(text, r"(?m)^knock door: 10\.77\.0\.2 takes step 3 next, within \d\d\.\d s$")
        self.assertRegex(text, r"(?m)^knock-way: 2 of 16384 in \d+ KiB$")

    def check_sources(self, hook):
        for family, other in ((IPV4, OTHER4), (IPV6, FAR6)):
            self.assertFalse(self.is_open(family))
            knock(7101, 7102, 7103, family=family)
            self.assertTrue(self.is_open(family), hook)
            self.assertFalse(self.is_open(family, other), hook)

    def test_order(self):
        apply(POLICY % ("tc weir0 ingress", ""))
        for ports in ((7101, 7103), (7103, 7102, 7101), (7101, 7102, 7101, 7103), (7101, 7103, 7102, 7103)):
            knock(*ports)
            self.assertFalse(self.is_open(), ports)
        knock(7101, 7102)
        knock(7103, sender=OTHER4)
        self.assertFalse(self.is_open())
        self.assertFalse(self.is_open(sender=OTHER4))
        send(7199)  # another packet in between does no harm, nor does the same step again
        knock(7102, 7102, 7103)
        self.assertTrue(self.is_open())

    def test_sources(self):
        """An IPv6 source is its /64, or a whole address where the policy says so."""
        apply(POLICY % ("tc weir0 ingress", ""))
        knock(7101, 7102, 7103, family=IPV6)
        self.assertTrue(self.is_open(IPV6, OTHER6))
        apply(POLICY % ("tc weir0 ingress", "per src/32/128"))
        self.assertFalse(self.is_open(IPV6), "another kind of source: nothing is taken over")
        knock(7101, 7102, 7103, family=IPV6)
        self.assertTrue(self.is_open(IPV6))
        self.assertFalse(self.is_open(IPV6, OTHER6))

    def test_window(self):
        """It shuts by itself."""
        apply((POLICY % ("tc weir0 ingress", "")).replace("1h", "500ms"))
        knock(7101, 7102, 7103)
        deadline = time.monotonic() + 10
        while self.is_open():
            self.assertLess(time.monotonic(), deadline)

    def test_replacement(self):
        """Who is in stays in, and who is on the way stays there, also with other times and other rules."""
        apply(POLICY % ("tc weir0 ingress", ""))
        knock(7101, 7102, 7103)
        knock(7101, 7102, sender=OTHER4)
        apply((POLICY % ("tc weir0 ingress", "")).replace("1h", "2h").replace("default accept", "default accept\n"
              "    count seen if udp.dst_port == 7100"))
        self.assertTrue(self.is_open())
        self.assertFalse(self.is_open(sender=OTHER4))
        knock(7103, sender=OTHER4)
        self.assertTrue(self.is_open(sender=OTHER4))
        apply((POLICY % ("tc weir0 ingress", "")).replace("udp.dst_port == 7101", "udp.dst_port == 7104"))
        self.assertFalse(self.is_open(), "another sequence")

    def test_malformed(self):
        """A packet that is dropped before any rule takes no step."""
        apply(POLICY % ("tc weir0 ingress", ""))
        knock(7101, 7102)
        send_frames([ethernet(0x0800) + ipv4(17, udp_header(7103, b"x", length=3))])
        self.assertFalse(self.is_open())
        send_frames([ethernet(0x0800) + ipv4(17, udp_header(7103, b"x"), options=b"\1\1\1\1")])
        self.assertTrue(self.is_open())

    def test_two_hooks(self):
        """A packet that both hooks see is one step."""
        apply((POLICY % ("xdp weir0", "")).replace("on xdp weir0", "on xdp weir0\n    on tc weir0 ingress")
              .replace("drop if dst_port in 7101-7103", ""))
        knock(7101, 7102, 7103)
        self.assertTrue(self.is_open())

    def test_show(self):
        """Steps are no rules: neither numbered nor counted."""
        apply(POLICY % ("tc weir0 ingress", ""))
        knock(7101, 7102, 7103)
        self.assertTrue(self.is_open())
        self.assertFalse(self.is_open(sender=OTHER4))
        counts = Counts("t")
        self.assertEqual(sorted(counts.rules), [1, 2])
        self.assertEqual(counts.packets(1), 3)
        self.assertEqual(counts.packets(2), 1)


KEY_POLICY = """
policy t {
    on %s
    default accept
    knock door { key file "%s" open 1h %s }
    drop if udp.dst_port == 7100 and not knocked(door)
    drop if tcp.dst_port == 7104 and not knocked(door)
}
"""
MASK = (1 << 64) - 1


def siphash(key, data):
    """SipHash-2-4, once more."""
    rotate = lambda x, b: (x << b | x >> (64 - b)) & MASK
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def rounds(count):
        a, b, c, d = v
        for _ in range(count):
            a = (a + b) & MASK
            b = rotate(b, 13) ^ a
            a = rotate(a, 32)
            c = (c + d) & MASK
            d = rotate(d, 16) ^ c
            a = (a + d) & MASK
            d = rotate(d, 21) ^ a
            c = (c + b) & MASK
            b = rotate(b, 17) ^ c
            c = rotate(c, 32)
        v[:] = a, b, c, d

    data += bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", data):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xff
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def knock_key(path, name):
    """The key of a knock, by its file's."""
    with open(path) as file:
        master = struct.pack("<QQ", *struct.unpack(">QQ", bytes.fromhex(file.read().strip())))
    return b"".join(struct.pack("<Q", siphash(master, bytes([half]) + name.encode())) for half in range(2))


def payload(key, late=0.0, source=None, version=1):
    """What opens the knock, `late` seconds old, bound to an address or not."""
    stamp = int((time.time() - late) * 1e6) << 12
    head = struct.pack(">2sBB4xQ", b"wk", version, source is not None, stamp)
    bound = ipaddress.ip_address(source) if source else None
    if bound is None:
        bound = bytes(16)
    else:
        bound = bound.packed if bound.version == 6 else bytes(10) + b"\xff\xff" + bound.packed
    return head + struct.pack("<Q", siphash(key, head + bound))


class Key(TestCase):
    """Single-packet authorisation."""

    PORT = 62201

    def setUp(self):
        super().setUp()
        for address, length in ((OTHER4, 24), (OTHER6, 64), (FAR6, 64)):
            world.peer.run("ip", "addr", "replace", "%s/%d" % (address, length), "dev", "peer0", "nodad")
        run("ip", "-6", "route", "replace", FAR6 + "/128", "dev", "weir0")
        self.file = os.path.join(world.folder, "door.key")
        self.addCleanup(os.unlink, self.file)
        weir("knock", "--new-key", self.file)
        self.key = knock_key(self.file, "door")
        self.server = socket.socket(IPV6, socket.SOCK_DGRAM)  # a cgroup sees what has found its socket
        self.addCleanup(self.server.close)
        self.server.bind(("::", self.PORT))

    def apply(self, hook="tc weir0 ingress", options=""):
        apply(KEY_POLICY % (hook, self.file, options))

    def send(self, data, sender=PEER4, family=IPV4):
        with world.peer, socket.socket(family, socket.SOCK_DGRAM) as client:
            client.bind((sender, 0))
            client.sendto(data, (ours(family), self.PORT))

    def is_open(self, family=IPV4, sender=None):
        return udp(7100, family=family, sender=sender) == 1

    def client(self, family, *options):
        return world.peer.run(WEIR, "knock", ours(family), "door", "--key", self.file, *options)

    @each(HOOKS)
    def test_hook(self, hook):
        """The client's packet opens, for its source alone; by either family."""
        place = NOWHERE
        if hook.startswith("cgroup"):
            place = Cgroup()
            self.addCleanup(place.remove)
            hook = hook % place.name
        self.apply(hook)
        with place, socket.socket(IPV6, socket.SOCK_DGRAM) as server:
            self.server.close()
            server.bind(("::", self.PORT))
            for family, other in ((IPV4, OTHER4), (IPV6, FAR6)):
                self.assertFalse(self.is_open(family))
                self.client(family)
                self.assertTrue(self.is_open(family), hook)
                self.assertFalse(self.is_open(family, other), hook)

    def test_replay(self):
        """A packet opens once: not from another address, nor after a replacement."""
        self.apply()
        data = payload(self.key)
        self.send(data)
        self.assertTrue(self.is_open())
        self.send(data, OTHER4)
        self.assertFalse(self.is_open(sender=OTHER4))
        self.apply(options="skew 2min")
        self.send(data, OTHER4)
        self.assertFalse(self.is_open(sender=OTHER4))
        self.send(payload(self.key, late=1), OTHER4)
        self.assertFalse(self.is_open(sender=OTHER4), "an older one that was never seen")
        self.send(payload(self.key), OTHER4)
        self.assertTrue(self.is_open(sender=OTHER4))

    def test_replay_after_loading(self):
        """What may have opened a door before this policy came is not taken either."""
        data = payload(self.key)
        self.apply()
        self.send(data)
        self.assertFalse(self.is_open())

    def test_garbage(self):
        self.apply(options="skew 10s")
        good = payload(self.key)
        for bad in (b"", b"x", good[:-1], good + b"x", bytes(24), payload(self.key, version=2),
                    payload(self.key, late=11), payload(self.key, late=-11),
                    payload(knock_key(self.file, "window")), payload(bytes(16))):
            self.send(bad)
        for bit in range(24 * 8):
            data = bytearray(payload(self.key))
            data[bit // 8] ^= 1 << bit % 8
            self.send(data)
        self.assertFalse(self.is_open())
        self.send(payload(self.key, late=-9))
        self.assertTrue(self.is_open())

    def test_bound(self):
        """Bound to an address it is of no use to others; where the policy asks for that, no other will do."""
        self.apply(options="bind")
        self.send(payload(self.key))
        self.send(payload(self.key, source=OTHER4))
        self.assertFalse(self.is_open())
        self.send(payload(self.key, source=PEER4))
        self.assertTrue(self.is_open())
        self.send(payload(self.key, source=PEER6), PEER6, IPV6)
        self.assertTrue(self.is_open(IPV6))
        self.apply(options="bind per src/32/128")
        for family, senders in ((IPV4, (PEER4,)), (IPV6, (PEER6, OTHER6, FAR6))):  # the kernel chooses one
            self.assertFalse(any(self.is_open(family, sender) for sender in senders))
            self.client(family, "--bind")
            self.assertTrue(any(self.is_open(family, sender) for sender in senders))

    def test_headers(self):
        """Behind IP options and a VLAN tag, but not in a fragment or behind extension headers."""
        self.apply("xdp weir0")
        header = lambda data: udp_header(self.PORT, data)
        data = payload(self.key)
        send_frames([ethernet(0x0800) + ipv4(17, header(data), fragment=0x2000)])
        self.assertFalse(self.is_open())
        send_frames([ethernet(0x86dd) + ipv6(60, struct.pack("BB6x", 17, 0) + header(payload(self.key)))])
        self.assertFalse(self.is_open(IPV6))
        send_frames([ethernet(0x0800) + ipv4(17, header(payload(self.key)), options=b"\1\1\1\1")])
        self.assertTrue(self.is_open())
        send_frames([ethernet(0x86dd, vlan=(5,)) + ipv6(17, header(payload(self.key)))])
        self.assertTrue(self.is_open(IPV6))

    def test_files(self):
        """A key that others may read is none; nothing is loaded, and no output shows one."""
        with open(self.file) as file:
            secret = file.read().strip()
        for command in (("compile", "--emit", "ir"), ("compile", "--emit", "plan"), ("compile", "--emit", "bpf")):
            self.assertNotIn(secret, weir(*command, policy_file(KEY_POLICY % ("xdp weir0", self.file, ""))).stdout)
        self.apply()
        for shown in (("show", "t"), ("show", "t", "--json"), ("show", "t", "--source")):
            self.assertNotIn(secret, weir(*shown).stdout)
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        weir("flush", "--all")
        path = policy_file(KEY_POLICY % ("xdp weir0", self.file, ""))
        os.chmod(self.file, 0o640)
        done = weir("apply", path, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("others than its owner may use it (mode 0640)", done.stderr)
        done = weir("knock", "localhost", "door", "--key", self.file, check=False)
        self.assertEqual(done.returncode, 1)
        os.chmod(self.file, 0o600)
        with open(self.file, "w") as file:
            file.write(secret[:-1] + "\n")
        self.assertEqual(weir("apply", path, check=False).returncode, 1)
        self.assertEqual(weir("show", "t", check=False).returncode, 1)
        self.assertNotEqual(weir("knock", "--new-key", self.file, check=False).returncode, 0, "not over another")

    def test_scanner(self):
        """nmap sees a filtered port before, and an open one after."""
        if not shutil.which("nmap"):
            self.skipTest("nmap is not installed")
        self.apply("xdp weir0")
        with socket.create_server((OUR4, 7104)):
            self.assertEqual(self.scan(PEER4), "filtered")
            self.client(IPV4)
            self.assertEqual(self.scan(PEER4), "open")
            self.assertEqual(self.scan(OTHER4), "filtered")

    def scan(self, source):
        done = world.peer.run("nmap", "-Pn", "-n", "-sS", "-p", "7104", "-S", source, "-e", "peer0", "--max-retries", "1",
                              "-oG", "-", OUR4)
        return re.search(r"7104/(\w+)/tcp", done.stdout).group(1)


SOCKET_POLICY = """
policy service {
    on socket
    default drop
    knock door { sequence src_port == 15000, src_port == 15001, src_port == 15002 within 1min open 1h }
    accept if knocked(door)
}
"""


class Socket(TestCase):
    """As alfwrapper's demonstration: knock from three source ports at the service's own port, then talk."""

    PORT = 7120

    def setUp(self):
        super().setUp()
        self.listener = socket.create_server((OUR4, self.PORT))
        self.addCleanup(self.listener.close)
        weir("attach", str(os.getpid()), str(self.listener.fileno()), policy_file(SOCKET_POLICY))

    def connect(self, sport):
        """From that source port; what it comes to."""
        with world.peer:
            client = socket.socket()
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((PEER4, sport))
            client.settimeout(0.4 * SLOW)
            try:
                client.connect((OUR4, self.PORT))
                return "connected"
            except TimeoutError:
                return "timeout"

    def test_source_ports(self):
        self.assertEqual(self.connect(16000), "timeout")
        for sport in (15000, 15002, 15001):
            self.assertEqual(self.connect(sport), "timeout")
        self.assertEqual(self.connect(16001), "timeout")
        for sport in (15000, 15001, 15002):
            self.assertEqual(self.connect(sport), "timeout")
        self.assertEqual(self.connect(16002), "connected")

    def test_classic(self):
        """Classic BPF has no memory, and says so."""
        done = weir("compile", "--emit", "cbpf", policy_file(SOCKET_POLICY), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("classic BPF cannot remember who has knocked", done.stderr)
        done = weir("attach", str(os.getpid()), str(self.listener.fileno()), policy_file(SOCKET_POLICY), "--backend",
                    "cbpf", check=False)
        self.assertNotEqual(done.returncode, 0)


class App(TestCase):
    """examples/app/knock.weir, knocked at by ncat as its text says."""

    PORT = "4250"

    def setUp(self):
        super().setUp()
        if not shutil.which("ncat"):
            self.skipTest("ncat is not installed")
        world.peer.run("ip", "addr", "replace", OTHER4 + "/24", "dev", "peer0")
        self.server = subprocess.Popen(
            [WEIR, "run", "--listen", "tcp:" + self.PORT, "--policy", os.path.join(ROOT, "examples/app/knock.weir"), "--",
             "sh", "-c", 'echo started; exec "$@"', "sh", sys.executable,
             os.path.join(ROOT, "examples/app/echo_activated.py")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end)
        if self.server.stdout.readline() != b"started\n":
            self.fail(self.server.stderr.read().decode())

    def end(self):
        self.server.kill()
        self.server.communicate()

    def ncat(self, *options, said=b""):
        with world.peer:
            return subprocess.run(["ncat", "-w", "1", *options, OUR4, self.PORT], input=said, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE).stdout

    def test_steps(self):
        self.assertEqual(self.ncat(said=b"hello"), b"")
        for sport in ("15000", "15001", "15002"):
            self.assertEqual(self.ncat("-p", sport), b"")
        self.assertEqual(self.ncat("-i", "1", said=b"hello"), b"hello")
        self.assertEqual(self.ncat("-s", OTHER4, said=b"hello"), b"", "another source has not knocked")


class Sequence(TestCase):
    """weir knock --sequence: SYNs and datagrams, in order."""

    def test_client(self):
        apply(POLICY % ("tc weir0 ingress", ""))
        self.assertEqual(udp(7100), 0)
        world.peer.run(WEIR, "knock", OUR4, "--sequence", "udp:7101,tcp:7103,udp:7102", "--pause", "10")
        self.assertEqual(udp(7100), 0)
        world.peer.run(WEIR, "knock", OUR4, "--sequence", "udp:7101,tcp:7102,udp:7103", "--pause", "10")
        self.assertEqual(udp(7100), 1)

    @each([(words, (words, status)) for words, status in (
        ("tcp:0", 1), ("tcp:70000", 1), ("sctp:7", 1), ("tcp:7,", 1), ("tcp:7;udp:8", 1), (",", 1))])
    def test_bad_sequence(self, words, status):
        self.assertEqual(weir("knock", "127.0.0.1", "--sequence", words, check=False).returncode, status)


if __name__ == "__main__":
    main()
