#include "vmm/breakpoint.h"

#include <string.h>

#include "base/bytes.h"
#include "vmm/instruction.h"
#include "vmm/page_walk.h"

static const struct breakpoint_kind *const kinds[BREAKPOINT_BACKENDS] = {
	[BREAKPOINT_OUT] = &breakpoint_out,
	[BREAKPOINT_HALT] = &breakpoint_halt,
	[BREAKPOINT_DEBUG] = &breakpoint_debug,
};

const char *breakpoint_backend_name(enum breakpoint_backend backend)
{
	invariant(backend < BREAKPOINT_BACKENDS);
	return kinds[backend]->name;
}

void breakpoints_create(struct breakpoints *breakpoints, struct machine *machine, enum breakpoint_backend backend)
{
	invariant(backend < BREAKPOINT_BACKENDS && machine->breakpoints == NULL);
	memset(breakpoints, 0, sizeof(*breakpoints));
	breakpoints->machine = machine;
	breakpoints->kind = kinds[backend];
	machine->breakpoints = breakpoints;
}

void breakpoints_destroy(struct breakpoints *breakpoints)
{
	breakpoints_lift(breakpoints);
	breakpoints->machine->breakpoints = NULL;
}

/* Puts back what was there, unless the guest wrote something else in the meantime. Last in, first out: patches may
 * overlap. */
static void restore(struct breakpoints *breakpoints)
{
	struct ram *ram = breakpoints->machine->ram;

	breakpoints->lifted |= breakpoints->count > 0;
	while (breakpoints->count > 0) {
		const struct breakpoint_patch *patch = &breakpoints->patches[--breakpoints->count];

		for (unsigned i = breakpoints->kind->length; i-- > 0;) {
			uint8_t byte;
			result r = ram_read(ram, patch->address[i], &byte, 1);

			if (!failed(r) && byte == breakpoints->kind->bytes[i])
				r = ram_patch(ram, patch->address[i], &patch->original[i], 1);
			invariant(!failed(r));
		}
	}
}

static void disarm(struct breakpoints *breakpoints)
{
	if (!breakpoints->kept)
		breakpoints->kind->disarm(breakpoints);
}

void breakpoints_lift(struct breakpoints *breakpoints)
{
	if (breakpoints->count == 0)
		return;
	restore(breakpoints);
	disarm(breakpoints);
}

result breakpoints_keep(struct breakpoints *breakpoints)
{
	bool armed;

	if (breakpoints->kind->length == 0)
		return OK;
	breakpoints->kept = true;
	/* If that cannot be now, the next ones to be planted see to it. */
	return breakpoints->kind->arm(breakpoints, &armed);
}

void breakpoints_release(struct breakpoints *breakpoints)
{
	breakpoints->kept = false;
	if (breakpoints->count == 0)
		disarm(breakpoints);
}

/* Where a breakpoint's bytes are: all in one page, or, given `state`, wherever linear addresses lead. */
static result place_bytes(const struct breakpoints *breakpoints, const struct breakpoint *place,
			  const struct cpu_state *state, struct breakpoint_patch *patch)
{
	const struct ram *ram = breakpoints->machine->ram;
	unsigned length = breakpoints->kind->length;

	if (!state && place->physical % RAM_PAGE_SIZE + length > RAM_PAGE_SIZE)
		return fail(STATUS_FAILED, "a breakpoint at 0x%llx lies in two pages",
			    (unsigned long long)place->physical);
	for (unsigned i = 0; i < length; i++) {
		patch->address[i] = place->physical + i;
		if (state && place->physical % RAM_PAGE_SIZE + i >= RAM_PAGE_SIZE &&
		    !page_walk(ram, state, place->linear + i, &patch->address[i]))
			return fail(STATUS_FAILED, "a breakpoint at 0x%llx ends where no memory is mapped",
				    (unsigned long long)place->linear);
		TRY(ram_read(ram, patch->address[i], &patch->original[i], 1));
	}
	return OK;
}

static result write_bytes(struct breakpoints *breakpoints, const struct breakpoint *places, unsigned count,
			  const struct cpu_state *state)
{
	const struct breakpoint_kind *kind = breakpoints->kind;

	for (unsigned i = 0; i < count; i++) {
		struct breakpoint_patch patch = { .address = { 0 } };

		TRY(place_bytes(breakpoints, &places[i], state, &patch));
		breakpoints->patches[i] = patch;
		breakpoints->planted[i] = places[i];
		breakpoints->count = i + 1;
		for (unsigned byte = 0; byte < kind->length; byte++)
			TRY(ram_patch(breakpoints->machine->ram, patch.address[byte], &kind->bytes[byte], 1));
	}
	return OK;
}

/* With nothing planted. */
static result plant(struct breakpoints *breakpoints, const struct breakpoint *places, unsigned count,
		    const struct cpu_state *state, bool *planted)
{
	result r = write_bytes(breakpoints, places, count, state);

	*planted = false;
	if (!failed(r) && count > 0)
		r = breakpoints->kind->arm(breakpoints, planted);
	if (failed(r) || !*planted)
		restore(breakpoints);
	*planted = !failed(r) && (*planted || count == 0);
	return r;
}

result breakpoints_plant(struct breakpoints *breakpoints, const struct breakpoint *places, unsigned count,
			 bool *planted)
{
	unsigned limit = breakpoints->kind->limit < BREAKPOINTS_MAX ? breakpoints->kind->limit : BREAKPOINTS_MAX;

	*planted = false;
	breakpoints->paging_known = false;
	breakpoints_lift(breakpoints);
	if (count > limit)
		return fail(STATUS_FAILED, "%u breakpoints are too many: \"%s\" has %u", count,
			    breakpoints->kind->name, limit);
	return plant(breakpoints, places, count, NULL, planted);
}

bool breakpoints_at(const struct breakpoints *breakpoints, const struct cpu_state *state)
{
	uint64_t linear = instruction_pointer(state), physical;
	bool mapped = page_walk(breakpoints->machine->ram, state, linear, &physical);

	for (unsigned i = 0; i < breakpoints->count; i++)
		if (breakpoints->kind->length ? mapped && breakpoints->planted[i].physical == physical :
						breakpoints->planted[i].linear == linear)
			return true;
	return false;
}

bool breakpoints_were_lifted(struct breakpoints *breakpoints)
{
	bool lifted = breakpoints && breakpoints->lifted;

	if (lifted)
		breakpoints->lifted = false;
	return lifted;
}

result breakpoints_seen(struct breakpoints *breakpoints, bool *hit)
{
	*hit = false;
	if (!breakpoints || breakpoints->count == 0)
		return OK;
	return breakpoints->kind->caught(breakpoints, hit);
}

/* The place behind the instruction at hand, found while no byte of ours is in memory. */
static result find_next(const struct breakpoints *breakpoints, const struct cpu_state *state, struct breakpoint *next)
{
	const struct ram *ram = breakpoints->machine->ram;
	uint64_t linear = instruction_pointer(state);
	struct instruction instruction;

	if (!instruction_decode(ram, state, linear, &instruction) || !instruction.has_successor)
		return fail(STATUS_GUEST, "it is not known where the guest's instruction at 0x%llx leads",
			    (unsigned long long)linear);
	next->linear = instruction.successor;
	if (!page_walk(ram, state, next->linear, &next->physical))
		return fail(STATUS_GUEST, "the guest's instruction at 0x%llx leads to 0x%llx, which is not mapped",
			    (unsigned long long)linear, (unsigned long long)next->linear);
	return OK;
}

/*
 * Where a page fault of the instruction at hand would lead, behind the trap shim: from there the guest comes back to
 * the same instruction, at which a breakpoint must be again by then. Other faults do not come back, or only where an
 * interrupt would have gone, too. Gates: AMD64 APM vol. 2, 4.8.4.
 */
static bool find_fault_handler(const struct breakpoints *breakpoints, const struct cpu_state *state,
			       struct breakpoint *handler)
{
	enum { GATE_SIZE = 16, PAGE_FAULT = 14, PRESENT = 0x80, LONG_MODE = 1 << 10 };
	const struct machine *machine = breakpoints->machine;
	uint8_t gate[GATE_SIZE];

	if (!machine->has_shim || !(state->efer & LONG_MODE) ||
	    state->idt_limit < (PAGE_FAULT + 1) * GATE_SIZE - 1 ||
	    page_walk_read(machine->ram, state, state->idt_base + PAGE_FAULT * GATE_SIZE, gate, sizeof(gate)) <
		    sizeof(gate) ||
	    !(gate[5] & PRESENT))
		return false;
	handler->linear = bytes_load_u16(gate) | (uint64_t)bytes_load_u16(gate + 6) << 16 |
			  (uint64_t)bytes_load_u32(gate + 8) << 32;
	return page_walk(machine->ram, state, handler->linear, &handler->physical);
}

static bool same_place(const struct breakpoint_kind *kind, const struct breakpoint *a, const struct breakpoint *b)
{
	return kind->length ? a->physical == b->physical : a->linear == b->linear;
}

/* Adds a place that is neither `here` nor among them, if the backend has room. */
static unsigned add_place(const struct breakpoint_kind *kind, const struct breakpoint *here,
			  const struct breakpoint *place, struct breakpoint *places, unsigned used)
{
	for (unsigned i = 0; i < used; i++)
		if (same_place(kind, &places[i], place))
			return used;
	if (used < kind->limit && !same_place(kind, place, here))
		places[used++] = *place;
	return used;
}

/* All that are planted but the one at `here`, and first the ways on: between here and there is one instruction. */
static unsigned waypoints(const struct breakpoints *breakpoints, const struct breakpoint *planted, unsigned count,
			  const struct cpu_state *state, const struct breakpoint *here, const struct breakpoint *next,
			  struct breakpoint *places)
{
	struct breakpoint handler;
	unsigned used = 1;

	/* An instruction may lead to itself. */
	places[0] = *next;
	if (find_fault_handler(breakpoints, state, &handler))
		used = add_place(breakpoints->kind, here, &handler, places, used);
	for (unsigned i = 0; i < count; i++)
		used = add_place(breakpoints->kind, here, &planted[i], places, used);
	return used;
}

/* With nothing planted: plants the way, and runs. */
static result run_to(struct breakpoints *breakpoints, const struct breakpoint *places, unsigned count,
		     const struct cpu_state *state, enum machine_stop *stop)
{
	bool planted;

	TRY(plant(breakpoints, places, count, state, &planted));
	if (!planted)
		return fail(STATUS_FAILED, "an event for the guest is on its way where it stands at a breakpoint");
	result r = machine_run(breakpoints->machine, stop);

	restore(breakpoints);
	return r;
}

result breakpoints_step(struct breakpoints *breakpoints, const struct cpu_state *state, enum machine_stop *stop)
{
	struct breakpoint planted[BREAKPOINTS_MAX], places[BREAKPOINTS_MAX + BREAKPOINTS_WAY], here = { 0, 0 }, next;
	unsigned count = breakpoints->count;
	bool done;

	memcpy(planted, breakpoints->planted, count * sizeof(planted[0]));
	restore(breakpoints);
	here.linear = instruction_pointer(state);
	if (!page_walk(breakpoints->machine->ram, state, here.linear, &here.physical))
		here.physical = UINT64_MAX;
	result r = find_next(breakpoints, state, &next);

	if (!failed(r))
		r = run_to(breakpoints, places,
			   waypoints(breakpoints, planted, count, state, &here, &next, places), state, stop);
	if (!failed(r) && count > 0) {
		r = plant(breakpoints, planted, count, NULL, &done);
		if (!failed(r) && !done)
			r = fail(STATUS_FAILED, "an event for the guest is on its way where it stands at a breakpoint");
	}
	if (failed(r) || count == 0)
		disarm(breakpoints);
	return r;
}
