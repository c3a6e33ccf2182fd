#include "check.h"

#include "base/str.h"
#include "oci/manifest.h"

#define A   "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B   "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DA  "{\"digest\":\"" A "\",\"size\":1}"
#define DB  "{\"digest\":\"" B "\",\"size\":2}"
#define IMG "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[" DB "]"

static struct mem_arena *arena;
static struct manifest m;

static int parse(const char *type, const char *text)
{
    const char *reason = NULL;
    int err = manifest_parse(arena, type, text, strlen(text), &m, &reason);

    assert_true(err == 0 || (reason && *reason));
    return err;
}

static void test_image(void **state)
{
    (void)state;
    assert_int_equal(
        parse(MANIFEST_TYPE_OCI_IMAGE,
              "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/config\",\"digest\":\"" A
              "\",\"size\":1},\"layers\":[" DB "],\"annotations\":{\"k\":\"v\"},\"subject\":" DB
              "}"),
        0);
    assert_false(m.is_index);
    assert_string_equal(m.media_type, MANIFEST_TYPE_OCI_IMAGE);
    assert_int_equal(m.ref_count, 2);
    assert_int_equal(m.refs[0].kind, MANIFEST_REF_CONFIG);
    assert_int_equal(m.refs[1].kind, MANIFEST_REF_LAYER);
    assert_int_equal(m.refs[1].size, 2);
    assert_int_equal(m.refs[1].digest.bytes[0], 0xbb);
    assert_int_equal(m.subject.bytes[0], 0xbb);
    assert_string_equal(m.artifact_type, "a/config");
    assert_int_equal(m.annotation_count, 1);
    assert_string_equal(m.annotations[0].key, "k");
    assert_string_equal(m.annotations[0].value, "v");
}

static void test_artifact_type(void **state)
{
    (void)state;
    assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE, IMG ",\"artifactType\":\"x/own\"}"), 0);
    assert_string_equal(m.artifact_type, "x/own");
    assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE, IMG "}"), 0);
    assert_null(m.artifact_type);
    assert_int_equal(parse(MANIFEST_TYPE_OCI_INDEX, "{\"schemaVersion\":2,\"manifests\":[]}"), 0);
    assert_null(m.artifact_type);
}

static void test_index(void **state)
{
    (void)state;
    assert_int_equal(
        parse(MANIFEST_TYPE_DOCKER_LIST, "{\"schemaVersion\":2,\"manifests\":[" DA "," DB "]}"), 0);
    assert_true(m.is_index);
    assert_int_equal(m.ref_count, 2);
    assert_int_equal(m.refs[1].kind, MANIFEST_REF_CHILD);
    assert_int_equal(parse(MANIFEST_TYPE_OCI_INDEX,
                           "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" A
                           "\",\"size\":1,\"urls\":[\"u\"]}]}"),
                     0);
    assert_false(m.refs[0].exempt); /* only layers may lie elsewhere */
}

static void test_exempt_layers(void **state)
{
    static const char *const layers[] = {
        "\"urls\":[\"https://x\"]",
        "\"mediaType\":\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\"",
        "\"mediaType\":\"application/vnd.oci.image.layer.nondistributable.v1.tar\""};
    char text[1024];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof(text),
                 "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{\"digest\":\"" B
                 "\",\"size\":1,%s}]}",
                 layers[i]);
        assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE, text), 0);
        assert_true(m.refs[1].exempt);
        assert_false(m.refs[0].exempt);
    }
    assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE,
                           "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{\"digest\":\"" B
                           "\",\"size\":1,\"urls\":[]}]}"),
                     0);
    assert_false(m.refs[1].exempt);
}

static void test_types(void **state)
{
    (void)state;
    assert_int_equal(parse("", IMG ",\"mediaType\":\"" MANIFEST_TYPE_OCI_IMAGE "\"}"), 0);
    assert_int_equal(parse(NULL, IMG "}"), ERR_INVALID);
    assert_int_equal(
        parse(MANIFEST_TYPE_DOCKER_IMAGE, IMG ",\"mediaType\":\"" MANIFEST_TYPE_OCI_IMAGE "\"}"),
        ERR_INVALID);
    assert_int_equal(parse(MANIFEST_TYPE_OCI_INDEX, IMG "}"), ERR_INVALID);
    assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE, "{\"schemaVersion\":2,\"manifests\":[]}"),
                     ERR_INVALID);
    assert_int_equal(parse("application/json", IMG "}"), ERR_INVALID);
    assert_int_equal(
        parse("application/vnd.docker.distribution.manifest.v1+json", "{\"schemaVersion\":1}"),
        ERR_INVALID);
    assert_false(manifest_type_known("application/json"));
    assert_true(manifest_type_known(MANIFEST_TYPE_DOCKER_LIST));
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":1,\"config\":" DA ",\"layers\":[]}",
        "{\"schemaVersion\":2,\"layers\":[]}",
        "{\"schemaVersion\":2,\"config\":null,\"layers\":[]}",
        "{\"schemaVersion\":null,\"config\":" DA ",\"layers\":[]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":{}}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[null]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{\"digest\":null,\"size\":1}]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{\"digest\":\"" A "\",\"size\":null}]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":null,\"layers\":[]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{}]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{\"digest\":\"" A "\"}]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{\"digest\":\"" A "\",\"size\":-1}]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{\"digest\":\"sha256:x\",\"size\":1}]}",
        "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[{\"digest\":\"" A "\",\"digest\":\"" B
        "\",\"size\":1}]}",
        IMG ",\"manifests\":[]}",
        IMG ",\"layers\":[]}",
        IMG ",\"config\":" DB "}",
        IMG ",\"schemaVersion\":2}",
        IMG ",\"mediaType\":\"" MANIFEST_TYPE_OCI_IMAGE
            "\",\"mediaType\":\"" MANIFEST_TYPE_OCI_IMAGE "\"}",
        IMG ",\"subject\":{\"size\":1}}",
        IMG ",\"subject\":" DA ",\"subject\":" DA "}",
        IMG ",\"annotations\":[]}",
        IMG ",\"annotations\":{\"a\":1}}",
        IMG ",\"artifactType\":\"noslash\"}",
        IMG ",\"artifactType\":\"text/plain; charset\"}",
        IMG ",\"fsLayers\":[]}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(MANIFEST_TYPE_OCI_IMAGE, bad[i]) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
}

/* As encoders of Go write what is not there. */
static void test_null_is_absent(void **state)
{
    (void)state;
    assert_int_equal(
        parse(MANIFEST_TYPE_OCI_IMAGE,
              IMG ",\"mediaType\":null,\"x\":[{\"y\":null}],\"subject\":null,\"manifests\":null,"
                  "\"artifactType\":null,\"fsLayers\":null,\"annotations\":null}"),
        0);
    assert_int_equal(m.subject.alg, 0);
    assert_null(m.artifact_type);
    assert_int_equal(m.ref_count, 2);
    for (int absent = 0; absent <= 1; absent++) {
        assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE,
                               absent ? "{\"schemaVersion\":2,\"config\":" DA "}"
                                      : "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":null}"),
                         0);
        assert_int_equal(m.ref_count, 1);
        assert_int_equal(parse(MANIFEST_TYPE_OCI_INDEX,
                               absent ? "{\"schemaVersion\":2}"
                                      : "{\"schemaVersion\":2,\"config\":null,\"layers\":null,"
                                        "\"manifests\":null}"),
                         0);
        assert_int_equal(m.ref_count, 0);
    }
    assert_int_equal(
        parse(MANIFEST_TYPE_OCI_IMAGE,
              "{\"schemaVersion\":2,\"config\":{\"mediaType\":null,\"digest\":\"" A
              "\",\"size\":1,\"urls\":null},\"layers\":[{\"digest\":\"" B
              "\",\"size\":1,\"urls\":[null]}],\"annotations\":{\"a\":null,\"b\":\"\"}}"),
        0);
    assert_false(m.refs[1].exempt);
    assert_int_equal(m.annotation_count, 1);
    assert_string_equal(m.annotations[0].key, "b");
}

static void test_legal_oddities(void **state)
{
    (void)state;
    assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE, IMG ",\"mediaType\":\"\"}"), 0);
    assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE, IMG
                           ",\"artifactType\":\"application/vnd.x+json;version=1.5\",\"subject\":"
                           "{\"mediaType\":\"text/plain; charset=utf-8\",\"digest\":\"" A
                           "\",\"size\":1}}"),
                     0);
    assert_string_equal(m.artifact_type, "application/vnd.x+json;version=1.5");
    assert_int_equal(
        parse(MANIFEST_TYPE_OCI_IMAGE, "{\"schemaVersion\":2,\"config\":" DA ",\"layers\":[]}"), 0);
}

static void test_annotations_are_bounded(void **state)
{
    struct str text = {0};

    (void)state;
    for (int count = MANIFEST_ANNOTATIONS_MAX; count <= MANIFEST_ANNOTATIONS_MAX + 1; count++) {
        str_reset(&text);
        str_puts(&text, IMG ",\"annotations\":{\"k\":\"v\"");
        for (int i = 1; i < count; i++)
            str_puts(&text, ",\"\":\"\"");
        str_puts(&text, "}}");
        assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE, text.data),
                         count == MANIFEST_ANNOTATIONS_MAX ? 0 : ERR_INVALID);
    }
    str_free(&text);
}

/* As JSON {"a":"xx..",}: what fits stays in its order, what does not goes as a whole. */
static void test_annotations_that_lists_show(void **state)
{
    const size_t room = MANIFEST_ANNOTATIONS_SHOWN - 7;
    struct str text = {0};

    (void)state;
    for (size_t len = room - 9; len <= room + 1; len++) {
        str_reset(&text);
        str_puts(&text, IMG ",\"annotations\":{\"a\":\"");
        for (size_t i = 0; i < len; i++)
            str_putc(&text, 'x');
        str_puts(&text, "\",\"bb\":\"\",\"c\":\"\"}}");
        assert_int_equal(parse(MANIFEST_TYPE_OCI_IMAGE, text.data), 0);
        /* 8 bytes of bb, 7 of c, or both where a has no room */
        assert_int_equal(m.annotation_count, len > room || len <= room - 7 ? 2 : 1);
        assert_string_equal(m.annotations[0].key, len > room ? "bb" : "a");
        if (m.annotation_count == 2)
            assert_string_equal(m.annotations[1].key, len > room || len == room - 7 ? "c" : "bb");
    }
    str_free(&text);
}

static int setup(void **state)
{
    (void)state;
    arena = mem_arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_artifact_type),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_exempt_layers),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_null_is_absent),
        cmocka_unit_test(test_legal_oddities),
        cmocka_unit_test(test_annotations_are_bounded),
        cmocka_unit_test(test_annotations_that_lists_show),
    };

    return cmocka_run_group_tests_name("manifest", tests, setup, teardown);
}
