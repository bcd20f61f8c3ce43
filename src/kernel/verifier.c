/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: the verifier's log, in which the emitted line info shows each rule's text as "; text". Out: one sentence
 * with the last words and the line. libbpf's print callback is global to the process; it is used in this file
 * only, and what it says goes to a buffer of the thread.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/object.h"
#include "kernel/verifier.h"

enum { LOG_BYTES = 16 << 20, MESSAGE_BYTES = 600, LINE_BYTES = 256 };

static _Thread_local char messages[MESSAGE_BYTES];

static int keep_message(enum libbpf_print_level level, const char *format, va_list args)
{
	size_t used = strlen(messages);

	if (level != LIBBPF_WARN || used + 3 >= sizeof messages)
		return 0;
	if (!used)
		used = (size_t)snprintf(messages, sizeof messages, ": ");
	vsnprintf(messages + used, sizeof messages - used, format, args);
	for (char *c = messages; *c; c++)
		if (*c == '\n')
			*c = ' ';
	return 0;
}

void object_capture_messages(void)
{
	libbpf_set_print(keep_message);
}

const char *verifier_messages(void)
{
	return messages;
}

void verifier_messages_clear(void)
{
	messages[0] = '\0';
}

int verifier_log_attach(struct kernel *kernel, struct bpf_program *program)
{
	if (!kernel->verifier_log) {
		void *memory = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (memory == MAP_FAILED)
			return -ENOMEM;
		kernel->verifier_log = memory;
	}
	kernel->verifier_log[0] = '\0';
	return bpf_program__set_log_buf(program, kernel->verifier_log, LOG_BYTES);
}

void object_free_log(struct kernel *kernel)
{
	if (kernel->verifier_log)
		munmap(kernel->verifier_log, LOG_BYTES);
	kernel->verifier_log = NULL;
}

static bool is_statistics(const char *line)
{
	static const char *const starts[] = {"processed ",  "verification time", "stack depth",
					     "peak_states", "mark_precise:",     "-- END"};

	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
		if (!strncmp(line, starts[i], strlen(starts[i])))
			return true;
	return line[0] == '\0';
}

static void copy_line(char *to, size_t size, const char *from, size_t length)
{
	snprintf(to, size, "%.*s", (int)(length < size ? length : size - 1), from);
}

void verifier_pick(const char *log, char *line, size_t line_size, char *words, size_t words_size)
{
	line[0] = words[0] = '\0';
	while (*log) {
		size_t length = strcspn(log, "\n");

		if (log[0] == ';' && log[1] == ' ')
			copy_line(line, line_size, log + 2, length - 2);
		else if (length && !is_statistics(log))
			copy_line(words, words_size, log, length);
		log += length + (log[length] == '\n');
	}
}

void verifier_explain(struct kernel *kernel, int error, const char *hook)
{
	char line[LINE_BYTES] = "", words[LINE_BYTES] = "", lacks[80];

	if (kernel->verifier_log && kernel->verifier_log[0])
		verifier_pick(kernel->verifier_log, line, sizeof line, words, sizeof words);
	if (!words[0] && (error == -EPERM || error == -EACCES || error == -ENOMEM)) {
		problem_bpf(kernel, error, "cannot load the program");
		return;
	}
	if (problem_lacks(lacks, sizeof lacks)) {
		/* What the verifier says then are details of that: it takes less, or follows more ways. */
		problem_set(kernel, error, "the kernel takes no program for %s %s; run as root, or with CAP_BPF, CAP_NET_ADMIN and "
			    "CAP_PERFMON", hook, lacks);
		problem_hint(kernel, "`weir doctor` says what is there; the kernel's words%s%s", words[0] ? ": " : "",
			     words[0] ? words : messages);
		return;
	}
	if (words[0]) {
		problem_set(kernel, error, "the kernel's verifier refused the program for %s: %s", hook, words);
		if (line[0])
			problem_hint(kernel, "at the rule or source line: %s", line);
		return;
	}
	problem_set(kernel, error, "cannot load the program for %s: %s%s", hook, strerror(-error), messages);
	if (strstr(messages, "failed to iterate BTF objects"))
		problem_hint(kernel, "before Linux 6.2 this hook takes CAP_SYS_ADMIN, too");
}
