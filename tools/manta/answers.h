/*
 * Questions of the command manta to a cluster, and what comes back as a table: rows of named cells, each with where it comes from.
 */
#ifndef MANTA_TOOLS_ANSWERS_H
#define MANTA_TOOLS_ANSWERS_H

#include <stdio.h>

#include <manta/manta.h>

enum { CELLS = 32, PARTS_BYTES = 2048 };

typedef struct cell {
    char *text; /* NULL: a number; an empty cell: "" */
    uint64_t number;
} cell;
typedef struct origin {
    char process[20], role[16], node[MANTA_ADDRESS_BYTES], error[512], host[64];
    uint32_t pid;
    char *bytes; /* the answer as it came, when it is no report */
    size_t size;
} origin;
typedef struct row {
    cell cells[CELLS];
    size_t origin;
} row;
typedef struct answers {
    char *columns[CELLS];
    row *rows;
    origin *origins;
    size_t n_columns, n_rows, n_origins;
    uint64_t matched;
} answers;

typedef struct question { /* the options that all commands which ask have */
    char address[MANTA_ADDRESS_BYTES];
    char match[PARTS_BYTES];
    uint32_t limit;
    bool as_json, here_only;
} question;

/* Takes the options from the arguments, which are left without them. Not 0: an exit code. */
int question_parse(const char *command, int *argc, char **argv, question *q);

/* Opens a system that is connected to the daemon; NULL after a line on standard error. */
manta_t *question_connect(const question *q, manta_actor *out_raylet);
/* Asks and collects. False after a line on standard error. is_report: the answers are reports. */
bool question_ask(manta_actor raylet, const question *q, const char *kind, bool is_report, answers *out);
/* Both, once: for commands with one question. */
bool question_once(const question *q, const char *kind, bool is_report, answers *out);
void answers_free(answers *a);

/* Adds up the numbers of rows whose texts are equal. */
void answers_merge(answers *a);
/* The number of processes that did not answer; each is told on standard error. */
int answers_complain(const answers *a);
void answers_print(const answers *a, const question *q, bool with_origin); /* a table, or JSON; says how many rows are not shown */
void answers_print_details(const answers *a, const question *q);           /* a line a cell */

#endif
