# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of the command line share: running it, and TAP.

WEIR is the real program, WEIR_STUB_EXE the same command line over tests/cli/stub.c, a library that only pretends.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WEIR = os.environ.get("WEIR", os.path.join(ROOT, "build/src/cli/weir"))
STUB = os.environ.get("WEIR_STUB_EXE", os.path.join(ROOT, "build/tests/cli/weir-stub"))

DONE, INPUT, SYSTEM, USAGE = range(4)


class CommandLine(unittest.TestCase):
    """A folder of its own for each test; `self.weir(...)` runs the program in it."""

    program = STUB
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="weir-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.env = dict(os.environ, WEIR_STUB=self.folder, WEIR_RUN=os.path.join(self.folder, "run"), TZ="UTC",
                        NO_COLOR="1")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return self.path(name)

    def read(self, name):
        try:
            with open(self.path(name)) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def weir(self, *arguments, status=DONE, **options):
        done = subprocess.run([self.program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors="replace", cwd=self.folder, env=self.env, timeout=60, **options)
        self.assertEqual(done.returncode, status, "%s\n%s%s" % (" ".join(arguments), done.stdout, done.stderr))
        return done

    def json(self, *arguments, status=DONE, **options):
        done = self.weir(*arguments, "--json", status=status, **options)
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout)


class TapResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.number = 0

    def say(self, good, test, note=""):
        self.number += 1
        print("%sok %d - %s%s" % ("" if good else "not ", self.number, test.id().split(".", 1)[-1], note), flush=True)

    def bad(self, test, error):
        for line in "".join(traceback.format_exception(*error)).splitlines():
            print("# " + line)
        self.say(False, test)

    def addSuccess(self, test):
        self.say(True, test)

    def addError(self, test, error):
        super().addError(test, error)
        self.bad(test, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.bad(test, error)

    def addSkip(self, test, reason):
        self.say(True, test, " # SKIP " + reason)


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    cases = [case for group in suite for case in group if all(word in case.id() for word in sys.argv[1:])]
    print("1..%d" % len(cases))
    result = TapResult()
    unittest.TestSuite(cases).run(result)
    sys.exit(0 if result.wasSuccessful() else 1)
