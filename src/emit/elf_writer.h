/* SPDX-License-Identifier: GPL-2.0-only */
/* A relocatable BPF ELF file, section by section. In: contents; out: the file's bytes. Nothing fails. */
#ifndef WEIR_EMIT_ELF_WRITER_H
#define WEIR_EMIT_ELF_WRITER_H

#include <elf.h>

#include "emit/bytes.h"

enum { ELF_SECTIONS_MAX = 16 };

struct elf_writer {
	struct arena *arena;
	Elf64_Shdr headers[ELF_SECTIONS_MAX];
	struct bytes contents[ELF_SECTIONS_MAX];
	uint32_t section_count;
	struct bytes strings; /* of sections and symbols */
	struct bytes symbols;
	uint32_t symbol_count;
};

void elf_writer_begin(struct elf_writer *elf, struct arena *arena);

/* Adds a section and returns its number. `flags` as sh_flags. */
uint32_t elf_writer_section(struct elf_writer *elf, const char *name, uint32_t type, uint64_t flags,
			    struct bytes contents);

/* Adds a global symbol (STT_FUNC or STT_OBJECT) and returns its number. */
uint32_t elf_writer_symbol(struct elf_writer *elf, const char *name, unsigned type, uint32_t section,
			   uint64_t value, uint64_t size);

/* Appends one REL entry. */
void elf_writer_relocation(struct bytes *relocations, uint64_t offset, uint32_t symbol, uint32_t type);

/* Adds the relocations of `section`, if there are any; call it after all other sections. */
void elf_writer_relocate(struct elf_writer *elf, const char *name, uint32_t section, struct bytes relocations);

/* Adds the symbol and string tables and lays the file out. */
struct bytes elf_writer_finish(struct elf_writer *elf);

#endif
