#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tunables of a policy in force, and `weir top` as a person sees it, on a terminal of the test's own."""

import pty
import select
import time

from weirtest import *

POLICY = """
define port = 7001 tunable
policy t {
    on tc weir0 ingress
    default accept
    define longest = 100 tunable
    set blocked : address { }
    drop if udp and length > longest and dst_port == 7009
    drop if udp.dst_port == port
    drop if src in blocked
    accept if udp.dst_port == 7008 and rate <= 1/h burst 1
    drop if udp.dst_port == 7008
}
"""


def view(policy):
    return json.loads(weir("show", policy, "--json").stdout)


def programs():
    """Which programs the policy has: pins of others are other inodes."""
    folder = os.path.join(os.environ["WEIR_BPFFS"], "weir", "t")
    return {name: os.stat(os.path.join(folder, name)).st_ino for name in os.listdir(folder) if name.startswith("prog_")}


class Tune(TestCase):
    def setUp(self):
        apply(POLICY)

    def test_list(self):
        self.assertEqual(weir("tune", "t").stdout, "port=7001\nlongest=100\n")
        self.assertEqual(json.loads(weir("tune", "t", "--json").stdout)["tunables"], {"port": "7001", "longest": "100"})

    def test_change(self):
        self.assertEqual((udp(7009, size=60), udp(7009, size=90)), (1, 0))
        self.assertEqual(probe([7001, 7002]), {7002})
        self.assertEqual(udp(7008, count=3), 1)
        weir("set", "add", "t", "blocked", "192.0.2.1")
        weir("tune", "t", "longest=200", "port=7002")
        self.assertEqual(udp(7009, size=90), 1)
        self.assertEqual(probe([7001, 7002]), {7001})
        self.assertEqual(udp(7008, count=3), 0, "buckets stay")
        self.assertEqual(weir("set", "list", "t", "blocked").stdout.split(), ["192.0.2.1"])
        counts = Counts("t")
        self.assertEqual((counts.packets(1), counts.packets(2), counts.packets(5)), (1, 2, 5), "and counts")
        self.assertIn("define longest = 200 tunable", weir("show", "t", "--source").stdout)

    def test_in_the_map(self):
        """Where rules only compare, the programs stay and a number in the map is another."""
        loaded = [view("t")["loaded"], programs()]
        weir("tune", "t", "longest=200", "port=0x1b5a")
        self.assertEqual([view("t")["loaded"], programs()], loaded)
        self.assertEqual(udp(7009, size=150), 1)
        self.assertEqual(probe([7001, 7002]), {7001})
        self.assertEqual(weir("tune", "t").stdout, "port=0x1b5a\nlongest=200\n")
        self.assertIn("define longest = 200 tunable", weir("show", "t", "--source").stdout)
        weir("tune", "t", "longest=20", "port=7001")
        self.assertEqual((udp(7009, size=0), probe([7001, 7002])), (0, {7002}))
        weir("rule", "add", "t", "drop if udp.dst_port == 7005")
        self.assertEqual(weir("tune", "t").stdout, "port=7001\nlongest=20\n", "and through the long way")
        self.assertEqual((udp(7009, size=0), probe([7001, 7002, 7005])), (0, {7002}))

    def test_anew(self):
        """What is more than a number compared is a constant: other programs come."""
        policy = POLICY.replace("drop if udp.dst_port == port", "drop if udp.dst_port in { port, 7006 }")
        apply(policy.replace("{ }", "{ }\n    define gate = 192.0.2.9 tunable\n    drop if src == gate"))
        before = programs()
        weir("tune", "t", "longest=30")
        self.assertEqual(programs(), before)
        weir("tune", "t", "port=7002")
        self.assertNotEqual(programs(), before)
        self.assertEqual(probe([7001, 7002, 7006]), {7001})
        for gate, passed in ((PEER4, 0), ("10.77.0.0/24", 0), (PEER6, 1), (PEER4, 0), ("192.0.2.9", 1)):
            weir("tune", "t", "gate=" + gate)
            self.assertEqual(udp(7001), passed, gate)
        self.assertEqual(weir("tune", "t").stdout.splitlines()[1:], ["longest=30", "gate=192.0.2.9"])

    def test_all_hooks(self):
        """One map for all of a policy's hooks, and one value for all comparisons of a packet."""
        apply("""
            policy t {
                on tc weir0 ingress
                on xdp weir0
                default accept
                define limit = 7003 tunable
                drop if tc and udp and dst_port > limit
            }
        """.replace("tc and ", "ingress and "))
        self.assertEqual(probe([7001, 7003, 7004]), {7001, 7003})
        weir("tune", "t", "limit=7001")
        self.assertEqual(probe([7001, 7003, 7004]), {7001})
        counts = Counts("t")
        self.assertEqual(counts.packets(1), 3)

    def test_apply(self):
        """Stays where the file says what it said."""
        weir("tune", "t", "longest=200", "port=7002")
        apply(POLICY)
        self.assertEqual(weir("tune", "t").stdout, "port=7002\nlongest=200\n")
        self.assertEqual(probe([7001, 7002]), {7001})
        weir("tune", "t", "port=7003")
        weir("rule", "add", "t", "drop if udp.dst_port == 7005")
        apply(POLICY.replace("longest = 100", "longest = 150"))
        self.assertEqual(weir("tune", "t").stdout, "port=7003\nlongest=150\n")
        self.assertEqual(probe([7001, 7003]), {7001})
        apply(POLICY.replace("7001 tunable", "7001"))
        self.assertEqual(weir("tune", "t").stdout, "longest=100\n")
        weir("tune", "t", "longest=200")
        done = apply(POLICY.replace("length > longest", "ttl > longest").replace("7001 tunable", "7001"))
        self.assertEqual(weir("tune", "t").stdout, "longest=200\n")
        weir("tune", "t", "longest=300", check=False)
        weir("delete", "t")
        apply(POLICY)
        self.assertEqual(weir("tune", "t").stdout, "port=7001\nlongest=100\n", "forgotten with the policy")

    def test_wrong(self):
        for arguments, status, words in (
                (("t", "longer=1"), 1, "has no tunable `longer`"),
                (("t", "longest=9999999999999"), 1, "longest"),
                (("t", "longest=1 }"), 1, "is not a value"),
                (("t", "longest="), 1, "is not a value"),
                (("t", "port=10.0.0.1"), 1, "port"),
                (("t", "port"), 3, "is not like `mtu=200`"),
                (("nobody", "port=1"), 1, "no policy `nobody`")):
            done = weir("tune", *arguments, check=False)
            self.assertEqual(done.returncode, status, arguments)
            self.assertIn(words, done.stderr)
        self.assertEqual(weir("tune", "t").stdout, "port=7001\nlongest=100\n", "nothing has changed")


class Top(TestCase):
    def setUp(self):
        apply(POLICY)

    def test_text(self):
        udp(7001, count=3)
        text = weir("top", "--once", "t").stdout
        self.assertRegex(text, r"(?m)^ +0 +0 +3  drop if udp.dst_port == port$")
        self.assertIn("policy t", text)
        self.assertIn("longest=100", text)

    def test_json(self):
        udp(7001, count=3)
        lines = weir("top", "--count", "2", "--json", "t").stdout.splitlines()
        self.assertEqual(len(lines), 2)
        shown = json.loads(lines[1])
        self.assertEqual(shown["rules"][1]["packets"], 3)
        self.assertEqual(shown["rules"][1]["packets_per_second"], 0)
        self.assertEqual(shown["tunables"], {"port": "7001", "longest": "100"})

    def test_unknown(self):
        done = weir("top", "--once", "nobody", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no policy `nobody` is in force", done.stderr)

    def read(self, terminal, words):
        """All output up to these words."""
        text = ""
        until = time.monotonic() + 20 * SLOW
        while words not in text:
            ready, _, _ = select.select([terminal], [], [], max(0, until - time.monotonic()))
            self.assertTrue(ready, "no `%s` in %r" % (words, text))
            text += os.read(terminal, 65536).decode()
        return text

    def test_terminal(self):
        child, terminal = pty.fork()
        if not child:
            os.execv(WEIR, [WEIR, "top", "t"])
        try:
            self.read(terminal, "> port=7001")
            os.write(terminal, b"\x1b[B")
            self.read(terminal, "> longest=100")
            os.write(terminal, b"+")
            self.read(terminal, "> longest=101")
            self.assertEqual(weir("tune", "t").stdout, "port=7001\nlongest=101\n")
            os.write(terminal, b"-")
            self.read(terminal, "> longest=100")
            os.write(terminal, b"\x1b[A")
            self.read(terminal, "> port=7001")
            os.write(terminal, b"q")
            self.read(terminal, "\x1b[?1049l")
        finally:
            _, status = os.waitpid(child, 0)
            os.close(terminal)
        self.assertEqual(status, 0)


if __name__ == "__main__":
    main()
