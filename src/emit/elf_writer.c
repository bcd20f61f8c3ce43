/* SPDX-License-Identifier: GPL-2.0-only */
#include "emit/elf_writer.h"

#ifndef EM_BPF
#define EM_BPF 247
#endif

enum { SYMBOLS_SECTION = 1, STRINGS_SECTION = 2 }; /* fixed numbers, so that others can link to them early */

void elf_writer_begin(struct elf_writer *elf, struct arena *arena)
{
	Elf64_Sym none = { 0 };

	*elf = (struct elf_writer){ .arena = arena, .section_count = STRINGS_SECTION + 1,
				    .strings.arena = arena, .symbols.arena = arena };
	bytes_add(&elf->strings, "", 1);
	bytes_add(&elf->symbols, &none, sizeof none);
	elf->symbol_count = 1;
}

static uint32_t name_of(struct elf_writer *elf, const char *name)
{
	return bytes_add_string(&elf->strings, name, strlen(name));
}

uint32_t elf_writer_section(struct elf_writer *elf, const char *name, uint32_t type, uint64_t flags,
			    struct bytes contents)
{
	uint32_t number = elf->section_count++;

	elf->headers[number] = (Elf64_Shdr){ .sh_name = name_of(elf, name), .sh_type = type, .sh_flags = flags,
					     .sh_addralign = 8 };
	elf->contents[number] = contents;
	return number;
}

uint32_t elf_writer_symbol(struct elf_writer *elf, const char *name, unsigned type, uint32_t section,
			   uint64_t value, uint64_t size)
{
	Elf64_Sym symbol = { .st_name = name_of(elf, name), .st_info = ELF64_ST_INFO(STB_GLOBAL, type),
			     .st_other = STV_DEFAULT, .st_shndx = (Elf64_Half)section, .st_value = value,
			     .st_size = size };

	bytes_add(&elf->symbols, &symbol, sizeof symbol);
	return elf->symbol_count++;
}

void elf_writer_relocation(struct bytes *relocations, uint64_t offset, uint32_t symbol, uint32_t type)
{
	Elf64_Rel relocation = { .r_offset = offset, .r_info = ELF64_R_INFO((uint64_t)symbol, type) };

	bytes_add(relocations, &relocation, sizeof relocation);
}

void elf_writer_relocate(struct elf_writer *elf, const char *name, uint32_t section, struct bytes relocations)
{
	uint32_t number;

	if (!relocations.size)
		return;
	number = elf_writer_section(elf, name, SHT_REL, SHF_INFO_LINK, relocations);
	elf->headers[number].sh_link = SYMBOLS_SECTION;
	elf->headers[number].sh_info = section;
	elf->headers[number].sh_entsize = sizeof(Elf64_Rel);
}

static void add_tables(struct elf_writer *elf)
{
	uint32_t symbols_name = name_of(elf, ".symtab");
	uint32_t strings_name = name_of(elf, ".strtab");

	elf->contents[SYMBOLS_SECTION] = elf->symbols;
	elf->headers[SYMBOLS_SECTION] = (Elf64_Shdr){
		.sh_name = symbols_name, .sh_type = SHT_SYMTAB, .sh_link = STRINGS_SECTION,
		.sh_info = 1, /* the first global symbol */
		.sh_entsize = sizeof(Elf64_Sym), .sh_addralign = 8,
	};
	elf->contents[STRINGS_SECTION] = elf->strings;
	elf->headers[STRINGS_SECTION] = (Elf64_Shdr){ .sh_name = strings_name, .sh_type = SHT_STRTAB,
						      .sh_addralign = 1 };
}

struct bytes elf_writer_finish(struct elf_writer *elf)
{
	struct bytes out = { .arena = elf->arena };
	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB, EV_CURRENT },
		.e_type = ET_REL, .e_machine = EM_BPF, .e_version = EV_CURRENT, .e_ehsize = sizeof header,
		.e_shentsize = sizeof(Elf64_Shdr), .e_shstrndx = STRINGS_SECTION,
	};

	add_tables(elf);
	bytes_add(&out, &header, sizeof header);
	for (uint32_t i = 1; i < elf->section_count; i++) {
		bytes_align(&out, 8);
		elf->headers[i].sh_offset = out.size;
		elf->headers[i].sh_size = elf->contents[i].size;
		bytes_add(&out, elf->contents[i].data, elf->contents[i].size);
	}
	bytes_align(&out, 8);
	header.e_shoff = out.size;
	header.e_shnum = (Elf64_Half)elf->section_count;
	bytes_add(&out, elf->headers, elf->section_count * sizeof elf->headers[0]);
	memcpy(out.data, &header, sizeof header);
	return out;
}
