/*
 * Machines with breakpoints for unit tests: one guest, and what is done with it in one line each.
 */
#ifndef TERCET_TESTS_UNIT_STEPPED_GUEST_H
#define TERCET_TESTS_UNIT_STEPPED_GUEST_H

#include "tests/unit/guest_machine.h"
#include "vmm/breakpoint.h"

/* The one guest of a test program, its breakpoints, and the state that it was last seen in. */
extern struct guest_machine guest;
extern struct breakpoints breakpoints;
extern struct cpu_state state;

/* The code of a guest that adds up the numbers from `rounds`, a string, down to 1 in RBX, with three times the sum in
 * RDX; then it exits and spins. Offsets from its begin are counted in the comments. */
#define STEPPED_LOOP(rounds)                                                                        \
	"mov $" rounds ", %ecx\n"     /* 0 */                                                       \
	"1: add %rcx, %rbx\n"         /* 5 */                                                       \
	"lea (%rbx,%rbx,2), %rdx\n"   /* 8 */                                                       \
	"dec %ecx\n"                  /* 12 */                                                      \
	"jnz 1b\n"                    /* 14 */                                                      \
	"out %al, $0x80\n"            /* 16 */                                                      \
	"nop\n"                       /* 18 */                                                      \
	"2: jmp 2b"                   /* 19 */
enum { LOOP_ADD = 5, LOOP_LEA = 8, LOOP_DEC = 12, LOOP_NOP = 18, LOOP_SPIN = 19, LOOP_LENGTH = 21 };

/* Makes the guest in ring 3, with backend "out" and nothing planted, ready to be run. The other makes it behind the
 * trap shim, in ring 3 or 0, with another backend. */
void start(const uint8_t *code, const uint8_t *code_end);
void start_behind_shim(const uint8_t *code, const uint8_t *code_end, enum breakpoint_backend backend, bool user);

/* Ends it; may be the teardown of a fixture. */
void stepped_guest_teardown(void);

/* A breakpoint at an offset from GUEST_MACHINE_CODE. */
struct breakpoint at(uint64_t offset);

void plant(const struct breakpoint *places, unsigned count);
void plant_at(uint64_t offset);

/* Runs until something stops the guest. */
enum machine_stop run(void);

/* Steps over the instruction at hand. */
enum machine_stop step(void);

/* Answers the exit at hand and prepares the guest for the next run. */
enum exit_outcome answer(void);

/* The test fails unless RIP is at this offset, a run ends there at a breakpoint, or a step does; or unless a run ends
 * with an OUT to this port, which is then answered. */
void must_stand_at(uint64_t offset);
void must_hit(uint64_t offset);
void must_step_to(uint64_t offset);
void must_exit(uint16_t port);

/* Runs a STEPPED_LOOP that was just made to its exit, with a breakpoint in each round, which is hit twice and stepped
 * over. The test fails unless all is counted and no trace is left. */
void must_count_loop(const uint8_t *code, uint64_t rounds);

/* Runs until something stops the guest; signals come after `first` microseconds and then each `apart`. */
enum machine_stop run_with_signals(unsigned first, unsigned apart);

/* Runs the guest, which must not exit, until a signal that comes after so many microseconds or more. */
void interrupt_after(unsigned microseconds);

#endif
