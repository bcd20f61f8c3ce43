/* SPDX-License-Identifier: GPL-2.0-only */
/* The object file: what libelf and libbpf read back from it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <gelf.h>

#include "emit/emit.h"
#include "random_plan.h"

static struct arena *arena;
static struct object object;
static struct random_plan random_one;

static int make(void *context)
{
	const struct code *code;

	random_diagram(&random_one, arena, *(uint64_t *)context, 200, 0);
	if (emit_code(arena, random_one.plan, diags_new(arena), &code))
		return -1;
	return emit_object(arena, random_one.plan, code, &object);
}

static int setup(void **state)
{
	uint64_t seed = 11;

	(void)state;
	arena = arena_new();
	return arena ? arena_run(arena, make, &seed) : -1;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static void test_sections(void **state)
{
	static const char *const wanted[] = { ".text", ".maps", ".BTF", ".BTF.ext", ".rel.text", ".symtab" };
	size_t names, found = 0;
	Elf *elf;

	(void)state;
	elf_version(EV_CURRENT);
	elf = elf_memory((char *)object.data, object.size);
	assert_non_null(elf);
	assert_int_equal(elf_getshdrstrndx(elf, &names), 0);
	for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
		GElf_Shdr header;

		assert_non_null(gelf_getshdr(section, &header));
		for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
			found += !strcmp(elf_strptr(elf, names, header.sh_name), wanted[i]);
	}
	assert_int_equal(found, sizeof wanted / sizeof wanted[0]);
	elf_end(elf);
}

static struct bpf_object *open_object(void)
{
	struct bpf_object *opened = bpf_object__open_mem(object.data, object.size, NULL);

	assert_non_null(opened);
	return opened;
}

/* struct packet as C has it. */
static void test_packet_type(void **state)
{
	struct bpf_object *opened = open_object();
	const struct btf *btf = bpf_object__btf(opened);
	int id = btf__find_by_name_kind(btf, "packet", BTF_KIND_STRUCT);
	const struct btf_type *type;
	uint32_t end = 0;

	(void)state;
	assert_true(id > 0);
	type = btf__type_by_id(btf, (uint32_t)id);
	assert_int_equal(type->size, sizeof(struct packet));
	for (int i = 0; i < btf_vlen(type); i++) {
		const struct btf_member *member = btf_members(type) + i;

		assert_int_equal(member->offset, end * 8); /* no holes, in order */
		end += (uint32_t)btf__resolve_size(btf, member->type);
	}
	assert_int_equal(end, sizeof(struct packet));
	bpf_object__close(opened);
}

static void test_maps(void **state)
{
	struct bpf_object *opened = open_object();

	(void)state;
	for (size_t i = 0; i < random_one.plan->set_count; i++) {
		const struct plan_set *set = &random_one.plan->sets[i];
		struct bpf_map *map = bpf_object__find_map_by_name(opened, set->map);

		if (!map && set->named < 0)
			continue;
		assert_non_null(map);
		assert_int_equal(bpf_map__type(map), set->lpm ? BPF_MAP_TYPE_LPM_TRIE : BPF_MAP_TYPE_HASH);
		assert_int_equal(bpf_map__value_size(map), sizeof(struct set_value));
		assert_int_equal(bpf_map__max_entries(map), set->max_elements);
		assert_int_equal(bpf_map__key_size(map), set->key == KEY_VALUE ? 8 :
				 (set->key == KEY_IPV4 ? 4 : 16) + (set->lpm ? 4 : 0));
	}
	bpf_object__close(opened);
}

/* The rules' lines, as the verifier log shows them. */
static void test_rule_text(void **state)
{
	struct bpf_object *opened = open_object();
	const struct btf *btf = bpf_object__btf(opened);

	(void)state;
	assert_true(btf__find_str((struct btf *)btf, "accept if tcp") > 0);
	assert_true(btf__find_str((struct btf *)btf, "policy test {") > 0);
	assert_true(btf__find_str((struct btf *)btf, "test.weir") > 0);
	bpf_object__close(opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packet_type, setup, teardown),
		cmocka_unit_test_setup_teardown(test_maps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rule_text, setup, teardown),
	};

	return cmocka_run_group_tests_name("emit/object", tests, NULL, NULL);
}
