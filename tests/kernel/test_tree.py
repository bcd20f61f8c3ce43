#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`program in tree of`: a program and all that it starts, by processes that do what they can to get out of it."""

from test_connect import DGRAM, PYTHON, STREAM, InCgroup, sent_by_accepted
from weirtest import *

IN, OUT, UNKNOWN = ("EPERM", "done"), ("done", "EPERM"), ("done", "done")
RULES = (' default accept\n reject if dst_port == 7001 and program in tree of "@"\n'
         ' reject if dst_port == 7002 and program not in tree of "@"\n}')
AT_CALLS = 'policy t {\n on connect "%s"\n' + RULES
AT_PACKETS = 'policy t {\n on cgroup "%s" egress\n' + RULES

# What every script begins with: say() prints what comes of sending to either port.
SAY = """
import ctypes, os, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def send(port):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port))
        return "done"
    except PermissionError:
        return "EPERM"
def say():
    print(send(7001), send(7002), flush=True)
def fork(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return child
def child(work):
    os.waitpid(fork(work), 0)
def orphan(work):
    before = os.getpid()
    def late():
        while os.getppid() == before:
            time.sleep(0.01)
        work()
    fork(late)
    os._exit(0)
OTHER = [%r, "-S", "-c"]
""" % PYTHON

WAYS = {
    "itself": "say()",
    "child": "child(say)",
    "grandchild": "child(lambda: child(say))",
    "thread": "t = threading.Thread(target=say); t.start(); t.join()",
    "child_of_thread": "t = threading.Thread(target=child, args=(say,)); t.start(); t.join()",
    "double_fork": "child(lambda: (os.setsid(), orphan(say)))",
    "another_program": "child(lambda: os.execv(OTHER[0], OTHER + [SAY + 'say()']))",
    "another_programs_child": "child(lambda: os.execv(OTHER[0], OTHER + [SAY + 'child(say)']))",
    "another_programs_orphan": "child(lambda: os.execv(OTHER[0], OTHER + [SAY + 'child(lambda: orphan(say))']))",
    "another_program_in_its_place": "os.execv(OTHER[0], OTHER + [SAY + 'say()'])",
    "spawned": "os.waitpid(os.posix_spawn(OTHER[0], OTHER + [SAY + 'say()'], {}), 0)",
    "run_by_a_thread": "threading.Thread(target=os.execv, args=(OTHER[0], OTHER + [SAY + 'say()'])).start(); time.sleep(9)",
    "after_the_first_thread": "threading.Thread(target=lambda: (time.sleep(0.1), say(), os._exit(0))).start(); "
                              "libc.syscall(60, 0)",
    # a child that has its parent's parent (CLONE_PARENT)
    "sibling": "r, w = os.pipe()\nif not libc.syscall(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0):\n say(); os._exit(0)\n"
               "os.close(w); os.read(r, 1)",
    "in_a_pid_namespace": "libc.unshare(0x20000000); child(lambda: (child(lambda: orphan(say)), os.wait()))",
}


# Another program without a parent that would tell where it comes from; it says the same for each line.
ORPHAN = ("child(lambda: (os.setsid(), orphan(lambda: os.execv(OTHER[0], OTHER + [SAY + 'for line in sys.stdin: say()']))))")


class Tree(InCgroup):
    def setUp(self):
        super().setUp()
        self.program = os.path.join(world.folder, "agent")
        shutil.copy(PYTHON, self.program)
        self.addCleanup(os.unlink, self.program)
        self.maps = set()

    def put(self, text, *options):
        done = self.apply(text.replace("@", self.program), *options)
        if "--dry-run" not in options:
            self.note_map()
        return done

    def note_map(self):
        self.maps.add(json.loads(run("bpftool", "--json", "map", "show", "pinned", self.lineage()[1]).stdout)["id"])

    def command(self, script, program=None):
        script = SAY + "SAY = %r\n" % SAY + script
        return [program or self.program, "-S", "-c", script], dict(os.environ, PYTHONHOME=sys.base_prefix)

    def said(self, script, program=None):
        """What comes of it, when the last process has closed the pipe."""
        command, env = self.command(script, program)
        return tuple(run(*command, env=env).stdout.split())

    def start(self, script):
        """One that says what comes of it whenever it is asked."""
        command, env = self.command(script)
        child = subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def end():
            child.stdin.close()
            child.stdout.close()
            child.wait()

        def ask():
            child.stdin.write("\n")
            child.stdin.flush()
            return tuple(child.stdout.readline().split())
        self.addCleanup(end)
        return ask

    def lineage(self):
        """What is known of processes, by their ids."""
        folder = os.path.join(os.environ["WEIR_BPFFS"], "weir", "t")
        pin, = [name for name in os.listdir(folder) if name.startswith("shared-lineage_")]
        shown = json.loads(run("bpftool", "--json", "map", "dump", "pinned", os.path.join(folder, pin)).stdout)

        def number(item):
            return int.from_bytes(bytes(int(byte, 16) for byte in item), sys.byteorder)
        return {number(item["key"]): number(item["value"]) for item in shown}, os.path.join(folder, pin)

    def tracers(self):
        """The programs at trace points that keep the maps of this test's policies."""
        return [item for item in json.loads(run("bpftool", "--json", "prog", "show").stdout)
                if item.get("name") == "weir_lineage" and self.maps.intersection(item.get("map_ids", []))]

    def none_left(self):
        """The kernel lets go of programs a little later."""
        until = time.monotonic() + 5 * SLOW
        while self.tracers() and time.monotonic() < until:
            time.sleep(0.02)
        return self.tracers() + [name for name in bpffs_leftovers() if "weir/" in name and "@epoch" not in name]

    @each([(hook + " " + way.replace("_", " "), (text, way))
           for hook, text in (("calls", AT_CALLS), ("packets", AT_PACKETS)) for way in WAYS])
    def test_nobody_gets_out(self, text, way):
        self.put(text)
        self.assertEqual(self.said(WAYS[way]), IN)

    def test_others_are_not_in_it(self):
        """Who was there already, and its children: nothing is known of them."""
        self.put(AT_CALLS)
        for way in ("itself", "child", "double_fork", "another_program"):
            self.assertEqual(self.said(WAYS[way], program=PYTHON), UNKNOWN, way)

    def test_outside(self):
        """The first process and the kernel's are outside, and so is what they start, until it runs the program."""
        self.put(AT_CALLS)
        known, pin = self.lineage()
        self.assertEqual(known.get(1, 1 << 8), 1 << 8)  # a kernel may hide it from programs: then it is not known
        self.assertEqual(known[2], 1 << 8)  # kthreadd
        self.assertNotIn(os.getpid(), known)
        put = ["hex"] + ["%02x" % byte for byte in os.getpid().to_bytes(4, sys.byteorder)]
        run("bpftool", "map", "update", "pinned", pin, "key", *put, "value", "hex", "00", "01", "00", "00")
        for way in ("itself", "child", "double_fork", "another_program", "run_by_a_thread", "in_a_pid_namespace"):
            self.assertEqual(self.said(WAYS[way], program=PYTHON), OUT, way)
        for way in ("itself", "double_fork", "another_program"):
            self.assertEqual(self.said(WAYS[way]), IN, way)

    def test_those_that_run_already(self):
        """Of whoever is a child still it is found out; of an orphan nothing is known."""
        agent = self.start("for line in sys.stdin: say()")
        child = self.start("child(lambda: [say() for line in sys.stdin])")
        other = self.start("child(lambda: os.execv(OTHER[0], OTHER + [SAY + 'child(lambda: [say() for line in sys.stdin])']))")
        orphan = self.start(ORPHAN)
        self.assertEqual([ask() for ask in (agent, child, other, orphan)], [UNKNOWN] * 4)  # no policy yet: they are there
        for text in (AT_CALLS, AT_PACKETS):
            self.put(text)
            self.assertEqual((agent(), child(), other(), orphan()), (IN, IN, IN, UNKNOWN))
            weir("delete", "t")

    def test_replacement_keeps_what_is_known(self):
        self.put(AT_CALLS)
        orphan = self.start(ORPHAN)
        before = [item["id"] for item in self.tracers()]
        self.put(AT_CALLS.replace("reject if", "count no reject if"))
        self.assertEqual((orphan(), [item["id"] for item in self.tracers()]), (IN, before))
        self.put(AT_PACKETS)
        self.assertEqual((orphan(), [item["id"] for item in self.tracers()]), (IN, before))
        weir("refresh")
        self.assertEqual(orphan(), IN)

    def test_policies_share_it(self):
        two = AT_CALLS + "\n" + AT_CALLS.replace("policy t", "policy u").replace("7001", "7003").replace("7002", "7004")
        self.put(two.replace("%s", self.cgroup.name))
        self.assertEqual(len(self.tracers()), 3)
        orphan = self.start(ORPHAN)
        self.assertEqual(orphan(), IN)
        weir("delete", "t")
        self.assertEqual((len(self.tracers()), orphan()), (3, UNKNOWN))
        self.put(AT_CALLS)
        self.assertEqual((len(self.tracers()), orphan()), (3, IN))
        weir("delete", "t", "u")
        self.assertEqual(self.none_left(), [])

    def test_several_programs(self):
        other = os.path.join(world.folder, "other")
        shutil.copy(PYTHON, other)
        self.addCleanup(os.unlink, other)
        self.put('policy t {\n on connect "%s"\n default accept\n'
                 ' reject if dst_port == 7001 and program in tree of { "@", "' + other + '" }\n'
                 ' reject if dst_port == 7002 and program in tree of "' + other + '"\n}')
        self.assertEqual(self.said("say()"), ("EPERM", "done"))
        self.assertEqual(self.said("say()", program=other), ("EPERM", "EPERM"))
        self.assertEqual(self.said("say()", program=PYTHON), ("done", "done"))
        nested = "child(lambda: os.execve(%r, [%r, '-S', '-c', SAY + 'child(say)'], os.environ))" % (other, other)
        self.assertEqual(self.said(nested), ("EPERM", "EPERM"))

    def test_bind(self):
        self.put('policy t {\n on bind "%s"\n default accept\n reject if dst_port == 7001 and program in tree of "@"\n}')
        bind = ("def say():\n try:\n  socket.socket(socket.AF_INET, socket.SOCK_STREAM).bind(('127.0.0.1', 7001))\n  print('done')\n"
                " except PermissionError:\n  print('EPERM')\n sys.stdout.flush()\n")
        self.assertEqual(self.said(bind + "child(lambda: orphan(say))"), ("EPERM",))
        self.assertEqual(self.said(bind + "say()", program=PYTHON), ("done",))

    def test_what_is_ended_is_forgotten(self):
        self.put(AT_CALLS)
        pids = self.said("print(os.getpid(), os.getppid(), flush=True)\nchild(lambda: print(os.getpid(), flush=True))")
        known = self.lineage()[0]
        self.assertEqual([pid for pid in map(int, pids) if pid in known], [])

    def test_upgrade(self):
        """Another file is another program; what the old one has started stays in the old one's tree until refresh."""
        self.put(AT_CALLS)
        agent = self.start("for line in sys.stdin: say()")
        shutil.copy(PYTHON, self.program + ".new")
        os.rename(self.program + ".new", self.program)
        self.assertIn("`%s` is another file now" % self.program, weir("list").stderr)
        self.assertEqual((agent(), self.said("say()")), (IN, UNKNOWN))
        weir("refresh")
        self.maps.clear()
        self.note_map()
        self.assertEqual((agent(), self.said("say()")), (UNKNOWN, IN))
        self.assertEqual(len(self.tracers()), 3)

    def test_lost_links_are_announced(self):
        """And made anew by the next apply, without what the map held."""
        self.put(AT_CALLS)
        folder = os.path.join(os.environ["WEIR_BPFFS"], "weir", "t")
        for name in os.listdir(folder):
            if name.startswith("link_fork-"):
                os.unlink(os.path.join(folder, name))
        self.assertIn("processes are not followed", weir("list").stderr)
        run("bpftool", "map", "update", "pinned", self.lineage()[1], "key", "hex", "ff", "ff", "3f", "00", "value", "hex", "01",
            "00", "00", "00")
        self.maps.clear()
        self.put(AT_CALLS)
        self.assertEqual((self.said("child(say)"), len(self.tracers()), 0x3fffff in self.lineage()[0]), (IN, 3, False))
        self.assertEqual(weir("list").stderr, "")

    def test_a_dry_run_attaches_nothing(self):
        self.put(AT_CALLS, "--dry-run")
        self.assertEqual(self.none_left(), [])


if __name__ == "__main__":
    main()
