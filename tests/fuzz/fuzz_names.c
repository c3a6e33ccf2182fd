/* Names: what passes holds nothing a path, a header or a log line could misread. */
#include "base/digest.h"
#include "base/mem.h"
#include "base/must.h"
#include "oci/name.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IN_PATHS "\"\\%?#<>"

static bool harmless(const char *text, size_t len, const char *forbidden)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f || strchr(forbidden, text[i]))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    char out[DIGEST_TEXT_MAX];
    struct digest d;

    if (name_image_ok((const char *)data, size))
        MUST(harmless(text, size, IN_PATHS) && !strstr(text, "..") && !strstr(text, "//") &&
             *text != '/');
    if (name_tag_ok((const char *)data, size))
        MUST(harmless(text, size, IN_PATHS) && !strchr(text, '/') && *text != '.');
    if (name_media_type_ok((const char *)data, size))
        MUST(harmless(text, size, "\"\\%?<>") && /* RFC 6838 allows # */
             name_media_type_with_parameters_ok((const char *)data, size));
    if (name_media_type_with_parameters_ok((const char *)data, size))
        MUST(size <= NAME_MEDIA_TYPE_MAX && !memchr(data, '\t', size) &&
             !memchr(data, '\n', size) && !memchr(data, '\r', size) && !memchr(data, 0, size));
    if (digest_parse(text, &d) == 0)
        MUST(strcmp(digest_text(&d, out), text) == 0);
    free(text);
    return 0;
}
