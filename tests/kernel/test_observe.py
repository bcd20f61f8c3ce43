#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`policy NAME observe`: at every hook everything passes, and counters and events say what would have happened."""

from weirtest import *

RULES = """
policy t observe {
    on %s
    default drop
    log "no" drop if udp.dst_port == 7001
    accept if udp.dst_port == 7002
}
"""

HOOKS = [("xdp weir0", True), ("tc weir0 ingress", True), ("tc weir0 egress", False), ("netfilter input", True),
         ("netfilter output", False)]
EACH = each([(on, (on, inbound)) for on, inbound in HOOKS])


class Observe(TestCase):
    def assert_observed(self, counts, hook):
        self.assertEqual((counts.rules[1][0], counts.rules[2][0], counts.default[0]), (2, 2, 2))
        events = [json.loads(line) for line in weir("log", "--json").stdout.splitlines()]
        self.assertEqual([(e["verdict"], e["observed"], e["hook"]) for e in events], 2 * [("drop", True, hook)])
        shown = json.loads(weir("list", "--json").stdout)["policies"][0]
        self.assertEqual((shown["observe"], shown["drops"]), (True, 4))
        self.assertIn("t (observes)", weir("list").stdout)
        self.assertIn("only observes", weir("show", "t").stdout)

    @EACH
    def test_packets(self, on, inbound):
        apply(RULES % on)
        for port in (7001, 7002, 7003):
            self.assertEqual(udp(port, inbound, count=2), 2)
        self.assert_observed(Counts("t"), "-".join(word for word in on.split() if word != "weir0"))

    def test_cgroups_and_calls(self):
        cgroup = Cgroup()
        for on, hook in (('cgroup "%s" egress', "cgroup-egress"), ('connect "%s"', "connect")):
            with cgroup:
                apply(RULES % (on % cgroup.name))
                for port in (7001, 7002, 7003):
                    for _ in range(2):
                        with socket.socket(IPV4, socket.SOCK_DGRAM) as client:
                            client.sendto(b"x", (PEER4, port))
                self.assert_observed(Counts("t"), hook)
                weir("delete", "t")
        cgroup.remove()

    def test_malformed_packets(self):
        apply("policy t {\n observe\n on xdp weir0\n default accept\n}")
        with sniffer() as take:
            send_frames([ethernet(0x0800) + ipv4(17, b"xx")])
            self.assertEqual(len(take()), 1)
        self.assertEqual(Counts("t").malformed[0], 1)

    def test_said_twice(self):
        done = weir("check", policy_file("policy t observe {\n observe\n on tc lo egress\n default drop\n}"), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(":2:2: error: this is said twice", done.stderr)

    def test_enforcing_begins_in_one_step(self):
        apply(RULES % "xdp weir0")
        self.assertEqual(udp(7001), 1)
        apply((RULES % "xdp weir0").replace(" observe", ""))
        self.assertEqual(udp(7001), 0)
        self.assertEqual(Counts("t").packets(1), 2)


if __name__ == "__main__":
    main()
