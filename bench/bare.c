/*
 * The same payloads without lockstep: the least that a program must do with KVM to run one. What one replica of
 * tercet costs more than this is the price of being able to have others.
 *
 * usage: bare PAYLOAD [ARGUMENTS [MEBIBYTES]]
 *
 * A program of its own, which shares no code with tercet. It prints what the payload prints, and on standard error the
 * number of exits and the seconds from the first KVM_RUN to the end. Exit status: the payload's; 77 without KVM.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	SKIP = 77,
	/* Where things stand in guest memory; payload.h promises the image at 1 MiB and the rest to be free. */
	TSS = 0x3000,
	TSS_LIMIT = 0x68 + 65536 / 8, /* APM volume 2, 12.2.5: a 64-bit TSS, an I/O bitmap of all ports, a byte */
	TABLES = 0x10000,
	PAGE = 4096,
	ARGUMENTS_ROOM = 4096,
	CPUID_ENTRIES = 256,
	PORT_LATCH = 0x80,
	PORT_END = 0xF4,
	PORT_UART = 0x3F8,
	PORT_UART_STATUS = 0x3FD,
	PORT_PM_TIMER = 0x608,
	UART_READY = 0x60,
	PM_TIMER_HZ = 3579545,
};

static uint8_t *ram;
static size_t ram_size;

static void die(const char *what)
{
	fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int kvm(int fd, unsigned long request, void *argument, const char *what)
{
	int value = ioctl(fd, request, argument);

	if (value < 0)
		die(what);
	return value;
}

/* All memory identity mapped by pages of 2 MiB, as tercet does it: present, writable, user, accessed, dirty, large. */
static void map_memory(void)
{
	uint64_t *table = (uint64_t *)(void *)(ram + TABLES);

	table[0] = (TABLES + PAGE) | 0x67;
	for (uint64_t i = 0; i < 4; i++)
		table[512 + i] = (TABLES + (2 + i) * PAGE) | 0x67;
	for (uint64_t i = 0; i < UINT64_C(4) * 512; i++)
		table[1024 + i] = i << 21 | 0xE7;
}

static uint64_t load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat facts;
	uint8_t *file;
	Elf64_Ehdr header;

	if (fd < 0 || fstat(fd, &facts) < 0)
		die(path);
	file = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		die(path);
	memcpy(&header, file, sizeof(header));
	for (unsigned i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr part;

		memcpy(&part, file + header.e_phoff + i * sizeof(part), sizeof(part));
		if (part.p_type != PT_LOAD)
			continue;
		if (part.p_offset + part.p_filesz > (uint64_t)facts.st_size || part.p_paddr > ram_size ||
		    part.p_memsz > ram_size - part.p_paddr || part.p_filesz > part.p_memsz) {
			errno = ENOEXEC;
			die(path);
		}
		memcpy(ram + part.p_paddr, file + part.p_offset, part.p_filesz);
	}
	(void)munmap(file, (size_t)facts.st_size);
	(void)close(fd);
	return header.e_entry;
}

/* Long mode, ring 3, with all ports open: what payload.h promises. */
static void enter(int vcpu, uint64_t start, const char *arguments)
{
	const struct kvm_segment code = { .limit = ~0u, .selector = 0x33, .type = 11, .present = 1, .dpl = 3,
					  .s = 1, .l = 1, .g = 1 };
	const struct kvm_segment data = { .limit = ~0u, .selector = 0x2B, .type = 3, .present = 1, .dpl = 3,
					  .s = 1, .db = 1, .g = 1 };
	const uint64_t at = ram_size - ARGUMENTS_ROOM;
	struct kvm_regs registers = { .rip = start, .rsp = at - PAGE, .rdi = ram_size, .rsi = at, .rflags = 0x3002 };
	struct kvm_sregs state;

	if (strlen(arguments) >= ARGUMENTS_ROOM) {
		errno = E2BIG;
		die("the arguments");
	}
	memcpy(ram + at, arguments, strlen(arguments) + 1);
	ram[TSS + 0x66] = 0x68; /* where the bitmap begins */
	ram[TSS + TSS_LIMIT] = 0xFF;
	map_memory();
	kvm(vcpu, KVM_GET_SREGS, &state, "KVM_GET_SREGS");
	state.cs = code;
	state.ss = state.ds = state.es = state.fs = state.gs = data;
	state.tr = (struct kvm_segment){ .base = TSS, .limit = TSS_LIMIT, .type = 11, .present = 1 };
	state.cr0 = 0x80010033; /* PG WP NE ET MP PE */
	state.cr3 = TABLES;
	state.cr4 = 0x620;  /* PAE OSFXSR OSXMMEXCPT */
	state.efer = 0xD00; /* LME LMA NXE */
	kvm(vcpu, KVM_SET_SREGS, &state, "KVM_SET_SREGS");
	kvm(vcpu, KVM_SET_REGS, &registers, "KVM_SET_REGS");
}

static double seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Answers one access; true when the guest has ended. */
static int answer(const struct kvm_run *run, void *data, uint32_t *status)
{
	static uint8_t latch;
	uint32_t value = ~0u;

	if (run->io.direction == KVM_EXIT_IO_OUT) {
		memcpy(&value, data, run->io.size);
		if (run->io.port == PORT_UART)
			putchar((int)(value & 0xFF));
		else if (run->io.port == PORT_LATCH)
			latch = (uint8_t)value;
		else if (run->io.port == PORT_END)
			*status = value;
		return run->io.port == PORT_END;
	}
	if (run->io.port == PORT_PM_TIMER)
		value = (uint32_t)(uint64_t)(seconds() * PM_TIMER_HZ);
	else if (run->io.port == PORT_LATCH)
		value = latch;
	else if (run->io.port == PORT_UART_STATUS)
		value = UART_READY;
	memcpy(data, &value, run->io.size);
	return 0;
}

static uint32_t run_guest(int vcpu, struct kvm_run *run)
{
	double begin = seconds();
	uint32_t status = 1;
	uint64_t exits = 0;
	int ended = 0;

	while (!ended) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			die("KVM_RUN");
		}
		exits++;
		if (run->exit_reason != KVM_EXIT_IO || run->io.count != 1) {
			fprintf(stderr, "bare: exit %u after %llu others\n", run->exit_reason,
				(unsigned long long)exits);
			return 1;
		}
		ended = answer(run, (uint8_t *)run + run->io.data_offset, &status);
	}
	fprintf(stderr, "bare: %llu exits in %.6f s\n", (unsigned long long)exits, seconds() - begin);
	return status;
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region region = { 0 };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
	int host = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu;
	struct kvm_run *run;

	if (argc < 2 || argc > 4 || !cpuid) {
		fprintf(stderr, "usage: bare PAYLOAD [ARGUMENTS [MEBIBYTES]]\n");
		return 2;
	}
	if (host < 0) {
		fprintf(stderr, "bare: no usable /dev/kvm\n");
		return SKIP;
	}
	ram_size = strtoull(argc > 3 ? argv[3] : "256", NULL, 10) << 20;
	if (ram_size < UINT64_C(8) << 20 || ram_size > UINT64_C(3) << 30) {
		fprintf(stderr, "bare: give 8 to 3072 MiB\n");
		return 2;
	}
	ram = mmap(NULL, ram_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		die("guest memory");
	vm = kvm(host, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	region.memory_size = ram_size;
	region.userspace_addr = (uint64_t)(uintptr_t)ram;
	kvm(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
	vcpu = kvm(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	cpuid->nent = CPUID_ENTRIES;
	kvm(host, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID");
	kvm(vcpu, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
	run = mmap(NULL, (size_t)kvm(host, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE"),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("the vCPU's page");
	enter(vcpu, load(argv[1]), argc > 2 ? argv[2] : "");
	return (int)(run_guest(vcpu, run) & 0xFF);
}
