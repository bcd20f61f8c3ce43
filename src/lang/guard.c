/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unguarded negations. Input: the condition of an accepting rule, already lowered; output: warnings. `dst_port != 22`
 * holds for every packet without ports, too: who accepts by it lets in ICMP and later fragments.
 */
#include <string.h>

#include "lang/facts.h"

struct lacking {
	enum field field;
	const char *what;  /* what lacks it */
	const char *guard; /* what to say */
};

static const struct lacking lackings[] = {
	{ FIELD_SRC_PORT, "packets without ports (ICMP, later fragments)", "tcp" },
	{ FIELD_DST_PORT, "packets without ports (ICMP, later fragments)", "tcp" },
	{ FIELD_TCP_FLAGS, "packets that are not TCP", "tcp" },
	{ FIELD_ICMP_TYPE, "packets that are not ICMP", "icmp" },
	{ FIELD_ICMP_CODE, "packets that are not ICMP", "icmp" },
	{ FIELD_IP_SRC, "all of IPv6", "ip" },
	{ FIELD_IP_DST, "all of IPv6", "ip" },
	{ FIELD_IPV6_SRC, "all of IPv4", "ipv6" },
	{ FIELD_IPV6_DST, "all of IPv4", "ipv6" },
	{ FIELD_VLAN, "packets without a VLAN tag", "vlan" },
};

/* Bit f: the condition tests enum field f. */
static field_mask tested(const struct cond *cond)
{
	field_mask fields = 0;

	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			fields |= tested(cond->list.items[i]);
		return fields;
	case COND_NOT:
		return tested(cond->inner);
	case COND_MATCH:
		return FIELD_BIT(cond->match.field);
	case COND_SET:
		return FIELD_BIT(cond->set.field);
	default:
		return 0;
	}
}

static const char *guard_word(const struct expr *expr, const struct lacking *lacking)
{
	const struct field_word *field = words_field(expr->field.text);

	switch (field->proto) {
	case 17:
		return "udp";
	case 132:
		return "sctp";
	case 136:
		return "udplite";
	default:
		return lacking->guard;
	}
}

static void negated(struct lower *lower, const struct expr *expr, const struct facts *around)
{
	field_mask fields = expr->cond ? tested(expr->cond) : 0;
	bool v4 = fields & (FIELD_BIT(FIELD_IP_SRC) | FIELD_BIT(FIELD_IP_DST));
	bool v6 = fields & (FIELD_BIT(FIELD_IPV6_SRC) | FIELD_BIT(FIELD_IPV6_DST));
	struct diag *diag;

	if (v4 && v6) /* both families are named */
		return;
	for (size_t i = 0; i < sizeof lackings / sizeof lackings[0]; i++) {
		const struct lacking *lacking = &lackings[i];

		if (!(fields & FIELD_BIT(lacking->field)) || facts_imply(around, lacking->field))
			continue;
		diag = diag_warning(lower->diags, expr->span, "this also accepts %s", lacking->what);
		diag_hint(lower->diags, diag, "a test of a field that a packet does not have is false, its negation "
			  "true: say `%s and ...`", guard_word(expr, lacking));
		return;
	}
}

static bool is_negative(const struct expr *expr)
{
	return expr->op == COMPARE_NE || expr->op == COMPARE_NOT_IN;
}

static void walk(struct lower *lower, const struct expr *expr, bool negate, const struct facts *around)
{
	struct facts here, own;

	facts_copy(&here, around);
	switch (expr->kind) {
	case EXPR_AND:
		if (negate) /* `not (tcp and dst_port == 22)` means what it says */
			return;
		if (expr->cond) {
			facts_of(lower, expr->cond, false, &own);
			facts_meet(lower, &here, &own);
		}
		break;
	case EXPR_OR:
		break;
	case EXPR_NOT:
		negate = !negate;
		break;
	case EXPR_COMPARE:
		if (negate != is_negative(expr))
			negated(lower, expr, around);
		return;
	default:
		return;
	}
	for (size_t i = 0; i < expr->count; i++)
		walk(lower, expr->items[i], negate, &here);
}

void guard_warn(struct lower *lower, const struct expr *expr)
{
	struct facts nothing;

	nothing.impossible = false;
	nothing.known = 0;
	walk(lower, expr, false, &nothing);
}
