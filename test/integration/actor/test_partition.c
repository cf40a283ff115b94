/* Three machines, each in a network namespace of its own, while cables are pulled, one direction fails, and the network is slow. Skipped (77) where namespaces may not be made. */
#include "scheduler/os/os.h"
#include "test/support/actors.h"
#include "test/support/child.h"
#include "test/support/netns.h"

enum { MACHINES = 3 };

MANTA_ACTOR(Spot, int64_t notes, wrong, downs, down_ns, sum; int32_t down_status;)
MANTA_METHOD(Spot, note, void, (int64_t, n)) { self->wrong += n != self->notes++; }
MANTA_METHOD(Spot, add, int64_t, (int64_t, n)) { return self->sum += n; }
MANTA_METHOD(Spot, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, message))
{
    (void)who, (void)message;
    self->downs++;
    self->down_status = status;
    self->down_ns = (int64_t)os_monotonic_ns();
}
MANTA_METHOD(Spot, watch, void, (Spot_ref, who)) { (void)self, (void)manta_monitor(who.actor, Spot_on_down, NULL); }
MANTA_METHOD(Spot, number, int64_t, (uint32_t, which))
{
    const int64_t numbers[] = {self->notes, self->wrong, self->downs, self->down_ns};
    return numbers[which];
}
MANTA_CLASS(Spot, note, add, on_down, watch, number)

enum { NOTES, WRONG, DOWNS, DOWN_NS, SEND = 10, CALL, BYE };
typedef struct order {
    int64_t what, value;
} order;

static int64_t obey(Spot_ref own, Spot_ref first, order o)
{
    static int64_t sent;
    int64_t value = 0;
    manta_status status = MANTA_OK;
    switch (o.what) {
    case SEND:
        for (int64_t i = 0; i < o.value && !status; i++, sent++) status = Spot_note_send(first, sent);
        return (int64_t)status;
    case CALL:
        for (int64_t i = 0; i < o.value && !status; i++) status = manta_get(Spot_add(first, 1), &value);
        return (int64_t)status;
    default: return manta_await(Spot_number(own, (uint32_t)o.what));
    }
}

/* argument: the machine's number. The others join the first; each of them and the first watch each other. */
CHILD(machine)
{
    char own_address[64], first_address[64], byte;
    int n = atoi(argument);
    snprintf(own_address, sizeof own_address, "tcp://" NETNS_ADDRESS ":7000", n);
    snprintf(first_address, sizeof first_address, "tcp://" NETNS_ADDRESS ":7000", 1);
    if (!netns_enter() || !child_say(parent) || !child_hear(parent, &byte, 1)) _exit(77);
    manta_config c = {.size = sizeof c, .workers = 1, .listen = own_address, .join = n > 1 ? first_address : NULL, .insecure = true};
    manta_t *m = manta_init_with(&c);
    Spot_ref own = m ? Spot_spawn() : (Spot_ref){{0}}, first = own;
    if (!m || manta_register("spot", own.actor)) _exit(3);
    if (n > 1) {
        manta_process_info there;
        size_t count = 0;
        if (manta_list_processes(&there, 1, &count) || manta_lookup_in(there.process, "spot", &first.actor)) _exit(4);
        if (manta_join(Spot_watch(first, own)) || manta_join(Spot_watch(own, first))) _exit(5);
    }
    order o;
    if (!child_say(parent)) _exit(6);
    while (recv(parent, &o, sizeof o, MSG_WAITALL) == sizeof o && o.what != BYE) {
        int64_t answer = obey(own, first, o);
        if (write(parent, &answer, sizeof answer) != sizeof answer) _exit(7);
    }
    _exit(manta_shutdown(m) == MANTA_OK ? 0 : 8);
}

static child_process machines[MACHINES + 1];

static void order_of(int n, int64_t what, int64_t value)
{
    order o = {what, value};
    (void)!write(machines[n].fd, &o, sizeof o);
}

static int64_t answer_of(int n)
{
    int64_t answer = -1;
    return child_hear(machines[n].fd, &answer, sizeof answer) ? answer : -1;
}

static int64_t ask(int n, int64_t what, int64_t value)
{
    order_of(n, what, value);
    return answer_of(n);
}

static bool start_machine(int n)
{
    char text[8], byte;
    snprintf(text, sizeof text, "%d", n);
    machines[n] = child_start("machine", text);
    return child_hear(machines[n].fd, &byte, 1) && netns_attach(n, machines[n].pid) && child_say(machines[n].fd) &&
           child_hear(machines[n].fd, &byte, 1);
}

static bool start(void)
{
    static bool is_begun;
    if (!is_begun && !netns_begin()) {
        printf("     network namespaces are not allowed here: skipped\n");
        fflush(stdout);
        _exit(77);
    }
    is_begun = true;
    for (int i = 1; i <= MACHINES; i++) /* of a test that failed */
        if (machines[i].pid) child_end(&machines[i], SIGKILL);
    for (int i = 1; i <= MACHINES; i++)
        if (!start_machine(i)) return false;
    return true;
}

static bool stop(void)
{
    int status = 0;
    for (int i = MACHINES; i >= 1; i--) {
        order_of(i, BYE, 0);
        status |= child_end(&machines[i], 0);
        machines[i].pid = 0;
    }
    return !status;
}

static double seconds_since(int64_t ns) { return (double)((int64_t)os_monotonic_ns() - ns) / 1e9; }

static void wait_seconds(double seconds)
{
    for (double end = test_now_s() + seconds; test_now_s() < end;) sched_yield();
}

/* A cable that is out for a second costs nothing: all that was sent arrives, once and in order, and nobody hears of it. */
TEST(short_cut)
{
    EXPECT(start());
    EXPECT_EQ(ask(2, SEND, 1000), MANTA_OK);
    netns_cut(2, true);
    EXPECT_EQ(ask(2, SEND, 2000), MANTA_OK);
    order_of(2, CALL, 1);
    wait_seconds(1.0);
    netns_cut(2, false);
    EXPECT_EQ(answer_of(2), MANTA_OK);
    EXPECT_EQ(ask(2, SEND, 1000), MANTA_OK);
    EXPECT(WAIT_FOR(ask(1, NOTES, 0) == 4000, 20));
    EXPECT(!ask(1, WRONG, 0) && !ask(1, DOWNS, 0) && !ask(2, DOWNS, 0) && !ask(3, DOWNS, 0));
    EXPECT(stop());
}

/* A longer one: who does not hear the other any more knows within two seconds, the other soon after, the call under way says MANTA_EUNKNOWN, and a third machine notices nothing. */
static void is_noticed(void (*harm)(bool on), const char *what)
{
    EXPECT(start());
    EXPECT(ask(2, CALL, 10) == MANTA_OK && ask(3, CALL, 10) == MANTA_OK);
    int64_t begin = (int64_t)os_monotonic_ns();
    harm(true);
    order_of(2, CALL, 1);
    while (seconds_since(begin) < 2.2) EXPECT_EQ(ask(3, CALL, 1), MANTA_OK);
    EXPECT_EQ(answer_of(2), MANTA_EUNKNOWN);
    EXPECT(WAIT_FOR(ask(1, DOWNS, 0) == 1 && ask(2, DOWNS, 0) == 1, 5));
    double here = (double)(ask(1, DOWN_NS, 0) - begin) / 1e9, there = (double)(ask(2, DOWN_NS, 0) - begin) / 1e9;
    printf("     %s: noticed after %.2f s there and %.2f s here\n", what, there, here);
    EXPECT(here < there ? here < 2.2 : there < 2.2); /* 2 s, and what `ip` and a full machine add */
    EXPECT(here < 3 && there < 3);                   /* in a half-open connection one side goes on hearing for a while */
    harm(false);
    EXPECT(!ask(3, DOWNS, 0) && ask(3, CALL, 10) == MANTA_OK);
    EXPECT(ask(2, CALL, 1) != MANTA_OK); /* a handle of what is lost stays dead */
    EXPECT(stop());
}

static void pull_cable(bool on) { netns_cut(2, on); }
TEST(long_cut) { is_noticed(pull_cable, "cable"); }

/* Half-open: what the first machine says does not reach the second any more, or the other way round. */
static void deafen(bool on) { netns_block(machines[1].pid, 2, on); }
static void mute(bool on) { netns_block(machines[2].pid, 1, on); }
TEST(half_open_there) { is_noticed(deafen, "deaf"); }
TEST(half_open_back) { is_noticed(mute, "mute"); }

/* One direction that fails for a second and heals: nothing is lost. */
TEST(half_open_heals)
{
    EXPECT(start());
    deafen(true);
    EXPECT_EQ(ask(2, SEND, 2000), MANTA_OK);
    wait_seconds(1.0);
    deafen(false);
    EXPECT_EQ(ask(2, SEND, 2000), MANTA_OK);
    EXPECT(WAIT_FOR(ask(1, NOTES, 0) == 4000, 20));
    EXPECT(!ask(1, WRONG, 0) && !ask(1, DOWNS, 0) && !ask(2, DOWNS, 0));
    EXPECT(stop());
}

/* A slow network is no lost one: more than it carries in two seconds, and nobody is taken for dead. */
TEST(slow)
{
    EXPECT(start());
    if (netns_slow(1, 2000)) {
        EXPECT_EQ(ask(2, SEND, 15000), MANTA_OK); /* 64 bytes each: 4 s */
        EXPECT(WAIT_FOR(ask(1, NOTES, 0) == 15000, 60));
        EXPECT(!ask(1, WRONG, 0) && !ask(1, DOWNS, 0) && !ask(2, DOWNS, 0));
        EXPECT(netns_slow(1, 0));
    } else printf("     no tbf in this kernel: not slowed\n");
    EXPECT(stop());
}
