#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""bash completion, asked as bash would ask it; and that the manual names every command and option."""

import os
import re
import subprocess

from clitest import ROOT, CommandLine, main

SCRIPT = os.path.join(ROOT, "completions/weir")
ASK = """
source "$1"
compopt() { :; }
shift
COMP_WORDS=(weir "$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_weir "$WEIR_PROGRAM" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


class Completion(CommandLine):
    def complete(self, *words):
        self.env["WEIR_PROGRAM"] = self.program
        done = subprocess.run(["bash", "-c", ASK, "bash", SCRIPT, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, cwd=self.folder, env=self.env, timeout=60)
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        return sorted(done.stdout.split())

    def test_commands(self):
        self.assertEqual(self.complete("co"), ["compile", "confirm"])
        self.assertLessEqual({"check", "apply", "explain", "help", "--version"}, set(self.complete("")))
        self.assertEqual(self.complete("help", "flu"), ["flush"])

    def test_options(self):
        self.assertEqual(self.complete("apply", "--"),
                         ["--confirm", "--dry-run", "--force", "--help", "--json", "--no-verify", "--prune",
                          "--reset-sets"])
        self.assertEqual(self.complete("check", "--s"), ["--strict"])

    def test_values(self):
        self.assertEqual(self.complete("compile", "--emit", "d"), ["diagram", "dot"])
        self.assertEqual(self.complete("test", "--engine", ""), ["kernel", "model"])
        self.assertEqual(self.complete("load", "--hook", "cgroup"), ["cgroup-egress", "cgroup-ingress"])
        self.assertEqual(self.complete("apply", "a.weir", "--confirm", ""), [])

    def test_names(self):
        self.assertEqual(self.complete("show", "w"), ["web"])
        self.assertEqual(self.complete("set", "add", "w"), ["web"])
        self.assertEqual(self.complete("set", "re"), ["replace"])
        self.assertEqual(self.complete("verify", "--loaded", "w"), ["web"])
        self.assertEqual(self.complete("set", "add", "web", "blocked", ""), [])

    def test_files(self):
        self.write("a.weir", "")
        self.write("b.pcap", "")
        self.assertEqual(self.complete("apply", ""), ["a.weir", "b.pcap"])
        self.assertEqual(self.complete("test", "--pcap", "b"), ["b.pcap"])
        self.assertEqual(self.complete("set", "add", "web", "blocked", "-f", "a"), ["a.weir"])


class Manual(CommandLine):
    def test_names_every_command_and_option(self):
        with open(os.path.join(ROOT, "man/weir.1")) as file:
            text = file.read().replace("\\-", "-")
        for command in re.findall(r"(?m)^  ([a-z]+) +[A-Z]", self.weir("help").stdout):
            section = re.search(r"(?ms)^\.SS %s$.*?(?=^\.S[SH])" % command, text)
            self.assertTrue(section, command)
            for option in re.findall(r"--[a-z-]+(?= )", self.weir("help", command).stdout.split("\n\n", 1)[1]):
                if option not in ("--json", "--help"):
                    self.assertIn(option, section.group(0), command)


if __name__ == "__main__":
    main()
