/* SPDX-License-Identifier: GPL-2.0-only */
/* weir confirm: keeps what `weir apply --confirm` put in force. */
#include <errno.h>
#include <string.h>

#include "cli.h"

static const struct {
	const char *name;
	int status;
	const char *text;
} outcomes[] = {
	[PENDING_NONE] = { "none", WEIR_INPUT,
			   "nothing waits for a confirmation; if its time ran out, the former state is back (the "
			   "system log has it)" },
	[PENDING_APPLYING] = { "applying", WEIR_INPUT, "not applied yet" },
	[PENDING_WAITING] = { "waiting", WEIR_INPUT, "still waits" },
	[PENDING_CONFIRMED] = { "confirmed", WEIR_OK, "confirmed, stays in force" },
	[PENDING_ROLLED_BACK] = { "rolled-back", WEIR_INPUT, "too late, was rolled back" },
	[PENDING_STUCK] = { "stuck", WEIR_SYSTEM,
			    "too late, and rolling back failed: the new policies are in force" },
};

static int confirm(struct cli *cli)
{
	struct pending_reply reply;
	json_t *object = NULL;
	int status, error = pending_ask(PENDING_CONFIRM, &reply);

	if (error) {
		output_failure(cli, "cannot ask the process that would roll back: %s", strerror(-error));
		return output_finish(cli, WEIR_SYSTEM, NULL);
	}
	if (reply.state >= sizeof outcomes / sizeof outcomes[0])
		reply.state = PENDING_NONE;
	status = outcomes[reply.state].status;
	if (cli->set.json)
		object = json_pack("{s:s, s:o}", "state", outcomes[reply.state].name, "file",
				   json_text(reply.file[0] ? reply.file : NULL));
	else
		fprintf(status ? stderr : stdout, "%s: %s\n", reply.file[0] ? reply.file : "weir",
			outcomes[reply.state].text);
	return output_finish(cli, status, object);
}

const struct command command_confirm = {
	.name = "confirm",
	.synopsis = "",
	.summary = "Keep what `weir apply --confirm` put in force",
	.run = confirm,
};
