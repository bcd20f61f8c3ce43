#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`capture` and `weir capture`: what tshark and capinfos read is what was sent."""

from weirtest import *

HOOKS = (("xdp weir0", True), ("tc weir0 ingress", True), ("tc weir0 egress", False), ("netfilter input", True),
         ("netfilter output", False), ("netfilter prerouting", True), ("netfilter postrouting", False),
         ('cgroup "%s" ingress', True), ('cgroup "%s" egress', False))
FIELDS = ("frame.interface_name", "frame.interface_description", "frame.len", "frame.cap_len", "frame.encap_type",
          "frame.packet_flags_direction", "frame.verdict.ebpf_tc", "frame.verdict.ebpf_xdp", "frame.comment",
          "ip.src", "ipv6.src", "udp.dstport", "udp.payload", "frame.time_epoch")
NEEDED = ("tshark", "capinfos")
MS_BIND = 4096


def captured(*arguments, policy="t", name="out.pcapng"):
    """Captures what is there; (path, the counts that weir tells)."""
    path = os.path.join(world.folder, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    done = weir("capture", policy, "-w", path, "--now", "--json", *arguments)
    return path, json.loads(done.stdout)


def packets_in(path):
    """The packets as tshark reads them: a dictionary of FIELDS each."""
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=/t", "-E", "occurrence=f"]
    done = run(*command, *[word for field in FIELDS for word in ("-e", field)])
    return [dict(zip(FIELDS, line.split("\t"))) for line in done.stdout.splitlines()]


def policy(on, rules, head=""):
    return "policy t {\n on %s\n default accept\n%s %s\n}" % (on, head, rules)


@unittest.skipUnless(all(map(shutil.which, NEEDED)), "needs %s" % " and ".join(NEEDED))
class Read(TestCase):
    @each([(on, (on, inbound)) for on, inbound in HOOKS])
    def test_hook(self, on, inbound):
        cgroup = Cgroup()
        with cgroup:
            apply(policy(on % cgroup.name if "%" in on else on, "capture if udp.dst_port == 7001\n"
                         " capture snap 60 drop if udp.dst_port == 7002"))
            started = time.time()
            for family in FAMILIES:
                udp(7001, inbound, family, size=100)
                udp(7002, inbound, family, size=1000)
            ended = time.time()
        path, told = captured()
        packets = packets_in(path)
        self.assertEqual((told["packets"], told["lost"], len(packets)), (4, 0, 4))
        hook = on.split() if "%" not in on else ["cgroup", on.split()[-1]]
        hook = "-".join(word for word in hook if word != "weir0")
        frames = hook == "xdp" or hook.startswith("tc")
        link = 14 if frames else 0
        for packet, (family, port) in zip(packets, itertools.product(FAMILIES, (7001, 7002))):
            size = link + (28 if family == IPV4 else 48) + (100 if port == 7001 else 1000)
            self.assertEqual(int(packet["frame.len"]), size)
            self.assertEqual(int(packet["frame.cap_len"]), size if port == 7001 else 60)
            self.assertEqual(packet["frame.encap_type"], "1" if frames else "7")
            self.assertEqual(packet["frame.interface_name"], "weir0")
            self.assertEqual(packet["frame.interface_description"], "weir policy t at " + hook)
            self.assertEqual(int(packet["frame.packet_flags_direction"], 0), 1 if inbound else 2)
            self.assertEqual(packet["ip.src" if family == IPV4 else "ipv6.src"],
                             peers(family) if inbound else ours(family))
            self.assertEqual(packet["udp.dstport"], "%d" % port if port == 7001 or family == IPV4 or not frames else
                             packet["udp.dstport"])
            verdict = packet["frame.verdict.ebpf_xdp" if hook == "xdp" else "frame.verdict.ebpf_tc"]
            self.assertEqual(verdict, "" if port == 7001 else "1" if hook == "xdp" else "2")
            self.assertTrue(packet["frame.comment"].startswith("t:1 goes on" if port == 7001 else "t:2 drop"),
                            packet["frame.comment"])
            owned = not inbound and hook != "netfilter-postrouting" or hook == "cgroup-ingress"
            self.assertEqual("user 0" in packet["frame.comment"], owned)
            self.assertTrue(started - 1 < float(packet["frame.time_epoch"]) < ended + 1)
            if port == 7001:
                self.assertEqual(packet["udp.payload"].replace(":", ""), "78" * 100)

    def test_the_process_behind_it(self):
        cgroup, program = Cgroup(), os.path.realpath("/proc/self/exe")
        with cgroup:
            apply(policy('cgroup "%s" egress' % cgroup.name, 'capture if udp.dst_port == 7001 and program == "%s"' % program))
            udp(7001, False)
            comment = packets_in(captured()[0])[0]["frame.comment"]
            with open("/proc/self/comm") as file:
                words = 'user 0 pid %d "%s" program "%s"' % (os.getpid(), file.read().strip(), program)
            self.assertTrue(comment.endswith(words), comment)

    def test_capinfos(self):
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001"))
        udp(7001, count=5)
        path, _ = captured()
        said = run("capinfos", "-M", path).stdout
        for line in (r"Number of packets: *5", r"Encapsulation = Ethernet", r"Interface #0", r"Name = weir0",
                     r"Time precision = nanoseconds", r"Number of packets = 5", r"Capture application: *weir "):
            self.assertRegex(said, line)
        self.assertRegex(run("capinfos", "-s", path).stdout, r"File size: *%d" % os.path.getsize(path))

    def test_several_hooks_and_policies(self):
        apply("policy t {\n on tc weir0 ingress\n on netfilter input\n default accept\n capture if udp.dst_port == 7001\n}\n"
              "policy u {\n on tc weir0 egress\n default accept\n capture if udp.dst_port == 7001\n}")
        udp(7001)
        udp(7001, False)
        names = {packet["frame.interface_description"] for packet in packets_in(captured()[0])}
        self.assertEqual(names, {"weir policy t at tc-ingress", "weir policy t at netfilter-input"})
        self.assertEqual({packet["frame.comment"].split()[0] for packet in packets_in(captured(policy="u")[0])}, {"u:1"})

    def test_stream(self):
        """As for Wireshark: tshark reads the pipe while packets come."""
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001"))
        ours_end, theirs = os.pipe()
        child = subprocess.Popen([WEIR, "capture", "t"], stdout=theirs, stderr=subprocess.PIPE, text=True)
        os.close(theirs)
        reader = subprocess.Popen(["tshark", "-l", "-n", "-r", "-", "-T", "fields", "-e", "udp.dstport"], stdin=ours_end,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        os.close(ours_end)
        for _ in range(3):
            udp(7001)
            self.assertEqual(reader.stdout.readline(), "7001\n")
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)
        self.assertEqual((errors, child.returncode), ("3 packets captured, 0 lost\n", 0))
        reader.communicate(timeout=20)
        self.assertEqual(reader.returncode, 0)


@unittest.skipUnless(shutil.which("tshark"), "needs tshark")
class Extcap(TestCase):
    """Wireshark's way in, by its command line."""

    PROGRAM = os.path.join(ROOT, "share/weircap")

    def setUp(self):
        self.env = dict(os.environ, WEIR=WEIR, HOME=world.folder, XDG_CONFIG_HOME=world.folder)
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001") + "\n"
              "policy quiet {\n on tc weir0 egress\n default accept\n log if udp.dst_port == 7001\n}")

    def test_what_it_offers(self):
        offered = run(self.PROGRAM, "--extcap-interfaces", env=self.env).stdout
        self.assertIn("interface {value=weir:t}{display=weir policy t}\n", offered)
        self.assertNotIn("quiet", offered)
        self.assertRegex(run(self.PROGRAM, "--extcap-interface=weir:t", "--extcap-dlts", env=self.env).stdout,
                         r"^dlt \{number=1\}")
        self.assertRegex(run(self.PROGRAM, "--extcap-interface", "weir:t", "--extcap-config", env=self.env).stdout,
                         r"^arg \{number=0\}\{call=--snap\}")
        for wrong in ((), ("--xyzzy",), ("--extcap-dlts",), ("--extcap-interface", "eth0", "--extcap-dlts"),
                      ("--extcap-interface", "weir:t", "--capture"), ("--fifo",)):
            self.assertEqual(run(self.PROGRAM, *wrong, env=self.env, check=False).returncode, 3)

    def test_fifo(self):
        fifo = os.path.join(world.folder, "fifo")
        os.mkfifo(fifo)
        child = subprocess.Popen([self.PROGRAM, "--extcap-interface", "weir:t", "--capture", "--fifo", fifo, "--snap",
                                  "30"], env=self.env, stderr=subprocess.DEVNULL)
        with open(fifo, "rb") as file:
            file.read(28)
            udp(7001, size=100)
            frame = file.read(60)
            child.terminate()
            file.read()
        self.assertEqual(child.wait(20), 0)
        self.assertTrue(frame)

    def test_tshark_captures_by_it(self):
        """Root's tshark looks into one folder only: ours is mounted there, in the test's mount namespace."""
        folder = re.search(r"(?m)^Extcap path:\s*(\S+)$", run("tshark", "-G", "folders").stdout).group(1)
        if not os.path.isdir(folder):
            self.skipTest("tshark has no extcap folder")
        ours_instead = os.path.join(world.folder, "extcap")
        os.mkdir(ours_instead)
        shutil.copy(self.PROGRAM, ours_instead)
        mount(ours_instead, folder, None, MS_BIND)
        self.addCleanup(libc.umount2, folder.encode(), 2)
        self.assertIn("weir:t", run("tshark", "-D", env=self.env).stdout)
        reader = subprocess.Popen(["tshark", "-l", "-n", "-i", "weir:t", "-c", "2", "-T", "fields", "-e", "udp.dstport"],
                                  env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        udp(7001, count=2)
        self.assertEqual(reader.communicate(timeout=60 * SLOW)[0], "7001\n7001\n")


def has(path, content, seconds):
    """Whether the file comes to be there, with `content` in it."""
    deadline = time.time() + seconds * SLOW
    while time.time() < deadline:
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            there = file.read()
            if there and content in there:
                return True
        time.sleep(0.02)
    return False


class Follow(TestCase):
    def send(self, count, payload):
        send_frames([ethernet(0x0800) + ipv4(17, udp_header(7001, payload + b"." * 18))] * count)

    @contextlib.contextmanager
    def two_readers(self, *arguments):
        """(processes, the files that they write), when both read."""
        paths = [os.path.join(world.folder, "%d.pcapng" % i) for i in range(2)]
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        children = [subprocess.Popen([WEIR, "capture", "t", "-w", path, *arguments], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True) for path in paths]
        try:
            self.assertTrue(all(has(path, b"", 20) for path in paths))
            yield children, paths
        finally:
            for child in children:
                child.kill()
                child.communicate()

    def test_several_readers_get_all(self):
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001"))
        with self.two_readers("-c", "20") as (children, paths):
            udp(7001, count=20)
            for child in children:
                _, errors = child.communicate(timeout=20 * SLOW)
                self.assertEqual((errors, child.returncode), ("20 packets captured, 0 lost\n", 0))
            self.assertGreater(os.path.getsize(paths[0]), 20 * 50)
            self.assertEqual(os.path.getsize(paths[0]), os.path.getsize(paths[1]))

    def test_goes_on_through_a_replacement(self):
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001"))
        child = subprocess.Popen([WEIR, "capture", "t", "-c", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdout.read(28)  # the file's head is there: it reads
        udp(7001)
        apply(policy("tc weir0 ingress", "count x if udp\n capture if udp.dst_port == 7001"))
        udp(7001)
        output, errors = child.communicate(timeout=20 * SLOW)
        self.assertEqual((errors, child.returncode), (b"2 packets captured, 0 lost\n", 0))
        self.assertIn(b"t:1 ", output)
        self.assertIn(b"t:2 ", output)

    def test_snap_and_count(self):
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001"))
        udp(7001, count=5, size=1000)
        path, told = captured("--snap", "20", "-c", "3")
        self.assertEqual(told["packets"], 3)
        self.assertLess(os.path.getsize(path), 1000)
        self.assertEqual(captured()[1]["packets"], 2)

    def test_every_packet_is_captured_or_lost(self):
        sent = 20000
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001", " captures = 256K\n"))
        send_frames([ethernet(0x0800) + ipv4(17, udp_header(7001, b"x" * 18))] * sent)
        self.assertEqual(Counts("t").packets(1), sent)
        lost = Counts("t").raw["captures_lost"]
        self.assertGreater(lost, 0)
        self.assertEqual(captured()[1]["packets"] + lost, sent)
        shown = weir("show", "t").stdout
        self.assertIn("\n256 KiB for captured packets\n%d captured packets lost\n" % lost, shown)

    def test_who_falls_behind_knows_what_it_missed(self):
        """One reader stands still while another empties the ring many times over."""
        sent = 20001
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001", " captures = 256K\n"))
        with self.two_readers("--json") as (children, paths):
            self.send(1, b"begin")
            self.assertTrue(all(has(path, b"begin", 20) for path in paths))
            children[1].send_signal(signal.SIGSTOP)
            for _ in range(40):
                self.send(sent // 40, b"x")
                time.sleep(0.01)
            children[1].send_signal(signal.SIGCONT)
            for attempt in range(20):  # a packet that both get, when the one has caught up
                sent += 1
                mark = b"end%02d" % attempt
                self.send(1, mark)
                if all(has(path, mark, 1) for path in paths):
                    break
            told = []
            for child in children:
                child.terminate()
                told.append(json.loads(child.communicate(timeout=20 * SLOW)[0]))
                self.assertEqual(child.returncode, 0)
        self.assertEqual([reader["packets"] + reader["lost"] for reader in told], [sent] * 2)
        self.assertLess(told[1]["packets"], told[0]["packets"])

    def test_losses_survive_a_replacement(self):
        apply(policy("tc weir0 ingress", "capture if udp.dst_port == 7001", " captures = 256K\n"))
        send_frames([ethernet(0x0800) + ipv4(17, udp_header(7001, b"x" * 1000))] * 2000)
        lost = Counts("t").raw["captures_lost"]
        self.assertGreater(lost, 0)
        apply(policy("tc weir0 ingress", "count y if udp"))
        self.assertEqual(Counts("t").raw["captures_lost"], lost)

    def test_large_packets(self):
        """A packet of 60,000 bytes that GSO made, or its segments: whole in either case."""
        apply(policy("tc weir0 egress", "capture if tcp.dst_port == 7001"))
        self.assertEqual(tcp(7001, False, payload=b"y" * 200000)[0], "connected")
        path, told = captured()
        self.assertEqual(told["lost"], 0)
        with open(path, "rb") as file:
            self.assertGreaterEqual(file.read().count(b"y"), 200000)


class Refused(TestCase):
    def test_no_such_policy_or_rule(self):
        apply(policy("tc weir0 ingress", "log if udp.dst_port == 7001"))
        done = weir("capture", "t", "--now", check=False)
        self.assertEqual((done.returncode, "no rule of policy `t` has `capture`" in done.stderr), (1, True))
        done = weir("capture", "nosuch", "--now", check=False)
        self.assertEqual((done.returncode, "no policy `nosuch` is in force" in done.stderr), (1, True))

    def test_where_nobody_could_read(self):
        path = policy_file(policy("socket", "capture drop if udp"))
        done = weir("load", "--hook", "socket", "--pin", os.environ["WEIR_BPFFS"] + "/x", path, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("has `capture`", done.stderr)


if __name__ == "__main__":
    main()
