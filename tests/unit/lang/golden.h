/* SPDX-License-Identifier: GPL-2.0-only */
/* What a case of tests/golden gives beside what is expected of it. */
#ifndef WEIR_TESTS_UNIT_LANG_GOLDEN_H
#define WEIR_TESTS_UNIT_LANG_GOLDEN_H

#include "tests/unit/lang/fake.h"

/* Fails unless `got` is what the file says that has the case's name and ends in .expect; WEIR_GOLDEN_UPDATE=1 writes it. */
static inline void golden_compare(const char *name, const char *got)
{
	char path[512];
	size_t length = 0;
	char *expected;
	FILE *file;

	snprintf(path, sizeof path, "%.*s.expect", (int)(strrchr(name, '.') - name), name);
	if (getenv("WEIR_GOLDEN_UPDATE")) {
		file = fopen(path, "wb");
		assert_non_null(file);
		fputs(got, file);
		fclose(file);
		return;
	}
	expected = fake_slurp(path, &length);
	if (!expected)
		fail_msg("%s is missing", path);
	if (strcmp(got, expected))
		print_message("--- %s expected\n%s--- got\n%s", path, expected, got);
	assert_string_equal(got, expected);
	free(expected);
}

#endif
