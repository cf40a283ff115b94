// EXPECT: too many arguments to function
/* A task submitted with an argument too many is refused. */
#include <manta/manta.h>

MANTA_TASK(square, int64_t, (int64_t, x)) { return x * x; }

manta_int64_t_future try_it(void);
manta_int64_t_future try_it(void)
{
#ifdef CASE
    return square_submit(2, 3);
#else
    return square_submit(2);
#endif
}
