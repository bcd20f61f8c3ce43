#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Who a packet belongs to, and what comes of it when users, groups and programs change under a policy."""

from test_connect import BAD, GOOD, DGRAM, InCgroup, as_user, attempt, by_sendto
from weirtest import *

ALICE, BOB, CAROL = 20001, 20002, 20003


def sends(uid, port=BAD):
    return as_user(uid, lambda: attempt(IPV4, DGRAM, "127.0.0.1", port, by_sendto))


class Users(InCgroup):
    """A user database of the test's own, seen in its mount namespace only."""

    USERS = [("root", 0, 0), ("alice", ALICE, 20000), ("bob", BOB, BOB), ("carol", CAROL, CAROL)]
    GROUPS = [("root", 0, ""), ("staff", 20000, "bob,gone"), ("none", 20009, "")]

    def setUp(self):
        super().setUp()
        self.mounted = []
        for name in ("passwd", "group"):
            path = os.path.join(world.folder, name)
            write(path, "")
            mount(path, "/etc/" + name, None, 4096)  # MS_BIND
            self.mounted.append("/etc/" + name)
        self.database(self.USERS, self.GROUPS)

    def tearDown(self):
        super().tearDown()
        for path in self.mounted:
            check_call(libc.umount2(path.encode(), 2))

    def database(self, users, groups):
        write("/etc/passwd", "".join("%s:x:%d:%d::/:/bin/sh\n" % user for user in users))
        write("/etc/group", "".join("%s:x:%d:%s\n" % group for group in groups))


class Members(Users):
    RULES = ('policy t {\n on connect "%s"\n on cgroup "%s" egress\n default accept\n'
             ' accept if user in { root, members("staff") }\n reject if udp.dst_port == 7001\n}')

    def who_sends(self):
        return [uid for uid in (0, ALICE, BOB, CAROL) if sends(uid) == "done"]

    def test_first_and_other_groups(self):
        self.apply(self.RULES)
        self.assertEqual(self.who_sends(), [0, ALICE, BOB])

    def test_not_in(self):
        self.apply(self.RULES.replace('accept if user in { root, members("staff") }',
                                      'accept if user not in members("staff")'))
        self.assertEqual(self.who_sends(), [0, CAROL])

    def test_refresh(self):
        self.apply(self.RULES)
        self.database([("root", 0, 0), ("alice", ALICE, ALICE), ("bob", BOB, BOB), ("carol", CAROL, CAROL)],
                      [("root", 0, ""), ("staff", 20000, "carol")])
        self.assertEqual(self.who_sends(), [0, ALICE, BOB])  # as it was
        weir("refresh")
        self.assertEqual(self.who_sends(), [0, CAROL])

    def test_a_group_that_is_deleted(self):
        self.apply(self.RULES)
        self.database(self.USERS, [("root", 0, "")])
        done = weir("refresh", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("unknown group `staff`", done.stderr)
        self.assertEqual(self.who_sends(), [0, ALICE, BOB])

    def test_nobody(self):
        self.assertIn("nobody is in group `none`", self.apply(self.RULES.replace("staff", "none")).stderr)
        self.assertEqual(self.who_sends(), [0])

    def test_many(self):
        """More than one buffer's worth."""
        users = [("u%05d_with_a_name_that_is_long" % i, 30000 + i, 40000) for i in range(3000)]
        self.database(self.USERS + users, [("root", 0, ""), ("staff", 20000, ",".join(name for name, _, _ in users))])
        self.apply(self.RULES)
        self.assertEqual([sends(30000), sends(32999), sends(33000)], ["done", "done", "EPERM"])


if __name__ == "__main__":
    main()
