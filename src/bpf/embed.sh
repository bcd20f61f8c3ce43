#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# embed.sh ASSEMBLY HEADER OBJECT...: an assembly file that embeds each object (xdp.bpf.o as the symbol plane_elf_xdp), and a
# header that declares it and its size (PLANE_SIZE_xdp).
set -eu

assembly=$1 header=$2
shift 2

exec 3>"$assembly" 4>"$header"
for object; do
	name=$(basename "$object" .bpf.o | tr - _)
	printf '\t.section .rodata\n\t.balign 8\n\t.global plane_elf_%s\n\t.hidden plane_elf_%s\nplane_elf_%s:\n\t.incbin "%s"\n' \
		"$name" "$name" "$name" "$(realpath "$object")" >&3
	printf 'extern const unsigned char plane_elf_%s[];\nenum { PLANE_SIZE_%s = %d };\n' \
		"$name" "$name" "$(wc -c <"$object")" >&4
done
printf '\t.section .note.GNU-stack, "", %%progbits\n' >&3
