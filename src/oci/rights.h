/*
 * rights.h - what somebody may do with an image, and the words for it, as scopes of tokens and the
 * configuration have them.
 */
#ifndef ENTREPOT_OCI_RIGHTS_H
#define ENTREPOT_OCI_RIGHTS_H

#include <stddef.h>

/* A set of them is their sum. */
enum right {
    RIGHT_PULL = 1,
    RIGHT_PUSH = 2,
    RIGHT_DELETE = 4,
    RIGHT_ALL = RIGHT_PULL | RIGHT_PUSH | RIGHT_DELETE
};

#define RIGHTS_COUNT    3
#define RIGHTS_TEXT_MAX 20 /* "pull,push,delete" with its end */

/* The word for right number `nth`, from 0: "pull", "push", "delete". */
const char *right_word(unsigned nth);
/* 0: there is no such right. */
unsigned right_by_word(const char *text, size_t len);
/* "pull,delete"; "" for none. Returns out. */
char *rights_text(unsigned rights, char out[RIGHTS_TEXT_MAX]);

#endif
