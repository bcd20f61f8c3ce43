/* SPDX-License-Identifier: GPL-2.0-only */
#include "tests/lib/cbpf_sim.h"

#include <linux/bpf_common.h>
#include <string.h>

enum { EXTENSIONS_MAX = 64 };

static unsigned get16(const unsigned char *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

/* --- what reaches a socket --------------------------------------------------------------------------------------- */

/* The kernel hands nothing on that is shorter than this, and cuts UDP to its own length. */
static bool receive_transport(unsigned number, bool ipv6, struct cbpf_packet *packet)
{
	const unsigned char *at = packet->network + packet->data;
	uint32_t length = packet->length;

	switch (number) {
	case 6:
		return length >= 20 && at[12] >> 4 >= 5 && (at[12] >> 4) * 4u <= length;
	case 17:
		if (length < 8 || get16(at + 4) < 8 || get16(at + 4) > length)
			return false;
		packet->length = get16(at + 4);
		return true;
	case 136:
		return length >= 8;
	case 132:
		return length >= 12;
	case 1:
		return !ipv6 && length >= 8;
	case 58:
		return ipv6 && length >= 4;
	default:
		return false;
	}
}

static bool receive_ipv4(struct cbpf_packet *packet)
{
	const unsigned char *ip = packet->network;
	unsigned header, total;

	if (packet->size < 20 || ip[0] >> 4 != 4)
		return false;
	header = (ip[0] & 15) * 4u;
	total = get16(ip + 2);
	if (header < 20 || total < header || total > packet->size || get16(ip + 6) & 0x3fff)
		return false;
	packet->size = total;
	packet->data = header;
	packet->length = (uint32_t)(total - header);
	return receive_transport(ip[9], false, packet);
}

/* Bytes of the extension header; 0: it is none, or a fragment. */
static size_t extension(unsigned number, const unsigned char *at)
{
	switch (number) {
	case 0:
	case 43:
	case 60:
	case 135:
		return (at[1] + 1u) * 8;
	case 44:
		return get16(at + 2) & 0xfff9 ? 0 : 8;
	case 51:
		return (at[1] + 2u) * 4;
	default:
		return 0;
	}
}

static bool receive_ipv6(struct cbpf_packet *packet)
{
	const unsigned char *ip = packet->network;
	size_t at = 40, total, bytes;
	unsigned number;

	if (packet->size < 40 || ip[0] >> 4 != 6)
		return false;
	total = 40 + get16(ip + 4);
	if (total == 40 || total > packet->size)
		return false;
	number = ip[6];
	for (int i = 0; i < EXTENSIONS_MAX && at + 8 <= total && (bytes = extension(number, ip + at)); i++) {
		number = ip[at];
		at += bytes;
	}
	if (at > total)
		return false;
	packet->size = total;
	packet->data = at;
	packet->length = (uint32_t)(total - at);
	return receive_transport(number, true, packet);
}

bool cbpf_receive(const unsigned char *packet, size_t size, uint16_t ethertype, struct cbpf_packet *ret_packet)
{
	*ret_packet = (struct cbpf_packet){ .network = packet, .size = size, .protocol = ethertype };
	return ethertype == 0x0800 ? receive_ipv4(ret_packet) : ethertype == 0x86dd && receive_ipv6(ret_packet);
}

/* --- running ----------------------------------------------------------------------------------------------------- */

static bool load_ancillary(const struct cbpf_packet *packet, int32_t which, uint32_t *ret_value)
{
	switch (which) {
	case SKF_AD_PROTOCOL:
		*ret_value = packet->protocol;
		return true;
	case SKF_AD_IFINDEX:
		*ret_value = packet->interface;
		return packet->interface != 0; /* no device: the program ends */
	case SKF_AD_MARK:
		*ret_value = packet->mark;
		return true;
	default:
		return false;
	}
}

static bool load(const struct cbpf_packet *packet, uint16_t code, int32_t offset, uint32_t *ret_value)
{
	size_t bytes = BPF_SIZE(code) == BPF_W ? 4 : BPF_SIZE(code) == BPF_H ? 2 : 1;
	int64_t at = offset >= 0 ? (int64_t)offset + (int64_t)packet->data : (int64_t)offset - SKF_NET_OFF;
	uint32_t value = 0;

	if (BPF_MODE(code) == BPF_ABS && offset < 0 && offset >= SKF_AD_OFF)
		return load_ancillary(packet, offset - SKF_AD_OFF, ret_value);
	if (at < 0 || (uint64_t)at + bytes > packet->size)
		return false;
	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | packet->network[(size_t)at + i];
	*ret_value = value;
	return true;
}

static uint32_t compute(uint16_t operation, uint32_t a, uint32_t operand)
{
	switch (operation) {
	case BPF_ADD: return a + operand;
	case BPF_SUB: return a - operand;
	case BPF_AND: return a & operand;
	case BPF_OR: return a | operand;
	case BPF_LSH: return a << (operand & 31);
	case BPF_RSH: return a >> (operand & 31);
	default: return 0;
	}
}

static bool holds(uint16_t test, uint32_t a, uint32_t operand)
{
	switch (test) {
	case BPF_JEQ: return a == operand;
	case BPF_JGT: return a > operand;
	case BPF_JGE: return a >= operand;
	default: return a & operand;
	}
}

struct machine {
	uint32_t a, x, memory[BPF_MEMWORDS];
};

static bool run_load(struct machine *machine, const struct sock_filter *insn, const struct cbpf_packet *packet)
{
	uint32_t *to = BPF_CLASS(insn->code) == BPF_LD ? &machine->a : &machine->x;
	uint32_t octet;

	switch (BPF_MODE(insn->code)) {
	case BPF_IMM:
		*to = insn->k;
		return true;
	case BPF_MEM:
		*to = machine->memory[insn->k];
		return true;
	case BPF_LEN:
		*to = packet->length;
		return true;
	case BPF_ABS:
		return load(packet, insn->code, (int32_t)insn->k, to);
	case BPF_IND:
		return load(packet, insn->code, (int32_t)(machine->x + insn->k), to);
	default:
		if (!load(packet, BPF_B, (int32_t)insn->k, &octet))
			return false;
		*to = (octet & 15) * 4;
		return true;
	}
}

static size_t run_jump(const struct machine *machine, const struct sock_filter *insn)
{
	uint32_t operand = BPF_SRC(insn->code) == BPF_X ? machine->x : insn->k;

	if (BPF_OP(insn->code) == BPF_JA)
		return insn->k;
	return holds(BPF_OP(insn->code), machine->a, operand) ? insn->jt : insn->jf;
}

uint32_t cbpf_run(const struct sock_filter *insns, size_t count, const struct cbpf_packet *packet)
{
	struct machine machine = { 0 };

	for (size_t at = 0; at < count; at++) {
		const struct sock_filter *insn = &insns[at];

		switch (BPF_CLASS(insn->code)) {
		case BPF_LD:
		case BPF_LDX:
			if (!run_load(&machine, insn, packet))
				return 0;
			break;
		case BPF_ST:
			machine.memory[insn->k] = machine.a;
			break;
		case BPF_ALU:
			machine.a = compute(BPF_OP(insn->code), machine.a,
					    BPF_SRC(insn->code) == BPF_X ? machine.x : insn->k);
			break;
		case BPF_JMP:
			at += run_jump(&machine, insn);
			break;
		case BPF_RET:
			return insn->k;
		default:
			return 0;
		}
	}
	return 0;
}

/* --- checking ---------------------------------------------------------------------------------------------------- */

static bool is_known(uint16_t code)
{
	static const uint16_t known[] = {
		BPF_LD | BPF_W | BPF_ABS, BPF_LD | BPF_H | BPF_ABS, BPF_LD | BPF_B | BPF_ABS, BPF_LD | BPF_W | BPF_IND,
		BPF_LD | BPF_H | BPF_IND, BPF_LD | BPF_B | BPF_IND, BPF_LD | BPF_IMM, BPF_LD | BPF_MEM,
		BPF_LD | BPF_W | BPF_LEN, BPF_LDX | BPF_IMM, BPF_LDX | BPF_MEM, BPF_LDX | BPF_B | BPF_MSH, BPF_ST,
		BPF_ALU | BPF_ADD | BPF_K, BPF_ALU | BPF_ADD | BPF_X, BPF_ALU | BPF_AND | BPF_K,
		BPF_ALU | BPF_LSH | BPF_K, BPF_ALU | BPF_RSH | BPF_K, BPF_JMP | BPF_JA, BPF_JMP | BPF_JEQ | BPF_K,
		BPF_JMP | BPF_JGT | BPF_K, BPF_JMP | BPF_JGE | BPF_K, BPF_JMP | BPF_JSET | BPF_K, BPF_RET | BPF_K,
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i] == code)
			return true;
	return false;
}

static bool is_memory(const struct sock_filter *insn)
{
	return insn->code == BPF_ST || insn->code == (BPF_LD | BPF_MEM) || insn->code == (BPF_LDX | BPF_MEM);
}

/* Which words are written on every way to each instruction, as the kernel does it: one bit each. */
static const char *check_memory(const struct sock_filter *insns, size_t count)
{
	static uint16_t written[BPF_MAXINSNS];
	uint16_t now = 0;

	memset(written, 0xff, sizeof written);
	for (size_t i = 0; i < count; i++) {
		const struct sock_filter *insn = &insns[i];

		now &= written[i];
		if (insn->code == BPF_ST)
			now |= (uint16_t)(1u << insn->k);
		else if (is_memory(insn) && !(now >> insn->k & 1))
			return "memory is read before it is written";
		if (insn->code == (BPF_JMP | BPF_JA)) {
			written[i + 1 + insn->k] &= now;
		} else if (BPF_CLASS(insn->code) == BPF_JMP) {
			written[i + 1 + insn->jt] &= now;
			written[i + 1 + insn->jf] &= now;
		}
		if (BPF_CLASS(insn->code) == BPF_JMP || BPF_CLASS(insn->code) == BPF_RET)
			now = 0xffff;
	}
	return NULL;
}

const char *cbpf_check(const struct sock_filter *insns, size_t count)
{
	if (!count || count > BPF_MAXINSNS)
		return "too short or too long";
	for (size_t i = 0; i < count; i++) {
		const struct sock_filter *insn = &insns[i];
		size_t left = count - i - 1;

		if (!is_known(insn->code))
			return "an instruction that the emitter does not use";
		if (is_memory(insn) && insn->k >= BPF_MEMWORDS)
			return "no such memory";
		if (insn->code == (BPF_JMP | BPF_JA) && insn->k >= left)
			return "a jump out of the program";
		if (BPF_CLASS(insn->code) == BPF_JMP && (insn->jt >= left || insn->jf >= left) &&
		    insn->code != (BPF_JMP | BPF_JA))
			return "a jump out of the program";
	}
	if (BPF_CLASS(insns[count - 1].code) != BPF_RET)
		return "no return at the end";
	return check_memory(insns, count);
}
