#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What each command prints, to the byte, and its JSON."""

import contextlib
import http.client
import json
import os
import pty
import re
import socket
import subprocess
import time

from clitest import DONE, INPUT, ROOT, SYSTEM, USAGE, CommandLine, main

HOOKS = [{"hook": "tc-ingress", "target": "eth0"}, {"hook": "netfilter-input", "target": None}]
DIAGNOSTIC = {"severity": "error", "file": "a.weir", "line": 2, "column": 3, "length": 5, "text": "this is wrong",
              "hint": "a hint"}


class Check(CommandLine):
    def test_diagnostics_on_standard_error(self):
        done = self.weir("check", self.write("a.weir", "ERROR"), status=INPUT)
        self.assertEqual(done.stdout, "")
        self.assertIn("a.weir: error: this is wrong\n", done.stderr)

    def test_json_of_errors(self):
        self.write("a.weir", "ERROR")
        self.assertEqual(self.json("check", "a.weir", status=INPUT),
                         {"file": "a.weir", "policies": [], "ok": False, "diagnostics": [DIAGNOSTIC]})

    def test_json(self):
        self.write("a.weir", "WARNING")
        shown = self.json("check", "a.weir")
        self.assertEqual(shown["policies"], [{"name": "web", "rules": 7, "hooks": HOOKS, "left": []}])
        self.assertTrue(shown["ok"])
        self.assertEqual(shown["diagnostics"][0]["severity"], "warning")
        self.assertFalse(self.json("check", "a.weir", "--strict", status=INPUT)["ok"])

    def test_warnings_are_counted(self):
        self.assertEqual(self.weir("check", "WARNING").stdout, "expression: 1 rule, 1 warning\n")

    def test_name_that_is_not_utf8(self):
        path = os.fsencode(self.folder) + b"/b\xff.weir"
        with open(path, "w") as file:
            file.write("rules")
        done = subprocess.run([self.program.encode(), b"check", b"--json", path], stdout=subprocess.PIPE, env=self.env)
        self.assertEqual(os.path.basename(json.loads(done.stdout)["file"]), "b\ufffd.weir")

    def on_terminal(self):
        terminal, end = pty.openpty()
        subprocess.run([self.program, "check", "ERROR"], stderr=end, stdout=end, env=self.env, timeout=60)
        os.close(end)
        text = os.read(terminal, 65536)
        os.close(terminal)
        return text

    def test_colours(self):
        self.assertNotIn(b"\033[", self.on_terminal())
        del self.env["NO_COLOR"]
        self.assertIn(b"\033[", self.on_terminal())
        self.assertNotIn("\033[", self.weir("check", "ERROR", status=INPUT).stderr)


class Apply(CommandLine):
    def test_text(self):
        self.write("a.weir", "rules")
        self.assertEqual(self.weir("apply", "a.weir").stdout, "web: 7 rules on tc-ingress eth0, netfilter-input\n"
                         "in force until `weir delete` or the next reboot\n")
        self.assertEqual(self.read("policy"), "rules")

    def test_dry_run(self):
        self.write("a.weir", "rules")
        self.assertIn("nothing was attached", self.weir("apply", "--dry-run", "a.weir").stdout)
        self.assertIsNone(self.read("policy"))

    def test_json(self):
        self.write("a.weir", "WARNING")
        shown = self.json("apply", "a.weir")
        self.assertEqual(shown["policies"], [{"name": "web", "rules": 7, "hooks": HOOKS}])
        self.assertEqual((shown["file"], shown["dry_run"], shown["confirm_seconds"], shown["ok"]),
                         ("a.weir", False, None, True))
        self.assertEqual([d["severity"] for d in shown["diagnostics"]], ["warning"])

    def test_refused(self):
        self.write("a.weir", "WARNING REFUSE")
        shown = self.json("apply", "a.weir", status=SYSTEM)
        self.assertEqual([d["text"] for d in shown["diagnostics"]], ["this is doubtful", "the kernel refused"])
        self.assertFalse(shown["ok"])
        self.assertIn("weir: error: the kernel refused\n", self.weir("apply", "a.weir", status=SYSTEM).stderr)

    def test_own_session(self):
        self.write("a.weir", "SESSION")
        self.weir("apply", "a.weir", status=INPUT)
        self.weir("apply", "a.weir", "--force")

    def test_from_standard_input(self):
        self.weir("apply", "-", input="rules")
        self.assertEqual(self.read("policy"), "rules")


SHOWN = """\
# web, loaded 2023-11-14 22:13:20 from web.weir, on tc-ingress eth0 (tcx), netfilter-input, xdp eth9 (detached)
packets                 bytes
                               policy web {
                                       on tc eth0 ingress      # here

     12                   840          accept if tcp
      3  18446744073709551615          chain x { drop if udp }
                               }
      5                   300  default drop
      1                    20  malformed
      0                     0  non_ip
      1                    60  counter hits
2 events lost
set blocked ipv4: 2 of 1024
set blocked ipv6: 0 of 1024
buckets: 7 of 9 in 2 KiB
knock door: open for 192.0.2.1, another 29.5 s
knock door: 2001:db8::/64 takes step 2 next, within 0.9 s
"""

SOURCE = "policy web {\n\ton tc eth0 ingress\t# here\n\n\taccept if tcp\n\tchain x { drop if udp }\n}\n"


class InForce(CommandLine):
    def test_list(self):
        lines = self.weir("list").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["POLICY", "web", "a-policy-with-a-long-name"])
        self.assertEqual(lines[1].split("  ")[1:], [part for part in lines[1].split("  ")[1:]])
        self.assertIn("tc-ingress eth0 (tcx), netfilter-input, xdp eth9 (detached)      2       21      9", lines[1])
        self.assertEqual(len(set(map(len, lines))), 1)

    def test_list_of_none(self):
        self.write("none", "")
        done = self.weir("list")
        self.assertEqual((done.stdout, done.stderr), ("", "weir: no policy is in force\n"))
        self.assertEqual(self.json("list")["policies"], [])

    def test_list_json(self):
        shown = self.json("list")
        self.assertEqual(shown["policies"][0], {
            "name": "web", "observe": False, "file": "web.weir", "loaded": 1700000000.0, "rules": 2, "packets": 21, "bytes": 1160,
            "drops": 9, "dropped_bytes": 320, "hooks": [
                {"hook": "tc-ingress", "target": "eth0", "how": "tcx", "attached": True, "cached": 7},
                {"hook": "netfilter-input", "target": None, "how": "link", "attached": True, "cached": 0},
                {"hook": "xdp", "target": "eth9", "how": "generic", "attached": False, "cached": 0}]})
        self.assertEqual(shown["policies"][1]["file"], "b\ufffd.weir")

    def test_show(self):
        self.assertEqual(self.weir("show", "web").stdout, SHOWN)
        self.assertIsNone(self.read("reset"))

    def test_show_source(self):
        self.assertEqual(self.weir("show", "web", "--source").stdout, SOURCE)

    def test_show_reset(self):
        self.assertEqual(self.weir("show", "web", "--reset").stdout, SHOWN)
        self.assertEqual(self.read("reset"), "web")

    def test_show_json(self):
        shown = self.json("show", "web")
        self.assertEqual(shown["rules"][0], {"number": 1, "line": 4, "text": "accept if tcp", "packets": 12,
                                             "bytes": 840})
        self.assertEqual(shown["default"], {"packets": 5, "bytes": 300})
        self.assertEqual(shown["malformed"], {"packets": 1, "bytes": 20})
        self.assertEqual(shown["non_ip"], {"packets": 0, "bytes": 0})
        self.assertEqual(shown["judged"], {"packets": 21, "bytes": 1160})
        self.assertEqual(shown["dropped"], {"packets": 9, "bytes": 320})
        self.assertEqual(shown["counters"], [{"name": "hits", "packets": 1, "bytes": 60}])
        self.assertEqual(shown["state"][2], {"name": "buckets", "kind": "state", "family": "", "elements": 7, "max": 9,
                                             "memory": 2048})
        self.assertEqual(shown["knocks"], [
            {"knock": "door", "source": "192.0.2.1", "open": True, "next_step": 0, "left": 29.5},
            {"knock": "door", "source": "2001:db8::/64", "open": False, "next_step": 2, "left": 0.9}])
        self.assertEqual((shown["default_verdict"], shown["events_lost"], shown["source"], shown["source_line"]),
                         ("drop", 2, SOURCE, 1))

    def test_delete(self):
        self.write("policy", "x")
        self.assertEqual(self.json("delete", "nosuch", status=INPUT)["diagnostics"][0]["text"], "no such policy")
        self.weir("delete", "web", "nosuch", status=INPUT)
        self.assertEqual(self.read("policy"), "x")
        self.assertEqual(self.json("delete", "web")["deleted"], ["web"])
        self.assertIsNone(self.read("policy"))

    def test_flush(self):
        self.write("policy", "x")
        self.assertEqual(self.weir("flush", "--all").stdout, "")
        self.assertIsNone(self.read("policy"))


class Tunables(CommandLine):
    def test_tune(self):
        self.assertEqual(self.weir("tune", "web").stdout, "mtu=100\ngate=10.0.0.1\n")
        done = self.json("tune", "web")
        self.assertEqual((done["policy"], done["tunables"]), ("web", {"mtu": "100", "gate": "10.0.0.1"}))
        self.assertEqual(self.weir("tune", "web", "mtu=200").stdout, "")
        self.assertEqual(self.read("tune"), "web mtu=200")
        self.weir("tune", "web", "--force", "mtu=a=b")
        self.assertEqual(self.read("tune"), "web mtu=a=b force")
        self.weir("tune", "web", "size=1", status=INPUT)
        self.weir("tune", "dns", status=INPUT)
        self.weir("tune", "web", "mtu", status=USAGE)

    def test_top(self):
        text = self.weir("top", "--once", "web").stdout
        self.assertIn("packets/s", text)
        self.assertIn("mtu=100", text)
        self.weir("top", "--once", "dns", status=INPUT)


class Sets(CommandLine):
    def test_rule(self):
        done = self.json("rule", "add", "web", "before", "2", "drop if udp")
        self.assertEqual((done["policy"], done["rule"], done["rules"]), ("web", 2, 3))
        self.assertEqual(self.read("rule"), "add 2 drop if udp")
        self.assertEqual(self.weir("rule", "add", "web", "drop").stdout, "")
        self.assertEqual(self.read("rule"), "add 0 drop")
        self.weir("rule", "delete", "web", "7", "--force")
        self.assertEqual(self.read("rule"), "delete 7 - force")
        self.weir("rule", "replace", "web", "1", "accept")
        self.assertEqual(self.read("rule"), "replace 1 accept")
        self.assertEqual(self.weir("rule", "add", "web", "bad", status=INPUT).stderr, "rule: error: not a rule\n")
        self.assertIn("no such policy", self.weir("rule", "add", "nosuch", "drop", status=INPUT).stderr)

    def test_change(self):
        self.weir("set", "add", "web", "blocked", "10.0.0.1", "10.0.0.0/8, fd00::/8")
        self.assertEqual(self.read("set"), "add blocked arguments\n10.0.0.1\n10.0.0.0/8, fd00::/8\n")
        self.weir("set", "add", "web", "blocked", "10.0.0.1", "--timeout", "10min")
        self.assertEqual(self.read("set"), "add blocked arguments timeout 10min\n10.0.0.1\n")
        self.weir("set", "del", "web", "blocked", "10.0.0.1")
        self.assertEqual(self.read("set"), "delete blocked arguments\n10.0.0.1\n")
        self.weir("set", "flush", "web", "blocked")
        self.assertEqual(self.read("set"), "flush blocked arguments\n")

    def test_from_file(self):
        self.write("elements", "# two\n10.0.0.1\n10.0.0.2")
        self.weir("set", "replace", "web", "blocked", "-f", "elements")
        self.assertEqual(self.read("set"), "replace blocked elements\n# two\n10.0.0.1\n10.0.0.2")
        self.weir("set", "add", "web", "blocked", "-f", "-", input="10.0.0.3\n" * 100)
        self.assertIn("add blocked standard input\n10.0.0.3\n", self.read("set"))
        self.weir("set", "replace", "web", "blocked", "-f", "/dev/null")
        self.assertEqual(self.read("set"), "replace blocked /dev/null\n")
        self.assertIn("cannot read nosuch: No such file",
                      self.weir("set", "add", "web", "blocked", "-f", "nosuch", status=INPUT).stderr)
        self.weir("set", "add", "web", "blocked", "-f", ".", status=INPUT)

    def test_bad_elements(self):
        self.assertIn("arguments: error: not an address", self.weir("set", "add", "web", "blocked", "bad",
                                                                    status=INPUT).stderr)
        self.assertIsNone(self.read("set"))

    def test_test(self):
        self.assertEqual(self.weir("set", "test", "web", "blocked", "192.0.2.1").stdout, "yes\n")
        self.assertEqual(self.weir("set", "test", "web", "blocked", "192.0.2.2", status=INPUT).stdout, "no\n")
        self.assertEqual(self.weir("set", "test", "web", "blocked", "bad", status=INPUT).stdout, "")
        self.assertEqual(self.json("set", "test", "web", "blocked", "192.0.2.2", status=INPUT),
                         {"element": "192.0.2.2", "member": False, "ok": True, "diagnostics": []})

    def test_list(self):
        self.assertEqual(self.weir("set", "list", "web", "blocked").stdout,
                         "10.0.0.0/8\n192.0.2.1 timeout 1min1s # added by a packet\n192.0.2.2\n")
        shown = self.json("set", "list", "web", "blocked")
        self.assertEqual((shown["count"], shown["refused"]), (3, 7))
        self.assertEqual(shown["elements"], ["10.0.0.0/8", "192.0.2.1", "192.0.2.2"])
        self.assertEqual(shown["members"], [{"element": "10.0.0.0/8", "origin": "file"},
                                            {"element": "192.0.2.1", "origin": "packet", "left_ms": 61000},
                                            {"element": "192.0.2.2", "origin": "run-time"}])
        self.assertEqual((shown["ok"], shown["diagnostics"]), (True, []))
        self.weir("set", "list", "web", "nosuch", status=INPUT)

    def test_save(self):
        saved = "# web blocked: 3 elements\n10.0.0.0/8\n192.0.2.1 timeout 1min1s\n192.0.2.2\n"
        self.assertEqual(self.weir("set", "save", "web", "blocked").stdout, saved)
        self.assertEqual(self.weir("set", "save", "web", "blocked", "-f", "-").stdout, saved)
        self.assertEqual(self.weir("set", "save", "web", "blocked", "-f", self.path("out")).stdout, "")
        self.assertEqual(self.read("out"), saved)
        self.assertEqual(os.listdir(self.folder), ["out"])
        self.weir("set", "save", "web", "blocked", "-f", "no/such/folder", status=SYSTEM)


LOGGED = r'''2023-11-14 22:13:20.123456 drop web:3 "say \"hi\"\x1b[31m" eth0 tcp 10.0.0.1:1234 > 10.0.0.2:80 S length 60 user 1000 group 100 pid 7 "curl" program "/usr/bin/curl" cgroup "/a.slice" mark 0x7
2023-11-14 22:13:21.000000 log web:4 udp [fd00::1]:53 > [fd00::2]:5353 length 90
2023-11-14 22:13:22.000000 reject web:4 eth0 length 14
'''


class Log(CommandLine):
    def test_lines(self):
        done = self.weir("log")
        self.assertEqual((done.stdout, done.stderr), (LOGGED, "weir: 2 events lost\n"))
        self.weir("log", "web")
        self.weir("log", "nosuch", status=INPUT)

    def test_json(self):
        lines = [json.loads(line) for line in self.weir("log", "--json").stdout.splitlines()]
        self.assertEqual(len(lines), 3)
        self.assertAlmostEqual(lines[0].pop("time"), 1700000000.123456, places=5)
        self.assertEqual(lines[0], {
            "verdict": "drop", "observed": False, "policy": "web", "rule": 3, "text": 'say "hi"\033[31m', "hook": "tc-ingress",
            "interface": "eth0", "protocol": "tcp", "source": "10.0.0.1", "source_port": 1234,
            "destination": "10.0.0.2", "destination_port": 80, "flags": "S", "length": 60, "user": 1000, "group": 100,
            "pid": 7, "command": "curl", "program": "/usr/bin/curl", "cgroup": "/a.slice", "mark": 7,
            "frame": False, "data": "45ff"})
        self.assertIsNone(lines[1]["user"])

    def test_follow_until_signal(self):
        for signal in ("terminate", "send_signal"):
            child = subprocess.Popen([self.program, "log", "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     text=True, env=self.env)
            lines = [child.stdout.readline() for _ in range(3)]
            getattr(child, signal)(*([2] if signal == "send_signal" else []))
            rest, errors = child.communicate(timeout=10)
            self.assertEqual(("".join(lines) + rest, errors, child.returncode), (LOGGED, "weir: 2 events lost\n", 0))

    def fields(self, datagram):
        """The fields of an entry, as journald takes it apart."""
        fields = []
        while datagram:
            line, datagram = datagram.split(b"\n", 1)
            if b"=" in line:
                name, value = line.split(b"=", 1)
            else:
                name, length = line, int.from_bytes(datagram[:8], "little")
                value, datagram = datagram[8:8 + length], datagram[8 + length:]
                self.assertEqual(datagram[:1], b"\n")
                datagram = datagram[1:]
            fields.append((name.decode(), value.decode()))
        self.assertEqual(len({name for name, _ in fields}), len(fields))
        return dict(fields)

    def test_journal(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            self.env["WEIR_JOURNAL"] = self.path("journal")
            journal.bind(self.env["WEIR_JOURNAL"])
            journal.settimeout(10)
            self.assertEqual(self.weir("log", "--journal").stdout, "")
            entries = [self.fields(journal.recv(65536)) for _ in range(3)]
        self.assertEqual(entries[0], {
            "MESSAGE": LOGGED.split("\n")[0][27:], "MESSAGE_ID": "5d0c9bb5f3284aa69a1dd64a1a6a0a6f",
            "SYSLOG_IDENTIFIER": "weir", "PRIORITY": "5", "WEIR_TIME_USEC": "1700000000123456", "WEIR_POLICY": "web",
            "WEIR_RULE": "3", "WEIR_VERDICT": "drop", "WEIR_TEXT": 'say "hi"\033[31m', "WEIR_HOOK": "tc-ingress",
            "WEIR_INTERFACE": "eth0", "WEIR_PROTOCOL": "tcp", "WEIR_SOURCE": "10.0.0.1", "WEIR_SOURCE_PORT": "1234",
            "WEIR_DESTINATION": "10.0.0.2", "WEIR_DESTINATION_PORT": "80", "WEIR_FLAGS": "S", "WEIR_LENGTH": "60",
            "WEIR_UID": "1000", "WEIR_GID": "100", "WEIR_PID": "7", "WEIR_COMMAND": "curl", "WEIR_PROGRAM": "/usr/bin/curl",
            "WEIR_CGROUP": "/a.slice", "OBJECT_PID": "7", "WEIR_MARK": "7"})
        self.assertEqual(entries[1]["PRIORITY"], "6")
        for name in ("WEIR_UID", "WEIR_GID", "WEIR_PID", "OBJECT_PID"):
            self.assertNotIn(name, entries[1])
        self.assertNotIn("WEIR_SOURCE_PORT", entries[2])

    def test_journal_is_not_there(self):
        self.env["WEIR_JOURNAL"] = self.path("journal")
        self.assertIn("cannot reach the journal", self.weir("log", "--journal", status=SYSTEM).stderr)
        self.weir("log", "--journal", "--json", status=USAGE)

    def test_reader_goes_away(self):
        child = subprocess.Popen([self.program, "log", "-f"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 env=self.env)
        child.stdout.close()
        self.assertNotEqual(child.wait(10), 0)


class Capture(CommandLine):
    PACKETS = "packet 3\npacket 2\npacket 1\n"

    def test_what_is_there(self):
        done = self.weir("capture", "--now")
        self.assertEqual((done.stdout, done.stderr), ("snap 0\n" + self.PACKETS + "lost 2\n",
                                                      "3 packets captured, 2 lost\n"))

    def test_options(self):
        done = self.weir("capture", "web", "-w", "out", "-c", "1", "--snap", "96")
        self.assertEqual((done.stdout, done.stderr), ("", "1 packet captured, 2 lost\n"))
        self.assertEqual(self.read("out"), "snap 96\npacket 3\nlost 2\n")
        self.assertEqual(self.json("capture", "-w", "out", "--now"),
                         {"ok": True, "packets": 3, "lost": 2, "diagnostics": []})

    def test_refusals(self):
        self.weir("capture", "nosuch", "--now", status=INPUT)
        self.weir("capture", "-w", "no/such/folder", status=SYSTEM)
        self.assertIn("`--json` needs `-w FILE`", self.weir("capture", "--json", status=USAGE).stderr)
        self.assertIn("--snap", self.weir("capture", "--snap", "65536", status=USAGE).stderr)

    def test_no_terminal(self):
        master, terminal = os.openpty()
        done = subprocess.run([self.program, "capture"], stdout=terminal, stderr=subprocess.PIPE, text=True,
                              env=self.env, timeout=10)
        os.close(terminal)
        os.close(master)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("not for a terminal", done.stderr)

    def test_follow_until_signal(self):
        child = subprocess.Popen([self.program, "capture"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env=self.env)
        lines = [child.stdout.readline() for _ in range(4)]
        child.send_signal(2)
        rest, errors = child.communicate(timeout=10)
        self.assertEqual("".join(lines) + rest, "snap 0\n" + self.PACKETS + "lost 2\n")
        self.assertEqual((errors, child.returncode), ("3 packets captured, 2 lost\n", 0))

    def test_reader_goes_away(self):
        child = subprocess.Popen([self.program, "capture"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 env=self.env)
        child.stdout.read(len("snap 0\n" + self.PACKETS))
        child.stdout.close()
        self.assertNotEqual(child.wait(10), 0)


METRICS = r"""# TYPE weir_build_info gauge
# HELP weir_build_info The version of weir that tells this.
weir_build_info{version="0.0.0"} 1
# TYPE weir_policy_loaded_timestamp_seconds gauge
# UNIT weir_policy_loaded_timestamp_seconds seconds
# HELP weir_policy_loaded_timestamp_seconds When the policy was applied.
weir_policy_loaded_timestamp_seconds{policy="web"} 1700000000
weir_policy_loaded_timestamp_seconds{policy="a-policy-with-a-long-name"} 0
# TYPE weir_policy_packets counter
# HELP weir_policy_packets Packets by what the policy decided.
weir_policy_packets_total{policy="web",verdict="accept"} 12
weir_policy_packets_total{policy="web",verdict="drop"} 9
weir_policy_packets_total{policy="web",verdict="reject"} 0
"""


class Metrics(CommandLine):
    def test_text(self):
        text = self.weir("metrics").stdout
        self.assertTrue(text.startswith(METRICS), text)
        self.assertTrue(text.endswith("\n# EOF\n"))
        for line in ('weir_rule_bytes_total{policy="web",rule="2",verdict="drop"} 18446744073709551615',
                     'weir_rule_packets_total{policy="web",rule="default",verdict="drop"} 5',
                     'weir_rule_packets_total{policy="web",rule="malformed",verdict="drop"} 1',
                     'weir_rule_info{policy="web",rule="1",text="accept if tcp"} 1',
                     'weir_counter_packets_total{policy="web",counter="hits"} 1',
                     'weir_hook_attached{policy="web",hook="xdp",target="eth9"} 0',
                     'weir_hook_cached_packets_total{policy="web",hook="tc-ingress",target="eth0"} 7',
                     'weir_events_lost_total{policy="web"} 2',
                     'weir_set_elements{policy="web",set="blocked",family="ipv4"} 2',
                     'weir_set_elements_max{policy="web",set="blocked",family="ipv6"} 1024',
                     'weir_state_entries{policy="web",state="buckets"} 7',
                     'weir_state_entries_max{policy="web",state="buckets"} 9'):
            self.assertIn("\n%s\n" % line, text)

    def samples(self, families):
        return {(sample.name, *sorted(sample.labels.items())): float(sample.value) for family in families
                for sample in family.samples}

    def test_others_read_it(self):
        """The Python client's parsers, of OpenMetrics and of the older format."""
        try:
            from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
            from prometheus_client.parser import text_string_to_metric_families as classic
        except ImportError:
            self.skipTest("needs python3-prometheus-client")
        families = list(openmetrics(self.weir("metrics").stdout))
        self.assertEqual({family.name: family.type for family in families}["weir_rule_packets"], "counter")
        samples = self.samples(families)
        self.assertEqual(samples["weir_rule_packets_total", ("policy", "web"), ("rule", "1"), ("verdict", "accept")], 12)
        self.weir("metrics", "--textfile", "weir.prom")
        families = list(classic(self.read("weir.prom")))
        self.assertEqual({family.name: family.type for family in families}["weir_rule_packets"], "counter")
        self.assertEqual(self.samples(families), samples)

    def test_json(self):
        found = {(metric["name"], *sorted(metric["labels"].items())): metric["value"]
                 for metric in self.json("metrics")["metrics"]}
        self.assertEqual(found["weir_rule_packets", ("policy", "web"), ("rule", "1"), ("verdict", "accept")], 12)

    def test_textfile_is_replaced_whole(self):
        self.write("weir.prom", "old")
        before = os.stat(self.path("weir.prom")).st_ino
        self.weir("metrics", "--textfile", "weir.prom")
        status = os.stat(self.path("weir.prom"))
        self.assertEqual(status.st_mode & 0o777, 0o644)
        self.assertNotEqual(status.st_ino, before)
        self.assertNotIn("EOF", self.read("weir.prom"))
        self.assertEqual([name for name in os.listdir(self.folder) if "prom" in name], ["weir.prom"])
        self.assertIn("no/such/folder", self.weir("metrics", "--textfile", "no/such/folder", status=SYSTEM).stderr)

    def test_dashboard_asks_for_what_there_is(self):
        with open(os.path.join(ROOT, "share/grafana/weir.json")) as file:
            asked = set(re.findall(r"\bweir_\w+", file.read()))
        self.assertGreater(len(asked), 5)
        told = set(re.findall(r"(?m)^(weir_\w+)", self.weir("metrics").stdout))
        self.assertEqual(asked - told, set())

    def test_usage(self):
        for address in ("", "9469", ":9469", "localhost:", "::1:9469", "localhost:http", "[::1:9469", "unix"):
            self.assertIn("is no address", self.weir("metrics", "--listen", address, status=USAGE).stderr)
        self.weir("metrics", "--listen", "127.0.0.1:1", "--textfile", "x", status=USAGE)
        self.assertIn("cannot listen", self.weir("metrics", "--listen", "192.0.2.1:9469", status=SYSTEM).stderr)
        self.assertIn("cannot listen", self.weir("metrics", "--listen", "unix:/no/such/folder", status=SYSTEM).stderr)

    @contextlib.contextmanager
    def serving(self, address, connect):
        child = subprocess.Popen([self.program, "metrics", "--listen", address], stderr=subprocess.PIPE, text=True,
                                 env=self.env, cwd=self.folder)
        for _ in range(1000):
            try:
                connect().close()
                break
            except OSError:
                time.sleep(0.01)
        yield child
        child.send_signal(15)
        self.assertEqual((child.communicate(timeout=20)[1], child.returncode), ("", DONE))

    def get(self, connection, *arguments, **options):
        connection.request(*arguments, **options)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read().decode()

    def test_http(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with self.serving("127.0.0.1:%d" % port, lambda: socket.create_connection(("127.0.0.1", port))) as child:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            code, kind, text = self.get(connection, "GET", "/metrics", headers={
                "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"})
            self.assertEqual((code, kind), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
            self.assertEqual(text, self.weir("metrics").stdout)
            with open("/proc/%d/status" % child.pid) as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            self.assertEqual(status["NoNewPrivs"], "1")
            self.assertEqual(int(status["CapPrm"], 16) & ~(1 << 39), 0)  # CAP_BPF at most
            code, kind, text = self.get(connection, "GET", "/metrics")
            self.assertEqual((code, kind), (200, "text/plain; version=0.0.4; charset=utf-8"))
            self.assertIn("# TYPE weir_rule_packets_total counter\n", text)
            self.assertEqual(self.get(connection, "HEAD", "/metrics")[::2], (200, ""))
            self.assertEqual(self.get(connection, "GET", "/")[0], 404)
            self.assertEqual(self.get(connection, "POST", "/metrics", body="x" * 100000)[0], 405)
            connection.close()
            self.assertIn("cannot listen",
                          self.weir("metrics", "--listen", "127.0.0.1:%d" % port, status=SYSTEM).stderr)

    def test_http_unix(self):
        path = self.path("socket")

        def connect():
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(path)
            return connected
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        with self.serving("unix:socket", connect):
            connection = http.client.HTTPConnection("localhost")
            connection.sock = connect()
            self.assertEqual(self.get(connection, "GET", "/metrics")[0], 200)
            connection.close()
            self.weir("metrics", "--listen", "unix:socket", status=SYSTEM)
        self.assertFalse(os.path.exists(path))


class Doctor(CommandLine):
    """Over a library whose kernel has tcx, but no netfilter links and nothing else."""

    def test_report(self):
        text = self.weir("doctor", status=INPUT).stdout
        self.assertIn("\n  ok       tcx: since Linux 6.6 (policies on tc", text)
        self.assertRegex(text, r"\n  no       policies at xdp: needs .*xdp link\n")
        self.assertIn("\n  yes      weir check, compile, verify, explain, diff\n", text)

    def test_json(self):
        told = self.json("doctor", status=INPUT)
        self.assertFalse(told["ok"])
        self.assertEqual({tuple(sorted(check)) for check in told["checks"]},
                         {("detail", "group", "id", "needed_for", "remedy", "state")})
        self.assertEqual({check["group"] for check in told["checks"]}, {"capabilities", "kernel", "system"})
        self.assertLessEqual({check["state"] for check in told["checks"]}, {"ok", "missing", "unknown", "note"})
        works = {feature["name"]: feature for feature in told["features"]}
        self.assertEqual((works["policies at tc"]["works"], works["policies at tc"]["main"]), (False, True))
        self.assertIn("tc", works["policies at tc"]["missing"])


class Trying(CommandLine):
    def setUp(self):
        super().setUp()
        self.write("a.pcap", "")

    def test_test(self):
        self.assertEqual(self.weir("test", "--pcap", "a.pcap", "WARNING").stdout,
                         "1 accept 3\n2 drop default\n3 drop malformed\n4 accept non_ip\n")
        self.assertEqual(self.weir("test", "--pcap", "a.pcap", "tcp", "--engine", "model", "--hook", "xdp").stdout,
                         "1 drop default\n2 drop malformed\n3 accept non_ip\n4 reject 12\n")
        self.weir("test", "--pcap", "nosuch.pcap", "tcp", status=INPUT)
        self.weir("test", "--pcap", "a.pcap", "tcp", "--hook", "tc", status=INPUT)

    def test_test_json(self):
        lines = [json.loads(line) for line in
                 self.weir("test", "--pcap", "a.pcap", "tcp", "--json").stdout.splitlines()]
        self.assertEqual(lines[:2], [{"packet": 1, "verdict": "accept", "rule": 3},
                                     {"packet": 2, "verdict": "drop", "rule": "default"}])

    def test_bench(self):
        self.assertIn("policy     12.50  (12.00 to 14.25)\n", self.weir("bench", "--pcap", "a.pcap", "tcp").stdout)
        self.assertIn("8 packets", self.weir("bench", "--pcap", "a.pcap", "tcp", "--flows", "7").stdout)
        shown = self.json("bench", "--pcap", "a.pcap", "tcp", "--rounds", "9")
        self.assertEqual((shown["ns_per_packet"], shown["empty_ns_per_packet"], shown["packets"], shown["rounds"]),
                         (12.5, 7.5, 1, 9))

    def test_knock(self):
        self.assertEqual(self.weir("knock", "one", "door", "--key", "k").stdout,
                         "knocked at one (1 address); whether it is open now, only trying tells\n")
        shown = self.json("knock", "two", "--sequence", "tcp:1,udp:2")
        self.assertEqual((shown["host"], shown["addresses"]), ("two", 2))
        self.assertIn("Name or service not known",
                      self.weir("knock", "nowhere", "door", "--key", "k", status=INPUT).stderr)
        self.assertIn("k: a new key", self.weir("knock", "--new-key", "k").stdout)
        self.weir("knock", "--new-key", "there", status=SYSTEM)

    def test_verify(self):
        self.assertEqual(self.weir("verify", "tcp").stdout,
                         "web at tc-ingress: proven for all packets (3 rules, 42 instructions, 1.5 ms)\n")
        self.assertEqual(self.weir("verify", "--hook", "xdp", "tcp", status=INPUT).stdout,
                         "web at xdp: the program does not do what the rules say\n"
                         "    packet   tcp 10.0.0.1:1 > 10.0.0.2:2\n    given    a member in set `s`\n"
                         "    rules    accept (default)\n    program  drop (rule 1)\n")
        shown = self.json("verify", "--hook", "xdp", "tcp", status=INPUT)
        self.assertEqual((shown["ok"], shown["results"][0]["proof"], shown["results"][0]["by_program"]),
                         (False, "different", "drop (rule 1)"))

    def test_verify_loaded(self):
        self.assertEqual(self.weir("verify", "--loaded", "web", status=INPUT).stdout,
                         "web at xdp: proven for all packets (3 rules, 42 instructions, 1.5 ms)\n"
                         "web at tc-ingress: not proven: its program at `eth0` is not attached (3 rules, 0 instructions, "
                         "0.0 ms)\n")
        shown = self.json("verify", "--loaded", status=INPUT)
        self.assertEqual([result["proof"] for result in shown["results"]], ["proven", "not proven"])
        self.assertIn("no policy `nosuch` is in force", self.weir("verify", "--loaded", "nosuch", status=INPUT).stderr)
        self.assertIn("--loaded takes a policy's name",
                      self.weir("verify", "--loaded", "--policy", "web", "web", status=USAGE).stderr)

    def test_compile(self):
        for stage in ("ir", "diagram", "plan", "bpf", "dot"):
            self.assertEqual(self.weir("compile", "--emit", stage, "tcp").stdout, "stage\n")
            self.assertEqual(self.json("compile", "--emit", stage, "tcp")["text"], "stage\n")
        self.assertEqual(self.weir("compile", "--emit", "ir", "--hook", "xdp", "tcp").stdout, "stage at a hook\n")
        self.weir("compile", "--emit", "ir", "--policy", "nosuch", "tcp", status=INPUT)
        self.weir("compile", "--emit", "ir", "ERROR", status=INPUT)
        self.weir("compile", "--emit", "elf", "-o", self.path("o"), "tcp")
        self.assertEqual(self.read("o"), "\177ELF\0object")
        self.weir("compile", "--emit", "ir", "-o", "no/such", "tcp", status=SYSTEM)

    def test_load(self):
        self.assertEqual(self.weir("load", "--pin", "/p", "tcp").stdout,
                         "/p: pinned for cgroup-ingress, not attached\n")
        self.assertEqual((self.read("pin"), self.read("hook")), ("/p", "cgroup-ingress"))
        self.assertEqual(self.json("load", "--pin", "/p", "--hook", "xdp", "tcp")["hook"], "xdp")
        self.write("a.weir", "rules")
        self.assertIn("more than one hook", self.weir("load", "--pin", "/p", "a.weir", status=INPUT).stderr)
        self.weir("load", "--pin", "/p", "--hook", "tc-ingress", "a.weir")
        self.assertEqual(self.read("hook"), "tc-ingress")


class Explain(CommandLine):
    def test_text(self):
        self.assertEqual(self.weir("explain", "tcp", "udp").stdout,
                         "web at xdp: udp\n"
                         "rule 1 (line 4): `tcp` is false: proto is udp\n"
                         "rule 2 (line 5) acts, and judging goes on: it has no condition\n"
                         "rule 3 decides: `udp` is true: proto is udp\n"
                         "drop: rule 3: drop if udp\n")
        self.assertEqual(self.weir("explain", "tcp", "tcp").stdout.splitlines()[-1], "accept: by default")

    def test_json(self):
        told = self.json("explain", "-e", "tcp", "udp")
        self.assertEqual([rule["decides"] for rule in told["rules"]], [False, False, True])
        self.assertEqual((told["verdict"], told["rule"], told["packet"]), ("drop", 3, "udp"))
        self.assertEqual(self.json("explain", "tcp", "tcp")["rule"], "default")

    def test_bad_packet(self):
        self.assertIn("packet: error: no packet", self.weir("explain", "tcp", "bad", status=INPUT).stderr)


class Diff(CommandLine):
    def test_text(self):
        self.assertEqual(self.weir("diff", "tcp", "tcp").stdout, "equivalent\n")
        self.assertEqual(self.weir("diff", "tcp", "udp", status=INPUT).stdout,
                         "policy `x` is added\n"
                         "web at xdp:\n"
                         "  accept (a.weir:7) -> drop (default): tcp 192.0.2.1:1024 > 192.0.2.2:22\n"
                         "  drop (rule 1) -> reject (rule 2): udp, if the set `s` holds 192.0.2.1\n"
                         "note: a note\n"
                         "there may be more: too large\n")
        self.assertEqual(self.weir("diff", "tcp", "LARGE", status=SYSTEM).stdout, "not known: too large\n")

    def test_json(self):
        told = self.json("diff", "tcp", "udp", status=INPUT)
        self.assertEqual((told["result"], told["changes"], told["unknown"]),
                         ("different", ["policy `x` is added"], "too large"))
        self.assertEqual(told["differences"][0]["new"],
                         {"verdict": "drop", "rule": "default", "file": "b.weir", "line": 1, "text": ""})
        self.assertEqual(self.json("diff", "tcp", "tcp")["result"], "equivalent")

    def test_trouble(self):
        self.weir("diff", "ERROR", "tcp", status=SYSTEM)


if __name__ == "__main__":
    main()
