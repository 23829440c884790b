#include "tests/unit/replica_world.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "lockstep/attend.h"
#include "lockstep/guest_time.h"
#include "vmm/boot_paging.h"

static void on_output(void *context, enum output_channel channel, const void *data, size_t length)
{
	struct replica *replica = context;

	outbox_put(&replica->outbox, channel, replica->machine.position, data, length);
}

static void on_request(void *context, enum board_request request, uint32_t argument)
{
	(void)context;
	(void)request;
	(void)argument;
}

static void make_machine(struct replica_world *world, struct replica *replica)
{
	const struct board_config config = {
		.ram_size = GUEST_MACHINE_MEMORY,
		.out = { .context = replica, .output = on_output, .request = on_request },
	};

	if (world->guests) {
		must_succeed(board_create(&replica->board, &config));
		must_succeed(machine_create(&replica->machine, &replica->ram, replica->board, false));
	} else {
		replica->machine.ram = &replica->ram;
	}
	outbox_init(&replica->outbox, replica->own.outbox, &replica->own.control->output_written);
	must_succeed(ballot_box_create(&replica->box, &replica->own, &replica->machine, &replica->outbox,
				       replica->config.digest_key, world->guests));
}

static void load_guest(const struct replica_world *world, struct replica *replica, const uint8_t *code,
		       const uint8_t *code_end)
{
	struct cpu_state entry;

	must_succeed(ram_write(&replica->ram, GUEST_MACHINE_CODE, code, (uint64_t)(code_end - code)));
	must_succeed(boot_paging_enter(&replica->ram, !world->kernels, &entry));
	entry.rip = GUEST_MACHINE_CODE;
	entry.gpr[GPR_RSP] = GUEST_MACHINE_CODE - 0x1000;
	must_succeed(machine_import(&replica->machine, &entry, false));
}

/* As replica.c's map_shared. */
static struct replica *make_replica(struct replica_world *world, unsigned index)
{
	struct replica *replica = calloc(1, sizeof(*replica));

	ck_assert_ptr_nonnull(replica);
	replica->config = (struct replica_config){
		.index = index,
		.replicas = world->count,
		.memory = GUEST_MACHINE_MEMORY,
		.vote_interval = 1000 * NS_PER_S,
		.crowding = 1,
		.doorbell_fd = world->doorbell_fd,
		.digest_key = { 7, 7, 7 },
	};
	must_succeed(area_map(&replica->own, world->area_fds[index], REPLICA_WORLD_PAGES, true));
	area_init(&replica->own);
	for (unsigned i = 0; i < world->count; i++) {
		if (i == index)
			continue;
		must_succeed(area_map(&replica->peers[i], world->area_fds[i], REPLICA_WORLD_PAGES, false));
		must_succeed(ram_map(&replica->peer_rams[i], world->ram_fds[i], GUEST_MACHINE_MEMORY, false));
	}
	must_succeed(ram_map(&replica->ram, world->ram_fds[index], GUEST_MACHINE_MEMORY, true));
	replica->supervisor = world->page;
	make_machine(world, replica);
	return replica;
}

static void destroy_replica(struct replica_world *world, struct replica *replica)
{
	ballot_box_destroy(&replica->box);
	if (world->guests) {
		machine_destroy(&replica->machine);
		board_destroy(replica->board);
	}
	checkpoint_destroy(&replica->checkpoint);
	for (unsigned i = 0; i < world->count; i++) {
		area_unmap(&replica->peers[i]);
		if (replica->peer_rams[i].memory)
			ram_unmap(&replica->peer_rams[i]);
	}
	ram_unmap(&replica->ram);
	area_unmap(&replica->own);
	free(replica);
}

void replica_world_make(struct replica_world *world, unsigned count, const uint8_t *code, const uint8_t *code_end)
{
	int page;

	*world = (struct replica_world){ .count = count, .guests = code != NULL, .kernels = world->kernels };
	world->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(world->doorbell_fd, 0);
	must_succeed(fd_sealed_memory(&page, "page", sizeof(*world->page)));
	must_succeed(supervisor_page_map(&world->page, page, true));
	fd_close(&page);
	atomic_store(&world->page->live, (1u << count) - 1);
	guest_time_begin(world->page, clock_monotonic_ns() - NS_PER_S);
	for (unsigned i = 0; i < count; i++) {
		must_succeed(fd_sealed_memory(&world->area_fds[i], "area", area_size(REPLICA_WORLD_PAGES)));
		must_succeed(fd_sealed_memory(&world->ram_fds[i], "ram", GUEST_MACHINE_MEMORY));
	}
	for (unsigned i = 0; i < count; i++) {
		world->replicas[i] = make_replica(world, i);
		if (code)
			load_guest(world, world->replicas[i], code, code_end);
	}
}

void replica_world_attend(struct replica_world *world)
{
	leadership_publish(world->page, 0, &(struct leadership){ .leader = 0 });
	for (unsigned i = 0; i < world->count; i++)
		attend_begin(world->replicas[i]);
}

void replica_world_destroy(struct replica_world *world)
{
	for (unsigned i = 0; i < world->count; i++) {
		destroy_replica(world, world->replicas[i]);
		fd_close(&world->area_fds[i]);
		fd_close(&world->ram_fds[i]);
	}
	fd_unmap(world->page, sizeof(*world->page));
	fd_close(&world->doorbell_fd);
}

void replica_world_respawn(struct replica_world *world, unsigned index)
{
	struct replica *old = world->replicas[index];

	memset(old->own.memory, 0, old->own.size);
	memset(old->ram.memory, 0, old->ram.size);
	destroy_replica(world, old);
	world->replicas[index] = make_replica(world, index);
	world->replicas[index]->config.joins = 1;
}

static void answer(struct replica *replica)
{
	enum exit_outcome outcome;

	ballot_box_log_exit(&replica->box);
	if (machine_exit_is_timed(&replica->machine))
		board_advance(replica->board, board_now(replica->board) + 1000);
	must_succeed(machine_answer(&replica->machine, &outcome));
}

static void settle(struct replica *replica)
{
	bool settled = false;

	while (!settled) {
		must_succeed(machine_settle(&replica->machine, &settled));
		if (!settled)
			answer(replica);
	}
}

void replica_world_run(struct replica *replica, unsigned positions)
{
	enum machine_stop stop;

	for (unsigned i = 0; i < positions; i++) {
		must_succeed(machine_prepare(&replica->machine));
		do
			must_succeed(machine_run(&replica->machine, &stop));
		while (stop == MACHINE_INTERRUPTED);
		answer(replica);
	}
	settle(replica);
}

const struct vote_record *replica_world_vote(struct replica *replica)
{
	const struct vote_record facts = {
		.position = replica->machine.position,
		.cause = VOTE_CAUSE_INTERVAL,
		.guest_ns = replica->board ? board_now(replica->board) : 0,
		.console_taken = replica->console_taken,
		.buttons_taken = replica->buttons_taken,
		.inbox_taken = replica->inbox_taken,
		.halted = replica->machine.halted,
		.epoch = replica->epoch,
	};

	machine_vote_point(&replica->machine);
	must_succeed(ballot_box_cast(&replica->box, &facts));
	return replica_world_record(replica);
}

const struct vote_record *replica_world_record(const struct replica *replica)
{
	return &replica->own.control->records[(replica->box.votes - 1) % CONTROL_VOTE_SLOTS];
}

void replica_world_call(struct replica_world *world, unsigned index)
{
	atomic_fetch_add(&world->page->attention[index], 1);
	futex_signal(&world->page->sequence);
	for (unsigned i = 0; i < world->count; i++)
		futex_wake(&world->replicas[i]->own.control->sequence);
}

uint32_t replica_world_order(struct replica_world *world, unsigned index, enum order_kind kind, unsigned donor,
			     uint64_t vote)
{
	struct order *order = &world->page->orders[index];
	uint32_t serial = atomic_load(&order->serial) + 1;

	order->kind = kind;
	order->donor = donor;
	order->vote = vote;
	atomic_store(&order->serial, serial);
	replica_world_call(world, index);
	return serial;
}

bool replica_world_rung(struct replica_world *world)
{
	uint64_t count;

	return read(world->doorbell_fd, &count, sizeof(count)) == sizeof(count);
}

unsigned replica_world_difference(const struct vote_record *one, const struct vote_record *other)
{
	unsigned different = 0;

	for (unsigned i = 0; i < VOTE_DIGESTS; i++)
		if (memcmp(&one->ballot.digests[i], &other->ballot.digests[i], sizeof(struct digest)) != 0)
			different |= 1u << i;
	return different;
}
