/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The proof of tables. In: the object with classify_rest(), the blob, the rules; out: equal, or packets that are judged
 * differently. What is not IP is judged by classify_rest() alone. Each family of IP is shown record by record and leaf by
 * leaf (table_match.c), which says nothing of a few packets (suspects) if something is amiss; for those, diagrams of
 * walker and rules are compared, as they are for code.
 */
#include <stddef.h>
#include <string.h>

#include "prove/table.h"

enum { SMALL = 4096 }; /* words of a blob up to which diagrams of all of it are tried */

/* A port's 17th bit says whether there are ports; both are filled in if either is needed. */
static void note_ports(struct prove *prove)
{
	bool source = prove->input->needed >> FIELD_SRC_PORT & 1;

	prove->fields |= (uint32_t)1 << FIELD_SRC_PORT;
	note_byte(prove, (int)(source ? offsetof(struct packet, src_port) : offsetof(struct packet, dst_port)));
}

void table_note(struct prove *prove, const uint64_t *looked)
{
	for (int byte = 0; byte < PACKET_BYTES; byte++) {
		if (!(looked[byte / 8] >> byte % 8 * 8 & 0xff))
			continue;
		if (byte == offsetof(struct packet, src_port) + 2)
			note_ports(prove);
		else
			note_byte(prove, byte);
	}
}

/* From now on only packets of the family count, and those that are known so. */
static void fix(struct prove *prove, bool six, const struct known *known)
{
	uint8_t *fixed = ARENA_ARRAY(prove->arena, uint8_t, PACKET_BITS);
	const unsigned family = offsetof(struct packet, family) * 8;

	for (unsigned bit = 0; bit < PACKET_BITS; bit++)
		fixed[bit] = known && known->mask[bit / 64] >> bit % 64 & 1 ? known->bits[bit / 64] >> bit % 64 & 1 : 2;
	for (unsigned bit = 0; bit < 8; bit++)
		fixed[family + bit] = (six ? FAMILY_IPV6 : FAMILY_IPV4) >> bit & 1;
	prove->fixed = fixed;
	spec_init(prove);
}

static bool compare_known(struct prove *prove, bool six, const struct known *known, bdd_ref *ret_different)
{
	fix(prove, six, known);
	return compare_fully(prove, contract_packets(prove, false), ret_different);
}

static bool compare_suspects(struct prove *prove, bool six, const struct suspects *suspects, bdd_ref *ret_different)
{
	bool few = !suspects->all && prove->table->count > SMALL;

	if (!suspects->all && !suspects->list.count)
		return true;
	if (!few)
		return compare_known(prove, six, NULL, ret_different);
	for (size_t i = 0; i < suspects->list.count && !prove_stopped(prove); i++)
		if (!compare_known(prove, six, &suspects->list.items[i], ret_different))
			return false;
	return true;
}

static bool compare_other(struct prove *prove, bdd_ref *ret_different)
{
	bdd_ref ip = bdd_or(prove->bdd, field_between(prove, FIELD_FAMILY, FAMILY_IPV4, FAMILY_IPV4),
			    field_between(prove, FIELD_FAMILY, FAMILY_IPV6, FAMILY_IPV6));
	const struct table *table = prove->table;
	bool equal;

	spec_init_other(prove);
	prove->table = NULL; /* the program is what classify_rest() says */
	equal = compare_fully(prove, bdd_ite(prove->bdd, ip, BDD_FALSE, contract_packets(prove, false)), ret_different);
	prove->table = table;
	return equal;
}

bool table_compare(struct prove *prove, bdd_ref *ret_different)
{
	struct family *families = ARENA_ARRAY(prove->arena, struct family, 2);
	bool equal;

	for (unsigned six = 0; six < 2; six++) {
		families[six] = (struct family){ .prove = prove, .table = prove->table, .six = six };
		family_collect(&families[six]);
		prove->record_count += families[six].members.count;
	}
	equal = compare_other(prove, ret_different);
	for (unsigned six = 0; six < 2 && equal && !prove_stopped(prove); six++) {
		fix(prove, six, NULL);
		family_prove(&families[six]);
		if (!prove_stopped(prove))
			equal = compare_suspects(prove, six, &families[six].suspects, ret_different);
	}
	return equal;
}
