// EXPECT: the type of the variable is not the result type of the call
/* manta_get into a variable of another type than the method's result is refused, although C would convert it. */
#include <manta/manta.h>

MANTA_ACTOR(Counter, int64_t value;)
MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_CLASS(Counter, increment)

manta_status try_it(Counter_ref c);
manta_status try_it(Counter_ref c)
{
#ifdef CASE
    int32_t value;
#else
    int64_t value;
#endif
    return manta_get(Counter_increment(c, 1), &value);
}
