// EXPECT: too few arguments to function
/* A call with an argument missing is refused. */
#include <manta/manta.h>

MANTA_ACTOR(Counter, int64_t value;)
MANTA_METHOD(Counter, init, void, (int64_t, start)) { self->value = start; }
MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_CLASS(Counter, init, increment)

void try_it(Counter_ref c);
void try_it(Counter_ref c)
{
#ifdef CASE
    Counter_increment(c);
#else
    Counter_increment(c, 1);
#endif
}
