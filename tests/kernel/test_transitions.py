#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Each way in which real TCP connections begin, go on and end: what two stacks send is recorded on the wire and shown to
`weir test`, to the compiled program and to the model. Both must give each packet the state that it is known to have."""

import threading

from weirtest import *

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
STATES = ("new", "established", "related", "invalid")
POLICY = "policy t {\n on xdp lo\n track on tc lo egress\n default drop\n %s\n}" % "\n ".join("accept if " + state for state in STATES)
TCP_FASTOPEN, MSG_FASTOPEN = 23, 0x20000000
TCP_KEEPIDLE, TCP_KEEPINTVL = 4, 5


# --- recording -------------------------------------------------------------------------------------------------------


class Wire:
    """Records what passes weir0, in both directions, while it is open."""

    def __enter__(self):
        with world.us:
            self.raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 20)
        self.raw.bind(("weir0", 3))
        self.raw.settimeout(SHORT)
        self.frames = []
        self.stopped = None  # since when
        self.thread = threading.Thread(target=self.record)
        self.thread.start()
        return self

    def record(self):
        while not self.stopped or time.time() < self.stopped + SHORT:
            try:
                frame = self.raw.recv(65536)
            except TimeoutError:
                continue
            if frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
                self.frames.append((time.time(), frame))

    def __exit__(self, *unused):
        self.stopped = time.time()
        self.thread.join()
        self.raw.close()

    def capture(self):
        """Writes a pcap; its path."""
        path = os.path.join(world.folder, "wire.pcap")
        with open(path, "wb") as file:
            file.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
            for when, frame in self.frames:
                file.write(struct.pack("=IIII", int(when), int(when % 1 * 1e6), len(frame), len(frame)) + frame)
        return path


class Seen:
    """A recorded TCP segment: from us (">") or to us, flags, numbers."""

    def __init__(self, frame):
        ipv6 = frame[12:14] == b"\x86\xdd"
        ip = frame[14:]
        tcp = ip[40:] if ipv6 else ip[(ip[0] & 15) * 4:struct.unpack("!H", ip[2:4])[0]]
        self.ours = frame[6:12] == bytes.fromhex(OUR_MAC.replace(":", ""))
        self.proto = ip[6] if ipv6 else ip[9]
        self.seq, self.ack = struct.unpack("!II", tcp[4:12])
        self.flags = tcp[13] & (FIN | SYN | RST | ACK)
        self.data = len(tcp) - (tcp[12] >> 4) * 4

    def __str__(self):
        letters = "".join(letter for bit, letter in ((SYN, "S"), (FIN, "F"), (RST, "R"), (ACK, "A")) if self.flags & bit)
        return (">" if self.ours else "<") + letters + ("+" if self.data > 0 else "")


@contextlib.contextmanager
def deaf(*namespaces):
    """They get no TCP, though it comes down the wire."""
    rules = "table inet deaf {\n chain c {\n type filter hook prerouting priority -400\n meta l4proto tcp drop\n }\n}"
    with contextlib.ExitStack() as stack:
        for namespace in namespaces:
            namespace.run("nft", "-f", "-", input=rules)
            stack.callback(namespace.run, "nft", "delete", "table", "inet", "deaf")
        yield


def judged(wire, engine):
    """What `weir test` makes of each frame: a state, or what else happened."""
    done = weir("test", "--engine", engine, "--pcap", wire.capture(), policy_file(POLICY))
    names = dict(zip("1234", STATES))
    return [names.get(line.split()[2], line) for line in done.stdout.splitlines()]


# --- what two stacks do ----------------------------------------------------------------------------------------------


class Pair:
    """A client of ours, a server at the peer."""

    def __init__(self, family, port=7001):
        self.family, self.port = family, port
        self.from_address, self.to_address = ours(family), peers(family)
        with world.peer:
            self.server = socket.create_server((self.to_address, port), family=family)
        self.server.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 5)

    def socket(self):
        with world.us:
            client = socket.socket(self.family, socket.SOCK_STREAM)
        client.settimeout(5 * SLOW)
        return client

    def connect(self, port=0):
        client = self.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((self.from_address, port))
        client.connect((self.to_address, self.port))
        child, _ = self.server.accept()
        child.settimeout(5 * SLOW)
        return client, child

    def close(self):
        self.server.close()


def talk(client, child):
    client.sendall(b"question")
    assert child.recv(64) == b"question"
    child.sendall(b"answer")
    assert client.recv(64) == b"answer"


def close(first, second):
    """`first` closes, then `second`."""
    first.shutdown(socket.SHUT_WR)
    assert second.recv(64) == b""
    second.close()
    assert first.recv(64) == b""
    first.close()


def active(pair):
    client, child = pair.connect()
    talk(client, child)
    close(client, child)


def passive(pair):
    client, child = pair.connect()
    talk(client, child)
    close(child, client)


def both_close(pair):
    client, child = pair.connect()
    talk(client, child)
    with deaf(world.us, world.peer):
        client.shutdown(socket.SHUT_WR)
        child.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
    assert client.recv(64) == child.recv(64) == b""
    client.close()
    child.close()


def half_close(pair):
    client, child = pair.connect()
    client.sendall(b"all of it")
    client.shutdown(socket.SHUT_WR)
    while child.recv(64):
        pass
    for _ in range(20):
        child.sendall(b"x" * 1000)
    child.close()
    while client.recv(65536):
        pass
    client.close()


def reset(pair):
    client, child = pair.connect()
    talk(client, child)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with contextlib.suppress(ConnectionResetError):
        child.recv(64)
    child.close()


def reset_by_unread_data(pair):
    client, child = pair.connect()
    client.sendall(b"nobody reads this")
    time.sleep(0.05)
    child.close()
    with contextlib.suppress(ConnectionResetError):
        client.recv(64)
    client.close()


def refused(pair):
    pair.server.close()
    client = pair.socket()
    with contextlib.suppress(ConnectionRefusedError):
        client.connect((pair.to_address, pair.port))
    client.close()


def keepalive(pair):
    client, child = pair.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, TCP_KEEPINTVL, 1)
    client.setsockopt(socket.IPPROTO_TCP, TCP_KEEPIDLE, 1)
    time.sleep(1.3)
    close(client, child)


def lost_data(pair):
    client, child = pair.connect()
    talk(client, child)
    with deaf(world.us, world.peer):
        client.sendall(b"lost")
        time.sleep(0.3)
    assert child.recv(64) == b"lost"
    close(client, child)


def lost_syn(pair):
    connecting = []
    with deaf(world.us, world.peer):
        thread = threading.Thread(target=lambda: connecting.append(pair.connect()))
        thread.start()
        time.sleep(0.2)
    thread.join()
    close(*connecting[0])


def big_transfer(pair):
    client, child = pair.connect()
    pour(client, child, b"x" * 4000000)
    client.close()


def zero_window(pair):
    client, child = pair.connect()
    client.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += client.send(b"x" * 65536)
    time.sleep(0.5)  # probes
    got = 0
    while got < sent:
        got += len(child.recv(1 << 20))
    client.settimeout(5)
    close(client, child)


def same_port_again(pair):
    for _ in range(2):
        client, child = pair.connect(4444)
        talk(client, child)
        close(child, client)  # TIME-WAIT is the server's


def both_open(pair):
    """Each connects to the other's port."""
    pair.server.close()
    sockets = []
    for namespace, address, other in ((world.us, ours(pair.family), peers(pair.family)),
                                      (world.peer, peers(pair.family), ours(pair.family))):
        with namespace:
            end = socket.socket(pair.family, socket.SOCK_STREAM)
        end.bind((address, 7009))
        end.setblocking(False)
        sockets.append((end, other))
    with deaf(world.us, world.peer):
        for end, other in sockets:
            end.connect_ex((other, 7009))
        time.sleep(0.1)
    (one, _), (two, _) = sockets
    for end in (one, two):
        end.settimeout(5 * SLOW)
    time.sleep(1.5 * SLOW)  # a SYN comes again after a second
    talk(one, two)
    close(one, two)


def fast_open(pair):
    for _ in range(2):  # the first time gets a cookie
        client = pair.socket()
        client.setblocking(True)
        client.sendto(b"question", MSG_FASTOPEN, (pair.to_address, pair.port))
        child, _ = pair.server.accept()
        assert child.recv(64) == b"question"
        child.sendall(b"answer")
        assert client.recv(64) == b"answer"
        close(client, child)


# Each: what the wire must have shown for the case to be what it claims, as a pattern over all segments in a row.
CASES = (("the client closes", active, r">S <SA >A .*>FA .*<FA >A$"),
         ("the server closes", passive, r">S <SA >A .*<FA .*>FA <A$"),
         ("both close at once", both_close, r"(>FA <FA|<FA >FA)"),
         ("half closed", half_close, r">FA\+? .*(<A\+ .*){9}<FA"),
         ("reset", reset, r">RA?$"),
         ("reset because of unread data", reset_by_unread_data, r"<RA?$"),
         ("refused", refused, r"^>S <RA$"),
         ("keepalive", keepalive, r">A >A <A .*>FA"),
         ("lost data come again", lost_data, r">A\+ (>A\+ )+<A"),
         ("a lost SYN comes again", lost_syn, r"^>S >S <SA >A"),
         ("a big transfer", big_transfer, r"(>A\+ ([<>]A )*){1000}"),
         ("a closed window", zero_window, r"(>A\+ ){9}.*<A .*>FA"),
         ("the same port again", same_port_again, r"<FA .*>FA <A >S <SA >A .*<FA"),
         ("both open at once", both_open, r"^(>S <S|<S >S) .*(>SA|<SA)"),
         ("fast open", fast_open, r">S\+ <SA .*>A"))


class Transitions(TestCase):
    @each([("%s, IPv%d" % (label, version), (play, pattern, family)) for label, play, pattern in CASES
           for version, family in ((4, IPV4), (6, IPV6))])
    def test(self, play, pattern, family):
        if play in (both_close, lost_data, lost_syn, both_open) and not shutil.which("nft"):
            self.skipTest("no nft program, which makes hosts deaf")
        for namespace, name in ((world.us, "weir0"), (world.peer, "peer0")):
            namespace.run("ip", "link", "set", name, "gso_max_segs", "1")  # segments as on a cable
            with namespace:
                write("/proc/sys/net/ipv4/tcp_fastopen", "3")
        pair = Pair(family)
        with contextlib.closing(pair), Wire() as wire:
            play(pair)
        segments = [Seen(frame) for _, frame in wire.frames]
        self.assertEqual({segment.proto for segment in segments}, {6})
        story = " ".join(map(str, segments))
        self.assertRegex(story, pattern)
        expected = ["new" if segment.flags & (SYN | ACK) == SYN else "established" for segment in segments]
        for engine in ("kernel", "model"):
            got = judged(wire, engine)
            self.assertEqual(len(got), len(expected))
            wrong = ["%d: %s is %s" % (number, segments[number], state) for number, state in enumerate(got)
                     if state != expected[number]]
            self.assertEqual(wrong[:5], [], "%s, by the %s" % (story[:2000], engine))


if __name__ == "__main__":
    main()
