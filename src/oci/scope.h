/*
 * scope.h - a scope as clients ask for it: TYPE[(CLASS)]:NAME:ACTION,...
 * (distribution's token scope documentation; doc/protocol.md, "Tokens").
 */
#ifndef ENTREPOT_OCI_SCOPE_H
#define ENTREPOT_OCI_SCOPE_H

#include "base/err.h"
#include "oci/rights.h"

#include <stdbool.h>
#include <stddef.h>

#define SCOPE_NAME_MAX 512

struct scope {
    bool registry; /* type `registry`; else `repository` */
    char name[SCOPE_NAME_MAX + 1];
    unsigned actions; /* a set of rights; `*` is all; words we do not know are left out */
};

/* UNSUPPORTED for another type, which grants nothing; INVALID for what is no scope. */
must_check int scope_parse(const char *text, size_t len, struct scope *scope_r);

#endif
