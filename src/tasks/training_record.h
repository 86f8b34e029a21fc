/* training.json: how a model directory came to be. Written when a run starts (without "result") and again when it is done. */
#ifndef MB_TASKS_TRAINING_RECORD_H
#define MB_TASKS_TRAINING_RECORD_H

#include <jansson.h>

#include "base/job.h"
#include "base/options.h"
#include "data/shard.h"
#include "minibert/status.h"

/* {"minibert": version, "command", "seed", "configuration", "machine"}; configuration may be NULL. */
mb_status mb_training_record_new(const char *command, int64_t seed, const json_t *configuration, json_t **out, mb_error *error);
/* Adds {name: {"files": [{"path", "bytes", "xxh64"}], ...}}: what was read, and the content's fingerprints. */
mb_status mb_training_record_add_files(json_t *record, const char *name, const char *const *files, size_t n_files,
                                       mb_error *error);
/* Adds {name: {"fingerprint", "tokens", "lines", "documents"}} of a corpus. */
mb_status mb_training_record_add_shard(json_t *record, const char *name, const mb_text_list *files, const mb_shard *shard,
                                       mb_error *error);
mb_status mb_training_record_save(const json_t *record, const char *dir, mb_error *error);
/* Tells the job which options, and what of the machine, differ from those in DIR/training.json: legal on a resume, but not to
 * pass unseen. */
mb_status mb_training_record_report_changes(const char *dir, const json_t *configuration, const mb_job *job, mb_error *error);

#endif
