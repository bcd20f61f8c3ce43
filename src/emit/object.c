/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Code to a BPF ELF object. In: a plan and its code; out: a relocatable file for libbpf's linker. Cannot fail.
 *
 * Everything is in .text, as of any C file with only helpers in it; calls between functions and loads of map
 * addresses are relocated by symbol. Line info names the rule that an instruction decides for, so that the kernel's
 * verifier log and `bpftool prog dump` show the policy's own text.
 */
#include <stddef.h>

#include "emit/btf.h"
#include "emit/elf_writer.h"
#include "emit/emit.h"
#include "packet/packet.h"

/* Relocation types of the BPF ELF ABI. */
enum { RELOCATE_MAP = 1 /* R_BPF_64_64 */, RELOCATE_CALL = 10 /* R_BPF_64_32 */ };

/* BTF types that the object uses more than once. */
struct types {
	uint32_t int_;
	uint32_t u8, u16, u32, u64;
	uint32_t one_argument, two_arguments; /* prototypes: (packet), (packet, entry) */
	uint32_t packet; /* a pointer to one */
	uint32_t key4, key6, prefix4, prefix6, value; /* of sets */
};

struct writer {
	struct arena *arena;
	const struct plan *plan;
	const struct code *code;
	struct elf_writer elf;
	struct btf_builder btf;
	struct types types;
	uint32_t *function_types;
	uint32_t maps_section;
	uint32_t *map_symbols; /* for each set that the code uses: its symbol; 0: not used */
	uint32_t text_name;    /* ".text" in BTF's strings */
	uint32_t lives_symbol; /* element_lives() */
};

/* --- types --------------------------------------------------------------------------------------- */

#define MEMBER(member) { #member, sizeof(((struct packet *)0)->member), offsetof(struct packet, member) }

static const struct packet_member {
	const char *name;
	uint8_t size;
	uint8_t offset;
} packet_members[] = {
	MEMBER(src_lo), MEMBER(dst_lo), MEMBER(eth_src), MEMBER(eth_dst), MEMBER(cgroup), MEMBER(src_port),
	MEMBER(dst_port), MEMBER(length), MEMBER(in_iface), MEMBER(out_iface), MEMBER(mark), MEMBER(user),
	MEMBER(group), MEMBER(eth_type), MEMBER(vlan), MEMBER(proto), MEMBER(tcp_flags), MEMBER(icmp_type),
	MEMBER(icmp_code), MEMBER(family), MEMBER(ttl), MEMBER(dscp), MEMBER(ecn), MEMBER(fragment),
	MEMBER(whole), MEMBER(flow), MEMBER(knocked), MEMBER(program), MEMBER(tree), MEMBER(tuned), MEMBER(resume),
	MEMBER(transport), MEMBER(end),
};

enum { PACKET_MEMBERS = sizeof packet_members / sizeof packet_members[0] };

static uint32_t unsigned_type(struct btf_builder *btf, const char *name, const char *c_name, uint32_t size)
{
	return btf_typedef(btf, name, btf_int(btf, c_name, size, false));
}

static void add_scalars(struct writer *writer)
{
	struct btf_builder *btf = &writer->btf;

	writer->types.int_ = btf_int(btf, "int", 4, true);
	writer->types.u8 = unsigned_type(btf, "__u8", "unsigned char", 1);
	writer->types.u16 = unsigned_type(btf, "__u16", "unsigned short", 2);
	writer->types.u32 = unsigned_type(btf, "__u32", "unsigned int", 4);
	writer->types.u64 = unsigned_type(btf, "__u64", "unsigned long long", 8);
}

static uint32_t address_union(struct writer *writer, const char *hi, const char *v4)
{
	struct btf_part parts[] = { { hi, writer->types.u64, 0 }, { v4, writer->types.u32, 0 } };

	return btf_struct(&writer->btf, NULL, true, 8, parts, 2);
}

static uint32_t member_type(struct writer *writer, const struct packet_member *member)
{
	switch (member->size) {
	case 1:
		return writer->types.u8;
	case 2:
		return writer->types.u16;
	case 4:
		return writer->types.u32;
	case 8:
		return writer->types.u64;
	default:
		return btf_array(&writer->btf, writer->types.u64, writer->types.u32, member->size / 8);
	}
}

/* struct packet in full: the verifier takes the argument's size from it, and bpftool its names. */
static uint32_t add_packet(struct writer *writer)
{
	struct btf_part parts[PACKET_MEMBERS + 2];
	uint32_t count = 0;

	parts[count++] = (struct btf_part){ NULL, address_union(writer, "src_hi", "src4"),
					    offsetof(struct packet, src_hi) };
	for (uint32_t i = 0; i < PACKET_MEMBERS; i++) {
		if (packet_members[i].offset == offsetof(struct packet, dst_lo))
			parts[count++] = (struct btf_part){ NULL, address_union(writer, "dst_hi", "dst4"),
							    offsetof(struct packet, dst_hi) };
		parts[count++] = (struct btf_part){ packet_members[i].name, member_type(writer, &packet_members[i]),
						    packet_members[i].offset };
	}
	return btf_struct(&writer->btf, "packet", false, sizeof(struct packet), parts, count);
}

static void add_prototypes(struct writer *writer)
{
	uint32_t pointer = writer->types.packet = btf_pointer(&writer->btf, add_packet(writer));
	struct btf_part arguments[] = { { "packet", pointer, 0 }, { "entry", writer->types.u32, 0 } };

	writer->types.one_argument = btf_prototype(&writer->btf, writer->types.int_, arguments, 1);
	writer->types.two_arguments = btf_prototype(&writer->btf, writer->types.int_, arguments, 2);
}

static uint32_t prefix_type(struct writer *writer, const char *name, uint32_t octets)
{
	uint32_t address = btf_array(&writer->btf, writer->types.u8, writer->types.u32, octets);
	struct btf_part parts[] = { { "length", writer->types.u32, 0 }, { "address", address, 4 } };

	return btf_struct(&writer->btf, name, false, 4 + octets, parts, 2);
}

static void add_set_types(struct writer *writer)
{
	struct types *types = &writer->types;
	struct btf_part halves[] = { { "hi", types->u64, 0 }, { "lo", types->u64, 8 } };
	struct btf_part value[] = { { "expires_ns", types->u64, offsetof(struct set_value, expires_ns) },
				    { "origin", types->u32, offsetof(struct set_value, origin) },
				    { "reserved", types->u32, sizeof(struct set_value) - 4 } };

	types->key4 = types->u32;
	types->key6 = btf_struct(&writer->btf, "address6_key", false, 16, halves, 2);
	types->prefix4 = prefix_type(writer, "prefix4_key", 4);
	types->prefix6 = prefix_type(writer, "prefix6_key", 16);
	types->value = btf_struct(&writer->btf, "set_value", false, sizeof(struct set_value), value, 3);
}

/* --- functions ----------------------------------------------------------------------------------- */

static struct bytes text_of(struct writer *writer)
{
	struct bytes text = { .arena = writer->arena };

	bytes_add(&text, writer->code->insns, writer->code->insn_count * sizeof *writer->code->insns);
	return text;
}

static uint32_t add_functions(struct writer *writer)
{
	const struct code *code = writer->code;
	const size_t insn = sizeof *code->insns;
	uint32_t text = elf_writer_section(&writer->elf, ".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR,
					   text_of(writer));

	writer->function_types = ARENA_ARRAY(writer->arena, uint32_t, code->function_count);
	for (size_t i = 0; i < code->function_count; i++) {
		const struct code_function *function = &code->functions[i];

		writer->function_types[i] = btf_function(&writer->btf, function->name,
							 function->arguments == 2 ?
							 writer->types.two_arguments :
							 writer->types.one_argument);
		elf_writer_symbol(&writer->elf, function->name, STT_FUNC, text, function->first * insn,
			   function->count * insn);
	}
	return text;
}

/* --- maps ---------------------------------------------------------------------------------------- */

/* A pointer to an array of `number` ints: how BTF-defined maps write a number. */
static uint32_t number_type(struct writer *writer, uint32_t number)
{
	return btf_pointer(&writer->btf, btf_array(&writer->btf, writer->types.int_, writer->types.u32, number));
}

static uint32_t key_type(const struct types *types, const struct plan_set *set)
{
	if (set->key == KEY_VALUE)
		return types->u64;
	if (set->lpm)
		return set->key == KEY_IPV4 ? types->prefix4 : types->prefix6;
	return set->key == KEY_IPV4 ? types->key4 : types->key6;
}

enum { MAP_MEMBERS = 5, MAP_BYTES = MAP_MEMBERS * 8 };

static uint32_t map_type(struct writer *writer, const struct plan_set *set)
{
	struct btf_part parts[MAP_MEMBERS] = {
		{ "type", number_type(writer, set->lpm ? BPF_MAP_TYPE_LPM_TRIE : BPF_MAP_TYPE_HASH), 0 },
		{ "key", btf_pointer(&writer->btf, key_type(&writer->types, set)), 8 },
		{ "value", btf_pointer(&writer->btf, writer->types.value), 16 },
		{ "max_entries", number_type(writer, set->max_elements ? set->max_elements : 1), 24 },
		{ "map_flags", number_type(writer, set->lpm ? BPF_F_NO_PREALLOC : 0), 32 },
	};

	return btf_struct(&writer->btf, NULL, false, MAP_BYTES, parts, MAP_MEMBERS);
}

static bool *used_sets(struct writer *writer)
{
	bool *used = ARENA_ARRAY(writer->arena, bool, writer->plan->set_count);

	for (size_t i = 0; i < writer->code->map_count; i++)
		used[writer->code->maps[i].set] = true;
	return used;
}

/* Named sets are always there, for `weir set`, also where no rule of this hook looks at them. */
static void add_maps(struct writer *writer)
{
	const struct plan *plan = writer->plan;
	const bool *used = used_sets(writer);
	struct btf_part *variables = ARENA_ARRAY(writer->arena, struct btf_part, plan->set_count);
	struct bytes contents = { .arena = writer->arena };
	uint32_t count = 0;

	writer->map_symbols = ARENA_ARRAY(writer->arena, uint32_t, plan->set_count);
	if (!plan->set_count)
		return;
	add_set_types(writer);
	writer->maps_section = writer->elf.section_count;
	for (size_t i = 0; i < plan->set_count; i++) {
		const struct plan_set *set = &plan->sets[i];
		uint32_t at;

		if (!used[i] && set->named < 0)
			continue;
		at = bytes_add(&contents, NULL, MAP_BYTES);
		variables[count++] = (struct btf_part){
			NULL, btf_variable(&writer->btf, set->map, map_type(writer, set)), at };
		writer->map_symbols[i] = elf_writer_symbol(&writer->elf, set->map, STT_OBJECT, writer->maps_section, at,
						    MAP_BYTES);
	}
	if (!count)
		return;
	btf_section(&writer->btf, ".maps", variables, count, MAP_BYTES);
	elf_writer_section(&writer->elf, ".maps", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, contents);
}

/* The plane's function that the code asks about elements of sets with timeouts. */
static void add_lives(struct writer *writer)
{
	const struct code *code = writer->code;
	struct btf_part arguments[] = { { "element", 0, 0 }, { "packet", writer->types.packet, 0 },
					{ "set", writer->types.u32, 0 }, { "field", writer->types.u32, 0 } };
	bool used = false;

	for (size_t i = 0; i < code->call_count; i++)
		used |= code->calls[i].function == CALL_LIVES;
	if (!used)
		return;
	arguments[0].type = btf_pointer(&writer->btf, writer->types.value);
	btf_extern_function(&writer->btf, "element_lives",
			    btf_prototype(&writer->btf, writer->types.int_, arguments, 4));
	writer->lives_symbol = elf_writer_symbol(&writer->elf, "element_lives", STT_NOTYPE, SHN_UNDEF, 0, 0);
}

/* --- line info ----------------------------------------------------------------------------------- */

/* Where the text of each rule is, and its strings once they are in the BTF. */
struct place {
	struct span span;
	uint32_t line;
	uint32_t column;
	uint32_t text;   /* string offsets */
	uint32_t file;
};

/* Remembers the last line found, since counting lines from the start for each rule would be quadratic. */
struct line_cursor {
	const struct source *source;
	size_t offset;
	uint32_t line;
	uint32_t file;
};

/* places[0]: the policy, places[n]: rule n. */
static struct place *rule_places(struct writer *writer)
{
	const struct ruleset *ruleset = writer->plan->ruleset;
	struct place *places = ARENA_ARRAY(writer->arena, struct place, (size_t)ruleset->rule_count + 1);

	places[0].span = ruleset->span;
	for (size_t c = 0; c < ruleset->chain_count; c++) {
		const struct chain *chain = &ruleset->chains[c];

		for (size_t r = 0; r < chain->rule_count; r++)
			if (chain->rules[r].number <= ruleset->rule_count)
				places[chain->rules[r].number].span = chain->rules[r].span;
	}
	return places;
}

static void move_cursor(struct writer *writer, struct line_cursor *cursor, const struct span *span)
{
	const struct source *source = span->source;
	size_t offset = span->offset < source->length ? span->offset : source->length;

	if (cursor->source != source)
		cursor->file = btf_string(&writer->btf, source->name, strlen(source->name));
	if (cursor->source != source || offset < cursor->offset) {
		cursor->source = source;
		cursor->offset = 0;
		cursor->line = 1;
	}
	for (; cursor->offset < offset; cursor->offset++)
		cursor->line += source->text[cursor->offset] == '\n';
}

enum { COLUMN_MAX = 1023, LINE_MAX_IN_INFO = (1 << 22) - 1 };

static void find_place(struct writer *writer, struct line_cursor *cursor, struct place *place)
{
	const char *text;
	size_t length;
	size_t column;

	place->line = 1;
	if (!place->span.source)
		return;
	move_cursor(writer, cursor, &place->span);
	text = source_line(place->span.source, place->span.offset, &length);
	column = (size_t)(place->span.source->text + cursor->offset - text) + 1;
	while (length && (*text == ' ' || *text == '\t')) {
		text++;
		length--;
	}
	place->line = cursor->line < LINE_MAX_IN_INFO ? cursor->line : LINE_MAX_IN_INFO;
	place->column = column < COLUMN_MAX ? (uint32_t)column : COLUMN_MAX;
	place->file = cursor->file;
	place->text = btf_string(&writer->btf, text, length);
}

/* Looks the rules that the code names up, in the order of the text: the cursor hardly ever goes back. */
static struct place *find_places(struct writer *writer)
{
	const struct code *code = writer->code;
	const uint32_t rule_count = writer->plan->ruleset->rule_count;
	struct place *places = rule_places(writer);
	bool *named = ARENA_ARRAY(writer->arena, bool, (size_t)rule_count + 1);
	struct line_cursor cursor = { .source = NULL };

	named[0] = true;
	for (size_t i = 0; i < code->insn_count; i++)
		named[code->rules[i]] = true;
	for (uint32_t rule = 0; rule <= rule_count; rule++)
		if (named[rule])
			find_place(writer, &cursor, &places[rule]);
	return places;
}

/* One record where a function begins and one wherever the rule changes; never on half a wide instruction. */
static struct bytes line_records(struct writer *writer, uint32_t *ret_count)
{
	const struct code *code = writer->code;
	const struct place *places = find_places(writer);
	struct bytes records = { .arena = writer->arena };
	size_t function = 0;
	uint32_t last = 0;

	*ret_count = 0;
	for (uint32_t i = 0; i < code->insn_count; i++) {
		bool begins = function < code->function_count && code->functions[function].first == i;
		const struct place *place = &places[code->rules[i]];

		function += begins;
		if (!begins && code->rules[i] == last)
			continue;
		last = code->rules[i];
		bytes_add_u32(&records, i * (uint32_t)sizeof *code->insns);
		bytes_add_u32(&records, place->file);
		bytes_add_u32(&records, place->text);
		bytes_add_u32(&records, place->line << 10 | place->column);
		++*ret_count;
	}
	return records;
}

static struct bytes function_records(struct writer *writer)
{
	const struct code *code = writer->code;
	struct bytes records = { .arena = writer->arena };

	for (size_t i = 0; i < code->function_count; i++) {
		bytes_add_u32(&records, code->functions[i].first * (uint32_t)sizeof *code->insns);
		bytes_add_u32(&records, writer->function_types[i]);
	}
	return records;
}

/* One kind of info for .text: record size, section name, number of records, records. */
static struct bytes info_section(struct writer *writer, uint32_t record, uint32_t count, struct bytes records)
{
	struct bytes out = { .arena = writer->arena };

	bytes_add_u32(&out, record);
	bytes_add_u32(&out, writer->text_name);
	bytes_add_u32(&out, count);
	bytes_add(&out, records.data, records.size);
	return out;
}

/* struct btf_ext_header of libbpf, without the CO-RE part. */
struct info_header {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t header_bytes;
	uint32_t functions_offset, functions_bytes;
	uint32_t lines_offset, lines_bytes;
};

enum { FUNCTION_RECORD = 8, LINE_RECORD = 16, INFO_MAGIC = 0xeb9f };

static struct bytes info_of(struct writer *writer)
{
	uint32_t line_count;
	struct bytes line_bytes = line_records(writer, &line_count);
	struct bytes lines = info_section(writer, LINE_RECORD, line_count, line_bytes);
	struct bytes functions = info_section(writer, FUNCTION_RECORD, (uint32_t)writer->code->function_count,
					      function_records(writer));
	struct info_header header = {
		.magic = INFO_MAGIC, .version = 1, .header_bytes = sizeof header,
		.functions_bytes = (uint32_t)functions.size,
		.lines_offset = (uint32_t)functions.size, .lines_bytes = (uint32_t)lines.size,
	};
	struct bytes out = { .arena = writer->arena };

	bytes_add(&out, &header, sizeof header);
	bytes_add(&out, functions.data, functions.size);
	bytes_add(&out, lines.data, lines.size);
	return out;
}

/* --- relocations and the whole ------------------------------------------------------------------- */

/* Function i is symbol i + 1: they are the first that were added. */
static struct bytes relocations_of(struct writer *writer)
{
	const struct code *code = writer->code;
	const size_t insn = sizeof *code->insns;
	struct bytes out = { .arena = writer->arena };

	for (size_t i = 0; i < code->map_count; i++)
		elf_writer_relocation(&out, code->maps[i].insn * insn, writer->map_symbols[code->maps[i].set],
			       RELOCATE_MAP);
	for (size_t i = 0; i < code->call_count; i++)
		elf_writer_relocation(&out, code->calls[i].insn * insn,
				      code->calls[i].function == CALL_LIVES ? writer->lives_symbol :
									      code->calls[i].function + 1,
				      RELOCATE_CALL);
	return out;
}

int emit_object(struct arena *arena, const struct plan *plan, const struct code *code, struct object *ret_object)
{
	struct writer writer = { .arena = arena, .plan = plan, .code = code };
	struct bytes info, file;
	uint32_t text;

	elf_writer_begin(&writer.elf, arena);
	btf_begin(&writer.btf, arena);
	writer.text_name = btf_string(&writer.btf, ".text", 5);
	add_scalars(&writer);
	add_prototypes(&writer);
	text = add_functions(&writer);
	add_maps(&writer);
	add_lives(&writer);
	info = info_of(&writer); /* adds strings to the BTF */
	elf_writer_section(&writer.elf, ".BTF", SHT_PROGBITS, 0, btf_finish(&writer.btf));
	elf_writer_section(&writer.elf, ".BTF.ext", SHT_PROGBITS, 0, info);
	elf_writer_relocate(&writer.elf, ".rel.text", text, relocations_of(&writer));
	file = elf_writer_finish(&writer.elf);
	ret_object->data = file.data;
	ret_object->size = file.size;
	return 0;
}
