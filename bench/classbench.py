#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ClassBench rule sets and traces as weir policies and captures.

    bench/classbench.py rules FILE [--classifier KIND] [--cache WHEN] [--limit N] > POLICY
    bench/classbench.py trace FILE [--limit N] > CAPTURE.pcap
    bench/classbench.py measure FOLDER [--classifier KIND] [--limit N] [SET...]

FILE may be gzipped. `measure` prints a table of what each set of FOLDER (rules/SET[.gz], trace/SET.trace.gz) takes: ns a packet above an
empty program at XDP, each packet judged (`cache = no`), and with answers kept, and which part of them was, seconds and bytes a rule;
with --limit, for only so many packets of the trace, in turn. It needs root, and WEIR or build/src/cli/weir. The rules are `@src/len dst/len lo : hi lo : hi proto/mask flags/mask`, the trace
`src dst sport dport proto flags first_match`. A rule's number in the policy is its line; all accept, the default drops.
"""

import argparse
import gzip
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time

TCP, UDP, ICMP = 6, 17, 1
WITH_PORTS = (TCP, UDP)
MAC = bytes.fromhex("020000000001020000000002")


def lines(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt") as file:
        yield from file


def ports(name, lo, hi):
    if (lo, hi) == (0, 65535):
        return []
    return [f"{name} == {lo}" if lo == hi else f"{name} in {{ {lo}-{hi} }}"]


def flags(proto, value, mask):
    """The high byte is the octet of TCP's flags, or ICMP's type; other protocols have neither."""
    value, mask = value >> 8 & mask >> 8, mask >> 8
    if not mask:
        return []
    if proto == TCP:
        return [f"tcp.flags & {mask} == {value}"]
    if proto == ICMP and mask == 255:
        return [f"icmp4.type == {value}"]
    raise ValueError(f"flags {value:#x}/{mask:#x} of protocol {proto}")


def condition(line):
    fields = line.lstrip("@").split("\t")
    source, destination = (x.strip() for x in fields[:2])
    sport, dport = ([int(n) for n in x.split(":")] for x in fields[2:4])
    proto, proto_mask = (int(x, 16) for x in fields[4].split("/"))
    value, mask = (int(x, 16) for x in fields[5].split("/"))
    parts = [f"src == {source}"] if not source.endswith("/0") else []
    parts += [f"dst == {destination}"] if not destination.endswith("/0") else []
    if proto_mask:
        parts.append(f"proto == {proto}")
    parts += ports("src_port", *sport) + ports("dst_port", *dport)
    parts += flags(proto if proto_mask else None, value, mask) if proto_mask else []
    return " && ".join(parts) if parts else "ip"


def write_rules(options):
    print("policy classbench {\n\ton xdp lo\n\tdefault drop")
    if options.classifier != "auto":
        print(f"\tclassifier = {options.classifier}")
    if options.cache != "auto":
        print(f"\tcache = {options.cache}")
    for number, line in enumerate(lines(options.file)):
        if options.limit and number >= options.limit:
            break
        print(f"\taccept if {condition(line)}")
    print("}")


def packet(source, destination, sport, dport, proto, bits):
    if proto == TCP:
        body = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, bits >> 8, 1024, 0, 0)
    elif proto == UDP:
        body = struct.pack("!HHHH", sport, dport, 8, 0)
    elif proto == ICMP:
        body = struct.pack("!BBHI", bits >> 8, 0, 0, 0)
    else:
        body = b""
    header = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(body), 1, 0, 64, proto, 0, source, destination)
    return (MAC + b"\x08\x00" + header + body).ljust(60, b"\0")


def write_trace(options):
    out = sys.stdout.buffer
    out.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for number, line in enumerate(line for line in lines(options.file) if not line.startswith("#")):
        if options.limit and number >= options.limit:
            break
        source, destination, sport, dport, proto = (int(x) for x in line.split()[:5])
        frame = packet(source, destination, sport, dport, proto, int(line.split()[5], 16))
        out.write(struct.pack("=IIII", number, 0, len(frame), len(frame)) + frame)


def truths(path):
    """For each packet of the trace the number of the rule that decides, 0 for the default."""
    return [int(line.split()[6]) + 1 for line in lines(path) if not line.startswith("#")]


SETS = [f"{seed}_{size}" for size in ("1k", "10k", "100k") for seed in ("acl1", "fw1", "ipc1")]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WEIR = os.environ.get("WEIR", os.path.join(ROOT, "build/src/cli/weir"))


def generate(path, what, source, *options):
    with open(path, "wb") as file:
        subprocess.run([__file__, what, source, *options], stdout=file, check=True)


def run(*command):
    return subprocess.run([WEIR, *command], capture_output=True, text=True, check=True).stdout


def seconds_of(function, *arguments):
    begin = time.monotonic()
    function(*arguments)
    return time.monotonic() - begin


def bench(capture, policy):
    """ns above an empty program, and which part of packets was answered from the cache."""
    result = json.loads(run("bench", "--json", "--pcap", capture, policy))
    return result["ns_per_packet"] - result["empty_ns_per_packet"], result["cached"]


def measure_set(scratch, options, name):
    policy, judging, capture, single = (os.path.join(scratch, file) for file in ("policy", "judging", "trace.pcap", "single.pcap"))
    rules, trace = os.path.join(options.file, "rules", name), os.path.join(options.file, "trace", name + ".trace.gz")
    rules = rules if os.path.exists(rules) else rules + ".gz"
    generate(policy, "rules", rules, "--classifier", options.classifier)
    generate(judging, "rules", rules, "--classifier", options.classifier, "--cache", "no")
    generate(capture, "trace", trace, "--limit", str(options.limit))
    generate(single, "trace", trace, "--limit", "1")
    plan = run("compile", "--emit", "plan", policy).splitlines()[1]
    count = sum(line.startswith("\taccept") for line in open(policy))
    size = re.search(r"(\d+) bytes", plan)
    seconds = seconds_of(run, "test", "--pcap", single, policy)  # compiled, loaded, one packet judged
    (judged, _), (above, cached) = bench(capture, judging), bench(capture, policy)
    per_rule = f"{int(size[1]) / count:.1f}" if size else ""
    print(f"| {name} | {count} | {plan.split()[0]} | {judged:.0f} | {above:.0f} | {cached * 100:.0f} | {seconds:.2f} | {per_rule} |",
          flush=True)


def measure(options):
    print("| set | rules | form | ns, each judged | ns | % kept | compile and load, s | bytes a rule |")
    print("|---|--:|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="weir-classbench-") as scratch:
        for name in options.sets or SETS:
            measure_set(scratch, options, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["rules", "trace", "measure"])
    parser.add_argument("file")
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--classifier", default="auto")
    parser.add_argument("--cache", default="auto")
    parser.add_argument("--limit", type=int, default=0)
    options = parser.parse_intermixed_args()
    {"rules": write_rules, "trace": write_trace, "measure": measure}[options.what](options)


if __name__ == "__main__":
    main()
