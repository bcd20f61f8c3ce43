#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Single rules of a policy in force: its text as if its file had been edited, counts kept, one switch for all hooks."""

import json
import random
import tempfile
import time

from weirtest import *

POLICY = """
define web = { 7001, 7002 }

# The policy.
policy t {
    on tc weir0 ingress
    on netfilter input
    default accept
    set blocked : prefix { 192.0.2.0/24 }
    set idle : prefix { 10.77.0.0/16 }

    drop if udp.dst_port == 7003    # three
    jump deeper if udp
    count seen accept if udp.dst_port in web
    drop if src in blocked

    chain deeper {
        drop if udp.dst_port == 7004
        return
    }
}
policy other {
    on tc weir0 egress
    default accept
    drop if udp.dst_port == 7999
}
"""

ONE_LINE = "policy t { on tc weir0 ingress\n default accept\n chain c { drop if udp.dst_port == 7001 }\n jump c }\n"
EMPTY = "policy t {\n    on tc weir0 ingress\n    default accept\n}\n"


def source(name="t"):
    return weir("show", name, "--source").stdout


def rules(name="t"):
    return [(rule["text"], rule["packets"]) for rule in json.loads(weir("show", name, "--json").stdout)["rules"]]


def edited(old, new):
    """The text of the policy alone, one thing replaced in it."""
    text = POLICY[POLICY.index("policy t"):POLICY.index("policy other")]
    assert text.count(old) == 1
    return text.replace(old, new)


class Rules(TestCase):
    def setUp(self):
        apply(POLICY)

    def refused(self, message, *arguments, status=1):
        before = source(), rules()
        done = weir("rule", *arguments, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(message, done.stderr)
        self.assertEqual((source(), rules()), before)

    def test_add_before(self):
        weir("rule", "add", "t", "before", "1", "  drop if udp.dst_port == 7005 # five")
        self.assertEqual(source(), edited("    drop if udp.dst_port == 7003",
                                          "    drop if udp.dst_port == 7005\n    drop if udp.dst_port == 7003"))
        self.assertEqual(probe([7001, 7003, 7004, 7005, 7006]), {7001, 7006})

    def test_add_in_a_chain(self):
        weir("rule", "add", "t", "before", "6", "accept if udp.dst_port == 7004 and src in idle")
        self.assertEqual(source(), edited("        return",
                                          "        accept if udp.dst_port == 7004 and src in idle\n        return"))
        weir("rule", "add", "t", "before", "5", "accept if udp.dst_port == 7004 and src in idle")
        self.assertEqual(probe([7003, 7004, 7005]), {7004, 7005})

    def test_add_last(self):
        """Behind the last rule of the main chain, not of the text."""
        weir("rule", "add", "t", "drop if udp.dst_port == 7006")
        self.assertEqual(source(), edited("drop if src in blocked",
                                          "drop if src in blocked\n    drop if udp.dst_port == 7006"))
        self.assertEqual(probe([7001, 7006]), {7001})
        self.assertEqual(rules()[4][0], "drop if udp.dst_port == 7006")

    def test_delete(self):
        weir("rule", "delete", "t", "1")
        self.assertEqual(source(), edited("    drop if udp.dst_port == 7003    # three\n", ""))
        self.assertEqual(probe([7003, 7004]), {7003})

    def test_replace(self):
        weir("rule", "replace", "t", "1", "drop if udp.dst_port in web")
        self.assertEqual(source(), edited("drop if udp.dst_port == 7003", "drop if udp.dst_port in web"))
        self.assertEqual(probe([7001, 7002, 7003, 7004]), {7003})

    def test_counts_stay(self):
        """Also those of equal rules, of named counters and of the default."""
        weir("rule", "add", "t", "before", "1", "count seen log if udp.dst_port == 7001")
        weir("rule", "add", "t", "before", "1", "count seen log if udp.dst_port == 7001")
        probe([7001, 7003])
        before = json.loads(weir("show", "t", "--json").stdout)
        counted = rules()
        weir("rule", "replace", "t", "1", "count seen log if udp.dst_port == 7001")
        self.assertEqual(rules(), [(counted[0][0], 0)] + counted[1:])
        weir("rule", "delete", "t", "1")
        self.assertEqual(rules(), counted[1:])
        weir("rule", "add", "t", "before", "3", "drop if tcp.dst_port == 1")
        self.assertEqual(rules(), counted[1:3] + [("drop if tcp.dst_port == 1", 0)] + counted[3:])
        after = json.loads(weir("show", "t", "--json").stdout)
        for key in ("counters", "default", "malformed", "non_ip"):
            self.assertEqual(after[key], before[key])

    def test_sets_stay(self):
        """Elements added at run time, and those deleted, of a set that a rule looked at before or looks at first now."""
        weir("set", "del", "t", "blocked", "192.0.2.0/24")
        weir("set", "add", "t", "blocked", "198.51.100.0/24")
        weir("rule", "add", "t", "before", "1", "drop if udp.dst_port == 7001 and src in idle")
        self.assertEqual(weir("set", "list", "t", "blocked").stdout, "198.51.100.0/24\n")
        self.assertEqual(weir("set", "list", "t", "idle").stdout, "10.77.0.0/16\n")
        self.assertEqual(probe([7001, 7002]), {7002})

    def test_other_policies_stay(self):
        before = source("other")
        weir("rule", "add", "t", "accept")
        self.assertEqual(source("other"), before)
        weir("rule", "delete", "other", "1")
        self.assertNotIn("7999", source("other"))

    def test_short_texts(self):
        apply(ONE_LINE, "--prune")
        weir("rule", "add", "t", "before", "1", "accept if udp.dst_port == 7002")
        weir("rule", "add", "t", "before", "2", "drop if udp.dst_port == 7002 or udp.dst_port == 7003")
        self.assertEqual(probe([7001, 7002, 7003]), {7002})
        weir("rule", "delete", "t", "1")
        self.assertEqual(probe([7001, 7002, 7003]), set())
        weir("rule", "delete", "t", "2")
        weir("rule", "add", "t", "accept if udp.dst_port == 1")
        self.assertEqual([text for text, _ in rules()], ["drop if udp.dst_port == 7002 or udp.dst_port == 7003", "jump c",
                                                         "accept if udp.dst_port == 1"])
        apply(EMPTY)
        weir("rule", "add", "t", "drop if udp.dst_port == 7001")
        self.assertEqual(source(), EMPTY[:-2] + "\tdrop if udp.dst_port == 7001\n}\n")
        weir("rule", "delete", "t", "1")
        self.assertEqual(source(), EMPTY)
        self.refused("policy `t` has no rules", "delete", "t", "1")

    def test_json(self):
        done = json.loads(weir("rule", "add", "t", "accept if tcp", "--json").stdout)
        self.assertEqual((done["ok"], done["policy"], done["rule"], done["rules"]), (True, "t", 5, 7))
        done = json.loads(weir("rule", "delete", "t", "1", "--json").stdout)
        self.assertEqual((done["rule"], done["rules"]), (1, 6))

    def test_wrong_input_changes_nothing(self):
        self.refused("rule:1:9: error: unknown field `dst_prt`", "add", "t", "drop if dst_prt == 22")
        self.refused("        ^~~~~~~", "replace", "t", "1", "drop if dst_prt == 22")
        self.refused("rule:1:17: error: ", "add", "t", "drop if (src == 10.0.0.0/33)")
        self.refused("rule:2:1: error: expected the end of the rule", "add", "t", "drop\naccept")
        self.refused("rule:1:6: error: ", "add", "t", "drop } policy evil { on tc weir0 ingress")
        self.refused("expected an action, found `if`", "add", "t", "if tcp")
        self.refused("there is no chain `deepr` in this policy", "add", "t", "jump deepr")
        self.refused("rule:1:1: error: these jumps never end", "add", "t", "before", "5", "jump deeper")
        self.refused("found the end of the text", "add", "t", "# nothing")
        self.refused("policy `t` has no rule 9: its rules are 1 to 6", "delete", "t", "9")
        self.refused("policy `t` has no rule 7", "add", "t", "before", "7", "accept")
        self.refused("no policy `nosuch` is in force", "delete", "nosuch", "1")
        self.refused("in quotes", "add", "t", "drop", "if", "tcp", status=3)

    def test_only_what_the_rule_brings_is_said(self):
        done = weir("rule", "add", "t", "drop if tcp and udp")
        self.assertIn("rule:1:17: warning: ", done.stderr)
        self.assertEqual(weir("rule", "add", "t", "drop if tcp.dst_port == 1").stderr, "")


TABLE = """policy t {
    on tc weir0 ingress
    on netfilter input
    default accept
    classifier = table
    set blocked : prefix { 192.0.2.0/24 }
%s}
"""
PORTS = range(7001, 7009)
PEOPLE = ("10.77.0.2", "10.77.0.0/16", "192.0.2.1")


def table(rules):
    return TABLE % "".join("    %s\n" % rule for rule in rules)


def random_rule():
    lo, hi = sorted(random.choices(PORTS, k=2))
    port = "udp.dst_port in { %d-%d }" % (lo, hi) if random.random() < 0.5 else "udp.dst_port == %d" % lo
    source = " and src == %s" % random.choice(PEOPLE) if random.random() < 0.5 else ""
    return random.choice(("accept", "drop")) + " if " + port + source


def exact_rule(ports=PORTS):
    return random.choice(("accept", "drop")) + " if dst == 10.77.0.1 and udp.dst_port == %d" % random.choice(ports)


def decides(rules, port):
    """The index of the first rule that a packet of the peer to this port meets; -1: none."""
    for index, rule in enumerate(rules):
        numbers = re.search(r"dst_port (?:== (\d+)|in { (\d+)-(\d+) })", rule).groups()
        lo, hi = (numbers[0], numbers[0]) if numbers[0] else numbers[1:]
        if int(lo) <= port <= int(hi) and "192.0.2.1" not in rule:
            return index
    return -1


def change(*arguments):
    """Whether it was in place."""
    return json.loads(weir("rule", *arguments, "--json").stdout)["in_place"]


def loaded():
    """When the policy was built anew."""
    return json.loads(weir("show", "t", "--json").stdout)["loaded"]


class Tables(TestCase):
    """Tables are changed in place."""

    def check(self, rules):
        self.assertEqual([text for text, _ in self.rules()], rules)
        self.assertEqual(source(), table(rules)[:-1] + "\n")

    @staticmethod
    def rules():
        return rules()

    def count(self, expected, listed):
        """Sends to each port; `expected` counts what each rule should have counted, on both hooks."""
        came = probe(PORTS)
        self.assertEqual(came, {port for port in PORTS
                                if decides(listed, port) < 0 or listed[decides(listed, port)].startswith("accept")})
        for port in PORTS:
            index = decides(listed, port)
            if index >= 0:
                expected[index] += 2 if listed[index].startswith("accept") else 1
        self.assertEqual([packets for _, packets in rules()], expected)

    def test_random_changes(self):
        """Numbers, text, verdicts and counts are those of the edited list, after each change."""
        random.seed(os.environ.get("WEIR_SEED", "1"))
        self.change_at_random([random_rule() for _ in range(12)])

    def test_random_changes_beside_a_hash(self):
        """The same where all rules are exact ones, some of them hidden by others."""
        random.seed(os.environ.get("WEIR_SEED", "1"))
        listed = [exact_rule((port,)) for port in (*PORTS, *range(9000, 9080))] + [exact_rule() for _ in range(12)]
        random.shuffle(listed)
        with tempfile.NamedTemporaryFile("w", suffix=".weir") as file:
            file.write(table(listed))
            file.flush()
            self.assertIn(" in a hash by ", weir("compile", "--emit", "plan", "--hook", "tc-ingress", file.name).stdout)
        self.change_at_random(listed, exact_rule)

    def change_at_random(self, listed, draw=random_rule):
        expected = [0] * len(listed)
        apply(table(listed))
        in_place = 0
        for turn in range(60):
            number = random.randrange(len(listed)) + 1
            what = random.choice(("add", "delete", "replace"))
            new = draw()
            if what == "add":
                in_place += change("add", "t", "before", str(number), new)
                listed.insert(number - 1, new)
                expected.insert(number - 1, 0)
            elif what == "replace":
                in_place += change("replace", "t", str(number), new)
                listed[number - 1], expected[number - 1] = new, 0
            elif len(listed) > 4:
                in_place += change("delete", "t", str(number))
                del listed[number - 1], expected[number - 1]
            self.check(listed)
            if turn % 6 == 5:
                self.count(expected, listed)
        self.assertGreater(in_place, 40)
        text = table(listed)
        apply(text)
        self.count(expected, listed)

    def test_apply_finds_the_difference(self):
        """A file with a few other rules or comments is applied in place; one that differs in more is built anew."""
        random.seed(os.environ.get("WEIR_SEED", "1"))
        listed = [random_rule() for _ in range(14)]
        expected, in_place = [0] * len(listed), 0
        plain = TABLE.replace("    set blocked : prefix { 192.0.2.0/24 }\n", "")

        def applied(text):
            before = loaded()
            apply(text)
            return loaded() == before

        def text():
            return plain % "".join("    %s%s\n" % (rule, random.choice(("", "", "   # so", "\n    # why"))) for rule in listed)
        apply(text())
        for turn in range(24):
            for _ in range(random.randrange(4)):
                at = random.randrange(len(listed))
                if random.random() < 0.5:
                    listed.insert(at, random_rule())
                    expected.insert(at, 0)
                elif len(listed) > 5:
                    del listed[at], expected[at]
            wanted = text()
            in_place += applied(wanted)
            self.assertEqual(source(), wanted)
            self.assertEqual([text for text, _ in rules()], listed)
            if turn % 4 == 3:
                expected = [packets for _, packets in rules()]
                self.count(expected, listed)
                self.assertTrue(change("add", "t", "before", "3", "drop if udp.dst_port == 7001 and src == 10.1.1.1"))
                listed.insert(2, "drop if udp.dst_port == 7001 and src == 10.1.1.1")
                expected.insert(2, 0)
        self.assertGreater(in_place, 20)
        self.assertFalse(applied(text().replace("default accept", "default drop")))
        self.assertFalse(applied(text().replace("default accept", "default drop\n    define x = 7")))

    def test_an_edited_file_is_what_it_says(self):
        """Whatever an editor or a slip makes of a file: the same is in force as if it were applied first of all, or refused."""
        random.seed(os.environ.get("WEIR_SEED", "1"))
        plain = TABLE.replace("    set blocked : prefix { 192.0.2.0/24 }\n", "    define some = 7005\n")
        text = plain % "".join("    %s\n" % random_rule() for _ in range(9))
        words = ("", "\n", " ", "#", "not ", "or\n", " and\n    ", "}", "{", "(", ")", "1", "policy x {", "define x = 1\n", "chain c {",
                 "drop", "accept if udp\n", "    drop if udp.dst_port == 7003\n", " or udp.dst_port == some", "src == 10.1.1.1")
        apply(text)
        same = refused = in_place = 0
        for _ in range(int(os.environ.get("WEIR_EDITS", "25"))):
            whole = random.random() < 0.6
            places = [m.start() for m in re.finditer(r"(?m)^" if whole else r"(?m)$| |\b", text)]
            at = random.randrange(len(places))
            behind = places[min(at + random.randrange(3), len(places) - 1)]
            word = random.choice(("    %s\n" % random_rule(), "", "\n", "    # so\n", "    define y = 7\n")) if whole else random.choice(words)
            other = text[:places[at]] + word + text[behind:]
            before, was = loaded(), (source(), rules())
            done = weir("apply", policy_file(other), check=False)
            if done.returncode:
                refused += 1
                self.assertTrue(weir("check", policy_file(other), check=False).returncode or "lists no" in done.stderr, other)
                self.assertEqual((source(), rules()), was)
                continue
            came = source(), rules()
            in_place += loaded() == before
            weir("flush", "--all")
            apply(other)
            self.assertEqual((came[0], [text for text, _ in came[1]]), (source(), [text for text, _ in rules()]))
            apply(text)
            same += 1
        print("# %d edits applied, %d of them in place, %d refused" % (same, in_place, refused))
        self.assertGreater(in_place, 5)

    def test_names_that_mean_something_else(self):
        """Of rules that were not touched, too."""
        services = "/etc/services"
        mine = os.path.join(os.path.dirname(policy_file("")), "services")

        def meaning(port):
            with open(mine, "w") as file:
                file.write("weirtest %d/udp\n" % port)
        meaning(7001)
        self.assertFalse(libc.mount(mine.encode(), services.encode(), None, 4096, None))
        self.addCleanup(libc.umount, services.encode())
        text = EMPTY.replace("}", "    classifier = table\n    drop if udp.dst_port == weirtest\n    drop if udp.dst_port == 7003\n"
                             "    drop if udp.dst_port == 7004\n    drop if udp.dst_port == 7005\n}")
        apply(text)
        self.assertEqual(probe([7001, 7002, 7005]), {7002})
        meaning(7002)
        apply(text.replace("7005", "7006"))
        self.assertEqual(probe([7001, 7002, 7005, 7006]), {7001, 7005})
        self.assertTrue(change("add", "t", "drop if udp.dst_port == weirtest"))
        meaning(7001)
        apply(text.replace("7005", "7006").replace("7006\n", "7006\n    drop if udp.dst_port == weirtest\n"))
        self.assertEqual(probe([7001, 7002]), {7002})

    def test_what_is_said_of_a_changed_file(self):
        """Of the rules that came, and of the whole if that is another now."""
        text = EMPTY.replace("default accept", "default drop\n    classifier = table").replace(
            "}", "    accept if neighbour\n    accept if udp.dst_port == 7001\n    accept if udp.dst_port == 7002\n"
            "    accept if udp.dst_port == 7003\n}")
        self.assertEqual(apply(text).stderr, "")
        done = apply(text.replace("7003", "7003\n    drop if tcp and udp # never"))
        self.assertRegex(done.stderr, r"policy\.weir:9:\d+: warning: ")
        self.assertEqual(done.stderr.count("warning"), 1)
        self.assertIn("t: 5 rules on tc-ingress weir0\n", done.stdout)
        self.assertEqual(apply(text).stderr, "")
        self.assertIn("no rule accepts IPv6 neighbour discovery", apply(text.replace("    accept if neighbour\n", "")).stderr)

    def test_what_needs_more_builds_all_anew(self):
        listed = ["drop if udp.dst_port in { 7001-7003 }", "accept if udp.dst_port == 7004"]
        apply(table(listed))
        expected = [0, 0]
        self.assertTrue(change("add", "t", "drop if udp.dst_port == 7005"))
        listed.append("drop if udp.dst_port == 7005")
        expected.append(0)
        self.count(expected, listed)
        for rule in ("rate 1/s drop if udp.dst_port == 7006", "drop if udp.dst_port == 7008 and src in blocked",
                     "count seen drop if udp.dst_port == 9999"):
            self.assertFalse(change("add", "t", rule.replace("rate 1/s drop if", "drop if rate <= 1/s and")), rule)
            weir("rule", "delete", "t", "4")
            self.assertEqual(rules(), list(zip(listed, expected)))
        self.assertTrue(change("delete", "t", "1"))
        self.count(expected[1:], listed[1:])

    def test_until_there_is_no_more_room(self):
        """Many changes: the table is built anew now and then, and counts go on."""
        listed = ["drop if udp.dst_port == 7001", "accept if udp.dst_port in { 7001-7008 }"]
        apply(table(listed))
        expected = [0, 0]
        anew = 0
        for turn in range(560):
            new = "drop if udp.dst_port == 7002 and src == 192.0.2.1"
            anew += not change("add", "t", "before", "2", new)
            listed.insert(1, new)
            expected.insert(1, 0)
            if turn % 140 == 0:
                self.count(expected, listed)
        self.count(expected, listed)
        self.assertIn(anew, range(1, 10))

    def test_marks_and_links(self):
        """Steps, rules that judge what is not IP, and several devices at one hook, which have one table."""
        apply(table(["mark 1 if udp.dst_port == 1", "accept if arp"]).replace("    on netfilter input\n", "").replace(
            "tc weir0 ingress", "tc \"*\" ingress"))
        self.assertTrue(change("add", "t", "before", "1", "mark 2"))
        self.assertFalse(change("add", "t", "before", "1", "drop if arp and vlan == 7"))
        self.assertFalse(change("delete", "t", "1"))
        self.assertTrue(change("add", "t", "before", "1", "drop if udp.dst_port == 7001"))
        self.assertEqual(probe([7001, 7002]), {7002})

    def test_wrong_input_changes_nothing(self):
        listed = ["drop if udp.dst_port == 7001"]
        apply(table(listed))
        for status, message, *arguments in ((1, "rule:1:9: error: unknown field `dst_prt`", "add", "t", "drop if dst_prt == 1"),
                                            (1, "there is no chain `x`", "replace", "t", "1", "jump x"),
                                            (1, "policy `t` has no rule 2: its rules are 1 to 1", "delete", "t", "2"),
                                            (1, "no policy `nosuch` is in force", "delete", "nosuch", "2")):
            done = weir("rule", *arguments, check=False)
            self.assertEqual(done.returncode, status)
            self.assertIn(message, done.stderr)
        self.check(listed)

    def test_killed_at_any_instruction(self):
        """Afterwards the rule is there on both hooks and in the text, or nowhere; and it works on."""
        random.seed(os.environ.get("WEIR_SEED", "1"))
        ports = {True: "7002", False: "7001"}
        apply(table(["drop if udp.dst_port == 7001", "accept"]))
        tidy = len(bpffs_leftovers())
        stops = run_killed(["rule", "replace", "t", "1", "drop if udp.dst_port == 7002"], 10 ** 6, 0)
        now, killed = True, 0
        for turn in range(int(os.environ.get("WEIR_KILLS", "40"))):
            self.assertEqual(rules()[0][0], "drop if udp.dst_port == " + ports[now])
            late = turn % 4
            at = random.randrange(stops) if not late else stops - random.randrange(28, 52)
            run_killed(["rule", "replace", "t", "1", "drop if udp.dst_port == " + ports[not now]], at,
                       random.randrange(3000) if late else 0)
            changed = ports[not now] in rules()[0][0]
            came = probe([7001, 7002])
            self.assertEqual(came, {7001 if changed != now else 7002}, "turn %d" % turn)
            killed += not changed
            weir("show", "t", "--reset")
            self.assertEqual(probe([7001, 7002]), came, "turn %d: tidying changed what is in force" % turn)
            self.assertEqual(len(bpffs_leftovers()), tidy)
            now = not now
            weir("rule", "replace", "t", "1", "drop if udp.dst_port == " + ports[now])
        print("# %d of %d changes were killed before their end" % (killed, turn + 1))
        self.assertGreater(killed, 0)


KEPT = """policy t {
    on tc weir0 ingress
    default accept
    classifier = table
    cache = yes
%s}
"""


class Kept(TestCase):
    """Answers that are kept are those of the rules in force."""

    @staticmethod
    def cached():
        return json.loads(weir("show", "t", "--json").stdout)["hooks"][0]["cached"]

    def test_each_change_counts_at_once(self):
        """Each packet comes again and again; after each change it is judged by the list as it is then, and counted."""
        random.seed(os.environ.get("WEIR_SEED", "1"))
        listed = [random_rule() for _ in range(8)]
        expected = [0] * len(listed)
        apply(KEPT % "".join("    %s\n" % rule for rule in listed))
        before = 0
        for _ in range(20):
            number, new = random.randrange(len(listed)) + 1, random_rule()
            self.assertTrue(change("replace", "t", str(number), new))
            listed[number - 1], expected[number - 1] = new, 0
            for _ in range(3):
                came = probe(PORTS, from_port=7000)
                self.assertEqual(came, {port for port in PORTS
                                        if decides(listed, port) < 0 or listed[decides(listed, port)].startswith("accept")})
            for port in PORTS:
                if decides(listed, port) >= 0:
                    expected[decides(listed, port)] += 3
            self.assertEqual([packets for _, packets in rules()], expected)
            after = self.cached()
            self.assertGreater(after, before)
            before = after
        self.assertRegex(weir("metrics").stdout, r'weir_hook_cached_packets_total{policy="t",hook="tc-ingress",target="weir0"} [1-9]')

    def test_where_answers_cannot_be_kept(self):
        """Asked for, that is an error; else it is left out."""
        text = KEPT % "    set s : prefix { 192.0.2.0/24 }\n    drop if src in s\n"
        done = weir("apply", policy_file(text), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the policy's answers cannot be kept: its rules ask what is in named sets", done.stderr)
        apply(text.replace("cache = yes", "cache = auto"))
        probe(PORTS)
        self.assertEqual(self.cached(), 0)


def noted(policy="t"):
    """What `weir log` tells: rule, text, verdict of each event."""
    done = weir("log", "--json", policy)
    return [(event["rule"], event["text"], event["verdict"]) for event in map(json.loads, done.stdout.splitlines())]


class Cases(TestCase):
    """Which changes are in place, by what else the policy has, and by what the rule that comes or goes does."""
    FRAME = """policy t {
    on tc weir0 ingress
    default accept
    classifier = table
    set blocked : prefix { 192.0.2.0/24, 10.77.0.2 }
    set seen : address timeout 1h max 100 { }
    knock door { sequence udp.dst_port == 7301, udp.dst_port == 7302 within 10s open 60s }
%s
}
"""
    # With the knock and its hidden rules in front of all; none of them decides on 7001 to 7008.
    ELSEWHERE = {
        "a set": "drop if src in blocked and udp.dst_port == 7101",
        "a log": 'log "told" drop if udp.dst_port == 7102',
        "a log that goes on": 'log "on" rate 1/min if udp.dst_port == 7103',
        "a named counter": "count some drop if udp.dst_port == 7104",
        "a rate": "drop if udp.dst_port == 7105 and rate <= 1/s",
        "a throttle": "throttle 8mbit per src accept if udp.dst_port == 7106",
        "a capture": "capture snap 60 if udp.dst_port == 7107",
        "a mark": "mark 7 if udp.dst_port == 7108",
        "a reject": "reject if udp.dst_port == 7109",
        "an addition": "add src to seen drop if udp.dst_port == 7110",
        "a knock": "drop if not knocked(door) and udp.dst_port == 7111",
        "many": "accept if src in { 10.0.0.1, 10.0.0.3, 10.0.0.5-10.0.0.9 } and udp.dst_port in { 1, 3, 5, 7, 9 }",
    }

    def check(self, elsewhere):
        """A plain rule comes and goes at either end; the other one decides what it decided."""
        self.assertTrue(change("add", "t", "before", "1", "drop if udp.dst_port == 7001"))
        self.assertTrue(change("add", "t", "drop if udp.dst_port == 7002"))
        self.assertEqual(probe([7001, 7002, 7003]), {7003}, elsewhere)
        self.assertTrue(change("replace", "t", "1", "drop if udp.dst_port == 7003"))
        self.assertEqual(probe([7001, 7002, 7003]), {7001}, elsewhere)
        self.assertTrue(change("delete", "t", "1"))
        self.assertTrue(change("delete", "t", "1")) # the other one: nothing tells of it any more
        self.assertEqual(probe([7001, 7002, 7003]), {7001, 7003}, elsewhere)

    @each(sorted(ELSEWHERE.items()))
    def test_a_plain_rule_beside(self, *elsewhere):
        apply(self.FRAME % ("    " + "".join(elsewhere)))
        self.check(elsewhere)

    def test_a_plain_rule_beside_all(self):
        rules_there = list(self.ELSEWHERE.values())
        apply(self.FRAME % "\n".join("    " + rule for rule in rules_there))
        self.assertTrue(change("add", "t", "before", "4", "drop if udp.dst_port == 7001"))
        self.assertEqual(probe([7001, 7003, 7101, 7102, 7104]), {7003})
        for _ in rules_there:
            self.assertTrue(change("delete", "t", "1"))
        self.assertEqual([text for text, _ in rules()], rules_there[-1:])
        self.assertEqual(probe([7001, 7003, 7101, 7102, 7104]), {7001, 7003, 7101, 7102, 7104})

    def test_rules_that_ask_of_sets(self):
        """What some rule asks of a set, another may ask, or the opposite; and it is the set in force, of both families."""
        apply(self.FRAME % "    drop if src in blocked and udp.dst_port == 7101\n    accept if not (src in seen) and udp.dst_port == 7102")
        self.assertTrue(change("add", "t", "drop if src in blocked and udp.dst_port in { 7001-7003 }"))
        self.assertTrue(change("add", "t", "before", "1", "accept if src not in blocked and udp.dst_port == 7002"))
        self.assertTrue(change("add", "t", "before", "1", "drop if (src in seen and udp.dst_port == 7001) or (src in blocked and udp.dst_port == 7004)"))
        self.assertEqual(probe([7001, 7002, 7004, 7005]), {7005})
        self.assertEqual(probe([7001, 7002, 7004, 7005], family=IPV6), {7001, 7002, 7004, 7005})
        weir("set", "del", "t", "blocked", "10.77.0.2")
        weir("set", "add", "t", "blocked", "fd77::/16")
        self.assertEqual(probe([7001, 7002, 7004, 7005]), {7001, 7002, 7004, 7005})
        self.assertEqual(probe([7001, 7002, 7004, 7005], family=IPV6), {7005})
        weir("set", "add", "t", "seen", "10.77.0.2", "--timeout", "1s")
        self.assertEqual(probe([7001, 7005]), {7005})
        time.sleep(1.2)
        self.assertEqual(probe([7001, 7005]), {7001, 7005})
        self.assertFalse(change("add", "t", "drop if dst in blocked and udp.dst_port == 7001"))
        self.assertTrue(change("add", "t", "drop if dst in blocked and udp.dst_port == 7008")) # now one has asked that

    # After `count some drop` and `accept if src in blocked`: what is in place by itself.
    ALONE = {
        "accept if src in blocked": True,
        "drop if udp and not (src in blocked)": True,
        "drop if dst in blocked": False,
        "drop if src in seen": False,
        "drop if eth.src == 02:00:00:00:00:01": False,
        "mark 1": True,
        'log "new" rate 1/min drop if udp.dst_port == 1': True,
        'log "new" log "newer" drop if udp.dst_port == 1': False,
        "count some accept if udp.dst_port == 1": True,
        "count other accept if udp.dst_port == 1": False,
        "reject if udp.dst_port == 1": False,
        "capture if udp.dst_port == 1": False,
        "drop if udp.dst_port == 1 and rate <= 1/s": False,
        "throttle 8mbit if udp.dst_port == 1": False,
        "add src to seen if udp.dst_port == 1": False,
        "drop if knocked(door)": False,
        "drop if arp": False,
    }

    @each(sorted((rule, (rule, expected)) for rule, expected in ALONE.items()))
    def test_a_rule_alone(self, rule, expected):
        apply(self.FRAME % "    count some drop if udp.dst_port == 7101\n    accept if src in blocked and udp.dst_port == 7102")
        self.assertEqual(change("add", "t", rule), expected)

    def applied(self, text, *options):
        """Whether it was in place."""
        before = loaded()
        apply(text, *options)
        return loaded() == before

    def test_an_edited_file_beside_all(self):
        """In place, if sets hold what their text says; what was added to them stays."""
        rules_there = list(self.ELSEWHERE.values())

        def text(*more):
            return self.FRAME % "\n".join("    " + rule for rule in [*rules_there[:5], *more, *rules_there[5:]])
        apply(text())
        weir("set", "add", "t", "blocked", "10.77.0.9")
        weir("set", "add", "t", "seen", "10.77.0.9")
        self.assertTrue(self.applied(text("drop if udp.dst_port == 7001", "drop if src in blocked and udp.dst_port == 7002")))
        self.assertEqual(probe([7001, 7002, 7003]), {7003})
        self.assertIn("10.77.0.9", weir("set", "list", "t", "blocked").stdout)
        self.assertTrue(self.applied(text("drop if src in blocked and udp.dst_port == 7003", "drop if udp.dst_port == 7001")))
        self.assertEqual(probe([7001, 7002, 7003]), {7002})
        weir("set", "del", "t", "blocked", "10.77.0.2")
        self.assertEqual(probe([7001, 7002, 7003]), {7002, 7003})
        self.assertFalse(self.applied(text("drop if src in blocked and udp.dst_port == 7003")))
        self.assertEqual(probe([7001, 7002, 7003]), {7001, 7002})
        self.assertEqual(set(weir("set", "list", "t", "blocked").stdout.split()), {"10.77.0.2", "10.77.0.9", "192.0.2.0/24"})
        self.assertFalse(self.applied(text().replace("192.0.2.0/24", "192.0.2.0/25")))
        self.assertFalse(self.applied(text().replace("{ 192.0.2.0/24", "{ 192.0.2.0/24 timeout 1h").replace(
            ": prefix", ": prefix timeout never")))

    def test_events_name_rules_by_their_present_number(self):
        """Also those of rules that were built, and of captures; after the rule has gone, by the last it had."""
        apply(self.FRAME % "    log \"a\" drop if udp.dst_port == 7001\n    capture if udp.dst_port == 7001\n"
              "    log \"b\" drop if udp.dst_port == 7002")
        self.assertTrue(change("add", "t", "before", "1", "accept if udp.dst_port == 7003"))
        self.assertTrue(change("add", "t", "before", "3", "accept if udp.dst_port == 7004"))
        self.assertEqual(probe([7001, 7002]), set())
        self.assertEqual(noted(), [(2, "a", "drop"), (5, "b", "drop")])
        self.assertTrue(change("delete", "t", "1"))
        self.assertTrue(change("replace", "t", "1", "accept if udp.dst_port == 7001"))
        self.assertEqual(probe([7001, 7002]), {7001})
        self.assertEqual(noted(), [(4, "b", "drop")])

    def test_what_rules_that_come_tell(self):
        """Logs, with their texts and limits; named counters; captures. By rule, and by edited file."""
        text = self.FRAME % '    log "a" if udp.dst_port == 7001\n    capture if udp.dst_port == 7101\n    count some if udp.dst_port == 7102'
        apply(text)
        self.assertTrue(change("add", "t", "before", "1", 'log "new" rate 1/min burst 2 drop if udp.dst_port == 7001'))
        udp(7001, count=9)
        self.assertEqual(noted(), [(1, "new", "drop")] * 2)
        self.assertTrue(change("add", "t", "before", "1", 'count some log "newer" capture if udp.dst_port == 7002'))
        self.assertTrue(change("add", "t", "accept if udp.dst_port == 1"))
        self.assertTrue(change("delete", "t", "2"))
        self.assertEqual(probe([7001, 7002]), {7001, 7002})
        self.assertEqual(sorted(noted()), [(1, "newer", "log"), (2, "a", "log")])
        self.assertEqual([counter["packets"] for counter in json.loads(weir("show", "t", "--json").stdout)["counters"]], [1])
        path = policy_file("", "rules.pcapng")
        weir("capture", "t", "-w", path, "--now")
        with open(path, "rb") as file:
            self.assertEqual(re.findall(rb"t:[0-9]+", file.read()), [b"t:1"])
        text = source().replace("    accept", '    log "last" if udp.dst_port == 7003\n    accept')
        self.assertTrue(self.applied(text))
        self.assertTrue(self.applied(text.replace('"last"', '"very last"').replace("count some log", "count some\tlog")))
        self.assertEqual(probe([7002, 7003]), {7002, 7003})
        self.assertEqual(sorted(noted()), [(1, "newer", "log"), (5, "very last", "log")])
        self.assertEqual(source(), text.replace('"last"', '"very last"').replace("count some log", "count some\tlog"))

    CHAINS = """policy t {
    on tc weir0 ingress
    on netfilter input
    default accept
    classifier = table
    drop if udp.dst_port == 7008
    chain early {
        drop if udp.dst_port == 7101    # in early
        return if udp.dst_port in { 7102-7109 }
        log "early" if udp.dst_port == 7001
    }
    jump early if udp and src in { 10.77.0.0/16, fd77::/16 }
    accept if udp.dst_port == 7007
    chain twice { drop if udp.dst_port == 7201 }
    jump twice if udp.dst_port in { 7200-7299 }
    jump twice if tcp
    chain empty {
    }
    jump empty if udp.dst_port in { 7003-7004 }
}
"""

    def test_a_long_list_of_elements(self):
        """What is compiled with a rule has them all."""
        elements = ", ".join("10.%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255) for number in range(30000))
        text = self.FRAME.replace("192.0.2.0/24", elements + ", 192.0.2.0/24") % "    drop if src in blocked and udp.dst_port == 7101"
        apply(text)
        self.assertTrue(change("add", "t", "drop if src in blocked and udp.dst_port == 7001"))
        self.assertTrue(self.applied(text.replace("7101", "7102")))
        self.assertEqual(probe([7001, 7102]), {7001})

    def test_chains(self):
        """Rules of the main chain, and of chains that are jumped to from one place; also where a chain has no rules."""
        apply(self.CHAINS)
        ports = [7001, 7002, 7003, 7004, 7101, 7102, 7201, 7202]
        self.assertEqual(probe(ports), {7001, 7002, 7003, 7004, 7102, 7202})

        self.assertTrue(change("add", "t", "drop if udp.dst_port == 7202")) # at the end of the main one, not of the text
        self.assertTrue(change("add", "t", "before", "3", "drop if udp.dst_port in { 7002, 7102 }"))
        self.assertTrue(change("add", "t", "before", "6", "drop if udp.dst_port == 7003")) # before the jump, in main
        self.assertTrue(change("add", "t", "before", "2", "accept if udp.dst_port == 7101"))
        self.assertEqual(probe(ports), {7001, 7004, 7101})
        self.assertEqual(set(noted()), {(6, "early", "log")})
        text = self.CHAINS.replace("    chain empty {\n    }\n    jump empty if udp.dst_port in { 7003-7004 }\n",
                                   "    chain empty {\n    }\n    jump empty if udp.dst_port in { 7003-7004 }\n"
                                   "    drop if udp.dst_port == 7202\n")
        text = text.replace("        return if", "        drop if udp.dst_port in { 7002, 7102 }\n        return if")
        text = text.replace("    jump early", "    drop if udp.dst_port == 7003\n    jump early").replace(
            "        drop if udp.dst_port == 7101", "        accept if udp.dst_port == 7101\n        drop if udp.dst_port == 7101")
        self.assertEqual(source(), text)
        self.assertTrue(change("delete", "t", "5")) # `return`
        self.assertTrue(change("replace", "t", "5", 'log "early" drop if udp.dst_port == 7001'))
        self.assertTrue(change("delete", "t", "1"))
        self.assertEqual(probe(ports), {7004, 7101})
        self.assertEqual(noted(), [(4, "early", "drop")])
        self.assertEqual([packets for text, packets in rules() if "early" not in text and "7007" not in text],
                         [4, 1, 4, 2, 3, 7, 0, 8, 2])
        for number, rule in ((7, "drop if udp.dst_port == 7204"), (6, "jump twice"), (6, "return")):
            apply(self.CHAINS, "--reset-sets") # as the file says, anew
            self.assertFalse(change("replace", "t", str(number), rule), rule)

    def test_an_edited_file_with_chains(self):
        """Rules come and go in the main chain, in front of a chain and behind it, and in the chain."""
        random.seed(os.environ.get("WEIR_SEED", "1"))
        parts = [[random_rule() for _ in range(5)] for _ in range(3)]

        def text():
            front, inside, behind = ("".join("    %s%s\n" % (rule, random.choice(("", "", "  # so"))) for rule in part) for part in parts)
            return EMPTY.replace("}", "    classifier = table\n%s    chain inner {\n%s    }\n    jump inner if udp\n%s}" % (
                front, inside, behind))
        apply(text())
        in_place = 0
        for turn in range(16):
            for _ in range(random.randrange(4)):
                part = random.choice(parts)
                at = random.randrange(len(part))
                if random.random() < 0.5:
                    part.insert(at + (random.random() < 0.3), random_rule())
                elif len(part) > 2:
                    del part[at]
            wanted = text()
            in_place += self.applied(wanted)
            self.assertEqual(source(), wanted)
            listed = sum(parts, [])
            self.assertEqual([rule for rule, _ in rules() if rule != "jump inner if udp"], listed)
            self.assertEqual(probe(PORTS), {port for port in PORTS if decides(listed, port) < 0 or
                                            listed[decides(listed, port)].startswith("accept")})
            if turn % 4 == 3:
                number = str(len(parts[0]) + random.randrange(len(parts[1])) + 1)
                self.assertTrue(change("replace", "t", number, "drop if udp.dst_port == 7001"))
                parts[1][int(number) - len(parts[0]) - 1] = "drop if udp.dst_port == 7001"
        self.assertGreater(in_place, 10)
        self.assertFalse(self.applied(text().replace("    jump inner if udp\n", "    jump inner if udp\n    jump inner if tcp\n")))

    def test_chains_that_judge_more_than_ip(self):
        """Where a rule names the link layer, chains judge what is not IP, by code that is not changed in place."""
        apply(self.CHAINS.replace("    on netfilter input\n", "").replace("jump early if udp", "jump early if arp or udp"))
        self.assertFalse(change("add", "t", "before", "2", "drop"))
        self.assertFalse(change("delete", "t", "2"))
        self.assertTrue(change("add", "t", "before", "1", "drop if udp.dst_port == 7003"))
        self.assertEqual(probe([7001, 7003, 7101]), {7001})

    def test_knocks_come_first(self):
        """No rule that comes gets before the steps of knocks."""
        apply(self.FRAME % ("    accept if knocked(door) and udp.dst_port == 7001\n    drop if udp.dst_port == 7001"))
        for _ in range(40):
            self.assertTrue(change("add", "t", "before", "1", "drop if udp.dst_port == 7302"))
        self.assertEqual(probe([7001, 7002]), {7002})
        probe([7301])
        probe([7302])
        self.assertEqual(probe([7001, 7302]), {7001})


if __name__ == "__main__":
    main()
