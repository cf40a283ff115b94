// EXPECT: the type of the array is not the result type of the calls
/* manta_get_all into an array of another type than the results is refused. */
#include <manta/manta.h>

MANTA_TASK(half, double, (double, x)) { return x / 2; }

manta_status try_it(void);
manta_status try_it(void)
{
    manta_double_future f[2] = {half_submit(1), half_submit(2)};
#ifdef CASE
    float values[2];
#else
    double values[2];
#endif
    return manta_get_all(f, values, 2);
}
