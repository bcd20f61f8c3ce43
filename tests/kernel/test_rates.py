#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Rates and throttles with real packets. No test depends on how fast the machine is: buckets that refill are compared with
the time that went by, and the others take an hour to refill."""

import time

from weirtest import *

HOURLY = """
policy t {
    on %s
    default accept
    accept if udp.dst_port == 7001 and rate <= 1/h burst 3
    accept if udp.dst_port == 7002 and rate <= 1/h burst 2 per src
    accept if udp.dst_port == 7003 and rate <= 1/h burst 2 per flow
    drop   if udp.dst_port in 7001-7003
}
"""
SIDES = ("xdp weir0", "tc weir0 ingress", "netfilter input")


class Rates(TestCase):
    def test_at_every_hook(self):
        for side in SIDES:
            apply(HOURLY % side)
            for family in FAMILIES:
                self.assertEqual(udp(7002, family=family, count=5), 2, side)
                self.assertEqual(udp(7003, family=family, count=5, sport=4001), 2, side)
                self.assertEqual(udp(7003, family=family, count=5, sport=4002), 2, side)
            self.assertEqual(udp(7001, family=IPV6, count=2), 2, side)
            self.assertEqual(udp(7001, count=5), 1, side + ": the bucket is one for both families")
            counts = Counts("t")
            self.assertEqual([counts.packets(n) for n in (1, 2, 3, 4)], [3, 4, 8, 4 + 6 + 12], side)
            weir("delete", "t")

    def test_leaving(self):
        for side in ("tc weir0 egress", "netfilter output"):
            apply(HOURLY % side)
            arrived = 0
            for _ in range(5):
                one = udp(7001, inbound=False)
                arrived += one if isinstance(one, int) else 0  # netfilter: sendto() fails
            self.assertEqual(arrived, 3, side)
            weir("delete", "t")

    def test_buckets_outlive_an_apply(self):
        policy = HOURLY % "tc weir0 ingress"
        apply(policy)
        self.assertEqual(udp(7001, count=5), 3)
        self.assertEqual(udp(7002, count=5), 2)
        apply(policy.replace("default accept", "default accept\n    count seen if udp"))
        self.assertEqual(udp(7001, count=5), 0)
        self.assertEqual(udp(7002, count=5), 0)
        apply(policy.replace("burst 3", "burst 4"))
        self.assertEqual(udp(7001, count=5), 4, "another rate begins anew")

    def test_hooks_share_buckets(self):
        apply(HOURLY % "tc weir0 ingress\n    on netfilter input")
        self.assertEqual(udp(7001, count=5), 1, "each packet takes a token at both hooks")


class Throttle(TestCase):
    def flood(self, rate_bytes, burst, inbound):
        """As much as goes out in some time; what arrives is no more than the rate allows for the time that it took."""
        began = time.monotonic()
        arrived = udp(7001, inbound=inbound, count=3000, size=958)
        frames = (time.monotonic() - began) * rate_bytes + burst
        self.assertGreaterEqual(arrived, burst // 1000 - 1)
        self.assertLessEqual(arrived * 1000, frames)
        return arrived

    def test_udp(self):
        for side, inbound in (("ingress", True), ("egress", False)):
            apply("policy t {\n on tc weir0 %s\n default accept\n throttle 1MB/s burst 50k if udp.dst_port == 7001\n}\n"
                  % side)
            arrived = self.flood(1000000, 51200 + 1000, inbound)
            counts = Counts("t")
            self.assertEqual(counts.packets(1), 3000, "what is within is counted once, as is what is over")
            self.assertGreaterEqual(counts.default[0], arrived)
            weir("delete", "t")

    def test_tcp(self):
        """It comes through, and not faster than it may."""
        apply("policy t {\n on tc weir0 ingress\n default accept\n throttle 4mbit per flow accept if tcp.dst_port == 7001\n}\n")
        payload = b"x" * 500000
        began = time.monotonic()
        self.assertEqual(self.send(payload), len(payload))
        self.assertGreaterEqual(time.monotonic() - began, (len(payload) - 65536 - 20000) / 500000 * 0.95)

    def send(self, payload):
        with socket.socket(IPV4) as server, world.peer:
            client = socket.socket(IPV4)
        with server, client:
            server = socket.create_server((OUR4, 7001))
            client.connect((OUR4, 7001))
            child = os.fork()
            if not child:
                client.sendall(payload)
                client.shutdown(socket.SHUT_WR)
                os._exit(0)
            client.close()
            connection, _ = server.accept()
            got = 0
            connection.settimeout(60 * SLOW)
            while True:
                data = connection.recv(65536)
                if not data:
                    break
                got += len(data)
            os.waitpid(child, 0)
            connection.close()
            server.close()
            return got

    def test_says_what_it_does(self):
        done = apply("policy t {\n on tc weir0 egress\n default accept\n throttle 1mbit\n}\n")
        self.assertIn("weir0 has no fq qdisc", done.stderr)
        done = apply("policy t {\n on tc weir0 ingress\n default accept\n throttle 1mbit\n}\n")
        self.assertNotIn("qdisc", done.stderr)

    def test_fq(self):
        if run("tc", "qdisc", "replace", "dev", "weir0", "root", "fq", check=False).returncode:
            self.skipTest("this kernel has no fq qdisc")
        done = apply("policy t {\n on tc weir0 egress\n default accept\n throttle 1MB/s burst 10k if udp.dst_port == 7001\n}\n")
        self.assertNotIn("qdisc", done.stderr)
        began = time.monotonic()
        self.assertEqual(udp(7001, inbound=False, count=300, size=958, wait=2), 300)
        self.assertGreaterEqual(time.monotonic() - began, 0.28)


if __name__ == "__main__":
    main()
