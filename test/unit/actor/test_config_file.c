/* Files of settings: what is read, and what is refused with its line. */
#include "actor/runtime/config_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scheduler/base/rng.h"
#include "test/support/test.h"

static char path[64], all[4096], error[1024];

static bool note(const char *name, const char *value, const char *where, void *context, char *wrong, size_t wrong_bytes)
{
    size_t held = strlen(all);
    (void)context;
    snprintf(all + held, sizeof all - held, "%s=[%s]%s;", name, value, strrchr(where, ':'));
    if (strcmp(name, "bad") != 0) return true;
    snprintf(wrong, wrong_bytes, "%s: bad is bad", where);
    return false;
}

static bool read_text(const char *text, size_t bytes)
{
    snprintf(path, sizeof path, "/tmp/manta-test-%d.zpl", (int)getpid());
    FILE *f = fopen(path, "w");
    if (!f || fwrite(text, 1, bytes, f) != bytes || fclose(f)) return false;
    all[0] = error[0] = 0;
    bool ok = config_file_read(path, note, NULL, error, sizeof error);
    unlink(path);
    return ok;
}

static bool reads(const char *text, const char *wanted) { return read_text(text, strlen(text)) && strcmp(all, wanted) == 0 && !error[0]; }

static bool refuses(const char *text, const char *line, const char *why)
{
    char wanted[200];
    snprintf(wanted, sizeof wanted, "%s:%s: %s", path, line, why);
    return !read_text(text, strlen(text)) && strcmp(error, wanted) == 0;
}

/* Names and values arrive in order, without blanks, comments and quotes, each with its line. */
TEST(values)
{
    EXPECT(reads("", ""));
    EXPECT(reads("a = 1\nb=2", "a=[1]:1;b=[2]:2;"));
    EXPECT(reads("\n  # nothing\n\t a_1  =  some words \t\r\n", "a_1=[some words]:3;"));
    EXPECT(reads("a = x # y\nb = x#y\nc =\nd = # y", "a=[x]:1;b=[x#y]:2;c=[]:3;d=[]:4;"));
    EXPECT(reads("a = \"x # y\"\nb = 'say \"x\"' # so", "a=[x # y]:1;b=[say \"x\"]:2;"));
}

/* What is no setting is refused with file and line, and nothing behind it is read. */
TEST(refusals)
{
    (void)reads("", "");
    EXPECT(refuses("a = 1\nb\n", "2", "this is no `name = value`"));
    EXPECT(refuses("= 1", "1", "this is no `name = value`"));
    EXPECT(refuses("A = 1", "1", "this is no `name = value`"));
    EXPECT(refuses("a = \"1", "1", "a quoted value without an end"));
    EXPECT(refuses("a = '1' 2", "1", "something stands behind the quoted value"));
    EXPECT(refuses("a = 1\n\na = 2", "3", "this setting has been there before"));
    EXPECT(refuses("bad = 1\nb = 2", "1", "bad is bad"));
    EXPECT_EQ(strcmp(all, "bad=[1]:1;"), 0);
}

/* Files that are too long, hold bytes 0, or are not there are refused. */
TEST(limits)
{
    char *text = calloc(1, CONFIG_FILE_BYTES + 2);
    EXPECT(text != NULL);
    EXPECT(!read_text(text, 5) && strstr(error, "a byte 0 in it"));
    memset(text, '#', CONFIG_FILE_BYTES + 1);
    EXPECT(!read_text(text, CONFIG_FILE_BYTES + 1) && strstr(error, "more than"));
    EXPECT(read_text(text, CONFIG_FILE_BYTES));
    memcpy(text, "a = x", 5);
    memset(text + 5, 'x', CONFIG_VALUE_BYTES);
    EXPECT(!read_text(text, 5 + CONFIG_VALUE_BYTES) && strstr(error, ":1: the value is too long"));
    free(text);
    EXPECT(!config_file_read("/tmp/manta-test-nowhere/x", note, NULL, error, sizeof error) && strstr(error, "No such file"));
}

/* Any bytes are read or refused, never followed out of bounds. */
TEST(any_bytes)
{
    static const char alphabet[] = "ab=#\"' \n\t_\r1\xff";
    rng r;
    rng_init(&r, test_seed());
    for (int64_t i = 0; i < test_scaled(3000); i++) {
        char text[120];
        size_t n = (size_t)(rng_next(&r) % sizeof text);
        for (size_t k = 0; k < n; k++) text[k] = alphabet[rng_next(&r) % (sizeof alphabet - 1)];
        bool ok = read_text(text, n);
        EXPECT(ok || error[0]);
    }
}
