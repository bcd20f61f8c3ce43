/* SPDX-License-Identifier: GPL-2.0-only */
/* Capture files: pcap and pcapng in, whatever the link type, as Ethernet frames; Ethernet pcap out. */
#ifndef WEIR_OBSERVE_CAPTURE_H
#define WEIR_OBSERVE_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

/* One frame. Read ones are valid until the next call for the same capture. */
struct frame {
	const unsigned char *data;
	size_t length;   /* bytes that were captured */
	size_t original; /* bytes that the frame had on the wire; at least `length` */
	uint64_t time_ns; /* since 1970 */
};

struct capture;

/*
 * Opens a file, or standard input for "-". Packets without an Ethernet header (raw IP, Linux cooked, loopback) get one:
 * from 02:00:00:00:00:01 to 02:00:00:00:00:02. -errno, and a sentence in `error`, if the file cannot be read or has
 * another link type. The caller closes.
 */
int capture_open(const char *path, char *error, size_t error_size, struct capture **ret_capture);

/* 1: a frame, 0: the end; -EIO: the file is broken here, see capture_error(); -ENOMEM. */
int capture_next(struct capture *capture, struct frame *ret_frame);

/* What was wrong, after capture_next() failed. */
const char *capture_error(struct capture *capture);

/* NULL is allowed. */
void capture_close(struct capture *capture);

struct capture_writer;

/* Creates a pcap file for Ethernet frames with times in nanoseconds; `path` "-" is standard output. */
int capture_create(const char *path, size_t snaplen, char *error, size_t error_size,
		   struct capture_writer **ret_writer);

/* Writes one frame, cut at the snap length. Errors show at capture_finish(). */
void capture_write(struct capture_writer *writer, const struct frame *frame);

/* Closes; -EIO if anything was not written. NULL is allowed. */
int capture_finish(struct capture_writer *writer);

#endif
