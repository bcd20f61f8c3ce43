/* SPDX-License-Identifier: GPL-2.0-only */
/* The capture reader and the decoder of events on any file: every frame may be read to its end. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "observe/capture.h"
#include "observe/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const struct frame *frame)
{
	struct event_fields fields;
	struct event event = { .frame = frame->length % 2 };
	char line[256];

	event.captured = (uint16_t)(frame->length < EVENT_BYTES ? frame->length : EVENT_BYTES);
	memcpy(event.data, frame->data, event.captured);
	event_describe(&event, &fields);
	if (event_line(&event, &fields, "policy", "eth0", line, sizeof line) >= (int)sizeof line)
		abort();
}

static void read_all(const char *path)
{
	volatile unsigned char last = 0;
	struct capture *capture;
	struct frame frame;
	char error[300];

	if (capture_open(path, error, sizeof error, &capture))
		return;
	while (capture_next(capture, &frame) > 0) {
		if (frame.original < frame.length && frame.length)
			abort();
		for (size_t i = 0; i < frame.length; i++)
			last = frame.data[i];
		(void)last;
		decode(&frame);
	}
	capture_close(capture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("capture", 0);
	char path[64];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	read_all(path);
	close(fd);
	return 0;
}
