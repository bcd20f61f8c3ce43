/* SPDX-License-Identifier: GPL-2.0-only */
/* Keys of knocks: files, what is made of them, and the packets that prove that one has them. */
#ifndef WEIR_API_KNOCK_KEY_H
#define WEIR_API_KNOCK_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "bpf/knock_abi.h"

/* As in the file; a knock's own key comes of it and the knock's name. */
struct master_key {
	uint64_t words[2];
};

/* NULL, or why the file is no good; in the arena. Whoever else may read a key could use it: such a file is refused. */
const char *key_read(struct arena *arena, const char *path, struct master_key *ret_key);
/* Writes a new file with a new key. NULL, or why not. */
const char *key_make(struct arena *arena, const char *path);

void key_of_knock(const struct master_key *master, const char *name, uint64_t ret_key[2]);

/* `source`: 16 bytes, IPv4 mapped, to be bound to that address; or NULL. */
void knock_packet_make(const uint64_t key[2], uint64_t stamp, const uint8_t *source, struct knock_packet *ret_packet);

#endif
