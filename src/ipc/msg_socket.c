/*
 * msg_socket.c - messages over SEQPACKET sockets. Any process.
 *
 * What does not fit a datagram goes into a sealed memfd; the datagram is then
 * one header with the detour mark and nothing else. The receiver believes
 * neither size nor seals: it copies what is there, bounded, and parses the copy. A crash leaves a
 * memfd that is gone with its last descriptor.
 */
#include "base/file.h"
#include "base/net.h"
#include "ipc/msg.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the place of `flags` on the socket only; never seen by msg_reader_init. */
#define FLAG_DETOUR 1

int msg_send(int fd, const struct msg_writer *w, int pass_fd)
{
    uint16_t head[MSG_HEADER / sizeof(uint16_t)];
    int memfd = -1, err;

    if (w->buf.len <= MSG_INLINE_MAX)
        return net_send(fd, w->buf.data, w->buf.len, pass_fd);
    if (pass_fd >= 0 || w->buf.len > MSG_MAX)
        return ERR_TOO_BIG;
    err = file_memfd_sealed("entrepot-message", w->buf.data, w->buf.len, &memfd);
    if (err != 0)
        return err;
    memcpy(head, w->buf.data, sizeof(head));
    head[1] = FLAG_DETOUR;
    err = net_send(fd, head, sizeof(head), memfd);
    close(memfd);
    return err;
}

static int read_detour(int memfd, struct str *buf)
{
    struct stat st;
    char piece[16384];
    int err = 0;

    if (fstat(memfd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < MSG_HEADER ||
        st.st_size > MSG_MAX)
        return ERR_PROTOCOL;
    str_reset(buf);
    while (err == 0 && buf->len < (size_t)st.st_size) {
        size_t left = (size_t)st.st_size - buf->len;
        size_t len = left < sizeof(piece) ? left : sizeof(piece);

        err = file_pread_full(memfd, piece, len, buf->len);
        if (err == 0)
            str_append(buf, piece, len);
    }
    return err == 0 ? 0 : ERR_PROTOCOL;
}

int msg_receive(int fd, struct str *buf, int *fd_r)
{
    char piece[MSG_INLINE_MAX];
    uint16_t head[2];
    size_t len;
    int err;

    str_reset(buf);
    err = net_receive(fd, piece, sizeof(piece), &len, fd_r);
    if (err != 0)
        return err;
    str_append(buf, piece, len);
    if (len != MSG_HEADER || *fd_r < 0)
        return 0;
    memcpy(head, piece, sizeof(head));
    if (head[1] != FLAG_DETOUR)
        return 0;
    err = read_detour(*fd_r, buf);
    close(*fd_r);
    *fd_r = -1;
    return err;
}
