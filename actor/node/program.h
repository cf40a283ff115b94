/*
 * Programs of jobs: what kind of file one is, whether this node can run it, and the copies that a node keeps, by content hash.
 *
 * A program is an executable, or a module: a shared object with `int manta_main(int argc, char **argv)`, which the command `manta` loads into a process of its own. Functions may block on files.
 */
#ifndef MANTA_PROGRAM_H
#define MANTA_PROGRAM_H

#include "actor/node/raylet.h"

enum { PROGRAM_PATH = 600 };

typedef struct program_cache {
    char directory[400];
    uint64_t limit_bytes; /* of the programs that no job has just asked for; the least recently used go */
} program_cache;

bool program_is_module(const char *path); /* false also when it cannot be read */
/* The program of this process's job as a driver: the module in MANTA_MODULE, or this executable. Static. */
const char *program_path(void);
const char *program_name(void);

/* Can this node run it? It is for this kind of machine, and the loader finds every library that it needs. MANTA_EINVAL; error_set names what is wrong. Blocks: runs the loader. */
manta_status program_check(const char *path);

/* Makes the directory; leftovers of programs that were never complete go. An errno value. */
int program_cache_open(program_cache *c, const char *directory, uint64_t limit_bytes);
/* The path of the job's program on this node: whole, executable, checked. Fetches it when it is not there, from the driver, or, when that has gone, from one of these raylets: waits. */
manta_status program_get(program_cache *c, const MantaJob *job, const manta_actor *nodes, uint32_t n_nodes, char path[PROGRAM_PATH]);
/* A piece of a program that is kept. An errno value. */
int program_read(const program_cache *c, uint64_t hash, uint64_t offset, void *data, uint32_t bytes);

#endif
