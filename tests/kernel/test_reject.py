#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`reject` tells the sender, where the hook can tell; and never answers what must not be answered."""

from weirtest import *

REPLYING = [(on, (on, inbound)) for on, inbound in
            (("xdp weir0 native", True), ("xdp weir0 generic", True), ("tc weir0 ingress", True), ("tc weir0 egress", False))]
INGRESS = REPLYING[:3]
SILENT = [(on, (on,)) for on in ("netfilter output", 'cgroup "%s" egress')]
POLICY = """
policy t {
    on %s
    default accept
    reject if tcp.dst_port == 7001 or udp.dst_port == 7001
    reject if fragment == later or tcp.dst_port == 7002 or proto == 99
    reject if icmp4.type == 3
}
"""


class Reject(TestCase):
    @classmethod
    def setUpClass(cls):
        let_xdp_answer()

    @each(REPLYING)
    def test_tcp_is_refused_at_once(self, on, inbound):
        apply(POLICY % on)
        for family in FAMILIES:
            outcome, seconds = tcp(7001, inbound, family, wait=2)
            self.assertEqual(outcome, "ECONNREFUSED")
            self.assertLess(seconds, 0.5 * SLOW)
            self.assertEqual(tcp(7004, inbound, family)[0], "connected")

    @each(REPLYING)
    def test_udp_is_told(self, on, inbound):
        apply(POLICY % on)
        self.assertEqual(udp_answer(7001, inbound, IPV4), "EHOSTUNREACH")
        self.assertEqual(udp_answer(7001, inbound, IPV6), "EACCES")

    @each(REPLYING)
    def test_rejects_are_counted(self, on, inbound):
        apply(POLICY % on)
        for _ in range(5):
            udp_answer(7001, inbound, IPV4, wait=0.05)
        self.assertEqual(Counts("t").packets(1), 5)

    def answers(self, frames):
        with sniffer(inbound=False) as take:
            send_frames(frames)
            return take()

    @each(INGRESS)
    def test_what_is_never_answered(self, on, inbound):
        apply(POLICY % on)
        rst = ethernet(0x0800) + ipv4(6, tcp_header(7001, flags=0x04))
        later = ethernet(0x0800) + ipv4(17, b"x" * 64, fragment=100)
        error = ethernet(0x0800) + ipv4(1, struct.pack("!BBHI", 3, 1, 0, 0) + ipv4(17, udp_header(1)))
        broadcast = bytes.fromhex("ff" * 6) + ethernet(0x0800)[6:] + ipv4(17, udp_header(7001, b"x"))
        multicast = bytes.fromhex("01005e000001") + ethernet(0x0800)[6:] + ipv4(17, udp_header(7001, b"x"))
        good = ethernet(0x0800) + ipv4(6, tcp_header(7002))
        for name, frame in (("reset", rst), ("fragment", later), ("broadcast", broadcast), ("multicast", multicast),
                            ("ICMP error", error)):
            self.assertEqual(self.answers([frame]), [], name)
        self.assertEqual(len(self.answers([good])), 1)

    def check_reset(self, frame, family):
        """Checksums right, sequence numbers as RFC 9293 3.10.7.1 wants them for a SYN."""
        network = frame[14:]
        if family == IPV4:
            self.assertEqual(checksum(network[:20]), 0)
            segment = network[20:struct.unpack("!H", network[2:4])[0]]
            pseudo = network[12:20] + struct.pack("!BBH", 0, 6, len(segment))
        else:
            segment = network[40:40 + struct.unpack("!H", network[4:6])[0]]
            pseudo = network[8:40] + struct.pack("!IHBB", len(segment), 0, 0, 6)
        self.assertEqual(checksum(pseudo + segment), 0)
        sport, dport, sequence, acknowledged, _, flags = struct.unpack("!HHIIBB", segment[:14])
        self.assertEqual((sport, dport, sequence, acknowledged, flags), (7001, 4000, 0, 2, 0x14))

    @each(INGRESS)
    def test_resets_are_well_formed(self, on, inbound):
        apply(POLICY % on)
        for family, frame in ((IPV4, ethernet(0x0800) + ipv4(6, tcp_header(7001))),
                              (IPV6, ethernet(0x86dd) + ipv6(6, tcp_header(7001)))):
            answers = self.answers([frame])
            self.assertEqual(len(answers), 1)
            self.check_reset(answers[0], family)

    @each(SILENT)
    def test_sender_gets_eperm(self, on):
        """Where no packet can answer, the system call does."""
        cgroup = Cgroup()
        with cgroup:
            done = apply("policy t {\n on %s\n default accept\n reject if udp.dst_port == 7001"
                         " or tcp.dst_port == 7001\n }" % (on % cgroup.name if "%" in on else on))
            self.assertIn("connect", done.stderr)  # warns that connect() will only time out
            for family in FAMILIES:
                self.assertEqual(udp(7001, False, family), "EPERM")
                self.assertEqual(tcp(7001, False, family)[0], "timeout")
                self.assertEqual(udp(7002, False, family), 1)

    @each([(on, (on,)) for on in ("netfilter input", "netfilter forward", 'cgroup "/" ingress')])
    def test_hooks_that_cannot_tell(self, on):
        done = weir("check", policy_file("policy t {\n on %s\n default accept\n reject if udp\n }" % on), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("reject", done.stderr)


if __name__ == "__main__":
    main()
