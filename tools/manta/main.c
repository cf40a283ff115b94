/*
 * manta: starts and stops node daemons, shows clusters, runs programs on them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/runtime/config.h"
#include "mailbox/link/link.h"
#include "tools/manta/manta.h"
#include "tools/manta/settings.h"

int wrong_usage(const char *format, const char *what)
{
    fprintf(stderr, "manta: ");
    fprintf(stderr, format, what);
    fprintf(stderr, "; manta --help tells more\n");
    return 2;
}

int command_keygen(int argc, char **argv)
{
    char public_key[41], secret_key[41];
    if (argc) return wrong_usage("keygen takes no arguments, got %s", argv[0]);
    if (link_keygen(public_key, secret_key)) return fprintf(stderr, "manta keygen: %s\n", link_error()), 1;
    printf("public %s\nsecret %s\n", public_key, secret_key);
    return 0;
}

static void print_setting(const char *name, const char *value, const char *origin, void *context)
{
    (void)context;
    printf("%-16s %-22s %s\n", name, *value ? value : "-", *origin ? origin : "default");
}

/* The settings that a program or a node daemon would start with here. */
int command_config(int argc, char **argv)
{
    char error[1200];
    manta_config c;
    char *all[64] = {(char *)(uintptr_t) "manta"};
    char **arguments = all;
    int n = argc + 1;
    for (int i = 0; i < argc && i < 62; i++) all[i + 1] = argv[i];
    if (argc > 62) return wrong_usage("%s", "too many arguments");
    if (!node_settings_load(config_file_name(n, all), error, sizeof error) ||
        !config_resolve(NULL, &n, &arguments, &c, error, sizeof error))
        return fprintf(stderr, "manta config: %s\n", error), 2;
    if (n > 1) return wrong_usage("config takes --manta-* arguments only, got %s", arguments[1]);
    if (node_settings_check()) return fprintf(stderr, "manta config: %s\n", node_settings_check()), 2;
    config_each(&c, print_setting, NULL);
    node_settings_each(print_setting, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    char error[1200];
    if (argc < 2 || is_help(argv[1])) {
        help_all(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    const tool_command *c = command_find(argv[1]);
    if (!c) return wrong_usage("there is no command %s", argv[1]);
    if (argc > 2 && is_help(argv[2])) return help_one(c), 0;
    if (c->is_client && !node_settings_prepare(error, sizeof error)) return fprintf(stderr, "manta %s: %s\n", c->name, error), 2;
    return c->run(argc - 2, argv + 2);
}
