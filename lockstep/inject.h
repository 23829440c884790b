/*
 * Faults on purpose: one table of what can be hit, in inject.c. A fault happens to one replica, at one position.
 *
 *   SPEC = REPLICA:TARGET@POSITION, as --inject takes it
 *   TARGET = one of inject_help, for example reg:rax:17, mem:0x1000:3, kill, slow:10
 *   POSITION = a number of exits since power-on, or "now", which is 0: due at once
 *
 * docs/injection.md describes every target. A fault crosses processes in shared memory: inject_check tells whether
 * one that came that way is one that could have been written.
 */
#ifndef TERCET_LOCKSTEP_INJECT_H
#define TERCET_LOCKSTEP_INJECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/inject_fault.h"

struct area;
struct machine;

/* Bytes that inject_describe needs for the longest fault. */
enum { INJECT_TEXT_MAX = 128 };

/* What a replica lends to its fault. */
struct inject_context {
	struct machine *machine;
	struct area *area;    /* the replica's own, writable */
	uint64_t slow_factor; /* set by `slow`: the replica sleeps (slow_factor - 1) times as long as a segment took */
};

/* Reads a SPEC for a machine of `replicas` replicas, and checks it. Errors: STATUS_USAGE with what is wrong and what
 * is possible, under the name --inject. */
must_check result inject_parse(const char *spec, unsigned replicas, struct inject_fault *fault);

/* Reads a TARGET and a POSITION apart, and checks them; `fault->replica` is 0 then, and the caller's to set.
 * Errors: as above, under the name inject. */
must_check result inject_parse_target(const char *target, const char *at, struct inject_fault *fault);

/* Checks all that can be known without a machine: the target, names of registers and devices, ranges; and that what
 * the target does not use is 0. The fault may hold anything. Errors: STATUS_USAGE, likewise. */
must_check result inject_check(const struct inject_fault *fault);

/* Whether the machine must be settled (machine_settle) before the fault is committed; false for an unknown target. */
bool inject_needs_settled(const struct inject_fault *fault);

/*
 * Checks the fault and commits it. `kill` and `hang` do not return, `stop` when somebody has continued the process.
 * Errors: STATUS_USAGE, what inject_check says; STATUS_GUEST, the machine as it stands has no place for the fault (no
 * RAM at the address, code that is not mapped, a register or device that cannot hold the bit, a shorter tape): in both
 * cases nothing has changed. STATUS_FAILED: the replica cannot go on.
 */
must_check result inject_commit(const struct inject_fault *fault, struct inject_context *context);

/* Writes "TARGET@POSITION", which inject_parse_target reads back as the same fault. The fault may hold anything. */
void inject_describe(const struct inject_fault *fault, char *text, size_t size);

/*
 * The fault space, to draw samples from: {"targets": [{name, syntax, help, settled, parameters: [...]}],
 * "registers": [{name, bits, mask, fpu}], "devices": [{name, bits}]}; see docs/injection.md. NULL: no memory.
 */
json_t *inject_targets_json(void);

/* The table for people: a line for each target, "  SYNTAX  what it does". */
const char *inject_help(void);

/* Sleeps so that what began at host time `begin` takes so many times as long as it took; nothing for 0 and 1. */
void inject_dawdle(uint64_t slow_factor, uint64_t begin);

#endif
