#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Single rules of a policy in force: its text as if its file had been edited, counts kept, one switch for all hooks."""

import json

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


if __name__ == "__main__":
    main()
