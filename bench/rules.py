#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What it takes to change one rule of a policy in force, as a command, in milliseconds.

    bench/rules.py FOLDER [--classifier KIND] [--rounds N] [SET...]

FOLDER is that of bench/classbench.py. For each set: `weir apply`, `weir version` (what any command takes), then `weir rule`
add (a random rule before a random rule), delete of a rule that came, delete of a rule that was built, each N times:
median, and how many were in place. Runs in namespaces of its own; needs root, and WEIR or build/src/cli/weir.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WEIR = os.environ.get("WEIR", os.path.join(ROOT, "build/src/cli/weir"))


def own_world():
    """Again in a network and a mount namespace, with a bpffs there."""
    if os.environ.get("WEIR_BENCH_WORLD"):
        return
    folder = tempfile.mkdtemp()
    os.environ.update(WEIR_BENCH_WORLD="1", WEIR_BPFFS=folder)
    script = 'mount -t bpf bpf "$WEIR_BPFFS" && ip link set lo up && exec "$@"'
    try:
        sys.exit(subprocess.run(["unshare", "-nm", "sh", "-c", script, "sh", sys.executable, *sys.argv]).returncode)
    finally:
        os.rmdir(folder)


def weir(*arguments):
    begin = time.perf_counter()
    done = subprocess.run([WEIR, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    took = (time.perf_counter() - begin) * 1000
    if done.returncode:
        sys.exit("weir %s: %s" % (" ".join(arguments), done.stderr))
    return took, done.stdout


def policy(options, name):
    path = os.path.join(options.folder, "rules", name)
    path = path if os.path.exists(path) else path + ".gz"
    text = subprocess.run([os.path.join(ROOT, "bench/classbench.py"), "rules", path, "--classifier", options.classifier],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    return text.replace("on xdp lo", "on tc lo ingress").replace("default drop", "default accept")


def random_rule():
    return "accept if src == 10.%d.%d.0/24 && dst == 192.168.%d.%d && proto == 6 && dst_port == %d" % (
        *(random.randrange(256) for _ in range(4)), random.randrange(65536))


class Times:
    def __init__(self):
        self.took, self.in_place = [], 0

    def change(self, *arguments):
        took, output = weir("rule", *arguments, "--json")
        self.took.append(took)
        self.in_place += json.loads(output)["in_place"]

    def __str__(self):
        return "%7.1f (%d of %d)" % (statistics.median(self.took), self.in_place, len(self.took))


def measure(options, name):
    text = policy(options, name)
    count = text.count("accept if")
    add, own, built = Times(), Times(), Times()
    with tempfile.NamedTemporaryFile("w", suffix=".weir") as file:
        file.write(text)
        file.flush()
        apply, _ = weir("apply", "--no-verify", file.name)
    for _ in range(options.rounds):
        number = str(random.randrange(count) + 1)
        add.change("add", "classbench", "before", number, random_rule())
        own.change("delete", "classbench", number)
        built.change("delete", "classbench", str(random.randrange(count) + 1))
        count -= 1
    weir("delete", "classbench")
    version = statistics.median(weir("version")[0] for _ in range(options.rounds))
    print("%-10s %8d %8.0f %6.1f %s %s %s" % (name, count, apply, version, add, own, built), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--classifier", default="auto")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_intermixed_args()
    own_world()
    random.seed(1)
    print("set           rules    apply version  add               delete it         delete a built one")
    for name in options.sets or ("acl1_1k", "fw1_1k", "ipc1_1k", "acl1_10k", "fw1_10k", "ipc1_10k", "acl1_100k",
                                 "fw1_100k", "ipc1_100k", "acl1_1m"):
        measure(options, name)


if __name__ == "__main__":
    main()
