/*
 * `tercet doctor`: what this host can do, and what to do about what is missing. Documented in tercet(1).
 */
#ifndef TERCET_MANAGE_DOCTOR_H
#define TERCET_MANAGE_DOCTOR_H

/* The command. `argv[0]` is its own name ("doctor"); the arguments after it are its options: --json.
 * Gives the exit status: STATUS_OK when at least payload guests can run, STATUS_HOST when none can,
 * STATUS_USAGE for an unknown option, STATUS_FAILED when standard output cannot be written. */
int doctor_main(int argc, char **argv);

#endif
