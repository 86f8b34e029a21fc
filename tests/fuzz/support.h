/* Files for fuzz targets: the loaders read paths, so an input lies in a directory of this process's own, in memory where the
 * system has /dev/shm. */
#ifndef MB_TESTS_FUZZ_SUPPORT_H
#define MB_TESTS_FUZZ_SUPPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CHECK(condition) ((condition) ? (void)0 : abort())

/* What libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* DIRECTORY/name, or the directory itself for ""; valid until the next five calls. */
const char *fuzz_path(const char *name);
/* Writes the file and returns its path, as fuzz_path does. */
const char *fuzz_write(const char *name, const void *bytes, size_t n_bytes);
void fuzz_remove(const char *name);
/* Copies tests/FROM there. */
const char *fuzz_copy(const char *from, const char *name);

#endif
