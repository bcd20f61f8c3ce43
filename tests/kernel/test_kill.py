#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`weir apply` killed at random moments: afterwards every hook runs A, or every hook runs B.

A and B each hold two policies on four hooks. On each hook A and B differ in which of two ports they drop, and both
drop a third. After each kill the ports tell what each hook runs; then the next command that writes tidies up without
changing that, and bpffs holds as many pins as after an undisturbed apply.

    WEIR_KILLS=200   how many kills
"""

import random

from weirtest import *

KILLS = int(os.environ.get("WEIR_KILLS", "40"))


PLACES = [(inbound, base) for inbound in (True, False) for base in (7210, 7220)]


def text(cgroup, which, input_hook):
    """Each policy has a hook in either direction, so that port and direction name one hook."""
    return "".join("policy %s {\n    on %s\n    on %s\n    default accept\n    drop if udp.dst_port in { %d, %d }\n}\n"
                   % (name, inward, outward, base + which, base + 3) for name, inward, outward, base in
                   (("front", "xdp weir0", "tc weir0 egress", 7210),
                    ("back", input_hook, 'cgroup "%s" egress' % cgroup, 7220)))


class Kill(TestCase):
    def which(self):
        """1 or 2: the file that all four hooks run."""
        found = set()
        for inbound, base in PLACES:
            came = probe([base + 1, base + 2, base + 3], inbound)
            self.assertIn(came, ({base + 1}, {base + 2}), "neither A nor B")
            found.add(2 if base + 1 in came else 1)
        self.assertEqual(len(found), 1, "hooks differ")
        return found.pop()

    def input_hook(self, cgroup):
        """netfilter, or what there is before Linux 6.4."""
        try:
            apply(text(cgroup.name, 1, "netfilter input"))
            return "netfilter input"
        except unittest.SkipTest:
            return "tc weir0 ingress"

    def test_killed_at_random(self):
        random.seed(os.environ.get("WEIR_SEED", "1"))
        cgroup = Cgroup()
        hook = self.input_hook(cgroup)
        files = {which: policy_file(text(cgroup.name, which, hook), "%d.weir" % which) for which in (1, 2)}
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
                weir("show", "front", "--reset")  # any command that writes tidies up
                self.assertEqual(self.which(), before, "turn %d: tidying changed what is in force" % turn)
                self.assertEqual(len(bpffs_leftovers()), tidy, "turn %d: leftovers" % turn)
            print("# %d of %d applies were killed" % (KILLS - survived, KILLS))


if __name__ == "__main__":
    main()
