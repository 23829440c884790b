#include "lockstep/replica_config.h"

#include <string.h>

#include "base/fd.h"

#define REPLICA_CONFIG_MAGIC 0x7E5CE702u

result replica_config_pass(const struct replica_config *config, int *fd)
{
	struct replica_config copy = *config;

	copy.magic = REPLICA_CONFIG_MAGIC;
	copy.size = sizeof(copy);
	TRY(fd_sealed_memory(fd, "tercet-config", sizeof(copy)));
	result r = fd_write_all(*fd, "a replica's configuration", &copy, sizeof(copy));

	if (failed(r))
		fd_close(fd);
	return r;
}

static bool terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

result replica_config_take(struct replica_config *config, int fd)
{
	TRY(fd_check_sealed(fd, "a replica's configuration", sizeof(*config)));
	TRY(fd_read_at(fd, "a replica's configuration", 0, config, sizeof(*config)));
	if (config->magic != REPLICA_CONFIG_MAGIC || config->size != sizeof(*config) || config->replicas < 1 ||
	    config->replicas > VOTE_REPLICAS_MAX || config->index >= config->replicas ||
	    config->crowding < 1 || config->crowding > config->replicas ||
	    config->faults > INJECT_FAULTS_MAX || config->pci_count > BOARD_PCI_MAX ||
	    (config->kind != BOOT_LINUX && config->kind != BOOT_PAYLOAD) ||
	    !terminated(config->kernel_name, sizeof(config->kernel_name)) ||
	    !terminated(config->initrd_name, sizeof(config->initrd_name)) ||
	    !terminated(config->command_line, sizeof(config->command_line)))
		return fail(STATUS_FAILED, "a replica's configuration is damaged");
	return OK;
}

void replica_config_release(struct replica_config *config)
{
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		fd_close(&config->peer_area_fds[i]);
		fd_close(&config->peer_ram_fds[i]);
	}
	fd_close(&config->own_area_fd);
	fd_close(&config->supervisor_fd);
}
