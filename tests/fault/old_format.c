/* Makes of a database one of before identities: takes V and N out of it. For test_stores.py. */
#include <leveldb/c.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    leveldb_options_t *options = leveldb_options_create();
    leveldb_writeoptions_t *synced = leveldb_writeoptions_create();
    leveldb_readoptions_t *plain = leveldb_readoptions_create();
    char *error = NULL;
    leveldb_t *db = argc == 2 ? leveldb_open(options, argv[1], &error) : NULL;
    leveldb_writebatch_t *batch = leveldb_writebatch_create();
    leveldb_iterator_t *at;

    if (!db) {
        fprintf(stderr, "%s\n", error ? error : "usage: old_format DATABASE");
        return 1;
    }
    at = leveldb_create_iterator(db, plain);
    for (leveldb_iter_seek_to_first(at); leveldb_iter_valid(at); leveldb_iter_next(at)) {
        size_t len;
        const char *key = leveldb_iter_key(at, &len);

        if (len > 0 && (key[0] == 'V' || key[0] == 'N'))
            leveldb_writebatch_delete(batch, key, len);
    }
    leveldb_iter_destroy(at);
    leveldb_writeoptions_set_sync(synced, 1);
    leveldb_write(db, synced, batch, &error);
    leveldb_close(db);
    if (error)
        fprintf(stderr, "%s\n", error);
    return error != NULL;
}
