/*
 * Messages that are sent later.
 */
#ifndef MANTA_RUNTIME_LATER_H
#define MANTA_RUNTIME_LATER_H

void later_stop(void); /* cancels all of them */

#endif
