/* SPDX-License-Identifier: GPL-2.0-only */
/* Capture files of every link type, written here by libpcap or byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#include "observe/capture.h"
#include "tests/lib/bytes.h"

static char path[64];

static int make_path(void **state)
{
	int fd;

	(void)state;
	strcpy(path, "/tmp/weir-capture-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

/* One packet of that link type, as any other program would have written it. */
static void write_pcap(int link_type, const struct bytes *bytes, size_t original)
{
	const struct pcap_pkthdr header = { .ts = { 1000000, 5 }, .caplen = (unsigned)bytes->length,
					    .len = (unsigned)(original ? original : bytes->length) };
	pcap_t *pcap = pcap_open_dead(link_type, 65535);
	pcap_dumper_t *dumper = pcap_dump_open(pcap, path);

	assert_non_null(dumper);
	pcap_dump((unsigned char *)dumper, &header, bytes->data);
	pcap_dump_close(dumper);
	pcap_close(pcap);
}

static struct capture *open_path(void)
{
	struct capture *capture;
	char error[300];

	if (capture_open(path, error, sizeof error, &capture))
		fail_msg("%s", error);
	return capture;
}

static void expect_open_error(const char *name, const char *wanted)
{
	struct capture *capture;
	char error[300] = "";

	assert_true(capture_open(name, error, sizeof error, &capture) < 0);
	if (!strstr(error, wanted))
		fail_msg("%s", error);
}

/* The only packet of the file is the Ethernet frame with this type and payload. */
static void expect_frame(unsigned type, const struct bytes *payload)
{
	struct capture *capture = open_path();
	struct bytes wanted = { .length = 0 };
	struct frame frame;

	bytes_ether(&wanted, type);
	assert_int_equal(capture_next(capture, &frame), 1);
	assert_int_equal(frame.length, 14 + payload->length);
	assert_memory_equal(frame.data, wanted.data, 14);
	assert_memory_equal(frame.data + 14, payload->data, payload->length);
	assert_true(frame.time_ns == 1000000000005000);
	assert_int_equal(capture_next(capture, &frame), 0);
	capture_close(capture);
}

static struct bytes udp4(void)
{
	struct bytes bytes = { .length = 0 };

	bytes_ipv4(&bytes, 28, 0, 17);
	bytes_udp(&bytes, 1, 53, 8);
	return bytes;
}

static struct bytes udp6(void)
{
	struct bytes bytes = { .length = 0 };

	bytes_ipv6(&bytes, 8, 17);
	bytes_udp(&bytes, 1, 53, 8);
	return bytes;
}

/* The packet behind a header that is written as hexadecimal. */
static void expect_cooked(int link_type, const char *header, unsigned type, struct bytes payload)
{
	struct bytes bytes = { .length = 0 };

	bytes_hex(&bytes, "%s", header);
	for (size_t i = 0; i < payload.length; i++)
		bytes_hex(&bytes, "%02x", payload.data[i]);
	write_pcap(link_type, &bytes, 0);
	expect_frame(type, &payload);
}

static void test_ethernet(void **state)
{
	struct bytes bytes = { .length = 0 };
	struct capture *capture;
	struct frame frame;

	(void)state;
	bytes_ether(&bytes, 0x0806);
	bytes_fill(&bytes, 7, 46);
	write_pcap(DLT_EN10MB, &bytes, 1500);
	capture = open_path();
	assert_int_equal(capture_next(capture, &frame), 1);
	assert_int_equal(frame.length, 60);
	assert_int_equal(frame.original, 1500);
	assert_memory_equal(frame.data, bytes.data, 60);
	capture_close(capture);
}

static void test_raw_ip(void **state)
{
	(void)state;
	expect_cooked(DLT_RAW, "", 0x0800, udp4());
	expect_cooked(DLT_RAW, "", 0x86dd, udp6());
	expect_cooked(DLT_IPV4, "", 0x0800, udp4());
	expect_cooked(DLT_IPV6, "", 0x86dd, udp6());
	expect_cooked(DLT_IPV6, "", 0x86dd, udp4()); /* a lie is kept: malformed */
	expect_cooked(DLT_RAW, "", 0x0800, (struct bytes){ .data = { 0 }, .length = 1 });
}

static void test_linux_cooked(void **state)
{
	struct bytes arp = { .length = 0 };

	(void)state;
	bytes_fill(&arp, 1, 28);
	expect_cooked(DLT_LINUX_SLL, "0000 0001 0006 020000000009 0000 0800", 0x0800, udp4());
	expect_cooked(DLT_LINUX_SLL, "0004 0001 0006 020000000009 0000 86dd", 0x86dd, udp6());
	expect_cooked(DLT_LINUX_SLL, "0000 0001 0006 020000000009 0000 0806", 0x0806, arp);
	expect_cooked(DLT_LINUX_SLL, "0000 0001 0006 020000000009 0000 0004", 28, arp); /* 802.2: its length */
	expect_cooked(DLT_LINUX_SLL2, "0800 0000 00000002 0001 00 06 020000000009 0000", 0x0800, udp4());
	expect_cooked(DLT_LINUX_SLL2, "86dd 0000 00000002 0001 04 06 020000000009 0000", 0x86dd, udp6());
}

static void test_loopback(void **state)
{
	(void)state;
	expect_cooked(DLT_NULL, "02000000", 0x0800, udp4());
	expect_cooked(DLT_NULL, "00000002", 0x0800, udp4());
	expect_cooked(DLT_NULL, "1e000000", 0x86dd, udp6());
	expect_cooked(DLT_NULL, "0a000000", 0x86dd, udp6());
	expect_cooked(DLT_LOOP, "00000002", 0x0800, udp4());
	expect_cooked(DLT_LOOP, "00000018", 0x86dd, udp6());
}

static void test_shorter_than_its_header(void **state)
{
	struct bytes bytes = { .length = 0 };
	struct capture *capture;
	struct frame frame;

	(void)state;
	bytes_fill(&bytes, 0, 15);
	write_pcap(DLT_LINUX_SLL, &bytes, 0);
	capture = open_path();
	assert_int_equal(capture_next(capture, &frame), 1);
	assert_int_equal(frame.length, 0);
	assert_non_null(frame.data);
	capture_close(capture);
}

static void write_bytes(const struct bytes *bytes)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes->data, 1, bytes->length, file), bytes->length);
	assert_int_equal(fclose(file), 0);
}

/* A pcapng file of one section, one raw-IP interface (times in nanoseconds) and one packet. */
static void test_pcapng(void **state)
{
	struct bytes bytes = { .length = 0 }, payload = udp4();

	(void)state;
	bytes_hex(&bytes, "0a0d0d0a 0000001c 1a2b3c4d 00010000 ffffffffffffffff 0000001c");
	bytes_hex(&bytes, "00000001 00000020 0065 0000 00040000 0009 0001 09 000000 0000 0000 00000020");
	bytes_hex(&bytes, "00000006 0000003c 00000000 00038d7e a4c69388 0000001c 0000001c");
	for (size_t i = 0; i < payload.length; i++)
		bytes_hex(&bytes, "%02x", payload.data[i]);
	bytes_hex(&bytes, "0000003c");
	write_bytes(&bytes);
	expect_frame(0x0800, &payload);
}

static void test_standard_input(void **state)
{
	struct bytes bytes = { .length = 0 };
	struct capture *capture;
	struct frame frame;
	char error[300];

	(void)state;
	bytes_ether(&bytes, 0x0806);
	write_pcap(DLT_EN10MB, &bytes, 0);
	assert_non_null(freopen(path, "r", stdin));
	assert_int_equal(capture_open("-", error, sizeof error, &capture), 0);
	assert_int_equal(capture_next(capture, &frame), 1);
	assert_int_equal(frame.length, 14);
	capture_close(capture);
}

static void test_errors(void **state)
{
	struct bytes bytes = { .length = 0 };

	(void)state;
	expect_open_error("/nonexistent/x.pcap", "cannot read `/nonexistent/x.pcap`: No such file or directory");
	write_bytes(&bytes);
	expect_open_error(path, "cannot read");
	bytes_hex(&bytes, "686974686572 0000 0000 0000 0000 0000 0000 0000 0000 0000");
	write_bytes(&bytes);
	expect_open_error(path, "unknown file format");
	write_pcap(DLT_IEEE802_11, &bytes, 0);
	expect_open_error(path, "its link type is 802.11, not Ethernet, raw IP, Linux cooked or loopback");
}

static void test_broken_record(void **state)
{
	struct bytes bytes = udp4();
	struct capture *capture;
	struct frame frame;

	(void)state;
	write_pcap(DLT_RAW, &bytes, 0);
	assert_int_equal(truncate(path, 24 + 16 + 10), 0);
	capture = open_path();
	assert_int_equal(capture_next(capture, &frame), -EIO);
	assert_non_null(strstr(capture_error(capture), "truncated"));
	capture_close(capture);
}

static void test_writer(void **state)
{
	struct bytes bytes = { .length = 0 };
	struct capture_writer *writer;
	struct frame frame = { .data = bytes.data, .time_ns = 1700000000123456789 };
	struct capture *capture;
	char error[300];

	(void)state;
	bytes_ether(&bytes, 0x0800);
	bytes_fill(&bytes, 3, 100);
	frame.length = frame.original = bytes.length;
	assert_int_equal(capture_create(path, 64, error, sizeof error, &writer), 0);
	capture_write(writer, &frame);
	frame.length = 20;
	capture_write(writer, &frame);
	assert_int_equal(capture_finish(writer), 0);
	capture = open_path();
	assert_int_equal(capture_next(capture, &frame), 1);
	assert_int_equal(frame.length, 64);
	assert_int_equal(frame.original, 114);
	assert_true(frame.time_ns == 1700000000123456789);
	assert_int_equal(capture_next(capture, &frame), 1);
	assert_int_equal(frame.length, 20);
	assert_int_equal(capture_next(capture, &frame), 0);
	capture_close(capture);
	assert_true(capture_create("/nonexistent/x", 64, error, sizeof error, &writer) < 0);
	assert_string_equal(error, "cannot write `/nonexistent/x`: No such file or directory");
	capture_close(NULL);
	assert_int_equal(capture_finish(NULL), 0);
}

static void test_writer_says_that_the_disk_is_full(void **state)
{
	static unsigned char data[60000];
	const struct frame frame = { .data = data, .length = sizeof data, .original = sizeof data };
	struct capture_writer *writer;
	char error[300];

	(void)state;
	if (access("/dev/full", W_OK))
		skip();
	if (capture_create("/dev/full", 65535, error, sizeof error, &writer))
		return; /* libpcap wrote the header at once */
	capture_write(writer, &frame);
	assert_int_equal(capture_finish(writer), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ethernet),
		cmocka_unit_test(test_raw_ip),
		cmocka_unit_test(test_linux_cooked),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_shorter_than_its_header),
		cmocka_unit_test(test_pcapng),
		cmocka_unit_test(test_standard_input),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_broken_record),
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_writer_says_that_the_disk_is_full),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
