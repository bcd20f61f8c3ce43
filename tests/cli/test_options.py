#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Options, operands, usage errors and exit statuses."""

from clitest import DONE, INPUT, SYSTEM, USAGE, CommandLine, main

COMMANDS = """
check
apply
confirm
list
show
delete
flush
rule
set
tune
top
flows
log
capture
metrics
doctor
test
explain
diff
bench
compile
verify
load
knock
run
attach
detach
systemd
enable
disable
refresh
preset
import
version
help
""".split()
LATER = """
ip6tables
ip6tables-restore
ip6tables-save
iptables
iptables-restore
iptables-save
""".split()


class Usage(CommandLine):
    def refused(self, text, *arguments):
        done = self.weir(*arguments, status=USAGE)
        self.assertIn(text, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_no_command(self):
        self.refused("usage: weir COMMAND")

    def test_unknown_command(self):
        self.refused("unknown command `chekc`; did you mean `check`?", "chekc")
        self.refused("unknown command `xyzzy`; `weir help` lists them", "xyzzy")
        self.refused("unknown command ``", "")
        self.refused("unknown command `" + "x" * 5000, "x" * 5000)

    def test_commands_of_later(self):
        for command in LATER:
            self.refused("weir: `%s` is not supported yet\n" % command, command)

    def test_unknown_options(self):
        self.refused("weir check: unknown option `--strcit`; did you mean `--strict`?", "check", "--strcit", "tcp")
        self.refused("unknown option `--xyzzy`\n", "check", "--xyzzy", "tcp")
        self.refused("unknown option `--xyzzy`", "check", "--xyzzy=1", "tcp")
        self.refused("unknown option `-x`", "check", "-vx", "tcp")
        self.refused("unknown option `--" + "x" * 5000, "check", "--" + "x" * 5000)

    def test_values(self):
        self.refused("`--strict` takes no value", "check", "--strict=1", "tcp")
        self.refused("`--hook` needs HOOK", "test", "tcp", "--hook")
        self.refused("`-e` needs EXPR", "check", "-e")
        for bad in ("0", "86401", "-1", "+5", "5s", "", " 5", "0x10", "99999999999999999999999"):
            self.refused("`--confirm` needs a number from 1 to 86400, not `%s`" % bad, "apply", "a.weir",
                         "--confirm=" + bad)
        self.refused("`--engine` is `kernel` or `model`, not `x`", "test", "--engine", "x", "--pcap", "f", "tcp")

    def test_operands(self):
        self.refused("a policy file or an expression is missing", "check")
        self.refused("unexpected argument `b`", "check", "a", "b")
        self.refused("an argument is missing", "show")
        self.refused("an argument is missing", "delete")
        self.refused("policies by name and `--file` at once", "delete", "web", "--file", "web.weir")
        self.refused("unexpected argument `x`", "list", "x")
        self.refused("`-e` and `a.weir` at once", "check", "-e", "tcp", "a.weir")

    def test_what_a_command_needs(self):
        self.refused("say `weir flush --all`", "flush")
        self.refused("`--pcap FILE` is missing", "test", "tcp")
        self.refused("`--pcap FILE` is missing", "bench", "tcp")
        self.refused("`--pin PATH` is missing", "load", "tcp")
        self.refused("`--emit` is missing", "compile", "tcp")
        self.refused("which HOST?", "knock")
        self.refused("`--key FILE` or `--sequence tcp:PORT,udp:PORT,...` is missing", "knock", "host", "door")
        self.refused("which knock of that host?", "knock", "host", "--key", "k")
        self.refused("with a key or with a sequence", "knock", "host", "door", "--key", "k", "--sequence", "tcp:1")
        self.refused("a sequence has no name", "knock", "host", "door", "--sequence", "tcp:1")
        self.refused("a sequence says itself which ports", "knock", "host", "--sequence", "tcp:1", "--port", "5")
        self.refused("a key's MAC goes by UDP", "knock", "host", "door", "--key", "k", "--tcp")
        self.refused("`--new-key FILE` stands alone", "knock", "host", "--new-key", "k")
        self.refused("not `plam`; did you mean `plan`?", "compile", "--emit", "plam", "tcp")
        self.refused("an ELF object is no JSON", "compile", "--emit", "elf", "--json", "tcp")
        self.refused("`--confirm` and `--dry-run` at once", "apply", "a.weir", "--dry-run", "--confirm", "3")

    def test_apply_wants_a_file(self):
        self.refused("`tcp` is an expression, which has no hook", "apply", "tcp")

    def test_rules(self):
        self.refused("an argument is missing", "rule", "add", "web")
        self.refused("unknown operation `ad`; did you mean `add`?", "rule", "ad", "web", "drop")
        self.refused("it is `add NAME [before N] 'RULE'`, the rule in quotes", "rule", "add", "web", "drop", "if", "tcp")
        self.refused("it is `delete NAME N`", "rule", "delete", "web", "1", "drop")
        self.refused("it is `replace NAME N 'RULE'`", "rule", "replace", "web", "1")
        for number in ("0", "-1", "x", "1x", "9999999999", ""):
            self.refused("`%s` is not a rule's number" % number, "rule", "delete", "--", "web", number)

    def test_sets(self):
        self.refused("an argument is missing", "set", "add", "web")
        self.refused("unknown operation `ad`; did you mean `add`?", "set", "ad", "web", "blocked")
        self.refused("`add` needs elements, or `-f FILE`", "set", "add", "web", "blocked")
        self.refused("`test` needs an element", "set", "test", "web", "blocked")
        self.refused("unexpected argument `b`", "set", "test", "web", "blocked", "a", "b")
        self.refused("unexpected argument `a`", "set", "list", "web", "blocked", "a")
        self.refused("`del` takes no `--timeout`", "set", "del", "web", "blocked", "a", "--timeout", "1h")
        self.refused("unknown operation `lst`; did you mean `list`?", "flows", "lst", "web")
        self.refused("`delete` needs a filter; `flush` deletes all", "flows", "delete", "web")
        self.refused("unexpected argument `tcp`", "flows", "flush", "web", "tcp")
        self.refused("`flush` takes no `-f`", "set", "flush", "web", "blocked", "-f", "x")
        self.refused("elements and `-f` at once", "set", "add", "web", "blocked", "a", "-f", "x")


    def test_systemd(self):
        self.refused("an argument is missing", "systemd", "protect")
        self.refused("unknown operation `protct`; did you mean `protect`?", "systemd", "protct", "web")
        self.refused("`--ingress EXPR` or `--egress EXPR` is missing", "systemd", "protect", "web")
        self.refused("unexpected argument `b`", "systemd", "protect", "a", "b", "--ingress", "tcp")
        self.refused("an argument is missing", "enable")


class Parsing(CommandLine):
    def test_anywhere(self):
        self.write("a.weir", "rules")
        for arguments in (("-v", "a.weir", "--strict"), ("a.weir", "-v", "--strict"), ("--strict", "-v", "--", "a.weir")):
            self.assertIn("policy web: 7 rules", self.weir("check", *arguments).stdout)

    def test_value_forms(self):
        for arguments in (("-e", "tcp"), ("-etcp",), ("--expression", "tcp"), ("--expression=tcp",), ("-ve", "tcp"),
                          ("-vetcp",)):
            self.assertEqual(self.weir("check", *arguments).stdout, "expression: 1 rule, no warnings\n")

    def test_after_dashes_everything_is_an_operand(self):
        self.assertEqual(self.weir("check", "--", "--strict").stdout, "expression: 1 rule, no warnings\n")

    def test_help(self):
        for arguments in (("help",), ("--help",), ("-h",)):
            done = self.weir(*arguments)
            for command in COMMANDS:
                self.assertRegex(done.stdout, r"(?m)^  %s +[A-Z]" % command)
        for command in COMMANDS:
            text = self.weir("help", command).stdout
            self.assertTrue(text.startswith("usage: weir " + command), text)
            self.assertEqual(self.weir(command, "--help").stdout, text)
            self.assertIn("--json", text)
        self.assertIn("did you mean", self.weir("help", "chekc", status=USAGE).stderr)
        self.assertEqual([c["name"] for c in self.json("help")["commands"]], COMMANDS)

    def test_version(self):
        for arguments in (("version",), ("--version",)):
            self.assertEqual(self.weir(*arguments).stdout, "weir 0.0.0\n")
        self.assertEqual(self.json("version")["version"], "0.0.0")
        self.assertIn("tcx", self.weir("version", "-v").stdout)
        self.assertEqual(self.json("version", "-v")["features"][1],
                         {"name": "netfilter link", "there": False, "since": "6.4"})


class Inputs(CommandLine):
    def test_file_or_expression(self):
        self.write("a.weir", "rules")
        self.write("plain", "rules")
        self.assertEqual(self.weir("check", "a.weir").stdout, "a.weir: 1 policy, 7 rules, no warnings\n")
        self.assertEqual(self.weir("check", "./plain").stdout, "./plain: 1 policy, 7 rules, no warnings\n")
        self.assertEqual(self.weir("check", "-e", "a.weir").stdout, "expression: 1 rule, no warnings\n")
        self.assertEqual(self.weir("check", "-", input="rules").stdout,
                         "standard input: 1 policy, 7 rules, no warnings\n")

    def test_hint_at_a_file_of_that_name(self):
        self.write("ERROR", "rules")
        self.assertIn("write `./ERROR`", self.weir("check", "ERROR", status=INPUT).stderr)

    def test_hint_at_an_expression_with_a_slash(self):
        self.assertIn("for an expression write `-e ", self.weir("check", "src in { 10.0.0.0/8 }", status=INPUT).stderr)
        self.assertNotIn("for an expression", self.weir("check", "no/such", status=INPUT).stderr)

    def test_statuses(self):
        self.weir("check", "ERROR", status=INPUT)
        self.weir("check", "missing.weir", status=INPUT)
        self.weir("apply", self.write("r.weir", "REFUSE"), status=SYSTEM)
        self.weir("show", "nosuch", status=INPUT)
        self.weir("check", "WARNING", status=DONE)
        self.weir("check", "--strict", "WARNING", status=INPUT)

    def test_full_disk(self):
        with open("/dev/full", "w") as full:
            for arguments in (("list",), ("list", "--json"), ("log",), ("test", "--pcap", "a", "tcp"), ("help",)):
                self.write("a", "")
                self.run_into(full, *arguments)

    def run_into(self, stream, *arguments):
        import subprocess
        done = subprocess.run([self.program, *arguments], stdout=stream, stderr=subprocess.PIPE, text=True,
                              cwd=self.folder, env=self.env, timeout=60)
        self.assertEqual(done.returncode, SYSTEM, arguments)
        self.assertIn("cannot write to standard output", done.stderr)

    def test_closed_standard_streams(self):
        import subprocess
        self.write("a.weir", "rules")
        done = subprocess.run(["sh", "-c", '"$0" apply a.weir <&- >&- 2>&-', self.program], cwd=self.folder,
                              env=self.env, timeout=60)
        self.assertEqual(done.returncode, DONE)
        self.assertEqual(self.read("policy"), "rules")


if __name__ == "__main__":
    main()
