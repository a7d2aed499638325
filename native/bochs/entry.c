/* SPDX-License-Identifier: Apache-2.0
 * Lets Bochs 3.0 see interrupts of the host as soon as it enters a guest, when preloaded into it.
 *
 * Bochs keeps a mask of the events that may interrupt an instruction.  Interrupts are in it while the
 * interrupt flag is off, except in a guest that leaves for every interrupt of the host
 * (handleInterruptMaskChange, cpu/flag_ctrl_pro.cc).  At a VM entry the mask is made when the guest's flags
 * have been loaded (VMenterLoadCheckGuestState, cpu/vmx.cc), and only later the processor is noted to be in
 * a guest (VMLAUNCH, same file).  So a guest that is entered with its interrupts off does not leave for any
 * interrupt of the host until it changes the flag; a processor leaves at once (Intel SDM, volume 3,
 * "External interrupts" in "Other causes of VM exits": the flag does not matter there).
 *
 * So this makes the mask anew when the instruction has ended.  Bochs finds the function of an instruction in a
 * table, and in it ours takes the place of Bochs'.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* VMLAUNCH and VMRESUME are one function of Bochs. */
#define INSTRUCTIONS 2

typedef void (*instruction_function)(void *cpu, void *instruction);
typedef void (*mask_function)(void *cpu);

static struct {
	instruction_function enter;
	mask_function make_mask;
	int found;
} bochs;

static _Noreturn void refuse(const char *why)
{
	fprintf(stderr, "vmjitter: this Bochs cannot be mended for VM entries: %s\n", why);
	_exit(1);
}

/* Does not return here if the guest is left at once, which Bochs does by a longjmp. */
static void enter(void *cpu, void *instruction)
{
	bochs.enter(cpu, instruction);
	bochs.make_mask(cpu);
}

static void replace(uintptr_t *place)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)place & ~(page - 1);

	/* constants that hold addresses have become read-only when these were known */
	if (mprotect((void *)from, page, PROT_READ | PROT_WRITE))
		refuse("its table of instructions cannot be written");
	*place = (uintptr_t)enter;
	bochs.found++;
}

static int search(struct dl_phdr_info *object, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		uintptr_t *word = (uintptr_t *)(object->dlpi_addr + part->p_vaddr);

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_W))
			continue;
		for (size_t n = part->p_memsz / sizeof(*word); n; n--, word++)
			if (*word == (uintptr_t)bochs.enter)
				replace(word);
	}
	return 1; /* the first object is the program itself */
}

__attribute__((constructor)) static void prepare(void)
{
	bochs.enter = (instruction_function)(uintptr_t)dlsym(
		RTLD_DEFAULT, "_ZN8BX_CPU_C8VMLAUNCHEP15bxInstruction_c");
	bochs.make_mask = (mask_function)(uintptr_t)dlsym(
		RTLD_DEFAULT, "_ZN8BX_CPU_C25handleInterruptMaskChangeEv");
	if (!bochs.enter)
		return; /* it has no virtual machines */
	if (!bochs.make_mask)
		refuse("it lacks a function");
	dl_iterate_phdr(search, NULL);
	if (bochs.found != INSTRUCTIONS)
		refuse("its table of instructions is not as expected");
}
