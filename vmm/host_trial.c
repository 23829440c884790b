#include "vmm/host_trial.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/result.h"

/* The trial guest's memory map: code, three levels of page tables that map the first 2 MiB, a page to write. */
enum {
	PAGE = 0x1000,
	CODE = 0x0000,
	PML4 = 0x1000,
	PDPT = 0x2000,
	PAGE_DIRECTORY = 0x3000,
	TARGET = 0x5000,
	MEMORY = 0x10000,
	TRIAL_PORT = 0x80,
	TRIAL_SECONDS = 10,
	MAX_RUNS = 100,
	CPUID_ENTRIES = 256,
};

/* Page table entry bits (AMD64 APM vol. 2, 5.3). */
enum { PTE_PRESENT = 1, PTE_WRITE = 2, PTE_USER = 4, PTE_LARGE = 0x80 };

/* movb $1, (%rdi); out %al, $0x80 */
static const uint8_t user_code[] = { 0xC6, 0x07, 0x01, 0xE6, TRIAL_PORT };
/* popcnt %ebx, %eax; movb %al, (%rdi); out %al, $0x80. KVM's interpreter has no POPCNT, and every CPU with nested
 * paging has it. */
static const uint8_t kernel_code[] = { 0xF3, 0x0F, 0xB8, 0xC3, 0x88, 0x07, 0xE6, TRIAL_PORT };

enum { OUTCOME_RAN = 1, OUTCOME_DIRTY = 2 };

static void put_u64(uint8_t *memory, size_t offset, uint64_t value)
{
	memcpy(memory + offset, &value, sizeof(value));
}

static bool set_cpuid(int kvm_fd, int vcpu_fd)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2));

	if (!cpuid)
		return false;
	cpuid->nent = CPUID_ENTRIES;
	bool done = ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0 && ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid) == 0;

	free(cpuid);
	return done;
}

/* 64-bit mode with flat segments of the given ring (AMD64 APM vol. 2, 4.8 and 14.6). */
static bool set_registers(int vcpu_fd, bool kernel_mode)
{
	uint8_t ring = kernel_mode ? 0 : 3;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = CODE,
		.rdi = TARGET,
		.rsp = MEMORY,
		.rbx = 1, /* one bit to be counted */
		.rflags = 0x2u | 0x3000u, /* the bit that is always set, and IOPL 3 */
	};
	struct kvm_segment code = {
		.limit = UINT32_MAX, .selector = (uint16_t)(0x08 | ring), .type = 11, .present = 1, .dpl = ring,
		.s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = UINT32_MAX, .selector = (uint16_t)(0x10 | ring), .type = 3, .present = 1, .dpl = ring,
		.db = 1, .s = 1, .g = 1,
	};

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return false;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x80000031; /* PG, NE, ET, PE */
	sregs.cr3 = PML4;
	sregs.cr4 = 0x20;   /* PAE */
	sregs.efer = 0x500; /* LMA, LME */
	return ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) == 0 && ioctl(vcpu_fd, KVM_SET_REGS, &regs) == 0;
}

static int run_trial(int kvm_fd, bool kernel_mode)
{
	int vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	uint8_t *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int run_size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (vm_fd < 0 || memory == MAP_FAILED || run_size < (int)sizeof(struct kvm_run))
		return 0;
	const uint64_t flags = PTE_PRESENT | PTE_WRITE | PTE_USER;

	put_u64(memory, PML4, PDPT | flags);
	put_u64(memory, PDPT, PAGE_DIRECTORY | flags);
	put_u64(memory, PAGE_DIRECTORY, flags | PTE_LARGE);
	if (kernel_mode)
		memcpy(memory + CODE, kernel_code, sizeof(kernel_code));
	else
		memcpy(memory + CODE, user_code, sizeof(user_code));

	struct kvm_userspace_memory_region region = {
		.flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = MEMORY, .userspace_addr = (uintptr_t)memory,
	};
	uint64_t dirty[MEMORY / PAGE / 64 + 1] = { 0 };
	struct kvm_dirty_log log = { .dirty_bitmap = dirty };

	if (ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return 0;
	int vcpu_fd = ioctl(vm_fd, KVM_CREATE_VCPU, 0);

	if (vcpu_fd < 0)
		return 0;
	struct kvm_run *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);

	if (run == MAP_FAILED || !set_cpuid(kvm_fd, vcpu_fd) || !set_registers(vcpu_fd, kernel_mode))
		return 0;
	for (int i = 0; i < MAX_RUNS; i++)
		if (ioctl(vcpu_fd, KVM_RUN, 0) == 0 || errno != EINTR)
			break;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != TRIAL_PORT || memory[TARGET] != 1)
		return 0;
	if (ioctl(vm_fd, KVM_GET_DIRTY_LOG, &log) < 0 || !(dirty[0] >> (TARGET / PAGE) & 1))
		return OUTCOME_RAN;
	return OUTCOME_RAN | OUTCOME_DIRTY;
}

struct host_trial_outcome host_trial_run(int kvm_fd, bool kernel_mode)
{
	struct host_trial_outcome outcome = { .ran = false };
	pid_t child = fork();

	if (child < 0)
		return outcome;
	if (child == 0) {
		/* A guest that hangs must not hang the caller; whatever was opened ends with this process. */
		(void)signal(SIGALRM, SIG_DFL);
		(void)alarm(TRIAL_SECONDS);
		_exit(run_trial(kvm_fd, kernel_mode));
	}
	int status;
	pid_t ended;

	do {
		ended = waitpid(child, &status, 0);
	} while (ended < 0 && errno == EINTR);
	if (ended == child && WIFEXITED(status)) {
		outcome.ran = WEXITSTATUS(status) & OUTCOME_RAN;
		outcome.dirty = WEXITSTATUS(status) & OUTCOME_DIRTY;
	}
	return outcome;
}
