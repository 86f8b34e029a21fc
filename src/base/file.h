/* Files: read whole, map, write so that a crash or a full disk never leaves half a file under a final name.
 * Every error message names the path and the system's reason. */
#ifndef MB_BASE_FILE_H
#define MB_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buffer.h"
#include "minibert/status.h"

/* --- paths --- */
/* dir + "/" + name, malloc'ed; NULL without memory. */
char *mb_path_join(const char *dir, const char *name);
bool mb_path_exists(const char *path);
bool mb_path_is_dir(const char *path);
/* Makes the directory and its parents, and syncs the directories that they are in; an existing directory is fine. */
mb_status mb_dir_make(const char *path, mb_error *error);
/* Removes a file or a directory tree; a path that does not exist is fine. */
mb_status mb_path_remove(const char *path, mb_error *error);

/* --- reading --- */
/* Appends the whole file to `out`. */
mb_status mb_file_read(const char *path, mb_buffer *out, mb_error *error);

/* A read-only map of a whole file. An empty file maps to data = "" and n_bytes = 0. */
typedef struct mb_map {
    const unsigned char *data;
    size_t n_bytes;
} mb_map;
mb_status mb_map_open(const char *path, mb_map *out, mb_error *error);
void mb_map_close(mb_map *map); /* also fine on {0} */

/* --- writing --- */
/* An output file that appears under `path` only when mb_writer_commit returned MB_OK: it is written to a temporary name in
 * the same directory (PATH.tmp.PID.N), flushed, fsynced, renamed, and the directory is fsynced. Temporary files of the same
 * path whose process died are removed first. A path that is a directory, a device or a pipe is refused. */
typedef struct mb_writer mb_writer;
mb_status mb_writer_open(const char *path, mb_writer **out, mb_error *error);
/* Errors are sticky: writes after a failed one do nothing, and commit reports the first error. */
void mb_writer_write(mb_writer *writer, const void *bytes, size_t n_bytes);
__attribute__((format(printf, 2, 3))) void mb_writer_printf(mb_writer *writer, const char *format, ...);
uint64_t mb_writer_n_bytes(const mb_writer *writer);
mb_status mb_writer_commit(mb_writer *writer, mb_error *error); /* always frees the writer */
void mb_writer_abort(mb_writer *writer);                        /* removes the temporary file; fine on NULL */
/* One call for small files. */
mb_status mb_file_write(const char *path, const void *bytes, size_t n_bytes, mb_error *error);
/* fsync a directory, so that renames in it survive a power loss. */
mb_status mb_dir_sync(const char *path, mb_error *error);
mb_status mb_parent_sync(const char *path, mb_error *error); /* of the directory that the path is in */
/* rename(2), with the message; then the parent directory is fsynced. */
mb_status mb_path_rename(const char *from, const char *to, mb_error *error);
/* An open file in a directory that never has a name there: gone with the process, whatever happens. NULL with errno. */
FILE *mb_file_unnamed(const char *dir);

/* --- descriptors, for those who need one; a signal that interrupts them starts them again --- */
int mb_open(const char *path, int flags); /* open(2), close-on-exec, 0666 */
int mb_flock(int fd);                     /* exclusive, without waiting: EWOULDBLOCK when another holds the lock */

/* --- content fingerprint --- */
/* 64-bit FNV-1a would be slow on corpora; this is XXH64 (Collet's xxHash specification), seed 0. Streaming: begin with {0}
 * through mb_hash_begin. Used as checksum of shards and checkpoints and as key of corpus and tokenizer; not cryptographic. */
typedef struct mb_hash {
    uint64_t lane[4];
    uint64_t total_bytes;
    unsigned char tail[32];
    size_t n_tail;
} mb_hash;
void mb_hash_begin(mb_hash *hash);
void mb_hash_add(mb_hash *hash, const void *bytes, size_t n_bytes);
uint64_t mb_hash_end(const mb_hash *hash);
uint64_t mb_hash_bytes(const void *bytes, size_t n_bytes);
/* Of a whole file, and its size; the file is read piece by piece, where a map of it would count as memory of the process. */
mb_status mb_file_hash(const char *path, uint64_t *n_bytes, uint64_t *hash, mb_error *error);

#endif
