#include "test/support/netns.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool run(const char *format, ...)
{
    char command[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    return system(command) == 0;
}

bool netns_begin(void)
{
    if (!run("ip -V >/dev/null 2>&1 && nsenter -V >/dev/null 2>&1") || unshare(CLONE_NEWNET)) return false;
    return run("ip link set lo up && ip link add net type bridge 2>/dev/null && ip link set net up");
}

bool netns_enter(void) { return unshare(CLONE_NEWNET) == 0; }

bool netns_attach(int n, pid_t pid)
{
    (void)run("ip link del port%d 2>/dev/null", n); /* of one whose namespace is not gone yet */
    return run("ip link add port%d type veth peer name eth0 netns %d && ip link set port%d master net up", n, (int)pid, n) &&
           run("nsenter -t %d -n sh -c 'ip link set lo up && ip addr add " NETNS_ADDRESS "/24 dev eth0 && ip link set eth0 up'", (int)pid,
               n);
}

/* Not its own end: that would take the carrier away, and the kernel takes up to a second to notice that it is back. */
void netns_cut(int n, bool is_cut) { (void)run("ip link set port%d %s", n, is_cut ? "nomaster" : "master net"); }

/* By an Ethernet address that nobody has. */
void netns_block(pid_t from, int to, bool is_blocked)
{
    if (is_blocked)
        (void)run("nsenter -t %d -n ip neigh replace " NETNS_ADDRESS " lladdr 02:00:00:00:00:ee dev eth0 nud permanent", (int)from, to);
    else (void)run("nsenter -t %d -n ip neigh del " NETNS_ADDRESS " dev eth0", (int)from, to);
}

bool netns_slow(int n, int kilobits_per_s)
{
    if (!kilobits_per_s) return run("tc qdisc del dev port%d root", n);
    return run("tc qdisc replace dev port%d root tbf rate %dkbit burst 32kbit latency 200ms 2>/dev/null", n, kilobits_per_s);
}
