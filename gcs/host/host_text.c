#include "gcs/host/host_text.h"

#include <stdarg.h>
#include <stdio.h>

#include "gcs/raft/raft_types.h"
#include "scheduler/os/os_file.h"

manta_status host_say(char *text, manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, RAFT_TEXT_LIMIT, format, arguments);
    va_end(arguments);
    return status;
}

int host_sync_directory(const char *path)
{
    int fd = -1, error = os_file_open(path, OS_READ, &fd);
    if (!error) error = os_file_sync(fd);
    os_file_close(fd);
    return error;
}
