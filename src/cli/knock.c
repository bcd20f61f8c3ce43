/* SPDX-License-Identifier: GPL-2.0-only */
/* weir knock: knocks at a host's door, with a key or in a sequence; makes keys. */
#include "cli.h"

enum { KEY_PORT = 62201 };

static int make_key(struct cli *cli)
{
	json_t *object = NULL;
	int status;

	if (cli->operand_count || cli->set.key || cli->set.sequence)
		return usage_error(cli->command, "`--new-key FILE` stands alone");
	status = weir_knock_new_key(cli->weir, cli->set.new_key);
	output_diagnostics(cli);
	if (!status && cli->set.json)
		object = json_pack("{s:o}", "key", json_text(cli->set.new_key));
	else if (!status)
		printf("%s: a new key; whoever may knock needs a copy, and nobody else\n", cli->set.new_key);
	return output_finish(cli, status, object);
}

/* An exit status, or 0. */
static int check_options(const struct cli *cli)
{
	if (!cli->operand_count)
		return usage_error(cli->command, "which HOST?");
	if (!cli->set.key && !cli->set.sequence)
		return usage_error(cli->command, "`--key FILE` or `--sequence tcp:PORT,udp:PORT,...` is missing");
	if (cli->set.key && cli->set.sequence)
		return usage_error(cli->command, "one knocks with a key or with a sequence, not both");
	if (cli->set.key && cli->operand_count < 2)
		return usage_error(cli->command, "which knock of that host? `weir knock HOST NAME --key FILE`");
	if (cli->set.sequence && cli->operand_count > 1)
		return usage_error(cli->command, "a sequence has no name: `weir knock HOST --sequence ...`");
	if (cli->set.sequence && (cli->set.port || cli->set.udp || cli->set.tcp || cli->set.bind))
		return usage_error(cli->command, "a sequence says itself which ports, and nothing is bound in it");
	if (cli->set.tcp)
		return usage_error(cli->command, "a key's MAC goes by UDP: an ordinary socket can put nothing into a SYN, and "
				   "firewalls on the way drop SYNs that carry data");
	return 0;
}

static int knock(struct cli *cli)
{
	struct weir_knock knock = {
		.size = sizeof knock, .host = cli->operand_count ? cli->operands[0] : NULL, .key = cli->set.key,
		.name = cli->operand_count > 1 ? cli->operands[1] : NULL, .sequence = cli->set.sequence,
		.port = cli->set.port ? (unsigned)cli->set.port : KEY_PORT, .bind = cli->set.bind,
		.pause_ms = (unsigned)cli->set.pause,
	};
	json_t *object = NULL;
	size_t addresses;
	int status;

	if (cli->set.new_key)
		return make_key(cli);
	status = check_options(cli);
	if (status)
		return status;
	status = weir_knock(cli->weir, &knock, &addresses);
	output_diagnostics(cli);
	if (!status && cli->set.json)
		object = json_pack("{s:o, s:I}", "host", json_text(knock.host), "addresses", (json_int_t)addresses);
	else if (!status)
		printf("knocked at %s (%zu address%s); whether it is open now, only trying tells\n", knock.host, addresses,
		       addresses == 1 ? "" : "es");
	return output_finish(cli, status, object);
}

static const struct option knock_options[] = {
	TEXT("key", 0, "FILE", key, "the knock's key"),
	NUMBER("port", 0, "N", port, "where packets with a key go; default 62201", 1, 65535),
	FLAG("udp", 0, udp, "send a UDP packet, which is the default"),
	FLAG("tcp", 0, tcp, "refused with the reason: a SYN has no room for a key's MAC"),
	FLAG("bind", 0, bind, "bind the packet to this host's address: nobody else can use it; not through NAT"),
	TEXT("sequence", 0, "LIST", sequence, "knock in this order, as `tcp:7000,udp:8000`"),
	NUMBER("pause", 0, "MS", pause, "milliseconds between steps of a sequence; default 100", 1, 60000),
	TEXT("new-key", 0, "FILE", new_key, "make a key, and do nothing else"),
};

const struct command command_knock = {
	.name = "knock",
	.synopsis = "HOST NAME --key FILE | HOST --sequence LIST | --new-key FILE",
	.summary = "Knock at a host that lets in who knocks",
	.help = "NAME is that of the knock in the host's policy. The packet goes to all addresses of the host. It carries\n"
		"the time: both clocks must be right to about a minute, or to what the policy says.",
	OPTIONS(knock_options),
	.most = 2,
	.run = knock,
};
