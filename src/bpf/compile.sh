#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# compile.sh CLANG SOURCE OBJECT DEPFILE [FLAG...]: one BPF object. The target has no asm/types.h of its own: it is
# looked for where clang would look when compiling for this machine.
set -eu

clang=$1 source=$2 object=$3 depfile=$4
shift 4

system_dirs=$("$clang" -v -E - </dev/null 2>&1 |
	sed -n '/<...> search starts here:/,/End of search list./s|^ \(/[^ ]*\)$|-idirafter \1|p')

# shellcheck disable=SC2086 # one word each
exec "$clang" -O2 -g -target bpf -mcpu=v3 -ffreestanding -Wall -Wextra -Wshadow -Wno-missing-field-initializers \
	-Werror $system_dirs "$@" -MMD -MF "$depfile" -MT "$object" -c "$source" -o "$object"
