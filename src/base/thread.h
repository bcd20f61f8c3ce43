/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads that only compute. */
#ifndef WEIR_BASE_THREAD_H
#define WEIR_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>

/* Starts one that takes no signals: they are for the threads that there were. 0 or an error number; join it. */
static inline int thread_start(pthread_t *ret_thread, void *(*work)(void *context), void *context)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	error = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (error)
		return error;
	error = pthread_create(ret_thread, NULL, work, context);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

#endif
