#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A table whose trees are read ahead: packets must be decided by the rule that brute force finds.

In: WEIR, the command; WEIR_SEED, else 1. Out: TAP. A third of the rules each has long prefixes of source and
destination, of the source alone, of the destination alone: so packets enter several trees.
"""

import os
import random
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench"))

import classbench  # noqa: E402

RULES, PACKETS = 24000, 300
READ_AHEAD_BYTES = 1 << 19  # PLAN_TOUCHED_MIN


def prefix(generator, lengths):
    length = generator.choice(lengths)
    return (generator.getrandbits(32) >> (32 - length) << (32 - length) if length else 0), length


def make_rule(generator, number):
    long, short = (20, 24, 28, 32), (0,)
    kind = number % 3
    return (prefix(generator, short if kind == 2 else long), prefix(generator, short if kind == 1 else long),
            generator.randrange(1, 1024))


def text(rule):
    parts = [f"{name} == {address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}/{length}"
             for name, (address, length) in zip(("src", "dst"), rule) if length]
    return "\taccept if " + " && ".join(parts + [f"udp.dst_port == {rule[2]}"])


def inside(address, block):
    return not block[1] or (address ^ block[0]) >> (32 - block[1]) == 0


def decides(rules, packet):
    for number, (source, destination, port) in enumerate(rules, 1):
        if port == packet[2] and inside(packet[0], source) and inside(packet[1], destination):
            return str(number)
    return "default"


def make_packet(generator, rules):
    """Let in by one rule, or with another's destination and port."""
    (source, length), _, port = generator.choice(rules)
    _, (destination, other), other_port = generator.choice(rules)
    return (source | generator.getrandbits(32) & ((1 << (32 - length)) - 1),
            destination | generator.getrandbits(32) & ((1 << (32 - other)) - 1),
            generator.choice((port, other_port)))


def write_capture(path, packets):
    with open(path, "wb") as file:
        file.write(classbench.struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for source, destination, port in packets:
            frame = classbench.packet(source, destination, 4000, port, classbench.UDP, 0)
            file.write(classbench.struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame)


def weir(*arguments):
    return subprocess.run([os.environ["WEIR"], *arguments], capture_output=True, text=True)


def judge(scratch, seed):
    """None, or what is wrong."""
    generator = random.Random(seed)
    rules = [make_rule(generator, number) for number in range(RULES)]
    packets = [make_packet(generator, rules) for _ in range(PACKETS)]
    policy, capture = os.path.join(scratch, "policy"), os.path.join(scratch, "packets.pcap")
    with open(policy, "w", encoding="utf-8") as file:
        file.write("policy big {\n\ton xdp lo\n\tclassifier = table\n\tdefault drop")
        file.write("\n".join(["", *map(text, rules), "}\n"]))
    write_capture(capture, packets)
    plan = weir("compile", "--emit", "plan", policy)
    if int(re.search(r"(\d+) bytes", plan.stdout)[1]) < READ_AHEAD_BYTES:
        return "the table is too small to be read ahead"
    run = weir("test", "--pcap", capture, policy)
    if run.returncode:
        return run.stderr.splitlines()[-1]
    found = [line.split()[2] for line in run.stdout.splitlines()]
    wanted = [decides(rules, packet) for packet in packets]
    wrong = [i for i, pair in enumerate(zip(found, wanted)) if pair[0] != pair[1]]
    if len(found) != len(wanted) or wrong:
        return f"{len(found)} judged, {len(wrong)} otherwise, first {wrong[:1]}"
    return None


def main():
    seed = int(os.environ.get("WEIR_SEED", "1"))
    if os.geteuid():
        print("1..0 # SKIP loading programs needs root")
        return 0
    print("1..1")
    with tempfile.TemporaryDirectory(prefix="weir-big-table-") as scratch:
        wrong = judge(scratch, seed)
    print(f"{'not ok' if wrong else 'ok'} 1 - {RULES} rules, seed {seed}" + (f" # {wrong}" if wrong else ""))
    return wrong is not None


if __name__ == "__main__":
    sys.exit(main())
