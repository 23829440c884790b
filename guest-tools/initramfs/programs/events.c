/*
 * What a virtual machine has to be left for, again and again, in a Linux guest: events KIND COUNT.
 *
 *   port    a byte to port 0x80
 *   mmio    four bytes from an address where nothing is
 *   rdtsc   the time stamp counter
 *   call    the cheapest system call
 *   switch  a byte to another process and back, by pipes
 *   wake    the shortest sleep: a timer's interrupt, most often of an idle processor
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	DELAY_PORT = 0x80,       /* what kernels write to for a short delay */
	MMIO_ADDRESS = 0xFE000000, /* below the interrupt controllers of PCs, above all RAM that is used here */
	MMIO_SIZE = 4096,
};

static int complain(const char *what)
{
	(void)fprintf(stderr, "events: %s: %s\n", what, strerror(errno));
	return 1;
}

static int port(uint64_t count)
{
	if (ioperm(DELAY_PORT, 1, 1) < 0)
		return complain("port 0x80");
	for (uint64_t i = 0; i < count; i++)
		outb((unsigned char)i, DELAY_PORT);
	return 0;
}

static int mmio(uint64_t count)
{
	int fd = open("/dev/mem", O_RDONLY | O_SYNC | O_CLOEXEC);
	const volatile uint32_t *words;

	if (fd < 0)
		return complain("/dev/mem");
	words = mmap(NULL, MMIO_SIZE, PROT_READ, MAP_SHARED, fd, MMIO_ADDRESS);
	(void)close(fd);
	if (words == MAP_FAILED)
		return complain("/dev/mem at 0xFE000000");
	for (uint64_t i = 0; i < count; i++)
		(void)words[0];
	return 0;
}

static int rdtsc(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		(void)__builtin_ia32_rdtsc();
	return 0;
}

static int call(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		(void)syscall(SYS_getppid);
	return 0;
}

/* Gives back what comes, until there is no more. */
static int echo(int from, int to)
{
	char byte;

	while (read(from, &byte, 1) == 1) {
		if (write(to, &byte, 1) != 1)
			return 1;
	}
	return 0;
}

static int change(uint64_t count)
{
	int there[2], back[2], status = 0;
	pid_t child;

	if (pipe(there) < 0 || pipe(back) < 0)
		return complain("pipe");
	child = fork();
	if (child < 0)
		return complain("fork");
	if (child == 0) {
		(void)close(there[1]);
		_exit(echo(there[0], back[1]));
	}
	for (uint64_t i = 0; i < count; i++) {
		char byte = (char)i;

		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1 || byte != (char)i)
			return complain("what came back");
	}
	(void)close(there[1]);
	if (waitpid(child, &status, 0) != child)
		return complain("wait");
	return status != 0;
}

static int wake(uint64_t count)
{
	const struct timespec shortest = { .tv_nsec = 1 };

	for (uint64_t i = 0; i < count; i++)
		(void)nanosleep(&shortest, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(uint64_t count);
	} kinds[] = {
		{ "port", port }, { "mmio", mmio },     { "rdtsc", rdtsc },
		{ "call", call }, { "switch", change }, { "wake", wake },
	};
	uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;

	for (size_t i = 0; count > 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(argv[1], kinds[i].name) == 0)
			return kinds[i].run(count);
	}
	(void)fprintf(stderr, "usage: events port|mmio|rdtsc|call|switch|wake COUNT\n");
	return 2;
}
