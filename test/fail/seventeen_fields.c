// EXPECT: manta_error_more_than_16_fields_or_methods
/* A struct with 17 fields is refused by a name that says the limit; 16 are fine. */
#include <manta/manta.h>

#ifdef CASE
#define LAST , (int32_t, q)
#else
#define LAST
#endif
#define MAKE(...) MANTA_STRUCT(Wide, __VA_ARGS__)
MAKE((int32_t, a), (int32_t, b), (int32_t, c), (int32_t, d), (int32_t, e), (int32_t, f), (int32_t, g), (int32_t, h), (int32_t, i),
    (int32_t, j), (int32_t, k), (int32_t, l), (int32_t, m), (int32_t, n), (int32_t, o), (int32_t, p)LAST)
