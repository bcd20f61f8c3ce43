/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BTF: the types of the emitted object. Types are numbered from 1 in the order of their adding; 0 is void. Nothing
 * fails (the arena unwinds).
 */
#ifndef WEIR_EMIT_BTF_H
#define WEIR_EMIT_BTF_H

#include <stdbool.h>

#include "emit/bytes.h"

struct btf_builder {
	struct bytes types;
	struct bytes strings; /* starts with the empty string */
	uint32_t count;       /* of types */
};

struct btf_part {
	const char *name; /* NULL: anonymous */
	uint32_t type;
	uint32_t offset; /* in bytes */
};

void btf_begin(struct btf_builder *btf, struct arena *arena);
uint32_t btf_string(struct btf_builder *btf, const char *text, size_t length);

uint32_t btf_int(struct btf_builder *btf, const char *name, uint32_t size, bool is_signed);
uint32_t btf_pointer(struct btf_builder *btf, uint32_t to);
uint32_t btf_typedef(struct btf_builder *btf, const char *name, uint32_t to);
uint32_t btf_array(struct btf_builder *btf, uint32_t element, uint32_t index, uint32_t count);
uint32_t btf_struct(struct btf_builder *btf, const char *name, bool is_union, uint32_t size,
		    const struct btf_part *members, uint32_t count);
/* `arguments`: name and type of each. */
uint32_t btf_prototype(struct btf_builder *btf, uint32_t result, const struct btf_part *arguments, uint32_t count);
uint32_t btf_function(struct btf_builder *btf, const char *name, uint32_t prototype);
/* One that another object has. */
uint32_t btf_extern_function(struct btf_builder *btf, const char *name, uint32_t prototype);
uint32_t btf_variable(struct btf_builder *btf, const char *name, uint32_t type);
/* `variables`: type (of the BTF variable) and offset of each, all `variable_size` bytes long. */
uint32_t btf_section(struct btf_builder *btf, const char *name, const struct btf_part *variables, uint32_t count,
		     uint32_t variable_size);

/* The .BTF section. */
struct bytes btf_finish(struct btf_builder *btf);

#endif
