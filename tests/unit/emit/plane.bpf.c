// SPDX-License-Identifier: GPL-2.0-only
/* A data plane for tests: the frame is a struct packet, the classifier's answer is returned. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "packet/packet.h"

extern int classify(struct packet *packet);

SEC("xdp") int plane(struct xdp_md *context)
{
	struct packet *data = (void *)(long)context->data;
	struct packet packet;

	if ((void *)(data + 1) > (void *)(long)context->data_end)
		return -1;
	packet = *data;
	return classify(&packet);
}

/* What plane() costs without the classifier; for timing. */
SEC("xdp") int nothing(struct xdp_md *context)
{
	struct packet *data = (void *)(long)context->data;
	volatile struct packet packet;

	if ((void *)(data + 1) > (void *)(long)context->data_end)
		return -1;
	packet = *data;
	return packet.family;
}

char _license[] SEC("license") = "GPL";
