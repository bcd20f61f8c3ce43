#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Packets that contradict themselves are dropped under a counter of their own; odd ones that are in order are judged."""

from weirtest import *

POLICY = """
policy t {
    on %s
    %s
    default accept
    drop if udp.dst_port == 7001 or tcp.dst_port == 7001
}
"""

MALFORMED = {
    "IPv4 header cut": b"\x45\x00\x00\x28" + bytes(8),
    "IPv4 header length 4 words": b"\x44" + ipv4(17, udp_header(1))[1:],
    "IPv4 longer than the frame": ipv4(17, udp_header(1), length=100),
    "IPv4 version 6": b"\x65" + ipv4(17, udp_header(1))[1:],
    "TCP of 19 bytes": ipv4(6, tcp_header(7001)[:19]),
    "TCP data offset 4": ipv4(6, tcp_header(7001, offset=4)),
    "TCP data offset beyond the end": ipv4(6, tcp_header(7001, offset=6)),
    "TCP at fragment offset 1": ipv4(6, b"x" * 32, fragment=1),
    "tiny first fragment": ipv4(6, tcp_header(7001)[:8], fragment=0x2000),
    "UDP of 7 bytes": ipv4(17, udp_header(7001)[:7]),
    "UDP length 7": ipv4(17, udp_header(7001, length=7)),
    "UDP longer than the packet": ipv4(17, udp_header(7001, length=9)),
    "ICMP of 7 bytes": ipv4(1, bytes(7)),
    "SCTP of 11 bytes": ipv4(132, bytes(11)),
}
MALFORMED6 = {
    "IPv6 header cut": ipv6(17, udp_header(1))[:39],
    "IPv6 longer than the frame": ipv6(17, udp_header(1), length=9),
    "17 destination options": ipv6(60, b"".join([bytes([60, 0, 1, 4, 0, 0, 0, 0])] * 16) +
                                   bytes([17, 0, 1, 4, 0, 0, 0, 0]) + udp_header(7001)),
    "hop-by-hop header cut": ipv6(0, bytes([17, 2, 1, 4, 0, 0, 0, 0])),
    "TCP of 19 bytes in IPv6": ipv6(6, tcp_header(7001)[:19]),
    "ICMPv6 of 3 bytes": ipv6(58, bytes(3)),
}
# Peers dropped these, or let them through unseen; here each meets the drop rule.
JUDGED = {
    "UDP with 3 bytes of payload": (0x0800, ipv4(17, udp_header(7001, b"abc"))),
    "padding behind the packet": (0x0800, ipv4(17, udp_header(7001, b"abc")) + bytes(20)),
    "IPv4 options": (0x0800, ipv4(17, udp_header(7001, b"abc"), options=b"\x01" * 40)),
    "16-byte hop-by-hop header": (0x86dd, ipv6(0, bytes([17, 1, 1, 12]) + bytes(12) + udp_header(7001, b"abc"))),
    "16 destination options": (0x86dd, ipv6(60, b"".join([bytes([60, 0, 1, 4, 0, 0, 0, 0])] * 15) +
                                            bytes([17, 0, 1, 4, 0, 0, 0, 0]) + udp_header(7001))),
    "routing header": (0x86dd, ipv6(43, bytes([6, 0, 4, 0, 0, 0, 0, 0]) + tcp_header(7001))),
    "authentication header of 24 bytes": (0x86dd, ipv6(51, bytes([6, 4]) + bytes(22) + tcp_header(7001))),
    "atomic fragment": (0x86dd, ipv6(44, bytes([6, 0, 0, 0, 0, 0, 0, 1]) + tcp_header(7001))),
    "first fragment": (0x86dd, ipv6(44, bytes([6, 0, 0, 1, 0, 0, 0, 1]) + tcp_header(7001) + bytes(4))),
}


FRAMES = each([(on, (on,)) for on in ("xdp weir0 native", "xdp weir0 generic", "tc weir0 ingress")])


def malformed(on):
    yield from ((name, ethernet(0x0800) + packet) for name, packet in MALFORMED.items())
    yield from ((name, ethernet(0x86dd) + packet) for name, packet in MALFORMED6.items())
    if on.startswith("xdp"):  # the kernel itself drops this before TC
        yield "VLAN tag cut", ethernet(0x8100) + b"\x00"


class Malformed(TestCase):
    @FRAMES
    def test_dropped_under_their_own_counter(self, on):
        apply(POLICY % (on, ""))
        for number, (name, frame) in enumerate(malformed(on), 1):
            send_frames([frame])
            self.assertEqual(Counts("t").malformed[0], number, name)
        self.assertEqual(Counts("t").packets(1), 0)

    @FRAMES
    def test_malformed_accept_lets_them_through(self, on):
        frames = [frame for _, frame in malformed(on)]
        with sniffer() as take:
            apply(POLICY % (on, "malformed accept"))
            send_frames(frames)
            self.assertEqual(Counts("t").malformed[0], len(frames))
            if "native" in on:  # the others come behind the sniffer, which does not see the cut tag
                self.assertEqual(len(take()), len(frames) - 1)

    @FRAMES
    def test_odd_ones_are_judged(self, on):
        apply(POLICY % (on, ""))
        for number, (name, (kind, packet)) in enumerate(JUDGED.items(), 1):
            send_frames([ethernet(kind) + packet])
            self.assertEqual(Counts("t").packets(1), number, name)

    @FRAMES
    def test_ports_are_not_read_from_later_fragments(self, on):
        looks_like_7001 = udp_header(7001, b"x" * 24)
        apply(POLICY % (on, ""))
        send_frames([ethernet(0x0800) + ipv4(17, looks_like_7001, fragment=10),
                     ethernet(0x86dd) + ipv6(44, bytes([17, 0, 0, 80, 0, 0, 0, 1]) + looks_like_7001)])
        counts = Counts("t")
        self.assertEqual((counts.packets(1), counts.default[0], counts.malformed[0]), (0, 2, 0))


if __name__ == "__main__":
    main()
