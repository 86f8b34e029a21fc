/* One run per output directory: an advisory lock (flock) on DIR/.lock, held by the process and gone when it ends. */
#ifndef MB_TRAIN_LOCK_H
#define MB_TRAIN_LOCK_H

#include "minibert/status.h"

typedef struct mb_lock mb_lock;

/* Makes DIR if it is missing. MB_ERROR_IO with the other process's number when another run holds it. */
mb_status mb_lock_acquire(const char *dir, mb_lock **out, mb_error *error);
/* Removes the lock file; fine on NULL. */
void mb_lock_release(mb_lock *lock);

#endif
