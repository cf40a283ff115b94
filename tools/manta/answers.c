#include "tools/manta/answers.h"

#include <stdlib.h>
#include <string.h>

#include "actor/node/raylet.h"
#include "tools/manta/manta.h"

/* ---- options ---- */

static bool add_condition(question *q, const char *text)
{
    size_t held = strlen(q->match);
    if (held + strlen(text) + 2 > sizeof q->match || strchr(text, '\n')) return false;
    snprintf(q->match + held, sizeof q->match - held, "%s%s", held ? "\n" : "", text);
    return true;
}

static int take(question *q, const char *option, const char *value)
{
    char *end = NULL;
    unsigned long long n = strtoull(value, &end, 10);
    if (strcmp(option, "--address") == 0) snprintf(q->address, sizeof q->address, "%s", value);
    else if (strcmp(option, "--where") == 0) return add_condition(q, value) ? 0 : wrong_usage("too many conditions: %s", value);
    else if (*end || !*value || n < 1 || n > 1000000) return wrong_usage("--limit is a number from 1 to 1000000, got %s", value);
    else q->limit = (uint32_t)n;
    return 0;
}

int question_parse(const char *command, int *argc, char **argv, question *q)
{
    int kept = 0, code = 0;
    for (int i = 0; i < *argc && !code; i++) {
        bool has_value = strcmp(argv[i], "--address") == 0 || strcmp(argv[i], "--where") == 0 || strcmp(argv[i], "--limit") == 0;
        if (has_value && i + 1 == *argc) return wrong_usage("%s wants a value", argv[i]);
        if (has_value) code = take(q, argv[i], argv[i + 1]), i++;
        else if (strcmp(argv[i], "--json") == 0) q->as_json = true;
        else if (strcmp(argv[i], "--here") == 0) q->here_only = true;
        else argv[kept++] = argv[i];
    }
    *argc = kept;
    if (code || q->address[0] || daemon_last(q->address, sizeof q->address)) return code;
    fprintf(stderr, "manta %s: no daemon runs here: start one (manta start --head), or give --address\n", command);
    return 1;
}

/* ---- asking ---- */

manta_t *question_connect(const question *q, manta_actor *out_raylet)
{
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1, .join = q->address});
    manta_process_info there;
    size_t n = 0;
    if (!m) return NULL;
    manta_status status = manta_list_processes(&there, 1, &n);
    if (!status) status = manta_lookup_in(there.process, "manta.raylet", out_raylet);
    if (!status) return m;
    fprintf(stderr, "manta: %s: %s\n", q->address, manta_last_error()->message);
    (void)manta_shutdown(m);
    return NULL;
}

static void copy(char *to, size_t room, manta_str s) { snprintf(to, room, "%.*s", (int)s.size, s.size ? s.data : ""); }

static char *text_of(manta_str s)
{
    char *text = calloc(1, s.size + 1);
    if (text && s.size) memcpy(text, s.data, s.size);
    return text;
}

static size_t column_of(answers *a, manta_str key)
{
    size_t i = 0;
    while (i < a->n_columns && (strlen(a->columns[i]) != key.size || memcmp(a->columns[i], key.data, key.size) != 0)) i++;
    if (i == a->n_columns && i < CELLS) a->columns[a->n_columns++] = text_of(key);
    return i;
}

static void *grown(void *items, size_t n, size_t bytes)
{
    if (n & (n - 1)) return items; /* full at powers of two only */
    void *more = realloc(items, (n ? n * 2 : 1) * bytes);
    if (more) return more;
    fprintf(stderr, "manta: no memory for an answer\n");
    exit(1);
}

static void read_row(answers *a, manta_reader *r)
{
    uint32_t n = 0;
    row x = {.origin = a->n_origins - 1};
    manta_unpack_map(r, &n);
    for (uint32_t i = 0; i < n && !r->status; i++) {
        manta_str key, text;
        uint64_t number = 0;
        manta_unpack_manta_str(r, &key);
        bool is_text = manta_peek_kind(r) == MANTA_KIND_STR;
        if (is_text) manta_unpack_manta_str(r, &text);
        else manta_unpack_uint64_t(r, &number);
        size_t c = r->status ? CELLS : column_of(a, key);
        if (c < CELLS) x.cells[c] = (cell){is_text ? text_of(text) : NULL, number};
    }
    a->rows = grown(a->rows, a->n_rows, sizeof *a->rows);
    a->rows[a->n_rows++] = x;
}

static void read_report(answers *a, origin *o, manta_bytes report)
{
    manta_reader r;
    manta_str host = {NULL, 0};
    uint64_t matched = 0;
    uint32_t shown = 0, n = 0;
    manta_reader_init(&r, report.data, report.size);
    manta_unpack_array(&r, &n);
    manta_unpack_uint32_t(&r, &o->pid);
    manta_unpack_manta_str(&r, &host);
    manta_unpack_uint64_t(&r, &matched);
    manta_unpack_uint32_t(&r, &shown);
    manta_unpack_array(&r, &n);
    if (!r.status) copy(o->host, sizeof o->host, host);
    if (!r.status) a->matched += matched;
    for (uint32_t i = 0; i < n && !r.status; i++) read_row(a, &r);
    if (r.status) snprintf(o->error, sizeof o->error, "its answer cannot be read: %s", manta_status_text(r.status));
}

static origin *find_origin(const answers *a, const char *process)
{
    for (size_t i = 0; i < a->n_origins; i++)
        if (strcmp(a->origins[i].process, process) == 0) return &a->origins[i];
    return NULL;
}

static origin *add_origin(answers *a, const origin *o)
{
    a->origins = grown(a->origins, a->n_origins, sizeof *o);
    a->origins[a->n_origins] = *o;
    return &a->origins[a->n_origins++];
}

static bool read_answer(answers *a, manta_reader *r, bool is_report)
{
    manta_str texts[4];
    manta_bytes bytes;
    uint32_t n = 0;
    origin o = {.pid = 0};
    manta_unpack_array(r, &n);
    for (int i = 0; i < 4; i++) manta_unpack_manta_str(r, &texts[i]);
    manta_unpack_manta_bytes(r, &bytes);
    if (r->status || n != 5) return false;
    copy(o.process, sizeof o.process, texts[0]);
    copy(o.role, sizeof o.role, texts[1]);
    copy(o.node, sizeof o.node, texts[2]);
    copy(o.error, sizeof o.error, texts[3]);
    /* A driver is asked by each node of its job. Reports say the same; of other answers, the one that says something may come second: who is asked twice to end an actor finds it once. */
    origin *kept = find_origin(a, o.process);
    if (kept && (is_report || kept->size)) return true;
    if (!kept) kept = add_origin(a, &o);
    if (!o.error[0]) kept->error[0] = 0;
    if (is_report && !o.error[0]) read_report(a, kept, bytes);
    else if (!o.error[0] && bytes.size && (kept->bytes = malloc(bytes.size))) memcpy(kept->bytes, bytes.data, kept->size = bytes.size);
    return true;
}

bool question_ask(manta_actor raylet, const question *q, const char *kind, bool is_report, answers *out)
{
    MantaQuestion asked = {manta_str_of(kind), manta_str_of(q->match), q->limit, !q->here_only};
    manta_bytes all;
    manta_reader r;
    memset(out, 0, sizeof *out);
    if (manta_get(MantaRaylet_ask(MantaRaylet_ref_of(raylet), asked), &all)) {
        fprintf(stderr, "manta: %s: %s\n", q->address, manta_last_error()->message);
        return false;
    }
    manta_reader_init(&r, all.data, all.size);
    while (manta_reader_left(&r))
        if (!read_answer(out, &r, is_report)) {
            fprintf(stderr, "manta: %s: its answer cannot be read\n", q->address);
            return false;
        }
    return true;
}

bool question_once(const question *q, const char *kind, bool is_report, answers *out)
{
    manta_actor raylet;
    manta_t *m = question_connect(q, &raylet);
    bool ok = m && question_ask(raylet, q, kind, is_report, out);
    if (m) (void)manta_shutdown(m);
    return ok;
}

void answers_free(answers *a)
{
    for (size_t i = 0; i < a->n_rows; i++)
        for (size_t c = 0; c < CELLS; c++) free(a->rows[i].cells[c].text);
    for (size_t i = 0; i < a->n_columns; i++) free(a->columns[i]);
    for (size_t i = 0; i < a->n_origins; i++) free(a->origins[i].bytes);
    free(a->rows);
    free(a->origins);
}
