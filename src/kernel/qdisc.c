/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Does a device send packets when their time has come? In: its index; out: yes if all its queues have the fq qdisc, the
 * root itself or below mq. Asks by rtnetlink; what cannot be found out is a no.
 */
#include "kernel/qdisc.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel/internal.h"

enum { ANSWER_BYTES = 32768 };

struct asking {
	uint32_t ifindex;
	unsigned queues, paced; /* below mq; or the root alone */
	bool mq;
	bool root_paced;
};

static const char *kind_of(struct nlmsghdr *message)
{
	struct tcmsg *qdisc = NLMSG_DATA(message);
	struct rtattr *attribute = (struct rtattr *)((char *)qdisc + NLMSG_ALIGN(sizeof *qdisc));
	int left = (int)(message->nlmsg_len - NLMSG_LENGTH(sizeof *qdisc));

	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
		if (attribute->rta_type == TCA_KIND)
			return RTA_DATA(attribute);
	return "";
}

static void look_at(struct asking *asking, struct nlmsghdr *message)
{
	const struct tcmsg *qdisc = NLMSG_DATA(message);
	const char *kind = kind_of(message);

	if (message->nlmsg_type != RTM_NEWQDISC || (uint32_t)qdisc->tcm_ifindex != asking->ifindex ||
	    qdisc->tcm_parent == TC_H_INGRESS)
		return;
	if (qdisc->tcm_parent == TC_H_ROOT) {
		asking->mq = !strcmp(kind, "mq");
		asking->root_paced = !strcmp(kind, "fq");
	} else {
		asking->queues++;
		asking->paced += !strcmp(kind, "fq");
	}
}

/* True while more comes. */
static bool read_answer(int socket, struct asking *asking)
{
	char bytes[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t size = recv(socket, bytes, sizeof bytes, 0);
	int left = (int)size;

	for (struct nlmsghdr *message = (struct nlmsghdr *)bytes; size > 0 && NLMSG_OK(message, (unsigned)left);
	     message = NLMSG_NEXT(message, left)) {
		if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)
			return false;
		look_at(asking, message);
	}
	return size > 0;
}

bool qdisc_paces(uint32_t ifindex)
{
	struct {
		struct nlmsghdr head;
		struct tcmsg body;
	} request = {
		.head = { .nlmsg_len = sizeof request, .nlmsg_type = RTM_GETQDISC,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .tcm_family = AF_UNSPEC, .tcm_ifindex = (int)ifindex },
	};
	CLEANUP_CLOSE int socket_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct asking asking = { .ifindex = ifindex };

	if (socket_fd < 0 || send(socket_fd, &request, sizeof request, 0) != sizeof request)
		return false;
	while (read_answer(socket_fd, &asking))
		continue;
	return asking.root_paced || (asking.mq && asking.queues && asking.queues == asking.paced);
}
