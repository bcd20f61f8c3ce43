#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Actions that do not end the judging: log, mark, count; chains; and fields that only some hooks know."""

import pwd

from weirtest import *


def events(policy=None):
    done = weir("log", "--json", *([policy] if policy else []))
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


class Log(TestCase):
    @each([(on, (on, inbound)) for on, inbound in
           (("xdp weir0", True), ("tc weir0 ingress", True), ("tc weir0 egress", False), ("netfilter input", True),
            ("netfilter output", False))])
    def test_one_event_a_packet(self, on, inbound):
        apply('policy t {\n on %s\n default accept\n log "first" if udp.dst_port == 7001\n'
              ' log "second" drop if udp.dst_port == 7001\n }' % on)
        for family in FAMILIES:
            udp(7001, inbound, family, count=2, sport=4321)
        found = events("t")
        self.assertEqual(len(found), 8)
        self.assertEqual({(event["rule"], event["text"], event["verdict"]) for event in found},
                         {(1, "first", "log"), (2, "second", "drop")})
        self.assertEqual({event["destination_port"] for event in found}, {7001})
        self.assertEqual({event["source_port"] for event in found}, {4321})
        self.assertEqual({event["source"] for event in found},
                         set(map(peers, FAMILIES)) if inbound else set(map(ours, FAMILIES)))
        self.assertEqual({event["protocol"] for event in found}, {"udp"})

    def test_owner_and_mark_on_the_way_out(self):
        apply('policy t {\n on tc weir0 egress\n default accept\n log "own" if udp.dst_port == 7001\n }')
        udp(7001, False)
        found = events("t")
        self.assertEqual([event["user"] for event in found], [0])

    def test_limit(self):
        apply('policy t {\n on tc weir0 ingress\n default accept\n log "some" rate 1/min if udp.dst_port == 7001\n }')
        udp(7001, count=50)
        found = events("t")
        self.assertLess(len(found), 50)
        self.assertGreater(len(found), 0)
        self.assertEqual(Counts("t").packets(1), 50)

    def test_lost_events_are_counted(self):
        apply('policy t {\n on tc weir0 ingress\n default accept\n log "many" if udp.dst_port == 7001\n }')
        frame = ethernet(0x0800) + ipv4(17, udp_header(7001, b"x" * 100))
        send_frames([frame] * 20000)
        shown = Counts("t").raw
        self.assertEqual(Counts("t").packets(1), 20000)
        if shown["events_lost"] == 0:
            found = events("t")
            self.assertEqual(len(found), 20000)

    def test_readable_line(self):
        apply('policy t {\n on tc weir0 ingress\n default accept\n log "hello" drop if udp.dst_port == 7001\n }')
        udp(7001, sport=4321)
        line = weir("log", "t").stdout
        for word in ("drop", "t:1", "hello", "weir0", "udp", PEER4, OUR4, "4321", "7001"):
            self.assertIn(word, line)


class Mark(TestCase):
    def test_mark_is_seen_behind(self):
        """A policy marks at ingress; the netfilter input hook, later on the way, tests it."""
        apply("policy first {\n on tc weir0 ingress\n default accept\n mark 7 if udp.dst_port == 7001\n"
              " mark 0x30/0xf0 if udp.dst_port == 7002\n }\n"
              "policy second {\n on netfilter input\n default accept\n drop if mark == 7\n"
              " drop if mark & 0xf0 == 0x30\n }")
        self.assertEqual(probe([7001, 7002, 7003]), {7003})
        counts = Counts("second")
        self.assertEqual((counts.packets(1), counts.packets(2)), (1, 1))

    def test_refused_where_the_kernel_cannot(self):
        for on in ("xdp weir0", "netfilter input"):
            done = weir("check", policy_file("policy t {\n on %s\n default accept\n mark 1 if udp\n }" % on), check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("mark", done.stderr)


class Count(TestCase):
    def test_named_counters_and_chains(self):
        apply("""policy t {
    on xdp weir0
    default accept
    count every if udp
    jump web if udp.dst_port == 7001 or udp.dst_port == 7002
    drop if udp.dst_port == 7002
    drop if udp.dst_port == 7003
    chain web {
        count web if udp
        drop if udp.dst_port == 7001
        return if udp.dst_port == 7002
        accept
    }
}""")
        self.assertEqual(probe([7001, 7002, 7003, 7004]), {7004})
        named = {counter["name"]: counter["packets"] for counter in Counts("t").raw["counters"]}
        self.assertEqual(named, {"every": 5, "web": 2})  # with the control datagram


class Owner(TestCase):
    @each([(on, (on,)) for on in ("tc weir0 egress", 'cgroup "%s" egress', "netfilter output")])
    def test_user(self, on):
        """A process of another user is told apart on the way out."""
        nobody = pwd.getpwnam("nobody").pw_uid
        send = ("import os,socket\nos.setuid(%d)\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
                "try: s.sendto(b'x',('%s',7001))\nexcept OSError: pass\n" % (nobody, PEER4))
        cgroup = Cgroup()
        with cgroup:
            apply("policy t {\n on %s\n default accept\n drop if user == nobody and udp.dst_port == 7001\n }" %
                  (on % cgroup.name if "%" in on else on))
            self.assertEqual(udp(7001, False), 1)
            run(sys.executable, "-c", send)
            self.assertEqual(Counts("t").packets(1), 1)

    def test_cgroup_and_its_descendants(self):
        cgroup = Cgroup()
        inner = cgroup.path + "/inner"
        os.mkdir(inner)
        try:
            apply('policy t {\n on tc weir0 egress\n default accept\n drop if cgroup == "%s" and udp.dst_port == 7001\n }'
                  % cgroup.name)
            self.assertEqual(udp(7001, False), 1)
            with cgroup:
                self.assertEqual(udp(7001, False), 0)
                write(inner + "/cgroup.procs", "0")
                self.assertEqual(udp(7001, False), 0)
            self.assertEqual(udp(7001, False), 1)
            self.assertEqual(Counts("t").packets(1), 2)
        finally:
            os.rmdir(inner)
            cgroup.remove()


if __name__ == "__main__":
    main()
