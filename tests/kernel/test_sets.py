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
        cgroup = Cgroup()
        for hook in ("xdp weir0", "tc weir0 ingress", "netfilter input", 'cgroup "%s" ingress' % cgroup.name):
            weir("flush", "--all")
            try:
                apply(TIMED.replace("tc weir0 ingress", hook))
            except RuntimeError as problem:
                if "netfilter" in hook and "needs Linux" in str(problem):
                    continue
                raise
            with cgroup:
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


class Example(TestCase):
    def test_out_for_an_hour(self):
        """examples/banned.weir with real connections: the eleventh within a minute puts its source out."""
        with open(os.path.join(ROOT, "examples/banned.weir")) as file:
            apply(file.read().replace("on tc eth0 ingress", "on tc weir0 ingress"))
        for _ in range(10):
            self.assertEqual(tcp(22)[0], "connected")
        self.assertEqual(tcp(22)[0], "timeout")
        self.assertEqual(tcp(80)[0], "timeout", "it is out, whatever it asks for")
        self.assertEqual(tcp(22, family=IPV6)[0], "connected", "nobody else is")
        listed = json.loads(weir("set", "list", "banned", "attackers", "--json").stdout)["members"]
        self.assertEqual([member["element"] for member in listed], [PEER4])
        self.assertRegex(weir("set", "list", "banned", "attackers").stdout, PEER4 + r" timeout (59min|1h|3[56]\d\d)")
        weir("set", "del", "banned", "attackers", PEER4)
        self.assertEqual(tcp(80)[0], "connected")
        self.assertEqual(tcp(23)[0], "timeout", "a trap")
        self.assertEqual(tcp(80)[0], "timeout")


class Memory(TestCase):
    POLICY = """
policy t {
    on tc weir0 ingress
    default accept
    set hosts : address max 100000 { 192.0.2.1 }
    set nets : prefix max 20000 { 198.51.100.0/24 }
    set ports : port max 50000 { 7009 }
    drop if src in hosts or src in nets or udp.dst_port in ports
}
"""

    def test_said_and_shown(self):
        """What sets take is said beforehand, and shown."""
        said = weir("compile", policy_file(self.POLICY), "--emit", "ir").stdout
        room = int(re.search(r"# sets: their room takes (\d+) KiB", said).group(1))
        most = int(re.search(r"# sets: prefixes take up to (\d+) KiB", said).group(1))
        apply(self.POLICY)
        path = os.path.join(world.folder, "nets")
        write(path, "".join("10.%d.%d.0/24\n" % (n // 200, n % 200) for n in range(19999)))
        weir("set", "add", "t", "nets", "-f", path)
        taken = {}
        for entry in json.loads(weir("show", "t", "--json").stdout)["state"]:
            taken[entry["name"]] = taken.get(entry["name"], 0) + entry["memory"] / 1024
        hashes = taken["hosts"] + taken["ports"]
        self.assertTrue(room * 0.8 < hashes < room * 1.3, "%d KiB said, %d taken" % (room, hashes))
        self.assertTrue(20000 * 40 / 1024 < taken["nets"] < most, "%d KiB at most, %d taken" % (most, taken["nets"]))
        self.assertRegex(weir("show", "t").stdout, r"(?m)^set hosts ipv6: 0 of 100000 in \d+ KiB$")

    def test_too_much(self):
        """All of a policy's sets together."""
        with open("/proc/meminfo") as file:
            available = int(re.search(r"MemAvailable: +(\d+)", file.read()).group(1)) >> 20  # GiB
        count = available // 1 + 2  # more than a GiB each
        sets = "".join("    set s%d : address max 16777216 { }\n" % n for n in range(count))
        rules = "".join("    drop if src in s%d\n" % n for n in range(count))
        done = weir("apply", policy_file("policy t {\n    on tc weir0 ingress\n    default accept\n%s%s}\n" % (sets, rules)),
                    check=False)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"policy `t` wants \d+ MiB for its maps, \d+ of them for `s0`, and \d+ are available")
        self.assertIn("`max N` behind the set's type", done.stderr)
        self.assertEqual(weir("list").stdout, "")

    def test_less_than_that_is_allowed(self):
        """The machine has room, but whoever limits the memory of the command does not: the kernel says no."""
        with self.limited(48 << 20):
            done = weir("apply", policy_file(self.POLICY.replace("100000", "1000000")), check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr, "out of memory|Cannot allocate memory")
        self.assertRegex(done.stderr, r"policy `t` wants 1\d\d MiB for its maps, \d+ of them for `hosts`")
        self.assertEqual(weir("list").stdout, "")

    @contextlib.contextmanager
    def limited(self, most):
        """In a cgroup with so many bytes, for as long as the block."""
        with open("/proc/self/mounts") as file:
            mounts = [line.split() for line in file]
        tops = [m[1] for m in mounts if m[2] == "cgroup" and "memory" in m[3].split(",")]
        limit = "memory.limit_in_bytes"
        if not tops and cgroup_mount():
            with open(cgroup_mount() + "/cgroup.subtree_control") as file:
                tops, limit = [cgroup_mount()] if "memory" in file.read().split() else [], "memory.max"
        if not tops:
            self.skipTest("no memory controller for cgroups of tests")
        path = "%s/%s-%d-memory" % (tops[0], PREFIX, os.getpid())
        os.mkdir(path)
        try:
            write(path + "/" + limit, "%d" % most)
            write(path + "/cgroup.procs", "0")
            yield
        finally:
            write(tops[0] + self.back(tops[0]) + "/cgroup.procs", "0")
            for _ in range(50):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
                    break
                time.sleep(0.02)

    def setUp(self):
        with open("/proc/self/cgroup") as file:
            self.groups = [line.strip().split(":", 2) for line in file]

    def back(self, top):
        """Where this process was before, below `top`."""
        return [path for _, controllers, path in self.groups
                if ("memory" in controllers.split(",") if controllers else top == cgroup_mount())][0]


if __name__ == "__main__":
    main()
