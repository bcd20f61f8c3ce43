#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Rates and throttles with real packets. No test depends on how fast the machine is: buckets that refill are compared with
the time that went by, and the others take an hour to refill."""

import select
import time

from weirtest import *

HOURLY = """
policy t {
    on %s
    default accept
    accept if udp.dst_port == 7001 and rate <= 1/h burst 3
    accept if udp.dst_port == 7002 and rate <= 1/h burst 2 per src
    accept if udp.dst_port == 7003 and rate <= 1/h burst 2 per flow
    drop   if udp.dst_port in 7001-7003
}
"""
SIDES = ("xdp weir0", "tc weir0 ingress", "netfilter input")


class Rates(TestCase):
    def test_at_every_hook(self):
        for side in SIDES:
            apply(HOURLY % side)
            for family in FAMILIES:
                self.assertEqual(udp(7002, family=family, count=5), 2, side)
                self.assertEqual(udp(7003, family=family, count=5, sport=4001), 2, side)
                self.assertEqual(udp(7003, family=family, count=5, sport=4002), 2, side)
            self.assertEqual(udp(7001, family=IPV6, count=2), 2, side)
            self.assertEqual(udp(7001, count=5), 1, side + ": the bucket is one for both families")
            counts = Counts("t")
            self.assertEqual([counts.packets(n) for n in (1, 2, 3, 4)], [3, 4, 8, 4 + 6 + 12], side)
            weir("delete", "t")

    def test_leaving(self):
        for side in ("tc weir0 egress", "netfilter output"):
            apply(HOURLY % side)
            arrived = 0
            for _ in range(5):
                one = udp(7001, inbound=False)
                arrived += one if isinstance(one, int) else 0  # netfilter: sendto() fails
            self.assertEqual(arrived, 3, side)
            weir("delete", "t")

    def test_buckets_outlive_an_apply(self):
        policy = HOURLY % "tc weir0 ingress"
        apply(policy)
        self.assertEqual(udp(7001, count=5), 3)
        self.assertEqual(udp(7002, count=5), 2)
        apply(policy.replace("default accept", "default accept\n    count seen if udp"))
        self.assertEqual(udp(7001, count=5), 0)
        self.assertEqual(udp(7002, count=5), 0)
        apply(policy.replace("burst 3", "burst 4"))
        self.assertEqual(udp(7001, count=5), 4, "another rate begins anew")

    def test_show(self):
        """How many buckets there are, and what memory they take: no less than is said beforehand."""
        policy = HOURLY % "tc weir0 ingress"
        apply(policy)
        udp(7002, count=3)
        udp(7003, count=3, sport=4001)
        udp(7003, count=3, sport=4002)
        state = {s["name"]: s for s in json.loads(weir("show", "t", "--json").stdout)["state"]}
        self.assertEqual([(state[name]["elements"], state[name]["max"]) for name in ("buckets", "flow_buckets")],
                         [(1, 65536), (2, 65536)])
        self.assertRegex(weir("show", "t").stdout, r"(?m)^buckets: 1 of 65536 in \d+ KiB$")
        said = weir("compile", policy_file(policy), "--emit", "ir").stdout
        said = int(re.search(r"# rates: room for 131072 buckets takes (\d+) KiB", said).group(1))
        taken = sum(s["memory"] for s in state.values()) / 1024
        self.assertTrue(said * 0.8 < taken < said * 1.3, "%d KiB said, %d taken" % (said, taken))

    def test_too_much(self):
        """What would not fit says how much it wants."""
        with open("/proc/meminfo") as file:
            available = int(re.search(r"MemAvailable: +(\d+)", file.read()).group(1)) >> 20  # GiB
        rules = "\n".join("    drop if rate <= %d/h per src max 16777216" % n for n in range(1, available // 1 + 3))
        done = weir("apply", policy_file("policy t {\n    on tc weir0 ingress\n    default accept\n%s\n}\n" % rules),
                    check=False)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"policy `t` wants \d+ MiB for its maps, \d+ of them for `buckets`, and \d+ are available")
        self.assertEqual(weir("list").stdout, "")

    def test_hooks_share_buckets(self):
        apply(HOURLY % "tc weir0 ingress\n    on netfilter input")
        self.assertEqual(udp(7001, count=5), 1, "each packet takes a token at both hooks")


class Throttle(TestCase):
    def flood(self, rate_bytes, burst, inbound):
        """As much as goes out in some time; what arrives is no more than the rate allows for the time that it took."""
        began = time.monotonic()
        arrived = udp(7001, inbound=inbound, count=3000, size=958)
        frames = (time.monotonic() - began) * rate_bytes + burst
        self.assertGreaterEqual(arrived, burst // 1000 - 1)
        self.assertLessEqual(arrived * 1000, frames)
        return arrived

    def test_udp(self):
        for side, inbound in (("ingress", True), ("egress", False)):
            apply("policy t {\n on tc weir0 %s\n default accept\n throttle 1MB/s burst 50k if udp.dst_port == 7001\n}\n"
                  % side)
            arrived = self.flood(1000000, 51200 + 1000, inbound)
            counts = Counts("t")
            self.assertEqual(counts.packets(1), 3000, "what is within is counted once, as is what is over")
            self.assertGreaterEqual(counts.default[0], arrived)
            weir("delete", "t")

    def test_tcp(self):
        """It comes through, and not faster than it may."""
        apply("policy t {\n on tc weir0 ingress\n default accept\n throttle 4mbit per flow accept if tcp.dst_port == 7001\n}\n")
        payload = b"x" * 500000
        began = time.monotonic()
        self.assertEqual(self.send(payload), len(payload))
        self.assertGreaterEqual(time.monotonic() - began, (len(payload) - 65536 - 20000) / 500000 * 0.95)

    def send(self, payload):
        with socket.socket(IPV4) as server, world.peer:
            client = socket.socket(IPV4)
        with server, client:
            server = socket.create_server((OUR4, 7001))
            client.connect((OUR4, 7001))
            child = os.fork()
            if not child:
                client.sendall(payload)
                client.shutdown(socket.SHUT_WR)
                os._exit(0)
            client.close()
            connection, _ = server.accept()
            got = 0
            connection.settimeout(60 * SLOW)
            while True:
                data = connection.recv(65536)
                if not data:
                    break
                got += len(data)
            os.waitpid(child, 0)
            connection.close()
            server.close()
            return got

    def test_congestion(self):
        """Senders that can hear of congestion do so while half of the burst is left, before packets are dropped."""
        cgroup = Cgroup()
        for side, inbound, place in (("tc weir0 ingress", True, NOWHERE), ("tc weir0 egress", False, NOWHERE),
                                     ('cgroup "%s" egress' % cgroup.name, False, cgroup),
                                     ('cgroup "%s" ingress' % cgroup.name, True, cgroup)):
            apply("policy t {\n on %s\n default accept\n throttle 1/h burst 10 if udp\n}\n" % side)
            for family, level, option, ask in ((IPV4, socket.IPPROTO_IP, socket.IP_TOS, 13),
                                               (IPV6, socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS)):
                self.assertEqual(self.marks(inbound, family, level, option, ask, place, 2), [2] * 5 + [3] * 5, side)
                weir("delete", "t")
                apply("policy t {\n on %s\n default accept\n throttle 1/h burst 4 if udp\n}\n" % side)
                self.assertEqual(self.marks(inbound, family, level, option, ask, place, 0), [0] * 4, "cannot hear of it")
                weir("delete", "t")
                apply("policy t {\n on %s\n default accept\n throttle 1/h burst 10 if udp\n}\n" % side)
            weir("delete", "t")

    def marks(self, inbound, family, level, option, ask, place, mark):
        """The ECN bits of what arrives of 12 packets."""
        sender, receiver, source, target = ends(inbound, family)
        with receiver, place if inbound else NOWHERE:
            server = socket.socket(family, socket.SOCK_DGRAM)
        with sender, NOWHERE if inbound else place:
            client = socket.socket(family, socket.SOCK_DGRAM)
        with server, client:
            server.bind((target, 7001))
            server.settimeout(SHORT)
            server.setsockopt(level, ask, 1)
            client.setsockopt(level, option, mark)
            for _ in range(12):
                client.sendto(b"x", (target, 7001))
            seen = []
            with contextlib.suppress(TimeoutError):
                while True:
                    _, ancillary, _, _ = server.recvmsg(10, 100)
                    seen.append(ancillary[0][2][0] & 3)
            return seen

    def test_local_congestion(self):
        """TCP on the same host slows down before anything is lost."""
        cgroup = Cgroup()
        apply('policy t {\n on cgroup "%s" egress\n default accept\n throttle 1/h burst 1000 if tcp.dst_port == 7001\n}\n'
              % cgroup.name)
        with world.peer:
            server = socket.create_server((PEER4, 7001))
        with cgroup:
            client = socket.socket(IPV4)
        with server, client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
            client.connect((PEER4, 7001))
            connection, _ = server.accept()
            with connection:
                self.assertEqual(self.threshold(client), 0x7fffffff)
                for _ in range(700):
                    client.send(b"x")
                    connection.recv(1)
                self.assertLess(self.threshold(client), 0x7fffffff)

    def threshold(self, client):
        """Of slow start, in segments; nothing is lost or sent again."""
        info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        self.assertEqual(struct.unpack_from("I", info, 100)[0], 0, "retransmissions")
        return struct.unpack_from("I", info, 76)[0]

    def test_says_what_it_does(self):
        done = apply("policy t {\n on tc weir0 egress\n default accept\n throttle 1mbit\n}\n")
        self.assertIn("weir0 has no fq qdisc", done.stderr)
        done = apply("policy t {\n on tc weir0 ingress\n default accept\n throttle 1mbit\n}\n")
        self.assertNotIn("qdisc", done.stderr)

    def test_fq(self):
        if run("tc", "qdisc", "replace", "dev", "weir0", "root", "fq", check=False).returncode:
            self.skipTest("this kernel has no fq qdisc")
        done = apply("policy t {\n on tc weir0 egress\n default accept\n throttle 1MB/s burst 10k if udp.dst_port == 7001\n}\n")
        self.assertNotIn("qdisc", done.stderr)
        began = time.monotonic()
        self.assertEqual(udp(7001, inbound=False, count=300, size=958, wait=2), 300)
        self.assertGreaterEqual(time.monotonic() - began, 0.28)


class Goodput(TestCase):
    """How much of `throttle 10mbit` real senders get, from the first byte on. What is over is dropped, and there is no delay
    on the way that TCP could measure: it lives on what its bucket gathers while it waits to send again."""
    SECONDS = 5
    LEAST, MOST = 9.0, 10.15  # Mbit/s: the last wait may be in the time that is left; a burst of 64 KiB at the beginning

    @contextlib.contextmanager
    def senders(self, count, inbound, place, work):
        ns = world.peer if inbound else world.us
        children = []
        for _ in range(count):
            child = os.fork()
            if not child:
                try:
                    with NOWHERE if inbound else place, ns:
                        work()
                finally:
                    os._exit(0)
            children.append(child)
        try:
            yield
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)

    def receive(self, connections, began):
        """What each has got until the time is over, in Mbit/s."""
        got = {connection.fileno(): 0 for connection in connections}
        waiting = select.poll()
        for connection in connections:
            connection.setblocking(False)
            waiting.register(connection, select.POLLIN)
        while time.monotonic() - began < self.SECONDS:
            for fd, _ in waiting.poll(50):
                with contextlib.suppress(BlockingIOError):
                    got[fd] += len([c for c in connections if c.fileno() == fd][0].recv(1 << 20))
        return [8 * got[c.fileno()] / (time.monotonic() - began) / 1e6 for c in connections]

    def tcp(self, inbound, control, flows=1, place=NOWHERE):
        address = OUR4 if inbound else PEER4
        with world.us if inbound else world.peer, place if inbound else NOWHERE:
            server = socket.create_server((address, 7001))

        def pour():
            client = socket.socket(IPV4)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control)
            client.connect((address, 7001))
            while True:
                client.sendall(bytes(65536))

        with server, contextlib.ExitStack() as stack:
            stack.enter_context(self.senders(flows, inbound, place, pour))
            began, connections = time.monotonic(), []
            while len(connections) < flows:
                connections.append(stack.enter_context(server.accept()[0]))
            return self.receive(connections, began)

    def udp(self, inbound, place=NOWHERE):
        """Six times as much is sent, by the clock: a process that had to wait for its CPU catches up."""
        address = OUR4 if inbound else PEER4
        with world.us if inbound else world.peer, place if inbound else NOWHERE:
            server = socket.socket(IPV4, socket.SOCK_DGRAM)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            server.bind((address, 7001))

        def pour():
            client = socket.socket(IPV4, socket.SOCK_DGRAM)
            began = time.monotonic()
            for number in itertools.count(1):
                with contextlib.suppress(OSError):
                    client.sendto(bytes(1400), (address, 7001))
                time.sleep(max(began + number * 1400 * 8 / 60e6 - time.monotonic(), 0) if number % 8 == 0 else 0)

        with server, self.senders(1, inbound, place, pour):
            server.recv(2000)
            return self.receive([server], time.monotonic())

    def check(self, rates, case):
        for rate in rates:
            self.assertTrue(self.LEAST <= rate <= self.MOST, "%s: %s Mbit/s" % (case, rates))

    def each_hook(self, work):
        """At all hooks at the same time: it is mostly waiting."""
        ours = [Cgroup(), Cgroup()]
        side_by_side(*(functools.partial(self.one_hook, work, *each) for each in enumerate((
            ("tc weir0 ingress", True, NOWHERE), ("tc weir0 egress", False, NOWHERE), ("xdp weir0", True, NOWHERE),
            ('cgroup "%s" egress' % ours[0].name, False, ours[0]), ('cgroup "%s" ingress' % ours[1].name, True, ours[1])))))

    def one_hook(self, work, number, hook):
        side, inbound, place = hook
        apply("policy t {\n on %s\n default accept\n throttle 10mbit per flow if dst_port == 7001\n}\n" % side)
        self.check(work(number, inbound, place), side)
        weir("delete", "t")

    def test_tcp(self):
        with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
            controls = file.read().split()
        self.each_hook(lambda number, inbound, place: self.tcp(inbound, controls[number % len(controls)].encode(), place=place))

    def test_flows(self):
        self.each_hook(lambda number, inbound, place: self.tcp(inbound, b"reno", flows=2, place=place))

    def test_udp(self):
        self.each_hook(lambda number, inbound, place: self.udp(inbound, place))


if __name__ == "__main__":
    main()
