/*
 * err.c - texts of errors. Pure; any process.
 */
#include "base/err.h"

#include <errno.h>

const char *err_text(int err)
{
    static const char *const texts[ERR_ORDINAL_COUNT] = {
#define X(name, text) text,
        ERR_TABLE(X)
#undef X
    };

    if (err == 0)
        return "success";
    if (err > 0 || err < -ERR_ORDINAL_COUNT)
        return "unknown error";
    return texts[-err - 1];
}

int err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EROFS:
        return ERR_READ_ONLY;
    case EACCES:
    case EPERM:
        return ERR_NO_ACCESS;
    case EMFILE:
    case ENFILE:
        return ERR_NO_FILES;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EBADF: /* of a directory that could not be opened: see store_open() */
        return ERR_UNAVAILABLE;
    case EEXIST:
        return ERR_EXISTS;
    default:
        return ERR_IO;
    }
}
