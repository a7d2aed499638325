/* SPDX-License-Identifier: Apache-2.0
 * Mends Bochs 3.0 with several CPUs, when preloaded into it.
 *
 * Bochs ends an instruction that raised an exception with a longjmp back to its main loop, and there
 * the address of the exception's handler has to become the address to which a further fault, or an
 * exit from a virtual machine, would go back ("prev_rip").  The loop for one CPU does so
 * (cpu/cpu.cc, cpu_loop, "commit new EIP"); the one for several does not (main.cc,
 * bx_begin_simulation).  If the very next thing is an EPT violation of the handler's page, or an
 * interrupt for the host, the guest is set back to the instruction that faulted, with the frame of
 * the exception on its stack already.  Linux guests die of that while they boot.
 *
 * So this does it in longjmp, for every CPU: between two turns a CPU's prev_rip equals its rip.  Where
 * both are in a CPU's record is found out by letting Bochs' own function write them to a blank one.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLANK_BYTES (64u << 20)
#define MARK 0x5a17c0de12345678u
#define MAX_CPUS 255

typedef void (*set_eip_function)(void *cpu, uint64_t value);
typedef void (*longjmp_function)(struct __jmp_buf_tag *, int) __attribute__((noreturn));

void __longjmp_chk(struct __jmp_buf_tag *place, int value) __attribute__((noreturn));

static struct {
	char ***cpus; /* Bochs' array of CPUs */
	int count;
	size_t rip, prev_rip; /* offsets in a CPU's record */
	longjmp_function longjmp;
} bochs;

static _Noreturn void refuse(const char *why)
{
	fprintf(stderr, "vmjitter: this Bochs cannot be mended for several CPUs: %s\n", why);
	_exit(1);
}

/* The general registers, rip among them, stand before prev_rip (cpu/cpu.h, class BX_CPU_C). */
static void find_offsets(set_eip_function set_eip)
{
	uint64_t *blank = calloc(1, BLANK_BYTES);
	size_t found[2] = { 0, 0 }, count = 0;

	if (!blank)
		refuse("no memory");
	set_eip(blank, MARK);
	for (size_t i = 0; i < BLANK_BYTES / sizeof(*blank); i++)
		if (blank[i] == MARK && count++ < 2)
			found[count - 1] = i * sizeof(*blank);
	free(blank);
	if (count != 2)
		refuse("dbg_set_eip does not write two places");
	bochs.rip = found[0];
	bochs.prev_rip = found[1];
}

static void prepare_several(const char *count)
{
	set_eip_function set_eip =
		(set_eip_function)(uintptr_t)dlsym(RTLD_DEFAULT, "_ZN8BX_CPU_C11dbg_set_eipEm");

	bochs.longjmp = (longjmp_function)(uintptr_t)dlsym(RTLD_NEXT, "__longjmp_chk");
	bochs.cpus = dlsym(RTLD_DEFAULT, "bx_cpu_array");
	bochs.count = count ? atoi(count) : 0;
	if (!set_eip || !bochs.cpus || !bochs.longjmp)
		refuse("it lacks a function or the array of CPUs");
	if (bochs.count < 2 || bochs.count > MAX_CPUS)
		refuse("VMJITTER_BOCHS_CPUS does not say how many CPUs it has");
	find_offsets(set_eip);
}

__attribute__((constructor)) static void prepare(void)
{
	const char *count = getenv("VMJITTER_BOCHS_CPUS");

	if (count && atoi(count) == 1)
		bochs.longjmp = (longjmp_function)(uintptr_t)dlsym(RTLD_NEXT, "__longjmp_chk");
	else
		prepare_several(count);
	unsetenv("LD_PRELOAD"); /* what Bochs starts is not Bochs */
}

void __longjmp_chk(struct __jmp_buf_tag *place, int value)
{
	for (int i = 0; bochs.cpus && *bochs.cpus && i < bochs.count; i++) {
		char *cpu = (*bochs.cpus)[i];

		memcpy(cpu + bochs.prev_rip, cpu + bochs.rip, sizeof(uint64_t));
	}
	bochs.longjmp(place, value);
}
