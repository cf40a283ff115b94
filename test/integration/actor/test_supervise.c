/* Supervisors whose children are in another real process: starts and their failures, restarts, questions from afar, trees over both, and the death of either. */
#include "test/support/actors.h"
#include "test/support/child.h"

MANTA_ACTOR(Leaf, int64_t number;)
MANTA_METHOD(Leaf, init, void, (int64_t, number), (manta_object, bytes))
{
    self->number = number;
    for (size_t i = 0; i < bytes.size; i++) self->number += ((const unsigned char *)bytes.data)[i];
    if (number < 0) manta_fail(MANTA_EIO, "leaf %d is broken", (int)number);
}
MANTA_METHOD(Leaf, number, int64_t) { return self->number; }
MANTA_METHOD(Leaf, crash, void)
{
    (void)self;
    manta_fail(MANTA_EIO, "crash");
}
MANTA_METHOD(Leaf, leave, void)
{
    (void)self;
    manta_exit_normally();
}
MANTA_METHOD(Leaf, hang, void)
{
    (void)self;
    (void)manta_sleep(3600 * 1000);
}
MANTA_CLASS(Leaf, init, number, crash, leave, hang)

/* Hears of the end of what it has begun. */
static _Atomic int end_status;
static char end_text[600];
MANTA_ACTOR(Heir, manta_actor supervisor;)
MANTA_METHOD(Heir, on_exit, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)self, (void)who;
    snprintf(end_text, sizeof end_text, "%.*s", (int)why.size, why.data);
    end_status = status;
}
MANTA_METHOD(Heir, begin, manta_actor, (uint64_t, process))
{
    manta_child_spec spec = Leaf_child(MANTA_CHILD(.id = "1", .spawn = MANTA_OPTIONS(.process = {process})), 1, (manta_object){.size = 0});
    if (manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 3, .backoff_min_ms = 10), &spec, 1, &self->supervisor))
        manta_fail(manta_last_error()->status, "%s", manta_last_error()->message);
    return self->supervisor;
}
MANTA_CLASS_WITH(Heir, (.trap_exit = true), on_exit, begin)

CHILD(server)
{
    char byte, text[256] = "";
    manta_config c = {.size = sizeof c, .workers = 2, .listen = argument};
    manta_t *m = manta_init_with(&c);
    if (!m) _exit(3);
    snprintf(text, sizeof text, "%s", manta_listen_address(0));
    if (write(parent, text, sizeof text) != sizeof text) _exit(5);
    while (recv(parent, &byte, 1, 0) == 1) continue;
    _exit(manta_shutdown(m) == MANTA_OK ? 0 : 6);
}

typedef struct pair {
    manta_t *system;
    child_process child;
    manta_process there;
} pair;

static void quiet(const char *line, void *context) { (void)line, (void)context; }

static bool pair_start(pair *p)
{
    static int n;
    char address[128], text[256], listen[128];
    snprintf(address, sizeof address, "ipc:///tmp/manta-test-%d-%d", (int)getpid(), n++);
    snprintf(listen, sizeof listen, "ipc:///tmp/manta-test-%d-%d", (int)getpid(), n++);
    p->child = child_start("server", address);
    if (!child_hear(p->child.fd, text, sizeof text)) return false;
    manta_config c = {.size = sizeof c, .workers = 2, .join = text, .listen = listen, .on_report = quiet};
    manta_process_info info[4];
    size_t count = 0;
    if (!(p->system = manta_init_with(&c)) || manta_list_processes(info, 4, &count) || count != 1) return false;
    p->there = info[0].process;
    end_status = -1;
    return manta_scope_begin() == MANTA_OK;
}

static bool pair_stop(pair *p, int number)
{
    (void)manta_scope_end();
    bool ok = manta_shutdown(p->system) == MANTA_OK;
    if (!number) shutdown(p->child.fd, SHUT_RDWR);
    return child_end(&p->child, number) == number && ok;
}

static manta_child_spec leaf(const char *id, int64_t number, manta_process where)
{
    return Leaf_child(MANTA_CHILD(.id = id, .spawn = MANTA_OPTIONS(.process = where)), number, (manta_object){.size = 0});
}

static Leaf_ref child_of(manta_actor supervisor, const char *id, manta_actor but)
{
    manta_actor a = {0};
    (void)WAIT_FOR(manta_supervisor_child_actor(supervisor, id, &a) == MANTA_OK && a.id != but.id, 20);
    return Leaf_ref_of(a);
}

/* Children start there, are told from each other, start again after a crash, stay away after a normal end, and stop with their supervisor. */
TEST(children_elsewhere)
{
    pair p;
    manta_actor s, none = {0};
    EXPECT(pair_start(&p));
    manta_child_spec specs[2] = {leaf("1", 1, p.there), leaf("2", 2, p.there)};
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 5), specs, 2, &s), MANTA_OK);
    Leaf_ref first = child_of(s, "1", none), second = child_of(s, "2", none);
    EXPECT_EQ(manta_process_of(first.actor).id, p.there.id);
    (void)Leaf_crash_send(first);
    Leaf_ref again = child_of(s, "1", first.actor);
    EXPECT_EQ(manta_await(Leaf_number(again)), 1);
    EXPECT_EQ(manta_await(Leaf_number(second)), 2);
    manta_child_spec spec = Leaf_child(
        MANTA_CHILD(.id = "3", .restart = MANTA_TEMPORARY, .spawn = MANTA_OPTIONS(.process = p.there)), 3, (manta_object){.size = 0});
    manta_actor third;
    EXPECT_EQ(manta_supervisor_add(s, &spec, &third), MANTA_OK);
    (void)Leaf_leave_send(Leaf_ref_of(third));
    manta_child_info info[4];
    size_t count = 0;
    EXPECT(WAIT_FOR(manta_supervisor_children(s, info, 4, &count) == MANTA_OK && count == 2, 20));
    EXPECT_EQ(info[0].restarts, 1);
    (void)Leaf_hang_send(second);
    EXPECT_EQ(manta_supervisor_terminate(s, "1"), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(again.actor, 20000, NULL), MANTA_OK);
    EXPECT_EQ(manta_supervisor_restart(s, "1"), MANTA_OK);
    first = child_of(s, "1", none);
    EXPECT_EQ(manta_kill(s), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(first.actor, 20000, NULL), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(second.actor, 20000, NULL), MANTA_OK);
    EXPECT(pair_stop(&p, 0));
}

/* An init that fails there says why here, at a start and at an add, and the supervisor goes on. */
TEST(failures_elsewhere)
{
    pair p;
    char text[1000];
    manta_actor s;
    EXPECT(pair_start(&p));
    for (int i = 0; i < 200; i++) {
        manta_child_spec spec = leaf("1", -7, p.there);
        EXPECT_EQ(manta_supervisor_start(NULL, &spec, 1, &s), MANTA_EINIT);
        manta_error_format(manta_last_error(), text, sizeof text);
        EXPECT(strstr(text, "leaf -7 is broken") != NULL);
    }
    EXPECT_EQ(manta_supervisor_start(NULL, NULL, 0, &s), MANTA_OK);
    manta_child_spec spec = leaf("1", -8, p.there);
    EXPECT_EQ(manta_supervisor_add(s, &spec, NULL), MANTA_EINIT);
    manta_error_format(manta_last_error(), text, sizeof text);
    EXPECT(strstr(text, "leaf -8 is broken") != NULL);
    EXPECT(manta_is_alive(s));
    EXPECT(pair_stop(&p, 0));
}

/* A tree with a part there: objects come along in the arguments of leaves, questions and new children go there, leaves may be back here; when that process dies, its leaves here end too. */
TEST(a_tree_over_both)
{
    pair p;
    static const unsigned char bytes[3] = {10, 20, 30};
    manta_actor top, middle, none = {0}, added;
    manta_ref object;
    EXPECT(pair_start(&p));
    EXPECT_EQ(manta_put(bytes, sizeof bytes, &object), MANTA_OK);
    manta_child_spec leaves[2] = {
        Leaf_child(MANTA_CHILD(.id = "there"), 1, (manta_object){.ref = object}), leaf("here", 2, manta_this_process())};
    manta_child_spec inner = manta_supervisor_child(
        MANTA_CHILD(.id = "inner", .spawn = MANTA_OPTIONS(.process = p.there)), MANTA_SUPERVISOR(.intensity = 3), leaves, 2);
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 3, .backoff_min_ms = 60000, .backoff_max_ms = 60000), &inner, 1, &top),
        MANTA_OK);
    EXPECT_EQ(manta_supervisor_child_actor(top, "inner", &middle), MANTA_OK);
    EXPECT_EQ(manta_process_of(middle).id, p.there.id);
    EXPECT_EQ(manta_await(Leaf_number(child_of(middle, "there", none))), 61);
    Leaf_ref here = child_of(middle, "here", none);
    EXPECT_EQ(manta_process_of(here.actor).id, manta_this_process().id);
    manta_child_spec spec = Leaf_child(MANTA_CHILD(.id = "more"), 5, (manta_object){.ref = object});
    EXPECT_EQ(manta_supervisor_add(middle, &spec, &added), MANTA_OK);
    EXPECT_EQ(manta_await(Leaf_number(Leaf_ref_of(added))), 65);
    (void)Leaf_crash_send(Leaf_ref_of(added));
    EXPECT_EQ(manta_await(Leaf_number(child_of(middle, "more", added))), 65);
    manta_child_info info[4];
    size_t count = 0;
    EXPECT_EQ(manta_supervisor_children(middle, info, 4, &count), MANTA_OK);
    EXPECT(count == 3 && strcmp(info[2].id, "more") == 0 && strcmp(info[2].class_name, "Leaf") == 0 && info[2].restarts == 1);
    EXPECT_EQ(manta_supervisor_child_actor(middle, "nobody", &added), MANTA_ENOTFOUND);
    EXPECT(manta_is_alive(here.actor));
    (void)kill(p.child.pid, SIGKILL);
    EXPECT(WAIT_FOR(!manta_is_alive(here.actor), 20));
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(manta_wait_exit(middle, 20000, NULL), MANTA_OK); /* known to be gone: answered at once, and once */
    EXPECT_EQ(manta_stop(top), MANTA_OK);
    (void)manta_wait_exit(top, 20000, NULL);
    (void)manta_release(object);
    EXPECT(pair_stop(&p, SIGKILL));
}

/* A child that is bound to a process which dies cannot come back: its starts fail, and then its supervisor ends and says so. */
TEST(bound_to_the_dead)
{
    pair p;
    EXPECT(pair_start(&p));
    manta_actor s = manta_await(Heir_begin(Heir_spawn(), p.there.id));
    char name[32];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)p.there.id);
    (void)kill(p.child.pid, SIGKILL);
    EXPECT(WAIT_FOR(!manta_is_alive(s), 20));
    EXPECT(WAIT_FOR(end_status == MANTA_ERESTARTS, 20));
    EXPECT(strstr(end_text, "child 1 failed more than 3 times") && strstr(end_text, name));
    EXPECT(pair_stop(&p, SIGKILL));
}
