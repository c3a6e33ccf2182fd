#include "check.h"

#include "base/net.h"
#include "ipc/link.h"
#include "ipc/msg_push.h"
#include "ipc/role.h"
#include "ipc/serve.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_fields(void **state)
{
    struct msg_writer w = {0};
    struct msg_reader r;
    struct digest d, got, none = {0};

    (void)state;
    digest_of(DIGEST_SHA512, "x", 1, &d);
    msg_begin(&w, MSG_BLOB_COMMIT, 77);
    msg_put_u8(&w, 200);
    msg_put_u32(&w, 4000000000U);
    msg_put_u64(&w, UINT64_MAX);
    msg_put_i32(&w, -5);
    msg_put_str(&w, "text");
    msg_put_str(&w, NULL);
    msg_put_digest(&w, &d);
    msg_put_digest(&w, &none);
    assert_int_equal(msg_reader_init(&r, w.buf.data, w.buf.len), 0);
    assert_int_equal(r.type, MSG_BLOB_COMMIT);
    assert_int_equal(r.id, 77);
    assert_int_equal(msg_get_u8(&r), 200);
    assert_int_equal(msg_get_u32(&r), 4000000000U);
    assert_true(msg_get_u64(&r) == UINT64_MAX);
    assert_int_equal(msg_get_i32(&r), -5);
    assert_string_equal(msg_get_str(&r, 4), "text");
    assert_string_equal(msg_get_str(&r, 4), "");
    msg_get_digest(&r, false, &got);
    assert_true(digest_equal(&d, &got));
    assert_int_equal(msg_end(&r), ERR_PROTOCOL); /* something is left */
    msg_get_digest(&r, true, &got);
    assert_int_equal(got.alg, 0);
    assert_int_equal(msg_end(&r), 0);
    assert_int_equal(msg_get_u8(&r), 0);
    assert_int_equal(msg_end(&r), ERR_PROTOCOL);
    msg_writer_free(&w);
}

static void test_every_cut_is_noticed(void **state)
{
    struct manifest_ref refs[2] = {{.kind = MANIFEST_REF_CONFIG, .size = 5},
                                   {.kind = MANIFEST_REF_LAYER, .exempt = true}};
    struct manifest_annotation notes[1] = {{"key", "value"}};
    struct push_manifest p = {.target = {.repo = "r", .image = "i"},
                              .tags = {"a", "b"},
                              .tag_count = 2,
                              .condition = PUSH_IF_MATCH},
                         got;
    struct mem_arena *arena = mem_arena_new();
    struct msg_writer w = {0};
    struct msg_reader r;

    (void)state;
    digest_of(DIGEST_SHA256, "x", 1, &p.target.digest);
    refs[0].digest = refs[1].digest = p.condition_digest = p.manifest.subject = p.target.digest;
    p.manifest.media_type = MANIFEST_TYPE_OCI_IMAGE;
    p.manifest.artifact_type = "a/b";
    p.manifest.refs = refs;
    p.manifest.ref_count = 2;
    p.manifest.annotations = notes;
    p.manifest.annotation_count = 1;
    msg_begin(&w, MSG_MANIFEST_PUT, 1);
    push_manifest_put(&w, &p);
    for (size_t len = MSG_HEADER; len <= w.buf.len; len++) {
        char *exact = malloc(len); /* so that reading past it is seen */

        memcpy(exact, w.buf.data, len);
        assert_int_equal(msg_reader_init(&r, exact, len), 0);
        push_manifest_get(&r, arena, &got);
        assert_int_equal(msg_end(&r), len == w.buf.len ? 0 : ERR_PROTOCOL);
        if (len == w.buf.len) {
            assert_int_equal(got.tag_count, 2);
            assert_string_equal(got.tags[1], "b");
            assert_int_equal(got.manifest.ref_count, 2);
            assert_true(got.manifest.refs[1].exempt);
            assert_string_equal(got.manifest.annotations[0].value, "value");
            assert_true(digest_equal(&got.manifest.subject, &p.target.digest));
        }
        free(exact);
    }
    msg_writer_free(&w);
    mem_arena_free(&arena);
}

static void test_long_messages_take_the_detour(void **state)
{
    struct msg_writer w = {0};
    struct msg_reader r;
    struct str in = {0};
    char *big = malloc(1 << 20);
    size_t len;
    int pair[2], fd;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    memset(big, 'b', 1 << 20);
    for (size_t size = 0; size <= 1 << 20; size = size ? size * 2 : 1000) {
        msg_begin(&w, MSG_REPLY, size);
        msg_put_bytes(&w, big, size);
        assert_int_equal(msg_send(pair[0], &w, -1), 0);
        assert_int_equal(msg_receive(pair[1], &in, &fd), 0);
        assert_int_equal(fd, -1);
        assert_int_equal(msg_reader_init(&r, in.data, in.len), 0);
        assert_int_equal(r.id, size);
        assert_memory_equal(msg_get_bytes(&r, 1 << 20, &len), big, size);
        assert_int_equal(len, size);
    }
    msg_begin(&w, MSG_REPLY, 1);
    assert_int_equal(msg_send(pair[0], &w, pair[0]), 0); /* a passed descriptor */
    assert_int_equal(msg_receive(pair[1], &in, &fd), 0);
    assert_true(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    close(fd);
    close(pair[0]);
    assert_int_equal(msg_receive(pair[1], &in, &fd), ERR_CLOSED);
    close(pair[1]);
    msg_writer_free(&w);
    str_free(&in);
    free(big);
}

/* A link and a server in one loop: questions are repeated to a successor. */
static struct loop *loop;
static struct serve *serve;
static int listen_fd, dir_fd, heard, answered;
static bool mute;

static int on_question(struct serve *s, struct serve_return to, struct msg_reader *m, void *ctx)
{
    struct msg_writer w = {0};

    (void)ctx;
    heard++;
    if (m->type != MSG_TAG_LIST)
        return ERR_PROTOCOL;
    if (mute) {
        loop_stop(loop);
        return 0;
    }
    serve_reply_begin(&w, to);
    msg_put_i32(&w, 12);
    serve_reply(s, to, &w, -1);
    return 0;
}

static void serve_start(void)
{
    struct serve_setup setup = {.loop = loop,
                                .listen_fd = listen_fd,
                                .role = MSG_ROLE_CATALOG,
                                .peers_max = 8,
                                .on_message = on_question};

    assert_int_equal(serve_new(&setup, &serve), 0);
}

static void on_answer(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    assert_int_equal(err, 0);
    assert_int_equal(fd, -1);
    assert_int_equal(msg_get_i32(reply), 12);
    assert_true(ask->repeated);
    if (++answered == 3)
        loop_stop(loop);
}

static void test_questions_outlive_their_role(void **state)
{
    char path[64];
    struct link_setup setup = {.role = MSG_ROLE_CATALOG, .queue_max = 10};
    struct ask asks[3] = {0};
    struct link *link;

    (void)state;
    check_directory(path);
    dir_fd = open(path, O_DIRECTORY);
    loop = loop_new();
    assert_int_equal(net_seqpacket_listen(dir_fd, role_socket(MSG_ROLE_CATALOG), &listen_fd), 0);
    setup.loop = loop;
    setup.dir_fd = dir_fd;
    mute = true;
    serve_start();
    link = link_new(&setup);
    for (int i = 0; i < 3; i++) {
        asks[i].done = on_answer;
        link_ask_begin(link, &asks[i], MSG_TAG_LIST);
        link_ask_send(link, &asks[i]);
    }
    loop_run(loop); /* until the first was heard */
    serve_free(&serve);
    mute = false;
    serve_start(); /* the listening socket is the same */
    loop_run(loop);
    assert_int_equal(answered, 3);
    assert_int_equal(link_waiting(link), 0);
    link_free(&link);
    serve_free(&serve);
    loop_free(&loop);
    close(listen_fd);
    close(dir_fd);
    check_remove(path);
}

static void on_timeout(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    (void)ask;
    (void)reply;
    assert_int_equal(err, ERR_TIMEOUT);
    assert_int_equal(fd, -1);
    loop_stop(loop);
}

static void on_closed(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    (void)ask;
    (void)reply;
    assert_int_equal(err, ERR_CLOSED);
    assert_int_equal(fd, -1);
}

/* Metrics come though the role hangs: each question's own deadline counts. */
static void test_a_short_question_does_not_wait_for_a_long_one(void **state)
{
    char path[64];
    struct link_setup setup = {.role = MSG_ROLE_CATALOG, .queue_max = 10};
    struct ask before = {.done = on_closed}, brief = {.done = on_timeout};
    struct link *link;

    (void)state;
    check_directory(path);
    dir_fd = open(path, O_DIRECTORY);
    loop = loop_new();
    assert_int_equal(net_seqpacket_listen(dir_fd, role_socket(MSG_ROLE_CATALOG), &listen_fd), 0);
    setup.loop = loop;
    setup.dir_fd = dir_fd;
    link = link_new(&setup); /* and nobody accepts */
    link_ask_begin(link, &before, MSG_TAG_LIST);
    link_ask_send(link, &before);
    link_ask_begin(link, &brief, MSG_CATALOG_STATS);
    link_ask_send(link, &brief);
    loop_run(loop);
    assert_int_equal(link_waiting(link), 1);
    link_free(&link);
    loop_free(&loop);
    close(listen_fd);
    close(dir_fd);
    check_remove(path);
}

static void on_gone(uint64_t peer, void *ctx)
{
    (void)peer;
    (void)ctx;
    loop_stop(loop);
}

/* What another role answers does not reach this one, and ends the peer. */
static void test_questions_of_other_roles_end_the_peer(void **state)
{
    char path[64];
    struct serve_setup setup = {
        .role = MSG_ROLE_CATALOG, .peers_max = 8, .on_message = on_question, .on_gone = on_gone};
    struct msg_writer w = {0};
    struct str in = {0};
    int fd, passed;

    (void)state;
    check_directory(path);
    dir_fd = open(path, O_DIRECTORY);
    loop = loop_new();
    assert_int_equal(net_seqpacket_listen(dir_fd, "x.sock", &listen_fd), 0);
    heard = 0;
    mute = true;
    setup.loop = loop;
    setup.listen_fd = listen_fd;
    assert_int_equal(serve_new(&setup, &serve), 0);
    assert_int_equal(net_seqpacket_connect(dir_fd, "x.sock", &fd), 0);
    msg_begin(&w, MSG_FETCH_STATUS, 1);
    assert_int_equal(msg_send(fd, &w, -1), 0);
    loop_run(loop); /* until it was heard, or the peer is gone */
    assert_int_equal(msg_receive(fd, &in, &passed), ERR_CLOSED);
    assert_int_equal(heard, 0);
    close(fd);
    msg_writer_free(&w);
    str_free(&in);
    serve_free(&serve);
    loop_free(&loop);
    close(listen_fd);
    close(dir_fd);
    check_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_every_cut_is_noticed),
        cmocka_unit_test(test_long_messages_take_the_detour),
        cmocka_unit_test(test_questions_outlive_their_role),
        cmocka_unit_test(test_a_short_question_does_not_wait_for_a_long_one),
        cmocka_unit_test(test_questions_of_other_roles_end_the_peer),
    };

    return cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
}
