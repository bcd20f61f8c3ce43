/* SPDX-License-Identifier: GPL-2.0-only */
/* libpcap, loaded when it is needed. */
#ifndef WEIR_OBSERVE_PCAP_CALLS_H
#define WEIR_OBSERVE_PCAP_CALLS_H

#include <pcap/pcap.h>

#define PCAP_CALLS(CALL) \
	CALL(open_offline_with_tstamp_precision) CALL(open_dead_with_tstamp_precision) CALL(close) CALL(geterr) \
	CALL(datalink) CALL(datalink_val_to_description_or_dlt) CALL(next_ex) \
	CALL(dump_open) CALL(dump) CALL(dump_flush) CALL(dump_file) CALL(dump_close)

/* pcap_close() is `close`, and so on. */
struct pcap_calls {
#define PCAP_MEMBER(name) __typeof__(&pcap_##name) name;
	PCAP_CALLS(PCAP_MEMBER)
#undef PCAP_MEMBER
};

/* NULL: the library is not there. It stays loaded. Thread-safe. */
const struct pcap_calls *pcap_calls(void);

#endif
