/*
 * name.h - the grammars of OCI distribution-spec 1.1 ("Pulling manifests") and
 * doc/protocol.md, "Names". Names that pass contain nothing a path, a log line or a
 * header could misread.
 */
#ifndef ENTREPOT_OCI_NAME_H
#define ENTREPOT_OCI_NAME_H

#include <stdbool.h>
#include <stddef.h>

#define NAME_IMAGE_MAX      255
#define NAME_TAG_MAX        128
#define NAME_MEDIA_TYPE_MAX 255

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)* , at most NAME_IMAGE_MAX.
 */
bool name_image_ok(const char *name, size_t len);
/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
bool name_tag_ok(const char *tag, size_t len);
/* type/subtype of RFC 6838 section 4.2, at most NAME_MEDIA_TYPE_MAX. */
bool name_media_type_ok(const char *type, size_t len);
/* The same, and behind it may be parameters (RFC 9110 section 8.3.1), as podman writes them for
 * text: "text/plain; charset=utf-8". */
bool name_media_type_with_parameters_ok(const char *type, size_t len);

#endif
