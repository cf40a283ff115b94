// EXPECT: incompatible type.*argument|passing 'manta_actor' to parameter of incompatible type 'Counter_ref'
/* An untyped actor handle needs Counter_ref_of before methods of Counter can be called on it. */
#include <manta/manta.h>

MANTA_ACTOR(Counter, int64_t value;)
MANTA_METHOD(Counter, init, void, (int64_t, start)) { self->value = start; }
MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_CLASS(Counter, init, increment)

void try_it(manta_actor a);
void try_it(manta_actor a)
{
#ifdef CASE
    Counter_increment_send(a, 1);
#else
    Counter_increment_send(Counter_ref_of(a), 1);
#endif
}
