/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SipHash-2-4 against the results that its authors publish for the key 00 01 ... 0f and the messages 00 01 ... of 0 to 63
 * bytes: on the host, and in the kernel (which needs root) for those of whole words. And what is made with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "api/knock_key.h"
#include "bpf/siphash.h"

static const uint64_t published[64] = {
	0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
	0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
	0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
	0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
	0x3f2acc7f57c29bdb, 0x699ae9f52cbe4794, 0x4bc1b3f0968dd39c, 0xbb6dc91da77961bd,
	0xbed65cf21aa2ee98, 0xd0f2cbb02e3b67c7, 0x93536795e3a33e88, 0xa80c038ccd5ccec8,
	0xb8ad50c6f649af94, 0xbce192de8a85b8ea, 0x17d835b85bbb15f3, 0x2f2e6163076bcfad,
	0xde4daaaca71dc9a5, 0xa6a2506687956571, 0xad87a3535c49ef28, 0x32d892fad841c342,
	0x7127512f72f27cce, 0xa7f32346f95978e3, 0x12e0b01abb051238, 0x15e034d40fa197ae,
	0x314dffbe0815a3b4, 0x027990f029623981, 0xcadcd4e59ef40c4d, 0x9abfd8766a33735c,
	0x0e3ea96b5304a7d0, 0xad0c42d6fc585992, 0x187306c89bc215a9, 0xd4a60abcf3792b95,
	0xf935451de4f21df2, 0xa9538f0419755787, 0xdb9acddff56ca510, 0xd06c98cd5c0975eb,
	0xe612a3cb9ecba951, 0xc766e62cfcadaf96, 0xee64435a9752fe72, 0xa192d576b245165a,
	0x0a8787bf8ecb74b2, 0x81b3e73d20b49b6f, 0x7fa8220ba3b2ecea, 0x245731c13ca42499,
	0xb78dbfaf3a8d83bd, 0xea1ad565322a1a0b, 0x60e61c23a3795013, 0x6606d7e446282b93,
	0x6ca4ecb15c5f91e1, 0x9f626da15c9625f3, 0xe51b38608ef25f57, 0x958a324ceb064572,
};

static const __u64 key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

enum { WORDS_MAX = 7 };

static void message(unsigned char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (unsigned char)i;
}

static void test_host(void **state)
{
	unsigned char bytes[64];
	__u64 words[WORDS_MAX];

	(void)state;
	message(bytes, sizeof bytes);
	for (size_t length = 0; length < 64; length++)
		assert_int_equal(siphash_bytes(key, bytes, length), published[length]);
	for (unsigned count = 0; count <= WORDS_MAX; count++) {
		for (unsigned i = 0; i < count; i++)
			words[i] = 0x0706050403020100 + i * 0x0808080808080808;
		assert_int_equal(siphash_words(key[0], key[1], words, count), published[8 * count]);
	}
}

/* The program writes the hash over the first bytes of its frame, for each number of words one. */
static void test_kernel(void **state)
{
	struct bpf_object *object = bpf_object__open_file(SIPHASH_OBJECT, NULL);
	unsigned char frame[64];
	uint64_t result;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_non_null(object);
	assert_int_equal(bpf_object__load(object), 0);
	for (unsigned count = 0; count <= WORDS_MAX; count++) {
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof frame, .data_out = frame,
			    .data_size_out = sizeof frame, .repeat = 1);

		message(frame, sizeof frame);
		frame[63] = (unsigned char)count;
		assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf_object__next_program(object, NULL)), &run), 0);
		memcpy(&result, frame, sizeof result);
		assert_int_equal(result, published[8 * count]);
	}
	bpf_object__close(object);
}

/* A packet as another program would make it: the numbers were computed apart from this code. */
static void test_packet(void **state)
{
	static const uint8_t source[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 1 };
	const struct master_key master = { { 0x0001020304050607, 0x08090a0b0c0d0e0f } };
	struct knock_packet packet, bound;
	uint64_t made[2], other[2];

	(void)state;
	key_of_knock(&master, "door", made);
	key_of_knock(&master, "doos", other);
	assert_int_equal(made[0], 0x70882de9dae91c93);
	assert_int_equal(made[1], 0xba28d57d9a6e74f8);
	assert_true(made[0] != other[0] && made[1] != other[1]);
	knock_packet_make(made, 0x0102030405060708, NULL, &packet);
	assert_memory_equal(&packet, "wk\1\0\0\0\0\0\1\2\3\4\5\6\7\10\124\071\273\071\367\130\223\172", sizeof packet);
	knock_packet_make(made, 0x0102030405060708, source, &bound);
	assert_memory_equal(&bound, "wk\1\1\0\0\0\0\1\2\3\4\5\6\7\10\155\102\143\314\375\072\073\230", sizeof bound);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_packet),
	};

	return cmocka_run_group_tests_name("bpf/siphash", tests, NULL, NULL);
}
