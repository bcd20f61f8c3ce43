#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Programs for sockets: pinned by root, attached by anybody to own sockets, and then nobody gets around them. (Whether
they judge right is what tests/packet/socket.c asks.)"""

from weirtest import *

SO_DETACH_FILTER, SO_LOCK_FILTER, SO_ATTACH_BPF = 27, 44, 50
OTHER4 = "10.77.0.3"  # the peer's second address, which no filter here lets in
FILTER = "src in { 10.77.0.2, fd77::2 } and dst_port == 7100"


@contextlib.contextmanager
def nobody():
    """Without privileges for the block; files and capabilities as an ordinary user's."""
    os.setresgid(65534, 65534, 0)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


class Socket(TestCase):
    def setUp(self):
        super().setUp()
        if SYS_BPF is None:
            self.skipTest("the number of bpf(2) is not known here")
        os.chmod(world.folder, 0o711)
        world.peer.run("ip", "addr", "replace", OTHER4 + "/24", "dev", "peer0")
        self.pin = os.path.join(os.environ["WEIR_BPFFS"], "socket_pin")
        weir("load", "--hook", "socket", "--pin", self.pin, FILTER)
        self.addCleanup(os.unlink, self.pin)

    def filtered(self, kind, lock=True):
        """A socket at port 7100 of every address, filtered by a user without privileges."""
        with nobody():
            server = socket.socket(IPV6, kind)
            self.addCleanup(server.close)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            prog = open_pin(self.pin)
            server.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, prog)
            os.close(prog)
            if lock:
                server.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)
            server.bind(("::", 7100))
        if kind == socket.SOCK_STREAM:
            server.listen()
        server.settimeout(2)
        return server

    def connect(self, family, source):
        with world.peer:
            client = socket.socket(family, socket.SOCK_STREAM)
        self.addCleanup(client.close)
        client.bind((source, 0))
        client.settimeout(0.4 * SLOW)
        client.connect((ours(family), 7100))
        return client

    def test_mode(self):
        self.assertEqual(os.stat(self.pin).st_mode & 0o777, 0o644)

    def test_stream(self):
        """Outside: no answer to the SYN. Inside: nothing is noticed, over IPv4 (mapped) and IPv6."""
        server = self.filtered(socket.SOCK_STREAM)
        with self.assertRaises(TimeoutError):
            self.connect(IPV4, OTHER4)
        for family in FAMILIES:
            client = self.connect(family, peers(family))
            session, _ = server.accept()
            with session:
                client.sendall(b"x" * 100000)
                received = b""
                session.settimeout(2)
                while len(received) < 100000:
                    received += session.recv(65536)
                session.sendall(b"y")
                self.assertEqual(client.recv(1), b"y")

    def test_datagram(self):
        """Whole or not at all."""
        server = self.filtered(socket.SOCK_DGRAM)
        for family, source, comes in ((IPV4, PEER4, True), (IPV4, OTHER4, False), (IPV6, PEER6, True)):
            with world.peer, socket.socket(family, socket.SOCK_DGRAM) as client:
                client.bind((source, 0))
                for size in (0, 1, 1000, 9000):
                    client.sendto(b"z" * size, (ours(family), 7100))
            got = []
            server.settimeout(SHORT if not comes else 2)
            with contextlib.suppress(TimeoutError):
                while len(got) < 4:
                    got.append(len(server.recv(65536)))
            self.assertEqual(got, [0, 1, 1000, 9000] if comes else [])

    def test_locked(self):
        """Neither the listener nor what it accepts can be freed of the filter, not even by root."""
        server = self.filtered(socket.SOCK_STREAM)
        self.connect(IPV4, PEER4)
        session, _ = server.accept()
        with session:
            for one in (server, session):
                with self.assertRaises(PermissionError):
                    one.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
                with self.assertRaises(PermissionError):
                    one.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 0)

    def test_not_locked(self):
        server = self.filtered(socket.SOCK_STREAM, lock=False)
        server.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        self.connect(IPV4, OTHER4)

    def test_apply_has_nowhere_to_put_it(self):
        done = weir("apply", policy_file("policy t {\n on socket\n default drop\n accept if tcp\n}\n"), check=False)
        self.assertIn(done.returncode, (1, 2))
        self.assertIn("socket", done.stderr)
        self.assertEqual(weir("show", "t", check=False).returncode, 1)


if __name__ == "__main__":
    main()
