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


def flows(*filter, policy="t"):
    """What `weir flows list --json` says, by (protocol, destination port)."""
    shown = json.loads(weir("flows", "list", policy, "--json", *filter).stdout)
    return {(flow["protocol"], flow["destination_port"]): flow for flow in shown["flows"]}


def totals(policy="t"):
    return json.loads(weir("show", policy, "--json").stdout)["flows"]


def counts(number):
    return Counts("t").packets(number)


@contextlib.contextmanager
def connection(family=IPV4, port=7001):
    """A connection of ours to the peer: our end, theirs."""
    with world.peer:
        server = socket.create_server((peers(family), port), family=family)
    with server, socket.create_connection((peers(family), port), 2 * SLOW) as client:
        child, _ = server.accept()
        with child:
            for end in (client, child):
                end.settimeout(2 * SLOW)
            yield client, child


def talk(client, child):
    child.sendall(b"ping")
    assert client.recv(64) == b"ping"
    client.sendall(b"pong")
    assert child.recv(64) == b"pong"


class Sockets(TestCase):
    """What is open when a policy first comes stays open."""

    def test_open_connections_are_known(self):
        with connection() as four, connection(IPV6) as six, world.peer:
            server = socket.socket(IPV4, socket.SOCK_DGRAM)
            with server:
                server.bind((PEER4, 7002))
                with world.us, socket.socket(IPV4, socket.SOCK_DGRAM) as client:
                    client.connect((PEER4, 7002))
                    client.settimeout(2 * SLOW)
                    apply(client_policy(*TC))
                    self.assertTrue(all(flow["seeded"] for flow in flows().values()))
                    server.sendto(b"hello", client.getsockname())
                    self.assertEqual(client.recv(64), b"hello")
            talk(*four)
            talk(*six)
            with self.assertRaises(TimeoutError):
                weir("flows", "flush", "t")
                four[1].sendall(b"forgotten")
                four[0].settimeout(SHORT)
                four[0].recv(64)


def segment(flags, seq, ack, sport, dport, inbound=True):
    """A bare TCP segment; inbound: from the peer."""
    header = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff, ack & 0xffffffff, 5 << 4, flags, 1024, 0, 0)
    return ethernet(0x0800, inbound) + ipv4(6, header, inbound)


class Blind(TestCase):
    """Who does not see the connection neither opens nor closes an entry."""

    RULES = "drop if invalid\n accept if new and tcp.dst_port == 7010"

    def state(self, port=7001):
        return flows().get(("tcp", port), {}).get("state")

    def test_reset_and_ack(self):
        apply(client_policy(*TC, rules=self.RULES))
        with connection() as (client, child):
            talk(client, child)
            local = client.getsockname()[1]
            for step in range(1, 60):
                seq = step * 0x4000000
                send_frames([segment(RST, seq, 0, 7001, local), segment(RST | ACK, seq, seq, 7001, local),
                             segment(FIN | ACK, seq, seq * 3, 7001, local), segment(SYN, seq, 0, 7001, local),
                             segment(SYN | ACK, seq, seq, 7001, local)])
            self.assertEqual(self.state(), "established")
            talk(client, child)
        before = counts(3)
        send_frames([segment(ACK, 5, 5, 4000, 7010), segment(SYN | ACK, 5, 5, 4001, 7010),
                     segment(RST, 5, 5, 4002, 7010), segment(FIN | ACK, 5, 5, 4003, 7010),
                     segment(0, 5, 5, 4004, 7010), segment(SYN | FIN, 5, 5, 4005, 7010)])
        self.assertEqual(counts(3) - before, 6)
        self.assertEqual(flows(":7010"), {})

    def test_handshake_needs_its_numbers(self):
        apply(client_policy(*TC, rules=self.RULES))
        send_frames([segment(SYN, 1000, 0, 4000, 7010)])
        self.assertEqual(self.state(7010), "opening")
        send_frames([segment(SYN | ACK, 5000, 1001, 7010, 4000, False)], False)
        send_frames([segment(ACK, 1001, 7777, 4000, 7010)])
        self.assertFalse(flows(":7010")["tcp", 7010]["assured"])
        send_frames([segment(ACK, 1001, 5001, 4000, 7010)])
        flow = flows(":7010")["tcp", 7010]
        self.assertTrue(flow["assured"])
        self.assertEqual(flow["state"], "established")


class Transitions(TestCase):
    """The states that real connections go through."""

    def test_close_and_reset(self):
        apply(client_policy(*TC))
        with connection() as (client, child):
            self.assertEqual(flows()["tcp", 7001]["state"], "established")
            talk(client, child)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(child.recv(64), b"")
            self.assertEqual(flows()["tcp", 7001]["state"], "closing")
            child.sendall(b"still")
            self.assertEqual(client.recv(64), b"still")
        with connection(port=7005) as (client, child):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(SHORT)
        self.assertEqual(flows()["tcp", 7005]["state"], "closed")

    def test_refused(self):
        apply(client_policy(*TC))
        self.assertEqual(tcp(7006, False, listen=False)[0], "ECONNREFUSED")
        self.assertEqual(flows()["tcp", 7006]["state"], "closed")

    def test_udp_is_assured_when_it_goes_on(self):
        apply(client_policy(*TC))
        self.assertEqual(udp_pair(7002, IPV4), (True, True))
        flow = flows()["udp", 7002]
        self.assertEqual((flow["state"], flow["assured"]), ("established", False))
        self.assertLessEqual(flow["left"], 30)

    def test_timeouts_of_the_policy(self):
        apply(client_policy(*TC, more="flows timeout udp.new 300s"))
        self.assertEqual(udp_pair(7002, IPV4), (True, True))
        self.assertGreater(flows()["udp", 7002]["left"], 200)


class Related(TestCase):
    def test_errors_about_what_we_sent(self):
        apply(client_policy(*TC))
        for family in FAMILIES:
            self.assertEqual(udp_answer(7009, False, family), "ECONNREFUSED")
        quoted = ipv4(17, udp_header(9, b"x" * 8, 4444), False)
        before = Counts("t").default[0]
        send_frames([ethernet(0x0800) + ipv4(1, struct.pack("!BBHI", 3, 3, 0, 0) + quoted)])
        self.assertEqual(Counts("t").default[0] - before, 1)


class Tables(TestCase):
    def test_shared(self):
        text = client_policy(*TC, more="flows shared")
        one, two = text.replace("policy t", "policy a"), text.replace("policy t", "policy b")
        apply(one + "\n" + two)
        with connection() as (client, child):
            talk(client, child)
        self.assertEqual(set(flows(":7001", policy="a")), set(flows(":7001", policy="b")))
        done = weir("apply", policy_file(text.replace("policy t", "policy c").replace("shared", "shared\n flows max 10")),
                    check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("in use with room for 65536, not 10", done.stderr)

    def test_too_big(self):
        done = weir("apply", policy_file(client_policy(*TC, more="flows max 1000000000")), check=False)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"wants \d+ MiB for its maps, \d+ of them for `flows`, and \d+ are available")
        self.assertEqual([path for path in bpffs_leftovers() if "flow" in path], [])

    def test_delete_and_flush(self):
        apply(client_policy(*TC))
        self.assertEqual(udp_pair(7002, IPV4), (True, True))
        self.assertEqual(udp_pair(7003, IPV4), (True, True))
        self.assertEqual(weir("flows", "delete", "t", "udp", ":7002").stdout, "1 deleted\n")
        self.assertEqual(set(flows("udp")), {("udp", 7003)})
        weir("flows", "flush", "t")
        self.assertEqual(flows(), {})
        self.assertEqual(totals()["refused"], 0)

    def test_only_accepted_packets_begin_connections(self):
        apply(client_policy(*TC, rules="drop if udp.dst_port == 7001"))
        udp(7001)
        self.assertEqual(flows(), {})


if __name__ == "__main__":
    main()
