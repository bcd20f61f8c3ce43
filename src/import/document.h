/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A YAML document by libyaml, with places in its source. It owns memory that is not an arena's: it is loaded and freed
 * outside arena_run(), and only read inside. (Names that begin with yaml_ are libyaml's, yaml_free() among them.)
 */
#ifndef WEIR_IMPORT_DOCUMENT_H
#define WEIR_IMPORT_DOCUMENT_H

#include "base/diag.h"

struct document;
/* Of a document; 0: there is none. */
typedef int node_ref;

enum { DOCUMENT_BYTES_MAX = 1 << 20 };

/* Loads a text of at most DOCUMENT_BYTES_MAX bytes in UTF-8, whatever is wrong with it. NULL without memory. */
struct document *document_load(const char *text, size_t length);
/* NULL is allowed. */
void document_free(struct document *document);

/* Queues what is wrong with it as YAML; false then. */
bool document_check(const struct document *document, const struct source *source, struct diags *diags);

node_ref document_root(const struct document *document);
/* A scalar's text; NULL if it is none, or holds a NUL. Lives with the document. */
const char *document_text(const struct document *document, node_ref ref);
/* An item of a sequence, or 0 behind the last one. */
node_ref document_item(const struct document *document, node_ref sequence, size_t index);
/* A pair of a mapping; false behind the last one. */
bool document_pair(const struct document *document, node_ref mapping, size_t index, node_ref *ret_key,
		   node_ref *ret_value);
bool document_is_sequence(const struct document *document, node_ref ref);
bool document_is_mapping(const struct document *document, node_ref ref);
/* A scalar's place; where another one begins. */
struct span document_span(const struct document *document, node_ref ref, const struct source *source);

#endif
