/* SPDX-License-Identifier: Apache-2.0
 * What an exit from a virtual machine costs, without an operating system in it: TSC ticks per
 * exit that KVM handles itself (CPUID), and per exit to user space and back (OUT to a port).
 * API: Linux Documentation/virt/kvm/api.rst.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <x86intrin.h>

#define MEMORY 0x2000
#define START 0x1000

/* 16-bit code; bytes 2 to 5 are the number of rounds */
static const unsigned char none[] = { 0x66, 0xbe, 0, 0, 0, 0, 0x90, 0x66, 0x4e, 0x75, 0xfb, 0xf4 };
static const unsigned char cpuid[] = { 0x66, 0xbe, 0, 0, 0, 0, 0x66, 0x31, 0xc0, 0x0f, 0xa2,
				       0x66, 0x4e, 0x75, 0xf7, 0xf4 };
static const unsigned char out[] = { 0x66, 0xbe, 0, 0, 0, 0, 0xee, 0x66, 0x4e, 0x75, 0xfb, 0xf4 };

static int check(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static int vcpu;
static struct kvm_run *run;
static unsigned char *memory;

static void prepare(void)
{
	int kvm = check(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY };
	int size = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");

	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	region.userspace_addr = (uintptr_t)memory;
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
}

static uint64_t ticks(const unsigned char *code, size_t bytes, uint32_t rounds)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = START, .rdx = 0x1234, .rflags = 2 };
	uint64_t begin;

	memcpy(memory + START, code, bytes);
	memcpy(memory + START + 2, &rounds, sizeof(rounds));
	check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	begin = __rdtsc();
	do
		check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	while (run->exit_reason == KVM_EXIT_IO);
	if (run->exit_reason != KVM_EXIT_HLT) {
		fprintf(stderr, "unexpected exit %u\n", run->exit_reason);
		exit(1);
	}
	return __rdtsc() - begin;
}

int main(void)
{
	const uint32_t few = 100, many = 1100;

	prepare();
	for (int i = 0; i < 3; i++) {
		double rounds = many - few;
		uint64_t base = ticks(none, sizeof(none), many) - ticks(none, sizeof(none), few);
		uint64_t kernel = ticks(cpuid, sizeof(cpuid), many) - ticks(cpuid, sizeof(cpuid), few);
		uint64_t user = ticks(out, sizeof(out), many) - ticks(out, sizeof(out), few);

		printf("{\"loop\": %.1f, \"cpuid\": %.1f, \"out\": %.1f}\n", (double)base / rounds,
		       (double)kernel / rounds, (double)user / rounds);
	}
	return 0;
}
