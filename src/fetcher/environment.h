/*
 * environment.h - what the fetcher's libraries may read from the environment.
 */
#ifndef ENTREPOT_FETCHER_ENVIRONMENT_H
#define ENTREPOT_FETCHER_ENVIRONMENT_H

/* Drops all variables but a few harmless ones. Before any thread and any library begins. */
void environment_drop(void);

#endif
