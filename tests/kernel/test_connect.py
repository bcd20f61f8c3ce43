#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`on connect` and `on bind`: system calls are refused at once, whatever way they are made, and packets behind them."""

import unittest.mock

import uring
from weirtest import *

STREAM, DGRAM, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW
BAD, GOOD = 7001, 7002
MAPPED = "::ffff:127.0.0.1"
LOCAL = {"ipv4": (IPV4, "127.0.0.1"), "ipv6": (IPV6, "::1"), "mapped": (IPV6, MAPPED), "none": (IPV4, "0.0.0.0"),
         "none6": (IPV6, "::")}
EACH = each([(label, case) for label, case in LOCAL.items()])
NOBODY = 65534

REFUSE = """
policy t {
    on connect "%s"
    default accept
    reject if dst in { 127.0.0.1, ::1 } and dst_port == 7001
}
"""


def outcome(work, *arguments):
    """'done', 'timeout', or the errno's name."""
    try:
        work(*arguments)
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def sent_by_accepted(size):
    """How many octets come that an accepted socket sends."""
    with socket.create_server(("127.0.0.1", GOOD)) as server, socket.create_connection(("127.0.0.1", GOOD)) as client:
        child, _ = server.accept()
        with child:
            child.sendall(b"x" * size)
            client.settimeout(2 * SLOW)
            return len(client.recv(2 * size))


def attempt(family, kind, address, port, way):
    """How one way to reach a port ends, from a socket made here."""
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        return way(client, family, address, port)


def by_connect(client, family, address, port):
    return outcome(client.connect, (address, port))


def by_sendto(client, family, address, port):
    return outcome(client.sendto, b"x", (address, port))


def by_sendmsg(client, family, address, port):
    return outcome(client.sendmsg, [b"x"], [], 0, (address, port))


def by_send(client, family, address, port):
    """An address of sendto() goes before that of connect()."""
    client.connect((address, 9))
    return by_sendto(client, family, address, port)


def by_fast_open(client, family, address, port):
    return outcome(client.sendto, b"x", socket.MSG_FASTOPEN, (address, port))


def by_uring_connect(client, family, address, port):
    return uring.connect(client, family, address, port)


def by_uring_sendmsg(client, family, address, port):
    return uring.sendto(client, family, address, port)


WAYS = [
    (STREAM, by_connect), (STREAM, by_fast_open), (STREAM, by_uring_connect),
    (DGRAM, by_connect), (DGRAM, by_sendto), (DGRAM, by_sendmsg), (DGRAM, by_send), (DGRAM, by_uring_connect),
    (DGRAM, by_uring_sendmsg),
]
EACH_WAY = each([("%s %s" % ("tcp" if kind == STREAM else "udp", way.__name__[3:].replace("_", " ")), (kind, way))
                 for kind, way in WAYS])


def as_user(uid, work):
    """What `work` returns in a child of that user; a string."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(writer, str(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(child, 0)
    return text


class InCgroup(TestCase):
    """The test's process is in a cgroup of its own."""

    def setUp(self):
        self.cgroup = Cgroup()
        self.cgroup.__enter__()

    def tearDown(self):
        super().tearDown()
        self.cgroup.__exit__()
        self.cgroup.remove()

    def apply(self, text, *options):
        return apply(text.replace("%s", self.cgroup.name), *options)


class Connect(InCgroup):
    @EACH_WAY
    def test_no_way_around(self, kind, way):
        self.apply(REFUSE)
        for family, address in LOCAL.values():
            self.assertEqual(attempt(family, kind, address, BAD, way), "EPERM", address)
            self.assertIn(attempt(family, kind, address, GOOD, way), ("done", "ECONNREFUSED", "EINPROGRESS"), address)

    def test_unspecified_family(self):
        """sendto() takes AF_UNSPEC for AF_INET; connect() takes it for a disconnection."""
        self.apply(REFUSE)
        for family, length in ((IPV4, 16), (IPV6, 28)):
            with socket.socket(family, DGRAM) as client:
                name = uring.sockaddr(family, "127.0.0.1" if family == IPV4 else "::1", BAD)
                name = b"\0\0" + name[2:]
                result = libc.sendto(client.fileno(), b"x", 1, 0, name, length)
                self.assertEqual(result, -1)
                self.assertIn(errno.errorcode[ctypes.get_errno()], ("EPERM", "EDESTADDRREQ", "EAFNOSUPPORT"))
                self.assertEqual(libc.connect(client.fileno(), name, length), 0)

    def test_other_protocols(self):
        """MPTCP is TCP. A connect() of UDP-Lite is not judged by the kernel's hook, sendto() and packets are."""
        self.apply('policy t { on connect "%s"\n on cgroup "%s" egress\n default accept\n reject if dst_port == 7001 }')
        for protocol, by_call in ((262, "EPERM"), (136, "done")):
            try:
                client = socket.socket(IPV4, STREAM if protocol == 262 else DGRAM, protocol)
            except OSError:
                continue  # not in this kernel
            with client:
                self.assertEqual(by_connect(client, IPV4, "127.0.0.1", BAD), by_call)
                if protocol == 136:
                    self.assertEqual(outcome(client.send, b"x"), "EPERM")
                    self.assertEqual(by_sendto(client, IPV4, "127.0.0.1", BAD), "EPERM")

    def test_wrong_length(self):
        self.apply(REFUSE)
        for family, length in ((IPV4, 15), (IPV6, 23)):
            for kind in (STREAM, DGRAM):
                with socket.socket(family, kind) as client:
                    name = uring.sockaddr(family, LOCAL["ipv4" if family == IPV4 else "ipv6"][1], BAD)
                    self.assertEqual(libc.connect(client.fileno(), name, length), -1)
                    self.assertEqual(ctypes.get_errno(), errno.EINVAL)

    def test_ipv4_address_on_an_ipv6_socket(self):
        self.apply(REFUSE)
        with socket.socket(IPV6, DGRAM) as client:
            name = uring.sockaddr(IPV4, "127.0.0.1", BAD)
            self.assertEqual(libc.connect(client.fileno(), name, 16), -1)
            self.assertEqual(ctypes.get_errno(), errno.EPERM)

    def test_port_zero(self):
        self.apply('policy t { on connect "%s"\n default accept\n reject if udp.dst_port == 0 }')
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", 0, by_connect), "EPERM")
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", 1, by_connect), "done")

    def test_source_of_no_address(self):
        """No address means the socket's own, where it has one."""
        self.apply('policy t { on connect "%s"\n default accept\n reject if dst == 127.0.0.9 }')
        with socket.socket(IPV4, DGRAM) as client:
            client.bind(("127.0.0.9", 0))
            self.assertEqual(by_connect(client, IPV4, "0.0.0.0", GOOD), "EPERM")
            self.assertEqual(by_sendto(client, IPV4, "0.0.0.0", GOOD), "EPERM")

    def test_drop_is_the_same(self):
        self.apply(REFUSE.replace("reject", "drop"))
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", BAD, by_connect), "EPERM")

    def test_default_drop(self):
        self.apply('policy t { on connect "%s"\n default reject\n accept if tcp.dst_port == 7002 }')
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", GOOD, by_connect), "ECONNREFUSED")
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", GOOD, by_sendto), "EPERM")
        counts = Counts("t")
        self.assertEqual((counts.rules[1], counts.default), ((1, 0), (1, 0)))

    def test_others_are_not_judged(self):
        self.apply(REFUSE)
        self.cgroup.__exit__()
        try:
            self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", BAD, by_connect), "ECONNREFUSED")
        finally:
            self.cgroup.__enter__()

    def test_owner(self):
        self.apply('policy t { on connect "%s"\n default accept\n reject if user == 65534 and cgroup == "%s" }')
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", GOOD, by_connect), "ECONNREFUSED")
        self.assertEqual(as_user(NOBODY, lambda: attempt(IPV4, STREAM, "127.0.0.1", GOOD, by_connect)), "EPERM")
        with socket.socket(IPV4, STREAM) as client:  # the socket is root's, as its packets are
            self.assertEqual(as_user(NOBODY, lambda: by_connect(client, IPV4, "127.0.0.1", GOOD)), "ECONNREFUSED")

    def test_log_says_who(self):
        self.apply(REFUSE.replace("reject", 'log "no" reject'))
        as_user(NOBODY, lambda: attempt(IPV6, STREAM, MAPPED, BAD, by_connect))
        attempt(IPV6, DGRAM, "::1", BAD, by_sendto)
        events = [json.loads(line) for line in weir("log", "--json").stdout.splitlines()]
        self.assertEqual([(e["hook"], e["verdict"], e["protocol"], e["destination"], e["destination_port"], e["user"],
                           e["group"], e["command"]) for e in events],
                         [("connect", "reject", "tcp", "127.0.0.1", BAD, NOBODY, NOBODY, events[0]["command"]),
                          ("connect", "reject", "udp", "::1", BAD, 0, os.getegid(), events[0]["command"])])
        self.assertEqual(events[1]["pid"], os.getpid())
        self.assertIn(events[1]["command"], open("/proc/self/comm").read())

    def test_replacement(self):
        self.apply(REFUSE)
        attempt(IPV4, STREAM, "127.0.0.1", BAD, by_connect)
        self.apply(REFUSE.replace("default accept", "default accept\n reject if udp"))
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", GOOD, by_sendto), "EPERM")
        attempt(IPV6, STREAM, "::1", BAD, by_connect)
        self.assertEqual(Counts("t").packets(2), 2)
        weir("delete", "t")
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", BAD, by_connect), "ECONNREFUSED")
        self.assertEqual([name for name in bpffs_leftovers() if "weir/t" in name], [])

    def test_a_set_changes(self):
        self.apply('policy t { on connect "%s"\n set bad : prefix { 127.0.0.2 }\n default accept\n reject if dst in bad }')
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", GOOD, by_connect), "ECONNREFUSED")
        weir("set", "add", "t", "bad", "127.0.0.1")
        self.assertEqual(attempt(IPV6, STREAM, MAPPED, GOOD, by_connect), "EPERM")

    def test_large_policies_judge_by_tables(self):
        rules = "".join("    reject if dst == 198.51.%d.%d and dst_port == %d\n" % (i // 250, i % 250, 1000 + i)
                        for i in range(2000))
        self.apply('policy t {\n on connect "%s"\n classifier = table\n default accept\n' + rules + '}')
        self.assertEqual(attempt(IPV4, DGRAM, "198.51.3.249", 1999, by_connect), "EPERM")
        self.assertIn(attempt(IPV4, DGRAM, "198.51.3.249", 1998, by_connect), ("done", "ENETUNREACH"))


class Plain(InCgroup):
    """The same by the programs for kernels before 6.2."""

    def setUp(self):
        super().setUp()
        patch = unittest.mock.patch.dict(os.environ, {"WEIR_TEST_PLAIN": "1"})
        patch.start()
        self.addCleanup(patch.stop)

    test_owner = Connect.test_owner
    test_log_says_who = Connect.test_log_says_who

    def test_packets(self):
        for on in ('cgroup "%s" egress', "tc weir0 egress"):
            self.apply('policy t {\n on ' + on + '\n default accept\n log drop if user == 65534 and udp.dst_port == 7001\n}')
            attempt(IPV4, DGRAM, PEER4, BAD, by_sendto)
            as_user(NOBODY, lambda: attempt(IPV4, DGRAM, PEER4, BAD, by_sendto))
            self.assertEqual(Counts("t").packets(1), 1, on)
            self.assertEqual(json.loads(weir("log", "--json").stdout)["user"], NOBODY)
            weir("delete", "t")

    def test_cgroups_and_unknown_ones(self):
        inner = self.cgroup.path + "/inner"
        os.mkdir(inner)
        try:
            self.apply('policy t {\n on connect "%s"\n on bind "%s"\n default accept\n accept if cgroup == "%s/inner"\n'
                       ' reject if cgroup == "%s" and dst_port == 7001\n}')
            self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto), "EPERM")
            self.assertEqual(attempt(IPV6, STREAM, "::1", BAD, lambda c, f, a, p: outcome(c.bind, (a, p))), "EPERM")
            write(inner + "/cgroup.procs", "0")
            self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto), "done")
            self.assertEqual(attempt(IPV6, STREAM, "::1", BAD, lambda c, f, a, p: outcome(c.bind, (a, p))), "done")
        finally:
            write(self.cgroup.path + "/cgroup.procs", "0")
            os.rmdir(inner)


class Bind(InCgroup):
    def test_bind(self):
        self.apply('policy t { on bind "%s"\n default accept\n reject if tcp.dst_port == 7001\n'
                   ' reject if dst == 127.0.0.1 and udp }')
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", BAD, lambda c, f, a, p: outcome(c.bind, (a, p))), "EPERM")
        self.assertEqual(attempt(IPV6, STREAM, "::", BAD, lambda c, f, a, p: outcome(c.bind, (a, p))), "EPERM")
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", GOOD, lambda c, f, a, p: outcome(c.bind, (a, p))), "done")
        self.assertEqual(attempt(IPV6, DGRAM, MAPPED, GOOD, lambda c, f, a, p: outcome(c.bind, (a, p))), "EPERM")
        self.assertEqual(attempt(IPV6, DGRAM, "::1", 0, lambda c, f, a, p: outcome(c.bind, (a, p))), "done")
        self.assertEqual(Counts("t").packets(1), 2)

    def test_what_is_open_is_left(self):
        """bind() to no address or port is left to the packets' hooks, if there are any."""
        rules = "    default drop\n    accept if udp and dst == 127.0.0.1 and dst_port in { 7002 }\n    accept if loopback and tcp\n"
        alone = 'policy t {\n on bind "%s"\n' + rules.replace("    accept if loopback and tcp\n", "") + "}"
        beside = 'policy t {\n on bind "%s"\n on cgroup "%s" ingress\n' + rules + "}"

        def bound(address, port):
            return attempt(IPV4, DGRAM, address, port, lambda c, f, a, p: outcome(c.bind, (a, p)))

        self.apply(alone)
        self.assertEqual([bound("127.0.0.1", GOOD), bound("0.0.0.0", GOOD), bound("127.0.0.1", 0)],
                         ["done", "EPERM", "EPERM"])
        self.apply(beside)
        self.assertEqual([bound("127.0.0.1", GOOD), bound("0.0.0.0", GOOD), bound("127.0.0.1", 0),
                          bound("127.0.0.1", BAD), bound("127.0.0.2", GOOD)],
                         ["done", "done", "done", "EPERM", "EPERM"])


class Split(InCgroup):
    """One policy at the call and at the packets: the call leaves what it cannot tell."""

    HOOKS = 'policy t {\n on connect "%s"\n on cgroup "%s" egress\n default accept\n'

    def test_refused_only_if_all_packets_are(self):
        self.apply(self.HOOKS + "accept if udp.dst_port == 7002 and ttl == 7\n reject if udp.dst_port in 7001-7002\n}")
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto), "EPERM")
        self.assertEqual(Counts("t").packets(2), 1)  # by the call: no packet came of it
        with socket.socket(IPV4, DGRAM) as client:
            self.assertEqual(by_connect(client, IPV4, "127.0.0.1", GOOD), "done")
            self.assertEqual(outcome(client.send, b"x"), "EPERM")  # by the packet
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)
            self.assertEqual(outcome(client.send, b"x"), "done")

    def test_a_drop_that_depends_waits(self):
        self.apply(self.HOOKS + "drop if length > 1000 and udp\n reject if tcp.dst_port == 7001\n}")
        with socket.socket(IPV4, DGRAM) as client:
            self.assertEqual(by_connect(client, IPV4, "127.0.0.1", GOOD), "done")
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", BAD, by_connect), "EPERM")

    def test_what_cannot_be_of_that_protocol_does_not_wait(self):
        self.apply(self.HOOKS + "accept if icmp_error or tcp.flags & ack == ack\n reject if dst_port == 7001\n}")
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_connect), "EPERM")
        self.assertEqual(attempt(IPV4, STREAM, "127.0.0.1", BAD, by_connect), "timeout")

    def test_raw_and_packet_sockets_meet_the_packet_hook_only(self):
        packet = ipv4(17, udp_header(BAD, b"x"), inbound=False)
        frame = ethernet(0x0800, inbound=False) + packet
        self.apply(REFUSE.replace("127.0.0.1", PEER4))

        def send_raw():
            with socket.socket(IPV4, RAW, socket.IPPROTO_RAW) as raw:
                return outcome(raw.sendto, packet, (PEER4, 0))

        def send_frame():
            with socket.socket(socket.AF_PACKET, RAW) as raw:
                raw.bind(("weir0", 0))
                return outcome(raw.send, frame)

        self.assertEqual(attempt(IPV4, DGRAM, PEER4, BAD, by_sendto), "EPERM")
        with sniffer(False) as take:
            self.assertEqual((send_raw(), send_frame()), ("done", "done"))
            self.assertEqual(len([got for got in take() if got.endswith(packet)]), 2)
            self.apply(self.HOOKS + "reject if udp.dst_port == 7001\n}")
            self.assertEqual(send_raw(), "EPERM")
            weir("delete", "t")
            self.apply('policy t {\n on tc weir0 egress\n default accept\n drop if udp.dst_port == 7001\n}')
            send_frame()
            self.assertEqual([got for got in take() if got.endswith(packet)], [])

    def test_check_says_what_is_left(self):
        path = policy_file((self.HOOKS + "accept if ttl == 7\n reject if udp.dst_port == 7001\n}").replace("%s", "/"))
        shown = weir("check", "-v", path).stdout
        self.assertIn("connect decides 1 of 2 rules", shown)
        self.assertIn("connect leaves rule 1 (line 5) to cgroup-egress: accept if ttl == 7", shown)
        left = json.loads(weir("check", "--json", path).stdout)["policies"][0]["left"]
        self.assertEqual([(one["rule"], one["to"]) for one in left], [(1, "cgroup-egress")])

    def test_alone_it_is_an_error(self):
        path = policy_file('policy t {\n on connect "/"\n default accept\n reject if ttl == 7\n}')
        done = weir("check", path, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(":4:12: error: `ttl` is not known at connect", done.stderr)


PYTHON = os.path.realpath("/proc/self/exe")


class Owners(InCgroup):
    """The program and group of the process: at calls its own, at packets what the calls noted."""

    def apply_both(self, rules):
        self.apply('policy t {\n on connect "%s"\n on cgroup "%s" egress\n default accept\n' + rules + "}")

    def other_program(self, *arguments):
        """What another program gets when it sends to a port."""
        copy = os.path.join(world.folder, "other")
        shutil.copy(PYTHON, copy)
        code = ("import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                "try:\n s.sendto(b'x', ('127.0.0.1', %d))\n print('done')\n"
                "except PermissionError:\n print('EPERM')")
        return run(copy, "-S", "-c", code % arguments, env=dict(os.environ, PYTHONHOME=sys.base_prefix)).stdout.strip()

    def test_program(self):
        self.apply_both(' accept if udp.dst_port == 7001 and program == "%s"\n reject if udp.dst_port == 7001\n' % PYTHON
                        + ' reject if udp.dst_port == 7002 and program != "%s"\n' % PYTHON)
        for port in (BAD, GOOD):
            self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", port, by_sendto), "done")
            self.assertEqual(self.other_program(port), "EPERM")
        counts = Counts("t")
        self.assertEqual((counts.rules[1][0], counts.rules[2], counts.rules[3]), (2, (1, 0), (1, 0)))

    def test_group(self):
        self.apply_both(" accept if udp.dst_port == 7001 and group == %d\n reject if udp.dst_port == 7001\n" % os.getegid())
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto), "done")
        self.assertEqual(as_user(NOBODY, lambda: attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto)), "EPERM")

    def test_an_older_socket_is_not_known(self):
        with socket.socket(IPV4, DGRAM) as old:
            old.connect(("127.0.0.1", BAD))
            self.apply_both(' accept if udp.dst_port == 7001 and program == "%s"\n count other accept if udp.dst_port == '
                            '7001 and program != "%s"\n reject if udp.dst_port == 7001\n' % (PYTHON, PYTHON))
            self.assertEqual(outcome(old.send, b"x"), "EPERM")
            old.connect(("127.0.0.1", BAD))
            self.assertEqual(outcome(old.send, b"x"), "done")

    def test_a_note_stays_when_the_policy_is_replaced(self):
        rules = ' accept if udp.dst_port == 7001 and program known\n reject if udp.dst_port == 7001\n'
        self.apply_both(rules)
        with socket.socket(IPV4, DGRAM) as client:
            client.connect(("127.0.0.1", BAD))
            self.apply_both(rules + " reject if udp.dst_port == 9\n")
            self.assertEqual(outcome(client.send, b"x"), "done")

    def test_raw_sockets(self):
        """No call is judged: they are known if they are younger than the policy."""
        packet = ipv4(17, udp_header(BAD, b"x"), inbound=False)
        with socket.socket(IPV4, RAW, socket.IPPROTO_RAW) as old:
            self.apply_both(' accept if udp.dst_port == 7001 and program == "%s"\n reject if udp.dst_port == 7001\n' % PYTHON)
            with socket.socket(IPV4, RAW, socket.IPPROTO_RAW) as raw:
                self.assertEqual([outcome(client.sendto, packet, (PEER4, 0)) for client in (old, raw)], ["EPERM", "done"])

    def test_accepted_sockets_have_the_listeners_note(self):
        self.apply('policy t {\n on bind "%s"\n on cgroup "%s" egress\n default accept\n'
                   ' drop if egress and tcp.src_port == 7002 and length > 60 and not program == "@"\n}'.replace("@", PYTHON))
        self.assertEqual(sent_by_accepted(100), 100)
        self.assertEqual(Counts("t").packets(1), 0)

    def test_log_names_the_program(self):
        self.apply_both(' log reject if udp.dst_port == 7001 and program == "%s"\n' % PYTHON)
        attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto)
        event = json.loads(weir("log", "--json").stdout)
        self.assertEqual((event["program"], event["cgroup"]), (PYTHON, self.cgroup.name))

    def test_errors(self):
        for rule, words in (('program == "/nonexistent"', "unknown program `/nonexistent`"),
                            ('program == "/etc/passwd"', "unknown program"), ("group == nosuchgroup", "unknown group")):
            done = weir("check", policy_file('policy t {\n on connect "/"\n default accept\n reject if %s\n}' % rule),
                        check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)
        done = weir("check", policy_file('policy t {\n on tc lo egress\n default accept\n drop if group == 0\n}'), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(":4:10: error: `group` is known at tc-egress only where the policy is at a cgroup too", done.stderr)


class Engines(InCgroup):
    def test_explain(self):
        path = policy_file(REFUSE % "/")
        shown = weir("explain", path, "tcp 10.0.0.1:5 > 127.0.0.1:7001").stdout
        self.assertIn("reject", shown)
        self.assertIn("accept", weir("explain", path, "tcp 10.0.0.1:5 > 127.0.0.1:7002").stdout)

    def test_verify(self):
        self.assertIn("proven", weir("verify", policy_file(REFUSE % "/")).stdout)


if __name__ == "__main__":
    main()
