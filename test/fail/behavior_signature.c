// EXPECT: the two methods of a behavior entry differ in parameters or result
/* A behavior may replace a method only by one with the same parameters and result. */
#include <manta/manta.h>

MANTA_ACTOR(Door, int64_t knocks;)
MANTA_METHOD(Door, open, int64_t, (int64_t, key)) { return key; }
MANTA_METHOD(Door, open_locked, int64_t, (int64_t, key)) { return -key; }
MANTA_METHOD(Door, open_other, int64_t, (double, key)) { return (int64_t)key; }
#ifdef CASE
MANTA_BEHAVIOR(Door, locked, MANTA_OTHERS_STASH, (open, open_other))
#else
MANTA_BEHAVIOR(Door, locked, MANTA_OTHERS_STASH, (open, open_locked))
#endif
MANTA_CLASS(Door, open, open_locked, open_other)

manta_status try_it(void);
manta_status try_it(void) { return manta_become(&Door_locked); }
