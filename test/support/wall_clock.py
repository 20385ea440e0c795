"""
Wall clock that can be stepped, for the processes of one host.

Tests must not set the clock of a shared machine, and libfaketime breaks Python's ``time.sleep``.
Therefore a small library, compiled on demand, adds an offset to CLOCK_REALTIME.
"""

# Copyright 2026 The teleop_webrtc_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from pathlib import Path
import shutil
import struct
import subprocess
from typing import Final

__all__ = ['environment', 'step', 'why_not']

_OFFSET: Final = struct.Struct('q')
_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

#define SECOND 1000000000LL

static const volatile long long *offset_ns(void) {
    static const volatile long long none = 0;
    static const volatile long long *found = NULL;
    if (!found) {
        const char *path = getenv("TELEOP_WALL_CLOCK");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *memory = file < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
        found = memory == MAP_FAILED ? &none : memory;
    }
    return found;
}

static struct timespec moved(struct timespec time, int sign) {
    long long ns = time.tv_sec * SECOND + time.tv_nsec + sign * *offset_ns();
    return (struct timespec){ns / SECOND, ns % SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, time);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        *time = moved(*time, 1);
    return status;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

/* The kernel waits by the real clock; bit 1 marks glibc's conditions on the monotonic clock. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    struct timespec there = condition->__data.__wrefs & 2 ? *until : moved(*until, -1);
    return real(condition, mutex, &there);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex,
                            const struct timespec *restrict until) {
    static int (*real)(pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    struct timespec there = moved(*until, -1);
    return real(mutex, &there);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    static int (*real)(sem_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
    struct timespec there = moved(*until, -1);
    return real(semaphore, &there);
}
"""


def why_not() -> str:
    """Return what is missing for a clock that can be stepped; empty: nothing."""
    return '' if shutil.which('gcc') else 'a wall clock that can be stepped needs gcc'


def environment(folder: Path) -> dict[str, str]:
    """
    Return the environment that gives a process its own clock.

    :param folder: Folder for the library and the offset.
    """
    library, source, offset = (folder / f'wall_clock{end}' for end in ('.so', '.c', ''))
    source.write_text(_SOURCE, encoding='utf-8')
    options = ['-O1', '-shared', '-fPIC', '-o', str(library), str(source), '-ldl']
    subprocess.run(['gcc', *options], check=True)
    step(folder, 0.0)
    return {'LD_PRELOAD': str(library), 'TELEOP_WALL_CLOCK': str(offset)}


def step(folder: Path, offset_s: float) -> None:
    """Set the clock's offset from this machine's clock, in seconds."""
    data = _OFFSET.pack(round(offset_s * 1e9))
    path = folder / 'wall_clock'
    # Written in place because the processes have mapped this file.
    with path.open('r+b' if path.exists() else 'wb') as file:
        file.write(data)
