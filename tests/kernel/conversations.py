# SPDX-License-Identifier: GPL-2.0-only
"""Conversations, packet by packet: what two ends say, mostly as real stacks would, often not. For tests that show the
same packets to two trackers of connections.

A packet knows its conversation and side, not its addresses: those come when it is sent, so that a sequence can be shown
again as if nothing had been before.
"""

import random
import socket
import struct
from dataclasses import dataclass, replace

from weirtest import OUR_MAC, PEER_MAC, checksum

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ICMP, TCP, UDP, GRE, ICMPV6, SCTP, UDPLITE = 1, 6, 17, 47, 58, 132, 136
LETTERS = {FIN: "F", SYN: "S", RST: "R", PSH: "P", ACK: "A", URG: "U"}
INIT, INIT_ACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK = 1, 2, 4, 5, 6, 7, 8
COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 10, 11, 14
SCALE, SACK_PERMITTED, SACK = 3, 4, 5
MASK = 0xffffffff
PORTS = (40000, 80)


def ahead(a, b):
    """How far sequence number `a` is before `b`."""
    return ((a - b + (1 << 31)) & MASK) - (1 << 31)


@dataclass(frozen=True)
class Packet:
    """One packet of a conversation. Which fields count depends on `proto`; of an error, on that of `quoted`, too."""
    talk: int = 0
    side: int = 0            # who sends it
    proto: int = TCP
    ipv6: bool = False
    flags: int = 0
    seq: int = 0
    ack: int = 0
    window: int = 29200
    data: int = 0            # bytes of payload
    options: tuple = ()      # TCP: (kind, value)
    type: int = 0            # ICMP
    code: int = 0
    ident: int = 7
    tag: int = 0             # SCTP: in the head
    own_tag: int = 0         # that an INIT or INIT ACK brings
    chunk: int = 0
    reflected: bool = False
    quoted: "Packet" = None  # by an ICMP error
    to_other: bool = False   # an error that goes to who did not send what is quoted
    damaged: bool = False    # its checksum is wrong
    pause: float = 0         # seconds before it

    @property
    def end(self):
        return (self.seq + self.data + bool(self.flags & SYN) + bool(self.flags & FIN)) & MASK

    def option(self, kind):
        return next((value for number, value in self.options if number == kind), None)

    def __str__(self):
        name = "%d%s" % (self.talk, "<>"[1 - self.side])
        extra = (" damaged" if self.damaged else "") + (" after %gs" % self.pause if self.pause else "")
        if self.quoted:
            return "%s icmp %d/%d about {%s}%s%s" % (name, self.type, self.code, self.quoted,
                                                     " to the other" if self.to_other else "", extra)
        if self.proto == TCP:
            letters = "".join(letter for bit, letter in LETTERS.items() if self.flags & bit)
            return "%s tcp %s seq %d ack %d win %d data %d%s%s" % (
                name, letters or "-", self.seq, self.ack, self.window, self.data,
                " options %s" % (self.options,) if self.options else "", extra)
        if self.proto in (ICMP, ICMPV6):
            return "%s icmp %d/%d id %d%s" % (name, self.type, self.code, self.ident, extra)
        if self.proto == SCTP:
            return "%s sctp chunk %d%s tag %x own %x%s" % (name, self.chunk, " T" * self.reflected, self.tag,
                                                           self.own_tag, extra)
        return "%s proto %d%s" % (name, self.proto, extra)


# --- bytes -----------------------------------------------------------------------------------------------------------


class Place:
    """Addresses for one conversation: nobody else's."""

    def __init__(self, number, ipv6):
        tail = number.to_bytes(2, "big")
        self.ipv6 = ipv6
        self.addresses = ((bytes((10, 80)) + tail, bytes((10, 81)) + tail) if not ipv6 else
                          tuple(bytes((0xfd, 0x80, 0, side)) + bytes(10) + tail for side in (0, 1)))

    def ip(self, side, proto, payload, to_self=False):
        source, target = self.addresses[side], self.addresses[side if to_self else 1 - side]
        if self.ipv6:
            return struct.pack("!IHBB16s16s", 0x60000000, len(payload), proto, 64, source, target) + payload
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0, source, target)
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload

    def sum(self, side, proto, payload, to_self=False):
        """The checksum with the pseudo header."""
        source, target = self.addresses[side], self.addresses[side if to_self else 1 - side]
        if self.ipv6:
            pseudo = struct.pack("!16s16sIHBB", source, target, len(payload), 0, 0, proto)
        else:
            pseudo = struct.pack("!4s4sBBH", source, target, 0, proto, len(payload))
        return checksum(pseudo + payload)


def with_sum(payload, at, value):
    return payload[:at] + struct.pack("!H", value) + payload[at + 2:]


def tcp_options(packet):
    coded = b""
    for kind, value in packet.options:
        if kind == SCALE:
            coded += struct.pack("!BBB", kind, 3, value)
        elif kind == SACK_PERMITTED:
            coded += struct.pack("!BB", kind, 2)
        else:
            coded += struct.pack("!BBII", kind, 10, *(edge & MASK for edge in value))
    return coded + b"\1" * (-len(coded) % 4)


def crc32c(data):
    value = MASK
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ MASK


def transport(packet, place):
    """The bytes behind the IP header."""
    side, ports = packet.side, PORTS if packet.side == 0 else PORTS[::-1]
    spoil = 0x5a5a if packet.damaged else 0
    if packet.proto == TCP:
        options = tcp_options(packet)
        text = struct.pack("!HHIIBBHHH", *ports, packet.seq, packet.ack, (5 + len(options) // 4) << 4, packet.flags,
                           packet.window, 0, 0) + options + bytes(packet.data)
        return with_sum(text, 16, place.sum(side, TCP, text) ^ spoil)
    if packet.proto in (UDP, UDPLITE):
        text = struct.pack("!HHHH", *ports, 8 + packet.data, 0) + bytes(packet.data)
        return with_sum(text, 6, (place.sum(side, packet.proto, text) ^ spoil) or MASK >> 16)
    if packet.proto == SCTP:
        chunk = struct.pack("!BBHIIHHI", packet.chunk, packet.reflected, 20, packet.own_tag, 65536, 1, 1, 1)
        head = struct.pack("!HHI", *ports, packet.tag)
        return head + struct.pack("<I", crc32c(head + bytes(4) + chunk) ^ spoil) + chunk
    if packet.proto == GRE:
        return struct.pack("!HHI", 0, 0x0800, 0)
    text = struct.pack("!BBHHH", packet.type, packet.code, 0, packet.ident, 1)
    if packet.quoted:
        quoted = replace(packet.quoted, talk=packet.talk)
        text = text[:4] + bytes(4) + place.ip(quoted.side, quoted.proto, transport(quoted, place))
    if packet.proto == ICMPV6:
        return with_sum(text, 2, place.sum(side, ICMPV6, text, packet.to_other) ^ spoil)
    return with_sum(text, 2, checksum(text) ^ spoil)


def frame(packet, place):
    """As it comes to us, Ethernet header first."""
    head = bytes.fromhex((OUR_MAC + PEER_MAC).replace(":", "")) + (b"\x86\xdd" if packet.ipv6 else b"\x08\x00")
    return head + place.ip(packet.side, packet.proto, transport(packet, place), packet.to_other)


# --- ends ------------------------------------------------------------------------------------------------------------


@dataclass
class End:
    """What one end of a TCP connection knows."""
    first: int
    next: int = None
    got: int = 0
    scale: int = None
    sacks: bool = False
    synced: bool = False     # it sent a SYN
    heard: bool = False      # it got one
    finished: bool = False
    over: bool = False


class Tcp:
    """Two ends; next() is what one of them says now."""

    WINDOWS = (0, 1, 500) + (29200, 64240, 65535) * 4

    def __init__(self, dice, talk, ipv6):
        self.dice, self.talk, self.ipv6 = dice, talk, ipv6
        self.sent = []
        self.begin()

    def begin(self):
        def number():
            return self.dice.getrandbits(32) if self.dice.random() < .7 else -self.dice.randrange(1, 200) & MASK

        self.ends = [End(number()), End(number())]
        self.client = self.dice.randrange(2)
        for end in self.ends:
            end.next = end.first
            end.scale = self.dice.choice((None, 0, 7, 14, 15))
            end.sacks = self.dice.random() < .7

    def make(self, side, flags, data=0, **more):
        end = self.ends[side]
        options = ()
        if flags & SYN:
            options = ((SCALE, end.scale),) * (end.scale is not None) + ((SACK_PERMITTED, None),) * end.sacks
        elif flags & ACK and end.sacks and self.ends[1 - side].sacks and self.dice.random() < .2:
            options = ((SACK, (end.got + 1, end.got + self.dice.choice((2, 50, 2000)))),)
        return Packet(talk=self.talk, side=side, ipv6=self.ipv6, flags=flags, seq=end.next,
                      ack=end.got if flags & ACK else 0, data=data, options=options,
                      window=self.dice.choice(self.WINDOWS), **more)

    def usual(self, side):
        """What this end's stack could send next."""
        end, other = self.ends[side], self.ends[1 - side]
        roll = self.dice.random()
        if end.over or (end.finished and other.finished and roll < .3):
            self.begin()
            side, end = self.client, self.ends[self.client]
        if not end.synced:
            if end.heard:
                return self.make(side, SYN | ACK) if roll < .8 else self.make(side, RST | ACK)
            if side == self.client or roll < .1:
                return self.make(side, SYN)
            return None
        if not end.heard:
            return replace(self.make(side, SYN), seq=end.first)  # again
        if side != self.client and other.got == end.first and roll < .9:
            return None if roll < .7 else replace(self.make(side, SYN | ACK), seq=end.first)
        if roll < .03:
            return self.make(side, RST | (ACK if roll < .02 else 0))
        if roll < .2:
            return self.make(side, FIN | ACK) if not end.finished else self.make(side, ACK)
        if roll < .6 and not end.finished:
            return self.make(side, ACK | PSH, self.dice.choice((1, 50, 536, 1000)))
        if roll < .65:
            return replace(self.make(side, ACK), seq=end.next - 1 & MASK)  # keepalive
        return self.make(side, ACK)

    def odd(self, packet):
        """Something that the other end does not wait for."""
        far = (1, 2, 100, 1000, 29200, 65535, 65536, 66000, 67000, 100000, 1 << 20, 1 << 29, 1 << 31)
        off = self.dice.choice(far) * self.dice.choice((1, -1))
        roll = self.dice.random()
        if roll < .3:
            return replace(packet, seq=packet.seq + off & MASK)
        if roll < .5 and packet.flags & ACK:
            return replace(packet, ack=packet.ack + off & MASK)
        if roll < .9:
            flags = self.dice.choice((SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK))
            return replace(packet, flags=flags, options=(), data=0)
        return replace(packet, flags=self.dice.randrange(64))

    def take(self, packet):
        """The sender remembers it, and mostly the other end gets it."""
        end, other = self.ends[packet.side], self.ends[1 - packet.side]
        if packet.flags & RST:
            end.over = other.over = True
            return
        end.synced |= bool(packet.flags & SYN)
        end.finished |= bool(packet.flags & FIN)
        if ahead(packet.end, end.next) > 0:
            end.next = packet.end
        if self.dice.random() < .12 or (packet.seq != other.got and not packet.flags & SYN):
            return  # lost, or not in turn
        other.heard |= bool(packet.flags & SYN)
        if packet.flags & SYN or ahead(packet.end, other.got) > 0:
            other.got = packet.end

    def next(self):
        roll = self.dice.random()
        if self.sent and roll < .08:
            return self.dice.choice(self.sent[-6:])
        side = self.dice.randrange(2)
        packet = self.usual(side) or self.usual(1 - side)
        if packet is None:
            packet = self.make(side, SYN)
        if roll > .88:
            packet = self.odd(packet)
        else:
            self.take(packet)
        if roll > .85 and roll < .87:
            packet = replace(packet, damaged=True)
        self.sent.append(packet)
        return packet


class Sctp:
    CHUNKS = (1, 1, 2, 2, 10, 10, 11, 11, 0, 3, 4, 5, 7, 8, 14, 6)

    def __init__(self, dice, talk, ipv6):
        self.dice, self.talk, self.ipv6, self.sent = dice, talk, ipv6, []
        self.tags = [dice.getrandbits(32) | 1, dice.getrandbits(32) | 1]

    def next(self):
        side, chunk = self.dice.randrange(2), self.dice.choice(self.CHUNKS)
        reflected = chunk in (6, 14) and self.dice.random() < .3
        tag = 0 if chunk == 1 else self.tags[side if reflected else 1 - side]
        if self.dice.random() < .08:
            tag = self.dice.getrandbits(32)
        packet = Packet(self.talk, side, SCTP, self.ipv6, chunk=chunk, tag=tag, own_tag=self.tags[side],
                        reflected=reflected, damaged=self.dice.random() < .02)
        self.sent.append(packet)
        return packet


class Plain:
    """UDP, UDP-Lite, GRE; ICMP echo and other messages."""

    TYPES4, TYPES6 = (8, 8, 8, 0, 0, 13, 14, 17, 9, 5), (128, 128, 128, 129, 129, 135, 137, 200)

    def __init__(self, dice, talk, ipv6, proto):
        self.dice, self.talk, self.ipv6, self.proto, self.sent = dice, talk, ipv6, proto, []

    def next(self):
        proto = ICMPV6 if self.proto == ICMP and self.ipv6 else self.proto
        kind = self.dice.choice(self.TYPES6 if self.ipv6 else self.TYPES4) if self.proto == ICMP else 0
        packet = Packet(self.talk, self.dice.randrange(2), proto, self.ipv6, data=self.dice.randrange(0, 9, 4),
                        type=kind, ident=7 + self.dice.randrange(2),
                        damaged=proto != GRE and self.dice.random() < .03)
        self.sent.append(packet)
        return packet


def error_about(dice, quoted):
    types4, types6 = ((3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (5, 1)), ((1, 0), (1, 4), (2, 0), (3, 0), (4, 0))
    kind, code = dice.choice(types6 if quoted.ipv6 else types4)
    return Packet(quoted.talk, 1 - quoted.side, ICMPV6 if quoted.ipv6 else ICMP, quoted.ipv6, type=kind, code=code,
                  quoted=quoted, to_other=dice.random() < .1, damaged=dice.random() < .03)


def sequence(seed, length):
    """A random sequence; the same seed gives the same one."""
    dice = random.Random(seed)
    talks = [Tcp(dice, 0, False), Tcp(dice, 1, True), Tcp(dice, 2, False), Plain(dice, 3, False, UDP),
             Plain(dice, 4, True, UDP), Plain(dice, 5, False, ICMP), Plain(dice, 6, True, ICMP), Sctp(dice, 7, False),
             Plain(dice, 8, False, GRE), Plain(dice, 9, False, UDPLITE)]
    packets = []
    while len(packets) < length:
        talk = dice.choice(talks + talks[:3] * 5)
        if talk.sent and dice.random() < .08:
            packets.append(error_about(dice, talk.sent[-1]))
        else:
            packets.append(talk.next())
    return packets
