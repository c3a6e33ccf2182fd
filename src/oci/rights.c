/*
 * rights.c - words of rights. Pure; any process.
 */
#include "oci/rights.h"

#include <string.h>

static const char *const words[RIGHTS_COUNT] = {"pull", "push", "delete"};

const char *right_word(unsigned nth)
{
    return words[nth];
}

unsigned right_by_word(const char *text, size_t len)
{
    for (unsigned i = 0; i < RIGHTS_COUNT; i++)
        if (len == strlen(words[i]) && memcmp(text, words[i], len) == 0)
            return 1U << i;
    return 0;
}

char *rights_text(unsigned rights, char out[RIGHTS_TEXT_MAX])
{
    *out = 0;
    for (unsigned i = 0; i < RIGHTS_COUNT; i++)
        if (rights & (1U << i)) {
            if (*out)
                strcat(out, ",");
            strcat(out, words[i]);
        }
    return out;
}
