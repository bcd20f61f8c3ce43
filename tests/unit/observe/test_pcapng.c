/* SPDX-License-Identifier: GPL-2.0-only */
/* pcapng files, byte by byte, and as libpcap reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "observe/capture.h"
#include "observe/pcapng.h"
#include "tests/lib/bytes.h"
#include "tests/lib/packets.h"

/* A file that is being written to memory. */
struct output {
	char *data;
	size_t size;
	FILE *stream;
	struct pcapng *pcapng;
};

static void output_open(struct output *output, const struct pcapng_head *head)
{
	memset(output, 0, sizeof *output);
	output->stream = open_memstream(&output->data, &output->size);
	assert_non_null(output->stream);
	output->pcapng = pcapng_new(output->stream, head);
	assert_non_null(output->pcapng);
	assert_int_equal(pcapng_flush(output->pcapng), 0);
}

static void output_close(struct output *output)
{
	pcapng_free(output->pcapng);
	fclose(output->stream);
	free(output->data);
}

/* What was written since `from`. */
static void expect(struct output *output, size_t from, const char *hex)
{
	struct bytes wanted = { .length = 0 };

	assert_int_equal(pcapng_flush(output->pcapng), 0);
	bytes_hex(&wanted, hex);
	assert_int_equal(output->size - from, wanted.length);
	assert_memory_equal(output->data + from, wanted.data, wanted.length);
}

static const struct pcapng_head plain = { NULL, NULL };

static void test_section(void **state)
{
	const struct pcapng_head head = { "Linux", "weir" };
	struct output output;

	(void)state;
	output_open(&output, &head);
	expect(&output, 0,
	       "0a0d0d0a 34000000 4d3c2b1a 0100 0000 ffffffffffffffff"
	       "0300 0500 4c696e7578 000000 0400 0400 77656972 00000000 34000000");
	output_close(&output);
	output_open(&output, &plain);
	expect(&output, 0, "0a0d0d0a 20000000 4d3c2b1a 0100 0000 ffffffffffffffff 00000000 20000000");
	output_close(&output);
}

static void test_interface(void **state)
{
	const struct pcapng_interface interface = { "eth0", "at xdp", PCAPNG_RAW_IP, 96 };
	const struct pcapng_interface nameless = { .link = PCAPNG_ETHERNET };
	struct output output;
	size_t from;

	(void)state;
	output_open(&output, &plain);
	from = output.size;
	assert_int_equal(pcapng_interface(output.pcapng, &interface), 0);
	expect(&output, from,
	       "01000000 34000000 6500 0000 60000000 0200 0400 65746830 0300 0600 617420786470 0000"
	       "0900 0100 09 000000 00000000 34000000");
	from = output.size;
	assert_int_equal(pcapng_interface(output.pcapng, &nameless), 1);
	expect(&output, from, "01000000 20000000 0100 0000 00000000 0900 0100 09 000000 00000000 20000000");
	output_close(&output);
}

static void test_packet(void **state)
{
	const struct pcapng_packet packet = {
		.interface = 1, .time_ns = 0x1122334455667788, .data = "abcde", .captured = 5, .original = 60,
		.direction = PCAPNG_OUTBOUND, .verdict_type = PCAPNG_EBPF_TC, .verdict = 2, .comment = "web:3",
	};
	const struct pcapng_packet bare = { .data = "" };
	const struct pcapng_packet negative = { .data = "", .verdict_type = PCAPNG_EBPF_XDP, .verdict = -1 };
	struct output output;
	size_t from;

	(void)state;
	output_open(&output, &plain);
	from = output.size;
	pcapng_packet(output.pcapng, &packet);
	expect(&output, from,
	       "06000000 50000000 01000000 44332211 88776655 05000000 3c000000 6162636465 000000"
	       "0100 0500 7765623a33 000000 0200 0400 02000000 0700 0900 01 0200000000000000 000000"
	       "00000000 50000000");
	from = output.size;
	pcapng_packet(output.pcapng, &bare);
	expect(&output, from, "06000000 24000000 00000000 00000000 00000000 00000000 00000000 00000000 24000000");
	from = output.size;
	pcapng_packet(output.pcapng, &negative);
	expect(&output, from,
	       "06000000 34000000 00000000 00000000 00000000 00000000 00000000"
	       "0700 0900 02 ffffffffffffffff 000000 00000000 34000000");
	output_close(&output);
}

static void test_statistics(void **state)
{
	const struct pcapng_statistics statistics = { .interface = 1, .time_ns = 0x100000002, .received = 9, .dropped = 3,
						      .has_dropped = true, .comment = "lost" };
	struct output output;
	size_t from;

	(void)state;
	output_open(&output, &plain);
	from = output.size;
	pcapng_statistics(output.pcapng, &statistics);
	expect(&output, from,
	       "05000000 3c000000 01000000 01000000 02000000 0100 0400 6c6f7374"
	       "0400 0800 0900000000000000 0700 0800 0300000000000000 00000000 3c000000");
	output_close(&output);
}

/* The largest packet, with texts that are too long, is still a file that others read. */
static void test_bounds(void **state)
{
	static char text[5000];
	static unsigned char data[PCAPNG_PACKET_MAX + 10];
	const struct pcapng_interface interface = { text, text, PCAPNG_ETHERNET, 0 };
	const struct pcapng_packet packet = { .data = data, .captured = sizeof data, .original = 1000000,
					      .direction = PCAPNG_INBOUND, .verdict_type = PCAPNG_EBPF_XDP,
					      .time_ns = 1700000000000000001, .comment = text };
	const struct pcapng_head head = { text, text };
	char path[] = "/tmp/weir-test-XXXXXX", error[256];
	struct capture *capture;
	struct output output;
	struct frame frame;
	int fd = mkstemp(path);

	(void)state;
	memset(text, 'x', sizeof text - 1);
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (unsigned char)(i * 7);
	output_open(&output, &head);
	pcapng_interface(output.pcapng, &interface);
	pcapng_packet(output.pcapng, &packet);
	assert_int_equal(pcapng_flush(output.pcapng), 0);
	assert_int_equal(write(fd, output.data, output.size), output.size);
	close(fd);
	output_close(&output);
	assert_int_equal(capture_open(path, error, sizeof error, &capture), 0);
	assert_int_equal(capture_next(capture, &frame), 1);
	assert_int_equal(frame.length, PCAPNG_PACKET_MAX);
	assert_int_equal(frame.original, 1000000);
	assert_int_equal(frame.time_ns, packet.time_ns);
	assert_memory_equal(frame.data, data, PCAPNG_PACKET_MAX);
	assert_int_equal(capture_next(capture, &frame), 0);
	capture_close(capture);
	unlink(path);
}

/* What cannot be written shows at the next flush. */
static void test_full(void **state)
{
	const struct pcapng_packet packet = { .data = "" };
	FILE *stream = fopen("/dev/full", "w");
	struct pcapng *pcapng;

	(void)state;
	assert_non_null(stream);
	pcapng = pcapng_new(stream, &plain);
	pcapng_packet(pcapng, &packet);
	assert_true(pcapng_flush(pcapng) < 0);
	pcapng_free(pcapng);
	fclose(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_section),    cmocka_unit_test(test_interface), cmocka_unit_test(test_packet),
		cmocka_unit_test(test_statistics), cmocka_unit_test(test_bounds),    cmocka_unit_test(test_full),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
