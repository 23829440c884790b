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

/* Runs the guest, which must not exit, until a signal that comes after so many microseconds or more. */
void interrupt_after(unsigned microseconds);

#endif
