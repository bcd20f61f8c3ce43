/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The process behind `weir apply --confirm`. In: the former state, from the command that forks it; requests on the
 * socket of pending.c. Out: the former state again, unless a confirmation comes in time. It belongs to no terminal,
 * so it outlives the session that started it; a SIGTERM makes it roll back at once. What it does goes to the system
 * log.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* What goes over the channel between command and watchdog. */
enum { CHANNEL_READY = 'r', CHANNEL_APPLIED = 'a', CHANNEL_CANCEL = 'c' };

enum { RESTORE_TRIES = 10 };

struct guard {
	struct weir *weir;
	struct weir_snapshot *snapshot;
	unsigned seconds;
	int listener;
	int channel;         /* -1 once the command has said its last word */
	int signals;
	enum pending_state state;
	bool removed;        /* the socket's name may be another watchdog's by now */
	uint64_t deadline_ms; /* while PENDING_WAITING */
	char file[256];
};

/* Time goes on while the machine sleeps. */
static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t left_ms(const struct guard *guard)
{
	uint64_t now = now_ms();

	return guard->deadline_ms > now ? guard->deadline_ms - now : 0;
}

static void log_diagnostics(struct guard *guard)
{
	for (size_t i = 0; i < weir_diagnostic_count(guard->weir); i++)
		syslog(LOG_ERR, "%s", weir_diagnostic(guard->weir, i)->text);
}

/* The kernel may be busy or short of memory for a moment; an administrator is perhaps locked out. Try again. */
static void roll_back(struct guard *guard, const char *why)
{
	syslog(LOG_WARNING, "%s: %s, rolling back", guard->file, why);
	for (int i = 0; i < RESTORE_TRIES; i++) {
		if (!weir_snapshot_restore(guard->weir, guard->snapshot)) {
			syslog(LOG_WARNING, "%s: rolled back", guard->file);
			guard->state = PENDING_ROLLED_BACK;
			return;
		}
		log_diagnostics(guard);
		sleep(1);
	}
	syslog(LOG_CRIT, "%s: cannot roll back; its policies stay in force", guard->file);
	guard->state = PENDING_STUCK;
}

static void start_clock(struct guard *guard)
{
	guard->state = PENDING_WAITING;
	guard->deadline_ms = now_ms() + guard->seconds * 1000ull;
}

/* Nothing is pending any more: free the name before anybody is told so, who may be about to take it. */
static void remove_name(struct guard *guard)
{
	if (!guard->removed)
		pending_remove();
	guard->removed = true;
}

static void answer(struct guard *guard, int client)
{
	struct pending_reply reply = { .state = guard->state, .pid = getpid() };

	if (!pending_open(guard->state))
		remove_name(guard);
	if (guard->state == PENDING_WAITING)
		reply.seconds_left = (uint32_t)((left_ms(guard) + 999) / 1000);
	memcpy(reply.file, guard->file, sizeof reply.file);
	send(client, &reply, sizeof reply, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void serve(struct guard *guard)
{
	struct timeval timeout = { .tv_sec = 1 };
	uint32_t request;
	int client = accept4(guard->listener, NULL, NULL, SOCK_CLOEXEC);

	if (client < 0)
		return;
	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	if (recv(client, &request, sizeof request, 0) == sizeof request) {
		if (request == PENDING_CONFIRM && guard->state == PENDING_WAITING)
			guard->state = PENDING_CONFIRMED;
		else if (request == PENDING_ROLLBACK && guard->state == PENDING_WAITING)
			roll_back(guard, "asked to");
		answer(guard, client);
	}
	close(client);
}

/* The command's word, or its end: who dies half-way may have applied, so the clock runs then too. */
static void hear_command(struct guard *guard)
{
	char word = 0;

	if (recv(guard->channel, &word, 1, 0) == 1 && word == CHANNEL_CANCEL) {
		guard->state = PENDING_NONE;
	} else {
		start_clock(guard);
		send(guard->channel, &(char){ CHANNEL_READY }, 1, MSG_NOSIGNAL);
	}
	close(guard->channel);
	guard->channel = -1;
}

static void wait_event(struct guard *guard)
{
	struct pollfd events[] = {
		{ .fd = guard->listener, .events = POLLIN },
		{ .fd = guard->channel, .events = POLLIN },
		{ .fd = guard->signals, .events = POLLIN },
	};
	int timeout = -1;

	if (guard->state == PENDING_WAITING) {
		uint64_t left = left_ms(guard);

		if (!left) {
			roll_back(guard, "not confirmed in time");
			return;
		}
		timeout = left < 1000 ? (int)left : 1000; /* poll()'s clock stands still in a suspended machine */
	}
	if (poll(events, 3, timeout) <= 0)
		return;
	if (events[1].revents)
		hear_command(guard);
	else if (events[2].revents && guard->state == PENDING_WAITING)
		roll_back(guard, "told to end");
	else if (events[0].revents)
		serve(guard);
}

static void watch(struct guard *guard)
{
	struct pollfd more = { .fd = guard->listener, .events = POLLIN };

	while (pending_open(guard->state))
		wait_event(guard);
	if (guard->state == PENDING_CONFIRMED)
		syslog(LOG_NOTICE, "%s: confirmed", guard->file);
	remove_name(guard);
	/* Those that came while it was rolling back. */
	while (poll(&more, 1, 0) > 0)
		serve(guard);
}

static int block_signals(void)
{
	sigset_t set;

	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Keeps only the two sockets; a pipe of the caller left open here would keep its reader waiting. */
static void leave_terminal(struct guard *guard)
{
	int null = open("/dev/null", O_RDWR), low, high;

	if (chdir("/"))
		syslog(LOG_WARNING, "chdir: %m");
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	low = guard->listener < guard->channel ? guard->listener : guard->channel;
	high = guard->listener < guard->channel ? guard->channel : guard->listener;
	close_range(3, (unsigned)low - 1, 0);
	if (high > low + 1)
		close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	close_range((unsigned)high + 1, ~0u, 0);
}

static _Noreturn void run(struct guard *guard)
{
	char ready = CHANNEL_READY;

	setsid();
	leave_terminal(guard);
	guard->signals = block_signals();
	openlog("weir", LOG_PID, LOG_DAEMON);
	if (guard->signals < 0 || send(guard->channel, &ready, 1, MSG_NOSIGNAL) != 1)
		_exit(EXIT_SYSTEM);
	watch(guard);
	_exit(EXIT_DONE);
}

/* Forks twice: the watchdog is nobody's child here and can never get a terminal again. */
static int spawn(struct guard *guard)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return -errno;
	if (!child) {
		setsid();
		child = fork();
		if (!child)
			run(guard);
		_exit(child < 0);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status ? -EAGAIN : 0;
}

static int start(struct guard *guard, struct watchdog *ret_watchdog)
{
	int channel[2], error;
	char word;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel))
		return -errno;
	guard->channel = channel[1];
	error = spawn(guard);
	close(channel[1]);
	if (!error && recv(channel[0], &word, 1, 0) != 1)
		error = -ECHILD;
	if (error) {
		close(channel[0]);
		pending_remove();
		return error;
	}
	ret_watchdog->channel = channel[0];
	return 0;
}

int watchdog_start(struct weir *weir, struct weir_snapshot *snapshot, const char *file, unsigned seconds,
		   struct watchdog *ret_watchdog)
{
	struct guard guard = { .weir = weir, .snapshot = snapshot, .seconds = seconds, .state = PENDING_APPLYING };
	int error = pending_listen(&guard.listener);

	if (error)
		return error;
	snprintf(guard.file, sizeof guard.file, "%s", file);
	error = start(&guard, ret_watchdog);
	close(guard.listener);
	return error;
}

int watchdog_applied(struct watchdog *watchdog)
{
	char word = CHANNEL_APPLIED;
	int error = 0;

	if (send(watchdog->channel, &word, 1, MSG_NOSIGNAL) != 1 || recv(watchdog->channel, &word, 1, 0) != 1)
		error = -ECHILD;
	close(watchdog->channel);
	return error;
}

void watchdog_cancel(struct watchdog *watchdog)
{
	char word = CHANNEL_CANCEL;

	send(watchdog->channel, &word, 1, MSG_NOSIGNAL);
	close(watchdog->channel);
}
