/* disk_fault.c: preloaded into an engine, makes one kind of call of its journal fail from the nth on.
 *
 *   HOTPATH_DISK_FAULT = call:after:errno[:file], as fdatasync:3:5 or pwrite64:40:28:spare
 *   HOTPATH_DISK_FAULT_LOG = file: a line for each call that failed
 *
 * With a file's name only calls on files whose path contains it count. Other processes see nothing of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char call[32], part[64], journal;
static int fault, calls;
static long after;

__attribute__((constructor)) static void read_plan(void) {
    const char *plan = getenv("HOTPATH_DISK_FAULT");
    char command[4096] = {0};
    FILE *file = fopen("/proc/self/cmdline", "r");
    if (!file || !plan) return;
    size_t size = fread(command, 1, sizeof command - 1, file);
    fclose(file);
    for (size_t i = 0; i < size; i++)
        if (!command[i]) command[i] = ' ';
    journal = strstr(command, "-m hotpath.journal ") != NULL;
    sscanf(plan, "%31[^:]:%ld:%d:%63s", call, &after, &fault, part);
}

static int named(int descriptor) {
    char link[64], path[4096];
    if (!part[0]) return 1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return strstr(path, part) != NULL;
}

static int fails(const char *name, int descriptor) {
    if (!journal || strcmp(name, call) || !named(descriptor)) return 0;
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) <= after) return 0;
    const char *log = getenv("HOTPATH_DISK_FAULT_LOG");
    int file = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (file >= 0) {
        dprintf(file, "%s %d\n", name, getpid());
        close(file);
    }
    return 1;
}

int fdatasync(int descriptor) {
    static int (*real)(int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    if (fails("fdatasync", descriptor)) {
        errno = fault;
        return -1;
    }
    return real(descriptor);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    if (fails("pwrite64", descriptor)) {
        errno = fault;
        return -1;
    }
    return real(descriptor, bytes, size, offset);
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t size) {
    static int (*real)(int, off64_t, off64_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "posix_fallocate64");
    return fails("posix_fallocate64", descriptor) ? fault : real(descriptor, offset, size);
}
