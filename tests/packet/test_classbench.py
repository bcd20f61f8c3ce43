#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ClassBench rule sets, loaded: every packet of the traces must be decided by the rule that brute force found.

In: WEIR, the command; WEIR_CLASSBENCH, a folder with rules/SET[.gz] and trace/SET.trace.gz, which are not part of the
project; WEIR_CLASSBENCH_SETS, which ones (default: those up to 10,000 rules). Out: TAP.
"""

import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench"))

import classbench  # noqa: E402

SMALL = [f"{seed}_{size}" for size in ("1k", "10k") for seed in ("acl1", "fw1", "ipc1")]


def rules_of(folder, name):
    plain = os.path.join(folder, "rules", name)
    return plain if os.path.exists(plain) else plain + ".gz"


def write(path, what, source, *options):
    with open(path, "wb") as file:
        subprocess.run([classbench.__file__, what, source, *options], stdout=file, check=True)


def judge(scratch, folder, name, classifier):
    """None, or what is wrong."""
    trace = os.path.join(folder, "trace", name + ".trace.gz")
    policy, capture = os.path.join(scratch, "policy"), os.path.join(scratch, "trace.pcap")
    write(policy, "rules", rules_of(folder, name), "--classifier", classifier)
    write(capture, "trace", trace)
    run = subprocess.run([os.environ["WEIR"], "test", "--pcap", capture, policy], capture_output=True, text=True)
    if run.returncode:
        return run.stderr.splitlines()[-1]
    wanted = [str(number) if number else "default" for number in classbench.truths(trace)]
    found = [line.split()[2] for line in run.stdout.splitlines()]
    if len(found) != len(wanted):
        return f"{len(found)} packets judged, not {len(wanted)}"
    wrong = [i for i, pair in enumerate(zip(found, wanted)) if pair[0] != pair[1]]
    return f"{len(wrong)} packets, the first is {wrong[0] + 1}" if wrong else None


def main():
    folder = os.environ.get("WEIR_CLASSBENCH")
    if not folder or os.geteuid():
        print("1..0 # SKIP " + ("loading programs needs root" if folder else "WEIR_CLASSBENCH names no folder"))
        return 0
    names = os.environ.get("WEIR_CLASSBENCH_SETS", " ".join(SMALL)).split()
    cases = [(name, classifier) for name in names for classifier in ("table", "auto")]
    print(f"1..{len(cases)}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="weir-classbench-") as scratch:
        for number, (name, classifier) in enumerate(cases, 1):
            wrong = judge(scratch, folder, name, classifier)
            failed += wrong is not None
            print(f"{'not ok' if wrong else 'ok'} {number} - {name}, {classifier}" + (f" # {wrong}" if wrong else ""))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
