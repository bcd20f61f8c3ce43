#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A datagram echo server with a filter of its own, by libweir through ctypes: the interface is plain C.

    ./echo_ctypes.py 4242
"""

import ctypes
import os
import socket
import sys

RULES = "src in { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8, fc00::/7, ::1 }"

lib = ctypes.CDLL(os.environ.get("LIBWEIR", "libweir.so.0"))
lib.weir_new.restype = ctypes.c_void_p
lib.weir_diagnostic_count.restype = ctypes.c_size_t
lib.weir_diagnostic_count.argtypes = [ctypes.c_void_p]
lib.weir_diagnostic_text.restype = ctypes.c_char_p
lib.weir_diagnostic_text.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_bool]
lib.weir_filter_compile.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
lib.weir_filter_attach.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
lib.weir_filter_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.weir_filter_free.argtypes = [ctypes.c_void_p]
lib.weir_free.argtypes = [ctypes.c_void_p]


class FilterError(Exception):
    pass


def protect(sock, rules):
    """Puts the filter on the socket for as long as that exists; raises FilterError with the library's words."""
    weir = lib.weir_new()
    compiled = ctypes.c_void_p()
    try:
        if lib.weir_filter_compile(weir, rules.encode(), ctypes.byref(compiled)) or \
                lib.weir_filter_attach(weir, compiled, sock.fileno()) or lib.weir_filter_lock(weir, sock.fileno()):
            raise FilterError("".join(lib.weir_diagnostic_text(weir, i, False).decode()
                                      for i in range(lib.weir_diagnostic_count(weir))))
    finally:
        lib.weir_filter_free(compiled)
        lib.weir_free(weir)


def main():
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    protect(sock, sys.argv[2] if len(sys.argv) > 2 else RULES)
    sock.bind(("::", int(sys.argv[1]) if len(sys.argv) > 1 else 4242))
    print("started", flush=True)
    while True:
        data, client = sock.recvfrom(65535)
        sock.sendto(data, client)


if __name__ == "__main__":
    try:
        main()
    except FilterError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
