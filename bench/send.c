/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * send INTERFACE RATE SECONDS: UDP frames of 64 bytes (60 here, and the checksum that the wire adds) to port 7001, so many a
 * second, in steps of a millisecond. Prints how many were sent and how long it took. RATE 0: as fast as it goes.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { FRAME = 60, BATCH = 64 };

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static unsigned batch_send(int fd, struct mmsghdr *messages, unsigned count)
{
	int sent = sendmmsg(fd, messages, count < BATCH ? count : BATCH, 0);

	return sent > 0 ? (unsigned)sent : 0;
}

int main(int argc, char **argv)
{
	static const unsigned char head[] = {
		2, 0x77, 0, 0, 0, 1, 2, 0x77, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, FRAME - 14, 0, 1, 0, 0, 64, 17, 0, 0,
		10, 77, 0, 2, 10, 77, 0, 1, 0x0f, 0xa0, 7001 >> 8, 7001 & 255, 0, FRAME - 34, 0, 0,
	};
	unsigned char frame[FRAME] = { 0 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	struct iovec bytes = { frame, sizeof frame };
	struct mmsghdr messages[BATCH] = { 0 };
	double rate, seconds, begin;
	unsigned long sent = 0;
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (argc != 4 || fd < 0)
		return 1;
	memcpy(frame, head, sizeof head);
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	rate = atof(argv[2]);
	seconds = atof(argv[3]);
	for (int i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ &to, sizeof to, &bytes, 1, NULL, 0, 0 };
	begin = now();
	while (now() - begin < seconds) {
		unsigned long due = (unsigned long)((now() - begin) * rate);

		if (!rate)
			sent += batch_send(fd, messages, BATCH);
		else if (due > sent)
			sent += batch_send(fd, messages, (unsigned)(due - sent));
		else
			nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	printf("%lu %.6f\n", sent, now() - begin);
	return 0;
}
