/* metrics.jsonl and the lock of an output directory. */
#include <sys/wait.h>
#include <unistd.h>

#include "tiny.h"
#include "train/lock.h"
#include "train/metrics.h"

static void append(mb_metrics *metrics, const char *event, int64_t step) {
    mb_error error;
    json_t *record = json_pack("{s:s, s:I}", "event", event, "step", (json_int_t)step);
    ASSERT_OK(mb_metrics_append(metrics, record, &error), error);
    json_decref(record);
}

static void append_raw(const char *dir, const char *text) {
    char *path = mb_path_join(dir, "metrics.jsonl");
    FILE *file = fopen(path, "a");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
    free(path);
}

static void assert_content(const char *dir, const char *expected) {
    mb_buffer text = read_file(dir, "metrics.jsonl");
    cr_assert_str_eq(text.data, expected);
    mb_buffer_free(&text);
}

Test(metrics, records_beyond_the_resumed_step_are_dropped) {
    char *dir = make_dir();
    mb_error error;
    mb_metrics *metrics = NULL;
    ASSERT_OK(mb_metrics_open(dir, -1, &metrics, &error), error);
    append(metrics, "train", 10);
    append(metrics, "evaluation", 10);
    append(metrics, "train", 20);
    ASSERT_OK(mb_metrics_close(metrics, &error), error);
    append_raw(dir, "{\"event\":\"train\",\"st"); /* a crash in the middle of a line */

    ASSERT_OK(mb_metrics_open(dir, 10, &metrics, &error), error);
    append(metrics, "train", 15);
    ASSERT_OK(mb_metrics_close(metrics, &error), error);
    assert_content(dir, "{\"event\":\"train\",\"step\":10}\n{\"event\":\"evaluation\",\"step\":10}\n"
                        "{\"event\":\"train\",\"step\":15}\n");

    ASSERT_OK(mb_metrics_open(dir, -1, &metrics, &error), error);
    append(metrics, "train", 1);
    ASSERT_OK(mb_metrics_close(metrics, &error), error);
    assert_content(dir, "{\"event\":\"train\",\"step\":1}\n");
    remove_dir(dir);
}

Test(metrics, a_record_is_in_the_file_at_once) {
    char *dir = make_dir();
    mb_error error;
    mb_metrics *metrics = NULL;
    ASSERT_OK(mb_metrics_open(dir, -1, &metrics, &error), error);
    append(metrics, "train", 1);
    assert_content(dir, "{\"event\":\"train\",\"step\":1}\n");
    ASSERT_OK(mb_metrics_close(metrics, &error), error);
    remove_dir(dir);
}

Test(metrics, an_unwritable_directory_is_an_error) {
    mb_error error;
    mb_metrics *metrics = NULL;
    cr_assert_eq(mb_metrics_open("/nonexistent", -1, &metrics, &error), MB_ERROR_IO);
    cr_assert_not_null(strstr(error.message, "/nonexistent/metrics.jsonl"));
}

Test(lock, a_second_run_is_refused_and_told_who_holds_it) {
    char *dir = make_dir();
    mb_error error;
    mb_lock *lock = NULL, *second = NULL;
    ASSERT_OK(mb_lock_acquire(dir, &lock, &error), error);
    cr_assert_eq(mb_lock_acquire(dir, &second, &error), MB_ERROR_IO);
    char owner[32];
    snprintf(owner, sizeof owner, "process %ld", (long)getpid());
    cr_assert_not_null(strstr(error.message, owner), "%s", error.message);
    cr_assert_not_null(strstr(error.message, dir), "%s", error.message);
    mb_lock_release(lock);
    ASSERT_OK(mb_lock_acquire(dir, &lock, &error), error);
    mb_lock_release(lock);
    char *path = mb_path_join(dir, ".lock");
    cr_assert(!mb_path_exists(path));
    free(path);
    remove_dir(dir);
}

Test(lock, a_process_that_died_holds_nothing) {
    char *dir = make_dir();
    mb_error error;
    mb_lock *lock = NULL;
    pid_t child = fork();
    if (child == 0) {
        _exit(mb_lock_acquire(dir, &lock, &error) == MB_OK ? 0 : 1); /* without a release */
    }
    int result = 0;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert_eq(result, 0);
    ASSERT_OK(mb_lock_acquire(dir, &lock, &error), error);
    mb_lock_release(lock);
    remove_dir(dir);
}
