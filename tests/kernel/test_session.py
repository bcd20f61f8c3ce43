#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A policy that would cut the caller's own remote session is refused. This process plays the ssh daemon: it holds a
connection from the peer, and weir is its descendant."""

from weirtest import *

LOCKED_OUT = "policy t {\n on %s\n default drop\n accept if neighbour or loopback\n}\n"
LET_IN = "policy t {\n on %s\n default drop\n accept if neighbour or loopback\n accept if tcp.dst_port == 7022\n}\n"
HOOKS = [(on, (on,)) for on in ("tc weir0 ingress", "xdp weir0", "netfilter input")]


class Session(TestCase):
    def setUp(self):
        server = socket.socket(IPV6, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("::", 7022))
        server.listen()
        self.addCleanup(server.close)
        self.server = server

    def log_in(self, family):
        with world.peer:
            client = socket.create_connection((ours(family), 7022), timeout=1)
        session, _ = self.server.accept()
        for one in (client, session):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.addCleanup(one.close)

    @each(HOOKS)
    def test_refused(self, on):
        for family in FAMILIES:
            self.log_in(family)
            done = weir("apply", policy_file(LOCKED_OUT % on), check=False)
            self.assertIn(done.returncode, (1, 2))
            self.assertIn("--force", done.stderr)
            self.assertEqual(weir("show", "t", check=False).returncode, 1)

    @each(HOOKS)
    def test_admitted(self, on):
        self.log_in(IPV4)
        apply(LET_IN % on)

    def test_force(self):
        self.log_in(IPV4)
        apply(LOCKED_OUT % HOOKS[0][0], "--force")

    def test_confirm(self):
        self.log_in(IPV4)
        apply(LOCKED_OUT % HOOKS[0][0], "--confirm", "1")
        time.sleep(2 * SLOW)
        self.assertEqual(weir("show", "t", check=False).returncode, 1)

    def test_local_sessions_do_not_count(self):
        client = socket.create_connection(("::1", 7022), timeout=1)
        session, _ = self.server.accept()
        with client, session:
            apply("policy t {\n on tc weir0 ingress\n default drop\n accept if neighbour\n}\n")


if __name__ == "__main__":
    main()
