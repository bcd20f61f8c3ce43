#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The metadata service of a cloud, by a stand-in that wants a token as AWS's does: only who is allowed gets credentials."""

import http.client
import http.server
import threading
import unittest.mock

from weirtest import *

ADDRESS, ADDRESS6 = "169.254.169.254", "fd00:ec2::254"
NOBODY = 65534
CLONE_NEWUSER = 0x10000000
SECRET = b"AKIA-SECRET"


class Service(http.server.BaseHTTPRequestHandler):
    """PUT gives a token, GET wants it back."""

    token = "token-of-the-day"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        there = "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
        self.answer(200 if there else 400, self.token.encode() if there else b"")

    def do_GET(self):
        good = self.headers.get("X-aws-ec2-metadata-token") == self.token
        self.answer(200 if good else 401, SECRET if good else b"")

    def log_message(self, *unused):
        pass


class Service6(http.server.ThreadingHTTPServer):
    address_family = IPV6


def credentials(address):
    """What a client of the second version gets: the credentials, or the errno's name."""
    try:
        connection = http.client.HTTPConnection(address, 80, timeout=2 * SLOW)
        connection.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        token = connection.getresponse().read().decode()
        connection.request("GET", "/latest/meta-data/iam/security-credentials/role",
                           headers={"X-aws-ec2-metadata-token": token})
        return connection.getresponse().read().decode()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode[error.errno]


def sends_raw():
    """What comes of a packet that no call could judge, made by hand."""
    packet = ipv4(17, udp_header(80, b"x"), inbound=False)
    packet = packet[:16] + socket.inet_aton(ADDRESS) + packet[20:]
    with socket.socket(IPV4, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        try:
            raw.sendto(packet, (ADDRESS, 0))
        except OSError as error:
            return errno.errorcode[error.errno]
    return "done"


def in_child(work, prepare=lambda: None):
    """What `work` returns in a child, after `prepare`."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            prepare()
            os.write(writer, str(work()).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(child, 0)
    return text


def become(uid):
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


class Metadata(TestCase):
    """The service lives in the peer; who asks is in a cgroup of the test's own, which stands for "/"."""

    @classmethod
    def setUpClass(cls):
        run("ip", "route", "add", ADDRESS, "via", PEER4)
        run("ip", "-6", "route", "add", ADDRESS6, "via", PEER6)
        world.peer.run("ip", "addr", "add", ADDRESS + "/32", "dev", "lo")
        world.peer.run("ip", "-6", "addr", "add", ADDRESS6 + "/128", "dev", "lo", "nodad")
        world.peer.run("ip", "route", "add", "10.78.0.0/24", "via", OUR4)
        with world.peer:
            cls.servers = [http.server.ThreadingHTTPServer((ADDRESS, 80), Service), Service6((ADDRESS6, 80), Service)]
        for server in cls.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.shutdown()
            server.server_close()

    def setUp(self):
        self.cgroup = Cgroup()
        self.cgroup.__enter__()

    def tearDown(self):
        super().tearDown()
        self.cgroup.__exit__()
        self.cgroup.remove()

    def apply(self, *options):
        text = weir("preset", "metadata", *options).stdout
        self.assertIn('on connect "/"', text)
        return apply(text.replace('"/"', '"%s"' % self.cgroup.name))

    def events(self):
        return [json.loads(line) for line in weir("log", "--json").stdout.splitlines()]

    def test_root_may_ask_and_nobody_may_not(self):
        self.apply("--allow", "user=root")
        for address in (ADDRESS, ADDRESS6):
            self.assertEqual(credentials(address), SECRET.decode())
            begin = time.monotonic()
            self.assertEqual(in_child(lambda: credentials(address), lambda: become(NOBODY)), "EPERM")
            self.assertLess(time.monotonic() - begin, 1 * SLOW)
        self.assertEqual([(e["verdict"], e["user"], e["destination"], e["destination_port"], e["hook"])
                          for e in self.events()],
                         [("reject", NOBODY, ADDRESS, 80, "connect"), ("reject", NOBODY, ADDRESS6, 80, "connect")])

    def test_a_cgroup_may_ask(self):
        inside = self.cgroup.path + "/agent"
        os.mkdir(inside)
        try:
            self.apply("--allow", "cgroup=%s/agent" % self.cgroup.name, "--provider", "aws")
            self.assertEqual(credentials(ADDRESS), "EPERM")
            self.assertEqual(in_child(lambda: credentials(ADDRESS), lambda: write(inside + "/cgroup.procs", "0")),
                             SECRET.decode())
        finally:
            os.rmdir(inside)

    def test_observe(self):
        self.apply("--allow", "user=root", "--observe")
        self.assertEqual(in_child(lambda: credentials(ADDRESS), lambda: become(NOBODY)), SECRET.decode())
        seen = self.events()
        self.assertEqual({(e["verdict"], e["observed"], e["user"]) for e in seen}, {("reject", True, NOBODY)})
        self.assertIn("connect", {e["hook"] for e in seen})

    def test_import(self):
        """The study's configuration: by user and interface, at packets; --block-others as its own filter does."""
        path = os.path.join(world.folder, "study.yml")
        write(path, "endpoints:\n- imdsv2: {iface: [weir0], range: [%s/32, '%s'], allow: [root]}\n" % (ADDRESS, ADDRESS6))
        apply(weir("import", path).stdout)
        for address in (ADDRESS, ADDRESS6):
            self.assertEqual(credentials(address), SECRET.decode())
            self.assertEqual(in_child(lambda: credentials(address), lambda: become(NOBODY)), "ECONNREFUSED")
        self.assertEqual([(e["verdict"], e["text"], e["user"], e["destination"]) for e in self.events()],
                         [("reject", "imdsv2", NOBODY, ADDRESS), ("reject", "imdsv2", NOBODY, ADDRESS6)])
        self.assertEqual(udp(7001, inbound=False), 1)
        weir("flush", "--all")
        apply(weir("import", "--block-others", path).stdout)
        self.assertEqual(credentials(ADDRESS), SECRET.decode())
        self.assertEqual(udp(7001, inbound=False), 0)

    def test_raw_sockets_do_not_get_around(self):
        self.apply()
        self.assertEqual(sends_raw(), "EPERM")

    def test_a_container(self):
        """A process in a user and network namespace of its own, root there, behind a veth pair."""
        self.apply("--allow", "user=root")
        ready, go = os.pipe(), os.pipe()

        def contained():
            become(NOBODY)
            libc.prctl(4, 1)  # PR_SET_DUMPABLE: its namespaces are its own again
            check_call(libc.unshare(CLONE_NEWUSER | CLONE_NEWNET))
            write("/proc/self/setgroups", "deny")
            write("/proc/self/uid_map", "0 %d 1" % NOBODY)
            os.write(ready[1], b"%d" % os.getpid())
            os.read(go[0], 1)
            run("ip", "addr", "add", "10.78.0.2/24", "dev", "inner0")
            run("ip", "link", "set", "inner0", "up")
            run("ip", "route", "add", "default", "via", "10.78.0.1")
            return "%d %s %s" % (os.getuid(), credentials(ADDRESS), sends_raw())

        def arrange():
            child = os.read(ready[0], 32).decode()
            run("ip", "link", "add", "outer0", "type", "veth", "peer", "name", "inner0", "netns", child)
            run("ip", "addr", "add", "10.78.0.1/24", "dev", "outer0")
            run("ip", "link", "set", "outer0", "up")
            write("/proc/sys/net/ipv4/ip_forward", "1")
            os.write(go[1], b"x")

        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writer, contained().encode())
            except BaseException as error:
                os.write(writer, repr(error).encode())
                os.write(ready[1], b"0")
            os._exit(0)
        os.close(writer)
        try:
            arrange()
        finally:
            with os.fdopen(reader) as file:
                text = file.read()
            os.waitpid(child, 0)
            run("ip", "link", "del", "outer0", check=False)
        self.assertEqual(text, "0 EPERM EPERM")
        by_call, by_packet = self.events()
        self.assertEqual((by_call["hook"], by_call["user"], by_call["pid"]), ("connect", NOBODY, child))
        self.assertEqual((by_packet["hook"], by_packet["user"]), ("cgroup-egress", NOBODY))

    def test_a_container_on_older_kernels(self):
        """By the programs for kernels before 6.2."""
        with unittest.mock.patch.dict(os.environ, {"WEIR_TEST_PLAIN": "1"}):
            self.test_a_container()


if __name__ == "__main__":
    main()
