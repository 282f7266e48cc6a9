// A disk that fails on purpose: preloaded (LD_PRELOAD) before libc, it counts the calls that change
// files below one folder, and makes the nth of them fail or die, or a signal arrive with it.
//
//   faults_arm(root, kind, nth)   from now on; kind: see below, nth counts from 1, 0 counts only
//   faults_count()                calls seen since, by forked children too
//   faults_signalled()            seconds (CLOCK_MONOTONIC) at which the signal was sent, 0 before
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum Kind {
  kFull = 1,
  kKill = 2,
  kTorn = 3,
  kBroken = 4,
  kReadOnly = 5,
  kDenied = 6,
  kInterrupt = 7,
  kTerminate = 8
};

struct Shared {
  long seen;
  double signalled;
};

static char root[PATH_MAX];
static int kind = 0;
static long nth = 0;
static struct Shared* shared;  // with forked children

__attribute__((constructor)) static void share(void) {
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) abort();
}

void faults_arm(const char* folder, int what, long when) {
  snprintf(root, sizeof root, "%s", folder);
  *shared = (struct Shared){0, 0.0};
  nth = when;
  kind = what;
}

long faults_count(void) { return __atomic_load_n(&shared->seen, __ATOMIC_SEQ_CST); }

double faults_signalled(void) { return shared->signalled; }

static void send(int signal) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  shared->signalled = now.tv_sec + 1e-9 * now.tv_nsec;
  kill(getpid(), signal);
}

static int below(const char* path) {
  size_t length = strlen(root);
  return length > 0 && strncmp(path, root, length) == 0;
}

// What becomes of a call on a path: 0 it goes on, else an errno. A full disk and a folder that
// became read-only or forbidden stay so; an error of the device (EIO) and a signal come once.
static int fate(const char* path, int writes, int* torn) {
  if (kind == 0 || !below(path)) return 0;
  long now = __atomic_add_fetch(&shared->seen, 1, __ATOMIC_SEQ_CST);
  if (nth == 0 || now < nth) return 0;
  switch (kind) {
    case kFull:
      return writes ? ENOSPC : 0;
    case kReadOnly:
      return writes ? 0 : EROFS;
    case kDenied:
      return writes ? 0 : EACCES;
    case kInterrupt:
    case kTerminate:
      if (now == nth) send(kind == kInterrupt ? SIGINT : SIGTERM);
      return 0;
    case kBroken:
      return now == nth ? EIO : 0;
    case kTorn:
      if (writes && torn != NULL) {
        *torn = 1;
        return 0;
      }
      break;
    default:
      break;
  }
  kill(getpid(), SIGKILL);
  return 0;
}

static int fate_of(int handle, int* torn) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return fate(path, 1, torn);
}

#define REAL(type, name, ...)              \
  static type (*real)(__VA_ARGS__) = NULL; \
  if (real == NULL) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int handle, const void* data, size_t size) {
  REAL(ssize_t, "write", int, const void*, size_t);
  if (kind != 0) {
    int torn = 0, error = fate_of(handle, &torn);
    if (error != 0) return errno = error, -1;
    if (torn) {
      real(handle, data, size / 2);
      kill(getpid(), SIGKILL);
    }
  }
  return real(handle, data, size);
}

ssize_t pwrite64(int handle, const void* data, size_t size, off64_t at) {
  REAL(ssize_t, "pwrite64", int, const void*, size_t, off64_t);
  int error = kind != 0 ? fate_of(handle, NULL) : 0;
  return error != 0 ? (errno = error, -1) : real(handle, data, size, at);
}

ssize_t writev(int handle, const struct iovec* parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec*, int);
  int error = kind != 0 ? fate_of(handle, NULL) : 0;
  return error != 0 ? (errno = error, -1) : real(handle, parts, count);
}

int fsync(int handle) {
  REAL(int, "fsync", int);
  int error = kind != 0 ? fate_of(handle, NULL) : 0;
  return error != 0 ? (errno = error, -1) : real(handle);
}

int rename(const char* from, const char* to) {
  REAL(int, "rename", const char*, const char*);
  int error = fate(to, 0, NULL);
  return error != 0 ? (errno = error, -1) : real(from, to);
}

int link(const char* from, const char* to) {
  REAL(int, "link", const char*, const char*);
  int error = fate(to, 0, NULL);
  return error != 0 ? (errno = error, -1) : real(from, to);
}

int unlink(const char* path) {
  REAL(int, "unlink", const char*);
  int error = fate(path, 0, NULL);
  return error != 0 ? (errno = error, -1) : real(path);
}

int mkdir(const char* path, mode_t mode) {
  REAL(int, "mkdir", const char*, mode_t);
  int error = fate(path, 0, NULL);
  return error != 0 ? (errno = error, -1) : real(path, mode);
}

static int opened(const char* name, const char* path, int flags, mode_t mode) {
  REAL(int, name, const char*, int, ...);
  int error = (flags & (O_CREAT | O_WRONLY | O_RDWR)) != 0 ? fate(path, 0, NULL) : 0;
  return error != 0 ? (errno = error, -1) : real(path, flags, mode);
}

static mode_t mode_of(int flags, va_list rest) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_of(flags, rest);
  va_end(rest);
  return opened("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_of(flags, rest);
  va_end(rest);
  return opened("open64", path, flags, mode);
}
