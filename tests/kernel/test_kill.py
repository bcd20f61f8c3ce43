#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`weir apply` killed at random moments: afterwards every hook runs A, or every hook runs B.

A and B each hold two policies on four hooks. On each hook they differ in which of two ports they drop, and both drop a
third; a child sends to all of them meanwhile. After each kill the ports tell which policy a hook runs; then the next
command (`weir list`) tidies up, and bpffs holds what it held after an undisturbed apply.

    WEIR_KILLS=200   how many kills
"""

import random

from weirtest import *

KILLS = int(os.environ.get("WEIR_KILLS", "40"))
CONTROL = 9


def text(cgroup, which):
    """Ports: first digit pair is the hook, the last says whose rule: 1 only A drops, 2 only B, 3 both."""
    rules = "    drop if udp.dst_port in { %s }\n"

    def ports(hook):
        return "%d, %d" % (hook + which, hook + 3)

    return ("policy front {\n    on xdp weir0\n    on netfilter input\n    default accept\n" + rules % ports(7210) +
            (rules % "1" if which == 2 else "") + "}\n"
            "policy back {\n    on tc weir0 egress\n    on cgroup \"%s\" egress\n    default accept\n" % cgroup +
            rules % ports(7220) + "}\n")


class Kill(TestCase):
    def which(self):
        """1 or 2 for each of the four places, by what they drop. The two hooks of a policy share ports: the
        first to drop hides the other, so interface-only paths are told apart by the counters of the second."""
        found = []
        for inbound, base in ((True, 7210), (False, 7220)):
            came = probe([base + 1, base + 2, base + 3], inbound, control=CONTROL)
            self.assertNotIn(base + 3, came)
            self.assertEqual(len(came), 1, "half a policy: %s came" % came)
            found.append(2 if base + 1 in came else 1)
        return found

    def test_killed_at_random(self):
        random.seed(os.environ.get("WEIR_SEED", "1"))
        cgroup = Cgroup()
        files = {which: policy_file(text(cgroup.name, which), "%d.weir" % which) for which in (1, 2)}
        with cgroup:
            weir("apply", files[1])
            begin = time.monotonic()
            weir("apply", files[2])
            length = time.monotonic() - begin
            tidy = len(bpffs_leftovers())
            survived = 0
            for turn in range(KILLS):
                process = subprocess.Popen([WEIR, "apply", files[1 + turn % 2]], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                time.sleep(random.uniform(0, length * 1.1))
                process.kill()
                survived += process.wait() == 0
                before = self.which()
                self.assertEqual(before[0], before[1], "turn %d: policies of one file differ" % turn)
                weir("set", "list", "front", "none", check=False)  # any command that writes tidies up
                apply_state = self.which()
                self.assertEqual(apply_state, before, "turn %d: tidying changed what is in force" % turn)
                weir("apply", files[before[0]])
                self.assertEqual(len(bpffs_leftovers()), tidy, "turn %d: leftovers" % turn)
            print("# %d of %d applies were killed" % (KILLS - survived, KILLS))


if __name__ == "__main__":
    main()
