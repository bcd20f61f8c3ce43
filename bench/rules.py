#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What it takes to change one rule of a policy in force, as a command, in milliseconds.

    bench/rules.py FOLDER [--classifier KIND] [--rounds N] [--beside WHAT]... [SET...]

FOLDER is that of bench/classbench.py. For each set: `weir apply`; `weir version` (what any command takes); then `weir rule`
add (a random rule before a random rule), delete of a rule that came, delete of a rule that was built, and `weir apply` of the
file with one rule more, each N times: median of the time from start to end, of the time on the processor in brackets, and how
many were in place. `--beside` puts a set, a log or a chain with rules that use it into the policy, and with `set` and `log` the
rules that come use it, too. Runs in namespaces of its own; needs root, and WEIR or build/src/cli/weir.
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
FOLDER = tempfile.gettempdir()
NAME = os.path.join(FOLDER, "weir-bench-rules-%d.weir" % os.getpid())
WEIR = os.environ.get("WEIR", os.path.join(ROOT, "build/src/cli/weir"))


# Declarations, a rule, and what rules that come begin with and ask for.
BESIDE = {
    "set": ("set blocked : prefix { 192.0.2.0/24, 198.51.100.0/24, 2001:db8::/32 }", "drop if src in blocked", "", " && src in blocked"),
    "log": ("", 'log "odd" rate 1/s if udp.dst_port == 7', 'log "new" rate 1/s ', ""),
    "chain": ("chain late { drop if udp.dst_port == 9 }", "jump late if udp && src == 192.0.2.0/24", "", ""),
}


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
    """Milliseconds from start to end and on the processor, and what it said."""
    begin = time.perf_counter()
    process = subprocess.Popen([WEIR, *arguments], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = (time.perf_counter() - begin) * 1000, (usage.ru_utime + usage.ru_stime) * 1000
    if process.returncode:
        sys.exit("weir %s failed" % " ".join(arguments))
    return took, output


def policy(options, name):
    path = os.path.join(options.folder, "rules", name)
    path = path if os.path.exists(path) else path + ".gz"
    text = subprocess.run([os.path.join(ROOT, "bench/classbench.py"), "rules", path, "--classifier", options.classifier],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    text = text.replace("on xdp lo", "on tc lo ingress").replace("default drop", "default accept")
    for what in options.beside:
        text = text.replace("\taccept", "\t%s\n\t%s\n\taccept" % BESIDE[what][:2], 1)
    return text


def random_rule(beside):
    begin, more = ("".join(BESIDE[what][i] for what in beside) for i in (2, 3))
    return begin + "accept if src == 10.%d.%d.0/24 && dst == 192.168.%d.%d && proto == 6 && dst_port == %d%s" % (
        *(random.randrange(256) for _ in range(4)), random.randrange(65536), more)


class Times:
    def __init__(self):
        self.took, self.in_place = [], 0

    def run(self, *arguments):
        took, output = weir(*arguments)
        self.took.append(took)
        return output

    def change(self, *arguments):
        self.in_place += json.loads(self.run("rule", *arguments, "--json"))["in_place"]

    def apply(self, text):
        """In place, if it is still what was loaded then."""
        before = loaded()
        with open(NAME, "w") as file:
            file.write(text)
        self.run("apply", "--no-verify", NAME)
        os.unlink(NAME)
        self.in_place += loaded() == before

    def __str__(self):
        return "%6.1f [%6.1f] %2d" % (*(statistics.median(took[i] for took in self.took) for i in (0, 1)), self.in_place)


def loaded():
    listed = json.loads(weir("list", "--json")[1])["policies"]
    return listed and listed[0]["loaded"]


def measure(options, name):
    text = policy(options, name)
    first, version, add, own, built, again = (Times() for _ in range(6))
    first.apply(text)
    count = text.count("accept if")
    for _ in range(options.rounds):
        version.run("version")
        number = str(random.randrange(count) + 1)
        add.change("add", "classbench", "before", number, random_rule(options.beside))
        own.change("delete", "classbench", number)
        built.change("delete", "classbench", str(random.randrange(count) + 1))
        count -= 1
    first.apply(text)
    for _ in range(min(options.rounds, 5)):
        text = text.replace("\taccept", "\t%s\n\taccept" % random_rule(options.beside), 1)
        again.apply(text)
    weir("delete", "classbench")
    print("%-10s %7d" % (name, count), first, version, add, own, built, again, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--classifier", default="auto")
    parser.add_argument("--beside", action="append", choices=sorted(BESIDE), default=[])
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_intermixed_args()
    own_world()
    random.seed(1)
    print("%-10s %7s" % ("set", "rules"), *("%-18s" % what for what in (
        "apply", "version", "add", "delete it", "delete a built one", "apply one more")))
    for name in options.sets or ("acl1_1k", "fw1_1k", "ipc1_1k", "acl1_10k", "fw1_10k", "ipc1_10k", "acl1_100k",
                                 "fw1_100k", "ipc1_100k", "acl1_1m"):
        measure(options, name)


if __name__ == "__main__":
    main()
