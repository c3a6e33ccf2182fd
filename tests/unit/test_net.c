#include "check.h"

#include "base/net.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_BYTES (60 << 10)

static char directory[64];
static int directory_fd = -1;

static int setup(void **state)
{
    (void)state;
    check_directory(directory);
    directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(directory_fd >= 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(directory_fd);
    check_remove(directory);
    return 0;
}

static int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void test_addresses(void **state)
{
    static const char *const good[] = {"1.2.3.4:80", "0.0.0.0:65535", "[::1]:1", "[::]:5000",
                                       "[2001:db8::7]:443"};
    static const char *const bad[] = {
        "",
        ":80",
        "80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:0",
        "::1:80",
        "[::1]",
        "[::1:80",
        "1.2.3.4:+80",
        "1.2.3.4:65536",
        "1.2.3.4:8 0",
        "[]:80",
        "[:80",
        "**:80",
        "localhost:80",
        "1.2.3:80",
        "01.2.3.4.5:80",
        "[1.2.3.4]:80",
        "[::1%lo]:80",
        " 1.2.3.4:80",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80"};
    struct net_addr addr;
    char text[NET_ADDR_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(net_addr_parse(good[i], &addr), 0);
        assert_string_equal(net_addr_text((struct sockaddr *)&addr.ss, addr.len, text), good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(net_addr_parse(bad[i], &addr), ERR_INVALID);
    assert_int_equal(net_addr_parse("*:5000", &addr), 0);
    assert_string_equal(net_addr_text((struct sockaddr *)&addr.ss, addr.len, text), "[::]:5000");
}

/* The longest address there is has room; a family that has no text gives "-". */
static void test_address_text(void **state)
{
    struct sockaddr_in6 longest = {.sin6_family = AF_INET6, .sin6_port = 0xffff};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    char text[NET_ADDR_TEXT_MAX];

    (void)state;
    memset(&longest.sin6_addr, 0xff, sizeof(longest.sin6_addr));
    assert_string_equal(net_addr_text((struct sockaddr *)&longest, sizeof(longest), text),
                        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    assert_string_equal(net_addr_text((struct sockaddr *)&local, sizeof(local), text), "-");
}

/* `text` with its port changed: 0 lets the kernel choose. */
static void address(const char *text, uint16_t port, struct net_addr *addr_r)
{
    assert_int_equal(net_addr_parse(text, addr_r), 0);
    if (addr_r->ss.ss_family == AF_INET)
        ((struct sockaddr_in *)&addr_r->ss)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)&addr_r->ss)->sin6_port = htons(port);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
                                         : ((struct sockaddr_in6 *)&ss)->sin6_port);
}

static bool have_ipv6(void)
{
    struct sockaddr_in6 one = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have = fd >= 0 && bind(fd, (struct sockaddr *)&one, sizeof(one)) == 0;

    if (fd >= 0)
        close(fd);
    return have;
}

/* 0 or errno */
static int connect_to(const char *text, uint16_t port)
{
    struct net_addr addr;
    int fd, result;

    address(text, port, &addr);
    fd = socket(addr.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    result = connect(fd, (struct sockaddr *)&addr.ss, addr.len) == 0 ? 0 : errno;
    close(fd);
    return result;
}

static void test_listener_is_set_up(void **state)
{
    struct net_addr addr;
    int fd = -1, accepted, on = 0;
    socklen_t len = sizeof(on);

    (void)state;
    address("127.0.0.1:1", 0, &addr);
    assert_int_equal(net_listen(&addr, 16, &fd), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(connect_to("127.0.0.1:1", port_of(fd)), 0);
    accepted = accept(fd, NULL, NULL);
    assert_true(accepted >= 0);
    assert_int_equal(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on);
    close(accepted);
    close(fd);
}

static void test_taken_address(void **state)
{
    struct net_addr addr;
    int fd = -1, second = -1;

    (void)state;
    address("127.0.0.1:1", 0, &addr);
    assert_int_equal(net_listen(&addr, 16, &fd), 0);
    address("127.0.0.1:1", port_of(fd), &addr);
    assert_int_equal(net_listen(&addr, 16, &second), ERR_EXISTS);
    assert_int_equal(second, -1);
    close(fd);
}

static void test_star_takes_both_families(void **state)
{
    struct net_addr addr;
    int fd = -1, second = -1;

    (void)state;
    address("*:1", 0, &addr);
    assert_int_equal(net_listen(&addr, 16, &fd), 0);
    assert_int_equal(connect_to("127.0.0.1:1", port_of(fd)), 0);
    if (have_ipv6())
        assert_int_equal(connect_to("[::1]:1", port_of(fd)), 0);
    address("0.0.0.0:1", port_of(fd), &addr);
    assert_int_equal(net_listen(&addr, 16, &second), ERR_EXISTS);
    close(fd);
}

/* From now on this process is on a machine without IPv6. */
static bool forget_ipv6(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

enum { FORGOTTEN = 1, STAR_LISTENS, STAR_ANSWERS, COLONS_REFUSED };

/* How far it came. */
static int without_ipv6(void)
{
    struct net_addr star, colons;
    int fd = -1, other = -1;

    address("*:1", 0, &star);
    address("[::]:1", 0, &colons);
    if (!forget_ipv6())
        return 0;
    if (net_listen(&star, 16, &fd) != 0)
        return FORGOTTEN;
    if (connect_to("127.0.0.1:1", port_of(fd)) != 0)
        return STAR_LISTENS;
    return net_listen(&colons, 16, &other) == ERR_UNSUPPORTED ? COLONS_REFUSED : STAR_ANSWERS;
}

static void test_star_without_ipv6_is_ipv4(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(without_ipv6());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 0)
        skip(); /* no seccomp here */
    assert_int_equal(WEXITSTATUS(status), COLONS_REFUSED);
}

static void test_ipv6_alone_leaves_ipv4(void **state)
{
    struct net_addr addr;
    int fd = -1, only = 0;
    socklen_t len = sizeof(only);

    (void)state;
    if (!have_ipv6())
        skip();
    address("[::]:1", 0, &addr);
    assert_int_equal(net_listen(&addr, 16, &fd), 0);
    assert_int_equal(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len), 0);
    assert_true(only);
    assert_int_equal(connect_to("[::1]:1", port_of(fd)), 0);
    assert_int_equal(connect_to("127.0.0.1:1", port_of(fd)), ECONNREFUSED);
    close(fd);
}

static int first_free_port(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    int port = 0;

    if (!f || fscanf(f, "%d", &port) != 1)
        port = 0;
    if (f)
        fclose(f);
    return port;
}

static void test_low_port_is_denied(void **state)
{
    struct net_addr addr;
    int status, fd;
    pid_t pid;

    (void)state;
    if (first_free_port() <= 1)
        skip(); /* here anybody may */
    address("127.0.0.1:1", 1, &addr);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit((geteuid() != 0 || setuid(65534) == 0) && net_listen(&addr, 1, &fd) == ERR_DENIED
                  ? 0
                  : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* A listener, a client and what the listener accepted. */
static void connected(int *listener_r, int *client_r, int *server_r)
{
    assert_int_equal(net_seqpacket_listen(directory_fd, "role.sock", listener_r), 0);
    assert_int_equal(net_seqpacket_connect(directory_fd, "role.sock", client_r), 0);
    *server_r = accept4(*listener_r, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(*server_r >= 0);
}

static void close_three(int a, int b, int c)
{
    close(a);
    close(b);
    close(c);
}

/* The path of the directory is longer than a sockaddr_un takes. */
static void test_long_directory(void **state)
{
    char name[201];
    int listener = -1, client = -1, inner;
    struct stat st;

    (void)state;
    memset(name, 'd', 200);
    name[200] = 0;
    assert_int_equal(mkdirat(directory_fd, name, 0700), 0);
    inner = openat(directory_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(inner >= 0);
    assert_int_equal(net_seqpacket_listen(inner, "role.sock", &listener), 0);
    assert_int_equal(fstatat(inner, "role.sock", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(net_seqpacket_connect(inner, "role.sock", &client), 0);
    assert_true(fcntl(client, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(net_seqpacket_listen(inner, name, &listener), ERR_TOO_BIG);
    close_three(listener, client, inner);
}

static void test_connect_failures(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int listener = -1, client = -1, full, waiting[8], count = 0, err = 0;

    (void)state;
    assert_int_equal(net_seqpacket_connect(directory_fd, "none", &client), ERR_NOT_FOUND);
    assert_int_equal(net_seqpacket_listen(directory_fd, "left", &listener), 0);
    close(listener); /* the file stays */
    assert_int_equal(net_seqpacket_connect(directory_fd, "left", &client), ERR_CLOSED);
    assert_int_equal(net_seqpacket_listen(directory_fd, "left", &listener), 0); /* taken over */
    assert_int_equal(net_seqpacket_connect(directory_fd, "left", &client), 0);
    close(client);
    close(listener);
    full = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof(un.sun_path), "%s/full", directory);
    assert_int_equal(bind(full, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(full, 1), 0);
    while (count < 8 && (err = net_seqpacket_connect(directory_fd, "full", &waiting[count])) == 0)
        count++;
    assert_int_equal(err, ERR_BUSY);
    while (count > 0)
        close(waiting[--count]);
    close(full);
}

static void test_messages_keep_their_bounds(void **state)
{
    int listener = -1, client = -1, server = -1, fd = 7;
    char data[100];
    size_t len = 9;

    (void)state;
    connected(&listener, &client, &server);
    assert_int_equal(net_receive(server, data, sizeof(data), &len, &fd), ERR_BUSY);
    assert_int_equal(len, 0);
    assert_int_equal(fd, -1);
    assert_int_equal(net_send(client, "one", 3, -1), 0);
    assert_int_equal(net_send(client, "three", 5, -1), 0);
    assert_int_equal(net_receive(server, data, sizeof(data), &len, &fd), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(data, "one", 3);
    assert_int_equal(net_receive(server, data, 5, &len, &fd), 0);
    assert_int_equal(len, 5);
    assert_memory_equal(data, "three", 5);
    assert_int_equal(fd, -1);
    close(client);
    assert_int_equal(net_receive(server, data, sizeof(data), &len, &fd), ERR_CLOSED);
    assert_int_equal(net_send(server, "x", 1, -1), ERR_CLOSED);
    close(server);
    close(listener);
}

/* Both ways: what accept() returns has not the buffers of the listener. */
static void test_largest_messages_fit(void **state)
{
    static char sent[MESSAGE_BYTES], got[MESSAGE_BYTES];
    int listener = -1, client = -1, server = -1, fd;
    size_t len;

    (void)state;
    connected(&listener, &client, &server);
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (char)(i * 31);
    for (int way = 0; way < 2; way++) {
        assert_int_equal(net_send(way ? server : client, sent, sizeof(sent), -1), 0);
        assert_int_equal(net_receive(way ? client : server, got, sizeof(got), &len, &fd), 0);
        assert_int_equal(len, sizeof(sent));
        assert_memory_equal(got, sent, sizeof(sent));
        memset(got, 0, sizeof(got));
    }
    close_three(listener, client, server);
}

static void test_full_buffer_is_busy(void **state)
{
    static char data[MESSAGE_BYTES], got[MESSAGE_BYTES];
    int listener = -1, client = -1, server = -1, fd, err = 0, sent = 0;
    size_t len;

    (void)state;
    connected(&listener, &client, &server);
    while (sent < 10000 && (err = net_send(client, data, sizeof(data), -1)) == 0)
        sent++;
    assert_int_equal(err, ERR_BUSY);
    for (int i = 0; i < sent; i++)
        assert_int_equal(net_receive(server, got, sizeof(got), &len, &fd), 0);
    assert_int_equal(net_receive(server, got, sizeof(got), &len, &fd), ERR_BUSY);
    assert_int_equal(net_send(client, data, sizeof(data), -1), 0); /* room again */
    close_three(listener, client, server);
}

static void test_descriptor_passes(void **state)
{
    int listener = -1, client = -1, server = -1, fd = -1, ends[2];
    char data[8];
    size_t len;

    (void)state;
    connected(&listener, &client, &server);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(net_send(client, "fd", 2, ends[1]), 0);
    assert_int_equal(net_receive(server, data, sizeof(data), &len, &fd), 0);
    assert_int_equal(len, 2);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fd, "y", 1), 1);
    assert_int_equal(read(ends[0], data, sizeof(data)), 1);
    close(fd);
    close(ends[0]);
    close(ends[1]);
    close_three(listener, client, server);
}

/* `count` copies of descriptor 0 beside `len` bytes, past net_send(). */
static void send_raw(int fd, size_t len, size_t count)
{
    static char data[100];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = data, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};

    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(count * sizeof(int)); /* all zero: descriptor 0 */
    assert_int_equal(sendmsg(fd, &message, 0), (ssize_t)len);
}

/* Whatever a hostile peer sends along, no descriptor stays open unnoticed. */
static void test_no_descriptor_leaks(void **state)
{
    int listener = -1, client = -1, server = -1, fd = -1, before, err;
    char data[100];
    size_t len;

    (void)state;
    connected(&listener, &client, &server);
    before = open_descriptors();
    send_raw(client, 50, 1); /* bytes cut */
    assert_int_equal(net_receive(server, data, 10, &len, &fd), ERR_PROTOCOL);
    assert_int_equal(fd, -1);
    assert_int_equal(open_descriptors(), before);
    for (size_t count = 2; count <= 8; count++) {
        send_raw(client, 50, count);
        err = net_receive(server, data, sizeof(data), &len, &fd);
        if (err != 0) {
            assert_int_equal(err, ERR_PROTOCOL);
            assert_int_equal(fd, -1);
        } else {
            assert_true(fd >= 0);
            close(fd);
        }
        assert_int_equal(open_descriptors(), before);
    }
    close_three(listener, client, server);
}

#define in_directory(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_address_text),
        cmocka_unit_test(test_listener_is_set_up),
        cmocka_unit_test(test_taken_address),
        cmocka_unit_test(test_star_takes_both_families),
        cmocka_unit_test(test_star_without_ipv6_is_ipv4),
        cmocka_unit_test(test_ipv6_alone_leaves_ipv4),
        cmocka_unit_test(test_low_port_is_denied),
        in_directory(test_long_directory),
        in_directory(test_connect_failures),
        in_directory(test_messages_keep_their_bounds),
        in_directory(test_largest_messages_fit),
        in_directory(test_full_buffer_is_busy),
        in_directory(test_descriptor_passes),
        in_directory(test_no_descriptor_leaks),
    };

    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
