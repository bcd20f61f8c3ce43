#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""weir run, attach and detach: which filter for which socket, whose arguments are whose, exit statuses."""

import os

from clitest import DONE, INPUT, SYSTEM, USAGE, CommandLine, main

FAILED, NOT_FOUND = 125, 127


class Run(CommandLine):
    def run_(self, *arguments, status=DONE):
        return self.weir("run", *arguments, status=status)

    def test_command_keeps_its_arguments(self):
        self.assertEqual(self.run_("a", "--json", "-x", "--", "b").stdout, "a --json -x -- b\n")
        self.assertEqual(self.run_("--", "a", "--", "-e").stdout, "a -- -e\n")
        self.assertEqual(self.run_("--listen", "tcp:1", "a").stdout, "listen tcp:1\na\n")
        self.assertIn("an argument is missing", self.run_("--", status=USAGE).stderr)

    def test_filters(self):
        self.write("f.weir", "tcp")
        for arguments, text in (
                (("--filter", "tcp"), "filter *: tcp by auto"),
                (("-f", "src == 1.2.3.4"), "filter *: src == 1.2.3.4 by auto"),
                (("--filter", "web=tcp"), "filter web: tcp by auto"),
                (("--filter", "mark==5"), "filter *: mark==5 by auto"),
                (("--filter", "src in { 10.0.0.0/8 }"), "filter *: src in { 10.0.0.0/8 } by auto"),
                (("--filter", "f.weir"), "filter *: file f.weir by auto"),
                (("--filter", "web=./f"), "filter web: file ./f by auto"),
                (("--filter", "tcp", "--backend", "cbpf"), "filter *: tcp by cbpf"),
                (("--pinned", "/p"), "filter *: pin /p by pinned"),
                (("--filter", "tcp", "--pinned", "/p"), "filter *: tcp by pinned"),
                (("--app", "known", "--filter", "tcp"), "filter *: override known by auto"),
                (("--app", "other", "--filter", "tcp"), "filter *: tcp by auto")):
            self.assertEqual(self.run_(*arguments, "a").stdout, text + "\na\n", arguments)
        self.assertIn("two filters for the socket `web`", self.run_("-f", "web=tcp", "-f", "web=udp", "a",
                                                                    status=INPUT).stderr)
        self.assertIn("two filters for all", self.run_("-f", "tcp", "-f", "udp", "a", status=INPUT).stderr)
        self.assertIn("needs `--pinned PATH`", self.run_("--backend", "pinned", "a", status=USAGE).stderr)
        self.assertIn("not `x`", self.run_("--backend", "x", "a", status=USAGE).stderr)

    def test_the_rest(self):
        done = self.run_("-l", "web=tcp:1", "-l", "udp:2", "--user", "nobody", "--inetd", "--limit", "7", "-v", "a")
        self.assertEqual(done.stdout, "listen web=tcp:1\nlisten udp:2\naccept 7\nuser nobody\na\n")
        self.assertEqual(done.stderr, "weir: web web=tcp:1: cbpf\nweir: web udp:2: cbpf\n")
        self.assertIn("accept 64\n", self.run_("--accept", "a").stdout)

    def test_exit_status(self):
        self.assertIn("unknown field", self.run_("-f", "ERROR", "a", status=INPUT).stderr)
        self.assertIn("no way", self.run_("-f", "REFUSE", "a", status=FAILED).stderr)
        self.assertIn("command not found", self.run_("missing", status=NOT_FOUND).stderr)

    def test_attach(self):
        pid = str(os.getpid())
        self.assertEqual(self.weir("attach", pid, "1", "tcp").stdout, "filtered by auto\n")
        self.assertIn('"backend": "cbpf"', self.weir("attach", pid, "1", "tcp", "--backend", "cbpf", "--json").stdout)
        self.assertIn("no way", self.weir("attach", pid, "1", "REFUSE", status=SYSTEM).stderr)
        self.assertIn("a filter is missing", self.weir("attach", pid, "1", status=USAGE).stderr)
        self.assertIn("`x` is no process id", self.weir("attach", "x", "1", "tcp", status=USAGE).stderr)
        self.assertIn("has no descriptor 999", self.weir("attach", pid, "999", "tcp", status=INPUT).stderr)
        self.weir("detach", pid, "1")


if __name__ == "__main__":
    main()
