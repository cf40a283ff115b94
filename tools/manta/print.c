/*
 * Answers for people and as JSON.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/manta/answers.h"

static bool same_texts(const row *a, const row *b, size_t n)
{
    for (size_t c = 0; c < n; c++)
        if (a->cells[c].text && strcmp(a->cells[c].text, b->cells[c].text ? b->cells[c].text : "") != 0) return false;
    return true;
}

void answers_merge(answers *a)
{
    size_t kept = 0;
    for (size_t i = 0; i < a->n_rows; i++) {
        size_t k = 0;
        while (k < kept && !same_texts(&a->rows[k], &a->rows[i], a->n_columns)) k++;
        if (k == kept) {
            a->rows[kept++] = a->rows[i];
            continue;
        }
        a->matched--;
        for (size_t c = 0; c < a->n_columns; c++) {
            a->rows[k].cells[c].number += a->rows[i].cells[c].number;
            free(a->rows[i].cells[c].text);
        }
    }
    a->n_rows = kept;
}

/* An error that many have is told once. */
int answers_complain(const answers *a)
{
    int n = 0;
    for (size_t i = 0; i < a->n_origins; i++) {
        const origin *o = &a->origins[i];
        size_t first = 0, same = 0;
        if (!o->error[0]) continue;
        n++;
        while (strcmp(a->origins[first].error, o->error) != 0) first++;
        if (first < i) continue;
        for (size_t k = i + 1; k < a->n_origins; k++) same += strcmp(a->origins[k].error, o->error) == 0;
        fprintf(stderr, "manta: %s %s%s%s: %s", o->role, o->process, o->node[0] ? " of " : "", o->node, o->error);
        if (same) fprintf(stderr, " (so do %zu others)", same);
        fputc('\n', stderr);
    }
    return n;
}

/* ---- tables ---- */

static const char *text_of(const cell *c, char number[24])
{
    if (c->text) return c->text;
    snprintf(number, 24, "%" PRIu64, c->number);
    return number;
}

static void print_cells(const answers *a, const row *r, const int *width, bool with_origin)
{
    char number[24];
    for (size_t c = 0; c < a->n_columns; c++) {
        const char *text = text_of(&r->cells[c], number);
        printf("%s%*s", c ? "  " : "", r->cells[c].text ? -width[c] : width[c], *text ? text : "-");
    }
    const origin *o = &a->origins[r->origin];
    if (with_origin) printf("  %s %s %" PRIu32, o->host, o->role, o->pid);
    printf("\n");
}

static void print_table(const answers *a, const question *q, bool with_origin, size_t n)
{
    int width[CELLS];
    for (size_t c = 0; c < a->n_columns; c++) {
        width[c] = (int)strlen(a->columns[c]);
        for (size_t i = 0; i < n; i++) {
            char number[24];
            int w = (int)strlen(text_of(&a->rows[i].cells[c], number));
            if (w > width[c]) width[c] = w;
        }
        printf("%s%*s", c ? "  " : "", a->rows[0].cells[c].text ? -width[c] : width[c], a->columns[c]);
    }
    printf("%s\n", with_origin ? "  host role pid" : "");
    for (size_t i = 0; i < n; i++) print_cells(a, &a->rows[i], width, with_origin);
    if (a->matched > n) printf("%" PRIu64 " more: --limit N (now %" PRIu32 "), --where CONDITION\n", a->matched - n, q->limit);
}

/* ---- JSON ---- */

static void print_string(const char *text)
{
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\') printf("\\%c", *c);
        else if (*c < ' ') printf("\\u%04x", *c);
        else putchar(*c);
    }
    putchar('"');
}

static void print_pair(const char *key, const char *text, const char *before)
{
    fputs(before, stdout);
    print_string(key);
    putchar(':');
    print_string(text);
}

static void print_json(const answers *a, bool with_origin, size_t n)
{
    printf("{\"matched\":%" PRIu64 ",\"rows\":[", a->matched);
    for (size_t i = 0; i < n; i++) {
        const origin *o = &a->origins[a->rows[i].origin];
        fputs(i ? ",\n{" : "\n{", stdout);
        for (size_t c = 0; c < a->n_columns; c++) {
            const cell *x = &a->rows[i].cells[c];
            if (x->text) print_pair(a->columns[c], x->text, c ? "," : "");
            else {
                fputs(c ? "," : "", stdout);
                print_string(a->columns[c]);
                printf(":%" PRIu64, x->number);
            }
        }
        if (with_origin) {
            print_pair("process", o->process, ",");
            print_pair("role", o->role, ",");
            print_pair("host", o->host, ",");
            printf(",\"pid\":%" PRIu32, o->pid);
        }
        putchar('}');
    }
    fputs("],\"errors\":[", stdout);
    for (size_t i = 0, k = 0; i < a->n_origins; i++) {
        if (!a->origins[i].error[0]) continue;
        print_pair("process", a->origins[i].process, k++ ? ",{" : "{");
        print_pair("error", a->origins[i].error, ",");
        putchar('}');
    }
    fputs("]}\n", stdout);
}

void answers_print(const answers *a, const question *q, bool with_origin)
{
    size_t n = a->n_rows < q->limit ? a->n_rows : q->limit;
    if (q->as_json) print_json(a, with_origin, n);
    else if (n) print_table(a, q, with_origin, n);
    else printf("none\n");
}

void answers_print_details(const answers *a, const question *q)
{
    char number[24];
    if (q->as_json) {
        print_json(a, true, a->n_rows);
        return;
    }
    for (size_t i = 0; i < a->n_rows; i++) {
        const origin *o = &a->origins[a->rows[i].origin];
        for (size_t c = 0; c < a->n_columns; c++) printf("%-12s %s\n", a->columns[c], text_of(&a->rows[i].cells[c], number));
        printf("%-12s %s, %s of %s, pid %" PRIu32 "\n", "process", o->process, o->role, o->host, o->pid);
    }
}
