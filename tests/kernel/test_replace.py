#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Replacement: atomic under traffic, counters carried over, several policies on a hook, nothing left behind."""

import random
import threading

from weirtest import *


def drops(name, ports, on="tc weir0 ingress", extra=""):
    """A policy that drops datagrams to `ports`, a rule each."""
    rules = "".join("    drop if udp.dst_port == %d\n" % port for port in ports)
    return "policy %s {\n    on %s\n    default accept\n%s%s}\n" % (name, on, rules, extra)


class Sender:
    """A child that sends datagrams to ports in turn until it is told to stop; sent() then is how many a port."""

    def __init__(self, ports, inbound=True):
        source, target, _, address = ends(inbound, IPV4)
        self.ports = ports
        self.servers = {}
        for port in ports:
            with target:
                self.servers[port] = socket.socket(IPV4, socket.SOCK_DGRAM)
            self.servers[port].bind((address, port))
        with source:
            client = socket.socket(IPV4, socket.SOCK_DGRAM)
        here, there = os.pipe()
        stop, stopped = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(stopped)
            os.set_blocking(stop, False)
            rounds = self.send(client, address, stop)
            os.write(there, b"%d" % rounds)
            os._exit(0)
        os.close(there)
        os.close(stop)
        client.close()
        self.here, self.stopped = here, stopped

    def send(self, client, address, stop):
        rounds = 0
        while True:
            for port in self.ports:
                with contextlib.suppress(OSError):
                    client.sendto(b"t", (address, port))
            rounds += 1
            if rounds % 16 == 0:
                time.sleep(0.0005)  # leaves the machine to others
                try:
                    if os.read(stop, 1) == b"":
                        return rounds
                except BlockingIOError:
                    pass

    def finish(self):
        """Stops; returns (rounds sent, datagrams that came by port)."""
        os.close(self.stopped)
        rounds = int(os.read(self.here, 32))
        os.waitpid(self.pid, 0)
        os.close(self.here)
        time.sleep(0.05)
        came = {port: drain(server) for port, server in self.servers.items()}
        for server in self.servers.values():
            server.close()
        return rounds, came


class Replace(TestCase):
    HOOKS = [(on, (on, inbound)) for on, inbound in
             (("xdp weir0 native", True), ("xdp weir0 generic", True), ("tc weir0 ingress", True),
              ("tc weir0 egress", False), ("netfilter input", True), ("netfilter output", False))]

    @each(HOOKS)
    def test_no_packet_slips_through(self, on, inbound):
        """Two policies differ in what they drop besides 7103: none to 7103 may come, and its rule counts them all."""
        a = drops("t", [7103, 7101], on)
        b = "# the other\n" + drops("t", [7102, 7103], on)
        apply(a)
        sender = Sender([7101, 7102, 7103], inbound)
        for turn in range(12):
            apply(b if turn % 2 == 0 else a)
        rounds, came = sender.finish()
        self.assertEqual(came[7103], 0)
        self.assertGreater(came[7101] + came[7102], 0)
        self.assertEqual(Counts("t").packets(1), rounds)

    def test_counters_of_unchanged_rules_carry_over(self):
        apply(drops("t", [7101, 7102]))
        udp(7101, count=5)
        udp(7102, count=7)
        apply("# moved down\n" + drops("t", [7100, 7102, 7103]))
        self.assertEqual([Counts("t").packets(rule) for rule in (1, 2, 3)], [0, 7, 0])
        udp(7102, count=2)
        self.assertEqual(Counts("t").packets(2), 9)
        weir("show", "t", "--reset")
        self.assertEqual(Counts("t").packets(2), 0)

    def test_many_counters_carry_over(self):
        """More than one chunk of them (2,048), from some place to another."""
        ports = [7100 + i for i in range(4200)]
        apply(drops("t", ports))
        for i in (0, 2040, 2046, 4199):
            udp(ports[i], wait=0.05)
        before = Counts("t")
        self.assertEqual([before.packets(i + 1) for i in (0, 2040, 2046, 4199)], [1, 1, 1, 1])
        apply(drops("t", ports[100:]))
        udp(ports[2046], wait=0.05)
        after = Counts("t")
        self.assertEqual([after.packets(i - 99) for i in (2040, 2046, 4199)], [1, 2, 1])
        self.assertEqual(sum(after.packets(i + 1) for i in range(4100)), 4)

    def test_source_is_shown_as_written(self):
        text = drops("t", [7101]).replace("    drop", "    # why: a reason\n    drop")
        apply(text)
        self.assertEqual(weir("show", "t", "--source").stdout.strip(), text.strip())
        self.assertIn("# why: a reason", weir("show", "t").stdout)


class Several(TestCase):
    @each([(on, (on,)) for on in ("xdp weir0", "tc weir0 ingress", "netfilter input", 'cgroup "%s" ingress')])
    def test_policies_on_one_hook(self, on):
        """Each may drop; none can let pass what another drops; one replaced or deleted leaves the others."""
        cgroup = Cgroup()
        on = on % cgroup.name if "%" in on else on
        with cgroup:
            apply(drops("one", [7101], on), name="one.weir")
            apply(drops("two", [7102], on), name="two.weir")
            apply(drops("three", [7103], on, "    accept if udp.dst_port == 7101\n"), name="three.weir")
            ports = [7101, 7102, 7103, 7104]
            self.assertEqual(probe(ports), {7104})
            apply(drops("two", [7104], on), name="two.weir")
            self.assertEqual(probe(ports), {7102})
            weir("delete", "one")
            self.assertEqual(probe(ports), {7101, 7102})
            weir("delete", "three")
            self.assertEqual(probe(ports), {7101, 7102, 7103})
            weir("delete", "two")
            self.assertEqual(probe(ports), set(ports))

    def test_policy_on_four_hooks(self):
        cgroup = Cgroup()
        ons = "\n    on ".join(("xdp weir0", "tc weir0 egress", "netfilter input", 'cgroup "%s" egress' % cgroup.name))
        apply(drops("t", [7101], ons))
        for inbound in (True, False):
            self.assertEqual(probe([7101, 7102], inbound), {7102})
        self.assertEqual(Counts("t").packets(1), 2)
        listed = json.loads(weir("list", "--json").stdout)
        self.assertIn("xdp", json.dumps(listed))
        apply(drops("t", [7102], "netfilter input"))  # hooks go away
        self.assertEqual(probe([7101, 7102], False), {7101, 7102})
        self.assertEqual(probe([7101, 7102], True), {7101})

    def test_file_with_two_policies(self):
        both = drops("one", [7101], "xdp weir0") + drops("two", [7102], "tc weir0 ingress")
        apply(both)
        self.assertEqual(probe([7101, 7102]), set())
        done = apply(drops("one", [7101], "xdp weir0"))
        self.assertIn("two", done.stdout + done.stderr)  # stays, with a warning
        self.assertEqual(probe([7101, 7102]), set())
        apply(drops("one", [7101], "xdp weir0"), "--prune")
        self.assertEqual(probe([7101, 7102]), {7102})

    @each([(on, (on,)) for on in ("xdp weir0", "tc weir0 ingress", "netfilter input", 'cgroup "%s" ingress')])
    def test_nothing_is_left(self, on):
        on = on % Cgroup().name if "%" in on else on
        before = bpffs_leftovers()
        weir("flush", "--all")
        apply(drops("one", [7101], on), name="one.weir")
        apply(drops("two", [7101], on), name="two.weir")
        apply(drops("two", [7102], on), name="two.weir")
        weir("delete", "one")
        weir("delete", "two")
        after = [path for path in bpffs_leftovers() if "epoch" not in path]
        self.assertEqual(after, [path for path in before if "epoch" not in path])
        self.assertEqual(json.loads(run("bpftool", "net", "show", "-j").stdout or "[{}]")[0].get("xdp", []), [])
        self.assertEqual(probe([7101, 7102]), {7101, 7102})


class Order(TestCase):
    def test_concurrent_commands_wait(self):
        """Commands that come at once each do their work; none fails for another's sake."""
        files = [policy_file(drops("p%d" % n, [7110 + n]), "p%d.weir" % n) for n in range(4)]
        results = []
        threads = [threading.Thread(target=lambda path=path: results.append(weir("apply", path, check=False).returncode))
                   for path in files * 2]
        random.shuffle(threads)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [0] * 8)
        self.assertEqual(probe(range(7110, 7115)), {7114})


if __name__ == "__main__":
    main()
