/*
 * fail.c - what a process does at an armed fail point. Any process, any thread.
 *
 * A crash is what it is for.
 */
#include "base/fail.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *fail_dir;

static const char *const names[] = {
#define X(name) #name,
    FAIL_POINTS(X)
#undef X
};

void fail_init(void)
{
    fail_dir = getenv("ENTREPOT_FAIL_DIR");
    if (fail_dir)
        log_warn("fail points are armed: this is a test", "dir=%s", log_quote(fail_dir));
}

static bool hold(const char *path)
{
    char reached[4200];

    snprintf(reached, sizeof(reached), "%s.reached", path);
    if (rename(path, reached) != 0)
        return false; /* somebody else took it */
    while (access(reached, F_OK) == 0)
        usleep(1000);
    return true;
}

static int errno_of(const char *word)
{
    static const struct {
        const char *word;
        int value;
    } known[] = {{"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS},  {"EACCES", EACCES},
                 {"EIO", EIO},       {"EMFILE", EMFILE}, {"EAGAIN", EAGAIN}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(word, known[i].word, strlen(known[i].word)) == 0)
            return known[i].value;
    return 0;
}

int fail_reach(enum fail_point_id point)
{
    char path[4096], order[32] = "";
    int fd, value;

    snprintf(path, sizeof(path), "%s/%s", fail_dir, names[point]);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (read(fd, order, sizeof(order) - 1) < 0)
        order[0] = 0;
    close(fd);
    if (strncmp(order, "wait", 4) == 0)
        return hold(path) ? errno_of(order + strspn(order, "wait ")) : 0;
    value = errno_of(order);
    if (strstr(order, "always"))
        return value;
    if (unlink(path) != 0)
        return 0;
    if (strncmp(order, "kill", 4) == 0)
        kill(getpid(), SIGKILL);
    return value;
}
