#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run-time sets: changed in place, live at once, and kept by `weir apply`."""

import json
import re
import time

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


TIMED = """
policy t {
    on tc weir0 ingress
    default accept
    set banned : address timeout 1h max 8 { 198.51.100.7 timeout 10min, 198.51.100.8 }
    set nets : prefix timeout never { 192.0.2.0/24 }
    set ports : port timeout 1h { }
    set lasting : address { }
    drop if src in banned and udp.dst_port in 7004-7006
    drop if src in nets and udp.dst_port == 7003
    drop if udp.dst_port in ports
    drop if src in lasting and udp.dst_port == 7008
    add src to banned for 10min add dst_port to ports for 10min if udp.dst_port == 7001
    remove src from banned remove src from lasting if udp.dst_port == 7002
    add src to lasting if udp.dst_port == 7007
}
"""


def members(name):
    listed = json.loads(weir("set", "list", "t", name, "--json").stdout)
    return {member["element"]: member for member in listed["members"]}


class Timeouts(TestCase):
    """Elements that expire, and elements that packets add and remove."""

    def setUp(self):
        apply(TIMED)

    def expires(self, name, *elements):
        """Adds them for a moment, and waits until that is over."""
        weir("set", "add", "t", name, *elements, "--timeout", "1ms")
        time.sleep(0.05)

    def test_expired_is_no_member(self):
        for family in FAMILIES:
            peer = peers(family)
            weir("set", "add", "t", "banned", peer, "--timeout", "10min")
            self.assertEqual(probe([7004, 7009], family=family), {7009})
            self.assertEqual(weir("set", "test", "t", "banned", peer, check=False).returncode, 0)
            self.expires("banned", peer)
            self.assertEqual(probe([7004, 7009], family=family), {7004, 7009})
            self.assertEqual(weir("set", "test", "t", "banned", peer, check=False).returncode, 1)
            self.assertNotIn(peer, members("banned"))
            self.assertEqual(weir("set", "del", "t", "banned", peer, check=False).returncode, 2, "it is gone")

    def test_prefix_within_an_expired_one(self):
        """A trie finds the longest prefix; behind one that has expired, shorter ones count."""
        for family, net, middle in ((IPV4, "10.77.0.0/16", "10.77.0.0/24"), (IPV6, "fd77::/16", "fd77::/64")):
            peer = peers(family)
            self.expires("nets", middle, peer)
            self.assertEqual(probe([7003], family=family), {7003})
            weir("set", "add", "t", "nets", net)
            self.assertEqual(probe([7003], family=family), set())
            self.assertEqual(weir("set", "test", "t", "nets", peer, check=False).returncode, 0)
            weir("set", "del", "t", "nets", net)
            self.assertEqual(probe([7003], family=family), {7003})
            weir("set", "add", "t", "nets", peer + " timeout 1h")
            self.assertEqual(probe([7003], family=family), set(), "it lives again")

    def test_packets_add_and_remove(self):
        for family in FAMILIES:
            peer = peers(family)
            self.assertEqual(probe([7004], family=family), {7004})
            self.assertEqual(probe([7001], family=family), {7001}, "what it adds counts from the next packet on")
            self.assertEqual(probe([7001, 7004], family=family), set())
            added = members("banned")[peer]
            self.assertEqual(added["origin"], "packet")
            self.assertTrue(590000 < added["left_ms"] <= 600000, added)
            self.assertEqual(members("ports")["7001"]["origin"], "packet")
            self.assertIn("# added by a packet", weir("set", "list", "t", "banned").stdout)
            self.assertEqual(probe([7002], family=family), {7002})
            self.assertNotIn(peer, members("banned"))
            self.assertEqual(probe([7004], family=family), {7004})
            weir("set", "del", "t", "ports", "7001")
            self.assertEqual(probe([7007], family=family), {7007})
            self.assertEqual(members("lasting")[peer], {"element": peer, "origin": "packet"})
            self.assertEqual(probe([7008], family=family), set())

    def test_more_time_never_less(self):
        weir("set", "add", "t", "banned", PEER4, "--timeout", "1h")
        probe([7001])
        self.assertGreater(members("banned")[PEER4]["left_ms"], 3500000)
        weir("set", "add", "t", "banned", PEER4, "--timeout", "1min")
        self.assertLessEqual(members("banned")[PEER4]["left_ms"], 60000)
        weir("set", "del", "t", "ports", "7001")
        probe([7001])
        self.assertGreater(members("banned")[PEER4]["left_ms"], 590000)
        self.assertEqual(members("banned")[PEER4]["origin"], "run-time")

    def test_full(self):
        """What is in the set stays; what has expired makes room, also for packets."""
        weir("set", "add", "t", "banned", *["192.0.2.%d" % i for i in range(6)])
        self.assertEqual(weir("set", "add", "t", "banned", "192.0.2.9", check=False).returncode, 2)
        before = members("banned")
        probe([7001])
        listed = json.loads(weir("set", "list", "t", "banned", "--json").stdout)
        self.assertEqual((set(listed["elements"]), listed["refused"]), (set(before), 1))
        self.expires("banned", "192.0.2.1", "192.0.2.2")
        weir("set", "del", "t", "ports", "7001")
        time.sleep(0.1)
        probe([7001])
        self.assertIn(PEER4, members("banned"))
        self.expires("banned", "192.0.2.3")
        weir("set", "add", "t", "banned", "192.0.2.9")
        self.assertEqual(set(members("banned")),
                         {PEER4, "192.0.2.0", "192.0.2.4", "192.0.2.5", "192.0.2.9", "198.51.100.7", "198.51.100.8"})

    def test_apply_keeps_them(self):
        probe([7001])
        weir("set", "add", "t", "banned", "203.0.113.1", "203.0.113.2 timeout never")
        self.expires("banned", "203.0.113.3")
        apply(TIMED.replace("198.51.100.8", "198.51.100.9"))
        self.assertEqual({name: member["origin"] for name, member in members("banned").items()},
                         {"198.51.100.7": "file", "198.51.100.9": "file", PEER4: "packet",
                          "203.0.113.1": "run-time", "203.0.113.2": "run-time"})
        self.assertEqual(probe([7004]), set())
        apply(TIMED.replace("timeout 1h max 8", "timeout never max 8"), "--reset-sets")
        self.assertEqual(set(members("banned")), {"198.51.100.7", "198.51.100.8"})

    def test_without_timeouts_again(self):
        """What was to end does not last for ever because the policy says nothing of timeouts any more."""
        weir("set", "add", "t", "nets", "203.0.113.0/24 timeout 1h", "203.0.114.0/24")
        apply(TIMED.replace("prefix timeout never", "prefix"))
        self.assertEqual(set(members("nets")), {"192.0.2.0/24", "203.0.114.0/24"})
        for bad in (["10.0.0.0/8", "--timeout", "1h"], ["10.0.0.0/8 timeout 1h"]):
            done = weir("set", "add", "t", "nets", *bad, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no timeouts", done.stderr)

    def test_save_and_reload(self):
        weir("set", "add", "t", "banned", PEER4 + " timeout 30min", "203.0.113.2 timeout never")
        saved = weir("set", "save", "t", "banned").stdout
        self.assertTrue(re.search(r"^%s timeout (30min|29min\d+s)$" % re.escape(PEER4), saved, re.M), saved)
        path = policy_file(saved, "saved.txt")
        weir("set", "flush", "t", "banned")
        self.assertEqual(members("banned"), {})
        weir("set", "replace", "t", "banned", "-f", path, "--timeout", "never")
        listed = members("banned")
        self.assertGreater(listed[PEER4]["left_ms"], 1700000)
        self.assertNotIn("left_ms", listed["203.0.113.2"])
        apply(TIMED.replace("198.51.100.8 }", 'include "%s" }' % path), "--reset-sets")
        self.assertEqual(set(members("banned")), set(listed))

    def test_bad_timeouts(self):
        before = members("banned")
        for bad, text in ((["10.0.0.1", "--timeout", "soon"], "is not a time"),
                          (["10.0.0.1", "10.0.0.2 timeout x"], "is not a time"),
                          (["10.0.0.1 timeout"], "is not a time"), (["10.0.0.1 timeout 90d"], "at most 49 days")):
            done = weir("set", "add", "t", "banned", *bad, check=False)
            self.assertEqual(done.returncode, 1, bad)
            self.assertIn(text, done.stderr)
        self.assertEqual(members("banned").keys(), before.keys())

    def test_every_hook(self):
        for hook in ("xdp weir0", "tc weir0 ingress", "netfilter input", 'cgroup "%s" ingress' % cgroup_of_self()):
            weir("flush", "--all")
            try:
                apply(TIMED.replace("tc weir0 ingress", hook))
            except RuntimeError as problem:
                if "netfilter" in hook and "needs Linux" in str(problem):
                    continue
                raise
            probe([7001])
            self.assertEqual(probe([7001, 7004, 7009]), {7009}, hook)
            self.expires("banned", PEER4)
            self.assertEqual(probe([7004, 7009]), {7004, 7009}, hook)

    def test_shared(self):
        """A policy that adds to a shared set, and one that looks at it; both must know of timeouts."""
        weir("flush", "--all")
        shared = "set bad : address timeout 1h { }\n"
        one = "policy one {\n on tc weir0 ingress\n default accept\n add src to bad if udp.dst_port == 7001\n }\n"
        two = "policy two {\n on xdp weir0\n default accept\n drop if src in bad and udp.dst_port == 7002\n }\n"
        apply(shared + one + two)
        self.assertEqual(probe([7002]), {7002})
        self.assertEqual(probe([7001]), {7001})
        self.assertEqual(probe([7002, 7003]), {7003})
        done = weir("apply", policy_file("set bad : address { }\n" + two), check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("in use with timeouts", done.stderr)
        self.assertEqual(probe([7002, 7003]), {7003})


if __name__ == "__main__":
    main()
