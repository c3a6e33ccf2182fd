/*
 * glob.h - patterns over image names, as configurations write them.
 */
#ifndef ENTREPOT_OCI_GLOB_H
#define ENTREPOT_OCI_GLOB_H

#include <stdbool.h>

/* `*` stands for any run of characters within a component, `**` for any run at all;
 * everything else for itself. "team/" followed by `**` does not match "team". */
bool glob_matches(const char *pattern, const char *name);

#endif
