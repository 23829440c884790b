/*
 * What a replica is told when it is started: a sealed memory that it inherits. Supervisor and replica are the
 * same program file, so this is a structure and no byte format; magic and size guard against a mix-up.
 */
#ifndef TERCET_LOCKSTEP_REPLICA_CONFIG_H
#define TERCET_LOCKSTEP_REPLICA_CONFIG_H

#include <stdint.h>

#include "base/result.h"
#include "devices/board.h"
#include "lockstep/digest.h"
#include "lockstep/inject.h"
#include "lockstep/vote.h"
#include "vmm/boot.h"

enum { REPLICA_NAME_MAX = 256 };

struct replica_config {
	uint32_t magic;
	uint32_t size;
	uint32_t index;    /* of this replica */
	uint32_t replicas; /* of all */
	uint64_t memory;   /* bytes of guest RAM */
	uint64_t vote_interval; /* ns */
	uint64_t preempt_grace;  /* ns without an exit before the guest may be preempted; 0: it is not */
	uint64_t segment_max;    /* ns after which a vote preempts */
	uint32_t preempt_budget; /* for preemptions, in thousandths of the time */
	uint32_t preempt_choice; /* how, as preempt_choose says; PREEMPT_UNTRIED: the replica tries it */
	uint32_t crowding;       /* replicas that share a core of the host's, rounded up; at least 1 */
	uint64_t watchdog;      /* ns after which a replica that is silent is taken for hung */
	int64_t rtc_epoch;      /* Unix time at guest time 0 */
	uint32_t kind;          /* enum boot_kind */
	uint32_t verbose;
	uint32_t joins;         /* 1: it joins a machine that runs, instead of booting one */
	uint32_t digests;       /* 1: ballots have digests even where there is nobody to compare them with */
	uint64_t born_ns;       /* CLOCK_MONOTONIC ns at which the machine's first replicas were started */
	uint32_t strict;        /* 1: a rendezvous at every exit */
	uint32_t replays;       /* 1: it follows a recording, and nobody ever goes back: no checkpoints are kept */
	uint32_t sandbox;       /* 1: it enters its sandbox once it is set up */
	uint64_t scrub;         /* bytes/s of memory that nobody wrote to hash again, 0: none */
	uint8_t digest_key[DIGEST_KEY_SIZE];
	uint8_t seed[BOOT_SEED_SIZE];

	/* Inherited descriptors, -1 for none. */
	int32_t ram_fd;
	int32_t own_area_fd;                     /* writable */
	int32_t peer_area_fds[VOTE_REPLICAS_MAX]; /* read-only; -1 for this replica */
	int32_t peer_ram_fds[VOTE_REPLICAS_MAX];  /* read-only; -1 for this replica */
	int32_t supervisor_fd;                   /* the supervisor's page, read-only */
	int32_t doorbell_fd;                     /* eventfd: something was published */
	int32_t kernel_fd;
	int32_t initrd_fd;

	char kernel_name[REPLICA_NAME_MAX];
	char initrd_name[REPLICA_NAME_MAX];
	char command_line[BOOT_COMMAND_LINE_MAX];

	uint32_t pci_count;
	struct board_pci_device pci[BOARD_PCI_MAX];

	uint32_t faults;
	struct inject_fault fault[INJECT_FAULTS_MAX];
};

/* Writes a configuration to a new memory that the replica inherits as `*fd`. */
must_check result replica_config_pass(const struct replica_config *config, int *fd);

/* Reads it in the replica. */
must_check result replica_config_take(struct replica_config *config, int fd);

/* Closes, once all is mapped, the inherited descriptors of what others own, and of the replica's own area. */
void replica_config_release(struct replica_config *config);

#endif
