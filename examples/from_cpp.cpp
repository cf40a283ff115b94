/*
 * A C++17 program that defines an actor and a task with the same macros.
 *
 * The state is plain memory, zero at first, so C++ objects with constructors belong behind a pointer that init makes and on_stop deletes. When an await inside a
 * handler fails, the handler's frames are dropped and destructors do not run: where that matters, use manta_get, which returns a status.
 */
#include <cinttypes>
#include <cstdio>
#include <map>
#include <string>

#include <manta/manta.h>

/* g++ -Wextra minds that (.on_stop = ...) leaves the other class options out. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

using Table = std::map<std::string, int64_t>;

MANTA_ACTOR(Words, Table *table;)
MANTA_METHOD(Words, init, void) { self->table = new Table; }
MANTA_METHOD(Words, add, int64_t, (manta_str, word)) { return ++(*self->table)[std::string(word.data, word.size)]; }
MANTA_METHOD(Words, size, uint64_t) { return self->table->size(); }

static void words_stop(void *self, const manta_error *) { delete static_cast<Words *>(self)->table; }

MANTA_CLASS_WITH(Words, (.on_stop = words_stop), init, add, size)

MANTA_TASK(cube, int64_t, (int64_t, x)) { return x * x * x; }

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;

    Words_ref words = Words_spawn();
    for (const char *word : {"to", "be", "or", "not", "to", "be"}) manta_await(Words_add(words, manta_str_of(word)));
    std::printf(
        "%" PRIu64 " words, \"to\" %" PRId64 " times\n", manta_await(Words_size(words)), manta_await(Words_add(words, manta_str_of("to"))));

    int64_t value = 0;
    if (manta_get(cube_submit(3), &value) == MANTA_OK) std::printf("%" PRId64 "\n", value);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
