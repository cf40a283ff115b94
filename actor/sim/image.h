/*
 * Several systems in one address space: each has a copy of the program's own variables, and they take turns at the same addresses.
 *
 * A process keeps its state in what malloc and mmap gave it, and in static and thread-local variables that lead there. Of the latter there is one set per program, so a system that is not running has its set kept
 * aside. A switch moves one set of pages away and another in place (two system calls, no copying), as a kernel does for processes; heap and stacks are shared. So code that was written for one system per process runs unchanged, and a system
 * that crashes is forgotten by starting again from the first set.
 *
 * What is switched are the variables of the program or library that contains this code: linked with libmanta.a those of the whole program, with libmanta.so those of the library. Other libraries (libc, ZeroMQ, LMDB)
 * are shared. One thread; not undone: a simulation runs in a child process of its own.
 */
#ifndef MANTA_SIM_IMAGE_H
#define MANTA_SIM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct images images;

/* Set 0 is in place and is the caller's own. False: out of memory. `count`: how many more there can be. */
bool images_new(uint32_t count, images **out);
/* Makes set i (1..count) what the variables were at images_new. Not the one in place. */
void images_reset(images *all, uint32_t i);
/* Puts set i in place. */
void images_switch(images *all, uint32_t i);
uint32_t images_current(const images *all);

#endif
