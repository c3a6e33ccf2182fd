/*
 * pool.c - a few threads for what blocks.
 *
 * Workers, catalog, AUTH, fetcher. The queue and the list of finished jobs are guarded by one
 * mutex; an eventfd wakes the loop. A thread touches nothing but the job it runs. A crash ends jobs
 * in the middle: what each leaves is told where it is written.
 */
#include "base/pool.h"

#include "base/container.h"
#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job_list {
    struct pool_job *first, **end;
};

struct pool {
    struct loop *loop;
    struct loop_fd wake;
    pthread_mutex_t lock;
    pthread_cond_t work, landed;
    struct job_list todo, slow, finished; /* under the lock */
    size_t slow_running;                  /* under the lock */
    bool stop;                            /* under the lock */
    pthread_t *threads;
    size_t thread_count, size; /* size: what was asked for */
    size_t pending;            /* the loop's */
    bool collecting;           /* the loop's */
};

static void list_init(struct job_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_append(struct job_list *list, struct pool_job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

static struct pool_job *list_take(struct job_list *list)
{
    struct pool_job *job = list->first;

    if (job) {
        list->first = job->next;
        if (!list->first)
            list->end = &list->first;
    }
    return job;
}

/* What a thread is to do next: short jobs first, slow ones only while another
 * thread is free of them. */
static struct pool_job *pool_next(struct pool *pool)
{
    struct pool_job *job = list_take(&pool->todo);

    if (!job && (pool->slow_running == 0 || pool->slow_running + 1 < pool->size)) {
        job = list_take(&pool->slow);
        if (job)
            pool->slow_running++;
    }
    return job;
}

static void *pool_thread(void *arg)
{
    struct pool *pool = arg;
    const uint64_t one = 1;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct pool_job *job = pool_next(pool);

        if (!job) {
            if (pool->stop)
                break;
            pthread_cond_wait(&pool->work, &pool->lock);
            continue;
        }
        pthread_mutex_unlock(&pool->lock);
        job->work(job);
        pthread_mutex_lock(&pool->lock);
        if (job->slow)
            pool->slow_running--; /* this thread itself takes the next one */
        list_append(&pool->finished, job);
        pthread_cond_signal(&pool->landed); /* only pool_free() ever waits */
        MUST(write(pool->wake.fd, &one, sizeof(one)) == sizeof(one));
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void pool_collect(struct pool *pool)
{
    struct pool_job *job, *next;

    pthread_mutex_lock(&pool->lock);
    job = pool->finished.first;
    list_init(&pool->finished);
    pthread_mutex_unlock(&pool->lock);
    pool->collecting = true;
    for (; job; job = next) {
        next = job->next; /* `done` may free or submit the job */
        pool->pending--;
        job->done(job);
    }
    pool->collecting = false;
}

static void pool_ready(struct loop_fd *watch, uint32_t events)
{
    struct pool *pool = CONTAINER_OF(watch, struct pool, wake);
    uint64_t count;

    (void)events;
    if (read(watch->fd, &count, sizeof(count)) == sizeof(count))
        pool_collect(pool);
}

static void pool_join(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pool->thread_count = 0;
}

static void pool_release(struct pool *pool)
{
    loop_fd_remove(pool->loop, &pool->wake);
    close(pool->wake.fd);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->landed);
    free(pool->threads);
    loop_free_later(pool->loop, pool);
}

int pool_new(struct loop *loop, size_t threads, struct pool **pool_r)
{
    struct pool *pool = mem_alloc(sizeof(*pool));
    sigset_t all, old;
    int err = 0;

    pool->loop = loop;
    list_init(&pool->todo);
    list_init(&pool->slow);
    list_init(&pool->finished);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->landed, NULL);
    pool->size = threads;
    pool->threads = mem_alloc_array(threads, sizeof(*pool->threads));
    pool->wake.ready = pool_ready;
    pool->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->wake.fd < 0)
        err = err_from_errno(errno);
    else
        err = loop_fd_add(loop, &pool->wake, EPOLLIN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (err == 0 && pool->thread_count < threads) {
        if (pthread_create(&pool->threads[pool->thread_count], NULL, pool_thread, pool) != 0)
            err = ERR_UNAVAILABLE;
        else
            pool->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err != 0) {
        pool_join(pool);
        pool_release(pool);
        return err;
    }
    *pool_r = pool;
    return 0;
}

void pool_free(struct pool **pool_p)
{
    struct pool *pool = *pool_p;

    if (!pool)
        return;
    MUST(!pool->collecting);    /* not from within a `done` */
    while (pool->pending > 0) { /* also what a `done` submits now */
        pthread_mutex_lock(&pool->lock);
        while (!pool->finished.first)
            pthread_cond_wait(&pool->landed, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
        pool_collect(pool);
    }
    pool_join(pool);
    *pool_p = NULL;
    pool_release(pool);
}

static void submit(struct pool *pool, struct job_list *list, struct pool_job *job)
{
    pool->pending++;
    pthread_mutex_lock(&pool->lock);
    list_append(list, job);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
    job->slow = false;
    submit(pool, &pool->todo, job);
}

void pool_submit_slow(struct pool *pool, struct pool_job *job)
{
    job->slow = true;
    submit(pool, &pool->slow, job);
}

size_t pool_pending(const struct pool *pool)
{
    return pool->pending;
}
