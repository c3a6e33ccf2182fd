/*
 * manifest.h - what a manifest says: OCI image manifest and index (image-spec
 * 1.1), Docker schema 2 and manifest list. doc/protocol.md, "Pushing manifests",
 * "Referrers".
 */
#ifndef ENTREPOT_OCI_MANIFEST_H
#define ENTREPOT_OCI_MANIFEST_H

#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MANIFEST_TYPE_OCI_IMAGE    "application/vnd.oci.image.manifest.v1+json"
#define MANIFEST_TYPE_OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define MANIFEST_TYPE_DOCKER_IMAGE "application/vnd.docker.distribution.manifest.v2+json"
#define MANIFEST_TYPE_DOCKER_LIST  "application/vnd.docker.distribution.manifest.list.v2+json"

/* More is refused, so that a message to the catalog always holds them. */
#define MANIFEST_REFS_MAX        131072
#define MANIFEST_ANNOTATIONS_MAX 131072

/* Bytes of annotations, as JSON without escapes, that lists of referrers show of each: those of
 * real artifacts fit, and a list of many stays small. */
#define MANIFEST_ANNOTATIONS_SHOWN 8192

enum manifest_ref_kind {
    MANIFEST_REF_CONFIG = 1,
    MANIFEST_REF_LAYER = 2,
    MANIFEST_REF_CHILD = 3 /* entry of an index: a manifest or a blob */
};

struct manifest_ref {
    uint8_t kind; /* enum manifest_ref_kind */
    bool exempt;  /* need not exist here: has `urls` or a non-distributable type */
    uint64_t size;
    struct digest digest;
};

struct manifest_annotation {
    const char *key, *value;
};

struct manifest {
    bool is_index;
    const char *media_type; /* what it is served as */
    struct manifest_ref *refs;
    size_t ref_count;
    struct digest subject;     /* alg 0: none */
    const char *artifact_type; /* own artifactType, else config.mediaType for images, else NULL */
    struct manifest_annotation *annotations; /* that lists show, when manifest_parse() made it */
    size_t annotation_count;
};

/* True for the four types above. `type` has no parameters. */
bool manifest_type_known(const char *type);
/* OCI index or Docker manifest list. */
bool manifest_type_is_index(const char *type);

/* Goes through the annotations that lists show: each that still fits, in their order; one that
 * does not is left out as a whole, what is behind it may fit. NULL at the end. */
struct manifest_shown {
    size_t next, bytes; /* zero to begin with */
};
const struct manifest_annotation *manifest_shown_next(const struct manifest *m,
                                                      struct manifest_shown *shown);

/* Parses and checks `data`. `content_type`: the request's media type without
 * parameters, NULL or "" when there was none (then the body's mediaType
 * decides). All results live in the arena. INVALID with a sentence for the
 * client in *reason_r: malformed, schema 1, wrong or missing schemaVersion,
 * type and body disagree, both config/layers and manifests, duplicated
 * mediaType/config/layers/manifests/subject/schemaVersion, bad descriptors
 * (digest, negative size, mediaType), unknown manifest type. Unknown fields
 * and inline `data` are legal; null counts as absent. `layers` and `manifests` may be empty or
 * absent. Media types of descriptors and artifactType may have parameters. */
must_check int manifest_parse(struct mem_arena *arena, const char *content_type, const char *data,
                              size_t len, struct manifest *manifest_r, const char **reason_r);

#endif
