/* manta-store, run by its path on a store that another process serves. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20 };
#define ODD_NAME "no\"de\\\x01\xff\xc3\xa9" /* a quote, a backslash, a control byte, a byte that is no UTF-8, an e with an accent */
#define BIG_SITE "big.c:\"7\"\n"

static char output[1 << 16]; /* of the last command */

/* Runs "TOOL arguments" by the shell; the exit code, and in `output` what it printed, errors as well. */
static int tool(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int tool(const char *format, ...)
{
    char command[1024] = MANTA_STORE_TOOL " ";
    size_t n = strlen(command);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command + n, sizeof command - n, format, arguments);
    va_end(arguments);
    strncat(command, " 2>&1", sizeof command - strlen(command) - 1);
    FILE *f = popen(command, "r");
    if (!f) return -1;
    output[fread(output, 1, sizeof output - 1, f)] = 0;
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool says(const char *text)
{
    if (strstr(output, text)) return true;
    fprintf(stderr, "  \"%s\" is missing in:\n%s\n", text, output);
    return false;
}

/* Python on `output`, parsed as JSON into d. */
static bool json_holds(const char *condition)
{
    const char *path = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char file[256], command[1024];
    snprintf(file, sizeof file, "%s/manta-store-json-%d", path, (int)getpid());
    FILE *f = fopen(file, "w");
    if (!f) return false;
    fputs(output, f);
    fclose(f);
    snprintf(command, sizeof command,
        "python3 -m json.tool '%s' >/dev/null && python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); o=d.get(\"object_list\"); "
        "assert %s, d' '%s'",
        file, condition, file);
    bool holds = system(command) == 0;
    unlink(file);
    return holds;
}

/* ---- the store, served by a child ---- */

typedef struct server {
    store_place place;
    pid_t pid;
    int to, from; /* pipes: closing `to` ends the child */
} server;

/* A spilled object, a big one that is pinned, a small one inside another, a promise. */
static manta_status fill(store *s)
{
    enum { SPILLED = 1 * MIB, BIG = 3 * MIB };
    store_id spilled, big, small, outer, promise;
    store_view v;
    void *data;
    unsigned char *bytes = malloc(BIG);
    if (!bytes) return MANTA_ENOMEM;
    store_pattern(bytes, BIG, 1);
    manta_status e = store_put(s, bytes, SPILLED, &spilled);
    if (!e) store_spill_all(s);
    store_site(BIG_SITE);
    if (!e) e = store_put(s, bytes, BIG, &big);
    store_site(NULL);
    if (!e) e = store_pin(s, big, &v);
    if (!e) e = store_put(s, "hello", 5, &small);
    if (!e) e = store_create(s, 100, 1, &outer, &data);
    if (!e) e = store_seal(s, outer, &small);
    if (!e) e = store_promise(s, &promise);
    free(bytes);
    return e;
}

static _Noreturn void serve(const store_place *p, int to, int from)
{
    store *s;
    char c = 0;
    store_options o = {.mode = STORE_CREATE,
        .path = p->path,
        .spill_path = p->spill,
        .capacity_bytes = 16 * MIB,
        .name = ODD_NAME,
        .call_sites = true,
        .no_prefault = true};
    if (store_open(&o, &s) || fill(s)) {
        fprintf(stderr, "  server: %s\n", store_error());
        _exit(1);
    }
    if (write(from, &c, 1) != 1 || read(to, &c, 1) < 0) _exit(1);
    store_close(s);
    _exit(0);
}

static bool server_start(server *v)
{
    int to[2], from[2];
    char c;
    v->place = store_place_new();
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) return false;
    v->pid = fork();
    if (v->pid == 0) {
        close(to[1]);
        close(from[0]);
        serve(&v->place, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    v->to = to[1];
    v->from = from[0];
    return v->pid > 0 && read(v->from, &c, 1) == 1;
}

static void server_stop(server *v, bool kill_it)
{
    if (kill_it) kill(v->pid, SIGKILL);
    close(v->to);
    close(v->from);
    waitpid(v->pid, NULL, 0);
}

#define WITH_SERVER() \
    server v; \
    EXPECT(server_start(&v)); \
    const char *path = v.place.path;
#define END_SERVER() \
    server_stop(&v, false); \
    store_place_remove(&v.place);

/* ---- inspect ---- */

/* The tables name room, objects by state, the process with what it holds, and the spill directory; odd bytes of a name do not reach the terminal. */
TEST(inspect_tables)
{
    WITH_SERVER()
    EXPECT_EQ(tool("inspect %s", path), 0);
    EXPECT(says("Capacity       16.0 MiB"));
    EXPECT(says("3 sealed, 0 creating, 1 pending, 1 spilled"));
    EXPECT(says("no\"de\\??\xc3\xa9"));
    EXPECT(says("node  alive"));
    EXPECT(says("3.0 MiB\n")); /* pinned */
    EXPECT(says(v.place.spill));
    EXPECT(!strstr(output, "CALL SITE"));
    END_SERVER()
}

/* --objects lists each object with its references, biggest first; --limit cuts the list. */
TEST(inspect_objects)
{
    WITH_SERVER()
    EXPECT_EQ(tool("inspect %s --objects", path), 0);
    EXPECT(says("Objects (5 of 5, largest first)"));
    EXPECT(says("held 1, pinned 1"));
    EXPECT(says("held 1, inside 1"));
    EXPECT(says("big.c:\"7\"?"));
    EXPECT(strstr(output, " 3.0 MiB ") < strstr(output, " 5 B "));
    EXPECT_EQ(tool("inspect --objects --limit 1 --sort=size %s", path), 0);
    EXPECT(says("Objects (1 of 5, largest first)"));
    EXPECT(says("held 1, pinned 1") && !strstr(output, " 5 B "));
    EXPECT_EQ(tool("inspect %s --objects --sort holders", path), 0);
    EXPECT(says("most held first"));
    END_SERVER()
}

/* The JSON parses, has plain bytes, and gives names and call sites back as they are. */
TEST(inspect_json)
{
    WITH_SERVER()
    EXPECT_EQ(tool("inspect %s --json --objects", path), 0);
    EXPECT(json_holds("d[\"capacity_bytes\"] == 16 << 20 and d[\"objects\"][\"total\"] == 5 and d[\"spill\"][\"live_bytes\"] > 0"));
    EXPECT(json_holds("d[\"processes\"][0][\"name\"] == \"no\\\"de\\\\\\x01\\ufffd\\u00e9\" and d[\"processes\"][0][\"alive\"]"));
    EXPECT(json_holds("d[\"processes\"][0][\"held_objects\"] == 5 and d[\"processes\"][0][\"pinned_bytes\"] == 3 << 20"));
    EXPECT(json_holds("o[0][\"size_bytes\"] == 3 << 20 and o[0][\"pinned_by\"] == [0] and o[0][\"call_site\"] == \"big.c:\\\"7\\\"\\n\""));
    EXPECT(json_holds("sorted(x[\"state\"] for x in o) == [\"pending\", \"sealed\", \"sealed\", \"sealed\", \"spilled\"]"));
    EXPECT_EQ(tool("inspect %s --json --objects --sort age", path), 0);
    EXPECT(json_holds("o[0][\"state\"] == \"spilled\" and [x[\"age_ms\"] for x in o] == sorted((x[\"age_ms\"] for x in o), reverse=True)"));
    EXPECT_EQ(tool("inspect %s --json", path), 0);
    EXPECT(json_holds("o is None"));
    END_SERVER()
}

/* ---- verify ---- */

/* A sound store gives exit code 0 and a line with totals. */
TEST(verify_sound)
{
    WITH_SERVER()
    EXPECT_EQ(tool("verify %s", path), 0);
    EXPECT(says("0 wrong; 5 objects"));
    EXPECT(says("processes: 1 living, 0 dead"));
    EXPECT_EQ(tool("verify %s --data", path), 0);
    EXPECT(says("1 spilled objects read and checked"));
    EXPECT_EQ(tool("verify %s --data --json", path), 0);
    EXPECT(json_holds("d[\"ok\"] and d[\"complaints\"] == [] and d[\"data\"]"));
    END_SERVER()
}

/* A flipped byte on disk is found by --data, named in a line, and gives exit code 1. */
TEST(verify_damage)
{
    WITH_SERVER()
    char command[512];
    snprintf(command, sizeof command,
        "for f in %s/*/*; do [ -s $f ] && printf XYZ | dd of=$f bs=1 seek=500000 conv=notrunc 2>/dev/null; done; true", v.place.spill);
    EXPECT_EQ(system(command), 0);
    EXPECT_EQ(tool("verify %s", path), 0);
    EXPECT_EQ(tool("verify %s --data", path), 1);
    EXPECT(says("1 wrong"));
    EXPECT_EQ(tool("verify %s --data --json", path), 1);
    EXPECT(json_holds("not d[\"ok\"] and len(d[\"complaints\"]) == 1 and d[\"complete\"]"));
    END_SERVER()
}

/* ---- watch ---- */

static int lines(void)
{
    int n = 0;
    for (const char *c = output; *c; c++) n += *c == '\n';
    return n;
}

/* --count lines behind a heading, or as many JSON objects; it ends with an error when the store is not there. */
TEST(watch_lines)
{
    WITH_SERVER()
    EXPECT_EQ(tool("watch %s --interval 20 --count 3", path), 0);
    EXPECT_EQ(lines(), 4);
    EXPECT(says("puts/s") && says("used%"));
    EXPECT_EQ(tool("watch %s --interval 10 --count 1 --json", path), 0);
    EXPECT_EQ(lines(), 1);
    EXPECT(json_holds("d[\"processes\"] == 1 and d[\"capacity_bytes\"] == 16 << 20 and d[\"puts_per_second\"] == 0"));
    EXPECT_EQ(tool("watch /nowhere/at/all --count 1"), 1);
    END_SERVER()
}

/* ---- put, get ---- */

typedef struct putter {
    pid_t pid;
    char id[64], file[64];
} putter;

static bool putter_start(putter *p, const char *path, const char *bytes)
{
    int out[2];
    snprintf(p->file, sizeof p->file, "/tmp/manta-store-put-%d", (int)getpid());
    FILE *f = fopen(p->file, "w");
    if (!f || pipe(out)) return false;
    fputs(bytes, f);
    fclose(f);
    p->pid = fork();
    if (p->pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execl(MANTA_STORE_TOOL, "manta-store", "put", path, p->file, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *in = fdopen(out[0], "r");
    bool is_read = in && fscanf(in, "%63s", p->id) == 1;
    if (in) fclose(in);
    return is_read;
}

static int putter_stop(putter *p)
{
    int status = 0;
    kill(p->pid, SIGTERM);
    waitpid(p->pid, &status, 0);
    unlink(p->file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What put holds, get reads by the printed id; when put ends, the object is gone. */
TEST(put_and_get)
{
    WITH_SERVER()
    putter p;
    EXPECT(putter_start(&p, path, "bytes of a file\n"));
    EXPECT_EQ(tool("get %s %s", path, p.id), 0);
    EXPECT_STR(output, "bytes of a file\n");
    EXPECT_EQ(tool("inspect %s --objects", path), 0);
    EXPECT(says(p.id) && says("manta-store put#"));
    EXPECT_EQ(putter_stop(&p), 0);
    EXPECT_EQ(tool("get %s %s", path, p.id), 1);
    EXPECT_EQ(tool("get %s nonsense", path), 2);
    EXPECT_EQ(tool("put %s /no/such/file", path), 1);
    EXPECT(says("/no/such/file: No such file or directory"));
    EXPECT_EQ(tool("put %s /tmp", path), 1);
    END_SERVER()
}

/* ---- dead stores, destroy ---- */

/* A store whose processes were killed can be inspected and verified, is not changed by that, and can be destroyed. */
TEST(dead_store)
{
    WITH_SERVER()
    server_stop(&v, true);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(tool("inspect %s --json --objects", path), 0);
        EXPECT(json_holds("not d[\"processes\"][0][\"alive\"] and len(o) == 5"));
        EXPECT_EQ(tool("get %s 1-1", path), 1);
        EXPECT(says("no living process uses it"));
    }
    EXPECT_EQ(tool("verify %s --data", path), 0);
    EXPECT(says("processes: 0 living, 1 dead"));
    EXPECT_EQ(tool("destroy %s", path), 0);
    EXPECT_EQ(access(path, F_OK), -1);
    EXPECT_EQ(tool("inspect %s", path), 1);
    EXPECT_EQ(tool("destroy %s", path), 1);
    store_place_remove(&v.place);
}

/* destroy leaves a store alone that processes use. */
TEST(destroy_in_use)
{
    WITH_SERVER()
    EXPECT_EQ(tool("destroy %s", path), 1);
    EXPECT(says("processes use it"));
    EXPECT_EQ(tool("verify %s", path), 0);
    END_SERVER()
}

/* ---- misuse ---- */

/* A path that is not there, a directory that is no store and a file give exit code 1 and a line that names the path; nothing is removed. */
TEST(no_store)
{
    static const char *const commands[] = {"inspect", "verify", "watch --count 1", "destroy"};
    char directory[] = "/tmp/manta-no-store-XXXXXX", file[64], parent[64];
    EXPECT(mkdtemp(directory));
    snprintf(file, sizeof file, "%s/control", directory);
    FILE *f = fopen(file, "w");
    EXPECT(f && fputs("some other file, which is none of a store", f) >= 0 && fclose(f) == 0);
    snprintf(parent, sizeof parent, "%s: ", directory);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        EXPECT_EQ(tool("%s /nowhere/at/all", commands[i]), 1);
        EXPECT(says("manta-store: /nowhere/at/all: "));
        EXPECT_EQ(tool("%s %s", commands[i], directory), 1);
        EXPECT(says(parent));
        EXPECT_EQ(tool("%s %s", commands[i], file), 1);
    }
    EXPECT_EQ(unlink(file), 0);
    EXPECT_EQ(rmdir(directory), 0);
}

/* Wrong usage gives exit code 2 and says what is wrong and where help is. */
TEST(usage)
{
    static const struct {
        const char *arguments, *text;
    } cases[] = {{"", "usage: manta-store COMMAND"}, {"frobnicate", "unknown command frobnicate"}, {"inspect", "missing arguments: PATH"},
        {"inspect a b", "too many arguments"}, {"inspect a --frob", "unknown option --frob"}, {"inspect a -x", "unknown option -x"},
        {"inspect a --sort colour", "one of size|age|holders"}, {"inspect a --limit", "needs a value"},
        {"inspect a --limit=-1", "a number from 0"}, {"inspect a --limit 99999999999999999999", "a number from 0"},
        {"watch a --interval 0", "a number from 10"}, {"verify a --data=1", "takes no value"}, {"get a", "missing arguments: PATH ID"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        EXPECT_EQ(tool("%s", cases[i].arguments), 2);
        EXPECT(says(cases[i].text));
    }
}

/* Every command has --help, on standard output, with exit code 0. */
TEST(help)
{
    static const char *const commands[] = {"inspect", "verify", "watch", "put", "get", "destroy"};
    EXPECT_EQ(tool("--help"), 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) EXPECT(says(commands[i]));
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char usage[64];
        snprintf(usage, sizeof usage, "usage: manta-store %s PATH", commands[i]);
        EXPECT_EQ(tool("%s --help 2>/dev/null", commands[i]), 0);
        EXPECT(says(usage));
    }
}

/* Output that cannot be written gives exit code 1. */
TEST(full_output)
{
    WITH_SERVER()
    EXPECT_EQ(tool("inspect %s >/dev/full", path), 1);
    EXPECT_EQ(tool("inspect %s --json --objects >/dev/full", path), 1);
    END_SERVER()
}
