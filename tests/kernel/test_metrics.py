#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""`weir metrics` of policies in force, as a server without privileges and to a Prometheus; `weir log --journal`."""

import urllib.request

from weirtest import *

POLICY = """policy t {
    on tc weir0 ingress
    default accept
    set blocked : address max 100 { 192.0.2.1, 192.0.2.2 }
    count seen if udp.dst_port == 7001
    log "one" drop if udp.dst_port == 7002
    drop if src in blocked
}"""
CAP_BPF = 39


# Where there is none installed, the one that scripts/fetch-prometheus has put into the build folder.
TOOLS = os.pathsep.join([os.environ.get("PATH", ""), os.path.join(ROOT, "build/prometheus")])
PROMETHEUS, PROMTOOL = shutil.which("prometheus", path=TOOLS), shutil.which("promtool", path=TOOLS)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(port):
    child = subprocess.Popen([WEIR, "metrics", "--listen", "127.0.0.1:%d" % port], stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 20 * SLOW
    while time.time() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.02)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(20)


def get(port, path="/metrics"):
    with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=20 * SLOW) as answer:
        return answer.read().decode()


class Metrics(TestCase):
    def test_counts(self):
        apply(POLICY)
        udp(7001, count=3)
        udp(7002, count=2)
        text = weir("metrics").stdout
        for line in ('weir_policy_packets_total{policy="t",verdict="drop"} 2',
                     'weir_rule_packets_total{policy="t",rule="1",verdict="none"} 3',
                     'weir_rule_packets_total{policy="t",rule="2",verdict="drop"} 2',
                     'weir_counter_packets_total{policy="t",counter="seen"} 3',
                     'weir_hook_attached{policy="t",hook="tc-ingress",target="weir0"} 1',
                     'weir_set_elements{policy="t",set="blocked",family="ipv4"} 2',
                     'weir_set_elements_max{policy="t",set="blocked",family="ipv4"} 100',
                     'weir_set_elements{policy="t",set="blocked",family="ipv6"} 0',
                     'weir_rule_info{policy="t",rule="2",text="log \\"one\\" drop if udp.dst_port == 7002"} 1'):
            self.assertIn("\n%s\n" % line, text)

    def test_what_is_remembered(self):
        apply("policy t {\n on tc weir0 ingress\n default accept\n"
              " accept if udp.dst_port == 7001 and rate <= 1000/s per src\n}")
        udp(7001)
        udp(7001, family=IPV6)
        text = weir("metrics").stdout
        self.assertIn('\nweir_state_entries{policy="t",state="buckets"} 2\n', text)
        self.assertRegex(text, r'\nweir_state_entries_max\{policy="t",state="buckets"\} \d+\n')

    def test_nothing_in_force(self):
        self.assertRegex(weir("metrics").stdout, r"\nweir_build_info.* 1\n")

    def test_server_follows_what_is_in_force(self):
        """With no capability but CAP_BPF, and none to be gained."""
        port = free_port()
        with serving(port) as child:
            with open("/proc/%d/status" % child.pid) as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            self.assertEqual((int(status["CapPrm"], 16), int(status["CapEff"], 16)), (1 << CAP_BPF, 1 << CAP_BPF))
            self.assertEqual(status["NoNewPrivs"], "1")
            self.assertNotIn('policy="t"', get(port))
            apply(POLICY)
            udp(7001, count=3)
            self.assertIn('\nweir_counter_packets_total{policy="t",counter="seen"} 3\n', get(port))
            weir("set", "add", "t", "blocked", "192.0.2.7")
            self.assertIn('\nweir_set_elements{policy="t",set="blocked",family="ipv4"} 3\n', get(port))
            weir("delete", "t")
            self.assertNotIn('policy="t"', get(port))

    @unittest.skipUnless(PROMETHEUS and PROMTOOL, "no Prometheus here: scripts/fetch-prometheus could not download it")
    def test_prometheus_scrapes_it(self):
        port, own = free_port(), free_port()
        config = os.path.join(world.folder, "prometheus.yml")
        write(config, "global: { scrape_interval: 1s }\nscrape_configs:\n- job_name: weir\n  static_configs:\n"
              "  - targets: ['127.0.0.1:%d']\n" % port)
        run(PROMTOOL, "check", "config", config)
        checked = run(PROMTOOL, "check", "metrics", input=weir("metrics").stdout, check=False)
        self.assertNotRegex(checked.stderr, r"(?i)parse|error while")
        apply(POLICY)
        udp(7001, count=3)
        with serving(port):
            child = subprocess.Popen([PROMETHEUS, "--config.file=" + config, "--web.listen-address=127.0.0.1:%d" % own,
                                      "--storage.tsdb.path=" + os.path.join(world.folder, "tsdb")],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                self.assertEqual(self.ask(own, 'weir_counter_packets_total{counter="seen"}'), "3")
                self.assertEqual(self.ask(own, 'up{job="weir"}'), "1")
            finally:
                child.terminate()
                child.wait(30)

    def ask(self, port, query):
        """The one value, once there is one."""
        deadline = time.time() + 60 * SLOW
        while time.time() < deadline:
            with contextlib.suppress(OSError):
                found = json.loads(get(port, "/api/v1/query?query=" + urllib.request.quote(query)))["data"]["result"]
                if found:
                    return found[0]["value"][1]
            time.sleep(0.2)
        self.fail("Prometheus has no " + query)


class Journal(TestCase):
    def test_entries(self):
        apply(POLICY)
        path = os.path.join(world.folder, "journal")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.bind(path)
            journal.settimeout(20 * SLOW)
            child = subprocess.Popen([WEIR, "log", "-f", "--journal", "t"], env=dict(os.environ, WEIR_JOURNAL=path))
            udp(7002, sport=4321)
            entry = dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())
            child.terminate()
            self.assertEqual(child.wait(20), 0)
        for name, value in (("WEIR_POLICY", "t"), ("WEIR_RULE", "2"), ("WEIR_VERDICT", "drop"), ("WEIR_TEXT", "one"),
                            ("WEIR_SOURCE", PEER4), ("WEIR_DESTINATION_PORT", "7002"), ("PRIORITY", "5")):
            self.assertEqual(entry[name], value)
        self.assertTrue(entry["MESSAGE"].startswith('drop t:2 "one" weir0 udp %s:4321 > %s:7002' % (PEER4, OUR4)))


if __name__ == "__main__":
    main()
