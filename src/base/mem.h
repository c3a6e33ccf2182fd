/*
 * mem.h - memory: allocation that cannot fail, and arenas.
 *
 * Every size a peer can influence is bounded before it comes here; running out
 * of memory therefore means the machine is out, and the process ends (the
 * master starts it again).
 */
#ifndef ENTREPOT_BASE_MEM_H
#define ENTREPOT_BASE_MEM_H

#include <stddef.h>

/* Zeroed memory, owned by the caller, released with free(). Never NULL. */
void *mem_alloc(size_t size);
void *mem_alloc_array(size_t count, size_t size);
/* Grows or shrinks what mem_alloc_array gave, or NULL; what is new is not zeroed. */
void *mem_resize_array(void *array, size_t count, size_t size);
/* realloc() that cannot fail; new bytes are not zeroed. */
void *mem_grow(void *old, size_t size);
/* A list that holds `count` elements of `size` bytes, with room for one more. Its memory
 * doubles: call it before each element that is added. */
void *mem_room(void *list, size_t count, size_t size);
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t len);

/* An arena: many small objects with one end. Not thread-safe. */
struct mem_arena;

struct mem_arena *mem_arena_new(void);
/* Frees all that was taken from it and nulls the pointer; accepts NULL inside. */
void mem_arena_free(struct mem_arena **arena);
/* Gives everything back but keeps one block for reuse. */
void mem_arena_reset(struct mem_arena *arena);
/* Zeroed, aligned for any type, lives until reset or free. Never NULL. */
void *mem_arena_alloc(struct mem_arena *arena, size_t size);
char *mem_arena_strdup(struct mem_arena *arena, const char *text);
char *mem_arena_strndup(struct mem_arena *arena, const char *text, size_t len);
__attribute__((format(printf, 2, 3))) char *mem_arena_printf(struct mem_arena *arena,
                                                             const char *format, ...);
/* Bytes handed out since new or reset, for limits. */
size_t mem_arena_used(const struct mem_arena *arena);

#endif
