#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Knocks: who sends the right packets in the right order is let in, and nobody else. (Times, and every order of packets,
are what tests/packet/differential.c goes through.)"""

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
                                      'cgroup "/" ingress')]


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
        apply(POLICY % (hook, ""))
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


if __name__ == "__main__":
    main()
