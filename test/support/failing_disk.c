// Copyright 2026 The teleop_webrtc_bridge contributors
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

// Simulates a failing disk: preloaded into a program, for the files below FAILING_DISK_FOLDER.
// The file FAILING_DISK_CONTROL selects the fault while the program runs: "write MS" and "sync MS"
// delay each call, "errno NUMBER" makes it fail. Empty: nothing fails.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_below(const char * path)
{
  const char * folder = getenv("FAILING_DISK_FOLDER");
  return folder != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_concerned(int fd)
{
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) {
    return 0;
  }
  path[length] = '\0';
  return is_below(path);
}

// Return the error number from the control file, or 0; sleep if it requests a delay.
static int failure(const char * call)
{
  static int (* real_open)(const char *, int, ...);
  if (real_open == NULL) {
    real_open = dlsym(RTLD_NEXT, "open");
  }
  char text[64] = "", kind[16] = "";
  int number = 0;
  const char * control = getenv("FAILING_DISK_CONTROL");
  int fd = control == NULL ? -1 : real_open(control, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return 0;
  }
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0 || sscanf(text, "%15s %d", kind, &number) != 2) {
    return 0;
  }
  if (strcmp(kind, "errno") == 0) {
    return number;
  }
  if (strcmp(kind, call) == 0) {
    usleep(1000u * (unsigned) number);
  }
  return 0;
}

#define FAILING(type, name, call, parameters, arguments) \
  type name parameters \
  { \
    static type (* real) parameters; \
    if (real == NULL) { \
      real = dlsym(RTLD_NEXT, #name); \
    } \
    int error = is_concerned(fd) ? failure(call) : 0; \
    if (error != 0) { \
      errno = error; \
      return -1; \
    } \
    return real arguments; \
  }

FAILING(ssize_t, write, "write", (int fd, const void * data, size_t size), (fd, data, size))
FAILING(
  ssize_t, pwrite, "write", (int fd, const void * data, size_t size, off_t at),
  (fd, data, size, at))
FAILING(
  ssize_t, pwrite64, "write", (int fd, const void * data, size_t size, off64_t at),
  (fd, data, size, at))
FAILING(int, ftruncate, "write", (int fd, off_t size), (fd, size))
FAILING(int, ftruncate64, "write", (int fd, off64_t size), (fd, size))
FAILING(int, fsync, "sync", (int fd), (fd))
FAILING(int, fdatasync, "sync", (int fd), (fd))
