/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reads an object as the loader will see it: code, functions, which map or function an instruction means. In: bytes
 * that nobody vouches for; out: an image. Anything unusual stops the proof.
 */
#include <elf.h>
#include <string.h>

#include "prove/work.h"

enum { RELOCATE_MAP = 1 /* R_BPF_64_64 */, RELOCATE_CALL = 10 /* R_BPF_64_32 */, INSN_BYTES = 8 };

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { ELF_DATA = ELFDATA2LSB };
#else
enum { ELF_DATA = ELFDATA2MSB };
#endif

struct reader {
	struct prove *prove;
	struct image *image;
	const unsigned char *data;
	size_t size;
	Elf64_Ehdr header;
	Elf64_Shdr text, symbols, strings, relocations;
	uint32_t text_section;
	struct image_function *functions;
	uint32_t *function_of_symbol; /* index + 1 */
};

static bool inside(const struct reader *reader, uint64_t offset, uint64_t size)
{
	return offset <= reader->size && size <= reader->size - offset;
}

static const char *string_at(const struct reader *reader, const Elf64_Shdr *table, uint32_t at)
{
	const char *text = (const char *)reader->data + table->sh_offset + at;

	if (at >= table->sh_size || !memchr(text, 0, table->sh_size - at))
		return "";
	return text;
}

static bool read_section(const struct reader *reader, uint32_t number, Elf64_Shdr *ret_section)
{
	uint64_t at = reader->header.e_shoff + (uint64_t)number * sizeof *ret_section;

	if (number >= reader->header.e_shnum || !inside(reader, at, sizeof *ret_section))
		return false;
	memcpy(ret_section, reader->data + at, sizeof *ret_section);
	return ret_section->sh_type == SHT_NOBITS ||
	       inside(reader, ret_section->sh_offset, ret_section->sh_size);
}

static bool read_header(struct reader *reader)
{
	if (reader->size < sizeof reader->header)
		return false;
	memcpy(&reader->header, reader->data, sizeof reader->header);
	return !memcmp(reader->header.e_ident, ELFMAG, SELFMAG) && reader->header.e_ident[EI_CLASS] == ELFCLASS64 &&
	       reader->header.e_ident[EI_DATA] == ELF_DATA && reader->header.e_type == ET_REL &&
	       reader->header.e_shentsize == sizeof(Elf64_Shdr);
}

/* One of each kind: more code than .text would mean that something else runs. */
static bool find_sections(struct reader *reader)
{
	unsigned codes = 0, symbols = 0, relocations = 0;

	for (uint32_t i = 1; i < reader->header.e_shnum; i++) {
		Elf64_Shdr section;

		if (!read_section(reader, i, &section))
			return false;
		if (section.sh_flags & SHF_EXECINSTR) {
			reader->text = section;
			reader->text_section = i;
			codes++;
		} else if (section.sh_type == SHT_SYMTAB) {
			reader->symbols = section;
			symbols++;
		}
	}
	for (uint32_t i = 1; i < reader->header.e_shnum; i++) {
		Elf64_Shdr section;

		if (!read_section(reader, i, &section) || section.sh_type == SHT_RELA)
			return false;
		if (section.sh_type != SHT_REL || section.sh_info != reader->text_section)
			continue;
		reader->relocations = section;
		relocations++;
	}
	return codes == 1 && symbols == 1 && relocations <= 1 && reader->text.sh_size % INSN_BYTES == 0 &&
	       read_section(reader, reader->symbols.sh_link, &reader->strings);
}

static size_t symbol_count(const struct reader *reader)
{
	return reader->symbols.sh_size / sizeof(Elf64_Sym);
}

static Elf64_Sym symbol_at(const struct reader *reader, size_t number)
{
	Elf64_Sym symbol;

	memcpy(&symbol, reader->data + reader->symbols.sh_offset + number * sizeof symbol, sizeof symbol);
	return symbol;
}

static bool read_functions(struct reader *reader)
{
	struct image *image = reader->image;
	size_t count = symbol_count(reader);

	reader->functions = ARENA_ARRAY(reader->prove->arena, struct image_function, count);
	reader->function_of_symbol = ARENA_ARRAY(reader->prove->arena, uint32_t, count);
	image->functions = reader->functions;
	for (size_t i = 0; i < count; i++) {
		Elf64_Sym symbol = symbol_at(reader, i);

		if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC)
			continue;
		if (symbol.st_shndx != reader->text_section || symbol.st_value % INSN_BYTES ||
		    symbol.st_size % INSN_BYTES || symbol.st_value > reader->text.sh_size || !symbol.st_size ||
		    symbol.st_size > reader->text.sh_size - symbol.st_value)
			return false;
		reader->functions[image->function_count] = (struct image_function){
			string_at(reader, &reader->strings, symbol.st_name),
			(uint32_t)(symbol.st_value / INSN_BYTES), (uint32_t)(symbol.st_size / INSN_BYTES),
		};
		reader->function_of_symbol[i] = (uint32_t)++image->function_count;
	}
	return true;
}

static uint32_t find_map(const struct prove_input *input, const char *name)
{
	for (size_t i = 0; i < input->map_count; i++)
		if (!strcmp(input->maps[i].name, name))
			return (uint32_t)i + 1;
	return 0;
}

static bool relocate_call(const struct reader *reader, size_t number, struct image_use *use)
{
	Elf64_Sym symbol = symbol_at(reader, number);
	const char *name = string_at(reader, &reader->strings, symbol.st_name);

	use->call = reader->function_of_symbol[number];
	use->lives = symbol.st_shndx == SHN_UNDEF && !reader->image->walker && !strcmp(name, "element_lives");
	use->rest = symbol.st_shndx == SHN_UNDEF && reader->image->walker && !strcmp(name, "classify_rest");
	return use->call || use->lives || use->rest;
}

static bool relocate_place(const struct reader *reader, size_t number, struct image_use *use)
{
	static const struct {
		const char *name;
		enum image_place place;
	} places[] = { { "table", PLACE_TABLE }, { "table_config", PLACE_CONFIG }, { "epoch", PLACE_EPOCH } };
	Elf64_Sym symbol = symbol_at(reader, number);

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (!strcmp(string_at(reader, &reader->strings, symbol.st_name), places[i].name))
			use->place = (uint8_t)places[i].place;
	return use->place && !symbol.st_value;
}

static bool relocate(struct reader *reader, const Elf64_Rel *relocation, struct image_use *uses)
{
	size_t number = ELF64_R_SYM(relocation->r_info);
	struct image_use *use = &uses[relocation->r_offset / INSN_BYTES];
	Elf64_Sym symbol;

	if (number >= symbol_count(reader) || use->map || use->call || use->lives || use->rest || use->place)
		return false;
	symbol = symbol_at(reader, number);
	if (ELF64_R_TYPE(relocation->r_info) == RELOCATE_CALL)
		return relocate_call(reader, number, use);
	if (ELF64_R_TYPE(relocation->r_info) == RELOCATE_MAP && reader->image->walker)
		return relocate_place(reader, number, use);
	if (ELF64_R_TYPE(relocation->r_info) != RELOCATE_MAP || ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT)
		return false;
	use->map = find_map(reader->prove->input, string_at(reader, &reader->strings, symbol.st_name));
	if (!use->map)
		prove_stop(reader->prove, "the object looks into map `%s`, which the loader does not know",
			   string_at(reader, &reader->strings, symbol.st_name));
	return true;
}

static bool read_relocations(struct reader *reader)
{
	struct image *image = reader->image;
	struct image_use *uses = ARENA_ARRAY(reader->prove->arena, struct image_use, image->insn_count);
	size_t count = reader->relocations.sh_size / sizeof(Elf64_Rel);

	for (size_t i = 0; i < count; i++) {
		Elf64_Rel relocation;

		memcpy(&relocation, reader->data + reader->relocations.sh_offset + i * sizeof relocation,
		       sizeof relocation);
		if (relocation.r_offset % INSN_BYTES || relocation.r_offset >= reader->text.sh_size ||
		    !relocate(reader, &relocation, uses))
			return false;
	}
	image->uses = uses;
	return true;
}

void image_read(struct prove *prove, const void *object, size_t size, struct image *image)
{
	struct reader reader = { .prove = prove, .image = image, .data = object, .size = size };

	if (!read_header(&reader) || !find_sections(&reader)) {
		prove_stop(prove, "the object is not a BPF object file of the usual form");
		return;
	}
	image->text = reader.data + reader.text.sh_offset;
	image->insn_count = reader.text.sh_size / INSN_BYTES;
	if (!read_functions(&reader) || !read_relocations(&reader))
		prove_stop(prove, "the object's symbols and relocations are not of the usual form");
}
