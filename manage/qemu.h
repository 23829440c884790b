/*
 * The emulator that libvirt knows: tercet under the name qemu-system-tercet, with QEMU's command line and
 * protocol.
 */
#ifndef TERCET_MANAGE_QEMU_H
#define TERCET_MANAGE_QEMU_H

#include <stdbool.h>

/* Whether a program that was called by this path is to be one. */
bool qemu_is_meant(const char *path);

/* Runs it; gives the exit status, which is 0 or, as QEMU's, 1. */
int qemu_main(int argc, char **argv);

#endif
