/*
 * A replica: a process that owns one machine and takes it from position to position.
 */
#ifndef TERCET_LOCKSTEP_REPLICA_H
#define TERCET_LOCKSTEP_REPLICA_H

/* The life of a replica process; `config_fd` is what replica_config_pass gave. Returns the exit status. */
int replica_main(int config_fd);

#endif
