/*
 * exit_told.c - preloaded: a process that ends through exit() and its handlers makes the file
 * $EXIT_TOLD.PID.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("EXIT_TOLD");
    char name[4096];
    int fd;

    if (!path || snprintf(name, sizeof(name), "%s.%ld", path, (long)getpid()) >= (int)sizeof(name))
        return;
    fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0)
        close(fd);
}
