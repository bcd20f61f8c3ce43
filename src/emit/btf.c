/* SPDX-License-Identifier: GPL-2.0-only */
/* BTF writer. In: types, children first; out: the bytes of .BTF (Documentation/bpf/btf.rst). */
#include "emit/btf.h"

#include <linux/btf.h>

void btf_begin(struct btf_builder *btf, struct arena *arena)
{
	*btf = (struct btf_builder){ .types.arena = arena, .strings.arena = arena };
	bytes_add(&btf->strings, "", 1);
}

uint32_t btf_string(struct btf_builder *btf, const char *text, size_t length)
{
	return length ? bytes_add_string(&btf->strings, text, length) : 0;
}

static uint32_t name_of(struct btf_builder *btf, const char *name)
{
	return name ? btf_string(btf, name, strlen(name)) : 0;
}

/* The common header of a type; `size_or_type` as its kind has it. */
static uint32_t add_type(struct btf_builder *btf, const char *name, uint32_t kind, uint32_t vlen,
			 uint32_t size_or_type)
{
	struct btf_type type = { .name_off = name_of(btf, name), .info = kind << 24 | vlen, .size = size_or_type };

	bytes_add(&btf->types, &type, sizeof type);
	return ++btf->count;
}

uint32_t btf_int(struct btf_builder *btf, const char *name, uint32_t size, bool is_signed)
{
	uint32_t id = add_type(btf, name, BTF_KIND_INT, 0, size);

	bytes_add_u32(&btf->types, (is_signed ? BTF_INT_SIGNED << 24 : 0) | size * 8);
	return id;
}

uint32_t btf_pointer(struct btf_builder *btf, uint32_t to)
{
	return add_type(btf, NULL, BTF_KIND_PTR, 0, to);
}

uint32_t btf_typedef(struct btf_builder *btf, const char *name, uint32_t to)
{
	return add_type(btf, name, BTF_KIND_TYPEDEF, 0, to);
}

uint32_t btf_array(struct btf_builder *btf, uint32_t element, uint32_t index, uint32_t count)
{
	struct btf_array array = { .type = element, .index_type = index, .nelems = count };
	uint32_t id = add_type(btf, NULL, BTF_KIND_ARRAY, 0, 0);

	bytes_add(&btf->types, &array, sizeof array);
	return id;
}

uint32_t btf_struct(struct btf_builder *btf, const char *name, bool is_union, uint32_t size,
		    const struct btf_part *members, uint32_t count)
{
	uint32_t id = add_type(btf, name, is_union ? BTF_KIND_UNION : BTF_KIND_STRUCT, count, size);

	for (uint32_t i = 0; i < count; i++) {
		bytes_add_u32(&btf->types, name_of(btf, members[i].name));
		bytes_add_u32(&btf->types, members[i].type);
		bytes_add_u32(&btf->types, members[i].offset * 8);
	}
	return id;
}

uint32_t btf_prototype(struct btf_builder *btf, uint32_t result, const struct btf_part *arguments, uint32_t count)
{
	uint32_t id = add_type(btf, NULL, BTF_KIND_FUNC_PROTO, count, result);

	for (uint32_t i = 0; i < count; i++) {
		bytes_add_u32(&btf->types, name_of(btf, arguments[i].name));
		bytes_add_u32(&btf->types, arguments[i].type);
	}
	return id;
}

uint32_t btf_function(struct btf_builder *btf, const char *name, uint32_t prototype)
{
	return add_type(btf, name, BTF_KIND_FUNC, BTF_FUNC_GLOBAL, prototype);
}

uint32_t btf_extern_function(struct btf_builder *btf, const char *name, uint32_t prototype)
{
	return add_type(btf, name, BTF_KIND_FUNC, BTF_FUNC_EXTERN, prototype);
}

uint32_t btf_variable(struct btf_builder *btf, const char *name, uint32_t type)
{
	uint32_t id = add_type(btf, name, BTF_KIND_VAR, 0, type);

	bytes_add_u32(&btf->types, BTF_VAR_GLOBAL_ALLOCATED);
	return id;
}

uint32_t btf_section(struct btf_builder *btf, const char *name, const struct btf_part *variables, uint32_t count,
		     uint32_t variable_size)
{
	uint32_t id = add_type(btf, name, BTF_KIND_DATASEC, count, count * variable_size);

	for (uint32_t i = 0; i < count; i++) {
		struct btf_var_secinfo info = { .type = variables[i].type, .offset = variables[i].offset,
						.size = variable_size };

		bytes_add(&btf->types, &info, sizeof info);
	}
	return id;
}

struct bytes btf_finish(struct btf_builder *btf)
{
	struct bytes out = { .arena = btf->types.arena };
	struct btf_header header = {
		.magic = BTF_MAGIC, .version = BTF_VERSION, .hdr_len = sizeof header,
		.type_len = (uint32_t)btf->types.size,
		.str_off = (uint32_t)btf->types.size, .str_len = (uint32_t)btf->strings.size,
	};

	bytes_add(&out, &header, sizeof header);
	bytes_add(&out, btf->types.data, btf->types.size);
	bytes_add(&out, btf->strings.data, btf->strings.size);
	return out;
}
