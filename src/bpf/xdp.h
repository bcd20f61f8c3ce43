/* SPDX-License-Identifier: GPL-2.0-only */
/* What plane.h asks of the XDP plane. Shared with the bench driver. */
#ifndef WEIR_BPF_XDP_H
#define WEIR_BPF_XDP_H

#define PLANE_WEIGHS_PARSED
#define PLANE_IN_PLACE /* the context says where the packet's linear part is */
#define PLANE_FRAMES /* packets begin with the link-layer header */

#include "bpf/plane.h"

typedef struct xdp_md parse_source;

static __always_inline int source_copy(parse_source *source, __u32 offset, void *buffer, __u32 size)
{
	return bpf_xdp_load_bytes(source, offset, buffer, size);
}

#include "bpf/parse.h"

static __always_inline const __u8 *frame_data(struct xdp_md *context)
{
	return (const __u8 *)(long)context->data;
}

static __always_inline const __u8 *frame_end(struct xdp_md *context)
{
	return (const __u8 *)(long)context->data_end;
}

VERIFIED_ONCE int plane_parse_again(struct xdp_md *context, struct packet *packet)
{
	struct view view = {
		.source = context,
		.length = bpf_xdp_get_buff_len(context),
		.needed = config.needed,
	};

	if (!packet)
		return PARSE_MALFORMED;
	return parse_frame(&view, packet, false);
}

static __always_inline int plane_parse(struct xdp_md *context, struct packet *packet)
{
	struct view view = {
		.source = context,
		.data = frame_data(context),
		.end = frame_end(context),
		.needed = config.needed,
		.fast = true,
	};
	int done;

	view.length = view.end - view.data;
	packet_clear(packet);
	if (view.needed & NEEDS(FIELD_IN_IFACE) && !config.trace)
		packet->in_iface = context->ingress_ifindex;
	done = parse_frame(&view, packet, false);
	if (LIKELY(done != PARSE_AGAIN))
		return done;
	set_addresses4(packet, 0, 0);
	return plane_parse_again(context, packet);
}

static __always_inline struct weight plane_weigh(struct xdp_md *context)
{
	return (struct weight){ .packets = 1, .bytes = bpf_xdp_get_buff_len(context) };
}

/*
 * Asking for the length costs as much as a rule. A frame whose linear part ends with the IP packet, or a little behind it,
 * is whole: what else there could be is padding, which no driver puts into a buffer of its own.
 */
static __always_inline struct weight plane_weigh_parsed(struct xdp_md *context, const struct packet *packet)
{
	if (LIKELY(packet->whole & 1))
		return (struct weight){ .packets = 1, .bytes = frame_end(context) - frame_data(context) };
	return plane_weigh(context);
}

static __always_inline void plane_describe(struct xdp_md *context, struct event *event)
{
	__u32 size = bpf_xdp_get_buff_len(context);

	event->in_iface = context->ingress_ifindex;
	event->user = ABSENT_OWNER;
	event->length = size;
	event->frame = 1;
	size = bounded(size, EVENT_BYTES);
	if (!bpf_xdp_load_bytes(context, 0, event->data, size))
		event->captured = size;
}

static __always_inline __u32 plane_length(struct xdp_md *context)
{
	return bpf_xdp_get_buff_len(context);
}

static __always_inline int plane_copy(struct xdp_md *context, __u32 offset, void *buffer, __u32 size)
{
	return bpf_xdp_load_bytes(context, offset, buffer, size);
}

/* A policy with `mark` is refused at XDP: there is no packet mark yet. */
static __always_inline __u32 plane_mark(struct xdp_md *context)
{
	(void)context;
	return 0;
}

static __always_inline void plane_set_mark(struct xdp_md *context, __u32 mark)
{
	(void)context;
	(void)mark;
}

#include "bpf/knock_key.h"
#include "bpf/flow_plane.h"

#endif
