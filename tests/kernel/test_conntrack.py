#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""weir's connections and the kernel's conntrack judge the same packets, and must give each the same state.

We are a router: packets come in on weir0, where weir writes the state that it sees into the mark, pass prerouting,
where nft adds what `ct state` says, and leave on out0, where the mark is read. No host answers; both ends are the
test's.

Where the two differ, the difference must be in one of the classes of docs/flows.md ("Where weir differs from the
kernel's conntrack"). Anything else fails, with the seed and the fewest packets that show it.

    test_conntrack.py [WORD...]       WEIR_SEED, WEIR_ROUNDS: where random sequences begin, how many times 40
"""

import collections

from conversations import *
from weirtest import *

STATES = ("none", "new", "established", "related", "invalid", "untracked")
SO_RCVMARK = 75
POLICY = """policy t {
    on tc weir0 ingress
    track on tc weir0 egress
    default accept
    mark 1/15 if new
    mark 2/15 if established
    mark 3/15 if related
    mark 4/15 if invalid
    %s
}"""
RULES = "table inet t {\n chain c {\n type filter hook prerouting priority 0\n %s\n }\n}" % "\n".join(
    "ct state %s meta mark set meta mark or %#x" % (state, number << 4)
    for number, state in enumerate(STATES) if number)


# --- the router ------------------------------------------------------------------------------------------------------


class Router:
    """Shows packets to both; reads what they say."""

    def __init__(self):
        self.places = itertools.count()
        with world.peer:
            self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.wire.bind(("peer0", 0))
        self.tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.tap.bind(("out0", 3))
        self.tap.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
        self.tap.settimeout(2 * SLOW)

    def show(self, packet, place):
        """(the kernel's state, weir's)"""
        sent = frame(packet, place)
        self.wire.send(sent)
        while True:  # what our own stack sends is not what was asked about
            data, extra, _, _ = self.tap.recvmsg(4096, 256)
            if len(data) == len(sent) and data[-8:] == sent[-8:] and data[26:34] == sent[26:34]:
                mark = int.from_bytes(extra[0][2], sys.byteorder)
                return STATES[mark >> 4], STATES[mark & 15]

    def judge(self, packets):
        """One pair of states a packet. The addresses are new, so that nothing was before."""
        places = {}
        answers = []
        for packet in packets:
            if packet.talk not in places:
                places[packet.talk] = Place(next(self.places) & 0xffff, packet.ipv6)
            time.sleep(packet.pause)
            answers.append(self.show(packet, places[packet.talk]))
        return answers


@functools.cache
def router():
    """Made when it is first asked for; skips where the kernel's conntrack cannot be asked."""
    if not shutil.which("nft"):
        raise unittest.SkipTest("no nft program")
    done = run("nft", "-f", "-", input=RULES, check=False)
    if done.returncode:
        raise unittest.SkipTest("no `ct state` in nft: " + done.stderr.partition("\n")[0])
    make_router()
    return Router()


def make_router():
    run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "away0", "netns", world.peer.path)
    quiet_interface("out0")
    run("ip", "link", "set", "out0", "arp", "off")
    run("ip", "link", "set", "out0", "up")
    world.peer.run("ip", "link", "set", "away0", "up")
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        write("/proc/sys/net/" + name, "1")
    for name in ("all", "weir0"):
        write("/proc/sys/net/ipv4/conf/%s/rp_filter" % name, "0")
    run("ip", "route", "add", "10.80.0.0/15", "dev", "out0")
    run("ip", "-6", "route", "add", "fd80::/16", "dev", "out0")


def conntrack(name, value):
    write("/proc/sys/net/netfilter/nf_conntrack_" + name, str(value))


# --- the documented differences --------------------------------------------------------------------------------------


def flags_of(packet):
    return packet.flags & (FIN | SYN | RST | ACK) if packet and packet.proto == TCP else None


class Past:
    """What was before a packet in its conversation. Of TCP: since the SYN that began the connection."""

    def __init__(self):
        self.parted = False   # the two remember different things: nothing to compare any more
        self.init = None      # SCTP
        self.init_ack = False
        self.begin(None)

    def begin(self, syn):
        self.syn = syn        # that both took for the connection's first
        self.also = None      # the other side's, when both open
        self.noted = None     # one in an open connection
        self.answer = None    # the SYN ACK
        self.acked = False    # and what came then
        self.reset = False
        self.fins = set()     # sides
        self.last = None      # what the kernel took last
        self.top = {}         # by side: the end of what it has sent,
        self.room = {}        # the largest window that it offered,
        self.edge = {}        # up to where it may send,
        self.granted = {}     # and by acknowledgements alone
        self.scale = {}       # what its first SYN offered

    def over(self):
        return self.reset or len(self.fins) == 2

    def refused(self):
        return self.reset and not self.answer

    def above(self, packet, number):
        """Its sequence number is beyond what its side may send."""
        return packet.side in self.edge and ahead(number, self.edge[packet.side]) > 0

    def below(self, packet):
        """It ended more than a window before what its side has sent, or acknowledges what was long ago."""
        side, other = packet.side, 1 - packet.side
        if side in self.top and ahead(packet.end, self.top[side] - self.room.get(other, 0) - 1) < 0:
            return True
        return other in self.top and ahead(packet.ack, self.top[other] - max(66000, self.room.get(side, 0)) - 1) < 0

    def window(self, packet):
        if packet.flags & SYN or len(self.scale) < 2 or None in self.scale.values():
            return packet.window or 1
        return packet.window << min(self.scale[packet.side], 14) or 1

    def measure(self, packet):
        side, window = packet.side, self.window(packet)
        if side not in self.top or ahead(packet.end, self.top[side]) > 0:
            self.top[side] = packet.end
        self.room[side] = max(window, self.room.get(side, 0))
        if packet.flags & ACK:
            edge = packet.ack + window & MASK
            for edges in (self.edge, self.granted):
                if 1 - side not in edges or ahead(edge, edges[1 - side]) > 0:
                    edges[1 - side] = edge

    def take(self, packet, kernel, weir):
        flags = flags_of(packet)
        if packet.proto == SCTP and "invalid" not in (kernel, weir):
            self.init = packet if packet.chunk == INIT else self.init
            self.init_ack |= packet.chunk == INIT_ACK
        if packet.proto != TCP or "invalid" in (kernel, weir):
            return
        self.last = packet
        if flags == SYN and self.answer and not self.over():
            self.noted = packet if packet.seq != self.syn.seq else self.noted
            return
        if flags == SYN and (self.syn is None or self.over() or packet.side == self.syn.side):
            if self.syn is None or self.over() or packet.seq != self.syn.seq:
                self.begin(packet)
        elif flags == SYN:
            self.also = packet
        elif flags == SYN | ACK and self.noted and packet.ack == self.noted.end:
            self.begin(self.noted)
            self.measure(self.syn)
        elif self.answer and packet.flags & SYN or self.refused():
            return
        if flags & SYN:
            self.scale.setdefault(packet.side, packet.option(SCALE))
        if flags == SYN | ACK:
            self.answer = packet
            self.edge[packet.side] = packet.end + self.room[1 - packet.side] & MASK
            self.granted[packet.side] = packet.end
        self.reset |= bool(flags & RST)
        self.acked |= bool(self.answer and packet.side != self.answer.side and flags & (ACK | RST) == ACK and
                           ahead(packet.ack, self.answer.end) >= 0)
        if flags & FIN:
            self.fins.add(packet.side)
        if not flags & RST:
            self.measure(packet)


# A class is a row of the table in docs/flows.md under this name. Each function: true if the packet, after what was
# before, with the kernel's state and weir's, is of it.


def checksum_is_wrong(packet, past, kernel, weir):
    """a wrong checksum"""
    return packet.damaged and kernel == "invalid"


def redirect(packet, past, kernel, weir):
    """redirects"""
    return packet.quoted and packet.type == 5 and weir == "none" and kernel in ("related", "invalid")


def other_icmp(packet, past, kernel, weir):
    """other ICMP messages"""
    def other(message):
        return message.proto in (ICMP, ICMPV6) and not message.quoted and message.type not in (8, 0, 13, 14, 128, 129)

    return (other(packet) and weir == "none") or bool(
        packet.quoted and other(packet.quoted) and (kernel, weir) == ("related", "invalid"))


def udp_lite(packet, past, kernel, weir):
    """UDP-Lite"""
    return UDPLITE in (packet.proto, packet.quoted and packet.quoted.proto) and kernel == "invalid"


def init_again(packet, past, kernel, weir):
    """an INIT in an association"""
    return packet.proto == SCTP and packet.chunk == INIT and weir == "new" and kernel in ("established", "invalid")


def unknown_tag(packet, past, kernel, weir):
    """SCTP with an unknown tag"""
    return (packet.proto == SCTP and packet.chunk in (HEARTBEAT, HEARTBEAT_ACK, SHUTDOWN_ACK) and
            kernel == ("established" if past.init else "new") and weir == "invalid")


def out_of_turn(packet, past, kernel, weir):
    """SCTP out of turn"""
    return (packet.proto == SCTP and past.init and (not past.init_ack or packet.chunk == INIT_ACK or
                                                    packet.side == past.init.side and packet.chunk == ABORT) and
            weir == "invalid" and kernel in ("new", "established"))


def quote(packet, past, kernel, weir):
    """a quote of what was not sent"""
    quoted = packet.quoted
    if not quoted or quoted.side not in past.top or (kernel, weir) != ("related", "invalid"):
        return False
    top, room = past.top[quoted.side], max(65535, past.room.get(1 - quoted.side, 0))
    return ahead(quoted.seq, top) > 0 or ahead(quoted.seq, top - room - 1) < 0


def syn(packet, past, kernel, weir):
    """a SYN in an open connection"""
    return flags_of(packet) == SYN and weir == "new" and kernel in ("established", "invalid")


def lower_syn(packet, past, kernel, weir):
    """a second SYN with a lower number"""
    return (kernel == weir == "new" and flags_of(packet) == SYN and past.syn and not past.over() and
            packet.side == past.syn.side and ahead(packet.seq, past.syn.seq) < 0)


def time_wait(packet, past, kernel, weir):
    """a FIN that comes again"""
    return kernel == weir == "new" and flags_of(packet) == SYN and past.answer and not past.over()


def refusal_of_a_noted_syn(packet, past, kernel, weir):
    """a refused SYN in an open connection"""
    return flags_of(packet) == RST | ACK and past.noted and packet.ack == past.noted.end


def unanswered(packet, past, kernel, weir):
    """no SYN ACK yet"""
    return (packet.proto == TCP and not past.answer and packet.flags & ACK and weir == "invalid" and
            (kernel == "established" and not packet.flags & RST or
             kernel == "invalid" and past.syn and packet.side != past.syn.side))


def syn_ack_again(packet, past, kernel, weir):
    """a SYN and its SYN ACK once more"""
    return (flags_of(packet) == SYN | ACK and past.answer and packet.seq == past.answer.seq and
            flags_of(past.last) == SYN and kernel == weir == "established")


def another_syn_ack(packet, past, kernel, weir):
    """a second SYN ACK"""
    if flags_of(packet) != SYN | ACK or not past.answer:
        return False
    return (kernel, weir) in (("established", "invalid"), ("invalid", "established"))


def late(packet, past, kernel, weir):
    """late segments"""
    return (packet.proto == TCP and (kernel, weir) == ("established", "invalid") and not packet.flags & RST and
            past.below(packet))


def beyond(packet, past, kernel, weir):
    """segments beyond the window"""
    return packet.proto == TCP and kernel == "established" and (
        past.above(packet, packet.seq) if weir == "invalid" else weir == kernel and past.above(packet, packet.end))


def sack(packet, past, kernel, weir):
    """selective acknowledgements"""
    edges = packet.option(SACK) if packet.proto == TCP else None
    return (edges and 1 - packet.side in past.top and (kernel, weir) == ("invalid", "established") and
            ahead(edges[1], past.top[1 - packet.side]) > 0)


def window_of_the_syn(packet, past, kernel, weir):
    """the window of a SYN"""
    return (past.answer and packet.side == past.answer.side and weir == "established" and
            ahead(packet.end, past.granted[packet.side]) > 0)


def reset_before_an_ack(packet, past, kernel, weir):
    """a reset before the third packet"""
    return (packet.proto == TCP and packet.flags & RST and past.answer and not past.acked and
            kernel == "established" and weir in ("established", "invalid"))


def reset_of_an_attempt(packet, past, kernel, weir):
    """a reset of an attempt"""
    return (packet.proto == TCP and packet.flags & RST and past.syn and not past.answer and
            (weir == "new" and packet.seq != past.syn.end or (kernel != weir and weir in ("new", "invalid"))))


def after_a_refusal(packet, past, kernel, weir):
    """after a refusal"""
    return past.refused() and (kernel, weir) in (("invalid", "established"), ("invalid", "related"),
                                                 ("established", "invalid"))


def reset_while_closing(packet, past, kernel, weir):
    """a reset while closing"""
    return (packet.proto == TCP and packet.flags & RST and (past.fins or past.reset) and kernel == "established" and
            weir in ("established", "invalid"))


def reset_after_a_syn(packet, past, kernel, weir):
    """a reset after a SYN"""
    return (packet.proto == TCP and packet.flags & RST and flags_of(past.last) == SYN and
            (kernel, weir) == ("established", "invalid"))


def ack_of_a_reset(packet, past, kernel, weir):
    """what a reset acknowledges"""
    return flags_of(packet) == RST | ACK and (kernel, weir) == ("invalid", "established")


CLASSES = (checksum_is_wrong, redirect, other_icmp, udp_lite, init_again, unknown_tag, out_of_turn, quote, syn,
           lower_syn, another_syn_ack, syn_ack_again, late, beyond, sack, window_of_the_syn, time_wait, after_a_refusal,
           unanswered, reset_before_an_ack, reset_of_an_attempt, reset_while_closing, reset_after_a_syn,
           refusal_of_a_noted_syn, ack_of_a_reset)
# These may show only later: the two give one state, and remember different things.
ALSO_WHEN_EQUAL = (lower_syn, syn_ack_again, beyond, window_of_the_syn, time_wait, unanswered, reset_before_an_ack,
                   reset_of_an_attempt, reset_while_closing, refusal_of_a_noted_syn)


def parts(name, packet, past, kernel):
    """Whether the two remember different things after it."""
    if name == "syn":
        return kernel == "invalid" or past.over() or not (past.answer or packet.side != past.syn.side and not past.also)
    return name not in ("redirect", "other_icmp", "quote", "late")


def class_of(packet, past, kernel, weir):
    return next((judge.__name__ for judge in CLASSES if judge(packet, past, kernel, weir)), None)


def compare(packets, answers, classes):
    """The first packet whose difference has no class, or None. Counts those that have."""
    pasts = collections.defaultdict(Past)
    for number, (packet, (kernel, weir)) in enumerate(zip(packets, answers)):
        past = pasts[packet.talk]
        if past.parted:
            continue
        if kernel != weir or any(judge(packet, past, kernel, weir) for judge in ALSO_WHEN_EQUAL):
            name = class_of(packet, past, kernel, weir)
            if name is None:
                return number
            classes[name] += 1
            past.parted = parts(name, packet, past, kernel)
        past.take(packet, kernel, weir)
    return None


def shrink(router, packets):
    """The fewest packets with an unclassified difference, and what both say."""

    def differs(some):
        return compare(some, router.judge(some), collections.Counter()) is not None

    packets = packets[:compare(packets, router.judge(packets), collections.Counter()) + 1]
    packets = [packet for packet in packets if packet.talk == packets[-1].talk]
    at = 0
    while at < len(packets):
        fewer = packets[:at] + packets[at + 1:]
        if differs(fewer):
            packets = fewer
        else:
            at += 1
    return packets, router.judge(packets)


def report(packets, answers):
    return "\n".join("%-12s %-12s %s" % (kernel, weir, packet) for packet, (kernel, weir) in zip(packets, answers))


# --- sequences by hand -----------------------------------------------------------------------------------------------

CLIENT, SERVER = 0, 1


def c(flags, seq, ack=0, data=0, **more):
    """Of the client, whose SYN is number 1000."""
    return Packet(side=CLIENT, flags=flags, seq=seq & MASK, ack=ack & MASK, data=data, **more)


def s(flags, seq, ack=0, data=0, **more):
    """Of the server, whose SYN is number 5000."""
    return Packet(side=SERVER, flags=flags, seq=seq & MASK, ack=ack & MASK, data=data, **more)


def udp(side, **more):
    return Packet(side=side, proto=UDP, **more)


def echo(side, kind, **more):
    return Packet(side=side, proto=ICMP, type=kind, **more)


def error(side, quoted, kind=3, code=3, **more):
    return Packet(side=side, proto=ICMP, type=kind, code=code, quoted=quoted, **more)


def chunk(side, number, tag=0, own_tag=0, **more):
    return Packet(side=side, proto=SCTP, chunk=number, tag=tag, own_tag=own_tag, **more)


NEW, EST, REL, INV = "new", "established", "related", "invalid"
SYN_ACK, RST_ACK, FIN_ACK = SYN | ACK, RST | ACK, FIN | ACK
OPENING = [(c(SYN, 1000), NEW), (s(SYN_ACK, 5000, 1001), EST)]
OPEN = OPENING + [(c(ACK, 1001, 5001), EST)]
TALK = OPEN + [(c(ACK | PSH, 1001, 5001, 100), EST), (s(ACK | PSH, 5001, 1101, 200), EST)]
CLOSED = TALK + [(c(FIN_ACK, 1101, 5201), EST), (s(ACK, 5201, 1102), EST), (s(FIN_ACK, 5201, 1102), EST),
                 (c(ACK, 1102, 5202), EST)]

# What both say the same to: (packet, state) each.
SAME = {
    "open, talk and close": CLOSED,
    "both close at once": TALK + [(c(FIN_ACK, 1101, 5201), EST), (s(FIN_ACK, 5201, 1101), EST),
                                  (c(ACK, 1102, 5202), EST), (s(ACK, 5202, 1102), EST)],
    "half closed, and the other side goes on": TALK + [(c(FIN_ACK, 1101, 5201), EST), (s(ACK, 5201, 1102, 1000), EST),
                                                       (c(ACK, 1102, 6201), EST), (s(ACK, 6201, 1102, 1000), EST)],
    "the port again after TIME-WAIT": CLOSED + [(c(SYN, 90000), NEW), (s(SYN_ACK, 700000, 90001), EST),
                                                (c(ACK, 90001, 700001), EST)],
    "lost packets come again": OPENING[:1] * 2 + OPENING[1:] * 2 + OPEN[2:] + TALK[3:4] * 3 + TALK[4:] + TALK[3:4],
    "keepalive": TALK + [(c(ACK, 1100, 5201), EST), (s(ACK, 5201, 1101), EST), (c(ACK, 1100, 5201, 1), EST)],
    "a window probe": TALK + [(s(ACK, 5201, 1101, window=0), EST), (c(ACK, 1101, 5201, 1), EST)],
    "reset": TALK + [(c(RST, 1101), EST), (c(SYN, 80000), NEW)],
    "reset by the server": TALK + [(s(RST, 5201), EST), (c(ACK, 1101, 5201), EST)],
    "reset with an acknowledgement": TALK + [(c(RST_ACK, 1101, 5201), EST), (c(SYN, 80000), NEW)],
    "a reset behind data": TALK + [(c(ACK, 1101, 5201, 10), EST), (c(RST, 1111), EST), (c(SYN, 80000), NEW)],
    "resets that guess": TALK + [(s(RST, 5001 + step), INV) for step in (-1, 100000, 1 << 30, -(1 << 30))] +
                         [(s(RST, 5201 + 1000), EST), (c(ACK, 1101, 5201, 5), EST)],
    "segments that guess": TALK + [(s(ACK, 1 << 30, 1101), INV), (s(ACK, 5201, 1 << 20), INV),
                                   (s(ACK, 5201, 1 << 30), INV), (c(ACK, 1101, 5201, 5), EST)],
    "without a connection": [(c(ACK, 1, 2), INV), (s(SYN_ACK, 3, 4), INV), (c(RST, 5), INV), (c(FIN_ACK, 6, 7), INV),
                             (c(RST_ACK, 5, 9), INV), (c(SYN, 1000), NEW)],
    "nonsense flags": OPEN + [(c(flags, 1001, 5001), INV) for flags in (
        0, PSH, FIN, URG, SYN | FIN, SYN | RST, FIN | RST | ACK, SYN | FIN | ACK, RST | URG, SYN | ACK | URG, 63)],
    "urgent data": OPEN + [(c(ACK | URG, 1001, 5001, 10), EST), (c(FIN_ACK | URG, 1011, 5001), EST)],
    "refused": OPENING[:1] + [(s(RST_ACK, 0, 1001), EST), (c(SYN, 80000), NEW)],
    "a SYN ACK that acknowledges too much": OPENING[:1] + [(s(SYN_ACK, 5000, 1002), INV)],
    "half open: the server asks, the client resets": OPENING[:1] + [(s(ACK, 300, 100), EST)],
    "scaled windows": [(c(SYN, 1000, options=((SCALE, 7),)), NEW), (s(SYN_ACK, 5000, 1001, options=((SCALE, 8),)), EST),
                       (c(ACK, 1001, 5001, window=1000), EST)] +
                      [(s(ACK, 5001 + at, 1001, 1000, window=500), EST) for at in range(0, 127000, 9000)] +
                      [(c(ACK, 1001, 5001, 1000), EST)],
    "fast open": [(c(SYN, 1000, data=100), NEW), (s(SYN_ACK, 5000, 1101), EST), (c(ACK, 1101, 5001, 5), EST)],
    "udp": [(udp(CLIENT), NEW), (udp(CLIENT), NEW), (udp(SERVER), EST), (udp(CLIENT), EST)],
    "echo": [(echo(CLIENT, 8), NEW), (echo(CLIENT, 8), NEW), (echo(SERVER, 0), EST), (echo(CLIENT, 8), EST),
             (echo(CLIENT, 8, ident=9), NEW), (echo(SERVER, 0, ident=10), INV), (echo(SERVER, 8), NEW)],
    "timestamp": [(echo(SERVER, 14), INV), (echo(CLIENT, 13), NEW), (echo(SERVER, 14), EST)],
    "errors about what was sent": [(udp(CLIENT), NEW), (error(SERVER, udp(CLIENT)), REL),
                                   (error(SERVER, udp(CLIENT), 11, 0), REL), (error(SERVER, udp(CLIENT), 12, 0), REL)],
    "errors about tcp": TALK + [(error(SERVER, TALK[3][0]), REL), (error(SERVER, TALK[3][0], 3, 4), REL)],
    "errors about echo": [(echo(CLIENT, 8), NEW), (error(SERVER, echo(CLIENT, 8)), REL),
                          (error(SERVER, echo(CLIENT, 8, ident=9)), INV)],
    "errors about nothing": [(error(SERVER, udp(CLIENT)), INV), (error(SERVER, c(SYN, 1)), INV)],
    "an error to the wrong end": [(udp(CLIENT), NEW), (udp(SERVER), EST),
                                  (error(SERVER, udp(CLIENT), to_other=True), INV)],
    "sctp": [(chunk(CLIENT, 1, 0, 77), NEW), (chunk(SERVER, 2, 77, 88), EST), (chunk(CLIENT, 10, 88), EST),
             (chunk(SERVER, 11, 77), EST), (chunk(CLIENT, 0, 88), EST), (chunk(SERVER, 3, 77), EST),
             (chunk(SERVER, 0, 78), INV), (chunk(CLIENT, 7, 88), EST), (chunk(SERVER, 8, 77), EST),
             (chunk(CLIENT, 14, 88), EST)],
    "gre": [(Packet(proto=GRE), NEW), (Packet(proto=GRE, side=SERVER), EST), (Packet(proto=GRE), EST)],
}

# Where they differ, a class each: (packet, the kernel's state, weir's).
SHOWN = {
    checksum_is_wrong: [(c(SYN, 1000, damaged=True), INV, NEW)],
    redirect: [(udp(CLIENT), NEW, NEW), (error(SERVER, udp(CLIENT), 5, 1), REL, "none")],
    other_icmp: [(echo(CLIENT, 17), NEW, "none"), (echo(CLIENT, 9), INV, "none")],
    udp_lite: [(Packet(proto=UDPLITE), INV, NEW)],
    init_again: [(chunk(CLIENT, INIT, 0, 77), NEW, NEW), (chunk(SERVER, INIT, 0, 88), EST, NEW)],
    unknown_tag: [(chunk(CLIENT, HEARTBEAT, 7), NEW, INV)],
    out_of_turn: [(chunk(CLIENT, INIT, 0, 77), NEW, NEW), (chunk(CLIENT, ABORT, 77, reflected=True), NEW, INV),
                  (chunk(SERVER, 10, 77), EST, INV)],
    quote: TALK + [(error(SERVER, c(ACK, 500000, 5201)), REL, INV)],
    syn: TALK + [(c(SYN, 80000), EST, NEW)],
    lower_syn: [(c(SYN, 100000), NEW, NEW), (c(SYN, 1000), NEW, NEW), (s(SYN_ACK, 5000, 1001), EST, EST),
                (c(ACK, 1001, 5001), INV, EST)],
    another_syn_ack: OPENING + [(s(SYN_ACK, 6000, 1001), EST, INV)],
    syn_ack_again: TALK + [(c(SYN, 1000), EST, NEW), (s(SYN_ACK, 5000, 1001), EST, EST),
                           (s(ACK, 5201, 1101), INV, EST)],
    late: TALK + [(c(ACK, 1101 - 40000, 5201), EST, INV), (c(ACK, 1101, 5201 - 70000), EST, INV)],
    beyond: TALK + [(s(ACK, 5201 + 29300, 1101), EST, INV)],
    sack: [(c(SYN, 1000, options=((SACK_PERMITTED, None),)), NEW, NEW),
           (s(SYN_ACK, 5000, 1001, options=((SACK_PERMITTED, None),)), EST, EST), (c(ACK, 1001, 5001), EST, EST),
           (c(ACK, 1001, 5001, options=((SACK, (5501, 5601)),)), INV, EST)],
    window_of_the_syn: OPENING + [(s(ACK, 5001, 1001, 500), EST, EST), (s(ACK, 5001 + 29200, 1001, 500), INV, EST)],
    time_wait: TALK + [(c(FIN_ACK, 1101, 5201), EST, EST), (s(ACK, 5201, 1102, 9), EST, EST),
                       (c(FIN_ACK, 1101, 5201), EST, EST), (c(ACK, 1102, 5210), EST, EST), (c(SYN, 80000), NEW, NEW),
                       (s(ACK, 5210, 1102, 9), EST, EST), (c(ACK, 1102, 5219), INV, EST)],
    after_a_refusal: [(c(SYN, 1000), NEW, NEW), (s(RST_ACK, 0, 1001), EST, EST), (s(SYN_ACK, 5000, 1001), INV, EST)],
    unanswered: OPENING[:1] + [(s(ACK | PSH, 5001, 1001, 10), EST, INV)],
    reset_before_an_ack: OPENING + [(s(RST, 5000), EST, INV)],
    reset_of_an_attempt: OPENING[:1] + [(s(RST_ACK, 0, 1002), EST, INV), (s(SYN_ACK, 5000, 1001), INV, EST)],
    reset_while_closing: TALK + [(c(FIN_ACK, 1101, 5201), EST, EST), (s(RST, 5201 - 500), EST, INV)],
    reset_after_a_syn: TALK + [(c(SYN, 1000), EST, NEW), (s(RST, 4000), EST, INV)],
    refusal_of_a_noted_syn: TALK + [(c(SYN, 80000), EST, NEW), (s(RST_ACK, 0, 80001), EST, EST),
                                    (s(RST, 4000), EST, INV)],
    ack_of_a_reset: TALK + [(s(RST_ACK, 5201, 999999), INV, EST)],
}


def in_family(packets, ipv6):
    if not ipv6:
        return packets
    kinds = {8: 128, 0: 129}
    turned = []
    for packet in packets:
        quoted = packet.quoted and in_family([packet.quoted], True)[0]
        proto, kind = packet.proto, packet.type
        if proto == ICMP:
            proto, kind = ICMPV6, 1 if packet.quoted else kinds.get(kind)
            if kind is None or packet.quoted and packet.type != 3:
                return None
        turned.append(replace(packet, ipv6=True, proto=proto, type=kind, quoted=quoted))
    return turned


class Compared(TestCase):
    def setUp(self):
        router()
        conntrack("tcp_loose", 0)
        apply(POLICY % "")

    def expect(self, packets, kernel, weir):
        answers = router().judge(packets)
        self.assertEqual(answers, list(zip(kernel, weir)), "\n" + report(packets, answers))

    def test_by_hand(self):
        for name, steps in SAME.items():
            states = [state for _, state in steps]
            for ipv6 in (False, True):
                packets = in_family([packet for packet, _ in steps], ipv6)
                with self.subTest(name, ipv6=ipv6):
                    if packets:
                        self.expect(packets, states, states)

    def test_each_difference(self):
        for judge, steps in SHOWN.items():
            steps = [step if len(step) == 3 else (*step, step[1]) for step in steps]
            packets, kernel, weir = zip(*steps)
            with self.subTest(judge.__name__):
                self.expect(packets, kernel, weir)
                classes = collections.Counter()
                self.assertIsNone(compare(packets, list(zip(kernel, weir)), classes))
                self.assertIn(judge.__name__, classes)

    def test_documented(self):
        """The table of the document and the classes of this test are the same."""
        with open(os.path.join(ROOT, "docs/flows.md")) as file:
            section = file.read().split("\n## Where weir differs from the kernel's conntrack\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| \*\*(.+?)\*\* \|", section, re.M)
        self.assertEqual(sorted(rows), sorted(judge.__doc__.splitlines()[0] for judge in CLASSES))
        self.assertEqual(set(SHOWN), set(CLASSES))

    def test_random(self):
        first, rounds = int(os.environ.get("WEIR_SEED", 1)), 40 * int(os.environ.get("WEIR_ROUNDS", 1))
        classes = collections.Counter()
        for seed in range(first, first + rounds):
            packets = sequence(seed, 200)
            if compare(packets, router().judge(packets), classes) is not None:
                packets, answers = shrink(router(), packets)
                self.fail("seed %d: in no class; kernel, weir, packet:\n%s" % (seed, report(packets, answers)))
        print("# %d sequences from seed %d; differences: %s" % (
            rounds, first, ", ".join("%s %d" % item for item in sorted(classes.items()))))

    def test_picked_up_in_the_middle(self):
        """By default the kernel takes any ACK for a connection that it has missed the beginning of."""
        conntrack("tcp_loose", 1)
        self.expect([c(ACK, 5, 6, 10), s(ACK, 6, 15)], (NEW, EST), (INV, INV))


class Timeouts(TestCase):
    """Both forget what is silent for a second."""

    NAMES = {"tcp.opening": ("tcp_timeout_syn_sent", "tcp_timeout_syn_recv"),
             "tcp.established": ("tcp_timeout_established",),
             "tcp.closing": ("tcp_timeout_fin_wait", "tcp_timeout_close_wait", "tcp_timeout_last_ack",
                             "tcp_timeout_time_wait"),
             "tcp.closed": ("tcp_timeout_close",), "udp.new": ("udp_timeout",), "icmp": ("icmp_timeout",)}
    # What is said before the silence, what behind it, and its state when all is forgotten.
    HALVES = ((OPENING[:1], OPENING[1], INV), (OPENING, OPEN[2], INV), (TALK, TALK[3], INV), (CLOSED, CLOSED[3], INV),
              (SAME["udp"][:1], SAME["udp"][2], NEW), (SAME["udp"][:3], SAME["udp"][3], NEW),
              (SAME["echo"][:1], SAME["echo"][2], INV), (SAME["echo"][:3], SAME["echo"][3], NEW))

    def setUp(self):
        router()
        conntrack("tcp_loose", 0)
        for names in self.NAMES.values():
            for name in names:
                conntrack(name, 1)
        conntrack("udp_timeout_stream", 4)
        apply(POLICY % "\n".join(["flows timeout %s 1s" % name for name in self.NAMES] +
                                 ["flows timeout udp.established 4s"]))

    @each((("short", (0.3, False)), ("long", (2, True))))
    def test_silence(self, seconds, forgotten):
        packets = [(replace(packet, talk=talk), state) for talk, (first, _, _) in enumerate(self.HALVES)
                   for packet, state in first]
        behind = [(replace(packet, talk=talk, pause=0 if talk else seconds), gone if forgotten else state)
                  for talk, (_, (packet, state), gone) in enumerate(self.HALVES)]
        states = [state for _, state in packets + behind]
        answers = router().judge([packet for packet, _ in packets + behind])
        self.assertEqual(answers, [(state, state) for state in states],
                         "\n" + report([packet for packet, _ in packets + behind], answers))

    def test_udp_is_assured_when_it_goes_on(self):
        """After two seconds it lives by the longer timeout, here four."""
        steps = [(udp(CLIENT), NEW), (udp(SERVER), EST)] + [(udp(CLIENT, pause=0.7), EST)] * 4 + [
            (udp(CLIENT, pause=2), EST)]
        answers = router().judge([packet for packet, _ in steps])
        self.assertEqual(answers, [(state, state) for _, state in steps])


def in_two(whole, at):
    """The fragments of a frame: the second one begins `at` bytes behind the IP header."""
    ether, ip = whole[:14], whole[14:]
    words = 40 if ip[0] >> 4 == 6 else 20
    head, payload = ip[:words], ip[words:]
    for begin, part, more in ((0, payload[:at], 1), (at, payload[at:], 0)):
        if words == 40:
            one = head[:4] + struct.pack("!HB", 8 + len(part), 44) + head[7:]
            yield ether + one + struct.pack("!BBHI", head[6], 0, begin | more, 7) + part
        else:
            one = head[:2] + struct.pack("!HHHBBH", 20 + len(part), 1, more << 13 | begin // 8, 64, head[9], 0) + head[12:]
            yield ether + one[:10] + struct.pack("!H", checksum(one)) + one[12:] + part


class Fragments(TestCase):
    """The kernel judges what it has put together; weir each fragment as it comes."""

    def setUp(self):
        router()
        conntrack("tcp_loose", 0)
        apply(POLICY % "")
        self.place = Place(next(router().places) & 0xffff, False)

    def counts(self):
        counts = Counts("t")
        found = dict(zip(STATES[1:5], (counts.packets(number) for number in range(1, 5))))
        return collections.Counter(found, none=counts.default[0] - sum(found.values()))

    def show(self, packet, at=None, order=(0, 1)):
        """The kernel's state (None: it still waits), and weir's of each fragment, sorted. Whole unless `at`."""
        before = self.counts()
        whole = frame(packet, self.place)
        pieces = [whole] if at is None else list(in_two(whole, at))
        for number in order[:len(pieces)]:
            router().wire.send(pieces[number])
        state = self.kernel_says(whole)
        return state, sorted((self.counts() - before).elements())

    def kernel_says(self, whole):
        addresses = slice(22, 54) if self.place.ipv6 else slice(26, 34)
        until = time.monotonic() + SHORT
        while time.monotonic() < until:
            router().tap.settimeout(max(until - time.monotonic(), 0.001))
            with contextlib.suppress(TimeoutError):
                data, extra, _, _ = router().tap.recvmsg(4096, 256)
                if data[addresses] == whole[addresses]:
                    return STATES[int.from_bytes(extra[0][2], sys.byteorder) >> 4]
        return None

    def tearDown(self):
        super().tearDown()
        router().tap.settimeout(2 * SLOW)

    @each((("IPv4", (False,)), ("IPv6", (True,))))
    def test_udp(self, ipv6):
        self.place = Place(next(router().places) & 0xffff, ipv6)
        self.assertEqual(self.show(udp(CLIENT, data=64, ipv6=ipv6), 16), (NEW, [NEW, "none"]))
        self.assertEqual(self.show(udp(SERVER, data=64, ipv6=ipv6), 16), (EST, [EST, "none"]))
        self.assertEqual(self.show(udp(CLIENT, data=64, ipv6=ipv6), 16, order=(1, 0)), (EST, [EST, "none"]))
        self.assertEqual(self.show(udp(CLIENT, ipv6=ipv6)), (EST, [EST]))

    def test_the_first_alone(self):
        """It opens a connection for weir; the kernel waits for the rest."""
        self.assertEqual(self.show(udp(CLIENT, data=64), 16, order=(0,)), (None, [NEW]))
        self.assertEqual(self.show(udp(SERVER)), (NEW, [EST]))

    def test_the_rest_alone(self):
        self.assertEqual(self.show(udp(CLIENT, data=64), 16, order=(1,)), (None, ["none"]))
        self.assertEqual(self.show(udp(SERVER)), (NEW, [NEW]))

    def test_tcp(self):
        """What was sent in fragments may be acknowledged as a whole."""
        for packet, state in TALK:
            self.assertEqual(self.show(packet), (state, [state]))
        self.assertEqual(self.show(c(ACK | PSH, 1101, 5201, 200), 104), (EST, [EST, "none"]))
        self.assertEqual(self.show(s(ACK, 5201, 1301)), (EST, [EST]))
        self.assertEqual(self.show(c(ACK | PSH, 1301, 5201, 200)), (EST, [EST]))

    def test_an_error_about_a_fragment(self):
        self.assertEqual(self.show(udp(CLIENT, data=64), 16), (NEW, [NEW, "none"]))
        self.assertEqual(self.show(error(SERVER, udp(CLIENT, data=64))), (REL, [REL]))
        self.assertEqual(self.show(error(SERVER, udp(CLIENT, data=64)), 48), (REL, ["none", REL]))


if __name__ == "__main__":
    main()
