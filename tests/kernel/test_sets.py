#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run-time sets: changed in place, live at once, and kept by `weir apply`."""

import json

from weirtest import *

POLICY = """
policy t {
    on tc weir0 ingress
    default accept
    set blocked : prefix { 192.0.2.0/24 }
    set ports : port { 7001 }
    set hosts : address { }
    drop if src in blocked and udp.dst_port == 7003
    drop if udp.dst_port in ports
    drop if src in hosts and udp.dst_port == 7004
}
"""


def elements(name):
    return weir("set", "list", "t", name).stdout.split()


class Sets(TestCase):
    def setUp(self):
        apply(POLICY)

    def test_add_and_delete_live(self):
        for family in FAMILIES:
            self.assertEqual(probe([7001, 7002, 7003, 7004], family=family), {7002, 7003, 7004})
            width = 24 if family == IPV4 else 64
            net = "10.77.0.0/24" if family == IPV4 else "fd77::/64"
            weir("set", "add", "t", "blocked", net)
            weir("set", "add", "t", "ports", "7002")
            weir("set", "add", "t", "hosts", peers(family))
            self.assertEqual(probe([7001, 7002, 7003, 7004], family=family), set(), "added, /%d" % width)
            weir("set", "del", "t", "blocked", net)
            weir("set", "del", "t", "ports", "7001", "7002")
            weir("set", "del", "t", "hosts", peers(family))
            self.assertEqual(probe([7001, 7002, 7003, 7004], family=family), {7001, 7002, 7003, 7004})
            weir("set", "add", "t", "ports", "7001")

    def test_list_and_test(self):
        weir("set", "add", "t", "blocked", "10.0.0.0/8", "2001:db8::/32")
        self.assertEqual(set(elements("blocked")), {"10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"})
        for element, status in (("10.1.2.3", 0), ("192.0.2.9", 0), ("11.0.0.1", 1), ("2001:db8::9", 0), ("2001::", 1)):
            self.assertEqual(weir("set", "test", "t", "blocked", element, check=False).returncode, status, element)

    def test_replace_and_flush(self):
        weir("set", "replace", "t", "blocked", "10.77.0.0/16")
        self.assertEqual(elements("blocked"), ["10.77.0.0/16"])
        self.assertEqual(probe([7003]), set())
        weir("set", "flush", "t", "blocked")
        self.assertEqual(elements("blocked"), [])
        self.assertEqual(probe([7003]), {7003})

    def test_replace_leaves_the_rest(self):
        """Other sets stay as they are at run time, and so do the counters."""
        weir("set", "del", "t", "ports", "7001")
        weir("set", "add", "t", "hosts", "192.0.2.9")
        probe([7003])
        before = json.loads(weir("show", "t", "--json").stdout)["rules"]
        weir("set", "replace", "t", "blocked", "10.77.0.0/16")
        self.assertEqual(elements("ports"), [])
        self.assertEqual(elements("hosts"), ["192.0.2.9"])
        self.assertEqual(json.loads(weir("show", "t", "--json").stdout)["rules"], before)
        self.assertEqual(probe([7001, 7003]), {7001})

    def test_file(self):
        path = policy_file("# blocked\n10.77.0.0/24   # the peer\n\n198.51.100.7\n", "elements.txt")
        weir("set", "add", "t", "blocked", "-f", path)
        self.assertEqual(set(elements("blocked")), {"10.77.0.0/24", "192.0.2.0/24", "198.51.100.7"})

    def test_bad_elements_change_nothing(self):
        before = elements("blocked")
        for bad in (["10.0.0.0/8", "10.0.0.0/33"], ["nonsense"], ["10.0.0.1/8"]):
            done = weir("set", "add", "t", "blocked", *bad, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(elements("blocked"), before)
        self.assertEqual(weir("set", "add", "t", "nosuch", "1.2.3.4", check=False).returncode, 1)
        self.assertEqual(weir("set", "add", "nosuch", "blocked", "1.2.3.4", check=False).returncode, 1)

    def test_apply_keeps_what_was_added(self):
        weir("set", "add", "t", "blocked", "10.77.0.0/24")
        apply(POLICY.replace("192.0.2.0/24", "198.51.100.0/24"))
        self.assertEqual(set(elements("blocked")), {"10.77.0.0/24", "198.51.100.0/24"})
        self.assertEqual(probe([7003]), set())
        apply(POLICY, "--reset-sets")
        self.assertEqual(elements("blocked"), ["192.0.2.0/24"])

    def test_shared_set(self):
        """A set outside a policy is one for all that use it."""
        weir("flush", "--all")
        apply("set bad : address { }\n"
              "policy one {\n on tc weir0 ingress\n default accept\n drop if src in bad and udp.dst_port == 7001\n }\n"
              "policy two {\n on xdp weir0\n default accept\n drop if src in bad and udp.dst_port == 7002\n }\n")
        self.assertEqual(probe([7001, 7002]), {7001, 7002})
        weir("set", "add", "one", "bad", PEER4)
        self.assertEqual(probe([7001, 7002]), set())
        weir("set", "del", "two", "bad", PEER4)
        self.assertEqual(probe([7001, 7002]), {7001, 7002})


if __name__ == "__main__":
    main()
