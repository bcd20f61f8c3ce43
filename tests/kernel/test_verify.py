#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`weir verify --loaded`: what is in force is proven from what the kernel has, and what is wrong there is shown."""

import json
import mmap
import random
import struct

from weirtest import *

MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, OBJ_PIN, MAP_GET_FD_BY_ID, LINK_UPDATE, LINK_DETACH = 1, 2, 3, 6, 14, 29, 34

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


PORTS = range(1, 2000, 3)  # so many that they become a map
MAPS = """
policy m {
    on tc weir0 ingress
    default accept
    mark 7 log "seen" rate 5/s accept if udp
    drop if tcp.dst_port in { %s }
    drop if rate <= 10/s
}
""" % ", ".join(map(str, PORTS))

# Of which `b` has another rule, `c` is told something else, and `d` is the same in all but its name.
TWINS = "".join("policy %s {\n    on tc weir0 ingress\n    default accept\n    %s\n    drop if udp.dst_port == %d\n}\n" % twin
                for twin in (("a", "", 7001), ("b", "", 7002), ("c", "malformed accept", 7001), ("d", "", 7001)))

SMALL_PORTS = range(7001, 7009)
SMALL = """
policy t {
    on xdp weir0
    on tc weir0 ingress
    default accept
    classifier = table
%s}
""" % "".join("    drop if udp.dst_port == %d\n" % port for port in SMALL_PORTS)


def table(seed=1, name="t", hook="xdp weir0", further=0, sets=True):
    chance = random.Random(seed)
    lines = ["policy %s {" % name, "    on %s" % hook, "    default accept", "    classifier = table",
             "    set blocked : prefix { 192.0.2.0/24 }"]
    for i in range(RULES):
        lines.append("    %s if src in 10.%d.%d.0/24 and tcp.dst_port == %d" %
                     (chance.choice(("drop", "accept")), i % 7, i // 7,
                      chance.choice((22, 80, 443, 8000 + i)) + further))
    lines += ['    log "blocked" drop if src in blocked', "    drop if src in 10.0.0.0/8 and udp", "}"]
    return "\n".join(line for line in lines if sets or "blocked" not in line) + "\n"


# Has nodes and records at the same places.
OTHER_PORTS = table(name="b", hook="tc weir0 ingress", further=1, sets=False)


# --- what somebody does by hand ------------------------------------------------------------------------------------


def bpf(command, layout, *fields):
    request = struct.pack("=" + layout, *fields)
    result = libc.syscall(SYS_BPF, command, request, len(request))
    check_call(result)
    return result


def pin_path(*names):
    return os.path.join(os.environ["WEIR_BPFFS"], "weir", *names)


def open_pinned(*names):
    path = ctypes.create_string_buffer(pin_path(*names).encode())
    return bpf(BPF_OBJ_GET, "QII", ctypes.addressof(path), 0, 0)


def pin_instead(fd, *names):
    os.unlink(pin_path(*names))
    path = ctypes.create_string_buffer(pin_path(*names).encode())
    bpf(OBJ_PIN, "QII", ctypes.addressof(path), fd, 0)


def put_instead(fd, policy, place=0):
    """A program in the place of a policy's, which keeps its pin."""
    bpf(LINK_UPDATE, "IIII", open_pinned(policy, "link_%d" % place), fd, 0, 0)


def take_away(policy):
    """The policy's program, which is at its place no more: there it can be only once."""
    bpf(LINK_DETACH, "I", open_pinned(policy, "link_0"))
    return open_pinned(policy, "prog_0")


def info(fd, size):
    data = ctypes.create_string_buffer(size)
    bpf(BPF_OBJ_GET_INFO_BY_FD, "IIQ", fd, size, ctypes.addressof(data))
    return data.raw


def program_id(fd):
    return struct.unpack_from("=I", info(fd, INFO_SIZE), 4)[0]


def called_by(link):
    """The id of the program that a link calls."""
    return struct.unpack_from("=I", info(link, 64), 8)[0]


def map_facts(fd):
    """Its kind, how many bytes key and value have, how many elements there may be, its name."""
    kind, _, key, value, most, _, name = struct.unpack_from("=6I16s", info(fd, 80))
    return kind, key, value, most, name.rstrip(b"\0").decode()


def maps_of(program):
    """The descriptors of a program's maps, by name."""
    ids = (ctypes.c_uint32 * 64)()
    data = ctypes.create_string_buffer(INFO_SIZE)
    struct.pack_into("=IQ", data, 52, 64, ctypes.addressof(ids))
    bpf(BPF_OBJ_GET_INFO_BY_FD, "IIQ", program, INFO_SIZE, ctypes.addressof(data))
    maps = [bpf(MAP_GET_FD_BY_ID, "III", number, 0, 0) for number in ids[:struct.unpack_from("=I", data, 52)[0]]]
    return {map_facts(fd)[4]: fd for fd in maps}


class Element:
    """An element of a map, which can be written to."""

    def __init__(self, fd, key=0):
        size = map_facts(fd)[1]
        self.fd, self.key = fd, ctypes.create_string_buffer(key.to_bytes(size, sys.byteorder), size)
        self.value = ctypes.create_string_buffer(map_facts(fd)[2])

    def command(self, command):
        value = 0 if command == MAP_DELETE else ctypes.addressof(self.value)
        bpf(command, "IxxxxQQ", self.fd, ctypes.addressof(self.key), value)

    @contextlib.contextmanager
    def harmed(self, layout, offset, number):
        """Says that number in the block, and then again what it said before."""
        self.command(MAP_LOOKUP)
        before = self.value.raw
        struct.pack_into("=" + layout, self.value, offset, number)
        assert self.value.raw != before
        self.command(MAP_UPDATE)
        yield
        self.value.raw = before
        self.command(MAP_UPDATE)


class Blob:
    """The table of a policy's hook, as 64-bit words that can be written to."""

    def __init__(self, policy, hook=0):
        fd = open_pinned(policy, "table_%d" % hook)
        size = map_facts(fd)[2]
        self.words = memoryview(mmap.mmap(fd, (size + 4095) // 4096 * 4096)).cast("B").cast("Q")

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


@unittest.skipUnless(SYS_BPF, "the number of bpf(2) is not known here")
class Verify(TestCase):
    def test_changed_tables(self):
        """Rules that come and go, also by a file, are proven; single words of the table that are wrong have a packet."""
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

    def check_amiss(self, reason, *arguments):
        shown, = verify(*arguments, status=1)
        self.assertEqual((shown["proof"], shown["reason"]), ("not proven", reason))

    def check_different(self, *arguments):
        shown, = verify(*arguments, status=1)
        self.assertEqual(shown["proof"], "different")
        self.assertNotEqual(shown["by_rules"], shown["by_program"])

    def check_proven(self, *arguments):
        shown, = verify(*arguments)
        self.assertEqual(shown["proof"], "proven")

    def test_constants_of_others(self):
        """What a program is told for good cannot be written to; a program that is told something else is not the text's."""
        apply(TWINS)
        code, constants, same = (take_away(name) for name in ("b", "c", "d"))
        own = open_pinned("a", "prog_0")
        told = Element(maps_of(own)[".rodata.config"])
        told.command(MAP_LOOKUP)
        with self.assertRaises(PermissionError):
            told.command(MAP_UPDATE)
        self.check_proven("a")
        for program, reason in ((code, "is not that of its text"),
                                (constants, "has other constants or maps than those of its text")):
            put_instead(program, "a")
            self.check_amiss("its program at `weir0` is not reached: packets go to another program", "a")
            pin_instead(program, "a", "prog_0")
            self.check_amiss("its program at `weir0` " + reason, "a")
            pin_instead(own, "a", "prog_0")
        put_instead(same, "a")
        pin_instead(same, "a", "prog_0")
        self.check_proven("a")
        os.unlink(pin_path("a", "prog_0"))
        done = weir("verify", "--loaded", "a", check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"^weir: error: cannot open \S+/a/prog_0: No such file or directory$")

    def test_tables_of_others(self):
        """Of two tables of one form, programs and constants are the same; each is proven by what it says itself."""
        apply(table(name="a", hook="tc weir0 ingress", sets=False) + OTHER_PORTS, "--no-verify")
        self.check_proven("a")
        other = take_away("b")
        put_instead(other, "a")
        pin_instead(other, "a", "prog_0")
        self.check_different("a")

    def test_two_places(self):
        """What one program of a hook finds is what the others find."""
        run("ip", "link", "add", "weir1", "type", "veth", "peer", "name", "weir2")
        apply(table(name="a", hook='tc "weir[01]" ingress', sets=False) + OTHER_PORTS, "--no-verify")
        self.check_proven("a")
        own = [Element(maps_of(open_pinned("a", "prog_%d" % place))["table"]) for place in (0, 1)]
        self.assertEqual(info(own[0].fd, 80), info(own[1].fd, 80))
        other = take_away("b")
        put_instead(other, "a", 1)
        pin_instead(other, "a", "prog_1")
        self.check_amiss("its program at `weir1` has other maps than its hook's other programs", "a")
        run("ip", "link", "del", "weir1")

    def test_filter(self):
        """Filters of a clsact qdisc are looked at, too."""
        os.environ["WEIR_TEST_CLSACT"] = "1"
        try:
            apply(TWINS)
        finally:
            del os.environ["WEIR_TEST_CLSACT"]
        self.check_proven("a")
        run("tc", "filter", "replace", "dev", "weir0", "ingress", "pref", "1", "handle", "1", "protocol", "all", "bpf",
            "direct-action", "object-pinned", pin_path("b", "prog_0"))
        self.check_amiss("its program at `weir0` is not reached: packets go to another program", "a")
        run("tc", "filter", "del", "dev", "weir0", "ingress", "pref", "1", "handle", "1", "protocol", "all", "bpf")
        self.check_amiss("its program at `weir0` is not attached", "a")

    def test_silent(self):
        """Programs that are there as they should be, but are told that it is not their turn."""
        apply("policy p {\n    on tc weir0 ingress\n    default accept\n    drop if udp.dst_port == 7001\n}\n")
        self.assertEqual(probe([7001]), set())
        with Element(open_pinned("@epoch")).harmed("Q", 0, 0):
            self.assertEqual(probe([7001]), {7001})
            self.check_amiss("its program at `weir0` judges nothing: its epoch has not come", "p")
        with Element(open_pinned("p", "control_0")).harmed("Q", 0, 1):
            self.assertEqual(probe([7001]), {7001})
            self.check_amiss("its program at `weir0` judges nothing: it is told that its epochs are over", "p")
        self.check_proven("p")

    def test_chain(self):
        """Policies at XDP follow each other; one that nobody leads to is not proven."""
        for name in ("p", "q", "r"):
            apply("policy %s {\n    on xdp weir0\n    default accept\n    drop if udp.dst_port == 7001\n}\n" % name)
        self.assertEqual([shown["proof"] for shown in verify()], ["proven"] * 3)
        Element(open_pinned("p", "after_0")).command(MAP_DELETE)
        self.assertEqual([shown["proof"] for shown in verify(status=1)], ["proven", "not proven", "not proven"])
        self.check_amiss("its program at `weir0` is not reached: packets go to another program", "r")

    def test_maps(self):
        """Elements of maps that say what rules do, turned by hand."""
        apply(MAPS)
        self.check_proven("m")
        maps = maps_of(open_pinned("m", "prog_0"))
        steps, logs, rates = maps["steps"], Element(maps["logs"]), Element(maps["state_rates"])
        for step in range(map_facts(steps)[3]):
            for offset in (0, 8):  # kind, and what it depends on
                with Element(steps, step).harmed("I", offset, 12345):
                    self.check_different("m")
        with logs.harmed("Q", 0, 1):
            self.check_amiss("the table of logs does not say what log statement 1 says", "m")
        with rates.harmed("Q", 0, 1):
            self.check_amiss("the table of rates does not say what rate 1 says", "m")
        constant = Element(maps["inline_0"], PORTS[3])
        constant.command(MAP_LOOKUP)
        constant.command(MAP_DELETE)
        self.check_amiss("its program at `weir0` has maps that do not hold its text's constants", "m")
        constant.command(MAP_UPDATE)
        self.check_proven("m")

    def test_record_of_another_version(self):
        apply("policy p {\n    on tc weir0 ingress\n    default accept\n}\n"
              "policy q {\n    on tc weir0 egress\n    default accept\n}\n")
        record = Element(open_pinned("p", "record"))
        record.command(MAP_LOOKUP)
        version, = struct.unpack_from("=I", record.value)
        for other in (0, version - 1, version + 1):
            with record.harmed("I", 0, other):
                for names in (["p"], ["q"], []):
                    done = weir("verify", "--loaded", *names, check=False)
                    self.assertEqual((done.returncode, done.stdout), (2, ""))
                    self.assertRegex(done.stderr, r"^weir: error: \S+/p was not made by this version of weir, or is damaged")
        self.assertEqual([shown["proof"] for shown in verify()], ["proven", "proven"])

    def test_killed_changes(self):
        """A change of a rule is in force as a whole or not at all, wherever its command was killed; so it is proven."""
        apply(SMALL, "--no-verify")
        weir("rule", "add", "t", "drop if udp.dst_port == 9")
        tables = [Blob("t", hook) for hook in (0, 1)]
        epoch = Element(open_pinned("@epoch"))
        change = ["rule", "replace", "t", "3", 'log "new" accept if udp.dst_port == 77']

        def now():
            epoch.command(MAP_LOOKUP)
            return struct.unpack("=Q", epoch.value)[0]

        before, latest = now(), [table.words[0] for table in tables]
        edits = Element(open_pinned("t", "edits"))

        def is_noted():
            edits.command(MAP_LOOKUP)
            return struct.pack("=Q", before + 1) in edits.value.raw[:4096]

        stops = run_killed(change, 10 ** 6, reached=is_noted)
        self.check_killed(tables, "drop")
        weir("show", "t", "--reset")  # tidies up
        for shown in (1, 2):
            run_killed(change, stops, 10 ** 6, lambda: sum(
                table.words[0] != was for table, was in zip(tables, latest)) == shown)
            self.assertEqual((now(), sum(table.words[0] != was for table, was in zip(tables, latest))), (before, shown))
            self.check_killed(tables, "drop")
            weir("show", "t", "--reset")
            self.assertEqual([table.words[0] for table in tables], latest)
        run_killed(change, stops, 10 ** 6, lambda: now() != before)
        self.check_killed(tables, "log")

    def check_killed(self, tables, third):
        self.assertEqual([shown["proof"] for shown in verify("t")], ["proven", "proven"])
        where, word = tables[0].built(2)
        self.assertGreater(tables[0].turn(where, word), 0)
        self.check_different("t", "--hook", "xdp")
        tables[0].turn(where, word ^ 1 << 32)
        rules = json.loads(weir("show", "t", "--json").stdout)["rules"]
        self.assertEqual((len(rules), rules[2]["text"].split()[0]), (len(SMALL_PORTS) + 1, third))

    def test_killed_apply(self):
        """Before the commit, the new programs are in the old ones' place; behind it they are in force, tidied up or not."""
        text = "policy p {\n    on tc weir0 ingress\n    default accept\n    drop if udp.dst_port == 700%d\n}\n"
        apply(text % 1)
        link, own, epoch = open_pinned("p", "link_0"), program_id(open_pinned("p", "prog_0")), Element(open_pinned("@epoch"))
        epoch.command(MAP_LOOKUP)
        before = epoch.value.raw

        def committed():
            epoch.command(MAP_LOOKUP)
            return epoch.value.raw != before

        run_killed(["apply", policy_file(text % 2)], 10 ** 6, reached=lambda: called_by(link) != own)
        self.assertFalse(committed())
        self.assertEqual(probe([7001, 7002]), {7002})
        self.check_amiss("its program at `weir0` is behind one that a killed command left there: any command that changes "
                         "something tidies up, `weir refresh` among them", "p")
        weir("show", "p", "--reset")
        self.check_proven("p")
        run_killed(["apply", policy_file(text % 2)], 10 ** 6, reached=committed)
        self.assertTrue(os.path.exists(pin_path("@stage", "journal")))
        self.assertEqual(probe([7001, 7002]), {7001})
        self.check_proven("p")


if __name__ == "__main__":
    main()
