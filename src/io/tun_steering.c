/*
 * The steering program: queue of a packet = hash(addresses, ports) mod queues, a few instructions
 * of eBPF that are loaded at start. The kernel keeps 16 bits of the result and takes the remainder
 * by the number of queues (tun_ebpf_select_queue(), Linux drivers/net/tun.c). Offsets are those of
 * an IPv4 header without options; anything else ends up on some queue and is discarded there.
 *
 * The function must stay the same for ever and depend on nothing else: with --port-per-worker a
 * flow's source port follows from its queue.
 */
#include "io/tun_interface.h"
#include "packet/headers.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD_WORD(from)                                                                            \
	{                                                                                          \
		.code = BPF_LD | BPF_ABS | BPF_W, .imm = (from)                                    \
	}
#define MOVE(to, from)                                                                             \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from)            \
	}
#define XOR(to, from)                                                                              \
	{                                                                                          \
		.code = BPF_ALU | BPF_XOR | BPF_X, .dst_reg = (to), .src_reg = (from)              \
	}
#define MULTIPLY(to, by)                                                                           \
	{                                                                                          \
		.code = BPF_ALU | BPF_MUL | BPF_K, .dst_reg = (to), .imm = (by)                    \
	}
#define SHIFT_RIGHT(to, by)                                                                        \
	{                                                                                          \
		.code = BPF_ALU | BPF_RSH | BPF_K, .dst_reg = (to), .imm = (by)                    \
	}
#define EXIT()                                                                                     \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}

enum { HASH_MULTIPLIER = 0x61c88647 }; /* 2^32 less 2^32 / golden ratio */

static int load_program(void)
{
	const struct bpf_insn program[] = {
		MOVE(BPF_REG_6, BPF_REG_1), /* where BPF_LD | BPF_ABS expects the packet */
		LOAD_WORD(IPV4_SOURCE),
		MOVE(BPF_REG_7, BPF_REG_0),
		MULTIPLY(BPF_REG_7, HASH_MULTIPLIER),
		LOAD_WORD(IPV4_DESTINATION),
		XOR(BPF_REG_7, BPF_REG_0),
		MULTIPLY(BPF_REG_7, HASH_MULTIPLIER),
		LOAD_WORD(IPV4_HEADER_SIZE + TCP_PORTS),
		XOR(BPF_REG_0, BPF_REG_7),
		MULTIPLY(BPF_REG_0, HASH_MULTIPLIER),
		SHIFT_RIGHT(BPF_REG_0, 16),
		EXIT(),
	};
	union bpf_attr attributes;

	memset(&attributes, 0, sizeof(attributes));
	attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attributes.insns = (uint64_t)(uintptr_t)program;
	attributes.insn_cnt = sizeof(program) / sizeof(program[0]);
	attributes.license = (uint64_t)(uintptr_t) "MIT";
	return (int)syscall(__NR_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
}

int tun_steering_attach(int queue)
{
	int program = load_program();
	int error = 0;

	if (program < 0)
		return -errno;
	if (ioctl(queue, TUNSETSTEERINGEBPF, &program) < 0)
		error = -errno;
	close(program);
	return error;
}

void tun_steering_detach(int queue)
{
	int none = -1;

	/* An interface that goes away takes the program with it. */
	(void)ioctl(queue, TUNSETSTEERINGEBPF, &none);
}
