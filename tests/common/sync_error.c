/* Loaded into a program before libc: makes syncing to the disk fail while there is a file FAULT_TRIGGER
   and the path of what is synced ends with the first line in it. A number in a second line lets only that one
   of those syncs fail, counted from 1 in this process. Each fault is noted in FAULT_TRIGGER.hits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_to_fail(int fd) {
    static int count;
    char suffix[256], link[64], path[4096], hits[4200];
    const char *trigger = getenv("FAULT_TRIGGER");
    int file = trigger ? open(trigger, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    ssize_t suffix_length = read(file, suffix, sizeof suffix - 1);
    close(file);
    if (suffix_length < 0)
        return 0;
    suffix[suffix_length] = 0;
    const char *number = strchr(suffix, '\n');
    if (number)
        suffix_length = number - suffix;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    if (length < suffix_length || memcmp(path + length - suffix_length, suffix, suffix_length) != 0)
        return 0;
    if (number && __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) != atoi(number))
        return 0;
    snprintf(hits, sizeof hits, "%s.hits", trigger);
    file = open(hits, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0) {
        dprintf(file, "%.*s\n", (int)length, path);
        close(file);
    }
    return 1;
}

static int run(const char *name, int fd) {
    if (is_to_fail(fd)) {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return run("fsync", fd); }
int fdatasync(int fd) { return run("fdatasync", fd); }
