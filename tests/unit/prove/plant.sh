#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# plant.sh COMPILE CLANG SOURCE OBJECT DEPFILE [FLAG...]: the walker of tables as it was when it read ahead behind leaves, found
# no node there, and then searched none of the trees.
set -eu
compile=$1 clang=$2 source=$3 object=$4 depfile=$5
shift 5
planted=$object.c
sed -e 's/\*index = behind(packet,/*index = child(packet,/' \
	-e 's/&& descend(packet, words, &index) && inside(&index))$/\&\& (!descend(packet, words, \&index) || !inside(\&index)))\
			return false;\
		if (touched(six) >> i \& 1)/' "$source" >"$planted"
if [ "$(diff "$source" "$planted" | grep -c '^>')" != 4 ]; then
	echo "plant.sh: $source is no longer as it was" >&2
	exit 1
fi
exec "$compile" "$clang" "$planted" "$object" "$depfile" -Wno-unused-function "$@"
