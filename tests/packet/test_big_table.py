#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Large tables: packets must be decided by the rule that brute force finds.

In: WEIR, the command; WEIR_SEED, else 1. Out: TAP. Trees that are read ahead: a third of the rules each has long prefixes of
source and destination, of the source alone, of the destination alone, so packets enter several trees. And a hash: most rules
have one destination, some of them that of others, too; before and behind them are such with prefixes.
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
HASHED = 0.97  # of the rules of a hash
READ_AHEAD_BYTES = 1 << 19  # PLAN_TOUCHED_MIN


def prefix(generator, lengths):
    length = generator.choice(lengths)
    return (generator.getrandbits(32) >> (32 - length) << (32 - length) if length else 0), length


def make_rule(generator, number):
    long, short = (20, 24, 28, 32), (0,)
    kind = number % 3
    return (prefix(generator, short if kind == 2 else long), prefix(generator, short if kind == 1 else long),
            generator.randrange(1, 1024))


def make_hashed(generator, _):
    if generator.random() > HASHED:
        return (prefix(generator, (0, 24)), prefix(generator, (8, 16, 24)), generator.randrange(1, 1024))
    return ((0, 0), (generator.randrange(1, 1 << 16) * 65521 & 0xffffffff, 32), generator.randrange(1, 8))


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


def read_ahead(plan):
    return int(re.search(r"(\d+) bytes", plan)[1]) >= READ_AHEAD_BYTES


def has_hash(plan):
    return " in a hash by " in plan


def judge(scratch, seed, make, as_wanted):
    """None, or what is wrong."""
    generator = random.Random(seed)
    rules = [make(generator, number) for number in range(RULES)]
    packets = [make_packet(generator, rules) for _ in range(PACKETS)]
    policy, capture = os.path.join(scratch, "policy"), os.path.join(scratch, "packets.pcap")
    with open(policy, "w", encoding="utf-8") as file:
        file.write("policy big {\n\ton xdp lo\n\tclassifier = table\n\tdefault drop")
        file.write("\n".join(["", *map(text, rules), "}\n"]))
    write_capture(capture, packets)
    plan = weir("compile", "--emit", "plan", policy)
    if not as_wanted(plan.stdout):
        return "the table is another one"
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
    failed = False
    print("1..2")
    for number, (name, make, as_wanted) in enumerate((("read ahead", make_rule, read_ahead), ("hashed", make_hashed, has_hash)), 1):
        with tempfile.TemporaryDirectory(prefix="weir-big-table-") as scratch:
            wrong = judge(scratch, seed, make, as_wanted)
        print(f"{'not ok' if wrong else 'ok'} {number} - {RULES} rules, {name}, seed {seed}" + (f" # {wrong}" if wrong else ""))
        failed |= wrong is not None
    return failed


if __name__ == "__main__":
    sys.exit(main())
