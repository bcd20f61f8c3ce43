#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""All that a hook can be asked for in one policy. What each of it takes of the stack adds up, and the kernel refuses what
comes to more than 512 bytes or eight calls; that no policy gets there, also on older kernels, is said by
scripts/check-stack. Here it is loaded, and does what it says."""

from weirtest import *

EGRESS, INGRESS = "egress", "ingress"


class Hook:
    """`fields`: what it knows beyond the packet's bytes."""

    def __init__(self, on, side, fields, other=None):
        self.on = on
        self.side = side
        self.fields = fields.split()
        self.other = other  # where it sees the other direction
        self.call = other is None


HOOKS = [
    Hook("xdp weir0", INGRESS, "frame reject knock capture", "tc weir0 egress"),
    Hook("tc weir0 ingress", INGRESS, "frame reject knock capture mark", "tc weir0 egress"),
    Hook("tc weir0 egress", EGRESS, "frame reject capture mark owner", "tc weir0 ingress"),
    Hook("netfilter input", INGRESS, "knock capture", "netfilter output"),
    Hook("netfilter output", EGRESS, "reject capture owner group", "netfilter input"),
    Hook('cgroup "{0}" ingress', INGRESS, "knock capture mark owner group program", 'cgroup "{0}" egress'),
    Hook('cgroup "{0}" egress', EGRESS, "reject capture mark owner group program", 'cgroup "{0}" ingress'),
    Hook('connect "{0}"', EGRESS, "reject owner group program"),
    Hook('bind "{0}"', INGRESS, "reject owner group program"),
]

# By what the hook must know ("": nothing); the ports from 7100 to 7199 are dropped.
RULES = [
    ("", "add dst to seen if udp.dst_port == 7100"),
    ("", "drop if dst in blocked and udp.dst_port == 7100"),
    ("", "drop if dst in seen and udp.dst_port == 7101"),
    ("", "add dst_port to ports if udp.dst_port == 7102"),
    ("", "remove dst_port from ports if udp.dst_port == 7201"),
    ("", "drop if dst_port in ports and udp.dst_port == 7102"),
    ("", "drop if udp.dst_port == 7103 and rate <= 1000000/s"),
    ("", "drop if udp.dst_port == 7104 and rate <= 1000000/s per dst"),
    ("", "throttle 8mbit per dst if udp.dst_port == 7202"),
    ("", 'log "told" drop if udp.dst_port == 7105'),
    ("", 'log "on" rate 1/min if udp.dst_port == 7203'),
    ("", "count some drop if udp.dst_port == 7106"),
    ("", "drop if udp.dst_port == tuned"),
    ("frame", "drop if vlan == 7 or eth.src == 02:00:00:00:00:01 or eth.type == pppoe"),
    ("reject", "reject if udp.dst_port == 7108"),
    ("capture", "capture if udp.dst_port == 7204"),
    ("mark", "mark 7/0xff if udp.dst_port == 7205"),
    ("knock", "drop if not knocked(door) and udp.dst_port == 7109"),
    ("knock", "drop if not knocked(keyed) and udp.dst_port == 7110"),
    ("owner", "drop if user == 0 and udp.dst_port == 7111"),
    ("owner", 'drop if cgroup == "{0}" and udp.dst_port == 7112'),
    ("group", "drop if group == 0 and udp.dst_port == 7113"),
    ("program", 'drop if program == "{1}" and udp.dst_port == 7114'),
    ("program", 'drop if program not in tree of "/bin/true" and udp.dst_port == 7206'),
    ("flow", "drop if invalid"),
    ("flow", "drop if new and udp.dst_port == 7115"),
    ("flow", "drop if udp.dst_port == 7116 and rate <= 1000000/s per flow"),
]

POLICY = """define tuned = 7107 tunable
policy t {
    on %s
    default accept
    classifier = %s
    set blocked : prefix timeout 1h max 100 { 192.0.2.0/24 timeout 2h, 10.77.0.0/24, fd77::/64 }
    set seen : address timeout 1h max 100 { }
    set ports : port timeout 1h max 100 { }
"""
KNOCKS = """    knock door { sequence udp.dst_port == 7301, udp.dst_port == 7302 within 10s open 60s }
    knock keyed { key file "%s" open 30s }
"""
# All forms of a table: hash, trees, both families.
MANY = [rule % (n, port) for n in range(60) for rule, port in (
    ("drop if dst == 198.18.%d.0/24 and udp.dst_port == %d-8999", 8000 + n), ("drop if dst == 198.19.%d.1 and tcp.dst_port == %d", n),
    ("drop if dst == fd78:%d::/32 and udp.dst_port == %d-8999", 8000 + n), ("drop if dst == fd79:%d::1 and tcp.dst_port == %d", n))]
FORMS = ("table", "table, loops counted", "diagram")


def apply_form(test, form, text):
    if "counted" in form:
        os.environ["WEIR_TEST_BOUNDED"] = "1"
        test.addCleanup(os.environ.pop, "WEIR_TEST_BOUNDED")
    apply(text, "--no-verify")


class Together(TestCase):
    def text(self, hook, form, flows):
        able = ["", *hook.fields] + (["flow"] if flows else [])
        text = POLICY % (hook.on, form.split(",")[0])
        if flows:
            text += "    track on %s\n" % hook.other
        if "knock" in able:
            key = os.path.join(world.folder, "key")
            weir("knock", "--new-key", key) if not os.path.exists(key) else None
            text += KNOCKS % key
        rules = [rule for needs, rule in RULES if needs in able] + (MANY if "table" in form else [])
        text = text.replace("{0}", self.cgroup.name)
        return text + "".join("    %s\n" % rule.replace("{0}", self.cgroup.name).replace("{1}", os.path.realpath(sys.executable))
                              for rule in rules) + "}\n"

    def came(self, hook, ports, family):
        if hook.on.startswith("bind"):
            return {port for port in ports if self.can_bind(port, family)}
        return probe(ports, hook.side == INGRESS, family)

    @staticmethod
    def can_bind(port, family):
        with socket.socket(family, socket.SOCK_DGRAM) as server:
            try:
                server.bind((ours(family), port))
            except PermissionError:
                return False
        return True

    def check(self, hook, text):
        dropped = {int(port) for port in re.findall(r"udp.dst_port == (71\d\d)", text)} | {7107}
        wanted = set(range(7200, 7207)) | {7300}
        if "not in tree" in text:
            wanted.discard(7206)  # this process is not known to be in any tree, nor to be outside of it
            dropped.discard(7206)
        with self.cgroup:
            for family in FAMILIES:
                self.came(hook, [7100, 7102], family)
                self.assertEqual(self.came(hook, sorted(dropped | wanted), family), wanted)

    def load(self, hook, form, flows):
        self.cgroup = Cgroup()
        text = self.text(hook, form, flows)
        apply_form(self, form, text)
        self.check(hook, text)

    CASES = [(hook, form, flows) for hook in HOOKS for form in FORMS for flows in (False, True) if not (hook.call and flows)]

    @each([("%s, %s%s" % (hook.on, form, ", connections" * flows), (hook, form, flows)) for hook, form, flows in CASES])
    def test_all(self, hook, form, flows):
        self.load(hook, form, flows)


@unittest.skipIf(tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 9), "this kernel looks at more")
class Checking(TestCase):
    """What the kernel has to look at is how long a table takes to load. Bounds have a fifth to spare."""

    @each([(form, (form, most)) for form, most in (("table", 28000), ("table, loops counted", 120000))])
    def test_table(self, form, most):
        apply_form(self, form, POLICY % ("xdp weir0", "table") + "".join("    %s\n" % rule for rule in MANY) + "}\n")
        count = checked_instructions(os.environ["WEIR_BPFFS"] + "/weir/t/prog_0")
        print("# %s: %d instructions" % (form, count))
        self.assertLess(1000, count)
        self.assertLess(count, most)


if __name__ == "__main__":
    main()
