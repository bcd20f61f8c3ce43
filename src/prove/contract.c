/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which packets there are: what packet/packet.h and the data planes' parser promise of struct packet. In: the hook; out:
 * a set of packets. Packets outside it do not count in a comparison, so nothing is promised here that is not certain.
 */
#include "prove/work.h"

struct contract {
	struct prove *prove;
	struct bdd *bdd;
	field_mask fields; /* bit f: promises about enum field f matter */
	bdd_ref packets;
};

static void promise(struct contract *contract, bdd_ref what)
{
	contract->packets = bdd_and(contract->bdd, contract->packets, what);
}

static bdd_ref is(const struct contract *contract, enum field field, uint64_t value)
{
	return field_between(contract->prove, field, value, value);
}

static bdd_ref same(const struct contract *contract, bdd_ref left, bdd_ref right)
{
	return bdd_ite(contract->bdd, left, right, bdd_not(contract->bdd, right));
}

static bdd_ref any(const struct contract *contract, enum field field, const uint16_t *values, size_t count)
{
	bdd_ref result = BDD_FALSE;

	for (size_t i = 0; i < count; i++)
		result = bdd_or(contract->bdd, result, is(contract, field, values[i]));
	return result;
}

static bool matters(const struct contract *contract, enum field field)
{
	return contract->fields >> field & 1;
}

/* A number of the field's width, or the absent one. */
static void promise_width(struct contract *contract, enum field field)
{
	const struct field_info *info = &field_table[field];
	bdd_ref good;

	if (!info->size || info->size == 16)
		return;
	good = field_between(contract->prove, field, 0, u128_max(info->bits));
	if (info->presence == PRESENT_VALUE)
		good = bdd_or(contract->bdd, good, is(contract, field, info->absent));
	promise(contract, good);
}

static bdd_ref of_family(const struct contract *contract, enum packet_family family)
{
	return is(contract, FIELD_FAMILY, family);
}

static bdd_ref is_ip(const struct contract *contract)
{
	return bdd_or(contract->bdd, of_family(contract, FAMILY_IPV4), of_family(contract, FAMILY_IPV6));
}

/* Frames that pass by default are told by their header, so there are none where none is seen. */
static void promise_family(struct contract *contract)
{
	bdd_ref good = bdd_or(contract->bdd, is_ip(contract), of_family(contract, FAMILY_OTHER));

	if (hook_table[contract->prove->input->hook].frames)
		good = bdd_or(contract->bdd, good, of_family(contract, FAMILY_EXEMPT));
	promise(contract, good);
}

/* EtherTypes tell the family; STP is told by its address behind an 802.3 length. */
static void promise_link(struct contract *contract)
{
	static const uint16_t exempt_types[] = { 0x0806, 0x888e, 0x88cc };
	struct bdd *bdd = contract->bdd;
	bdd_ref exempt = any(contract, FIELD_ETH_TYPE, exempt_types, 3);
	bdd_ref length = field_between(contract->prove, FIELD_ETH_TYPE, 0, 1535);

	if (matters(contract, FIELD_ETH_DST))
		length = bdd_and(bdd, length, is(contract, FIELD_ETH_DST, 0x0180c2000000));
	promise(contract, same(contract, is(contract, FIELD_ETH_TYPE, 0x0800), of_family(contract, FAMILY_IPV4)));
	promise(contract, same(contract, is(contract, FIELD_ETH_TYPE, 0x86dd), of_family(contract, FAMILY_IPV6)));
	promise(contract, bdd_ite(bdd, exempt, of_family(contract, FAMILY_EXEMPT), BDD_TRUE));
	promise(contract, bdd_ite(bdd, of_family(contract, FAMILY_EXEMPT), bdd_or(bdd, exempt, length),
				  BDD_TRUE));
}

/* Where there is data of a transport protocol: not in later fragments. */
static bdd_ref carried(const struct contract *contract, bdd_ref protos)
{
	return bdd_and(contract->bdd, protos, bdd_not(contract->bdd, is(contract, FIELD_FRAGMENT, FRAGMENT_LATER)));
}

static void promise_transport(struct contract *contract)
{
	static const uint16_t with_ports[] = { 6, 17, 132, 136 };
	struct bdd *bdd = contract->bdd;
	bdd_ref icmp4 = bdd_and(bdd, of_family(contract, FAMILY_IPV4), is(contract, FIELD_PROTO, 1));
	bdd_ref icmp6 = bdd_and(bdd, of_family(contract, FAMILY_IPV6), is(contract, FIELD_PROTO, 58));
	bdd_ref ports = carried(contract, any(contract, FIELD_PROTO, with_ports, 4));
	bdd_ref flags = carried(contract, is(contract, FIELD_PROTO, 6));
	bdd_ref icmp = carried(contract, bdd_or(bdd, icmp4, icmp6));
	const struct {
		enum field field;
		bdd_ref there;
	} rows[] = {
		{ FIELD_SRC_PORT, ports },  { FIELD_DST_PORT, ports }, { FIELD_TCP_FLAGS, flags },
		{ FIELD_ICMP_TYPE, icmp }, { FIELD_ICMP_CODE, icmp },
	};

	promise(contract, same(contract, is(contract, FIELD_PROTO, ABSENT_PROTO), bdd_not(bdd, is_ip(contract))));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (matters(contract, rows[i].field))
			promise(contract, same(contract, rows[i].there,
					       field_present(contract->prove, rows[i].field)));
}

/* Members of families that the packet is not of are zero. */
static void promise_zeros(struct contract *contract)
{
	for (int field = 0; field < FIELD_COUNT; field++) {
		bdd_ref zero;

		if (!matters(contract, (enum field)field) || field_table[field].presence == PRESENT_VALUE ||
		    field_table[field].presence == PRESENT_ALWAYS)
			continue;
		zero = is(contract, (enum field)field, 0);
		if (field_table[field].form == FORM_IPV4) /* shares bytes with the other family */
			zero = bdd_or(contract->bdd, zero, of_family(contract, FAMILY_IPV6));
		if (field_table[field].form == FORM_IPV6)
			zero = bdd_or(contract->bdd, zero, of_family(contract, FAMILY_IPV4));
		promise(contract, bdd_or(contract->bdd, zero, field_present(contract->prove, (enum field)field)));
	}
}

static bdd_ref bits_zero(struct prove *prove, unsigned offset, unsigned size)
{
	bdd_ref set = BDD_FALSE;

	for (unsigned bit = offset * 8; bit < (offset + size) * 8; bit++)
		set = bdd_or(prove->bdd, set, bit_set(prove, (source_bit)(SOURCE_PACKET + bit)));
	return bdd_not(prove->bdd, set);
}

/* An IPv4 address fills the first 4 of 16 bytes. */
static void promise_ipv4_rest(struct contract *contract, enum field field)
{
	unsigned offset = field_table[field].offset;
	bdd_ref zero;

	if (!matters(contract, field))
		return;
	zero = bits_zero(contract->prove, offset + 4, 12);
	promise(contract, bdd_or(contract->bdd, zero, bdd_not(contract->bdd, of_family(contract, FAMILY_IPV4))));
}

/* What lives is found. */
static void promise_found(struct contract *contract, const struct atom *atom)
{
	struct atom found = *atom;

	found.lives = 0;
	promise(contract, bdd_ite(contract->bdd, atom_set(contract->prove, atom),
				  atom_set(contract->prove, &found), BDD_TRUE));
}

/* Sets hold nothing that is wider than their elements, so no absent value either. */
static void promise_lookups(struct contract *contract)
{
	struct prove *prove = contract->prove;

	for (uint32_t i = 0; i < prove->atoms.records.count && !prove_stopped(prove); i++) {
		const struct atom *atom = intern_at(&prove->atoms, i);

		promise(contract, bdd_ite(prove->bdd, atom_set(prove, atom), atom_possible(prove, atom), BDD_TRUE));
		if (atom->lives)
			promise_found(contract, atom);
	}
}

bdd_ref contract_packets(struct prove *prove, bool all_fields)
{
	const field_mask glue = FIELD_BIT(FIELD_FAMILY) | FIELD_BIT(FIELD_PROTO) | FIELD_BIT(FIELD_FRAGMENT);
	struct contract contract = { .prove = prove, .bdd = prove->bdd, .packets = BDD_TRUE };

	contract.fields = all_fields ? ~(field_mask)0 : prove->fields | glue;
	promise_family(&contract);
	for (int field = 0; field < FIELD_COUNT; field++)
		if (matters(&contract, (enum field)field))
			promise_width(&contract, (enum field)field);
	if (hook_table[prove->input->hook].frames && matters(&contract, FIELD_ETH_TYPE))
		promise_link(&contract);
	promise_transport(&contract);
	promise_zeros(&contract);
	promise_ipv4_rest(&contract, FIELD_IPV6_SRC);
	promise_ipv4_rest(&contract, FIELD_IPV6_DST);
	promise(&contract, field_between(prove, FIELD_FRAGMENT, 0, FRAGMENT_LATER));
	promise_lookups(&contract);
	return contract.packets;
}
