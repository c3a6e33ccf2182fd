/*
 * file.h - files and directories, by descriptor.
 */
#ifndef ENTREPOT_BASE_FILE_H
#define ENTREPOT_BASE_FILE_H

#include "base/err.h"
#include "base/str.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* An O_DIRECTORY descriptor on `path`. Its last component is made when it is missing, with
 * `mode` (umask ignored) and, when uid is not -1, its owner. Nothing above is ever made: a
 * disk that is not mounted must not be replaced by a directory in its place. errno tells
 * what failed (NOT_FOUND: what is above is missing). */
must_check int file_mkdir_open(const char *path, mode_t mode, uid_t uid, gid_t gid, int *fd_r);
/* mkdir -p, for what a person names at a terminal; the umask counts. */
must_check int file_mkdirs(const char *path, mode_t mode);
/* An existing directory for readdir(3); closedir(3) is the caller's. */
must_check int file_dir_open(int dir_fd, const char *path, DIR **dir_r);
/* mkdirat that is content when it exists; mode and owner (uid -1: leave) of what it made. */
must_check int file_mkdirat(int dir_fd, const char *name, mode_t mode, uid_t uid, gid_t gid);
/* The whole file into `out` (appended); TOO_BIG past `max`. */
must_check int file_read_all(const char *path, size_t max, struct str *out);
/* pread exactly len bytes; IO when the file is shorter. */
must_check int file_pread_full(int fd, void *data, size_t len, uint64_t offset);
/* There is no such file, but a directory it can be made in. */
bool file_absent(const char *path);
must_check int file_write_full(int fd, const void *data, size_t len);
/* The kernel begins to write this range to the disk and does not wait for it; whether it
 * does is its own business. May block behind other writes. */
void file_writeback_start(int fd, uint64_t offset, uint64_t len);
/* Puts a file in place of `name` (a link is replaced, not followed) in one step:
 * whoever reads, and a crash, finds the old one or the new one whole. Durable
 * when it returns. */
must_check int file_replace_at(int dir_fd, const char *name, const void *data, size_t len,
                               mode_t mode);
/* The same by its path. uid, gid -1: ours. */
must_check int file_replace(const char *path, const void *data, size_t len, mode_t mode, uid_t uid,
                            gid_t gid);
/* Bytes free for us on the file system of dir_fd. */
must_check int file_free_bytes(int dir_fd, uint64_t *bytes_r);
/* How long a regular file is, from what the kernel has in memory: never waits for a disk.
 * NOT_FOUND; BUSY: it is not known without one (openat2(2), RESOLVE_CACHED; before Linux 5.12
 * nothing is). DAMAGED: it is no regular file. */
must_check int file_size_cached(int dir_fd, const char *path, uint64_t *size_r);
/* A sealed memfd holding `data`, offset 0. */
must_check int file_memfd_sealed(const char *name, const void *data, size_t len, int *fd_r);

/* At most 256 bytes from getrandom(2). */
void file_random(void *out, size_t bytes);
/* 2*bytes hex digits from getrandom(2) and a NUL. */
void file_random_hex(size_t bytes, char *out);

#endif
