# SPDX-License-Identifier: GPL-2.0-only
"""One system call through io_uring, without a library: a ring of one entry, made and thrown away."""

import ctypes
import errno
import mmap
import os
import socket
import struct
import unittest

SETUP, ENTER = 425, 426
OFFSET_SQ, OFFSET_CQ, OFFSET_SQES = 0, 0x8000000, 0x10000000
GETEVENTS = 1
OP_SENDMSG, OP_CONNECT = 9, 16
SQE_BYTES, PARAMS_BYTES = 64, 120

libc = ctypes.CDLL(None, use_errno=True)


def sockaddr(family, address, port):
    if family == socket.AF_INET:
        return struct.pack("=HH4s8x", family, socket.htons(port), socket.inet_pton(family, address))
    return struct.pack("=HHI16sI", family, socket.htons(port), 0, socket.inet_pton(family, address), 0)


def call(entry):
    """The result of one submission: 0 or more, or -errno."""
    params = ctypes.create_string_buffer(PARAMS_BYTES)
    fd = libc.syscall(SETUP, 1, params)
    if fd < 0:
        raise unittest.SkipTest("no io_uring: " + os.strerror(ctypes.get_errno()))
    try:
        entries, cq_entries = struct.unpack_from("=II", params, 0)
        sq = struct.unpack_from("=IIIIIII", params, 40)  # head, tail, mask, entries, flags, dropped, array
        cq = struct.unpack_from("=IIIIII", params, 80)   # head, tail, mask, entries, overflow, cqes
        with mmap.mmap(fd, sq[6] + entries * 4, offset=OFFSET_SQ) as sring, \
                mmap.mmap(fd, cq[5] + cq_entries * 16, offset=OFFSET_CQ) as cring, \
                mmap.mmap(fd, entries * SQE_BYTES, offset=OFFSET_SQES) as sqes:
            sqes[:SQE_BYTES] = entry.ljust(SQE_BYTES, b"\0")
            struct.pack_into("=I", sring, sq[6], 0)
            struct.pack_into("=I", sring, sq[1], struct.unpack_from("=I", sring, sq[1])[0] + 1)
            if libc.syscall(ENTER, fd, 1, 1, GETEVENTS, None, 0) < 0:
                raise OSError(ctypes.get_errno(), "io_uring_enter")
            return struct.unpack_from("=Qi", cring, cq[5])[1]
    finally:
        os.close(fd)


def name_of(result):
    return errno.errorcode[-result] if result < 0 else "done"


def connect(sock, family, address, port):
    """'done', or the errno's name."""
    name = ctypes.create_string_buffer(sockaddr(family, address, port))
    return name_of(call(struct.pack("=BBHiQQ", OP_CONNECT, 0, 0, sock.fileno(), len(name) - 1,
                                    ctypes.addressof(name))))


def sendto(sock, family, address, port):
    name = ctypes.create_string_buffer(sockaddr(family, address, port))
    data = ctypes.create_string_buffer(b"hello")
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), 5))
    header = ctypes.create_string_buffer(struct.pack("=QIIQQQQI", ctypes.addressof(name), len(name) - 1, 0,
                                                     ctypes.addressof(vector), 1, 0, 0, 0))
    return name_of(call(struct.pack("=BBHiQQI", OP_SENDMSG, 0, 0, sock.fileno(), 0, ctypes.addressof(header), 1)))
