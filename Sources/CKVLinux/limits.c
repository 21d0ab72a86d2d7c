#define _GNU_SOURCE
#include "ckv_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

// What threads that only count wait for.
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    int is_open;
};

static void *stay(void *argument) {
    struct gate *gate = argument;
    pthread_mutex_lock(&gate->lock);
    while (!gate->is_open) pthread_cond_wait(&gate->opened, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
    return NULL;
}

int ckv_threads_startable(int count, int *error) {
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    pthread_t *threads = calloc((size_t)(count > 0 ? count : 1), sizeof *threads);
    *error = threads ? 0 : ENOMEM;
    int started = 0;
    while (threads && started < count) {
        *error = pthread_create(&threads[started], NULL, stay, &gate);
        if (*error) break;
        started++;
    }
    pthread_mutex_lock(&gate.lock);
    gate.is_open = 1;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.lock);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    free(threads);
    return started;
}

int ckv_descriptors_free(int count) {
    enum { most = 64 };
    int files[most];
    int made = 0;
    if (count > most) count = most;
    // An own file, as any descriptor that there is may be closed.
    while (made < count) {
        files[made] = made == 0 ? open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : fcntl(files[0], F_DUPFD_CLOEXEC, 0);
        if (files[made] < 0) break;
        made++;
    }
    for (int i = 0; i < made; i++) close(files[i]);
    return made;
}
