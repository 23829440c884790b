/*
 * Real machines for unit tests: KVM, a board, and a few instructions in ring 3, which any KVM can run.
 */
#ifndef TERCET_TESTS_UNIT_GUEST_MACHINE_H
#define TERCET_TESTS_UNIT_GUEST_MACHINE_H

#include "tests/unit/guest_memory.h"
#include "vmm/machine.h"

#define GUEST_MACHINE_CODE UINT64_C(0x200000)
#define GUEST_MACHINE_MEMORY (UINT64_C(16) << 20)

struct guest_machine {
	struct ram ram;
	struct fixture fixture; /* gets output and requests */
	struct board *board;
	struct machine machine;
};

/*
 * Defines the code of a guest, as symbols NAME_begin and NAME_end. The guest starts at GUEST_MACHINE_CODE with
 * interrupts off, its first 4 GiB where they are, and ports open.
 */
#define GUEST_CODE(name, code)                                                                              \
	extern const uint8_t name##_begin[], name##_end[];                                                  \
	__asm__(".pushsection .rodata\n" #name "_begin:\n" code "\n" #name "_end:\n.popsection")

/*
 * Guest code that lets the timer's interrupt, and no other, through as vector 0x20, and has counter 0 begin again by
 * itself. Its count, written to port 0x40 low byte first, starts it.
 */
#define GUEST_TIMER                                                                                 \
	"mov $0x11, %al\n" /* 8259A: ICW1 to ICW4, then the mask (data sheet, initialization) */    \
	"out %al, $0x20\n"                                                                          \
	"mov $0x20, %al\n"                                                                          \
	"out %al, $0x21\n"                                                                          \
	"mov $4, %al\n"                                                                             \
	"out %al, $0x21\n"                                                                          \
	"mov $1, %al\n"                                                                             \
	"out %al, $0x21\n"                                                                          \
	"mov $0xFE, %al\n"                                                                          \
	"out %al, $0x21\n"                                                                          \
	"mov $0x34, %al\n" /* 8254: counter 0, low and high byte, mode 2 */                         \
	"out %al, $0x43\n"

/* Whether there is a KVM; if not, says that the test of `what` is skipped. */
bool guest_machine_available(const char *what);

/* How many page tables of such a guest count as written in each step: where KVM maps a guest by nested paging the CPU
 * walks its tables as if it wrote to them (AMD64 APM vol. 2, 15.25), so those of the address at hand do. */
unsigned guest_machine_dirty_tables(void);

enum { GUEST_MACHINE_BITMAP = GUEST_MACHINE_MEMORY / RAM_PAGE_SIZE / 64 };

/* Gives the pages that were written since the last call, and watches all of them. */
void guest_machine_collect_dirty(struct guest_machine *guest, uint64_t bitmap[GUEST_MACHINE_BITMAP]);

void guest_machine_make(struct guest_machine *guest, const uint8_t *code, const uint8_t *code_end);

/* Likewise behind the trap shim, in ring 3 or in ring 0: needs nested SVM. */
void guest_machine_make_behind_shim(struct guest_machine *guest, const uint8_t *code, const uint8_t *code_end,
				    bool user);

void guest_machine_destroy(struct guest_machine *guest);

/* Goes on to the next position: prepares, runs, answers. */
enum exit_outcome guest_machine_step(struct guest_machine *guest);

/* Completes the exit at hand, through further exits if need be. */
void guest_machine_settle(struct guest_machine *guest);

/* Makes another machine with the state of a settled one. */
void guest_machine_copy(struct guest_machine *copy, struct guest_machine *original);

#endif
