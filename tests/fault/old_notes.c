/* Makes a database one of before the notes of manifests had a value: empties K and R, and gives
 * each manifest whose annotations end with "pad": "x" that many x. For test_referrers_heavy.py. */
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last annotation, as codec.h writes texts. */
static const char short_end[] = "\4\0\0\0pad\0\2\0\0\0x";
#define END_LEN (sizeof(short_end))

static size_t lengthened(const char *value, size_t len, size_t pad, char **longer_r)
{
    char *longer = malloc(len + pad);

    memcpy(longer, value, len - 6); /* up to the value's own length */
    for (int i = 0; i < 4; i++)
        longer[len - 6 + i] = (char)((pad + 1) >> (8 * i));
    memset(longer + len - 2, 'x', pad);
    longer[len - 2 + pad] = 0;
    *longer_r = longer;
    return len - 1 + pad;
}

int main(int argc, char **argv)
{
    leveldb_options_t *options = leveldb_options_create();
    leveldb_writeoptions_t *plain = leveldb_writeoptions_create();
    leveldb_readoptions_t *reading = leveldb_readoptions_create();
    size_t pad = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    char *error = NULL;
    leveldb_t *db = argc == 3 ? leveldb_open(options, argv[1], &error) : NULL;
    leveldb_iterator_t *at;

    if (!db) {
        fprintf(stderr, "%s\n", error ? error : "usage: old_notes DATABASE BYTES");
        return 1;
    }
    at = leveldb_create_iterator(db, reading);
    for (leveldb_iter_seek_to_first(at); leveldb_iter_valid(at) && !error; leveldb_iter_next(at)) {
        size_t len, value_len;
        const char *key = leveldb_iter_key(at, &len), *value = leveldb_iter_value(at, &value_len);
        char *longer;

        if (key[0] == 'R' || key[0] == 'K') {
            leveldb_put(db, plain, key, len, "", 0, &error);
        } else if (key[0] == 'M' && value_len > END_LEN &&
                   memcmp(value + value_len - END_LEN, short_end, END_LEN) == 0) {
            value_len = lengthened(value, value_len, pad, &longer);
            leveldb_put(db, plain, key, len, longer, value_len, &error);
            free(longer);
        }
    }
    leveldb_iter_destroy(at);
    leveldb_close(db);
    if (error)
        fprintf(stderr, "%s\n", error);
    return error != NULL;
}
