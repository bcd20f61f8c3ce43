/* SPDX-License-Identifier: GPL-2.0-only */
/* The data planes' parser on the host, and its comparison with the model's. For tests and the fuzzer. */
#ifndef WEIR_TESTS_HOST_PARSE_H
#define WEIR_TESTS_HOST_PARSE_H

#include <stdio.h>
#include <string.h>

#include "ir/model.h"

struct host_source {
	const unsigned char *data;
	size_t length;
};

typedef struct host_source parse_source;

static inline int source_copy(parse_source *source, __u32 offset, void *buffer, __u32 size)
{
	if (offset > source->length || size > source->length - offset)
		return -1;
	memcpy(buffer, source->data + offset, size);
	return 0;
}

#include "bpf/parse.h"

#define NEEDS_ALL (~(field_mask)0)

/* What a plane does around parse_frame() and parse_network(); `linear` bytes can be read in place. */
static inline int host_parse(enum hook hook, const struct model_packet *in, size_t linear, bool fast,
			     struct packet *ret_packet)
{
	struct host_source source = { in->data, in->length };
	struct view view = { &source, in->data, in->data + linear, (__u32)in->length, NEEDS_ALL, fast };

	packet_clear(ret_packet);
	ret_packet->in_iface = in->in_iface;
	ret_packet->out_iface = in->out_iface;
	ret_packet->flow = in->flow;
	ret_packet->mark = in->mark;
	ret_packet->user = in->user;
	ret_packet->group = in->group;
	ret_packet->program = in->program;
	ret_packet->tree = in->tree;
	memcpy(ret_packet->cgroup, in->cgroup, sizeof ret_packet->cgroup);
	if (!hook_table[hook].frames)
		return parse_network(&view, ret_packet, RAW16(in->ethertype), 0, NULL);
	if (in->vlan_metadata)
		ret_packet->vlan = in->vlan_tci & 0xfff;
	return parse_frame(&view, ret_packet, in->vlan_metadata);
}

static inline u128 packet_value(const struct packet *packet, enum field field)
{
	const unsigned char *at = (const unsigned char *)packet + field_table[field].offset;
	uint64_t half[2] = { 0, 0 };
	uint32_t word;
	uint16_t pair;

	switch (field_table[field].size) {
	case 1:
		return *at;
	case 2:
		memcpy(&pair, at, 2);
		return pair;
	case 4:
		memcpy(&word, at, 4);
		return word;
	case 8:
		memcpy(half, at, 8);
		return half[0];
	}
	memcpy(half, at, 16);
	return u128_make(half[0], half[1]);
}

static inline bool packet_has(const struct packet *packet, enum field field)
{
	switch (field_table[field].presence) {
	case PRESENT_ALWAYS:
		return true;
	case PRESENT_IP:
		return packet->family == FAMILY_IPV4 || packet->family == FAMILY_IPV6;
	case PRESENT_IPV4:
		return packet->family == FAMILY_IPV4;
	case PRESENT_IPV6:
		return packet->family == FAMILY_IPV6;
	case PRESENT_VALUE:
		break;
	}
	return packet_value(packet, field) != field_table[field].absent;
}

/* The first field in which the two differ, or -1. A field that the hook does not see is not compared. */
static inline int packet_differs(enum hook hook, const struct packet *packet, const struct model_fields *model)
{
	for (int field = 0; field < FIELD_COUNT; field++) {
		if (!(field_table[field].hooks & HOOK_BIT(hook)) || field == FIELD_DIRECTION ||
		    field == FIELD_KNOCKED) /* not the parser's */
			continue;
		if (packet_has(packet, field) != model->has[field])
			return field;
		if (model->has[field] && packet_value(packet, field) != model->value[field])
			return field;
	}
	return -1;
}

static inline void packet_dump(const struct model_packet *packet)
{
	fprintf(stderr, "# %zu bytes, type %#x, tag %d:", packet->length, packet->ethertype, packet->vlan_metadata);
	for (size_t i = 0; i < packet->length && i < 256; i++)
		fprintf(stderr, "%s%02x", i % 2 ? "" : " ", packet->data[i]);
	fprintf(stderr, "\n");
}

#endif
