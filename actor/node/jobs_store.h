/*
 * Jobs in the control store: one row each, made when the job begins, kept after its end with how it ended, and the namespace that the names of its actors are in.
 */
#ifndef MANTA_NODE_JOBS_STORE_H
#define MANTA_NODE_JOBS_STORE_H

#include "actor/node/gcs.h"

/* ---- in the processes of a job ---- */
/* The driver: makes the rows of its process and of the_job. space NULL or "": the job's own. Waits. */
manta_status job_record(const char *space);
/* The namespace of this process's job; static until job_forget. Waits the first time in a worker. */
manta_status job_space(const char **out);
manta_status job_use_space(const char *space); /* of a program alone */
void job_forget(void);

/* ---- in daemons ---- */
void job_succeeded(uint64_t job); /* its driver said goodbye; waits */
struct report;
bool jobs_rows(struct report *out); /* a row for each job that the store knows; false: it cannot be asked, error_set says why */
manta_str jobs_describe(void);      /* for people; of the scope */

#endif
