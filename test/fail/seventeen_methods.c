// EXPECT: manta_error_more_than_16_fields_or_methods
/* A class with 17 methods is refused by a name that says the limit. */
#include <manta/manta.h>

MANTA_ACTOR(Big, int64_t value;)
MANTA_METHOD(Big, m, int64_t) { return self->value; }
#ifdef CASE
MANTA_CLASS(Big, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m)
#else
MANTA_CLASS(Big, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m)
#endif
