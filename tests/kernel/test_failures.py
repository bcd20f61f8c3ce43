#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What goes wrong is a sentence, and leaves everything as it was."""

import unittest.mock

from weirtest import *

GOOD = "policy t {\n on tc weir0 ingress\n default accept\n drop if udp.dst_port == 7001\n}\n"
class Failures(TestCase):
    def refused(self, text, *words, status=2, **options):
        done = weir("apply", policy_file(text, "refused.weir"), check=False, **options)
        self.assertEqual(done.returncode, status, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        return done

    def test_unknown_interface(self):
        apply(GOOD)
        self.refused("policy u {\n on tc nosuch0 ingress\n default accept\n}", "nosuch0")
        self.assertEqual(probe([7001]), set())

    def test_optional_interface(self):
        apply("policy u {\n on tc nosuch0 ingress optional\n on tc weir0 ingress\n default accept\n"
              " drop if udp.dst_port == 7001\n}")
        self.assertEqual(probe([7001]), set())

    def test_missing_cgroup(self):
        self.refused('policy u {\n on cgroup "/weir-no-such-group" egress\n default accept\n}', "/weir-no-such-group")

    def test_half_way(self):
        """The second hook of the second policy fails: the first policy stays what it was, on every hook."""
        apply(GOOD)
        udp(7001, count=3)
        pinned = bpffs_leftovers()
        self.refused(GOOD.replace("7001", "7002") +
                     'policy u {\n on xdp weir0\n on cgroup "/weir-no-such-group" egress\n default drop\n}', "no-such-group")
        self.assertEqual(probe([7001, 7002]), {7002})
        self.assertEqual(Counts("t").packets(1), 4)
        self.assertEqual(bpffs_leftovers(), pinned)

    def test_xdp_taken_by_another(self):
        pin = foreign_program("xdp", 2)
        run("bpftool", "net", "attach", "xdp", "pinned", pin, "dev", "weir0")
        try:
            shown = json.loads(run("ip", "-j", "link", "show", "weir0").stdout)[0]["xdp"]["prog"]
            done = self.refused("policy u {\n on xdp weir0\n default accept\n}", "weir0", str(shown["id"]))
            self.assertIn("stranger", done.stderr)
            still = json.loads(run("ip", "-j", "link", "show", "weir0").stdout)[0]["xdp"]["prog"]
            self.assertEqual(shown["id"], still["id"])
        finally:
            run("bpftool", "net", "detach", "xdp", "dev", "weir0")
            os.unlink(pin)

    @each([("tcx", ({},)), ("clsact", ({"WEIR_TEST_CLSACT": "1"},))])
    def test_foreign_tc_program_is_left_alone(self, env):
        pin = foreign_program("tc", -1)
        run("tc", "qdisc", "add", "dev", "weir0", "clsact")
        run("tc", "filter", "add", "dev", "weir0", "ingress", "prio", "9", "bpf", "da", "object-pinned", pin)
        try:
            before = run("tc", "filter", "show", "dev", "weir0", "ingress").stdout
            self.assertIn("stranger", before)
            with unittest.mock.patch.dict(os.environ, env):
                apply(GOOD)
                self.assertEqual(probe([7001, 7002]), {7002})
                weir("delete", "t")
            self.assertEqual(run("tc", "filter", "show", "dev", "weir0", "ingress").stdout, before)
        finally:
            run("tc", "qdisc", "del", "dev", "weir0", "clsact")
            os.unlink(pin)

    def test_no_privileges(self):
        path = policy_file(GOOD)
        os.chmod(world.folder, 0o755)
        done = weir("apply", path, check=False, user="nobody", group="nogroup", extra_groups=[])
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, "root|CAP_|privileg")

    def test_wrong_text_loads_nothing(self):
        self.refused(GOOD + "policy u {\n on xdp weir0\n drop if user == 0\n}", "user", status=1)
        self.assertEqual(weir("list").stdout.count("weir0"), 0)

    def test_unknown_policy(self):
        for command in (("show", "nosuch"), ("delete", "nosuch"), ("set", "list", "nosuch", "s")):
            done = weir(*command, check=False)
            self.assertEqual(done.returncode, 1, command)
            self.assertIn("nosuch", done.stderr)

    def test_dry_run(self):
        weir("apply", "--dry-run", policy_file(GOOD))
        self.assertEqual(probe([7001]), {7001})
        self.assertEqual(weir("show", "t", check=False).returncode, 1)

    def test_interface_that_goes_away(self):
        run("ip", "link", "add", "weir9", "type", "veth", "peer", "name", "weir8")
        run("ip", "link", "set", "weir9", "up")
        apply(GOOD.replace("weir0", "weir9"), "--force")
        run("ip", "link", "del", "weir9")
        weir("list")
        weir("show", "t")
        weir("delete", "t")


class Confirm(TestCase):
    def test_rolls_back_when_nobody_confirms(self):
        apply(GOOD)
        apply(GOOD.replace("7001", "7002"), "--confirm", "%d" % SLOW)
        self.assertEqual(probe([7001, 7002]), {7001})
        time.sleep(2 * SLOW)
        self.assertEqual(probe([7001, 7002]), {7002})

    def test_rolls_back_to_nothing(self):
        apply(GOOD, "--confirm", "%d" % SLOW)
        self.assertEqual(probe([7001]), set())
        time.sleep(2 * SLOW)
        self.assertEqual(probe([7001]), {7001})

    def test_confirmed_stays(self):
        apply(GOOD, "--confirm", "%d" % (2 * SLOW))
        weir("confirm")
        time.sleep(2 * SLOW + 0.5)
        self.assertEqual(probe([7001]), set())
        self.assertNotEqual(weir("confirm", check=False).returncode, 0)

    def test_survives_the_terminal(self):
        """The shell that ran it is gone, with its whole session; the roll-back comes all the same."""
        path = policy_file(GOOD)
        pid, terminal = os.forkpty()
        if pid == 0:
            os.execl("/bin/sh", "sh", "-c", '"$0" apply "$1" --confirm 2; sleep 60', WEIR, path)
        for _ in range(100):
            if weir("show", "t", check=False).returncode == 0:
                break
            time.sleep(0.05 * SLOW)
        self.assertEqual(probe([7001]), set())
        os.kill(pid, signal.SIGHUP)
        os.close(terminal)
        os.waitpid(pid, 0)
        time.sleep(3 * SLOW)
        self.assertEqual(probe([7001]), {7001})


if __name__ == "__main__":
    main()
