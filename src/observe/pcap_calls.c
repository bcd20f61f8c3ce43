/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads libpcap. In: nothing; out: its functions. It brings libdbus, libsystemd, libgcrypt and others along, which take longer to
 * load than most of weir's commands to run, so only what reads or writes captures waits for them.
 */
#include "observe/pcap_calls.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

static struct pcap_calls calls;
static bool loaded;

static void load(void)
{
	static const char *const names[] = { "libpcap.so.0.8" /* Debian's */, "libpcap.so.1" };
	void *library = NULL;

	for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	loaded = library != NULL;
	if (!loaded)
		return;
#define LOAD(name) \
	calls.name = (__typeof__(calls.name))dlsym(library, "pcap_" #name); \
	loaded &= calls.name != NULL;
	PCAP_CALLS(LOAD)
#undef LOAD
}

const struct pcap_calls *pcap_calls(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	return loaded ? &calls : NULL;
}
