// EXPECT: incompatible type.*argument|passing 'Other_ref' to parameter of incompatible type 'Counter_ref'
/* A handle of one class is no handle of another. */
#include <manta/manta.h>

MANTA_ACTOR(Counter, int64_t value;)
MANTA_METHOD(Counter, init, void, (int64_t, start)) { self->value = start; }
MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_CLASS(Counter, init, increment)

MANTA_ACTOR(Other, int64_t value;)
MANTA_METHOD(Other, value, int64_t) { return self->value; }
MANTA_CLASS(Other, value)

void try_it(Counter_ref c, Other_ref o);
void try_it(Counter_ref c, Other_ref o)
{
    Other_value_send(o);
#ifdef CASE
    Counter_increment_send(o, 1);
#endif
    Counter_increment_send(c, 1);
}
