/*
 * Three stages with bounded mailboxes: reader -> parser -> counter. A fast stage cannot run away from a slow one.
 *
 * A mailbox with a limit and MANTA_OVERFLOW_SUSPEND suspends the sender's handler while it is full, so at most a few dozen lines are under way at any time,
 * however many there are in all. Messages between two actors arrive in the order in which they were sent, so "end" comes last.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <manta/manta.h>

enum { LINES = 20000, LIMIT = 16 };

/* Stage 3: counts. */
MANTA_ACTOR(Tally, int64_t words, lines; bool is_complete;)
MANTA_METHOD(Tally, words, void, (int64_t, n)) { self->words += n, self->lines++; }
MANTA_METHOD(Tally, end, void)
{
    self->is_complete = true;
    manta_unstash();
}
MANTA_STRUCT(Totals, (int64_t, lines), (int64_t, words))
MANTA_METHOD(Tally, totals, Totals)
{
    if (!self->is_complete) manta_stash(); /* answered after the end */
    return (Totals){self->lines, self->words};
}
MANTA_CLASS_WITH(Tally, (.mailbox_limit = LIMIT, .overflow = MANTA_OVERFLOW_SUSPEND), words, end, totals)

/* Stage 2: splits lines into words. */
MANTA_ACTOR(Parser, Tally_ref next;)
MANTA_METHOD(Parser, init, void, (Tally_ref, next)) { self->next = next; }
MANTA_METHOD(Parser, line, void, (manta_str, text))
{
    int64_t words = 0;
    for (size_t i = 0; i < text.size; i++) words += text.data[i] != ' ' && (i == 0 || text.data[i - 1] == ' ');
    Tally_words_send(self->next, words);
}
MANTA_METHOD(Parser, end, void) { Tally_end_send(self->next); }
MANTA_CLASS_WITH(Parser, (.mailbox_limit = LIMIT, .overflow = MANTA_OVERFLOW_SUSPEND), init, line, end)

/* Stage 1: makes lines. */
MANTA_ACTOR(Reader, Parser_ref next;)
MANTA_METHOD(Reader, init, void, (Parser_ref, next)) { self->next = next; }
MANTA_METHOD(Reader, run, void, (int64_t, lines))
{
    static const char *const texts[] = {"one", "one two", "one two three", ""};
    for (int64_t i = 0; i < lines; i++) {
        const char *text = texts[i % 4];
        Parser_line_send(self->next, (manta_str){text, strlen(text)});
    }
    Parser_end_send(self->next);
}
MANTA_CLASS(Reader, init, run)

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    Tally_ref tally = Tally_spawn();
    Parser_ref parser = Parser_spawn(tally);
    Reader_ref reader = Reader_spawn(parser);

    Reader_run_send(reader, LINES);
    Totals t = manta_await(Tally_totals(tally));
    printf("%" PRId64 " lines, %" PRId64 " words\n", t.lines, t.words);

    manta_stats stats;
    if (manta_read_stats(&stats) == MANTA_OK)
        fprintf(stderr, "%" PRIu64 " suspensions, %" PRIu64 " dropped\n", stats.suspensions, stats.dropped);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
