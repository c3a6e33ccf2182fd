/*
 * mem.c - allocation that cannot fail, and arenas.
 *
 * Any process, one thread an arena. An arena is a list of blocks; objects are
 * cut off the newest. Large objects get a block of their own behind it, so that
 * the newest keeps its room. A crash leaves nothing.
 */
#include "base/mem.h"

#include "base/must.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 4096
#define LARGE_BYTES 1024
#define ALIGN       16

struct block {
    struct block *next;
    size_t size, used;
    _Alignas(ALIGN) char data[];
};

struct mem_arena {
    struct block *blocks; /* newest small-object block first */
    size_t used;
};

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    MUST(p);
    return p;
}

void *mem_resize_array(void *array, size_t count, size_t size)
{
    void *p;

    MUST(size > 0 && count <= SIZE_MAX / size);
    p = realloc(array, count * size);
    MUST(p);
    return p;
}

void *mem_alloc_array(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);

    MUST(p);
    return p;
}

void *mem_grow(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);

    MUST(p);
    return p;
}

void *mem_room(void *list, size_t count, size_t size)
{
    bool full = (count & (count - 1)) == 0; /* 0, 1, 2, 4, 8, ... */

    return full ? mem_grow(list, 2 * (count + 1) * size) : list;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);

    memcpy(copy, text, len);
    return copy;
}

struct mem_arena *mem_arena_new(void)
{
    return mem_alloc(sizeof(struct mem_arena));
}

void mem_arena_free(struct mem_arena **arena_p)
{
    struct mem_arena *arena = *arena_p;

    if (!arena)
        return;
    *arena_p = NULL;
    for (struct block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

void mem_arena_reset(struct mem_arena *arena)
{
    struct block *kept = NULL;

    for (struct block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        if (!kept && b->size == BLOCK_BYTES)
            kept = b;
        else
            free(b);
    }
    if (kept) {
        kept->next = NULL;
        kept->used = 0;
    }
    arena->blocks = kept;
    arena->used = 0;
}

static struct block *block_new(size_t size)
{
    struct block *b = malloc(sizeof(*b) + size);

    MUST(b);
    b->next = NULL;
    b->size = size;
    b->used = 0;
    return b;
}

static struct block *arena_block(struct mem_arena *arena, size_t size)
{
    struct block *b = arena->blocks;

    if (b && b->size - b->used >= size)
        return b;
    if (size <= LARGE_BYTES || !b) {
        b = block_new(size > BLOCK_BYTES ? size : BLOCK_BYTES);
        b->next = arena->blocks;
        arena->blocks = b;
        return b;
    }
    b = block_new(size);
    b->next = arena->blocks->next;
    arena->blocks->next = b;
    return b;
}

void *mem_arena_alloc(struct mem_arena *arena, size_t size)
{
    size_t rounded = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct block *b;
    char *p;

    MUST(rounded >= size);
    b = arena_block(arena, rounded);
    p = b->data + b->used;
    b->used += rounded;
    arena->used += rounded;
    memset(p, 0, rounded);
    return p;
}

char *mem_arena_strdup(struct mem_arena *arena, const char *text)
{
    return mem_arena_strndup(arena, text, strlen(text));
}

char *mem_arena_strndup(struct mem_arena *arena, const char *text, size_t len)
{
    char *copy = mem_arena_alloc(arena, len + 1);

    memcpy(copy, text, len);
    return copy;
}

char *mem_arena_printf(struct mem_arena *arena, const char *format, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    MUST(len >= 0);
    text = mem_arena_alloc(arena, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

size_t mem_arena_used(const struct mem_arena *arena)
{
    return arena->used;
}
