// EXPECT: too many arguments to function
/* A spawn with more arguments than init has is refused, also for a class without an init. */
#include <manta/manta.h>

MANTA_ACTOR(Plain, int64_t value;)
MANTA_METHOD(Plain, value, int64_t) { return self->value; }
MANTA_CLASS(Plain, value)

Plain_ref try_it(void);
Plain_ref try_it(void)
{
#ifdef CASE
    return Plain_spawn(1);
#else
    return Plain_spawn();
#endif
}
