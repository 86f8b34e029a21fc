/* The directory side of checkpoints (private to src/train): their names, which there are, and whether one is whole. */
#ifndef MB_TRAIN_CHECKPOINT_FILES_H
#define MB_TRAIN_CHECKPOINT_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"
#include "train/checkpoint.h"

/* The files that state.json vouches for; NULL terminated. */
extern const char *const mb_checkpoint_file_names[];

/* OUT/checkpoints/PREFIXstep-NNNNNNNN, malloc'ed; NULL without memory. */
char *mb_checkpoint_path(const char *out_dir, const char *prefix, int64_t step);
/* The steps that have a directory, newest first; *steps is malloc'ed (NULL when there are none). */
mb_status mb_checkpoint_list(const char *out_dir, int64_t **steps, size_t *n, mb_error *error);
/* Removes what a crash left behind under temporary names. */
mb_status mb_checkpoint_sweep(const char *out_dir, mb_error *error);
/* Writes DIR/state.json over the files that are in DIR. */
mb_status mb_checkpoint_seal(const char *dir, const mb_train_state *state, mb_error *error);
/* Reads DIR/state.json and checks it and every file against their checksums. */
mb_status mb_checkpoint_verify(const char *dir, mb_train_state *state, mb_error *error);

#endif
