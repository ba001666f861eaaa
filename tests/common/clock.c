/* Loaded into the daemon before libc: each clock is ahead by as many seconds as its file says, WALL_AHEAD that of the
 * wall clock, MONOTONIC_AHEAD that of the monotonic one. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *file_of(clockid_t clock) {
    switch (clock) {
    case CLOCK_REALTIME:
        return getenv("WALL_AHEAD");
    case CLOCK_MONOTONIC:
        return getenv("MONOTONIC_AHEAD");
    default:
        return NULL;
    }
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *path = result == 0 ? file_of(clock) : NULL;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        char text[32];
        ssize_t length = read(file, text, sizeof text - 1);
        close(file);
        if (length > 0) {
            text[length] = 0;
            time->tv_sec += atoll(text);
        }
    }
    return result;
}
