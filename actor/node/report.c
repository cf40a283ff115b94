#include "actor/node/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- filters ---- */

static bool parse_filter(report *r, const char *text, size_t size)
{
    if (r->n_filters == REPORT_FILTERS) return false;
    report_filter *f = &r->filters[r->n_filters];
    size_t key = 0;
    while (key < size && !memchr("=!~", text[key], 3)) key++;
    bool is_not = key + 1 < size && text[key] == '!' && text[key + 1] == '=';
    size_t value = key + (is_not ? 2 : 1);
    if (!key || key >= sizeof f->key || value > size || size - value >= sizeof f->value || (text[key] == '!' && !is_not)) return false;
    f->kind = is_not ? FILTER_NOT_EQUAL : text[key] == '=' ? FILTER_EQUAL : FILTER_HAS;
    snprintf(f->key, sizeof f->key, "%.*s", (int)key, text);
    snprintf(f->value, sizeof f->value, "%.*s", (int)(size - value), text + value);
    r->n_filters++;
    return true;
}

report *report_new(manta_str match, uint32_t limit)
{
    report *r = base_calloc(1, sizeof *r);
    if (!r) return error_set(MANTA_ENOMEM, "no memory for a report"), NULL;
    manta_writer_init_growing(&r->rows);
    r->limit = limit;
    for (size_t at = 0; at < match.size;) {
        const char *line = match.data + at, *end = memchr(line, '\n', match.size - at);
        size_t size = end ? (size_t)(end - line) : match.size - at;
        if (size && !parse_filter(r, line, size)) {
            error_set(MANTA_EINVAL, "\"%.*s\" is no condition: FIELD=VALUE, FIELD!=VALUE or FIELD~PART, at most %d", (int)size, line,
                REPORT_FILTERS);
            manta_writer_fini(&r->rows);
            base_free(r);
            return NULL;
        }
        at += size + 1;
    }
    return r;
}

static const report_field *field_of(report *r, const char *key)
{
    for (uint32_t i = 0; i < r->n_fields; i++)
        if (strcmp(r->fields[i].key, key) == 0) return &r->fields[i];
    return NULL;
}

static void complain(report *r, const char *key)
{
    char all[400] = "";
    for (uint32_t i = 0, n = 0; i < r->n_fields && n < sizeof all - 40; i++)
        n += (uint32_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", r->fields[i].key);
    error_set(MANTA_EINVAL, "there is no field %s; there are: %s", key, all);
    r->is_bad = true;
}

static bool passes(report *r, const report_filter *f)
{
    char number[24];
    const report_field *field = field_of(r, f->key);
    if (!field) return complain(r, f->key), false;
    snprintf(number, sizeof number, "%llu", (unsigned long long)field->number);
    const char *text = field->text ? field->text : number;
    if (f->kind == FILTER_HAS) return strstr(text, f->value) != NULL;
    return (strcmp(text, f->value) == 0) == (f->kind == FILTER_EQUAL);
}

/* ---- rows ---- */

static void add(report *r, report_field f)
{
    if (r->n_fields < REPORT_FIELDS) r->fields[r->n_fields++] = f;
}

/* NULL: there is no room. */
static const char *copy(report *r, const char *text)
{
    char *to = r->text + r->text_used;
    size_t room = REPORT_TEXT - r->text_used;
    if (!room) return NULL;
    snprintf(to, room, "%s", text);
    r->text_used += strlen(to) + 1;
    return to;
}

void report_text(report *r, const char *key, const char *value)
{
    const char *text = copy(r, value);
    if (text) add(r, (report_field){key, text, 0});
}

void report_key(report *r, const char *key, const char *value)
{
    const char *copied = copy(r, key);
    if (copied) report_text(r, copied, value);
}

void report_number(report *r, const char *key, uint64_t value) { add(r, (report_field){key, NULL, value}); }

void report_row_end(report *r)
{
    bool ok = !r->is_bad;
    for (uint32_t i = 0; i < r->n_filters && ok; i++) ok = passes(r, &r->filters[i]);
    if (ok) r->matched++;
    if (ok && r->shown < r->limit && manta_writer_size(&r->rows) < REPORT_BYTES) {
        r->shown++;
        manta_pack_map(&r->rows, r->n_fields);
        for (uint32_t i = 0; i < r->n_fields; i++) {
            manta_str key = manta_str_of(r->fields[i].key), text = manta_str_of(r->fields[i].text ? r->fields[i].text : "");
            manta_pack_manta_str(&r->rows, &key);
            if (r->fields[i].text) manta_pack_manta_str(&r->rows, &text);
            else manta_pack_uint64_t(&r->rows, &r->fields[i].number);
        }
    }
    r->n_fields = 0;
    r->text_used = 0;
}

static manta_status pack_all(report *r, manta_writer *w)
{
    char host[64] = "";
    uint32_t pid = (uint32_t)getpid();
    (void)gethostname(host, sizeof host - 1);
    manta_str host_text = manta_str_of(host);
    manta_pack_array(w, 5);
    manta_pack_uint32_t(w, &pid);
    manta_pack_manta_str(w, &host_text);
    manta_pack_uint64_t(w, &r->matched);
    manta_pack_uint32_t(w, &r->shown);
    manta_pack_array(w, r->shown);
    if (r->shown) manta_pack_raw(w, r->rows.start, manta_writer_size(&r->rows));
    return w->status ? w->status : r->rows.status;
}

manta_bytes report_finish(report *r)
{
    manta_writer w;
    manta_bytes out = {NULL, 0};
    manta_writer_init_growing(&w);
    if (!r->is_bad && pack_all(r, &w)) error_set(MANTA_ENOMEM, "no memory for a report");
    else if (!r->is_bad && (out.data = manta_alloc(manta_writer_size(&w)))) {
        out.size = manta_writer_size(&w);
        memcpy((void *)(uintptr_t)out.data, w.start, out.size);
    }
    manta_writer_fini(&w);
    manta_writer_fini(&r->rows);
    base_free(r);
    return out;
}
