/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a policy's program judges what comes to its place. In: the place, its link or filter, the store's epoch and what the
 * program is told of its time; out: nothing, or why not. It looks at what the kernel has, for somebody may have changed that by
 * hand, or a command may have been killed.
 */
#include "kernel/reach.h"

#include <bpf/bpf.h>

#include "bpf/plane_abi.h"
#include "kernel/attach.h"
#include "kernel/chain.h"

/* The program that the link or filter calls; 0: none, or it is not seen from here. */
static uint32_t called_first(const struct generation *generation, uint32_t index)
{
	const struct place *place = &generation->record->places[index];
	CLEANUP_CLOSE int link = -1;
	struct link_state state;

	if (place->how == HOW_CLSACT)
		return attach_filter_prog(place);
	link = pin_open(generation->folder.text, "link_%u", index);
	return link < 0 || attach_state(place, link, &state) ? 0 : state.prog_id;
}

static bool is_reached(const struct generation *generation, uint32_t index, int prog)
{
	uint32_t first = called_first(generation, index), own = attach_prog_id(prog);

	return own && (first == own || (generation->record->places[index].hook == HOOK_XDP && chain_leads(first, own)));
}

static bool is_unfinished(const struct kernel *kernel)
{
	struct path path;

	path_join(&path, kernel->root.text, "%s/%s", STAGE_NAME, JOURNAL_NAME);
	return path_exists(path.text);
}

/* From which epoch on the program says nothing any more; 0 if it is not known. */
static uint64_t last_epoch(int prog)
{
	const uint32_t zero = 0;
	CLEANUP_CLOSE int fd = prog_map(prog, MAP_CONTROL);
	struct plane_control control;
	struct bpf_map_info info;

	if (fd < 0 || map_info(fd, &info) || info.value_size != sizeof control || bpf_map_lookup_elem(fd, &zero, &control))
		return 0;
	return control.until;
}

const char *reach_problem(struct kernel *kernel, const struct generation *generation, uint32_t index, int prog)
{
	const struct place *place = &generation->record->places[index];
	uint64_t epoch = store_epoch(kernel);

	if (!place_attached(generation->folder.text, generation->record, index))
		return "is not attached";
	if (place->how == HOW_CLSACT && place->netns != attach_netns())
		return "is in another network namespace, whose filters are not seen from here";
	if (!is_reached(generation, index, prog))
		return is_unfinished(kernel) ? "is behind one that a killed command left there: any command that changes something "
					       "tidies up, `weir refresh` among them" :
					       "is not reached: packets go to another program";
	if (epoch < generation->record->since)
		return "judges nothing: its epoch has not come";
	return epoch < last_epoch(prog) ? NULL : "judges nothing: it is told that its epochs are over";
}
