/* SPDX-License-Identifier: GPL-2.0-only */
/* Comparisons with tunables. In: a comparison and the tunable's value; out: the values, or the packets, that it holds for. */
#include "ir/ir.h"

const char *const relation_names[RELATION_COUNT] = { "below", "equal", "above" };

size_t comparison_ranges(const struct comparison *comparison, uint64_t value, struct range *ret_ranges)
{
	u128 max = u128_max(field_table[comparison->field].bits);
	const struct range parts[] = { { 0, (u128)value - 1 }, { value, value }, { (u128)value + 1, max } };
	const bool empty[] = { !value, false, value == max };
	size_t count = 0;

	for (size_t i = 0; i < 3; i++) {
		if (!(comparison->relation >> i & 1) || empty[i])
			continue;
		if (count && ret_ranges[count - 1].hi + 1 == parts[i].lo)
			ret_ranges[count - 1].hi = parts[i].hi;
		else
			ret_ranges[count++] = parts[i];
	}
	return count;
}

static uint64_t field_value(const struct packet *packet, enum field field)
{
	const void *at = (const char *)packet + field_table[field].offset;

	switch (field_table[field].size) {
	case 1:
		return *(const uint8_t *)at;
	case 2:
		return *(const uint16_t *)at;
	case 4:
		return *(const uint32_t *)at;
	default:
		return *(const uint64_t *)at;
	}
}

uint32_t comparisons_hold(const struct comparison *comparisons, size_t count, const struct tunable *tunables,
			  const struct packet *packet)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t value = field_value(packet, comparisons[i].field);
		struct range ranges[2];
		size_t range_count = comparison_ranges(&comparisons[i], tunables[comparisons[i].tunable].value, ranges);

		for (size_t r = 0; r < range_count; r++)
			if (value >= ranges[r].lo && value <= ranges[r].hi)
				bits |= (uint32_t)1 << i;
	}
	return bits;
}
