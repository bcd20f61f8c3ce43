#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Services behind filters, under a real systemd: `weir systemd`, the units that `make install` brings, boot."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kernel")]

import boot  # noqa: E402
from weirtest import SLOW, TapResult, flatten, run, skip_all, write  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("WEIR_BUILD", os.path.join(ROOT, "build"))
UNITS = "/run/systemd/system/"
WEIR = "/usr/local/sbin/weir"
OPEN, SHUT = 4001, 4002  # ports of the server
SHORT = 0.3 * SLOW

# Answers on both ports by TCP with its pid, and counts datagrams into a file.
SERVER = """
import os, select, socket, sys
tcp = [socket.socket(fileno=int(fd)) for fd in os.environ.get("FDS", "").split()]
for port in map(int, sys.argv[2:]):
    tcp.append(socket.create_server(("127.0.0.1", port)))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 4003))
open(sys.argv[1], "w").write("0")
count = 0
while True:
    for ready in select.select(tcp + [udp], [], [])[0]:
        if ready is udp:
            udp.recv(2000)
            count += 1
            open(sys.argv[1], "w").write("%d" % count)
        else:
            with ready.accept()[0] as client:
                client.sendall(b"%d" % os.getpid())
"""


def weir(*arguments, check=True):
    return run(WEIR, *arguments, check=check)


def systemctl(*arguments, check=True):
    return run("systemctl", *arguments, check=check)


def show(unit, name):
    return systemctl("show", "--value", "-p", name, unit).stdout.strip()


def unit(name, text):
    write(UNITS + name, text)
    systemctl("daemon-reload")


def ask(port, source="127.0.0.1", wait=SHORT):
    """What the server says, or None if it does not answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), wait, (source, 0)) as client:
            return client.recv(64).decode()
    except TimeoutError:
        return None


def answer(port, source="127.0.0.1"):
    """The same where an answer will come; a server that is started by the question takes its time."""
    return ask(port, source, 20 * SLOW)


def wait_for(what):
    for _ in range(int(200 * SLOW)):
        try:
            if what():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come")


def listening(port):
    with open("/proc/net/tcp") as file:
        return "0100007F:%04X 00000000:0000 0A" % port in file.read()


class Server:
    """srv.service, running."""

    COUNT = "/run/srv.count"

    def __init__(self, name="srv.service"):
        self.name = name
        write("/run/server.py", SERVER)
        unit(name, "[Service]\nExecStart=/usr/bin/python3 /run/server.py %s %d %d\n" % (self.COUNT, OPEN, SHUT))

    def start(self):
        systemctl("start", self.name)
        wait_for(lambda: listening(OPEN) and listening(SHUT) and os.path.exists(self.COUNT))
        return self

    def pid(self):
        return show(self.name, "MainPID")


class TestCase(unittest.TestCase):
    def tearDown(self):
        for name in os.listdir(UNITS):
            if name.startswith(("srv", "ping", "drop")):
                systemctl("stop", name, check=False)
        systemctl("stop", "weir@*.service", "weir-filter@*.service", "srv*", "ping*", check=False)
        run(WEIR, "flush", "--all", check=False)
        for folder in (UNITS, "/etc/systemd/system/"):
            for name in os.listdir(folder):
                if name.startswith(("srv", "ping", "drop")):
                    run("rm", "-rf", folder + name)
        systemctl("daemon-reload")
        systemctl("reset-failed")

    def assertFiltered(self):
        self.assertIsNotNone(answer(OPEN))
        self.assertIsNone(ask(SHUT))

    def assertOpen(self):
        self.assertIsNotNone(answer(OPEN))
        self.assertIsNotNone(answer(SHUT))


PROTECT = ("systemd", "protect", "srv", "--ingress", "tcp && dst_port == %d" % OPEN)


class Protect(TestCase):
    def test_a_service_that_runs(self):
        server = Server().start()
        pid = server.pid()
        self.assertOpen()
        done = weir(*PROTECT)
        self.assertIn("srv.service: filtered from now on", done.stdout)
        self.assertIn("ExecCondition=+/usr/local/sbin/weir systemd enter %n --ingress \"tcp && dst_port == 4001\"",
                      done.stdout)
        self.assertFiltered()
        self.assertEqual(server.pid(), pid)
        shown = json.loads(weir("show", "srv_service", "--json").stdout)
        self.assertGreater(shown["default"]["packets"], 0)

    def test_a_service_that_starts_later(self):
        server = Server()
        self.assertIn("filtered when it starts", weir(*PROTECT).stdout)
        server.start()
        self.assertFiltered()

    def test_a_restart(self):
        server = Server().start()
        weir(*PROTECT)
        before = os.stat("/sys/fs/cgroup/system.slice/srv.service").st_ino
        systemctl("stop", "srv")
        self.assertFalse(os.path.exists("/sys/fs/cgroup/system.slice/srv.service"))
        server.start()
        self.assertNotEqual(os.stat("/sys/fs/cgroup/system.slice/srv.service").st_ino, before)
        self.assertFiltered()

    def test_nothing_passes_while_systemd_reloads(self):
        server = Server().start()
        weir("systemd", "protect", "srv", "--ingress", "tcp")
        stop = threading.Event()

        def flood():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                while not stop.is_set():
                    client.sendto(b"x", ("127.0.0.1", 4003))

        sender = threading.Thread(target=flood)
        sender.start()
        for _ in range(5):
            systemctl("daemon-reload")
        stop.set()
        sender.join()
        shown = json.loads(weir("show", "srv_service", "--json").stdout)
        self.assertGreater(shown["default"]["packets"], 100)
        with open(server.COUNT) as file:
            self.assertEqual(file.read(), "0")

    def test_another_filter_replaces_the_first(self):
        Server().start()
        weir(*PROTECT)
        weir("systemd", "protect", "srv", "--ingress", "tcp && dst_port == %d" % SHUT)
        self.assertIsNone(ask(OPEN))
        self.assertIsNotNone(answer(SHUT))

    def test_what_it_may_send(self):
        Server().start()
        weir("systemd", "protect", "srv", "--egress", "tcp && src_port == %d" % OPEN)
        self.assertFiltered()

    def test_answers_to_what_it_receives(self):
        Server().start()
        weir("systemd", "protect", "srv", "--egress", "established")
        self.assertOpen()
        self.assertIn("track on cgroup", weir("show", "srv_service", "--source").stdout)

    def test_unprotect(self):
        Server().start()
        weir(*PROTECT)
        weir("systemd", "unprotect", "srv")
        self.assertOpen()
        self.assertFalse(os.path.exists("/etc/systemd/system/srv.service.d"))
        self.assertEqual(json.loads(weir("list", "--json").stdout)["policies"], [])
        systemctl("restart", "srv")
        wait_for(lambda: listening(SHUT))
        self.assertOpen()

    def test_unprotect_of_what_is_not_protected(self):
        Server()
        done = weir("systemd", "unprotect", "srv", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("srv.service is not protected", done.stderr)

    def test_dry_run(self):
        Server().start()
        done = weir(*PROTECT, "--dry-run")
        self.assertIn("nothing was changed", done.stdout)
        self.assertOpen()
        self.assertFalse(os.path.exists("/etc/systemd/system/srv.service.d"))

    def test_two_policies_on_one_service(self):
        Server().start()
        weir(*PROTECT)
        write("/run/more.weir", 'policy more {\n on cgroup "/system.slice/srv.service" ingress\n default accept\n'
                                "drop if dst_port == %d\n}\n" % OPEN)
        weir("apply", "/run/more.weir")
        self.assertIsNone(ask(OPEN))
        self.assertIsNone(ask(SHUT))
        weir("delete", "more")
        self.assertFiltered()

    def test_characters_that_unit_files_and_policies_give_a_meaning(self):
        server = Server("srv@a-b\\x2dc.service")
        write("/run/x.weir", "")
        weir("systemd", "protect", server.name, "--ingress",
             "tcp && dst_port == %d # 100 %% \"quoted\" $HOME \\ 'x'" % OPEN)
        systemctl("daemon-reload")
        server.start()
        self.assertFiltered()


class Sockets(TestCase):
    """The filter of a service does not cover what its socket unit passes on; that of the socket unit does."""

    ACTIVATED = ("[Service]\nEnvironment=FDS=3\nExecStart=/usr/bin/python3 /run/server.py /run/srv.count\n")

    def setUp(self):
        write("/run/server.py", SERVER)
        write(UNITS + "srv.service", self.ACTIVATED)
        unit("srv.socket", "[Socket]\nListenStream=127.0.0.1:%d\n" % OPEN)
        systemctl("start", "srv.socket")

    def test_both_are_filtered(self):
        done = weir("systemd", "protect", "srv", "--ingress", "src == 127.0.0.1")
        self.assertIn("/etc/systemd/system/srv.socket.d/50-weir.conf", done.stdout)
        self.assertIn("srv.socket: filtered from now on", done.stdout)
        self.assertIsNone(ask(OPEN, "127.0.0.2"))
        self.assertIsNotNone(answer(OPEN))
        self.assertIsNone(ask(OPEN, "127.0.0.2"))
        systemctl("stop", "srv.service")
        systemctl("restart", "srv.socket")
        self.assertIsNone(ask(OPEN, "127.0.0.2"))
        self.assertIsNotNone(answer(OPEN))

    def test_the_service_alone_would_not_do(self):
        weir("systemd", "protect", "srv", "--ingress", "src == 127.0.0.1")
        weir("delete", "srv_socket")
        self.assertIsNotNone(answer(OPEN, "127.0.0.2"))

    def test_unprotect(self):
        weir("systemd", "protect", "srv", "--ingress", "src == 127.0.0.1")
        weir("systemd", "unprotect", "srv")
        self.assertIsNotNone(answer(OPEN, "127.0.0.2"))
        self.assertFalse(os.path.exists("/etc/systemd/system/srv.socket.d"))


class Closed(TestCase):
    """What goes wrong leaves the service stopped, not unfiltered."""

    def start_fails(self):
        systemctl("daemon-reload")
        systemctl("restart", "srv", check=False)
        self.assertIn(show("srv", "ActiveState"), ("failed", "inactive"))
        with self.assertRaises(ConnectionRefusedError):
            ask(OPEN)

    def test_an_expression_that_is_wrong(self):
        Server()
        done = weir("systemd", "protect", "srv", "--ingress", "tcp && dst_prot == 1", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("unit srv.service:6:35: error: unknown field `dst_prot`", done.stderr)
        self.assertFalse(os.path.exists("/etc/systemd/system/srv.service.d"))

    def test_a_field_that_the_hook_cannot_see(self):
        Server()
        done = weir("systemd", "protect", "srv", "--ingress", "eth.src == 02:00:00:00:00:01", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("unit srv.service:6:28: error:", done.stderr)

    def test_a_drop_in_that_somebody_broke(self):
        Server()
        weir(*PROTECT)
        path = "/etc/systemd/system/srv.service.d/50-weir.conf"
        with open(path) as file:
            text = file.read()
        write(path, text.replace("dst_port", "dst_prot"))
        self.start_fails()
        self.assertEqual(show("srv", "ActiveState"), "failed")

    def test_weir_is_not_there(self):
        Server()
        weir(*PROTECT)
        os.rename(WEIR, WEIR + ".away")
        try:
            self.start_fails()
        finally:
            os.rename(WEIR + ".away", WEIR)

    def test_no_such_unit(self):
        done = weir("systemd", "protect", "nosuch", "--ingress", "tcp", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("there is no unit nosuch.service", done.stderr)

    def test_other_units(self):
        for name, words in (("system.slice", "`on cgroup` filters all that is in a slice"),
                            ("srv.timer", "protect the service that it starts"), ("basic.target", "services that it wants"),
                            ("tmp.mount", "`on tc`"), ("./srv.service", "a path, not a unit's name")):
            done = weir("systemd", "protect", name, "--ingress", "tcp", check=False)
            self.assertEqual((done.returncode, done.stdout), (1, ""), name)
            self.assertIn(words, done.stderr)
        done = weir("systemd", "protect", "my.app", "--ingress", "tcp", check=False)
        self.assertIn("there is no unit my.app.service", done.stderr)

    def test_bpffs_unmounted(self):
        """What was pinned is gone with it, and so are the filters: the next start of the service brings them back."""
        server = Server().start()
        weir(*PROTECT)
        self.assertFiltered()
        run("umount", "/sys/fs/bpf")
        systemctl("stop", "srv")
        server.start()
        self.assertFiltered()


class Boot(TestCase):
    """weir@.service and `weir enable`."""

    TEXT = ("policy web {\n    on tc lo ingress\n    default accept\n    drop if tcp.dst_port == %d\n}\n")

    def tearDown(self):
        weir("disable", "web", check=False)
        super().tearDown()
        run("rm", "-rf", "/etc/weir")

    def policies(self):
        return [policy["name"] for policy in json.loads(weir("list", "--json").stdout)["policies"]]

    def enable(self, port):
        write("/run/web.weir", self.TEXT % port)
        return weir("enable", "/run/web.weir")

    def test_start_reload_stop(self):
        Server().start()
        self.enable(SHUT)
        self.assertEqual(self.policies(), [])
        systemctl("start", "weir@web")
        self.assertEqual(self.policies(), ["web"])
        self.assertFiltered()
        write("/etc/weir/web.weir", self.TEXT % OPEN)
        systemctl("reload", "weir@web")
        self.assertIsNone(ask(OPEN))
        self.assertIsNotNone(answer(SHUT))
        systemctl("stop", "weir@web")
        self.assertEqual(self.policies(), [])
        self.assertOpen()

    def test_a_broken_file_leaves_the_old_rules(self):
        Server().start()
        self.enable(SHUT)
        systemctl("start", "weir@web")
        write("/etc/weir/web.weir", "policy web { on tc lo ingress default drip }\n")
        self.assertNotEqual(systemctl("reload", "weir@web", check=False).returncode, 0)
        self.assertFiltered()

    def test_it_comes_before_the_network(self):
        self.enable(SHUT)
        self.assertIn("network-pre.target", show("weir@web.service", "Before"))
        self.assertIn("weir@web.service", show("sysinit.target", "Wants"))
        weir("disable", "web")
        self.assertNotIn("weir@web.service", show("sysinit.target", "Wants"))

    def test_what_enable_refuses(self):
        self.enable(SHUT)
        write("/run/web.weir", self.TEXT % OPEN)
        done = weir("enable", "/run/web.weir", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/etc/weir/web.weir is there already and differs", done.stderr)
        weir("enable", "/run/web.weir", "--force")
        write("/run/bad.weir", "policy bad {")
        done = weir("enable", "/run/bad.weir", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/etc/weir/bad.weir:1:", done.stderr)
        self.assertFalse(os.path.exists("/etc/weir/bad.weir"))
        done = weir("enable", "nosuch", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot read /etc/weir/nosuch.weir", done.stderr)


class Always(TestCase):
    """weir-log.service and weir-metrics.service: started means that they do what they are for."""

    TEXT = ("policy web {\n    on tc lo ingress\n    default accept\n"
            "    log \"shut\" drop if tcp.dst_port == %d\n}\n" % SHUT)

    def setUp(self):
        write("/run/web.weir", self.TEXT)
        self.addCleanup(systemctl, "stop", "weir-log", "weir-metrics", check=False)

    def entries(self):
        done = run("journalctl", "--output=json", "WEIR_POLICY=web", "WEIR_TEXT=shut", check=False)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_events_go_to_the_journal(self):
        weir("apply", "/run/web.weir")
        systemctl("start", "weir-log")
        self.assertIsNone(ask(SHUT))
        wait_for(self.entries)
        entry = self.entries()[0]
        self.assertEqual((entry["WEIR_VERDICT"], entry["WEIR_RULE"], entry["WEIR_DESTINATION_PORT"]),
                         ("drop", "1", str(SHUT)))
        self.assertEqual(entry["_SYSTEMD_UNIT"], "weir-log.service")

    def test_a_policy_that_comes_later(self):
        known = len(self.entries())
        systemctl("start", "weir-log")
        weir("apply", "/run/web.weir")
        self.assertIsNone(ask(SHUT))
        wait_for(lambda: len(self.entries()) > known)

    def test_metrics_are_there_when_it_has_started(self):
        weir("apply", "/run/web.weir")
        systemctl("start", "weir-metrics")
        with urllib.request.urlopen("http://127.0.0.1:9469/metrics", timeout=5 * SLOW) as answer:
            self.assertIn('weir_rule_packets_total{policy="web"', answer.read().decode())
        self.assertEqual(show("weir-metrics.service", "ActiveState"), "active")


class Refresh(TestCase):
    USER = "weirtest"

    def setUp(self):
        self.passwd("20001")
        write("/run/owner.weir", 'policy owner {\n    on cgroup "/" egress\n    default accept\n'
                                 "    reject if user == %s and udp.dst_port == 4009\n}\n" % self.USER)
        weir("apply", "/run/owner.weir")

    def tearDown(self):
        self.passwd(None)
        super().tearDown()

    def passwd(self, uid):
        with open("/etc/passwd") as file:
            lines = [line for line in file if not line.startswith(self.USER + ":")]
        if uid:
            lines.append("%s:x:%s:%s::/:/bin/sh\n" % (self.USER, uid, uid))
        write("/etc/passwd", "".join(lines))

    def sends(self, uid):
        script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 4009))"
        return subprocess.run(["setpriv", "--reuid=%d" % uid, "--clear-groups", "python3", "-c", script],
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    def test_a_user_with_another_number(self):
        self.assertFalse(self.sends(20001))
        self.passwd("20002")
        self.assertFalse(self.sends(20001))
        weir("refresh")
        self.assertTrue(self.sends(20001))
        self.assertFalse(self.sends(20002))

    def test_a_user_who_is_deleted(self):
        self.passwd(None)
        done = weir("refresh", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(self.USER, done.stderr)
        self.assertFalse(self.sends(20001))

    def test_no_such_policy(self):
        done = weir("refresh", "ownr", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("did you mean `owner`?", done.stderr)

    def test_the_path_unit_notices_an_upgrade(self):
        """Another file in the program's place, and the package manager's note of it."""
        run("cp", "/bin/ping", "/usr/local/bin/srvping")
        self.addCleanup(os.unlink, "/usr/local/bin/srvping")
        write("/run/agent.weir", 'policy agent {\n on connect "/"\n default accept\n accept if program == '
                                 '"/usr/local/bin/srvping"\n reject if udp.dst_port == 1025 and user == 20002\n}\n')
        weir("apply", "/run/agent.weir")
        systemctl("start", "weir-refresh.path")
        self.addCleanup(systemctl, "stop", "weir-refresh.path")
        run("cp", "/bin/ping", "/usr/local/bin/srvping.new")
        os.rename("/usr/local/bin/srvping.new", "/usr/local/bin/srvping")
        self.assertIn("is another file now", weir("list").stderr)
        with open("/var/lib/dpkg/status", "a") as status:
            status.write("\n")
        wait_for(lambda: "is another file now" not in weir("list").stderr)

    def test_a_unit_that_runs(self):
        Server().start()
        write("/run/unit.weir", 'policy unit {\n on cgroup "/" ingress\n default accept\n'
                                ' drop if unit == "srv.service" and tcp.dst_port == %d\n}\n' % SHUT)
        weir("apply", "/run/unit.weir")
        self.assertFiltered()

    def test_the_path_unit_notices(self):
        systemctl("start", "weir-refresh.path")
        self.passwd("20003")
        wait_for(lambda: not self.sends(20003))
        systemctl("stop", "weir-refresh.path")

    def test_a_policy_whose_cgroup_is_gone_waits(self):
        server = Server().start()
        weir(*PROTECT)
        systemctl("stop", "srv")
        weir("refresh")
        server.start()
        self.assertFiltered()


class Articles(TestCase):
    """The examples that systemd's IP*FilterPath= was introduced with: filters by unit and by instance name."""

    def ping_unit(self, name, lines):
        unit(name, "[Unit]\n%s[Service]\nType=oneshot\nExecStart=/bin/ping -c 1 -W 1 127.0.0.1\n%s" % lines)

    def pings(self, name):
        return systemctl("start", name, check=False).returncode == 0

    def instance(self, expression):
        return weir("systemd", "escape", expression).stdout.strip()

    def filtered(self, expression):
        name = self.instance(expression)
        loader = "weir-filter@%s.service" % name
        return ("Requires=%s\nAfter=%s\n" % (loader, loader),
                "IPIngressFilterPath=/sys/fs/bpf/weir-filter/%s-ingress\n"
                "IPEgressFilterPath=/sys/fs/bpf/weir-filter/%s-egress\n" % (name, name))

    def test_a_filtered_ping(self):
        self.ping_unit("ping1.service", ("", ""))
        self.assertTrue(self.pings("ping1.service"))
        self.ping_unit("ping2.service", self.filtered("!icmp"))
        self.assertFalse(self.pings("ping2.service"))
        self.ping_unit("ping3.service", self.filtered("icmp || (udp && dst_port == 53)"))
        self.assertTrue(self.pings("ping3.service"))

    def test_the_expression_in_the_instance_name(self):
        template = os.path.join(ROOT, "examples/systemd/ping-with-filter@.service")
        with open(template) as file:
            unit("ping-with-filter@.service", file.read())
        self.assertTrue(self.pings("ping-with-filter@%s.service" % self.instance("icmp and dst in 127.0.0.0/8")))
        self.assertFalse(self.pings("ping-with-filter@%s.service" % self.instance("udp && dst_port == 53")))

    def test_drop_everything(self):
        name = self.instance("ip && !ip")
        systemctl("start", "weir-filter@%s.service" % name)
        done = run("systemd-run", "--wait", "--quiet", "-p", "IPIngressFilterPath=/sys/fs/bpf/weir-filter/%s-ingress" % name,
                   "-p", "IPEgressFilterPath=/sys/fs/bpf/weir-filter/%s-egress" % name, "/bin/ping", "-c", "1", "-W", "1",
                   "127.0.0.1", check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_a_program_that_somebody_pinned(self):
        """As IPEgressFilterPath= and as BPFProgram=, which lets the service run without one, too."""
        pin = "/sys/fs/bpf/pinned"
        weir("load", "--hook", "cgroup-egress", "--pin", pin, "!icmp")
        self.addCleanup(os.unlink, pin)
        for lines, pinged in (("IPEgressFilterPath=" + pin, False), ("BPFProgram=egress:" + pin, False),
                              ("IPEgressFilterPath=/sys/fs/bpf/nosuch", False), ("BPFProgram=egress:/sys/fs/bpf/nosuch", True)):
            self.ping_unit("ping6.service", ("", lines + "\n"))
            self.assertEqual(self.pings("ping6.service"), pinged, lines)
        done = weir("load", "--hook", "cgroup-egress", "--pin", "/sys/fs/bpf/a.b", "!icmp", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("names in bpffs have no dots", done.stderr)

    def test_no_filter_no_service(self):
        self.ping_unit("ping4.service", ("", "IPIngressFilterPath=/sys/fs/bpf/weir-filter/nosuch-ingress\n"))
        self.assertFalse(self.pings("ping4.service"))
        self.ping_unit("ping5.service", ("Requires=weir-filter@dst_prot.service\nAfter=weir-filter@dst_prot.service\n", ""))
        self.assertFalse(self.pings("ping5.service"))

    def test_escape(self):
        self.assertEqual(self.instance("src == 10.0.0.0/8"), "src\\x20\\x3d\\x3d\\x2010\\x2e0\\x2e0\\x2e0-8")
        done = weir("systemd", "escape", "dst_prot == 1", check=False)
        self.assertEqual(done.returncode, 1)
        long = " or ".join("dst_port == %d" % port for port in range(1, 40))
        done = weir("systemd", "escape", long, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("too long for a unit's name", done.stderr)


def install():
    run("meson", "install", "-C", BUILD, "--no-rebuild")
    run("ldconfig")
    run("ip", "link", "set", "lo", "up")
    systemctl("daemon-reload")


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    cases = [case for case in flatten(suite) if all(word in case.id() for word in sys.argv[1:])]
    if not boot.inside():
        reason = boot.why_not()
        if reason:
            skip_all(unittest.TestSuite(cases), reason)
            return
        if not boot.boot(os.path.abspath(__file__), [ROOT, BUILD], {"WEIR_BUILD": BUILD, "WEIR_SLOW": "%g" % SLOW}):
            sys.exit(1)
        return
    print("1..%d" % len(cases), flush=True)
    install()
    result = TapResult()
    unittest.TestSuite(cases).run(result)
    sys.stdout.flush()
    sys.exit(1 if result.bad else 0)


if __name__ == "__main__":
    main()
