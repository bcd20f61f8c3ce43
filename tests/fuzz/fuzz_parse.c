/* SPDX-License-Identifier: GPL-2.0-only */
/* libFuzzer target: the data planes' parser against the model's. Input: a hook, flags, a linear length, a packet. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/bpf/host_parse.h"

enum { PREFIX = 4, TAGGED = 1, IS_IPV6 = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good, const struct model_packet *in)
{
	if (good)
		return;
	packet_dump(in);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_packet in = { .user = ABSENT_OWNER, .group = ABSENT_OWNER };
	struct model_fields model;
	struct packet packet, fast;
	enum hook hook;
	size_t linear;
	int status;

	if (size < PREFIX)
		return 0;
	hook = data[0] % HOOK_COUNT;
	in.vlan_metadata = data[1] & TAGGED && hook_table[hook].frames && hook != HOOK_XDP;
	in.vlan_tci = data[2];
	in.ethertype = data[1] & IS_IPV6 ? ETHER_IPV6 : ETHER_IPV4;
	in.data = data + PREFIX;
	in.length = size - PREFIX;
	linear = data[3] < in.length ? data[3] : in.length;
	status = host_parse(hook, &in, in.length, false, &packet);
	model_parse(hook, &in, &model);
	check(status == (model.malformed ? PARSE_MALFORMED : PARSE_OK), &in);
	if (status == PARSE_OK)
		check(packet_differs(hook, &packet, &model) < 0, &in);
	if (host_parse(hook, &in, linear, true, &fast) == PARSE_OK) {
		fast.whole = 0;
		check(!memcmp(&fast, &packet, sizeof fast), &in);
	}
	return 0;
}
