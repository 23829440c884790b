#include "vmm/kvm_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"

enum kvm_slot { SLOT_LOW, SLOT_HIGH, SLOT_PRIVATE };

struct kvm_need {
	int capability;
	int least; /* smallest value of KVM_CHECK_EXTENSION that will do */
	const char *what;
};

static const struct kvm_need kvm_needs[] = {
	{ KVM_CAP_USER_MEMORY, 1, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS, "KVM_CAP_SYNC_REGS for registers and events" },
	{ KVM_CAP_IMMEDIATE_EXIT, 1, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_X86_USER_SPACE_MSR, 1, "KVM_CAP_X86_USER_SPACE_MSR" },
	{ KVM_CAP_X86_MSR_FILTER, 1, "KVM_CAP_X86_MSR_FILTER" },
	{ KVM_CAP_VCPU_EVENTS, 1, "KVM_CAP_VCPU_EVENTS" },
	{ KVM_CAP_DEBUGREGS, 1, "KVM_CAP_DEBUGREGS" },
	{ KVM_CAP_XSAVE, 1, "KVM_CAP_XSAVE" },
};

static result kvm_open(int *fd)
{
	*fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (*fd >= 0)
		return OK;
	if (errno == EACCES || errno == EPERM)
		return fail(STATUS_HOST, "no permission to open /dev/kvm: add your user to the group that owns it "
					 "(usually: usermod -aG kvm USER) and log in again");
	return fail_errno(STATUS_HOST, errno,
			  "cannot open /dev/kvm: load kvm_amd or kvm_intel, and turn virtualisation on in the firmware "
			  "(`tercet doctor` tells more)");
}

static result kvm_check(const struct kvm_vm *vm)
{
	int version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION)
		return fail(STATUS_HOST, "/dev/kvm speaks version %d of its interface, tercet speaks %d", version,
			    KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(kvm_needs); i++) {
		const struct kvm_need *need = &kvm_needs[i];
		int value = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, need->capability);

		if (value < 0 || (value & need->least) != need->least)
			return fail(STATUS_HOST,
				    "this host's KVM lacks %s: Linux 5.10 or newer has it (`tercet doctor` tells more)",
				    need->what);
	}
	return OK;
}

static result kvm_vm_open(struct kvm_vm *vm)
{
	/* Exits for accesses that the filter stops, and for those KVM does not know (7.21). */
	struct kvm_enable_cap user_msr = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = { KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL },
	};
	/* Pages are write-protected when we say so, not when the log is read (7.17); older KVMs cannot. */
	struct kvm_enable_cap manual_protect = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
	};

	TRY(kvm_open(&vm->kvm_fd));
	TRY(kvm_check(vm));
	do {
		vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	} while (vm->vm_fd < 0 && errno == EINTR);
	if (vm->vm_fd < 0)
		return fail_errno(STATUS_HOST, errno, "KVM cannot create a virtual machine");
	int size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (size < (int)sizeof(struct kvm_run))
		return fail_errno(STATUS_HOST, errno, "KVM does not tell the size of its vCPU page");
	vm->run_size = (size_t)size;
	if (ioctl(vm->vm_fd, KVM_ENABLE_CAP, &user_msr) < 0)
		return fail_errno(STATUS_HOST, errno, "KVM cannot hand MSR accesses to user space");
	vm->can_leave_nested = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE) > 0;
	vm->watches_pages = ioctl(vm->vm_fd, KVM_ENABLE_CAP, &manual_protect) == 0;
	return OK;
}

result kvm_vm_create(struct kvm_vm *vm)
{
	*vm = (struct kvm_vm){ .kvm_fd = -1, .vm_fd = -1 };
	result r = kvm_vm_open(vm);

	if (failed(r))
		kvm_vm_destroy(vm);
	return r;
}

void kvm_vm_destroy(struct kvm_vm *vm)
{
	fd_close(&vm->vm_fd);
	fd_close(&vm->kvm_fd);
}

result kvm_vm_supported_cpuid(const struct kvm_vm *vm, struct kvm_cpuid_entry2 entries[KVM_VM_CPUID_MAX],
			      unsigned *count)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + KVM_VM_CPUID_MAX * sizeof(*entries));

	if (!cpuid)
		return fail(STATUS_FAILED, "no memory for the table of CPU features");
	cpuid->nent = KVM_VM_CPUID_MAX;
	int status = ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
	int error = errno;

	*count = status < 0 ? 0 : cpuid->nent;
	memcpy(entries, cpuid->entries, *count * sizeof(*entries));
	free(cpuid);
	if (status < 0)
		return fail_errno(STATUS_HOST, error, "KVM does not tell which CPU features it supports");
	return OK;
}

result kvm_vm_offers_svm(const struct kvm_vm *vm, bool *offered)
{
	struct kvm_cpuid_entry2 entries[KVM_VM_CPUID_MAX];
	unsigned count;

	*offered = false;
	TRY(kvm_vm_supported_cpuid(vm, entries, &count));
	for (unsigned i = 0; i < count; i++)
		/* Fn8000_0001 ECX bit 2: SVM (AMD64 APM vol. 3, appendix E) */
		if (entries[i].function == 0x80000001 && (entries[i].ecx & 1u << 2))
			*offered = vm->can_leave_nested;
	return OK;
}

static result kvm_vm_slot(struct kvm_vm *vm, enum kvm_slot slot, uint64_t address, uint8_t *memory,
			  uint64_t size, bool log)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = address,
		.memory_size = size,
		.userspace_addr = (uintptr_t)memory,
	};

	if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail_errno(STATUS_HOST, errno, "KVM cannot map %llu bytes of guest memory at 0x%llx",
				  (unsigned long long)size, (unsigned long long)address);
	return OK;
}

result kvm_vm_map_ram(struct kvm_vm *vm, const struct ram *ram)
{
	TRY(kvm_vm_slot(vm, SLOT_LOW, 0, ram->memory, ram_low_size(ram), true));
	if (ram_high_size(ram) > 0)
		TRY(kvm_vm_slot(vm, SLOT_HIGH, RAM_HOLE_END, ram->memory + ram_low_size(ram),
				ram_high_size(ram), true));
	return OK;
}

result kvm_vm_remap_ram(struct kvm_vm *vm, const struct ram *ram)
{
	/* A slot of no size is one that is deleted (KVM API, 4.35 KVM_SET_USER_MEMORY_REGION), and with it goes
	 * everything that KVM derived from its contents. */
	TRY(kvm_vm_slot(vm, SLOT_LOW, 0, ram->memory, 0, false));
	if (ram_high_size(ram) > 0)
		TRY(kvm_vm_slot(vm, SLOT_HIGH, RAM_HOLE_END, ram->memory + ram_low_size(ram), 0, false));
	return kvm_vm_map_ram(vm, ram);
}

result kvm_vm_map_private(struct kvm_vm *vm, uint64_t address, void *memory, uint64_t size)
{
	return kvm_vm_slot(vm, SLOT_PRIVATE, address, memory, size, false);
}

static result kvm_vm_slot_dirty(struct kvm_vm *vm, enum kvm_slot slot, uint64_t first_page, uint64_t pages,
				uint64_t *bitmap)
{
	/* RAM below the hole is a multiple of 64 pages, except where it ends there and nothing follows. */
	size_t words = (size_t)((pages + 63) / 64);
	uint64_t *log = calloc(words, sizeof(*log));
	struct kvm_dirty_log request = { .slot = slot, .dirty_bitmap = log };

	if (!log)
		return fail(STATUS_FAILED, "no memory for a dirty log of %llu pages", (unsigned long long)pages);
	if (ioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &request) < 0) {
		int error = errno;

		free(log);
		return fail_errno(STATUS_FAILED, error, "KVM does not give the dirty log");
	}
	for (size_t i = 0; i < words; i++)
		bitmap[first_page / 64 + i] |= log[i];
	free(log);
	return OK;
}

result kvm_vm_collect_dirty(struct kvm_vm *vm, const struct ram *ram, uint64_t *bitmap)
{
	uint64_t low_pages = ram_low_size(ram) / RAM_PAGE_SIZE;
	uint64_t high_pages = ram_high_size(ram) / RAM_PAGE_SIZE;

	TRY(kvm_vm_slot_dirty(vm, SLOT_LOW, 0, low_pages, bitmap));
	if (high_pages > 0)
		TRY(kvm_vm_slot_dirty(vm, SLOT_HIGH, low_pages, high_pages, bitmap));
	return OK;
}

static result watch_slot(struct kvm_vm *vm, enum kvm_slot slot, uint64_t first_page, uint64_t pages,
			 uint64_t *bitmap)
{
	uint64_t *log = bitmap + first_page / 64;
	size_t begin = 0, end = (size_t)((pages + 63) / 64);

	while (begin < end && log[begin] == 0)
		begin++;
	while (end > begin && log[end - 1] == 0)
		end--;
	if (begin == end)
		return OK;
	/* A multiple of 64 pages, or up to the slot's end (4.117). */
	struct kvm_clear_dirty_log request = {
		.slot = slot,
		.num_pages = (uint32_t)((end * 64 < pages ? end * 64 : pages) - begin * 64),
		.first_page = begin * 64,
		.dirty_bitmap = &log[begin],
	};

	if (ioctl(vm->vm_fd, KVM_CLEAR_DIRTY_LOG, &request) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not watch guest memory for writes");
	return OK;
}

result kvm_vm_watch_pages(struct kvm_vm *vm, const struct ram *ram, uint64_t *bitmap)
{
	uint64_t low_pages = ram_low_size(ram) / RAM_PAGE_SIZE;
	uint64_t high_pages = ram_high_size(ram) / RAM_PAGE_SIZE;

	if (!vm->watches_pages)
		return OK;
	TRY(watch_slot(vm, SLOT_LOW, 0, low_pages, bitmap));
	if (high_pages > 0)
		TRY(watch_slot(vm, SLOT_HIGH, low_pages, high_pages, bitmap));
	return OK;
}

/* The three ranges in which AMD64 keeps MSRs (APM vol. 2, 15.11): 8192 each, one bit an MSR in the filter. */
enum { MSR_RANGE = 0x2000, MSR_BITMAP_BYTES = MSR_RANGE / 8 };
static const uint32_t msr_ranges[] = { 0x00000000, 0xC0000000, 0xC0010000 };

result kvm_vm_filter_msrs(struct kvm_vm *vm, const uint32_t *passed, size_t count)
{
	uint8_t bitmaps[ARRAY_SIZE(msr_ranges)][MSR_BITMAP_BYTES] = { 0 };
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_DENY };

	for (size_t r = 0; r < ARRAY_SIZE(msr_ranges); r++) {
		for (size_t i = 0; i < count; i++) {
			uint32_t index = passed[i] - msr_ranges[r];

			if (passed[i] >= msr_ranges[r] && index < MSR_RANGE)
				bitmaps[r][index / 8] |= (uint8_t)(1u << (index % 8));
		}
		filter.ranges[r] = (struct kvm_msr_filter_range){
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.nmsrs = MSR_RANGE,
			.base = msr_ranges[r],
			.bitmap = bitmaps[r],
		};
	}
	if (ioctl(vm->vm_fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return fail_errno(STATUS_HOST, errno, "KVM does not accept the MSR filter");
	return OK;
}
