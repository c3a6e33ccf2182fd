/* Configurations: every file is good or has mistakes, nothing leaks, and the two
 * readers of the file (conf_scan.c, libconfuse) never see different things in it. */
#include "base/file.h"
#include "base/must.h"
#include "conf/conf.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str mistakes = {0};
    struct conf *conf = NULL;
    char path[64];
    int fd = -1;

    MUST(file_memfd_sealed("conf", data, size, &fd) == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (conf_load(path, &conf, &mistakes) == 0)
        MUST(conf && mistakes.len == 0 && conf->connector_count > 0 && conf->repo_count > 0);
    else
        MUST(!conf && mistakes.len > 0 &&
             !strstr(mistakes.data, "; write it on a line of its own\n"));
    conf_free(&conf);
    str_free(&mistakes);
    close(fd);
    return 0;
}
