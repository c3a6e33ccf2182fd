/*
 * replay.c - a main() for a fuzz target where there is no libFuzzer.
 *
 * Runs in the tests only: every file of the directories named is one input, so
 * that what fuzzing once found stays found under any compiler. Without an
 * argument (`make check`) the directory is the target's own: fuzz_NAME replays
 * tests/fuzz/corpus/NAME. Fails when a directory holds nothing: a corpus that
 * is not there would pass for ever. A target that has `fuzz_accepted` must accept each file
 * without a '-' in its name: a format that changes would leave it an input like any noise.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern bool fuzz_accepted __attribute__((weak));

/* 1 when the file was an input, 0 when it is no regular file, else what was told is wrong. */
static int replay_file(const char *path)
{
    FILE *file = NULL;
    uint8_t *data = NULL;
    struct stat st;
    size_t size;
    int result = -1;

    if (stat(path, &st) != 0)
        goto out;
    if (!S_ISREG(st.st_mode))
        return 0;
    size = (size_t)st.st_size;
    /* The exact size, so that a sanitizer sees a read past the end. */
    data = malloc(size ? size : 1);
    file = fopen(path, "rb");
    if (!data || !file || fread(data, 1, size, file) != size)
        goto out;
    LLVMFuzzerTestOneInput(data, size);
    result = 1;
    if (&fuzz_accepted && !fuzz_accepted && !strchr(strrchr(path, '/'), '-')) {
        fprintf(stderr, "%s: is malformed now: write it anew\n", path);
        result = -2;
    }
out:
    if (result == -1)
        perror(path);
    if (file)
        fclose(file);
    free(data);
    return result;
}

static int replay_directory(const char *directory)
{
    DIR *dir = opendir(directory);
    const struct dirent *entry;
    char path[4096];
    int count = 0;

    if (!dir) {
        perror(directory);
        return EXIT_FAILURE;
    }
    while ((entry = readdir(dir))) {
        int one;

        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        one = replay_file(path);
        if (one < 0) {
            closedir(dir);
            return EXIT_FAILURE;
        }
        count += one;
    }
    closedir(dir);
    printf("%d inputs of %s\n", count, directory);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *top = getenv("srcdir");
    const char *name = strrchr(argv[0], '/');
    char own[4096];
    int status = EXIT_SUCCESS;

    for (int i = 1; i < argc && status == EXIT_SUCCESS; i++)
        status = replay_directory(argv[i]);
    if (argc > 1)
        return status;
    name = name ? name + 1 : argv[0];
    if (strncmp(name, "fuzz_", 5) == 0)
        name += 5;
    snprintf(own, sizeof(own), "%s/tests/fuzz/corpus/%s", top ? top : ".", name);
    return replay_directory(own);
}
