#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Least privilege: the recipes of weir(1) by a user with exactly those capabilities; what long-running commands keep;
`weir doctor`."""

from weirtest import *

NOBODY = 65534
CAPS = {"cap_net_admin": 12, "cap_perfmon": 38, "cap_bpf": 39}
LOADING = ("cap_bpf", "cap_net_admin", "cap_perfmon")
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
POLICY = """policy t {
    on %s
    default accept
    log "x" if udp.dst_port == 7001
    capture if udp.dst_port == 7001
    set blocked : address { 192.0.2.1 }
    drop if src in blocked
}"""


def become_nobody(capabilities):
    """For preexec_fn: another user with these capabilities, also over execve()."""
    keep = sum(1 << CAPS[name] for name in capabilities)

    def work():
        check_call(libc.prctl(8, 1, 0, 0, 0))  # PR_SET_KEEPCAPS
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        header = struct.pack("Ii", 0x20080522, 0)
        low, high = keep & 0xffffffff, keep >> 32
        check_call(libc.capset(header, struct.pack("6I", low, low, low, high, high, high)))
        for name in capabilities:
            check_call(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAPS[name], 0, 0))
    return work


class Machine:
    """A copy of weir that everybody may run, and a bpffs at its usual place, with a folder of nobody's in it."""

    def __init__(self):
        os.chmod(world.folder, 0o755)
        self.folder = os.path.join(world.folder, "copy")
        os.makedirs(self.folder + "/lib", exist_ok=True)
        self.weir = os.path.join(self.folder, "weir")
        shutil.copy(WEIR, self.weir)
        self.library = self.copy_library()
        mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=711")
        os.mkdir("/sys/fs/bpf/weir", 0o700)
        os.chown("/sys/fs/bpf/weir", NOBODY, NOBODY)
        self.env = {name: value for name, value in os.environ.items() if name not in ("WEIR_BPFFS", "WEIR_RUN")}
        self.env["LD_LIBRARY_PATH"] = self.folder + "/lib"

    def copy_library(self):
        """libweir, if the program is linked to one that is not installed."""
        for line in run("ldd", WEIR).stdout.splitlines():
            if line.strip().startswith("libweir.so"):
                shutil.copy(line.split("=>")[1].split()[0], self.folder + "/lib/" + line.split()[0])
                return True
        return False

    def run(self, *arguments, capabilities=None, **options):
        """As nobody, with ambient capabilities, or with those of the file."""
        work = become_nobody(capabilities if capabilities is not None else ())
        return subprocess.run([self.weir, *arguments], preexec_fn=work, env=self.env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60 * SLOW, **options)

    def give(self, capabilities):
        """File capabilities, as a recipe says. Then the loader takes libraries from its own folders only: ours is put there."""
        if self.library:
            folder = os.path.dirname(os.path.realpath(libc_path()))
            mount("none", folder, "overlay", 0, "lowerdir=%s/lib:%s" % (self.folder, folder))
        run("setcap", ",".join(capabilities) + "+ep", self.weir)

    def close(self):
        libc.umount2(b"/sys/fs/bpf", 2)


def libc_path():
    with open("/proc/self/maps") as file:
        return next(line.split()[-1] for line in file if "/libc.so" in line or "/libc-" in line)


class Recipes(TestCase):
    def setUp(self):
        self.machine = Machine()
        self.addCleanup(self.machine.close)

    def do(self, *arguments, status=0, capabilities=None):
        done = self.machine.run(*arguments, capabilities=capabilities)
        self.assertEqual(done.returncode, status, "%s\n%s%s" % (arguments, done.stdout, done.stderr))
        return done

    def need_netfilter(self, on):
        if on.startswith("netfilter") and tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 4):
            self.skipTest("needs Linux 6.4")

    def whole_life(self, capabilities, on):
        path = policy_file(POLICY % on)
        os.chmod(path, 0o644)
        self.do("apply", path, capabilities=capabilities)
        self.assertEqual(udp(7001), 1)
        self.assertIn("t ", self.do("list", capabilities=capabilities).stdout)
        self.assertIn('"x"', self.do("log", capabilities=capabilities).stdout)
        done = self.do("capture", "t", "--now", "-w", "/dev/null", capabilities=capabilities)
        self.assertEqual(done.stderr, "1 packet captured, 0 lost\n")
        self.do("set", "add", "t", "blocked", "192.0.2.2", capabilities=capabilities)
        self.do("rule", "add", "t", "drop if udp.dst_port == 7009", capabilities=capabilities)
        self.assertIn("weir_events_lost_total", self.do("metrics", capabilities=capabilities).stdout)
        self.do("test", path, "--pcap", self.pcap(), capabilities=capabilities)
        self.do("delete", "t", capabilities=capabilities)

    def pcap(self):
        path = os.path.join(world.folder, "one.pcap")
        frame = ethernet(0x0800) + ipv4(17, udp_header(7001))
        with open(path, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1) +
                       struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
        os.chmod(path, 0o644)
        return path

    @each([(on, (on,)) for on in ("tc weir0 ingress", "xdp weir0", "netfilter input")])
    def test_ambient(self, on):
        self.need_netfilter(on)
        self.whole_life(LOADING, on)

    @unittest.skipUnless(shutil.which("setcap"), "needs setcap (Debian: libcap2-bin)")
    def test_file_capabilities(self):
        """In a mount namespace of its own: the library is put into the loader's folder."""
        child = os.fork()
        if not child:
            code = 1
            try:
                unshare(CLONE_NEWNS)
                self.machine.give(LOADING)
                self.whole_life(None, "tc weir0 ingress")
                code = 0
            except BaseException:  # whatever it is, the parent must not go on twice
                traceback.print_exc()
            os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)

    @unittest.skipUnless(os.path.exists("/usr/bin/perl"), "needs /usr/bin/perl")
    def test_trees_of_processes(self):
        cgroup = Cgroup()
        with cgroup:
            path = policy_file('policy t { on connect "%s"\n on cgroup "%s" egress\n default accept\n'
                               ' reject if dst_port == 7001 and program in tree of "%s" }' %
                               (cgroup.name, cgroup.name, os.path.realpath("/usr/bin/perl")))
            os.chmod(path, 0o644)
            done = self.do("apply", path, status=2, capabilities=[name for name in LOADING if name != "cap_perfmon"])
            self.assertIn("CAP_PERFMON", done.stderr)
            self.do("apply", path, capabilities=LOADING)
            script = "use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0); " \
                     "exit(defined send($s, 'x', 0, sockaddr_in(7001, inet_aton('127.0.0.1'))) ? 0 : 7)"
            self.assertEqual(run("/usr/bin/perl", "-e", script, check=False).returncode, 7)
            self.do("delete", "t", capabilities=LOADING)
        cgroup.remove()

    @each([(on, (on,)) for on in ("tc weir0 ingress", "xdp weir0", "netfilter input", "cgroup", "connect")])
    def test_each_of_them_is_needed(self, on):
        """And the one that is missing is named, whatever the verifier makes of that."""
        self.need_netfilter(on)
        if " " not in on:
            cgroup = Cgroup()
            self.addCleanup(cgroup.remove)
            on += ' "%s"%s' % (cgroup.name, " egress" * (on == "cgroup"))
        path = policy_file("policy t {\n on %s\n default accept\n drop if udp.dst_port == 7001\n}" % on)
        os.chmod(path, 0o644)
        for left_out in LOADING:
            few = [name for name in LOADING if name != left_out]
            done = self.do("apply", path, status=2, capabilities=few)
            self.assertIn("without %s; run as root, or with" % left_out.upper(), done.stderr.splitlines()[0])
        self.assertIn("without CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON;",
                      self.do("apply", path, status=2, capabilities=()).stderr)
        self.assertEqual(os.listdir("/sys/fs/bpf/weir"), [])

    def test_reading_needs_no_capability(self):
        """Of the user whose folder it is, with kernels from 5.19 on."""
        path = policy_file(POLICY % "tc weir0 ingress")
        os.chmod(path, 0o644)
        self.do("apply", path, capabilities=LOADING)
        udp(7001)
        none = ()
        self.assertIn("capture if", self.do("show", "t", capabilities=none).stdout)
        self.assertIn('"x"', self.do("log", capabilities=none).stdout)
        done = self.do("capture", "t", "--now", "-w", "/dev/null", capabilities=none)
        self.assertEqual(done.stderr, "1 packet captured, 0 lost\n")
        self.do("set", "list", "t", "blocked", capabilities=none)
        self.assertIn('policy="t"', self.do("metrics", capabilities=none).stdout)
        self.do("delete", "t", capabilities=LOADING)


class Kept(TestCase):
    """What commands that go on running keep of root's privileges."""

    @each([(name, (arguments,)) for name, arguments in (("log", ("log", "-f")), ("capture", ("capture", "t")))])
    def test_cap_bpf_at_most(self, arguments):
        apply(POLICY % "tc weir0 ingress")
        child = subprocess.Popen([WEIR, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        udp(7001)
        child.stdout.read(1)
        with open("/proc/%d/status" % child.pid) as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        child.terminate()
        child.communicate(timeout=20)
        self.assertEqual({int(status[key], 16) for key in ("CapPrm", "CapEff")}, {1 << CAPS["cap_bpf"]})
        self.assertEqual((int(status["CapInh"], 16), status["NoNewPrivs"]), (0, "1"))


class Doctor(TestCase):
    def report(self, *arguments, **options):
        done = weir("doctor", "--json", *arguments, check=False, **options)
        told = json.loads(done.stdout)
        return (done.returncode, {check["id"]: check for check in told["checks"]},
                {feature["name"]: feature for feature in told["features"]})

    def test_root(self):
        """Every feature that this suite exercises is said to work."""
        status, checks, features = self.report()
        self.assertEqual(status, 0)
        for name in ("policies at xdp", "policies at tc", "policies at cgroups", "group and program of packets",
                     "program in tree of"):
            self.assertEqual((features[name]["works"], features[name]["missing"]), (True, []))
        self.assertEqual(features["policies at netfilter"]["works"], checks["netfilter link"]["state"] == "ok")
        with open("/proc/sys/kernel/unprivileged_bpf_disabled") as file:
            self.assertEqual(checks["kernel.unprivileged_bpf_disabled"]["detail"], file.read().strip())
        text = weir("doctor").stdout
        for word in ("capabilities\n", "kernel\n", "system\n", "what works\n", "  yes      policies at tc\n"):
            self.assertIn(word, text)

    def test_nobody(self):
        machine = Machine()
        self.addCleanup(machine.close)
        done = machine.run("doctor", "--json", capabilities=())
        told = json.loads(done.stdout)
        checks = {check["id"]: check for check in told["checks"]}
        self.assertEqual(done.returncode, 1)
        self.assertEqual(checks["CAP_BPF"]["state"], "missing")
        self.assertIn("setcap cap_bpf", checks["CAP_BPF"]["remedy"])
        self.assertEqual(checks["tcx"]["state"], "unknown")
        self.assertEqual(checks["process trace points"]["state"], "unknown")
        self.assertEqual({feature["name"] for feature in told["features"] if feature["works"]},
                         {"weir run with classic filters", "weir check, compile, verify, explain, diff",
                          "weir log, capture, metrics, show, set"})
        self.assertEqual(machine.run("doctor", capabilities=LOADING).returncode, 0)

    def test_no_bpffs(self):
        """Without a mount, and without the privilege to make one."""
        machine = Machine()
        while os.path.ismount("/sys/fs/bpf"):  # in this mount namespace
            check_call(libc.umount2(b"/sys/fs/bpf", 2))
        done = machine.run("doctor", capabilities=LOADING)
        self.assertEqual(done.returncode, 1)
        self.assertIn("to have it: as root: mount -t bpf bpf /sys/fs/bpf\n", done.stdout)


if __name__ == "__main__":
    main()
