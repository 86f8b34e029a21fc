/* A small model directory with random weights, for tests that use a model and do not care how good it is. */
#ifndef TESTS_SMALL_MODEL_H
#define TESTS_SMALL_MODEL_H

#include "model/model.h"

/* A new directory under /tmp; the caller removes it with mb_path_remove and frees the name. */
char *small_dir(void);
/* A new directory with a model of 2 layers, 16 wide, 2 heads, 32 positions, and a vocabulary of letters and a few words. */
char *small_model_dir(mb_head head);
/* dir/name, malloc'ed. */
char *small_path(const char *dir, const char *name);
/* Writes a file of text. */
void small_file(const char *path, const char *text);
/* The whole file as text, malloc'ed. */
char *small_read(const char *path);

#endif
