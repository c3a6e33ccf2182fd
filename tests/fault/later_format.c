/* Makes of a database one that another build wrote: V gets the format that is named. For
 * test_stored.py. */
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    leveldb_options_t *options = leveldb_options_create();
    leveldb_writeoptions_t *synced = leveldb_writeoptions_create();
    leveldb_readoptions_t *plain = leveldb_readoptions_create();
    char *error = NULL, *value;
    leveldb_t *db = argc == 3 ? leveldb_open(options, argv[1], &error) : NULL;
    size_t len;

    if (!db) {
        fprintf(stderr, "%s\n", error ? error : "usage: later_format DATABASE FORMAT");
        return 1;
    }
    value = leveldb_get(db, plain, "V", 1, &len, &error);
    if (!value || len < 2)
        return 1;
    value[1] = (char)atoi(argv[2]); /* the lowest byte of it */
    leveldb_writeoptions_set_sync(synced, 1);
    leveldb_put(db, synced, "V", 1, value, len, &error);
    leveldb_close(db);
    if (error)
        fprintf(stderr, "%s\n", error);
    return error != NULL;
}
