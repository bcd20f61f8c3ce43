#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Who a packet belongs to, and what comes of it when users, groups and programs change under a policy."""

from test_connect import BAD, DGRAM, GOOD, PYTHON, RAW, STREAM, InCgroup, as_user, attempt, by_sendto, outcome, \
    sent_by_accepted
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


class Deleted(Users):
    """Numbers stay what they are until the policy is refreshed, which then fails and changes nothing."""

    def test_a_user(self):
        self.apply('policy t {\n on connect "%s"\n on cgroup "%s" egress\n default accept\n accept if user == alice\n'
                   ' reject if udp.dst_port == 7001\n}')
        self.database([user for user in self.USERS if user[0] != "alice"], self.GROUPS)
        self.assertEqual((sends(ALICE), sends(BOB)), ("done", "EPERM"))
        done = weir("refresh", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("unknown user `alice`", done.stderr)
        self.assertEqual((sends(ALICE), sends(BOB)), ("done", "EPERM"))
        self.database(self.USERS[:1] + [("alice", CAROL, CAROL)], self.GROUPS)  # another one of that name
        weir("refresh")
        self.assertEqual((sends(ALICE), sends(CAROL)), ("EPERM", "done"))

    def test_a_group(self):
        self.apply('policy t {\n on connect "%s"\n on cgroup "%s" egress\n default accept\n accept if group == staff\n'
                   ' reject if udp.dst_port == 7001\n}')
        self.database(self.USERS, [("root", 0, "")])
        done = weir("refresh", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("unknown group `staff`", done.stderr)
        self.assertEqual(sends(BOB), "EPERM")


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


class Upgrade(InCgroup):
    """A package upgrade puts another file, with another inode, into a program's place."""

    ALLOW = ('policy t {\n on connect "%s"\n on cgroup "%s" egress\n default accept\n'
             ' accept if udp.dst_port == 7001 and program == "@"\n reject if udp.dst_port == 7001\n}')

    def setUp(self):
        super().setUp()
        self.program = os.path.join(world.folder, "agent")
        self.install()

    def tearDown(self):
        super().tearDown()
        os.unlink(self.program)

    def install(self):
        shutil.copy(PYTHON, self.program + ".new")
        os.rename(self.program + ".new", self.program)

    def agent(self):
        """How sending ends for the program that is there now."""
        code = ("import socket\ntry:\n socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 7001))\n"
                " print('done')\nexcept PermissionError:\n print('EPERM')")
        env = dict(os.environ, PYTHONHOME=sys.base_prefix)
        return run(self.program, "-S", "-c", code, env=env).stdout.strip()

    def start_agent(self):
        """One that runs on: it sends whenever it is told to."""
        code = ("import socket, sys\nfor line in sys.stdin:\n try:\n"
                "  socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 7001))\n  print('done', flush=True)\n"
                " except PermissionError:\n  print('EPERM', flush=True)")
        child = subprocess.Popen([self.program, "-S", "-c", code], env=dict(os.environ, PYTHONHOME=sys.base_prefix), text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def ask():
            child.stdin.write("\n")
            child.stdin.flush()
            return child.stdout.readline().strip()

        def end():
            child.stdin.close()
            child.stdout.close()
            child.wait()
        self.addCleanup(end)
        return ask

    def test_it_is_refused_until_refresh(self):
        self.apply(self.ALLOW.replace("@", self.program))
        old = self.start_agent()
        self.assertEqual((old(), self.agent()), ("done", "done"))
        self.install()
        self.assertEqual((old(), self.agent()), ("done", "EPERM"))
        weir("refresh")
        self.assertEqual((old(), self.agent()), ("EPERM", "done"))  # the old one runs until it is restarted

    def test_it_is_announced(self):
        self.apply(self.ALLOW.replace("@", self.program))
        self.assertEqual(weir("list").stderr, "")
        self.install()
        for command in (["list"], ["show", "t"]):
            said = weir(*command).stderr
            self.assertIn("warning: policy `t`: `%s` is another file now" % self.program, said)
            self.assertIn("hint: `weir refresh t`", said)
        weir("refresh", "t")
        self.assertEqual(weir("list").stderr, "")

    def test_it_is_gone(self):
        """Nobody is let in in its place, and the policy stays."""
        self.apply(self.ALLOW.replace("@", self.program))
        os.unlink(self.program)
        self.assertIn("there is no program `%s` any more" % self.program, weir("list").stderr)
        done = weir("refresh", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("unknown program `%s`" % self.program, done.stderr)
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto), "EPERM")
        self.install()  # the inode's number may be the old one's
        self.assertEqual(self.agent(), "EPERM")
        weir("refresh")
        self.assertEqual(self.agent(), "done")


class Journal(InCgroup):
    """What journald is told of the process; the journal is a socket of the test's own."""

    RULES = 'policy t {\n on connect "%s"\n default accept\n log "asked" reject if udp.dst_port == 7001\n}'

    def entry(self):
        path = os.path.join(world.folder, "journal")
        with socket.socket(socket.AF_UNIX, DGRAM) as journal:
            journal.bind(path)
            try:
                weir("log", "--journal", env=dict(os.environ, WEIR_JOURNAL=path))
            finally:
                os.unlink(path)
            journal.settimeout(2 * SLOW)
            lines = journal.recv(65536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def test_the_process(self):
        self.apply(self.RULES)
        self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto), "EPERM")
        entry, pid = self.entry(), "%d" % os.getpid()
        self.assertEqual([entry[name] for name in ("WEIR_UID", "WEIR_GID", "WEIR_PID", "WEIR_CGROUP", "OBJECT_PID")],
                         ["0", "%d" % os.getegid(), pid, self.cgroup.name, pid])
        self.assertIn(entry["WEIR_COMMAND"], open("/proc/self/comm").read())

    def test_a_process_that_is_gone(self):
        """Its number may be another one's by now, so journald is not told to look it up."""
        self.apply(self.RULES)
        self.assertEqual(sends(ALICE), "EPERM")
        entry = self.entry()
        self.assertEqual((entry["WEIR_UID"], entry["WEIR_PID"] != "%d" % os.getpid()), ("%d" % ALICE, True))
        self.assertNotIn("OBJECT_PID", entry)
        self.assertNotIn("WEIR_CGROUP", entry)


JOURNALD = "/lib/systemd/systemd-journald"


@unittest.skipUnless(os.path.exists(JOURNALD) and shutil.which("journalctl"), "there is no journald")
class RealJournal(TestCase):
    """What a journald shows that is told of a process: one of the test's own, in a /run that nobody else sees."""

    def setUp(self):
        self.cgroup = Cgroup(".service")  # what journald takes for a unit
        self.addCleanup(self.cgroup.remove)
        mount("tmpfs", "/run", "tmpfs", 0)
        self.addCleanup(libc.umount2, b"/run", 2)
        os.makedirs("/run/systemd/journal")
        os.makedirs("/run/log/journal")
        journald = subprocess.Popen([JOURNALD], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(journald.wait, 30)
        self.addCleanup(journald.terminate)
        self.wait_for(lambda: os.path.exists("/run/systemd/journal/socket"))

    def wait_for(self, what):
        until = time.monotonic() + 20 * SLOW
        while time.monotonic() < until:
            found = what()
            if found:
                return found
            time.sleep(0.05)
        self.fail("it did not come")

    def entries(self):
        done = run("journalctl", "--no-pager", "-o", "json", "WEIR_POLICY=t", check=False)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_who_asked(self):
        apply('policy t {\n on connect "%s"\n default accept\n count refused log "asked" reject if udp.dst_port == 7001\n}'
              % self.cgroup.name)
        code = ("import os, socket, sys\nos.setresgid(20002, 20002, 20002); os.setresuid(20001, 20001, 20001)\n"
                "try:\n socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 7001))\n"
                "except PermissionError:\n print('EPERM', flush=True)\nsys.stdin.read()")
        with self.cgroup:
            child = subprocess.Popen([PYTHON, "-S", "-c", code], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with child:
            self.assertEqual(child.stdout.readline(), "EPERM\n")
            weir("log", "--journal")
            entry = self.wait_for(self.entries)[0]
            child.stdin.close()
        pid, unit = "%d" % child.pid, self.cgroup.name[1:]
        self.assertEqual([entry.get(name) for name in ("WEIR_POLICY", "WEIR_RULE", "WEIR_VERDICT", "WEIR_TEXT", "WEIR_PID",
                                                       "WEIR_UID", "WEIR_GID", "WEIR_CGROUP", "_COMM")],
                         ["t", "1", "reject", "asked", pid, "20001", "20002", self.cgroup.name, "weir"])
        self.assertEqual([entry.get(name) for name in ("OBJECT_PID", "OBJECT_UID", "OBJECT_GID", "OBJECT_EXE",
                                                       "OBJECT_SYSTEMD_UNIT", "_UID")],
                         [pid, "20001", "20002", PYTHON, unit, "0"])


class Recorder(InCgroup):
    """Who makes or binds a socket is noted, where packets are asked for it."""

    RULES = (' accept if udp.dst_port == 7001 and program == "%s"\n count other accept if udp.dst_port == 7001 and program known\n'
             ' reject if udp.dst_port == 7001\n}' % PYTHON)
    ALONE = 'policy t {\n on cgroup "@" egress\n default accept\n' + RULES

    def apply(self, text, *options):
        return super().apply(text.replace("@", self.cgroup.name), *options)

    def attached(self, path=None):
        """The kinds of programs on the test's cgroup."""
        shown = json.loads(run("bpftool", "--json", "cgroup", "show", path or self.cgroup.path).stdout.strip() or "[]")
        return sorted(program["attach_type"] for program in shown)

    def test_every_way_to_send(self):
        self.apply(self.ALONE)
        packet = ipv4(17, udp_header(BAD, b"x"), inbound=False)
        for family, address in ((IPV4, "127.0.0.1"), (IPV6, "::1"), (IPV6, "::ffff:127.0.0.1")):
            self.assertEqual(attempt(family, DGRAM, address, BAD, by_sendto), "done", address)
        with socket.socket(IPV4, RAW, socket.IPPROTO_RAW) as raw:
            self.assertEqual(outcome(raw.sendto, packet, (PEER4, 0)), "done")
        with socket.socket(IPV4, RAW, socket.IPPROTO_UDP) as raw:
            self.assertEqual(outcome(raw.sendto, packet[20:], (PEER4, 0)), "done")
        self.assertEqual(Counts("t").packets(1), 5)

    def test_an_older_socket(self):
        """Not known, until it is bound."""
        with socket.socket(IPV4, DGRAM) as old, socket.socket(IPV6, DGRAM) as old6:
            self.apply(self.ALONE)
            for client, address in ((old, "127.0.0.1"), (old6, "::1")):
                self.assertEqual(outcome(client.sendto, b"x", (address, BAD)), "EPERM")
        with socket.socket(IPV4, DGRAM) as old, socket.socket(IPV6, DGRAM) as old6:
            self.apply(self.ALONE)
            for client, address in ((old, "127.0.0.1"), (old6, "::1")):
                client.bind((address, 0))
                self.assertEqual(outcome(client.sendto, b"x", (address, BAD)), "done")

    def test_accepted_sockets_have_the_listeners_note(self):
        self.apply('policy t {\n on cgroup "@" egress\n default accept\n'
                   ' drop if tcp.src_port == 7002 and length > 60 and not program == "%s"\n}' % PYTHON)
        self.assertEqual(sent_by_accepted(100), 100)

    def test_who_made_it_counts(self):
        """Another program that gets a socket sends as the one that made it."""
        self.apply(self.ALONE)
        copy = os.path.join(world.folder, "other")
        shutil.copy(PYTHON, copy)
        code = ("import socket, sys\ns = socket.socket(fileno=int(sys.argv[1])) if sys.argv[1:] else "
                "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'x', ('127.0.0.1', 7001))")
        env = dict(os.environ, PYTHONHOME=sys.base_prefix)
        run(copy, "-S", "-c", code, env=env)
        self.assertEqual((Counts("t").packets(1), Counts("t").packets(2)), (0, 1))
        with socket.socket(IPV4, DGRAM) as made:
            run(copy, "-S", "-c", code, str(made.fileno()), env=env, pass_fds=[made.fileno()])
        self.assertEqual((Counts("t").packets(1), Counts("t").packets(2)), (1, 1))

    def test_only_where_it_is_needed(self):
        record = ["cgroup_inet4_post_bind", "cgroup_inet6_post_bind", "cgroup_inet_sock_create"]
        self.apply('policy t {\n on connect "@"\n on cgroup "@" egress\n default accept\n reject if user == 7\n}')
        self.assertEqual([kind for kind in self.attached() if kind in record], [])
        self.apply('policy t {\n on connect "@"\n default accept\n reject if program == "%s" and dst_port == 9\n}' % PYTHON)
        self.assertEqual([kind for kind in self.attached() if kind in record], [])
        self.apply('policy t {\n on connect "@"\n on cgroup "@" egress\n on cgroup "@" ingress\n default accept\n'
                   ' drop if group == 7\n}')
        self.assertEqual([kind for kind in self.attached() if kind in record], record)
        self.assertEqual(len(json.loads(weir("list", "--json").stdout)["policies"][0]["hooks"]), 3)
        self.apply('policy t {\n on cgroup "@" egress\n default accept\n drop if user == 7\n}')
        self.assertEqual(self.attached(), ["cgroup_inet_egress"])
        weir("delete", "t")
        self.assertEqual(self.attached(), [])
        self.assertEqual([name for name in bpffs_leftovers() if "weir/t" in name], [])

    def test_replacement_keeps_notes(self):
        self.apply(self.ALONE)
        with socket.socket(IPV4, DGRAM) as client:
            self.apply(self.ALONE.replace("reject", "drop"))
            self.assertEqual(outcome(client.sendto, b"x", ("127.0.0.1", BAD)), "done")
            with socket.socket(IPV4, DGRAM) as younger:
                self.assertEqual(outcome(younger.sendto, b"x", ("127.0.0.1", BAD)), "done")

    def test_cgroups_in_cgroups(self):
        """Policies on a cgroup and on one in it both record; either may go."""
        inner = self.cgroup.path + "/inner"
        os.mkdir(inner)
        try:
            self.apply((self.ALONE + "\n" + self.ALONE.replace("policy t", "policy u").replace('"@"', '"@/inner"')))
            write(inner + "/cgroup.procs", "0")
            self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto), "done")
            self.assertEqual((Counts("t").packets(1), Counts("u").packets(1)), (1, 1))
            weir("delete", "u")
            self.assertEqual(attempt(IPV4, DGRAM, "127.0.0.1", BAD, by_sendto), "done")
            self.assertEqual(self.attached(inner), [])
        finally:
            write(self.cgroup.path + "/cgroup.procs", "0")
            os.rmdir(inner)

    def test_tc(self):
        """At a device, by what is noted in the policy's cgroups."""
        self.apply('policy t {\n on tc weir0 egress\n on connect "@"\n default accept\n' + self.RULES)
        with socket.socket(IPV4, DGRAM) as client, socket.socket(socket.AF_PACKET, RAW) as frames:
            client.connect((PEER4, BAD))
            client.send(b"x")
            frames.bind(("weir0", 0))
            frames.send(ethernet(0x0800, inbound=False) + ipv4(17, udp_header(BAD, b"x"), inbound=False))
        counts = Counts("t")
        # connect() itself and its packet; nobody knows of packet sockets
        self.assertEqual((counts.packets(1), counts.packets(2), counts.packets(3)), (2, 0, 1))

    def test_user_and_cgroup_at_every_hook(self):
        """Of two senders, one who is asked for and one who is not."""
        inner = self.cgroup.path + "/inner"
        os.mkdir(inner)
        self.addCleanup(os.rmdir, inner)
        for on in ("netfilter output", 'cgroup "@" egress', "tc weir0 egress", 'connect "@"'):
            for condition, prepare in (("user == 4321", lambda: os.setuid(4321)),
                                       ('cgroup == "@/inner"', lambda: write(inner + "/cgroup.procs", "0"))):
                self.apply('policy t {\n on ' + on + '\n default accept\n accept if udp.dst_port == 7001 and ' + condition +
                           '\n accept if udp.dst_port == 7001\n}')
                for prepared in (prepare, lambda: None):
                    as_user(0, lambda first=prepared: (first(), attempt(IPV4, DGRAM, PEER4, BAD, by_sendto)))
                counts = Counts("t")
                self.assertEqual((counts.packets(1), counts.packets(2)), (1, 1), (on, condition))
                weir("delete", "t")

    def test_the_group_at_every_hook(self):
        """The real group of who made the socket, whatever the hook has it from."""
        for on in ("netfilter output", 'cgroup "@" egress', 'connect "@"'):
            self.apply('policy t {\n on ' + on + '\n default accept\n accept if udp.dst_port == 7001 and group == 4321\n'
                       ' reject if udp.dst_port == 7001\n}')

            def as_group(real, effective):
                def work():
                    os.setresgid(real, effective, effective)
                    return attempt(IPV4, DGRAM, PEER4, BAD, by_sendto)
                return as_user(0, work)

            self.assertEqual([as_group(*groups) for groups in ((4321, 4321), (4321, 0), (0, 4321))],
                             ["done", "done", "EPERM"], on)
            weir("delete", "t")

    def test_netfilter_knows_older_sockets(self):
        """By the socket's file: nobody has to note it, and what has no file has no group."""
        with socket.socket(IPV4, DGRAM) as old:
            self.apply('policy t {\n on netfilter output\n default accept\n accept if udp.dst_port == 7001 and group == %d\n'
                       ' reject if udp.dst_port == 7001\n drop if icmp and group != 7\n drop if icmp and group known\n'
                       ' accept if icmp\n}' % os.getegid())
            self.assertEqual(outcome(old.sendto, b"x", (PEER4, BAD)), "done")
        self.assertEqual(self.attached(), [])
        with world.peer, socket.socket(IPV4, DGRAM) as client:
            client.sendto(b"x", (OUR4, 9))  # the kernel answers: port unreachable
        counts = Counts("t")
        self.assertEqual([counts.packets(rule) for rule in (1, 2, 3, 4, 5)], [1, 0, 0, 0, 1])

    def test_netfilter_and_sockets_without_file(self):
        """An accepted connection that nobody has taken yet, and one that is closed."""
        self.apply('policy t {\n on netfilter output\n default accept\n accept if tcp.dst_port == 7002 and '
                   'group == %d\n accept if tcp.dst_port == 7002\n accept if tcp.src_port == 7002 '
                   'and group == %d\n accept if tcp.src_port == 7002\n}' % (os.getegid(), os.getegid()))
        with socket.create_server(("127.0.0.1", GOOD)) as server:
            client = socket.create_connection(("127.0.0.1", GOOD))
            client.sendall(b"x")
            waiting = Counts("t").packets(4)
            child, _ = server.accept()
            self.assertEqual(child.recv(1), b"x")
            known = Counts("t").packets(3)
            child.sendall(b"y")
            self.assertEqual(client.recv(1), b"y")
            client.close()
            child.close()
        counts = Counts("t")
        self.assertEqual(waiting, 1)                     # the ACK; the SYN-ACK has the listener's
        self.assertGreater(counts.packets(3), known)
        self.assertGreaterEqual(counts.packets(2), 1)    # the FIN

    def test_one_program_by_itself_cannot_know(self):
        path = policy_file(self.ALONE.replace("@", self.cgroup.name))
        for command in (["load", "--hook", "cgroup-egress", "--pin", os.environ["WEIR_BPFFS"] + "/alone", path],
                        ["run", "--egress", path, "--", "true"]):
            done = weir(*command, check=False)
            self.assertNotEqual(done.returncode, 0, command)
            self.assertIn("asks packets for a program or group", done.stderr)


if __name__ == "__main__":
    main()
