#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Rules for one address and one port each: what many of them cost more than few.

    bench/exact.py policy COUNT [--kind KIND] > POLICY
    bench/exact.py capture COUNT [--kind KIND] > CAPTURE.pcap
    bench/exact.py measure [--kind KIND] [--rounds N] COUNT...

KIND: `four` (IPv4 address and TCP port, all different), `six` (the same with IPv6), `five` (both IPv4 addresses and ports), `mixed`
(as `four`, and ranges behind). The capture has PACKETS packets in random order, each let in by one of the rules. `measure` compares the
programs in WEIR (build/src/cli/weir; several, separated by spaces, are run in turn) at XDP; it needs root.
"""

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

MAC = bytes.fromhex("020000000001020000000002")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WEIR = os.environ.get("WEIR", os.path.join(ROOT, "build/src/cli/weir")).split()
PACKETS = 10000


def rules(count, kind):
    """Source, destination, ports; the same for the same arguments."""
    draw = random.Random(count)
    bits = 128 if kind == "six" else 32
    seen = set()
    while len(seen) < count:
        base = 0x20010DB8 << 96 if bits == 128 else 0
        low = draw.getrandbits(80) if bits == 128 else draw.randrange(1 << 24, 0xDF000000)
        seen.add((base | draw.getrandbits(80) if bits == 128 else draw.randrange(1 << 24, 0xDF000000), base | low,
                  draw.randrange(1024, 65536), draw.randrange(1, 65536)))
    chosen = sorted(seen)
    draw.shuffle(chosen)
    return chosen


def text(address, six):
    raw = address.to_bytes(16 if six else 4, "big")
    return ":".join(raw[i:i + 2].hex() for i in range(0, 16, 2)) if six else ".".join(str(b) for b in raw)


def write_policy(out, count, kind, classifier):
    out.write("policy exact {\n\ton xdp lo\n\tdefault drop\n")
    if classifier != "auto":
        out.write(f"\tclassifier = {classifier}\n")
    for src, dst, sport, dport in rules(count, kind):
        first = f"src == {text(src, False)} && tcp.src_port == {sport} && " if kind == "five" else ""
        out.write(f"\taccept if {first}dst == {text(dst, kind == 'six')} && tcp.dst_port == {dport}\n")
    if kind == "mixed":
        for i in range(count // 100 + 1):
            out.write(f"\taccept if src == 10.{i % 256}.{i // 256}.0/24 && tcp.dst_port in {{ 1-1023 }}\n")
    out.write("}\n")


def frame(rule, six):
    src, dst, sport, dport = rule
    body = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, 2, 1024, 0, 0)
    if six:
        return MAC + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), 6, 64) + src.to_bytes(16, "big") + dst.to_bytes(16, "big") + body
    header = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(body), 1, 0, 64, 6, 0, src, dst)
    return (MAC + b"\x08\x00" + header + body).ljust(60, b"\0")


def write_capture(out, count, kind):
    draw = random.Random(1)
    chosen = rules(count, kind)
    out.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for number in range(PACKETS):
        raw = frame(draw.choice(chosen), kind == "six")
        out.write(struct.pack("=IIII", number, 0, len(raw), len(raw)) + raw)


def run(program, *command):
    return subprocess.run([program, *command], capture_output=True, text=True, check=True).stdout


def measure(kind, counts, rounds, classifier):
    print(f"| {kind}, rules | program | ns above empty: least | median | plan |\n|--:|---|--:|--:|---|")
    with tempfile.TemporaryDirectory(prefix="weir-exact-") as scratch:
        for count in counts:
            policy, capture = os.path.join(scratch, "policy"), os.path.join(scratch, "capture.pcap")
            with open(policy, "w") as file:
                write_policy(file, count, kind, classifier)
            with open(capture, "wb") as file:
                write_capture(file, count, kind)
            found = {program: [] for program in WEIR}
            for _ in range(rounds):
                for program in WEIR:
                    bench = json.loads(run(program, "bench", "--json", "--pcap", capture, policy))
                    found[program].append((bench["min_ns_per_packet"] - bench["empty_min_ns_per_packet"],
                                           bench["ns_per_packet"] - bench["empty_ns_per_packet"]))
            for program in WEIR:
                least = sorted(x[0] for x in found[program])
                middle = sorted(x[1] for x in found[program])
                plan = run(program, "compile", "--emit", "plan", policy).splitlines()[1].strip()
                print(f"| {count} | {program} | {least[len(least) // 2]:.0f} | {middle[len(middle) // 2]:.0f} | {plan} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=["policy", "capture", "measure"])
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--kind", choices=["four", "six", "five", "mixed"], default="four")
    parser.add_argument("--classifier", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_intermixed_args()
    if options.what == "policy":
        write_policy(sys.stdout, options.counts[0], options.kind, options.classifier)
    elif options.what == "capture":
        write_capture(sys.stdout.buffer, options.counts[0], options.kind)
    else:
        measure(options.kind, options.counts, options.rounds, options.classifier)


if __name__ == "__main__":
    main()
