#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""weir apply --confirm: whatever happens to the command, its terminal or its watchdog, the former state comes back."""

import os
import pty
import signal
import socket
import stat
import struct
import subprocess
import time

from clitest import INPUT, SYSTEM, CommandLine, main

NONE, APPLYING, WAITING = range(3)


class Confirm(CommandLine):
    def setUp(self):
        super().setUp()
        self.write("old.weir", "old")
        self.write("new.weir", "new")
        self.weir("apply", "old.weir")

    def tearDown(self):
        state = self.watchdog()
        if state:
            os.kill(state[1], signal.SIGTERM)
            self.wait(lambda: self.watchdog() is None)

    def wait(self, condition, seconds=8):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "it did not happen")
            time.sleep(0.02)

    def wait_policy(self, text):
        self.wait(lambda: self.read("policy") == text)
        self.wait(lambda: self.watchdog() is None)

    def watchdog(self):
        """(state, pid, seconds left), or None."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with client:
            try:
                client.connect(self.path("run/confirm"))
                client.send(struct.pack("=I", 0))
                reply = client.recv(1024)
            except OSError:
                return None
        return struct.unpack("=IiI", reply[:12]) if reply else None

    def background(self, *arguments):
        return subprocess.Popen([self.program, *arguments], cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def test_rolls_back(self):
        begin = time.monotonic()
        done = self.weir("apply", "new.weir", "--confirm", "1")
        self.assertLess(time.monotonic() - begin, 1)
        self.assertIn("type `weir confirm` within 1 seconds", done.stdout)
        self.assertEqual(self.read("policy"), "new")
        self.wait_policy("old")
        self.assertGreater(time.monotonic() - begin, 1)
        self.assertEqual(os.listdir(self.path("run")), [])
        self.assertIn("nothing waits", self.weir("confirm", status=INPUT).stderr)

    def test_rolls_back_to_nothing(self):
        os.unlink(self.path("policy"))
        self.weir("apply", "new.weir", "--confirm", "1")
        self.wait_policy(None)

    def test_confirmed(self):
        self.assertEqual(self.json("apply", "new.weir", "--confirm", "1")["confirm_seconds"], 1)
        self.assertEqual(self.weir("confirm").stdout, "new.weir: confirmed, stays in force\n")
        self.wait(lambda: self.watchdog() is None)
        time.sleep(1.2)
        self.assertEqual(self.read("policy"), "new")
        self.assertEqual(self.json("confirm", status=INPUT)["state"], "none")

    def test_confirm_json(self):
        self.weir("apply", "new.weir", "--confirm", "5")
        self.assertEqual(self.json("confirm"), {"state": "confirmed", "file": "new.weir", "ok": True,
                                                "diagnostics": []})

    def test_refused_leaves_no_watchdog(self):
        self.write("bad.weir", "REFUSE")
        self.weir("apply", "bad.weir", "--confirm", "1", status=SYSTEM)
        self.wait(lambda: self.watchdog() is None)
        self.assertEqual(self.read("policy"), "old")

    def test_own_session_may_be_cut(self):
        self.write("cut.weir", "SESSION")
        self.weir("apply", "cut.weir", "--confirm", "5")
        self.weir("confirm")

    def test_command_killed_while_it_applies(self):
        self.write("kill.weir", "KILL")
        self.weir("apply", "kill.weir", "--confirm", "1", status=-signal.SIGKILL)
        self.assertEqual(self.read("policy"), "KILL")
        self.wait_policy("old")

    def test_terminal_gone(self):
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.environ.update(self.env)
            os.execl("/bin/sh", "sh", "-c", '"$0" apply new.weir --confirm 1; sleep 60', self.program)
        self.wait(lambda: self.read("policy") == "new")
        os.close(terminal)
        os.kill(pid, signal.SIGHUP)
        os.waitpid(pid, 0)
        self.wait_policy("old")

    def test_holds_nothing_of_the_caller(self):
        read, write = os.pipe()
        os.set_inheritable(write, True)
        self.weir("apply", "new.weir", "--confirm", "5", pass_fds=[write])
        os.close(write)
        self.assertEqual(os.read(read, 1), b"")
        os.close(read)
        pid = self.watchdog()[1]
        self.assertEqual(os.readlink("/proc/%d/cwd" % pid), "/")
        self.assertEqual([os.readlink("/proc/%d/fd/%d" % (pid, fd)) for fd in range(3)], ["/dev/null"] * 3)
        self.weir("confirm")

    def test_slow_apply_has_all_its_time(self):
        self.write("slow.weir", "SLOW")
        self.weir("apply", "slow.weir", "--confirm", "1")
        self.assertEqual(self.read("policy"), "SLOW")
        self.weir("confirm")
        self.assertEqual(self.read("policy"), "SLOW")

    def test_confirm_too_early(self):
        self.write("slow.weir", "SLOW")
        child = self.background("apply", "slow.weir", "--confirm", "1")
        self.wait(lambda: self.watchdog() is not None)
        self.assertIn("not applied yet", self.weir("confirm", status=INPUT).stderr)
        self.assertEqual(child.wait(), 0)
        self.wait_policy("old")

    def test_watchdog_killed_while_applying(self):
        self.write("slow.weir", "SLOW")
        child = self.background("apply", "slow.weir", "--confirm", "5")
        self.wait(lambda: self.watchdog() is not None)
        self.assertEqual(self.watchdog()[0], APPLYING)
        os.kill(self.watchdog()[1], signal.SIGKILL)
        self.assertEqual(child.wait(), SYSTEM)
        self.assertEqual(self.read("policy"), "old")

    def test_watchdog_told_to_end(self):
        self.weir("apply", "new.weir", "--confirm", "60")
        state, pid, left = self.watchdog()
        self.assertEqual(state, WAITING)
        self.assertIn(left, (59, 60))
        for unheard in (signal.SIGHUP, signal.SIGINT):
            os.kill(pid, unheard)
        time.sleep(0.1)
        self.assertEqual(self.read("policy"), "new")
        os.kill(pid, signal.SIGTERM)
        self.wait_policy("old")

    def test_stale_socket(self):
        self.weir("apply", "new.weir", "--confirm", "60")
        os.kill(self.watchdog()[1], signal.SIGKILL)
        self.wait(lambda: self.watchdog() is None)
        self.assertTrue(os.path.exists(self.path("run/confirm")))
        self.assertIn("nothing waits", self.weir("confirm", status=INPUT).stderr)
        self.weir("apply", "old.weir", "--confirm", "60")
        self.weir("confirm")

    def test_one_at_a_time(self):
        self.weir("apply", "new.weir", "--confirm", "60")
        for more in ((), ("--confirm", "5")):
            done = self.weir("apply", "old.weir", *more, status=SYSTEM)
            self.assertIn("new.weir was applied and waits for `weir confirm`", done.stderr)
        self.assertEqual(self.read("policy"), "new")
        self.weir("apply", "old.weir", "--dry-run")
        self.weir("confirm")

    def test_force_rolls_back_first(self):
        self.write("third.weir", "third")
        self.weir("apply", "new.weir", "--confirm", "60")
        done = self.weir("apply", "third.weir", "--force", "--confirm", "1")
        self.assertIn("the unconfirmed new.weir was rolled back", done.stderr)
        self.assertEqual(self.read("policy"), "third")
        self.wait_policy("old")

    def test_tries_again(self):
        self.write("stuck.weir", "STUCK")
        self.weir("apply", "stuck.weir", "--confirm", "1")
        self.wait_policy("old")

    def test_folder_of_somebody_else(self):
        os.mkdir(self.path("run"))
        os.chmod(self.path("run"), 0o777)
        done = self.weir("apply", "new.weir", "--confirm", "1", status=SYSTEM)
        self.assertIn("cannot start the process that would roll back: Operation not permitted", done.stderr)
        self.assertEqual(self.read("policy"), "old")
        os.chmod(self.path("run"), 0o700)

    def test_folder_is_private(self):
        self.weir("apply", "new.weir", "--confirm", "5")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("run")).st_mode), 0o700)
        self.weir("confirm")


if __name__ == "__main__":
    main()
