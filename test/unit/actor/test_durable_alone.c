/* Durable actors of a program that belongs to no cluster: their log and state are in a directory, whose next program has them again. */
#include <sys/stat.h>

#include "actor/durable/keeper.h"
#include "actor/node/control.h"
#include "actor/node/moving_internal.h"
#include "test/support/actors.h"
#include "test/support/child.h"

MANTA_ACTOR(Ledger, int64_t sum; uint64_t calls;)
MANTA_METHOD(Ledger, init, void, (int64_t, start)) { self->sum = start; }
MANTA_METHOD(Ledger, add, int64_t, (int64_t, by))
{
    self->calls++;
    return self->sum += by;
}
MANTA_METHOD(Ledger, refuse, void)
{
    (void)self;
    manta_fail(MANTA_EINVAL, "it never does");
}
MANTA_METHOD(Ledger, count, uint64_t) { return self->calls; }
MANTA_STATE(Ledger, (int64_t, sum), (uint64_t, calls))
MANTA_DURABLE_CLASS(Ledger, (.checkpoint_calls = 10), init, add, refuse, count)

static char directory[64];

static manta_t *begin(void)
{
    manta_config c = {.size = sizeof c, .workers = 2, .durable = directory};
    return manta_init_with(&c);
}

static bool make_directory(void)
{
    snprintf(directory, sizeof directory, "/tmp/manta-alone-XXXXXX");
    return mkdtemp(directory) != NULL;
}

static void remove_directory(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    (void)!system(command);
}

static Ledger_ref open_ledger(const char *name) { return Ledger_spawn_with(MANTA_OPTIONS(.name = name, .get_if_exists = true), 100); }

static int64_t add(Ledger_ref a, int64_t by)
{
    int64_t value = -1;
    return manta_get_timeout(Ledger_add(a, by), &value, 10000) ? -1 : value;
}

/* What a named durable actor knew when the system stopped it knows in the next one, under its name; one without a name has gone. */
TEST(comes_back_by_name)
{
    manta_actor found;
    EXPECT(make_directory());
    manta_t *m = begin();
    EXPECT(m);
    Ledger_ref a = open_ledger("book"), nameless = Ledger_spawn(0);
    EXPECT(a.actor.id && nameless.actor.id);
    for (int i = 1; i <= 25; i++) EXPECT_EQ(add(a, 1), 100 + i);
    EXPECT_EQ(add(nameless, 1), 1);
    EXPECT_EQ(manta_lookup("book", &found), MANTA_OK);
    EXPECT_EQ(found.id, a.actor.id);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    for (int round = 1; round <= 3; round++) {
        EXPECT((m = begin()));
        EXPECT_EQ(manta_lookup("book", &found), MANTA_OK);
        EXPECT_EQ(add(Ledger_ref_of(found), 1), 125 + round);
        EXPECT_EQ(manta_await(Ledger_count(open_ledger("book"))), 25 + round);
        EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    }
    remove_directory();
}

/* An actor that was stopped is dead, also for the next program; its name is free. */
TEST(stopped_for_good)
{
    manta_actor found;
    EXPECT(make_directory());
    manta_t *m = begin();
    Ledger_ref a = open_ledger("book");
    EXPECT_EQ(add(a, 1), 101);
    EXPECT_EQ(manta_stop(a.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(a.actor, 10000, NULL), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT((m = begin()));
    EXPECT_EQ(manta_lookup("book", &found), MANTA_ENOTFOUND);
    EXPECT_EQ(add(open_ledger("book"), 1), 101);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    remove_directory();
}

static manta_bytes call_by_name(manta_actor who, const char *method, int64_t argument, manta_status *out_status)
{
    manta_writer w;
    manta_bytes value = {NULL, 0};
    manta_writer_init_growing(&w);
    manta_pack_array(&w, argument ? 1 : 0);
    if (argument) manta_pack_int64_t(&w, &argument);
    *out_status = manta_get_value(manta_call(who, method, (manta_bytes){w.start, manta_writer_size(&w)}), &value, sizeof value, 10000);
    manta_writer_fini(&w);
    return value;
}

static int64_t number_in(manta_bytes packed)
{
    manta_reader r;
    int64_t value = -1;
    manta_reader_init(&r, packed.data, packed.size);
    manta_unpack_int64_t(&r, &value);
    return r.status ? -1 : value;
}

/* A call by name is a durable call like any other: it is there after a restart, its result and its error come, and a method that is not there is refused. */
TEST(called_by_name)
{
    manta_actor found = {0};
    manta_status status;
    EXPECT(make_directory());
    manta_t *m = begin();
    Ledger_ref a = open_ledger("book");
    EXPECT_EQ(number_in(call_by_name(a.actor, "add", 7, &status)), 107);
    (void)call_by_name(a.actor, "refuse", 0, &status);
    EXPECT_EQ(status, MANTA_EINVAL);
    EXPECT(strstr(manta_last_error()->message, "it never does"));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT((m = begin()));
    EXPECT_EQ(manta_lookup("book", &found), MANTA_OK);
    EXPECT_EQ(number_in(call_by_name(found, "add", 1, &status)), 108);
    EXPECT_EQ(number_in(call_by_name(found, "count", 0, &status)), 2);
    EXPECT_EQ(manta_call(found, "nothing", (manta_bytes){"\x90", 1}).id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_ENOMETHOD);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    remove_directory();
}

/* As another place does that has the actor now. */
static manta_status take_away(const moving *m)
{
    manta_writer w;
    gcs_reply reply;
    gcs_actor_placed elsewhere = {m->uid, m->epoch + 1, 0, 12345, 1, manta_str_of("")};
    manta_writer_init_growing(&w);
    gcs_write_actor_placed(&w, NULL, &elsewhere);
    return control_call("another place", false, &w, 5000, &reply);
}

static manta_status call_keeper(MantaKeeper_ref keeper, uint64_t epoch, uint64_t number)
{
    MantaOutcome o;
    unsigned char arguments[] = {0x91, 0x01};
    MantaDurableCall what = {epoch, 77, number, 0, false, method_hash(&Ledger_add_method), {arguments, sizeof arguments}};
    return manta_get_timeout(MantaKeeper_call(keeper, what), &o, 10000);
}

/* A place that does not know yet that another one has the actor: what it logs is refused, so it acknowledges nothing, and ends; nothing of it is in the state. */
TEST(an_old_place_is_fenced)
{
    proxy p;
    EXPECT(make_directory());
    manta_t *m = begin();
    Ledger_ref a = open_ledger("book");
    EXPECT_EQ(add(a, 1), 101);
    EXPECT(proxy_get(a.actor.id, &p));
    const moving *place = moving_get(p.process & ~(1ull << 63), false);
    MantaKeeper_ref keeper = MantaKeeper_ref_of((manta_actor){place->target});
    uint64_t epoch = place->epoch;
    EXPECT_EQ(call_keeper(keeper, epoch, 1), MANTA_OK);
    EXPECT_EQ(take_away(place), MANTA_OK);
    manta_status status = call_keeper(keeper, epoch, 2);
    EXPECT(status == MANTA_ESTALE || status == MANTA_EEXIT || status == MANTA_EDEAD);
    EXPECT_EQ(manta_wait_exit(keeper.actor, 10000, NULL), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT((m = begin()));
    EXPECT_EQ(add(open_ledger("book"), 1), 103);
    EXPECT_EQ(manta_await(Ledger_count(open_ledger("book"))), 3);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    remove_directory();
}

/* Without a directory a durable spawn says what is needed. */
TEST(needs_a_directory)
{
    manta_config c = {.size = sizeof c, .workers = 1};
    manta_t *m = manta_init_with(&c);
    EXPECT_EQ(Ledger_spawn(1).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_EUNSUPPORTED);
    EXPECT(strstr(manta_last_error()->message, "manta_config.durable"));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

CHILD(holder)
{
    snprintf(directory, sizeof directory, "%s", argument);
    manta_t *m = begin();
    Ledger_ref a = m ? open_ledger("book") : (Ledger_ref){{0}};
    if (!a.actor.id || add(a, 5) < 0 || !child_say(parent)) _exit(1);
    for (int64_t v; (v = add(a, 1)) > 0;)
        if (send(parent, &v, sizeof v, MSG_NOSIGNAL) != sizeof v) _exit(2);
    _exit(3);
}

/* A second process is refused with the directory's name; after SIGKILL of the first, all that it was answered is there, and nothing twice. */
TEST(one_process_at_a_time)
{
    char byte;
    int64_t last = 0;
    EXPECT(make_directory());
    child_process c = child_start("holder", directory);
    EXPECT(child_hear(c.fd, &byte, 1));
    EXPECT(!begin());
    while (last < 300) EXPECT(child_hear(c.fd, &last, sizeof last));
    (void)child_end(&(child_process){c.pid, dup(c.fd)}, SIGKILL);
    while (recv(c.fd, &last, sizeof last, MSG_WAITALL) == sizeof last) continue;
    close(c.fd);
    manta_t *m = begin();
    EXPECT(m);
    Ledger_ref a = open_ledger("book");
    int64_t value = add(a, 0);
    EXPECT(value == last || value == last + 1); /* one may be in the log whose answer was on its way */
    EXPECT_EQ((int64_t)manta_await(Ledger_count(a)), value - 100 - 5 + 2);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    remove_directory();
}
