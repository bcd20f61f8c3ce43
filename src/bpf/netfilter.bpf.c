#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
SEC("netfilter") int weir_netfilter(void *ctx)
{
	(void)ctx;
	return 1;
}
