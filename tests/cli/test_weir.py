#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The real program, without attaching anything: check, compile, test and load, with right and wrong inputs."""

import json
import os
import struct
import unittest

from clitest import INPUT, ROOT, SYSTEM, USAGE, WEIR, CommandLine, main

POLICY = """\
# A web server's host.
policy web {
	on xdp eth0
	default drop
	set blocked : prefix { 192.0.2.0/24 }

	drop                    if src in blocked
	accept                  if neighbour or icmp
	accept                  if tcp.dst_port in { 80, 443 }
	accept                  if udp.dst_port == 53
}
"""

VERDICTS = """\
1 accept 3
2 drop default
3 drop 1
4 accept 4
5 accept 2
6 drop malformed
7 accept non_ip
"""


def ipv4(proto, payload, source="10.0.0.1"):
    address = bytes(map(int, source.split(".")))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0) + address + bytes([10, 0, 0, 2])
    return b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + header + payload


def tcp(port):
    return struct.pack("!HHIIBBHHH", 1234, port, 0, 0, 0x50, 2, 1024, 0, 0)


def udp(port, size=8):
    return struct.pack("!HHHH", 1234, port, 8 + size, 0) + bytes(size)


FRAMES = [
    ipv4(6, tcp(443)),
    ipv4(6, tcp(22)),
    ipv4(6, tcp(80), source="192.0.2.7"),
    ipv4(17, udp(53, 3)),
    ipv4(1, b"\x08\0\0\0\0\0\0\0"),
    ipv4(6, tcp(80)[:8]),
    b"\xff" * 6 + b"\2\0\0\0\0\1\x08\x06" + bytes(28),
]


def pcap(frames, link=1, order="<"):
    records = [struct.pack(order + "IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames]
    return struct.pack(order + "IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, link) + b"".join(records)


def pcapng(frames):
    blocks = [struct.pack("<IIIHHqI", 0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0, -1, 28),
              struct.pack("<IIHHII", 1, 20, 1, 0, 65535, 20)]
    for frame in frames:
        size = 32 + (len(frame) + 3) // 4 * 4
        blocks.append(struct.pack("<IIIIIII", 6, size, 0, 0, 0, len(frame), len(frame)) +
                      frame.ljust(size - 32, b"\0") + struct.pack("<I", size))
    return b"".join(blocks)


@unittest.skipUnless(os.path.exists(WEIR), "no weir program at " + WEIR)
class Real(CommandLine):
    program = WEIR

    def setUp(self):
        super().setUp()
        self.write("web.weir", POLICY)
        self.write("a.pcap", pcap(FRAMES))

    def test_check(self):
        self.assertEqual(self.weir("check", "web.weir").stdout, "web.weir: 1 policy, 4 rules, no warnings\n")
        self.assertEqual(self.json("check", "web.weir")["policies"],
                         [{"name": "web", "rules": 4, "hooks": [{"hook": "xdp", "target": "eth0"}], "left": []}])

    def test_preset(self):
        text = self.weir("preset", "metadata", "--provider", "aws", "--allow", "user=root", "--allow", "user=0").stdout
        self.assertIn("    fd00:ec2::254, # aws\n", text)
        self.assertIn('    accept  if dst in metadata and user in { "root", 0 }\n', text)
        self.write("m.weir", text)
        self.assertIn("1 policy, 2 rules, no warnings", self.weir("check", "m.weir").stdout)
        text = self.weir("preset", "metadata", "--allow", "members=root", "--allow", "members=adm").stdout
        self.assertIn('    accept  if dst in metadata and user in { members("root"), members("adm") }\n', text)
        for provider in ("all", "azure", "gcp", "oracle", "alibaba", "openstack", "digitalocean", "hetzner"):
            self.weir("preset", "metadata", "--observe", "--provider", provider, "-o", provider + ".weir")
            self.weir("check", "--strict", provider + ".weir")
        self.weir("preset", "metadata", "-o", "all.weir", status=SYSTEM)  # is there
        for wrong in (["web"], ["metadata", "--provider", "ibm"], ["metadata", "--allow", "root"],
                      ["metadata", "--allow", "user="], ["metadata", "--allow", 'user=a"b'], ["metadata", "--json"],
                      ["metadata", "--allow", "tree=perl"], ["metadata", "--allow", "cgroup=agent"]):
            self.weir("preset", *wrong, status=USAGE)

    def test_preset_for_another_machine(self):
        """Names that mean nothing here are written, but not without a word."""
        for kind, name in (("user", "nosuch"), ("group", "nosuch"), ("members", "nosuch"), ("program", "/no/such"),
                           ("tree", "/no/such"), ("cgroup", "/no/such")):
            done = self.weir("preset", "metadata", "--allow", "%s=%s" % (kind, name))
            line = next(i for i, text in enumerate(done.stdout.splitlines(), 1) if name in text)
            self.assertIn("weir: warning: not for this machine: line %d: unknown " % line, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertEqual(self.weir("preset", "metadata", "--allow", "user=root", "--allow", "program=/bin/sh").stderr, "")

    def test_import(self):
        with open(os.path.join(ROOT, "tests/golden/import/002-several.yml")) as file:
            self.write("several.yml", file.read())
        for options, name in (([], "several"), (["--block-others", "--observe"], "several-block")):
            with open(os.path.join(ROOT, "tests/golden/import", name + ".weir")) as file:
                self.assertEqual(self.weir("import", *options, "several.yml").stdout, file.read())
        self.write("lo.yml", "endpoints: [{e: {iface: [lo], range: ['::1'], allow: [root]}}]")
        for options in ([], ["--block-others"], ["--observe"]):
            self.weir("import", *options, "lo.yml", "-o", "lo.weir")
            self.weir("check", "--strict", "lo.weir")
            self.weir("import", "lo.yml", "-o", "lo.weir", status=SYSTEM)  # is there
            os.unlink(os.path.join(self.folder, "lo.weir"))
        self.write("far.yml", "endpoints: [{e: {iface: [nosuch0], range: ['::1'], allow: [nosuch]}}]")
        self.assertIn("not for this machine: line 11: unknown user `nosuch`", self.weir("import", "far.yml").stderr)
        self.write("bad.yml", "endpoints:\n- e: {iface: [lo], range: ['::1'], allow: [root], deny: [x]}\n")
        done = self.weir("import", "bad.yml", "-o", "bad.weir", status=INPUT)
        self.assertIn("bad.yml:2:51: error: unknown key `deny`\n", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "bad.weir")))
        self.assertIn("cannot be read", self.weir("import", "none.yml", status=INPUT).stderr)
        self.write("long.yml", "#" * (1 << 20) + "\nendpoints: []\n")
        self.assertIn("too large", self.weir("import", "long.yml", status=INPUT).stderr)
        self.weir("import", "--json", "lo.yml", status=USAGE)

    def test_members(self):
        """Root is in root's group by its first group."""
        self.write("m.weir", 'policy m {\n on tc lo egress\n default accept\n drop if user in members("root")\n}\n')
        self.assertRegex(self.weir("compile", "m.weir", "--emit", "ir").stdout, r"drop if user (= 0|in \{0)")
        self.write("m.weir", 'policy m {\n on tc lo egress\n default accept\n drop if user in members("nosuch")\n}\n')
        self.assertIn("m.weir:4:26: error: unknown group `nosuch`", self.weir("check", "m.weir", status=INPUT).stderr)

    def test_check_expressions(self):
        for good in ("udp && dst_port == 53", "!udp || dst_port == 53", "icmp || (udp && dst_port == 53)",
                     "src in { 10.0.0.0/8, fd00::/8 } and tcp.dst_port in { 80, 443, 8000-8999 }"):
            self.assertTrue(self.weir("check", "-e", good).stdout.startswith("expression: 1 rule"), good)
        for bad in ("", "udp &&", "dst_prot == 53", "dst_port == 70000", "ip.src == fd00::1", "((((", "\x01", "tcp\n@"):
            done = self.weir("check", "-e", bad, status=INPUT)
            self.assertRegex(done.stderr, r"^expression:\d+:\d+: error: ", bad)
            self.assertEqual(done.stdout, "")

    def test_error_has_a_place_and_a_hint(self):
        error = self.json("check", "udp && dst_prot == 53", status=INPUT)["diagnostics"][0]
        self.assertEqual((error["severity"], error["file"], error["line"], error["column"], error["length"]),
                         ("error", "expression", 1, 8, 8))
        self.assertIn("dst_port", error["hint"])

    def test_all_errors_at_once(self):
        self.write("bad.weir", POLICY.replace("udp.dst_port", "udp.dst_prot").replace("src in", "scr in"))
        self.assertEqual(sorted(d["line"] for d in self.json("check", "bad.weir", status=INPUT)["diagnostics"]
                                if d["severity"] == "error"), [7, 10])

    def test_files_that_are_none(self):
        for bad in (self.path("missing.weir"), self.folder + "/"):
            self.assertIn("error: ", self.weir("check", bad, status=INPUT).stderr)
        for text in (b"\0" * 100, b"\xff\xfe\n", b"policy web {", b"}" * 100, b"(" * 100000, b"policy a { default " * 999):
            self.weir("check", self.write("bad.weir", text), status=INPUT)

    def test_compile(self):
        for stage in ("ir", "diagram", "plan", "bpf", "dot"):
            self.assertTrue(self.weir("compile", "--emit", stage, "web.weir").stdout.strip(), stage)
            self.assertTrue(self.json("compile", "--emit", stage, "web.weir")["text"], stage)
        self.weir("compile", "--emit", "elf", "-o", "o", "web.weir")
        with open(self.path("o"), "rb") as file:
            self.assertEqual(file.read(4), b"\177ELF")
        self.weir("compile", "--emit", "ir", "--policy", "nosuch", "web.weir", status=INPUT)
        self.weir("compile", "--emit", "ir", "--hook", "tc-egress", "web.weir", status=INPUT)
        self.weir("compile", "--emit", "ir", "--hook", "nosuch", "tcp", status=INPUT)

    def test_compile_classic(self):
        """Classic BPF is for sockets: an expression is taken as meant for one, a policy must say so."""
        text = self.weir("compile", "--emit", "cbpf", "ip.src == 10.0.0.1").stdout
        self.assertIn("ld       [net+12]", text)
        self.assertTrue(text.endswith("ret      #0\n"))
        self.assertIn("not on hook socket", self.weir("compile", "--emit", "cbpf", "web.weir", status=INPUT).stderr)
        self.write("log.weir", "policy l {\n on socket\n default drop\n log \"x\" if tcp\n accept if tcp\n}\n")
        self.assertIn("log.weir:4:2: error: classic BPF cannot `log`",
                      self.weir("compile", "--emit", "cbpf", "log.weir", status=INPUT).stderr)

    def test_verify(self):
        self.assertRegex(self.weir("verify", "web.weir").stdout, r"^web at [a-z-]+: proven for all packets \(\d+ rules?, ")
        self.assertRegex(self.weir("verify", "tcp && dst_port == 80").stdout, "^expression at xdp: proven for all packets ")
        self.assertEqual(self.json("verify", "web.weir")["results"][0]["proof"], "proven")
        self.write("table.weir", "policy t {\n on xdp lo\n default accept\n classifier = table\n"
                   " drop if src == 10.0.0.0/8 && tcp && dst_port == 80\n drop if dst == 10.1.2.3\n}\n")
        self.assertIn("proven for all packets, as is what walks its table (2 rules", self.weir("verify", "table.weir").stdout)
        self.weir("verify", "--policy", "nosuch", "web.weir", status=INPUT)
        self.weir("verify", "--hook", "nosuch", "web.weir", status=INPUT)

    def test_explain(self):
        def explain(packet, **options):
            return self.weir("explain", "web.weir", packet, **options).stdout.splitlines()
        self.assertTrue(explain("tcp 10.0.0.1:999 > 10.0.0.2:22")[0]
                        .startswith("web at xdp: tcp 10.0.0.1:999 > 10.0.0.2:22"))
        self.assertEqual(explain("tcp 10.0.0.1:999 > 10.0.0.2:22")[1:], [
            "rule 1 (line 7): `src in blocked` is false: ip.src is 10.0.0.1",
            "rule 2 (line 8): `neighbour or icmp` is false: the packet is IPv4; proto is tcp",
            "rule 3 (line 9): `tcp.dst_port in { 80, 443 }` is false: dst_port is 22",
            "rule 4 (line 10): `udp.dst_port == 53` is false: proto is tcp",
            "drop: by default"])
        self.assertEqual(explain("tcp 192.0.2.7:999 > 10.0.0.2:80")[1:], [
            "rule 1 (line 7) decides: `src in blocked` is true: ip.src is 192.0.2.7",
            "drop: rule 1 (web.weir:7): drop if src in blocked"])
        self.assertEqual(explain("arp")[-1], "accept: not IP, and no rule names it")
        told = self.json("explain", "web.weir", "udp [fd00::1]:9 > [fd00::2]:53")
        self.assertEqual((told["verdict"], told["rule"], told["rules"][-1]["words_column"]), ("accept", 4, 29))
        self.assertEqual(self.weir("explain", "-e", "not tcp", "tcp").stdout.splitlines()[1],
                         "rule 1 (line 1): `not tcp` is false: proto is tcp")

    def test_explain_memory(self):
        self.write("memory.weir", """policy memory {
    on tc lo ingress
    track on tc lo egress
    default drop
    knock door { sequence tcp.dst_port == 7000, tcp.dst_port == 7001 within 10s open 30s }
    accept if established or related
    accept if neighbour
    accept if tcp.dst_port == 22 and knocked(door)
    throttle 1MB/s per src accept if udp and new
    accept if icmp and rate <= 10/s per src
}
""")

        def explain(packet):
            return self.weir("explain", "memory.weir", packet).stdout.splitlines()[1:]
        self.assertEqual(explain("tcp 10.0.0.1:9 > 10.0.0.2:22 A established")[0],
                         "rule 1 (line 6) decides: `established` is true: its connection is established")
        self.assertEqual(explain("icmp 10.0.0.1 > 10.0.0.2 destination-unreachable related")[0],
                         "rule 1 (line 6) decides: `related` is true: it is related to a connection")
        self.assertEqual(explain("tcp 10.0.0.1:9 > 10.0.0.2:22 new")[0],
                         "rule 1 (line 6): `established or related` is false: its connection is new")
        self.assertEqual(explain("tcp 10.0.0.1:9 > 10.0.0.2:22 invalid")[0],
                         "rule 1 (line 6): `established or related` is false: it fits no connection")
        self.assertIn("neither `new`, `established`, `related` nor `invalid` is given", explain("udp")[0])
        self.assertEqual(explain("tcp 10.0.0.1:9 > 10.0.0.2:22 new")[2],
                         "rule 3 (line 8): `knocked(door)` is false: the source has not knocked")
        self.assertRegex(explain("tcp 10.0.0.1:9 > 10.0.0.2:22 new knocked=door")[2],
                         "^rule 3 .*is true: .*the source has knocked: door$")
        self.assertRegex(explain("udp new")[3], "; what is over `throttle 1MB/s per src` is delayed or dropped$")
        self.assertRegex(explain("icmp 10.0.0.1 > 10.0.0.2 echo-request new")[4], "takes a token of `rate <= 10/s per src`")
        told = self.json("explain", "memory.weir", "udp new")["rules"]
        self.assertEqual([rule["throttle"] for rule in told], [None, None, None, "throttle 1MB/s per src"])

    def test_check_behind_established(self):
        self.write("behind.weir", "policy t {\n on tc lo ingress\n track on tc lo egress\n default drop\n"
                   " accept if established or neighbour\n drop if established and src in 192.0.2.0/24\n"
                   " accept if new and tcp.dst_port == 22\n}\n")
        done = self.weir("check", "behind.weir")
        self.assertEqual(done.stdout, "behind.weir: 1 policy, 3 rules, 1 warning\n")
        self.assertIn("behind.weir:6:2: warning: rule can never match", done.stderr)

    def test_explain_bad_packets(self):
        for bad in ("", "tpc", "tcp >", "tcp dst_prot=5", "tcp 10.0.0.1:70000 > 10.0.0.2:1", "tcp length=1"):
            self.assertRegex(self.weir("explain", "web.weir", bad, status=INPUT).stderr, r"^packet:1:\d+: error: ")
        self.weir("explain", "web.weir", status=USAGE)

    def test_check_says_things_once(self):
        self.assertEqual(self.weir("check", "tcp and udp").stdout, "expression: 1 rule, 1 warning\n")
        self.write("hidden.weir", POLICY.replace("443 }", "443 }\n\tdrop if tcp and udp\n\tdrop if tcp.dst_port == 80"))
        done = self.weir("check", "hidden.weir")
        self.assertEqual(done.stderr.count("warning: "), 2)
        self.assertIn("hidden.weir:11:2: warning: rule can never match: an earlier rule takes", done.stderr)

    def test_diff(self):
        self.assertEqual(self.weir("diff", "web.weir", "web.weir").stdout, "equivalent\n")
        self.write("new.weir", POLICY.replace("80, 443", "80, 443, 22").replace("udp.dst", "udp.src"))
        self.assertEqual(self.weir("diff", "web.weir", "new.weir", status=INPUT).stdout,
                         "web at xdp:\n"
                         "  accept (web.weir:10) -> drop (default): udp 198.51.100.1:1024 > 192.0.2.2:53\n"
                         "  drop (default) -> accept (new.weir:9): tcp 198.51.100.1:1024 > 192.0.2.2:22\n"
                         "  drop (default) -> accept (new.weir:10): udp 198.51.100.1:53 > 192.0.2.2:1024\n")
        told = self.json("diff", "web.weir", "new.weir", "--hook", "xdp", status=INPUT)
        for difference in told["differences"]:
            for side, file in (("old", "web.weir"), ("new", "new.weir")):
                judged = self.json("explain", file, difference["packet"])
                self.assertEqual((judged["verdict"], judged["rule"]),
                                 (difference[side]["verdict"], difference[side]["rule"]))

    def test_knocks(self):
        knocks = POLICY.replace("default drop", "default drop\n"
                                "\tknock door { sequence tcp.dst_port == 7000 within 10s open 30s }\n"
                                "\tknock back { sequence tcp.dst_port == 7001 within 10s open 30s }\n"
                                "\taccept if udp.dst_port == 9 and knocked(back)")
        self.write("old.weir", knocks)
        self.write("new.weir", knocks.replace("knocked(back)", "(knocked(back) or knocked(door))"))
        self.write("others.weir", knocks.replace("30s", "31s"))
        self.assertEqual(self.weir("diff", "old.weir", "old.weir").stdout, "equivalent\n")
        self.assertEqual(self.weir("diff", "old.weir", "others.weir", status=INPUT).stdout,
                         "policy `web` has other knocks\n")
        self.assertRegex(self.weir("diff", "old.weir", "new.weir", status=INPUT).stdout,
                         r"drop \(default\) -> accept \(new.weir:\d+\): udp .* > .*:9 knocked=door\n")
        told = self.json("explain", "old.weir", "udp 10.0.0.1:1 > 10.0.0.2:9 knocked=door,back")
        self.assertEqual((told["verdict"], told["rule"]), ("accept", 1))
        self.assertIn("the policy has no knock `bock`",
                      self.weir("explain", "old.weir", "udp 10.0.0.1:1 > 10.0.0.2:9 knocked=bock", status=INPUT).stderr)
        self.assertIn("proven for all packets", self.weir("verify", "old.weir").stdout)

    def test_diff_of_policies_and_hooks(self):
        self.write("old.weir", POLICY + POLICY.replace("policy web", "policy dns").replace("eth0", "lo"))
        self.write("new.weir", POLICY.replace("xdp eth0", "tc eth0 ingress"))
        self.assertEqual(self.weir("diff", "old.weir", "new.weir", status=INPUT).stdout,
                         "policy `web` is no longer on xdp eth0\n"
                         "policy `web` is now on tc-ingress eth0\n"
                         "policy `dns` is removed\n")
        self.assertEqual(self.weir("diff", "new.weir", "old.weir", "--policy", "dns", status=INPUT).stdout,
                         "policy `dns` is added\n")

    def test_diff_of_sets(self):
        self.write("new.weir", POLICY.replace("192.0.2.0/24", "192.0.2.0/25"))
        told = self.json("diff", "web.weir", "new.weir", status=INPUT)
        self.assertEqual(len(told["notes"]), 1)
        self.assertEqual(told["differences"][0]["old"]["rule"], 1)
        self.write("new.weir", POLICY.replace("\tdrop                    if src in blocked\n", ""))
        self.assertEqual(self.json("diff", "web.weir", "new.weir", status=INPUT)["differences"][0]["given"], None)
        empty = POLICY.replace("{ 192.0.2.0/24 }", "{ }")
        self.write("old.weir", empty)
        self.write("new.weir", empty.replace("\tdrop                    if src in blocked\n", ""))
        self.assertEqual(self.json("diff", "old.weir", "new.weir", status=INPUT)["differences"][0]["given"],
                         "the set `blocked` holds 192.0.2.1")

    def test_diff_of_expressions(self):
        for old, new in (("tcp or udp", "udp || tcp"), ("mark & 0x5 == 1 and mark < 3", "mark == 1"),
                         ("not (tcp and dst_port == 22)", "not tcp or dst_port != 22"),
                         ("tcp and udp", "arp and src == 10.0.0.1")):
            self.assertEqual(self.weir("diff", old, new).stdout, "equivalent\n", (old, new))
        self.weir("diff", "tcp", "udp", status=INPUT)
        self.weir("diff", "tpc", "udp", status=SYSTEM)
        self.weir("diff", "tcp", status=USAGE)

    def judge(self, *arguments, status=0, **options):
        return self.weir("test", "web.weir", *arguments, status=status, **options).stdout

    def test_model(self):
        self.assertEqual(self.judge("--pcap", "a.pcap", "--engine", "model"), VERDICTS)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_kernel(self):
        self.assertEqual(self.judge("--pcap", "a.pcap"), VERDICTS)
        self.assertEqual(self.weir("test", "tcp", "--pcap", "a.pcap", "--hook", "cgroup-egress").stdout.splitlines()[0],
                         self.weir("test", "tcp", "--pcap", "a.pcap", "--hook", "cgroup-egress", "--engine",
                                   "model").stdout.splitlines()[0])

    def test_capture_formats(self):
        for name, data in (("big.pcap", pcap(FRAMES, order=">")), ("a.pcapng", pcapng(FRAMES))):
            self.write(name, data)
            self.assertEqual(self.judge("--pcap", name, "--engine", "model"), VERDICTS, name)
        self.write("raw.pcap", pcap([frame[14:] for frame in FRAMES[:6]], link=101))
        self.assertEqual(self.judge("--pcap", "raw.pcap", "--engine", "model"), VERDICTS[:VERDICTS.index("7")])
        self.write("none.pcap", pcap([]))
        self.assertEqual(self.judge("--pcap", "none.pcap", "--engine", "model"), "")

    def test_broken_captures(self):
        whole = pcap(FRAMES)
        for bad in (b"", b"x" * 100, whole[:10], whole[:-5], whole[:24] + b"\xff" * 16 + whole[40:], pcap(FRAMES, 9999)):
            done = self.weir("test", "web.weir", "--pcap", self.write("bad.pcap", bad), "--engine", "model", status=INPUT)
            self.assertIn("error: ", done.stderr)
        self.judge("--pcap", "missing.pcap", "--engine", "model", status=INPUT)

    def test_json_lines(self):
        lines = self.judge("--pcap", "a.pcap", "--engine", "model", "--json").splitlines()
        self.assertEqual(json.loads(lines[5]), {"packet": 6, "verdict": "drop", "rule": "malformed"})

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_bench(self):
        shown = self.json("bench", "web.weir", "--pcap", "a.pcap", "--rounds", "3")
        self.assertGreater(shown["ns_per_packet"], 0)
        self.assertGreater(shown["empty_ns_per_packet"], 0)
        self.assertEqual((shown["packets"], shown["rounds"]), (7, 3))

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_bench_among_connections(self):
        self.write("new.weir", "policy new {\n on xdp lo\n track on tc lo egress\n default accept\n flows max 1000\n drop if new and ttl == 1\n}\n")
        shown = self.json("bench", "new.weir", "--pcap", "a.pcap", "--rounds", "1", "--flows", "500")
        self.assertGreater(shown["ns_per_packet"], 0)
        done = self.weir("bench", "web.weir", "--pcap", "a.pcap", "--flows", "1", status=SYSTEM)
        self.assertIn("no rule asks for connections", done.stderr)

    def test_load_of_connections(self):
        self.write("flows.weir", 'policy flows { \n on tc eth0 ingress\n track on tc eth0 egress\n default drop\n'
                                 "accept if established\n}\n")
        done = self.weir("load", "flows.weir", "--pin", "/sys/fs/bpf/weir-test", status=INPUT)
        self.assertIn("asks for connections, which one program by itself cannot know", done.stderr)

    def test_without_privileges(self):
        if os.geteuid() == 0:
            options = {"user": 65534, "group": 65534, "extra_groups": []}
            os.chmod(self.folder, 0o755)
        else:
            options = {}
        for arguments in (("apply", "web.weir"), ("test", "tcp", "--pcap", "a.pcap"), ("flush", "--all"),
                          ("load", "tcp", "--pin", "/sys/fs/bpf/weir-test")):
            done = self.weir(*arguments, status=SYSTEM, **options)
            self.assertRegex(done.stderr, "(?i)root|privilege|permi", arguments)
        self.weir("check", "web.weir", **options)
        self.judge("--pcap", "a.pcap", "--engine", "model", **options)

    def test_usage(self):
        self.weir("check", status=USAGE)
        self.weir("nosuch", status=USAGE)
        self.weir("rule", "web.weir", "x", status=USAGE)


if __name__ == "__main__":
    main()
