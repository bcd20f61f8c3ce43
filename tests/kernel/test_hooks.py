#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Every hook and direction, IPv4 and IPv6: accept, drop, the default, and counters exact to the packet."""

import contextlib
import unittest.mock

from weirtest import *

HEADERS = {IPV4: 20 + 8, IPV6: 40 + 8}


class Hook:
    """One place for a policy: the words after `on`, and how to reach it."""

    def __init__(self, on, inbound, frames, cgroup=False, clsact=False):
        self.on = on
        self.label = on.replace('"%s" ', "") + (" by clsact" if clsact else "")
        self.clsact = clsact
        self.inbound = inbound
        self.link = 14 if frames else 0  # counters of hooks with frames count the Ethernet header
        self.cgroup = cgroup

    @contextlib.contextmanager
    def apply(self, text):
        """Applies the policy, and stays where its sockets are seen."""
        if not self.cgroup:
            with unittest.mock.patch.dict(os.environ, {"WEIR_TEST_CLSACT": "1"} if self.clsact else {}):
                yield apply(text % self.on)
            return
        cgroup = Cgroup()
        try:
            with cgroup:
                yield apply(text % (self.on % cgroup.name))
        finally:
            cgroup.remove()


HOOKS = [
    Hook("xdp weir0 native", True, True),
    Hook("xdp weir0 generic", True, True),
    Hook("tc weir0 ingress", True, True),
    Hook("tc weir0 egress", False, True),
    Hook("tc weir0 ingress", True, True, clsact=True),
    Hook("tc weir0 egress", False, True, clsact=True),
    Hook("netfilter prerouting", True, False),
    Hook("netfilter input", True, False),
    Hook("netfilter output", False, False),
    Hook("netfilter postrouting", False, False),
    Hook('cgroup "%s" ingress', True, False, cgroup=True),
    Hook('cgroup "%s" egress', False, False, cgroup=True),
]

EACH = each([(hook.label, (hook,)) for hook in HOOKS])
FRAMES = each([(on, (on,)) for on in ("xdp weir0 native", "xdp weir0 generic", "tc weir0 ingress")])

DEFAULT_ACCEPT = """
policy t {
    on %s
    default accept
    drop if udp.dst_port == 7001
    accept if udp.dst_port == 7002
    drop if tcp.dst_port == 7003
    accept if tcp.dst_port == 7004
}
"""

DEFAULT_DROP = """
policy t {
    on %s
    default drop
    accept if neighbour
    accept if udp.dst_port == 7002 or tcp.dst_port == 7004 or tcp.src_port == 7004
    accept if icmp.type == echo-request or icmp.type == echo-reply
}
"""


class Hooks(TestCase):
    def assert_lost(self, hook, outcome):
        """A drop on the way out may be told to the sender of a datagram (EPERM)."""
        self.assertIn(outcome, (0,) if hook.inbound else (0, "EPERM"))

    def assert_rules(self, hook):
        """What both policies below do with 7001 to 7004."""
        for family in FAMILIES:
            self.assert_lost(hook, udp(7001, hook.inbound, family, count=3))
            self.assertEqual(udp(7002, hook.inbound, family, count=3), 3)
            self.assertEqual(tcp(7003, hook.inbound, family)[0], "timeout")
            self.assertEqual(tcp(7004, hook.inbound, family, payload=b"y" * 300000)[0], "connected")
            self.assertIs(ping(hook.inbound, family), True)

    @EACH
    def test_default_accept(self, hook):
        with hook.apply(DEFAULT_ACCEPT):
            self.assert_rules(hook)
            for family in FAMILIES:
                self.assertEqual(udp(7005, hook.inbound, family), 1)

    @EACH
    def test_default_drop(self, hook):
        with hook.apply(DEFAULT_DROP):
            self.assert_rules(hook)
            for family in FAMILIES:
                self.assert_lost(hook, udp(7005, hook.inbound, family))
            self.assertGreater(Counts("t").default[0], 0)

    @EACH
    def test_counters_are_exact(self, hook):
        sent = {IPV4: 57, IPV6: 131}
        with hook.apply(DEFAULT_ACCEPT):
            for family, count in sent.items():
                self.assert_lost(hook, udp(7001, hook.inbound, family, count=count, size=10))
                self.assertEqual(udp(7002, hook.inbound, family, count=count, size=100), count)
            counts = Counts("t")
        for rule, size in ((1, 10), (2, 100)):
            octets = sum(count * (hook.link + HEADERS[family] + size) for family, count in sent.items())
            self.assertEqual(counts.rules[rule], (sum(sent.values()), octets), "rule %d" % rule)
        self.assertEqual(counts.rules[3], (0, 0))
        self.assertEqual(counts.default, (0, 0))

    @EACH
    def test_default_counter_is_exact(self, hook):
        with hook.apply(DEFAULT_ACCEPT):
            self.assertEqual(udp(7009, hook.inbound, IPV4, count=44, size=5), 44)
            self.assertEqual(Counts("t").default, (44, 44 * (hook.link + 33)))

    @EACH
    def test_merged_packets_count_their_segments(self, hook):
        """A stream that GRO or GSO merges is counted as the packets that a wire would carry."""
        with hook.apply(DEFAULT_ACCEPT):
            self.assertEqual(tcp(7004, hook.inbound, payload=b"z" * 1000000, wait=3)[0], "connected")
            packets, octets = Counts("t").rules[4]
        self.assertGreaterEqual(octets, 1000000)
        if hook.on != "xdp weir0 generic":  # where the kernel does not say how many there were
            self.assertGreaterEqual(packets, 1000000 // 1500)

    @FRAMES
    def test_vlan(self, on):
        """Rules see through a tag; the tag's number is a field."""
        apply("policy t { \n on %s\n default accept\n drop if vlan == 42 and udp.dst_port == 7001\n"
              " accept if udp.dst_port == 7001\n }" % on)
        datagram = ipv4(17, udp_header(7001, b"x"))
        send_frames([ethernet(0x0800, vlan=[42]) + datagram] * 4)
        send_frames([ethernet(0x0800, vlan=[43]) + datagram] * 5)
        send_frames([ethernet(0x0800, vlan=[42, 7]) + datagram] * 2)
        send_frames([ethernet(0x0800) + datagram] * 3)
        counts = Counts("t")
        self.assertEqual((counts.packets(1), counts.packets(2)), (6, 8))

    @FRAMES
    def test_non_ip(self, on):
        """ARP passes a default drop unless a rule names it; what is unknown does not pass."""
        arp = ethernet(0x0806) + bytes(28)
        strange = ethernet(0x8864) + bytes(40)
        apply("policy t { \n on %s\n default drop\n accept if neighbour\n}" % on)
        send_frames([arp] * 3 + [strange] * 2)
        counts = Counts("t")
        self.assertEqual((counts.non_ip[0], counts.default[0]), (3, 2))
        weir("delete", "t")
        apply("policy t { \n on %s\n default drop\n non_ip accept\n drop if arp\n}" % on)
        send_frames([arp] * 3 + [strange] * 2)
        counts = Counts("t")
        self.assertEqual((counts.packets(1), counts.default[0], counts.non_ip[0]), (3, 0, 2))


@contextlib.contextmanager
def beyond():
    """A third namespace behind us: far0 10.78.0.2, fd78::2. Yields it; forwarding is on."""
    far = Namespace()
    run("ip", "link", "add", "weir1", "type", "veth", "peer", "name", "far0", "netns", far.path)
    configure("weir1", "02:78:00:00:00:01", "10.78.0.1", "fd78::1")
    join("weir1", "02:78:00:00:00:02", "10.78.0.2", "fd78::2")
    with far:
        configure("far0", "02:78:00:00:00:02", "10.78.0.2", "fd78::2")
        join("far0", "02:78:00:00:00:01", "10.78.0.1", "fd78::1")
        run("ip", "route", "add", "default", "via", "10.78.0.1")
        run("ip", "-6", "route", "add", "default", "via", "fd78::1")
    world.peer.run("ip", "route", "add", "10.78.0.0/24", "via", OUR4)
    world.peer.run("ip", "-6", "route", "add", "fd78::/64", "via", OUR6)
    write("/proc/sys/net/ipv4/ip_forward", "1")
    write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
    try:
        yield far
    finally:
        write("/proc/sys/net/ipv4/ip_forward", "0")
        write("/proc/sys/net/ipv6/conf/all/forwarding", "0")
        run("ip", "link", "del", "weir1")
        far.close()


class Forward(TestCase):
    def send(self, far, port, family, count):
        address = "10.78.0.2" if family == IPV4 else "fd78::2"
        with far:
            server = socket.socket(family, socket.SOCK_DGRAM)
        with world.peer:
            client = socket.socket(family, socket.SOCK_DGRAM)
        with server, client:
            server.bind((address, port))
            for _ in range(count):
                client.sendto(b"through", (address, port))
            time.sleep(SHORT)
            return drain(server)

    def test_forward(self):
        with beyond() as far:
            for family in FAMILIES:  # neighbours are found before anything is counted
                self.assertEqual(self.send(far, 7000, family, 1), 1)
            apply("policy t {\n on netfilter forward\n default accept\n drop if udp.dst_port == 7001\n"
                  " accept if udp.dst_port == 7002 and in_iface == weir0 and out_iface == weir1\n }")
            for family in FAMILIES:
                self.assertEqual(self.send(far, 7001, family, 6), 0)
                self.assertEqual(self.send(far, 7002, family, 7), 7)
            counts = Counts("t")
            self.assertEqual((counts.packets(1), counts.packets(2), counts.default[0]), (12, 14, 0))


if __name__ == "__main__":
    main()
