/*
 * rebuild_read.c - a file of a blob store read as a manifest.
 *
 * Runs in entrepotctl; changes nothing but that a manifest comes back from the trash.
 */
#include "tools/rebuild.h"

#include "base/file.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than any limit of manifests that a configuration would name. */
#define SIZE_MAX_READ (64u << 20)

static int read_file(const struct rebuild *r, size_t store, const struct digest *digest,
                     struct mem_arena *arena, char **data_r, struct rebuild_manifest *m)
{
    struct stat st = {0};
    struct digest found;
    int fd, err;

    err = store_blob_size(r->stores[store], digest, &m->size);
    if (err == 0 && m->size > SIZE_MAX_READ)
        err = ERR_DAMAGED;
    if (err == 0)
        err = store_blob_open(r->stores[store], digest, m->size, &fd);
    if (err != 0)
        return err;
    *data_r = mem_arena_alloc(arena, m->size + 1);
    err = file_pread_full(fd, *data_r, m->size, 0);
    if (err == 0 && fstat(fd, &st) != 0)
        err = ERR_IO;
    close(fd);
    m->time = (uint64_t)st.st_mtime;
    if (err != 0)
        return err;
    digest_of(digest->alg, *data_r, m->size, &found);
    return digest_equal(&found, digest) ? 0 : ERR_DAMAGED;
}

int rebuild_read(const struct rebuild *r, size_t store, const struct digest *digest,
                 const char *type, struct mem_arena *arena, struct rebuild_manifest *m)
{
    static const char *const guesses[] = {NULL, MANIFEST_TYPE_OCI_IMAGE, MANIFEST_TYPE_OCI_INDEX};
    const char *reason;
    char *data;
    int err;

    *m = (struct rebuild_manifest){0};
    err = read_file(r, store, digest, arena, &data, m);
    if (err != 0)
        return err;
    if (*type)
        return manifest_parse(arena, type, data, m->size, &m->contents, &reason) == 0 ? 0
                                                                                      : ERR_DAMAGED;
    for (size_t i = 0; i < sizeof(guesses) / sizeof(guesses[0]); i++)
        if (manifest_parse(arena, guesses[i], data, m->size, &m->contents, &reason) == 0)
            return 0;
    return ERR_DAMAGED;
}
