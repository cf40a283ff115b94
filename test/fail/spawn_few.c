// EXPECT: too few arguments to function
/* A spawn without the arguments of init is refused. */
#include <manta/manta.h>

MANTA_ACTOR(Counter, int64_t value;)
MANTA_METHOD(Counter, init, void, (int64_t, start)) { self->value = start; }
MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_CLASS(Counter, init, increment)

Counter_ref try_it(void);
Counter_ref try_it(void)
{
#ifdef CASE
    return Counter_spawn();
#else
    return Counter_spawn(1);
#endif
}
