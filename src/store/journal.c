/*
 * journal.c - lines of a journal, and what a whole one says.
 *
 * Runs in the catalog (on its journals' thread) and in entrepotctl. Pure. The files:
 * journal_file.c.
 */
#include "store/journal.h"

#include "base/must.h"
#include "conf/conf.h"
#include "oci/name.h"

#include <stdio.h>
#include <string.h>

#define SUM_LEN    8
#define FIELDS_MAX 8
#define HEX        "0123456789abcdef"

/* CRC-32 of ISO 3309, reflected, four bits at a time. */
static uint32_t sum_of(const char *data, size_t len)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t sum = 0xffffffff;

    for (size_t i = 0; i < len; i++) {
        sum = table[(sum ^ (uint8_t)data[i]) & 15] ^ sum >> 4;
        sum = table[(sum ^ (uint8_t)data[i] >> 4) & 15] ^ sum >> 4;
    }
    return ~sum;
}

static void sum_text(const char *data, size_t len, char text[SUM_LEN + 1])
{
    MUST(snprintf(text, SUM_LEN + 1, "%08x", sum_of(data, len)) == SUM_LEN);
}

static void put_fields(struct str *out, const struct journal_line *l)
{
    char text[DIGEST_TEXT_MAX];

    switch (l->kind) {
    case JOURNAL_BEGIN:
        str_printf(out, "%llu %s %s", (unsigned long long)l->count, l->database, l->store);
        break;
    case JOURNAL_MANIFEST:
        str_printf(out, "%s %s %s %llu %s", l->repo, l->image, digest_text(&l->digest, text),
                   (unsigned long long)l->size, l->media_type);
        break;
    case JOURNAL_MANIFEST_GONE:
        str_printf(out, "%s %s %s", l->repo, l->image, digest_text(&l->digest, text));
        break;
    case JOURNAL_TAG:
        str_printf(out, "%s %s %s %s %llu", l->repo, l->image, l->tag,
                   digest_text(&l->digest, text), (unsigned long long)l->time);
        break;
    case JOURNAL_TAG_GONE:
        str_printf(out, "%s %s %s", l->repo, l->image, l->tag);
        break;
    case JOURNAL_END:
        str_printf(out, "%llu %llu", (unsigned long long)l->count, (unsigned long long)l->until);
        break;
    case JOURNAL_LOST:
        str_put_u64(out, l->count);
        break;
    }
}

void journal_put(struct str *out, const struct journal_line *line)
{
    size_t at = out->len;
    char sum[SUM_LEN + 1];

    str_puts(out, "........ ");
    str_put_u64(out, line->number);
    str_printf(out, " %c ", (char)line->kind);
    put_fields(out, line);
    sum_text(out->data + at + SUM_LEN, out->len - at - SUM_LEN, sum);
    memcpy(out->data + at, sum, SUM_LEN);
    str_putc(out, '\n');
    MUST(out->len - at < JOURNAL_LINE_MAX);
}

static bool repo_ok(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= CONF_NAME_MAX &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static bool id_ok(const char *id)
{
    return strlen(id) == IDENTITY_ID_LEN && strspn(id, HEX) == IDENTITY_ID_LEN;
}

static bool number_ok(const char *text, uint64_t *value_r)
{
    return str_parse_u64(text, strlen(text), value_r) == 0;
}

/* Of an image: its name, and what is common to four kinds. */
static bool image_take(char **f, struct journal_line *l)
{
    l->repo = f[0];
    l->image = f[1];
    return repo_ok(l->repo) && name_image_ok(l->image, strlen(l->image));
}

static bool tag_take(const char *text, struct journal_line *l)
{
    l->tag = text;
    return name_tag_ok(text, strlen(text));
}

static bool fields_take(char **f, size_t count, struct journal_line *l)
{
    switch (l->kind) {
    case JOURNAL_BEGIN:
        l->database = f[1];
        l->store = f[2];
        return count == 3 && number_ok(f[0], &l->count) && id_ok(f[1]) && id_ok(f[2]);
    case JOURNAL_MANIFEST:
        l->media_type = f[4];
        return count == 5 && image_take(f, l) && digest_parse(f[2], &l->digest) == 0 &&
               number_ok(f[3], &l->size) && name_media_type_ok(f[4], strlen(f[4]));
    case JOURNAL_MANIFEST_GONE:
        return count == 3 && image_take(f, l) && digest_parse(f[2], &l->digest) == 0;
    case JOURNAL_TAG:
        return count == 5 && image_take(f, l) && tag_take(f[2], l) &&
               digest_parse(f[3], &l->digest) == 0 && number_ok(f[4], &l->time);
    case JOURNAL_TAG_GONE:
        return count == 3 && image_take(f, l) && tag_take(f[2], l);
    case JOURNAL_END:
        return count == 2 && number_ok(f[0], &l->count) && number_ok(f[1], &l->until);
    case JOURNAL_LOST:
        return count == 1 && number_ok(f[0], &l->count);
    }
    return false;
}

int journal_take(char *text, size_t len, struct journal_line *l)
{
    char sum[SUM_LEN + 1], *fields[FIELDS_MAX] = {0}, *kind, *number;
    size_t count = 0;

    *l = (struct journal_line){0};
    if (len <= SUM_LEN || len >= JOURNAL_LINE_MAX || strnlen(text, len) != len)
        return ERR_DAMAGED;
    text[len] = 0;
    sum_text(text + SUM_LEN, len - SUM_LEN, sum);
    if (memcmp(sum, text, SUM_LEN) != 0 || text[SUM_LEN] != ' ')
        return ERR_DAMAGED;
    text += SUM_LEN + 1;
    number = strsep(&text, " ");
    kind = strsep(&text, " ");
    while (text && count < FIELDS_MAX)
        fields[count++] = strsep(&text, " ");
    if (text || !kind || strlen(kind) != 1 || !number_ok(number, &l->number))
        return ERR_DAMAGED;
    l->kind = (enum journal_kind)kind[0];
    return fields_take(fields, count, l) ? 0 : ERR_DAMAGED;
}

bool journal_ours(const struct journal_file *f, const char *database, const char *store)
{
    if (!*f->database)
        return !f->other;
    return strcmp(f->database, database) == 0 && (!store || strcmp(f->store, store) == 0);
}

bool journal_ahead(const struct journal_file *f, uint64_t number)
{
    return f->changed > number || (f->fell > 0 && f->fell <= number);
}

bool journal_whole(const struct journal_file *f)
{
    return *f->database && f->complete && f->bad == 0 && !f->gap;
}
