/* SPDX-License-Identifier: GPL-2.0-only */
/* See document.h. In: a text; out: nodes and their places. libyaml counts places in characters, sources in bytes. */
#include "import/document.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct document {
	yaml_document_t yaml;
	bool loaded;
	const char *problem; /* libyaml's words, static; NULL: none */
	size_t place;        /* of it, in characters */
	bool place_in_bytes;
};

static void note_problem(struct document *document, const yaml_parser_t *parser)
{
	document->problem = parser->problem ? parser->problem : "it cannot be read";
	document->place_in_bytes = parser->error == YAML_READER_ERROR;
	document->place = document->place_in_bytes ? parser->problem_offset : parser->problem_mark.index;
}

/* There must be nothing behind the first document. */
static void load_end(struct document *document, yaml_parser_t *parser)
{
	yaml_document_t second;

	if (!yaml_parser_load(parser, &second)) {
		note_problem(document, parser);
		return;
	}
	if (yaml_document_get_root_node(&second)) {
		document->problem = "a second document";
		document->place = second.start_mark.index;
	}
	yaml_document_delete(&second);
}

struct document *document_load(const char *text, size_t length)
{
	struct document *document = calloc(1, sizeof *document);
	yaml_parser_t parser;

	if (!document || !yaml_parser_initialize(&parser)) {
		free(document);
		return NULL;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	document->loaded = yaml_parser_load(&parser, &document->yaml);
	if (!document->loaded)
		note_problem(document, &parser);
	else if (document_root(document))
		load_end(document, &parser);
	if (!document->loaded && parser.error == YAML_MEMORY_ERROR) {
		free(document);
		document = NULL;
	}
	yaml_parser_delete(&parser);
	return document;
}

void document_free(struct document *document)
{
	if (document && document->loaded)
		yaml_document_delete(&document->yaml);
	free(document);
}

/* --- places ------------------------------------------------------------------------------------------------------ */

static uint32_t byte_offset(const struct source *source, size_t characters)
{
	size_t offset = 0;

	while (characters-- && offset < source->length)
		do
			offset++;
		while (offset < source->length && ((unsigned char)source->text[offset] & 0xc0) == 0x80);
	return (uint32_t)offset;
}

static struct span character_at(const struct source *source, size_t offset)
{
	return (struct span){ source, (uint32_t)(offset < source->length ? offset : source->length), 1 };
}

bool document_check(const struct document *document, const struct source *source, struct diags *diags)
{
	size_t offset;

	if (!document->problem && document_root(document))
		return true;
	if (!document->problem) {
		diag_error(diags, character_at(source, 0), "there is nothing in it");
		return false;
	}
	offset = document->place_in_bytes ? document->place : byte_offset(source, document->place);
	diag_error(diags, character_at(source, offset), "this is not YAML of one document: %s", document->problem);
	return false;
}

/* --- nodes ------------------------------------------------------------------------------------------------------- */

static yaml_node_t *node_at(const struct document *document, node_ref ref)
{
	return yaml_document_get_node((yaml_document_t *)&document->yaml, ref); /* which it only reads */
}

node_ref document_root(const struct document *document)
{
	return document->loaded && node_at(document, 1) ? 1 : 0;
}

const char *document_text(const struct document *document, node_ref ref)
{
	const yaml_node_t *node = node_at(document, ref);
	const char *text;

	if (node->type != YAML_SCALAR_NODE)
		return NULL;
	text = (const char *)node->data.scalar.value;
	return strlen(text) == node->data.scalar.length ? text : NULL;
}

node_ref document_item(const struct document *document, node_ref sequence, size_t index)
{
	const yaml_node_t *node = node_at(document, sequence);
	size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);

	return index < count ? node->data.sequence.items.start[index] : 0;
}

bool document_pair(const struct document *document, node_ref mapping, size_t index, node_ref *ret_key,
		   node_ref *ret_value)
{
	const yaml_node_t *node = node_at(document, mapping);

	if (index >= (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start))
		return false;
	*ret_key = node->data.mapping.pairs.start[index].key;
	*ret_value = node->data.mapping.pairs.start[index].value;
	return true;
}

bool document_is_sequence(const struct document *document, node_ref ref)
{
	return node_at(document, ref)->type == YAML_SEQUENCE_NODE;
}

bool document_is_mapping(const struct document *document, node_ref ref)
{
	return node_at(document, ref)->type == YAML_MAPPING_NODE;
}

struct span document_span(const struct document *document, node_ref ref, const struct source *source)
{
	const yaml_node_t *node = node_at(document, ref);
	uint32_t start = byte_offset(source, node->start_mark.index), end;

	if (node->type != YAML_SCALAR_NODE)
		return character_at(source, start);
	end = byte_offset(source, node->end_mark.index);
	return (struct span){ source, start, end > start ? end - start : 1 };
}
