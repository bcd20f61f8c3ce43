#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The test runner itself: what counts as passed, failed and skipped. Prints TAP."""

import importlib.machinery
import importlib.util
import os
import sys

sys.dont_write_bytecode = True
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/run-tests")
loader = importlib.machinery.SourceFileLoader("run_tests", path)
runner = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_tests", loader))
loader.exec_module(runner)

# What a program does, as a shell command, and (passed, failed, skipped).
CASES = {
    "all pass": ("echo 1..2; echo ok 1 - a; echo ok 2 - b", (2, 0, 0)),
    "plan at the end": ("echo ok 1 - a; echo 1..1", (1, 0, 0)),
    "several plans add up": ("echo 1..1; echo ok 1 - a; echo 1..2; echo ok 1 - b; echo ok 2 - c", (3, 0, 0)),
    "one fails": ("echo 1..2; echo ok 1 - a; echo not ok 2 - b; exit 1", (1, 1, 0)),
    "a skip has a reason": ("echo 1..1; echo 'ok 1 - a # SKIP no kernel'", (0, 0, 1)),
    "cmocka's skip": ("echo 1..1; echo 'not ok 1 # SKIP a'", (0, 0, 1)),
    "all are skipped": ("echo '1..0 # SKIP no root'", (0, 0, 1)),
    "no plan": ("echo ok 1 - a", (1, 1, 0)),
    "nothing at all": (":", (0, 1, 0)),
    "fewer than planned": ("echo 1..3; echo ok 1 - a", (1, 1, 0)),
    "more than planned": ("echo 1..1; echo ok 1 - a; echo ok 2 - b", (2, 1, 0)),
    "a crash after the last case": ("echo 1..1; echo ok 1 - a; kill -SEGV $$", (1, 1, 0)),
    "a bad exit status": ("echo 1..1; echo ok 1 - a; exit 3", (1, 1, 0)),
    "bail out": ("echo 1..1; echo ok 1 - a; echo 'Bail out! broken'", (1, 1, 0)),
    "too slow": ("echo 1..1; echo ok 1 - a; sleep 30", (1, 1, 0)),
}


# A case that fails, and what is said of it; what others say is not.
FAILURE = "echo 1..2; echo not ok 1 - a; echo '# one'; echo '#'; echo '# two'; echo ok 2 - b; echo three"
WORDS = [("a", ["one", "two"])]


def run(command, limit=20):
    test = {"suite": ["self"], "name": "x", "env": {}, "cmd": ["sh", "-c", command], "workdir": None, "timeout": limit}
    return runner.run_program(test, "/", {}, "")


def count(result):
    return result.passed, len(result.failures), len(result.skips)


def main():
    checks = [(name, count(run(command, 1 if name == "too slow" else 20)), wanted)
              for name, (command, wanted) in CASES.items()]
    checks.append(("a failure's words", run(FAILURE).failures, WORDS))
    print("1..%d" % len(checks))
    for number, (name, found, wanted) in enumerate(checks, 1):
        print("%sok %d - %s" % ("" if found == wanted else "not ", number, name))
        if found != wanted:
            print("# %s, not %s" % (found, wanted))
    return any(found != wanted for _, found, wanted in checks)


if __name__ == "__main__":
    sys.exit(main())
