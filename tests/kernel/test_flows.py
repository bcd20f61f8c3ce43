#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Connections: what is asked for gets its answers, at every hook, and nothing else comes in."""

from weirtest import *

ANSWERS = "accept if established or related"
SYN, RST, ACK, FIN = 2, 4, 16, 1


# What judges the way in, and what only sees the way out.
HOOKS = (("xdp", ("on xdp weir0", "track on tc weir0 egress")),
         ("tc", ("on tc weir0 ingress", "track on tc weir0 egress")),
         ("netfilter", ("on netfilter input", "track on netfilter output")),
         ("netfilter-prerouting", ("on netfilter prerouting", "track on netfilter postrouting")),
         ("cgroup", ('on cgroup "CGROUP" ingress', 'track on cgroup "CGROUP" egress')))
TC = HOOKS[1][1]


def client_policy(on, track, more="", rules=""):
    return ("policy t {\n %s\n %s\n %s\n default drop\n %s\n accept if neighbour\n %s\n}"
            % (on, track, more, ANSWERS, rules))


@contextlib.contextmanager
def place_of(policy):
    """Applies the policy; where its clients shall be: the cgroup that it speaks of."""
    if "CGROUP" not in policy:
        apply(policy)
        yield NOWHERE
        return
    cgroup = Cgroup()
    try:
        apply(policy.replace("CGROUP", cgroup.name))
        yield cgroup
    finally:
        cgroup.remove()


class Both(TestCase):
    """A client behind `default drop`: its connections work, nobody else's do."""

    @each(HOOKS)
    def test_only_answers_come_in(self, on, track):
        with place_of(client_policy(on, track)) as place:
            for family in FAMILIES:
                self.assertEqual(tcp(7001, False, family, payload=b"x" * 3000000, place=place)[0], "connected")
                self.assertEqual(udp_pair(7002, family, place), (True, True))
                if place is not NOWHERE:
                    continue  # the kernel answers pings, and `tcp` has its servers outside
                self.assertTrue(ping(False, family))
                self.assertFalse(ping(True, family))
                self.assertEqual(tcp(7003, True, family)[0], "timeout")
                self.assertEqual(udp(7004, True, family), 0)

    def test_nothing_else_reaches_a_cgroup(self):
        with place_of(client_policy(*HOOKS[4][1])) as place:
            with place:
                server = socket.socket(IPV4, socket.SOCK_DGRAM)
            with server:
                server.bind((OUR4, 7001))
                with world.peer:
                    client = socket.socket(IPV4, socket.SOCK_DGRAM)
                with client:
                    client.sendto(b"hello", (OUR4, 7001))
                server.settimeout(SHORT)
                with self.assertRaises(TimeoutError):
                    server.recv(64)


def udp_pair(port, family, place=NOWHERE, wait=1):
    """We ask the peer; whether it got the question and we the answer."""
    with world.peer:
        server = socket.socket(family, socket.SOCK_DGRAM)
    with place:
        client = socket.socket(family, socket.SOCK_DGRAM)
    with server, client:
        server.bind((peers(family), port))
        server.settimeout(wait * SLOW)
        client.bind((ours(family), 0))
        client.settimeout(wait * SLOW)
        client.sendto(b"question", (peers(family), port))
        try:
            _, sender = server.recvfrom(64)
        except TimeoutError:
            return False, False
        server.sendto(b"answer", sender)
        try:
            return True, client.recv(64) == b"answer"
        except TimeoutError:
            return True, False


class Replacement(TestCase):
    def test_flows_outlive_apply(self):
        apply(client_policy(*TC))
        with world.peer:
            server = socket.create_server((PEER4, 7001))
        with server, socket.create_connection((PEER4, 7001), 2) as client:
            child, _ = server.accept()
            with child:
                for more in ("", "flows max 1000", "flows timeout tcp.established 1h"):
                    apply(client_policy(*TC, more, "accept if tcp.dst_port == 1"))
                    child.sendall(b"still there")
                    client.settimeout(2)
                    self.assertEqual(client.recv(64), b"still there")
        weir("delete", "t")
        self.assertEqual([path for path in bpffs_leftovers() if "flow" in path], [])


if __name__ == "__main__":
    main()
