#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""weir run: applications behind filters, with clients inside and outside of them."""

import select
import sys

from weirtest import *

PYTHON = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or sys.executable  # for every user
ECHO = os.path.join(ROOT, "examples/app/echo_activated.py")
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all",
          "--bounding-set=-all", "--"]
PORT = 4242
ONLY_IPV4 = "src in { 10.0.0.0/8, ::1, 127.0.0.0/8 }"  # of the peer's addresses
SO_LOCK_FILTER, SO_DETACH_FILTER = 44, 27
STARTED = ["sh", "-c", 'echo started; exec "$@"', "sh"]  # sockets are ready when it says so


class Running:
    """A `weir run` whose command has begun; killed at the end of the block."""

    def __init__(self, *arguments, command=(PYTHON, ECHO), nobody=False, said="started", env=None, descriptors=()):
        self.said = said
        line = (NOBODY if nobody else []) + [WEIR, "run", *arguments, "--", *STARTED, *command]
        if descriptors:
            line = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=%d exec "$@"' % len(descriptors), "sh"] + line
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=dict(os.environ, **(env or {})), close_fds=False,
                                        preexec_fn=lambda: self.place(descriptors))

    @staticmethod
    def place(descriptors):
        high = [os.dup2(fd, 500 + i) for i, fd in enumerate(descriptors)]
        os.closerange(3, 500)
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)
        os.closerange(500, 1024)

    def __enter__(self):
        line = self.process.stdout.readline().decode().strip()
        if line != self.said:
            self.process.wait()
            raise RuntimeError("%r: %s" % (line, self.process.stderr.read().decode()))
        return self

    def line(self):
        return self.process.stdout.readline().decode().strip()

    def __exit__(self, *unused):
        self.process.kill()
        self.process.communicate()


PATIENCE = 5  # seconds for an answer that will come, on a machine with other work


def client(family=IPV4, kind=socket.SOCK_STREAM, port=PORT, wait=0.4, inside=None):
    """What a client at the peer gets back: b"hello", or the errno's name, or None for no answer."""
    with world.peer if inside is None else inside:
        sock = socket.socket(family, kind)
    with sock:
        sock.settimeout(wait * SLOW)
        try:
            sock.connect((ours(family), port))
            sock.send(b"hello")
            return sock.recv(64)
        except TimeoutError:
            return None
        except OSError as error:
            return errno.errorcode[error.errno]


def stream(family=IPV4, **options):
    return client(family, socket.SOCK_STREAM, **options)


def datagram(family=IPV4, **options):
    return client(family, socket.SOCK_DGRAM, **options)


def processes(name):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/comm" % pid) as file:
                if file.read().strip() == name and os.readlink("/proc/%s/ns/net" % pid) == os.readlink(
                        "/proc/self/ns/net"):
                    found.append(int(pid))
    return found


def eventually(what, wait=5.0):
    until = time.monotonic() + wait * SLOW
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return False


def fails(*arguments, nobody=False, command=("touch",), env=None, **options):
    """Runs a `weir run` that must fail without starting its command; (exit status, what it says)."""
    mark = os.path.join(world.folder, "was-started")
    line = (NOBODY if nobody else []) + [WEIR, "run", *arguments, "--", *command]
    done = run(*line, *([mark] if command == ("touch",) else []), check=False, timeout=20,
               env=dict(os.environ, **(env or {})), **options)
    assert not os.path.exists(mark), "the command was started"
    return done.returncode, done.stderr


def may_run_as_nobody():
    return run(*NOBODY, WEIR, "version", check=False).returncode == 0


class Ladder(TestCase):
    """Every rung: who is inside is served, who is outside gets no answer."""

    def check(self, kinds):
        for kind in kinds:
            self.assertEqual(client(IPV4, kind, wait=PATIENCE), b"hello")
            self.assertIsNone(client(IPV6, kind))

    @each([("tcp", ("tcp", socket.SOCK_STREAM)), ("udp", ("udp", socket.SOCK_DGRAM))])
    def test_ebpf(self, name, kind):
        with Running("-v", "--listen", "%s:%d" % (name, PORT), "--filter", ONLY_IPV4) as running:
            self.check([kind])
            running.process.kill()
            self.assertIn(": ebpf", running.process.stderr.read().decode())

    @each([("tcp", ("tcp", socket.SOCK_STREAM)), ("udp", ("udp", socket.SOCK_DGRAM))])
    def test_classic(self, name, kind):
        with Running("--listen", "%s:%d" % (name, PORT), "--backend", "cbpf", "--filter", ONLY_IPV4):
            self.check([kind])

    def test_classic_as_nobody(self):
        if not may_run_as_nobody():
            self.skipTest("the program is not readable for everybody")
        with Running("-v", "--listen", "udp:[::]:%d" % PORT, "--filter", ONLY_IPV4, nobody=True) as running:
            self.check([socket.SOCK_DGRAM])
            running.process.kill()
            self.assertIn(": cbpf", running.process.stderr.read().decode())

    def test_steering_as_nobody(self):
        """The acceptance case: no capabilities, TCP, no answer at all for who is outside."""
        if not may_run_as_nobody():
            self.skipTest("the program is not readable for everybody")
        with Running("--listen", "tcp:[::]:%d" % PORT, "--backend", "reuseport", "--filter", ONLY_IPV4, nobody=True):
            self.assertEqual(stream(wait=PATIENCE), b"hello")
            with sniffer(inbound=False) as take:
                self.assertIsNone(stream(IPV6))
                answers = [frame for frame in take() if frame[12:14] == b"\x86\xdd" and frame[20] == 6]
                self.assertEqual(answers, [])
            self.assertEqual(stream(wait=PATIENCE), b"hello")
        self.assertTrue(eventually(lambda: not processes("weir-decoy")))

    def test_pinned_as_nobody(self):
        if not may_run_as_nobody():
            self.skipTest("the program is not readable for everybody")
        pin = os.path.join(os.environ["WEIR_BPFFS"], "echo")
        weir("load", "--hook", "socket", "--pin", pin, "-e", ONLY_IPV4)
        os.chmod(world.folder, 0o755)
        os.chmod(os.environ["WEIR_BPFFS"], 0o755)
        try:
            with Running("--listen", "tcp:%d" % PORT, "--listen", "udp:%d" % PORT, "--pinned", pin, nobody=True):
                self.check([socket.SOCK_STREAM, socket.SOCK_DGRAM])
        finally:
            os.unlink(pin)

    @each([(name, (name,)) for name in ("ebpf", "cbpf", "reuseport")])
    def test_interfaces(self, backend):
        """Of alfwrapper's filters the first one; subnets are everywhere else here."""
        for rules, outside, here in (('in_iface == "weir0"', b"hello", None), ('in_iface == "lo"', None, b"hello")):
            with Running("--listen", "tcp:%d" % PORT, "--filter", rules, "--backend", backend):
                for family in FAMILIES:
                    self.assertEqual(stream(family, wait=0.2), outside)
                    self.assertEqual(stream(family, wait=0.2, inside=world.us), here)

    def test_none(self):
        status, said = fails("--listen", "udp:%d" % PORT, "--backend", "reuseport", "--filter", "tcp || udp")
        self.assertEqual(status, 125)
        self.assertIn("steering is for TCP", said)
        status, said = fails("--listen", "udp:%d" % PORT, "--backend", "ebpf", "--filter", "udp", nobody=True)
        if may_run_as_nobody():
            self.assertEqual(status, 125, said)
            self.assertIn("CAP_BPF", said)


class Guard(TestCase):
    """What the application itself cannot undo, and what it could."""

    TRY = "import socket,sys; s=socket.socket(fileno=3)\n"

    def outcome(self, code, *arguments, nobody=False):
        with Running("--listen", "tcp:%d" % PORT, "--filter", ONLY_IPV4, *arguments, nobody=nobody,
                     command=(PYTHON, "-c", self.TRY + code)) as running:
            return running.line()

    DETACH = ("try:\n s.setsockopt(1, %d, 0); print('detached')\nexcept OSError as e: print(e.errno)\n"
              % SO_DETACH_FILTER)

    def test_locked(self):
        self.assertEqual(self.outcome(self.DETACH), str(errno.EPERM))

    def test_not_locked(self):
        self.assertEqual(self.outcome(self.DETACH, "--no-lock"), "detached")

    @each([("ebpf", ("ebpf",)), ("cbpf", ("cbpf",))])
    def test_inherited(self, backend):
        code = "c=s.accept()[0]; s=c\n" + self.DETACH
        with Running("--listen", "tcp:%d" % PORT, "--filter", ONLY_IPV4, "--backend", backend,
                     command=(PYTHON, "-c", self.TRY + code)) as running:
            with world.peer:
                sock = socket.create_connection((OUR4, PORT), 2)
            with sock:
                self.assertEqual(running.line(), str(errno.EPERM))

    def test_decoy_outlives_descriptors(self):
        """An application that closes whatever it did not open itself does not open its own filter."""
        if not may_run_as_nobody():
            self.skipTest("the program is not readable for everybody")
        code = ("import os; os.closerange(4, 1000); print('closed', flush=True)\n"
                "while 1: c=s.accept()[0]; c.sendall(c.recv(64)); c.close()\n")
        with Running("--listen", "tcp:%d" % PORT, "--filter", ONLY_IPV4, "--backend", "reuseport", nobody=True,
                     command=(PYTHON, "-c", self.TRY + code)) as running:
            self.assertEqual(running.line(), "closed")
            for _ in range(3):
                self.assertIsNone(stream(IPV6, wait=0.2))
                self.assertEqual(stream(wait=PATIENCE), b"hello")

    def test_decoy_outlives_first_process(self):
        if not may_run_as_nobody():
            self.skipTest("the program is not readable for everybody")
        code = ("import os,time\nif os.fork(): os._exit(0)\nprint('child', flush=True)\n"
                "while 1: c=s.accept()[0]; c.sendall(c.recv(64)); c.close()\n")
        with Running("--listen", "tcp:%d" % PORT, "--filter", ONLY_IPV4, "--backend", "reuseport", nobody=True,
                     command=(PYTHON, "-c", self.TRY + "import os; print(os.getpid())\n" + code)) as running:
            running.line()
            self.assertEqual(running.line(), "child")
            running.process.wait()
            time.sleep(0.5)
            self.assertIsNone(stream(IPV6, wait=0.2))
            self.assertEqual(stream(wait=PATIENCE), b"hello")
            self.assertEqual(len(processes("weir-decoy")), 1)
            child = [pid for pid in processes("python3") if pid != os.getpid() and
                     os.readlink("/proc/%d/fd/3" % pid).startswith("socket")]
            for pid in child:
                os.kill(pid, signal.SIGKILL)
        self.assertTrue(eventually(lambda: not processes("weir-decoy")))

    def test_port_in_use(self):
        with Running("--listen", "tcp:%d" % PORT, "--filter", "tcp", "--backend", "reuseport"):
            status, said = fails("--listen", "tcp:%d" % PORT, "--filter", "tcp", "--backend", "reuseport")
            self.assertEqual(status, 2)
            self.assertIn("in use", said)


class Activation(TestCase):
    SHOW = (PYTHON, "-c", "import os; print(os.environ['LISTEN_FDS'], os.environ['LISTEN_FDNAMES'], "
            "os.environ['LISTEN_PID'] == str(os.getpid()), sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")

    def test_names_and_numbers(self):
        path = os.path.join(world.folder, "echo.sock")
        with Running("--listen", "web=tcp::%d" % PORT, "--listen", "udp:[::1]:5353", "--listen", "local=unix:" + path,
                     "--filter", "web=tcp", command=self.SHOW) as running:
            self.assertEqual(running.line(), "3 web:unknown:local True [0, 1, 2, 3, 4, 5]")

    def test_dual_stack(self):
        with Running("--listen", "tcp:[::]:%d" % PORT, "--filter", "tcp"):
            for family in FAMILIES:
                self.assertEqual(stream(family, wait=PATIENCE), b"hello")

    def listener(self, kind):
        sock = socket.socket(IPV6, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", PORT))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return sock

    def test_passed(self):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with self.listener(kind) as sock, Running("--filter", ONLY_IPV4, descriptors=[sock.fileno()]):
                self.assertEqual(client(IPV4, kind, wait=PATIENCE), b"hello")
                self.assertIsNone(client(IPV6, kind))

    def queue(self, *families):
        """Datagrams that came before the filter: what is in them that the command still finds."""
        with self.listener(socket.SOCK_DGRAM) as sock:
            for number, family in enumerate(families):
                with world.peer:
                    sender = socket.socket(family, socket.SOCK_DGRAM)
                with sender:
                    sender.sendto(b"%d" % number, (ours(family), PORT))
            self.assertTrue(select.select([sock], [], [], 2)[0])
            time.sleep(0.05)
            code = ("import socket; s=socket.socket(fileno=3); s.setblocking(0); r=[]\n"
                    "try:\n while 1: r.append(s.recv(9).decode())\nexcept BlockingIOError: print('got', *r)\n")
            with Running("--filter", ONLY_IPV4, descriptors=[sock.fileno()],
                         command=(PYTHON, "-c", code)) as running:
                return running.line()

    def test_queued_datagrams(self):
        self.assertEqual(self.queue(IPV4, IPV4), "got 0 1")
        self.assertEqual(self.queue(IPV6), "got")
        self.assertEqual(self.queue(IPV6, IPV6, IPV4), "got 2")
        self.assertEqual(self.queue(IPV4, IPV6, IPV4), "got 2")  # the queue is only cut from the front

    def test_queued_connections(self):
        for family, answer in ((IPV4, b"hello"), (IPV6, "ECONNRESET")):
            with self.listener(socket.SOCK_STREAM) as sock:
                with world.peer:
                    early = socket.create_connection((ours(family), PORT), 2)
                with early, Running("--filter", ONLY_IPV4, descriptors=[sock.fileno()]):
                    early.settimeout(2)
                    try:
                        early.send(b"hello")
                        self.assertEqual(early.recv(64), answer)
                    except OSError as error:
                        self.assertEqual(errno.errorcode[error.errno].replace("EPIPE", "ECONNRESET"), answer)

    def bad(self, *words, count=1, fd=None, arguments=()):
        line = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=%d exec "$@"' % count, "sh", WEIR, "run", *arguments, "--",
                "touch", os.path.join(world.folder, "was-started")]
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, close_fds=False,
                              preexec_fn=lambda: Running.place([fd] if fd is not None else []))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertFalse(os.path.exists(os.path.join(world.folder, "was-started")))
        for word in words:
            self.assertIn(word, done.stderr)

    def test_bad_sockets(self):
        with open("/dev/null") as null:
            self.bad("descriptor 3 is no socket", fd=null.fileno())
        self.bad("LISTEN_FDS promises 1", "descriptor 3 is not open")
        with self.listener(socket.SOCK_STREAM) as sock:
            self.bad("LISTEN_FDS promises 2", count=2, fd=sock.fileno())
            with socket.create_connection(("::1", PORT)) as connected:
                self.bad("connected", fd=connected.fileno(), arguments=["--filter", "tcp"])
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as mptcp:
            mptcp.bind(("", PORT))
            mptcp.listen()
            self.bad("MPTCP", fd=mptcp.fileno(), arguments=["--filter", "tcp"])
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind("\0weir-test-%d" % os.getpid())
            unix.listen()
            self.bad("no socket to put the filter on", fd=unix.fileno(), arguments=["--filter", "tcp"])


class Inetd(TestCase):
    def serve(self, *arguments, command=("cat",), answer=b"hello"):
        process = subprocess.Popen([WEIR, "run", "--listen", "tcp:%d" % PORT, *arguments, "--", *command])
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        self.assertTrue(eventually(lambda: stream() == answer))
        return process

    def test_one_process_a_connection(self):
        process = self.serve("--inetd", "--limit", "2", "--filter", ONLY_IPV4)
        self.assertIsNone(stream(IPV6))
        with world.peer:
            socks = [socket.create_connection((OUR4, PORT), 2) for _ in range(3)]
        for sock in socks[:2]:
            sock.send(b"x")
            self.assertEqual(sock.recv(8), b"x")
        socks[2].send(b"y")
        socks[2].settimeout(SHORT)
        with self.assertRaises(TimeoutError):  # the third waits for its turn
            socks[2].recv(8)
        socks[0].close()
        socks[2].settimeout(2)
        self.assertEqual(socks[2].recv(8), b"y")
        for sock in socks:
            sock.close()
        children = "/proc/%d/task/%d/children" % (process.pid, process.pid)
        if os.path.exists(children):
            self.assertTrue(eventually(lambda: open(children).read() == ""))
        process.terminate()
        self.assertEqual(process.wait(), -signal.SIGTERM)

    def test_peer_in_the_environment(self):
        self.serve("--accept", command=("sh", "-c", "printf $REMOTE_ADDR"), answer=("::ffff:" + PEER4).encode())

    def test_killed(self):
        process = self.serve("--inetd")
        with world.peer:
            sock = socket.create_connection((OUR4, PORT), 2)
        with sock:
            sock.send(b"x")
            self.assertEqual(sock.recv(8), b"x")
            process.kill()
            sock.settimeout(2)
            self.assertEqual(sock.recv(8), b"")  # cat is gone too


class Process(TestCase):
    def status(self, *command, **options):
        return run(WEIR, "run", "--", *command, check=False, **options)

    def test_as_if_weir_were_not_there(self):
        done = self.status("sh", "-c", "cat; echo e >&2; exit 7", input="in")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, "in", "e\n"))
        self.assertEqual(self.status("sh", "-c", "kill -TERM $$").returncode, -signal.SIGTERM)
        self.assertEqual(self.status("no-such-command").returncode, 127)
        self.assertEqual(self.status("/dev/null").returncode, 126)
        self.assertEqual(run(WEIR, "run", "sh", "-c", "exit 3", check=False).returncode, 3)

    def test_identity(self):
        show = ("sh", "-c", "id -u; id -g; id -G; grep -E 'Cap(Eff|Bnd)|NoNew' /proc/self/status; echo $USER")
        with Running("--listen", "tcp:443", "--user", "nobody", "--drop-caps", command=show) as running:
            lines = [running.line() for _ in range(7)]
        group = run("id", "-g", "nobody").stdout.strip()
        self.assertEqual(lines[:3], ["65534", group, group])
        self.assertEqual([line.split()[1].strip("0") for line in lines[3:5]], ["", ""])
        self.assertEqual(lines[5].split()[1], "1")
        self.assertEqual(lines[6], "nobody")
        with Running("--user", "4242", "--group", "4243", command=show) as running:
            self.assertEqual([running.line() for _ in range(3)], ["4242", "4243", "4243"])
        with Running("--drop-caps", command=show) as running:
            lines = [running.line() for _ in range(6)]
            self.assertEqual((lines[0], lines[3].split()[1].strip("0")), ("0", ""))

    @each([
        ("user", (["--user", "no-such-user"], 1, "no user `no-such-user`")),
        ("group", (["--group", "no-such-group"], 1, "no group")),
        ("field", (["--listen", "tcp:1", "--filter", "eth.src == 00:11:22:33:44:55"], 1, "expression:1:1")),
        ("syntax", (["--listen", "tcp:1", "--filter", "src in {"], 1, "expression:1:")),
        ("address", (["--listen", "tcp:localhost:80"], 1, "`localhost` is no address")),
        ("brackets", (["--listen", "tcp:::1:80"], 1, "in brackets")),
        ("port", (["--listen", "tcp:[::1]:65536"], 1, "no port")),
        ("kind", (["--listen", "web:80"], 1, "no place to listen")),
        ("no socket", (["--filter", "tcp"], 1, "no socket to put the filter on")),
        ("name", (["--listen", "tcp:1", "--filter", "web=tcp"], 1, "no socket is named `web`")),
        ("twice", (["--listen", "tcp:1", "--filter", "tcp", "--filter", "udp"], 1, "two filters")),
        ("file", (["--listen", "tcp:1", "--filter", "./no-such.weir"], 1, "no-such.weir")),
        ("unix", (["--listen", "a=unix:/x", "--filter", "a=tcp"], 1, "no socket of the network")),
        ("backend", (["--backend", "best"], 3, "not `best`")),
        ("away", (["--listen", "tcp:192.0.2.77:1"], 2, "--freebind")),
        ("protocol", (["--listen", "sctp:1"], 2, "protocol")),
        ("accept", (["--inetd"], 1, "no socket to accept")),
    ])
    def test_bad_input(self, arguments, status, words):
        got, said = fails(*arguments)
        if words == "protocol" and got == 1 and "command" not in said:
            return
        self.assertEqual(got, status, said)
        self.assertIn(words, said)

    def test_privileges_missing(self):
        if not may_run_as_nobody():
            self.skipTest("the program is not readable for everybody")
        status, said = fails("--listen", "tcp:443", "--filter", "tcp", nobody=True)
        self.assertEqual(status, 2, said)
        self.assertIn("CAP_NET_BIND_SERVICE", said)
        status, said = fails("--egress", "tcp", nobody=True)
        self.assertEqual(status, 2, said)
        self.assertIn("cgroup", said)
        status, said = fails("--user", "root", nobody=True, command=("true",))
        self.assertEqual(status, 125, said)
        self.assertIn("CAP_SETGID", said)

    def test_freebind(self):
        with Running("--listen", "tcp:192.0.2.77:%d" % PORT, "--freebind", "--filter", "tcp"):
            pass


class Sctp(TestCase):
    @each([("ebpf", ("ebpf",)), ("cbpf", ("cbpf",))])
    def test_one_to_one(self, backend):
        try:
            socket.socket(IPV4, socket.SOCK_STREAM, 132).close()
        except OSError as error:
            self.skipTest("this kernel has no SCTP sockets: %s" % error.strerror)
        for inside, answer in ((OUR4, b"hello"), (OUR6, None)):
            family = IPV6 if ":" in inside else IPV4
            with Running("--listen", "sctp:[::]:%d" % PORT, "--filter", ONLY_IPV4, "--backend", backend):
                with world.peer:
                    sock = socket.socket(family, socket.SOCK_STREAM, 132)
                with sock:
                    sock.settimeout(0.4 * SLOW)
                    try:
                        sock.connect((inside, PORT))
                        sock.send(b"hello")
                        self.assertEqual(sock.recv(64), answer)
                    except TimeoutError:
                        self.assertIsNone(answer)


class Log(TestCase):
    POLICY = ("policy watched {\n on socket\n default drop\n log \"six\" if ipv6\n accept if ip\n"
              " log \"refused\" drop if ipv6\n}\n")

    def said(self, *arguments):
        path = policy_file(self.POLICY, "log.weir")
        with Running("--listen", "tcp:%d" % PORT, "--log", "--filter", path, *arguments) as running:
            self.assertEqual([stream(IPV4, wait=PATIENCE), stream(IPV6)], [b"hello", None])
            self.assertTrue(eventually(lambda: processes("weir-log")))
            running.process.kill()
            lines = running.process.stderr.read().decode().splitlines()  # the end is when nobody holds it any more
        self.assertTrue(eventually(lambda: not processes("weir-log")))
        return lines

    def check_lines(self, lines):
        self.assertTrue(any(" watched:1 \"six\" " in line for line in lines), lines)
        self.assertTrue(any(' drop watched:3 "refused" ' in line and " S " in line for line in lines), lines)
        self.assertFalse([line for line in lines if OUR4 in line], lines)

    def test_events(self):
        self.check_lines(self.said())

    def test_another_user(self):
        if not may_run_as_nobody():
            self.skipTest("the program is not readable for everybody")
        self.check_lines(self.said("--user", "65534", "--drop-caps"))

    def test_refused(self):
        path = policy_file(self.POLICY, "log.weir")
        status, said = fails("--listen", "tcp:%d" % PORT, "--log", "--filter", "tcp")
        self.assertEqual(status, 1, said)
        self.assertIn("no filter has a rule with `log`", said)
        status, said = fails("--listen", "tcp:%d" % PORT, "--log", "--filter", path, "--backend", "cbpf")
        self.assertEqual(status, 125, said)
        self.assertIn("classic BPF cannot `log`", said)


class Policies(TestCase):
    def test_one_for_each_socket(self):
        path = policy_file("policy four {\n on socket\n default drop\n accept if ip\n}\n"
                           "policy six {\n on socket\n default drop\n accept if ipv6\n}\n", "run.weir")
        with Running("--listen", "four=tcp:4244", "--listen", "six=tcp:4246", "--policy", path):
            self.assertEqual([stream(IPV4, port=4244), stream(IPV6, port=4246)], [b"hello"] * 2)
            self.assertEqual([stream(IPV6, port=4244), stream(IPV4, port=4246)], [None] * 2)

    def test_override(self):
        home = os.path.join(world.folder, "config")
        os.makedirs(home + "/weir", exist_ok=True)
        env = {"XDG_CONFIG_HOME": home}
        arguments = ("--app", "echo", "--listen", "tcp:%d" % PORT, "--filter", "ip")
        with Running(*arguments, env=env):
            self.assertEqual([stream(IPV4, wait=PATIENCE), stream(IPV6)], [b"hello", None])
        write(home + "/weir/echo.weir", "ipv6  # the user's last word\n")
        with Running(*arguments, env=env):
            self.assertEqual([stream(IPV4), stream(IPV6)], [None, b"hello"])
        write(home + "/weir/echo.weir", "nonsense\n")
        status, said = fails(*arguments, env=env)
        self.assertEqual(status, 1)
        self.assertIn("echo.weir:1:1", said)
        self.assertEqual(fails("--app", "../x", env=env)[0], 1)


class Attach(TestCase):
    def test_attach_and_detach(self):
        with Running("--listen", "tcp:%d" % PORT) as running:
            pid = str(running.process.pid)
            self.assertEqual(stream(IPV6, wait=PATIENCE), b"hello")
            self.assertIn("ebpf", weir("attach", pid, "3", ONLY_IPV4).stdout)
            self.assertEqual([stream(IPV4, wait=PATIENCE), stream(IPV6)], [b"hello", None])
            weir("detach", pid, "3")
            self.assertEqual(stream(IPV6, wait=PATIENCE), b"hello")
            self.assertIn("cbpf", weir("attach", pid, "3", ONLY_IPV4, "--backend", "cbpf", "--lock").stdout)
            self.assertEqual([stream(IPV4, wait=PATIENCE), stream(IPV6)], [b"hello", None])
            done = weir("detach", pid, "3", check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn("locked", done.stderr)
            self.assertEqual(weir("attach", pid, "3", "tcp", check=False).returncode, 2)

    def test_bad_input(self):
        with Running("--listen", "tcp:%d" % PORT) as running:
            pid = str(running.process.pid)
            for arguments, words in (((pid, "77", "tcp"), "no descriptor 77"), ((pid, "0", "tcp"), "no socket"),
                                     (("999999999", "3", "tcp"), "no process"), ((pid, "3", "eth.src"), "eth.src")):
                done = weir("attach", *arguments, check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(words, done.stderr)
            done = weir("detach", pid, "3", check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(weir("attach", "x", "3", "tcp", check=False).returncode, 3)


def run_cgroups():
    top = cgroup_mount() + cgroup_of_self().rstrip("/")
    return [name for name in os.listdir(top) if name.startswith("weir-run-")]


class Cgroups(TestCase):
    def setUp(self):
        if cgroup_mount() is None:
            self.skipTest("no cgroup2 mount")

    SEND = ("import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            "for port in 7002,7001: s.sendto(b'x',('10.77.0.2',port))\n"
            "print('sent', flush=True)\n")

    @contextlib.contextmanager
    def arrivals(self):
        with contextlib.ExitStack() as stack:
            with world.peer:
                socks = [stack.enter_context(socket.socket(IPV4, socket.SOCK_DGRAM)) for _ in range(2)]
            for sock, port in zip(socks, (7001, 7002)):
                sock.bind((PEER4, port))
            yield lambda: [drain(sock) for sock in socks]

    def test_egress(self):
        with self.arrivals() as came:
            with Running("--egress", "udp.dst_port == 7001", command=(PYTHON, "-c", self.SEND)) as running:
                self.assertEqual(running.line(), "sent")
            self.assertEqual(came(), [1, 0])
        self.assertTrue(eventually(lambda: not run_cgroups()))
        self.assertTrue(eventually(lambda: not processes("weir-cgroup")))

    def test_children_too_and_until_the_last(self):
        code = "import os,time\nif os.fork(): os._exit(0)\nos.setsid(); time.sleep(0.6)\n" + self.SEND
        with self.arrivals() as came:
            with Running("--egress", "udp.dst_port == 7001", "--user", "nobody", "--drop-caps",
                         command=(PYTHON, "-c", code)) as running:
                running.process.wait()
                self.assertEqual(len(run_cgroups()), 1)
                self.assertEqual(running.line(), "sent")
            self.assertEqual(came(), [1, 0])
        self.assertTrue(eventually(lambda: not run_cgroups()))

    def test_ingress(self):
        with Running("--listen", "udp:%d" % PORT, "--ingress", "ip"):
            self.assertEqual([datagram(IPV4), datagram(IPV6)], [b"hello", None])
        self.assertTrue(eventually(lambda: not run_cgroups()))

    def test_failure_leaves_nothing(self):
        status, said = fails("--egress", "eth.src == 00:11:22:33:44:55")
        self.assertEqual(status, 1, said)
        self.assertEqual(run(WEIR, "run", "--egress", "tcp", "--", "no-such-command", check=False).returncode, 127)
        self.assertTrue(eventually(lambda: not run_cgroups()))


class Library(TestCase):
    """The examples with filters of their own, built and run."""

    RULES = "udp && src in { 10.0.0.0/8, ::1 }"
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(WEIR))))

    def library(self):
        path = os.path.join(self.folder, "src/libweir.so.0")
        if os.path.exists(path):
            with open(path, "rb") as file:
                if b"libasan" in file.read():
                    self.skipTest("a library with sanitizers is only for programs with them")
        return path

    def build(self, name):
        if not os.path.exists(self.library()) or not shutil.which("cc"):
            self.skipTest("no library beside the program, or no compiler")
        target = os.path.join(world.folder, name)
        run("cc", "-Wall", "-Wextra", "-Werror", "-I", os.path.join(ROOT, "include"), "-o", target,
            os.path.join(ROOT, "examples/app", name + ".c"), self.library(),
            "-Wl,-rpath," + os.path.dirname(self.library()))
        os.chmod(world.folder, 0o755)
        return target

    @contextlib.contextmanager
    def started(self, *command, nobody=True):
        line = NOBODY + list(command) if nobody and may_run_as_nobody() else list(command)
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=dict(os.environ, LIBWEIR=self.library(), HOME=world.folder))
        try:
            if process.stdout.readline() != b"started\n":
                raise RuntimeError(process.stderr.read().decode())
            yield process
        finally:
            process.kill()
            process.communicate()

    def test_datagrams(self):
        with self.started(self.build("echo_filtered"), str(PORT)):
            self.assertEqual(datagram(IPV4, wait=PATIENCE), b"hello")
        os.makedirs(world.folder + "/.config/weir", exist_ok=True)
        write(world.folder + "/.config/weir/echo.weir", "ipv6\n")
        try:
            with self.started(self.build("echo_filtered"), str(PORT)):
                self.assertEqual([datagram(IPV4), datagram(IPV6)], [None, b"hello"])
        finally:
            os.unlink(world.folder + "/.config/weir/echo.weir")

    @each([("steered", (True,)), ("as root", (False,))])
    def test_http(self, nobody):
        with self.started(self.build("http_private"), "tcp:%d" % PORT, nobody=nobody):
            self.assertIn(b"only for us", stream(IPV4))
            run("ip", "addr", "add", "192.0.2.9/32", "dev", "lo")
            with world.peer:
                run("ip", "addr", "add", "198.51.100.2/32", "dev", "peer0")
                sock = socket.socket()
            run("ip", "route", "add", "198.51.100.2/32", "dev", "weir0")
            run("ip", "neigh", "replace", "198.51.100.2", "lladdr", PEER_MAC, "dev", "weir0", "nud", "permanent")
            with sock:
                sock.bind(("198.51.100.2", 0))
                sock.settimeout(0.4 * SLOW)
                with self.assertRaises(TimeoutError):
                    sock.connect((OUR4, PORT))
            run("ip", "addr", "del", "192.0.2.9/32", "dev", "lo")
            run("ip", "route", "del", "198.51.100.2/32", "dev", "weir0")
            world.peer.run("ip", "addr", "del", "198.51.100.2/32", "dev", "peer0")
        self.assertTrue(eventually(lambda: not processes("weir-decoy")))

    def test_ctypes(self):
        if not os.path.exists(self.library()):
            self.skipTest("no library beside the program")
        with self.started(PYTHON, os.path.join(ROOT, "examples/app/echo_ctypes.py"), str(PORT), self.RULES):
            self.assertEqual([datagram(IPV4), datagram(IPV6)], [b"hello", None])
        done = run(PYTHON, os.path.join(ROOT, "examples/app/echo_ctypes.py"), str(PORT), "src in {", check=False,
                   env=dict(os.environ, LIBWEIR=self.library()))
        self.assertEqual(done.returncode, 1)
        self.assertIn("expression:1:", done.stderr)


class Many(TestCase):
    def test_hundred_leave_nothing(self):
        """Half of them with a cgroup, half with a decoy; every third one is killed at some moment."""
        started, pinned = [], bpffs_leftovers()
        for number in range(100):
            options = ["--egress", "tcp"] if number % 2 and cgroup_mount() else \
                ["--listen", "tcp:%d" % (10000 + number), "--filter", "tcp", "--backend", "reuseport"]
            started.append(subprocess.Popen([WEIR, "run", *options, "--", "sleep", "0.5"], stderr=subprocess.DEVNULL))
            if number % 3 == 0:
                time.sleep(0.002 * (number % 10))
                started[-1].kill()
        for process in started:
            self.assertIn(process.wait(), (0, -signal.SIGKILL))
        self.assertTrue(eventually(lambda: not run_cgroups() and not processes("weir-decoy") and
                                   not processes("weir-cgroup"), 15),
                        (run_cgroups(), processes("weir-decoy"), processes("weir-cgroup")))
        self.assertEqual(run("ss", "-Hltn").stdout, "")
        self.assertEqual(bpffs_leftovers(), pinned)


if __name__ == "__main__":
    main()
