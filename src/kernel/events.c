/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading events and captures. In: the ring buffers of policies; out: one event at a time. A reader keeps a position of its
 * own and moves the ring's on, so that several may read at once and each sees all; one that falls behind by a
 * whole ring loses what was overwritten, and counts it.
 *
 * The store's lock is held only while the rings are looked up, which is done again several times a
 * second: policies come and go, and each replacement begins a new ring. Old ones are read to their end.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

#include "kernel/rules.h"

enum { RESCAN_MS = 250, RING_HEADER = 8, EVENT_HEAD = offsetof(struct event, data) };

/* A record, wherever it is: of a capture, its data goes on. */
union record_buffer {
	struct event event;
	char bytes[EVENT_HEAD + CAPTURE_BYTES_MAX + 1];
};

/* A policy's name, for as long as the reader lives. */
struct name {
	struct name *next;
	char text[NAME_LENGTH];
};

struct ring {
	const char *policy;
	uint32_t map_id;
	int fd;
	int status_fd;
	size_t size;        /* of the data, a power of two */
	uint64_t *consumer; /* one page, shared with the kernel and other readers */
	uint64_t *producer; /* one page, then the data twice in a row */
	char *data;
	void *edits, *epoch; /* of the policy's rules, and of the store, mapped; or NULL */
	size_t edits_size, epoch_size;
	uint64_t position;
	uint64_t lost_at_start;
	uint64_t overrun;
	bool seen; /* in the last scan */
	bool captures;
	bool skipped;         /* something was overwritten since the last record */
	uint32_t next_number; /* of captures: the one expected next */
};

struct kernel_events {
	struct kernel *kernel;
	bool captures; /* these are read, not events */
	union record_buffer *record;
	char policy[NAME_LENGTH]; /* empty: all */
	struct name *names;
	struct ring *rings;
	size_t count;
	size_t next;     /* where to look first */
	int epoll;
	int64_t rescan;  /* when to scan again: CLOCK_MONOTONIC, ms; 0: not scanned yet */
	uint64_t lost_before; /* by rings that are gone */
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- one ring --------------------------------------------------------------------------------------------------- */

static struct plane_status read_status(const struct ring *ring)
{
	struct plane_status status = { 0 };
	const uint32_t zero = 0;

	if (ring->status_fd >= 0)
		bpf_map_lookup_elem(ring->status_fd, &zero, &status);
	return status;
}

static uint64_t status_lost(const struct ring *ring)
{
	const struct plane_status status = read_status(ring);

	return ring->captures ? status.captures_lost : status.events_lost;
}

/* The number of the capture at the reader's position, or if there is none yet, that the next one will have. */
static uint32_t number_at(const struct ring *ring)
{
	uint64_t producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	const char *at = ring->data + (ring->position & (ring->size - 1));

	if (ring->position >= producer || producer - ring->position > ring->size ||
	    __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE) & BPF_RINGBUF_BUSY_BIT)
		return (uint32_t)read_status(ring).captures;
	return ((const struct event *)(at + RING_HEADER))->log;
}

static void ring_close(struct ring *ring)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (ring->consumer)
		munmap(ring->consumer, page);
	if (ring->producer)
		munmap(ring->producer, page + 2 * ring->size);
	if (ring->edits)
		munmap(ring->edits, ring->edits_size);
	if (ring->epoch)
		munmap(ring->epoch, ring->epoch_size);
	close_cleanup(&ring->fd);
	close_cleanup(&ring->status_fd);
}

static int ring_map(struct ring *ring)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	ring->consumer = memory;
	memory = mmap(NULL, page + 2 * ring->size, PROT_READ, MAP_SHARED, ring->fd, (off_t)page);
	if (memory == MAP_FAILED)
		return -errno;
	ring->producer = memory;
	ring->data = (char *)memory + page;
	ring->position = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	ring->lost_at_start = status_lost(ring);
	ring->next_number = ring->captures ? number_at(ring) : 0;
	return 0;
}

/* A ring that came while we were reading is read from its beginning, unless that is overwritten already. */
static void read_from_beginning(struct ring *ring)
{
	if (__atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) <= ring->size)
		ring->position = 0;
	ring->lost_at_start = 0;
	ring->next_number = 0;
	ring->skipped = true; /* if so, what went before is missing */
}

/* The descriptors are taken. */
static int ring_open(int fd, int status_fd, const struct bpf_map_info *info, bool captures, struct ring *ret_ring)
{
	struct ring ring = { .fd = fd, .status_fd = status_fd, .map_id = info->id, .size = info->max_entries,
			     .seen = true, .captures = captures };
	int error;

	error = ring_map(&ring);
	if (error)
		ring_close(&ring);
	else
		*ret_ring = ring;
	return error;
}

static uint64_t record_length(uint32_t head)
{
	uint32_t length = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

	return (length + RING_HEADER + 7) / 8 * 8;
}

/* What lies between was overwritten; reading goes on where the ring's own position is. */
static void skip_overrun(struct ring *ring)
{
	uint64_t consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);

	if (!ring->captures)
		ring->overrun += (consumer - ring->position) / record_length(sizeof(struct event));
	ring->skipped = true;
	ring->position = consumer;
}

static void move_on(struct ring *ring, uint64_t length)
{
	uint64_t consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);

	ring->position += length;
	while (consumer < ring->position &&
	       !__atomic_compare_exchange_n(ring->consumer, &consumer, ring->position, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE))
		;
}

static bool well_formed(const struct ring *ring, uint32_t length, const struct event *event)
{
	if (!ring->captures)
		return length == sizeof *event;
	return length >= sizeof *event && event->captured <= length - EVENT_HEAD;
}

/* Captures have all sizes: their numbers tell how many were skipped. Other CPUs' may come a little out of order. */
static uint32_t skipped_before(const struct ring *ring, uint32_t number)
{
	int32_t gap = (int32_t)(number - ring->next_number);

	return ring->captures && ring->skipped && gap > 0 ? (uint32_t)gap : 0;
}

static void note_number(struct ring *ring, uint32_t number)
{
	ring->overrun += skipped_before(ring, number);
	ring->skipped = false;
	ring->next_number = number + 1;
}

/* 1 and an event, or 0. The copy counts only if the producer had not come round to it meanwhile. */
static int ring_read(struct ring *ring, union record_buffer *record)
{
	for (;;) {
		uint64_t producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
		const char *at = ring->data + (ring->position & (ring->size - 1));
		uint32_t head, length;

		if (ring->position >= producer)
			return 0;
		if (producer - ring->position > ring->size) {
			skip_overrun(ring);
			continue;
		}
		head = __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
		if (head & BPF_RINGBUF_BUSY_BIT)
			return 0;
		length = head & ~BPF_RINGBUF_DISCARD_BIT;
		memcpy(record, at + RING_HEADER, length < sizeof *record ? length : sizeof *record);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
		if (producer - ring->position > ring->size)
			continue;
		move_on(ring, record_length(head));
		if (head & BPF_RINGBUF_DISCARD_BIT || !well_formed(ring, length, &record->event))
			continue;
		if (ring->captures)
			note_number(ring, record->event.log);
		return 1;
	}
}

/* --- all of them ------------------------------------------------------------------------------------------------ */

static struct ring *find_ring(struct kernel_events *events, uint32_t map_id)
{
	for (size_t i = 0; i < events->count; i++)
		if (events->rings[i].map_id == map_id)
			return &events->rings[i];
	return NULL;
}

static const char *keep_name(struct kernel_events *events, const char *text)
{
	struct name *name;

	for (name = events->names; name; name = name->next)
		if (!strcmp(name->text, text))
			return name->text;
	name = calloc(1, sizeof *name);
	if (!name)
		return NULL;
	snprintf(name->text, sizeof name->text, "%s", text);
	name->next = events->names;
	events->names = name;
	return name->text;
}

/* Takes the descriptors. */
static int add_ring(struct kernel_events *events, const char *policy, int fd, int status_fd,
		    const struct bpf_map_info *info)
{
	struct epoll_event interest = { .events = EPOLLIN };
	struct ring *rings = reallocarray(events->rings, events->count + 1, sizeof *rings);
	const char *name = keep_name(events, policy);
	int error;

	if (rings)
		events->rings = rings;
	if (!rings || !name) {
		close(fd);
		close_cleanup(&status_fd);
		return -ENOMEM;
	}
	error = ring_open(fd, status_fd, info, events->captures, &rings[events->count]);
	if (error)
		return error;
	rings[events->count].policy = name;
	if (events->rescan)
		read_from_beginning(&rings[events->count]);
	if (epoll_ctl(events->epoll, EPOLL_CTL_ADD, fd, &interest)) {
		error = -errno;
		ring_close(&rings[events->count]);
		return error;
	}
	events->count++;
	return 0;
}

static void map_pinned(const char *folder, const char *name, void **ret_data, size_t *ret_size)
{
	CLEANUP_CLOSE int fd = pin_open(folder, "%s", name);

	if (fd >= 0)
		value_map(fd, PROT_READ, ret_data, ret_size);
}

static int scan_generation(struct kernel_events *events, const struct generation *generation, int fd,
			   const struct bpf_map_info *info)
{
	int error = add_ring(events, generation->policy, fd, pin_open(generation->folder.text, "status"), info);

	struct ring *ring;

	if (error)
		return error;
	ring = &events->rings[events->count - 1];
	map_pinned(generation->folder.text, "edits", &ring->edits, &ring->edits_size); /* if rules can be changed in place */
	map_pinned(events->kernel->root.text, EPOCH_NAME, &ring->epoch, &ring->epoch_size);
	return 0;
}

static int scan_policy(struct kernel_events *events, const struct generation *generation)
{
	struct bpf_map_info info;
	struct ring *known;
	int fd, error;

	if (events->policy[0] && strcmp(events->policy, generation->policy))
		return 0;
	fd = pin_open(generation->folder.text, "%s", events->captures ? "captures" : "events");
	if (fd < 0)
		return 0;
	error = map_info(fd, &info);
	if (error) {
		close(fd);
		return error;
	}
	known = find_ring(events, info.id);
	if (!known)
		return scan_generation(events, generation, fd, &info);
	known->seen = true;
	close(fd);
	return 0;
}

static uint64_t ring_lost(const struct ring *ring)
{
	return status_lost(ring) - ring->lost_at_start + ring->overrun +
	       (ring->captures ? skipped_before(ring, number_at(ring)) : 0);
}

/* Rings of policies that are gone go once they are empty. */
static void drop_gone(struct kernel_events *events)
{
	size_t kept = 0;

	for (size_t i = 0; i < events->count; i++) {
		struct ring *ring = &events->rings[i];

		if (ring->seen || ring->position < __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE)) {
			events->rings[kept++] = *ring;
			continue;
		}
		events->lost_before += ring_lost(ring);
		epoll_ctl(events->epoll, EPOLL_CTL_DEL, ring->fd, NULL);
		ring_close(ring);
	}
	events->count = kept;
}

static int scan(struct kernel_events *events)
{
	struct view view = { 0 };
	int error = store_lock(events->kernel);

	for (size_t i = 0; i < events->count; i++)
		events->rings[i].seen = false;
	if (!error) {
		error = view_read(events->kernel, &view);
		store_unlock(events->kernel);
	} else if (error == -ENOENT) {
		error = 0;
	}
	for (size_t i = 0; !error && i < view.count; i++)
		error = scan_policy(events, &view.items[i]);
	if (!error)
		drop_gone(events);
	view_free(&view);
	events->rescan = now_ms() + RESCAN_MS;
	return error;
}

static int open_events(struct kernel *kernel, const char *policy, struct kernel_events *events)
{
	int error;

	events->kernel = kernel;
	events->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (events->epoll < 0)
		return -errno;
	if (policy && strlen(policy) >= sizeof events->policy)
		return problem_set(kernel, -ENOENT, "there is no policy `%.60s...`", policy);
	snprintf(events->policy, sizeof events->policy, "%s", policy ? policy : "");
	error = scan(events);
	if (!error && events->captures && !events->count)
		error = policy ? problem_set(kernel, -ENOENT, "no rule of policy `%s` has `capture`", policy) :
				 problem_set(kernel, -ENOENT, "no policy in force has a rule with `capture`");
	if (!error && policy && !events->count)
		error = problem_set(kernel, -ENOENT, "there is no policy `%s`", policy);
	return error;
}

static struct kernel_events *reader_new(bool captures)
{
	struct kernel_events *events = calloc(1, sizeof *events);

	if (!events)
		return NULL;
	events->epoll = -1;
	events->captures = captures;
	events->record = malloc(sizeof *events->record);
	if (events->record)
		return events;
	kernel_events_close(events);
	return NULL;
}

static int reader_open(struct kernel *kernel, bool captures, const char *policy, struct diags *diags,
		       struct kernel_events **ret_events)
{
	struct kernel_events *events = reader_new(captures);
	int error;

	if (!events)
		return -ENOMEM;
	error = open_events(kernel, policy, events);
	error = problem_report(kernel, diags, error);
	if (error)
		kernel_events_close(events);
	else
		*ret_events = events;
	return error;
}

int kernel_events_open(struct kernel *kernel, const char *policy, struct diags *diags,
		       struct kernel_events **ret_events)
{
	return reader_open(kernel, false, policy, diags, ret_events);
}

int kernel_captures_open(struct kernel *kernel, const char *policy, struct diags *diags,
			 struct kernel_events **ret_captures)
{
	return reader_open(kernel, true, policy, diags, ret_captures);
}

static int add_source(struct kernel_events *events, const struct event_source *source)
{
	struct bpf_map_info info;
	int error = map_info(source->ring, &info);

	if (!error)
		return add_ring(events, source->name, source->ring, source->status, &info);
	close(source->ring);
	close_cleanup(&(int){ source->status });
	return error;
}

/* From the beginning, and there is nothing to look for later. */
int kernel_events_of(const struct event_source *sources, size_t count, struct kernel_events **ret_events)
{
	struct kernel_events *events = reader_new(false);
	int error = 0;

	if (!events)
		return -ENOMEM;
	events->rescan = INT64_MAX;
	events->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (events->epoll < 0)
		error = -errno;
	for (size_t i = 0; i < count && !error; i++)
		error = add_source(events, &sources[i]);
	if (error)
		kernel_events_close(events);
	else
		*ret_events = events;
	return error;
}

uint32_t kernel_events_generation(const struct kernel_events *events, size_t index)
{
	return events->rings[index].map_id;
}

static struct event_origin origin_of(const struct ring *ring)
{
	struct event_origin origin = { .policy = ring->policy, .generation = ring->map_id, .edits = ring->edits };

	if (ring->edits && ring->epoch)
		origin.edits_size = rules_committed(ring->edits, ring->edits_size,
						    __atomic_load_n((const uint64_t *)ring->epoch, __ATOMIC_ACQUIRE));
	return origin;
}

/* Begins with the ring after the one read last: none starves. */
static int read_any(struct kernel_events *events, struct event_origin *ret_origin)
{
	for (size_t i = 0; i < events->count; i++) {
		size_t at = (events->next + i) % events->count;

		if (!ring_read(&events->rings[at], events->record))
			continue;
		*ret_origin = origin_of(&events->rings[at]);
		events->next = at + 1;
		return 1;
	}
	return 0;
}

static int wait_some(struct kernel_events *events, int64_t until)
{
	int64_t left = (until < events->rescan ? until : events->rescan) - now_ms();
	struct epoll_event event;

	if (epoll_wait(events->epoll, &event, 1, left > 0 ? (int)left : 0) < 0)
		return -errno;
	return 0;
}

static int reader_next(struct kernel_events *events, int timeout_ms, struct event_origin *ret_origin)
{
	int64_t until = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;

	for (;;) {
		int error = 0;

		if (read_any(events, ret_origin))
			return 1;
		if (now_ms() >= events->rescan)
			error = scan(events);
		else if (now_ms() >= until)
			return 0;
		if (!error)
			error = wait_some(events, until);
		if (error == -EINTR) /* the caller's signal, or the process was stopped and goes on */
			return 0;
		if (error) {
			problem_forget(events->kernel);
			return error;
		}
	}
}

int kernel_events_next(struct kernel_events *events, int timeout_ms, struct event *ret_event,
		       struct event_origin *ret_origin)
{
	int got = reader_next(events, timeout_ms, ret_origin);

	if (got == 1)
		*ret_event = events->record->event;
	return got;
}

int kernel_captures_next(struct kernel_events *captures, int timeout_ms, const struct event **ret_event,
			 struct event_origin *ret_origin)
{
	int got = reader_next(captures, timeout_ms, ret_origin);

	if (got == 1)
		*ret_event = &captures->record->event;
	return got;
}

uint64_t kernel_events_lost(struct kernel_events *events)
{
	uint64_t lost = events->lost_before;

	for (size_t i = 0; i < events->count; i++)
		lost += ring_lost(&events->rings[i]);
	return lost;
}

void kernel_events_close(struct kernel_events *events)
{
	for (size_t i = 0; i < events->count; i++)
		ring_close(&events->rings[i]);
	free(events->rings);
	for (struct name *name = events->names, *next; name; name = next) {
		next = name->next;
		free(name);
	}
	close_cleanup(&events->epoll);
	free(events->record);
	free(events);
}
