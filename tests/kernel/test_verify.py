#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`weir verify --loaded`: what is in force is proven from what the kernel has, and what is wrong there is shown."""

import json
import mmap
import platform
import random
import struct

from weirtest import *

SYS_BPF = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
BPF_OBJ_GET = 7

RULES = 1000
CODE = """
policy code {
    on tc weir0 ingress
    on netfilter input
    on cgroup %s egress
    default accept
    set blocked : address { 192.0.2.1 }
    log "seen" drop if tcp.dst_port in { 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43 }
    drop if src in blocked
    jump deeper if udp
    chain deeper {
        return if udp.dst_port == 53
        drop if rate <= 10/s per src
    }
}
"""


def table(seed=1):
    chance = random.Random(seed)
    lines = ["policy t {", "    on xdp weir0", "    default accept", "    classifier = table",
             "    set blocked : prefix { 192.0.2.0/24 }"]
    for i in range(RULES):
        lines.append("    %s if src in 10.%d.%d.0/24 and tcp.dst_port == %d" %
                     (chance.choice(("drop", "accept")), i % 7, i // 7, chance.choice((22, 80, 443, 8000 + i))))
    lines += ['    log "blocked" drop if src in blocked', "    drop if src in 10.0.0.0/8 and udp", "}"]
    return "\n".join(lines) + "\n"


class Blob:
    """The table of a policy's first hook, as 64-bit words that can be written to."""

    def __init__(self, policy):
        path = os.path.join(os.environ["WEIR_BPFFS"], "weir", policy, "table_0")
        name = ctypes.create_string_buffer(path.encode())
        request = struct.pack("QII", ctypes.addressof(name), 0, 0)
        self.fd = libc.syscall(SYS_BPF, BPF_OBJ_GET, request, len(request))
        check_call(self.fd)
        with open("/proc/self/fdinfo/%d" % self.fd) as file:
            size = int(re.search(r"value_size:\s*(\d+)", file.read()).group(1))
        self.words = memoryview(mmap.mmap(self.fd, (size + 4095) // 4096 * 4096)).cast("B").cast("Q")

    def halves(self, index):
        return self.words[index] & 0xffffffff, self.words[index] >> 32

    def version(self):
        """Its tree's words: from behind its lists to itself; and what its first IPv4 entry begins with."""
        at = self.words[0]
        entries, counts = self.halves(at + 5), self.halves(at + 6)
        return range(max(entries[0] + counts[0] * 4, entries[1] + counts[1] * 8), at), self.words[entries[0]]

    def built(self, rule):
        """The words of the built trees, and what the rule's entry begins with."""
        stride, = struct.unpack_from("I", self.words, 16)
        room_end, first = struct.unpack_from("II", self.words, 40)
        for index in range(first, len(self.words), 4):
            if self.halves(index)[0] == rule * stride:
                return range(room_end, first), self.words[index]
        raise AssertionError("no entry")

    def turn(self, where, word):
        """Turns the verdict of all records that begin so; how many."""
        found = [index for index in where if self.words[index] == word]
        for index in found:
            self.words[index] ^= 1 << 32
        return len(found)


def verify(*arguments, status=0):
    done = weir("verify", "--loaded", "--json", *arguments, check=False)
    assert done.returncode == status, (done.stdout, done.stderr)
    return json.loads(done.stdout)["results"]


class Verify(TestCase):
    def test_changed_tables(self):
        """Rules that come and go, also by a file, are proven; single words of the table that are wrong have a packet."""
        if not SYS_BPF:
            self.skipTest("the number of bpf(2) is not known here")
        apply(table(), "--no-verify")
        weir("rule", "add", "t", "drop if src == 10.1.1.1 and tcp.dst_port == 22")
        weir("rule", "add", "t", "before", "5", "drop if src in blocked and tcp.dst_port == 23")
        weir("rule", "delete", "t", "300")
        weir("rule", "delete", "t", "1000")
        weir("rule", "replace", "t", "40", 'log "new" accept if src in 10.3.0.0/16 and udp')
        done = weir("verify", "--loaded", "t")
        self.assertRegex(done.stdout, r"^t at xdp: proven for all packets, as is what walks its table \(1002 rules, ")
        blob = Blob("t")
        for where, word in (blob.version(), blob.built(7)):
            self.assertGreater(blob.turn(where, word), 0)
            shown, = verify("t", status=1)
            self.assertEqual(shown["proof"], "different")
            self.assertIn("> ", shown["packet"])
            self.assertNotEqual(shown["by_rules"], shown["by_program"])
            blob.turn(where, word ^ 1 << 32)
        text = weir("show", "t", "--source").stdout.splitlines()
        apply("\n".join(text[:200] + text[203:]) + "\n", "--no-verify")
        self.assertNotEqual(blob.words[0], 0)
        shown, = verify("t")
        self.assertEqual((shown["proof"], shown["rules"]), ("proven", RULES - 1))

    def test_code(self):
        """Where there is no table, the program is that of the text."""
        apply(CODE % Cgroup().name)
        self.assertEqual([(shown["policy"], shown["hook"], shown["proof"]) for shown in verify()],
                         [("code", "tc-ingress", "proven"), ("code", "netfilter-input", "proven"),
                          ("code", "cgroup-egress", "proven")])
        shown, = verify("--hook", "tc-ingress", "code")
        self.assertEqual(shown["hook"], "tc-ingress")

    def test_detached(self):
        run("ip", "link", "add", "weir9", "type", "veth", "peer", "name", "weir8")
        apply("policy gone {\n    on tc weir9 ingress\n    default accept\n    drop if udp.dst_port == 1\n}\n")
        run("ip", "link", "del", "weir9")
        shown, = verify("gone", status=1)
        self.assertEqual((shown["proof"], shown["reason"]), ("not proven", "its program at `weir9` is not attached"))

    def test_refusals(self):
        done = weir("verify", "--loaded", "nosuch", check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "weir: error: there is no policy `nosuch`\n"))
        apply("policy p {\n    on tc weir0 ingress\n    default accept\n}\n")
        done = weir("verify", "--loaded", "--policy", "p", "p", check=False)
        self.assertIn("--loaded takes a policy's name", done.stderr)
        done = weir("verify", "--loaded", "--hook", "xdp", "p", check=False)
        self.assertEqual(done.returncode, 1)
        done = weir("verify", "--loaded", "p", check=False, user=65534)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    main()
