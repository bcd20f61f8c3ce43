#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A socket-activated echo server that knows nothing of filters, for stream and datagram sockets.

    weir run --listen tcp:[::]:4242 --filter 'src in { 10.0.0.0/8, ::1, 127.0.0.0/8 }' -- python3 echo_activated.py

Sockets come from descriptor 3 on, as sd_listen_fds(3) says.
"""

import os
import selectors
import socket
import sys

FIRST = 3


def passed_sockets():
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    return [socket.socket(fileno=FIRST + i) for i in range(int(os.environ.get("LISTEN_FDS", "0")))]


def echo_datagram(sock):
    data, client = sock.recvfrom(65535)
    sock.sendto(data, client)


def echo_stream(selector, sock):
    try:
        data = sock.recv(65536)
        if data:
            sock.setblocking(True)
            sock.sendall(data)
            return
    except OSError:
        pass
    selector.unregister(sock)
    sock.close()


def accept(selector, listener):
    connection, _ = listener.accept()
    selector.register(connection, selectors.EVENT_READ, lambda: echo_stream(selector, connection))


def watch(selector, sock):
    if sock.type == socket.SOCK_DGRAM:
        selector.register(sock, selectors.EVENT_READ, lambda: echo_datagram(sock))
    else:
        selector.register(sock, selectors.EVENT_READ, lambda: accept(selector, sock))


def main():
    sockets = passed_sockets()
    if not sockets:
        sys.exit("no sockets were passed: start me with `weir run --listen ...` or by systemd")
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            watch(selector, sock)
        while True:
            for key, _ in selector.select():
                key.data()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
