/* jansson does not survive an allocation that fails while it reads or writes text (2.14): a token whose buffer could not grow
 * loses its end, and the lexer reads on behind it; a key for which there was no room is left out of the text, and nobody is
 * told. So here the first failure ends the work by a jump out of it, and whatever jansson had allocated since is freed: its
 * blocks are kept in a set. */
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/wraps.h"

enum { FIRST_SLOTS = 256 };

/* The blocks that are alive, by open addressing; `freed` marks a slot whose block is not. */
typedef struct blocks {
    jmp_buf failed;
    void **slots;
    size_t n_slots; /* a power of two */
    size_t n_taken; /* of them, freed ones counted */
    size_t n_alive;
    void *first[FIRST_SLOTS];
} blocks;

static _Thread_local blocks *current; /* jansson's allocation functions have no argument for it */
static char freed_mark, *const freed = &freed_mark;

MB_WRAPS static size_t slot_of(const blocks *b, const void *block) {
    return (size_t)(((uint64_t)(uintptr_t)block >> 4) * 0x9E3779B97F4A7C15u >> 20) & (b->n_slots - 1);
}

static size_t find(const blocks *b, const void *block) {
    size_t slot = slot_of(b, block);
    while (b->slots[slot] != NULL && b->slots[slot] != block) {
        slot = (slot + 1) & (b->n_slots - 1);
    }
    return slot;
}

static bool is_block(const void *content) {
    return content != NULL && content != freed;
}

static bool make_room(blocks *b) {
    size_t n_slots = FIRST_SLOTS;
    while (n_slots < 4 * b->n_alive) {
        n_slots *= 2;
    }
    void **old = b->slots, **slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    const size_t n_old = b->n_slots;
    b->slots = slots;
    b->n_slots = n_slots;
    b->n_taken = b->n_alive;
    for (size_t i = 0; i < n_old; i++) {
        if (is_block(old[i])) {
            slots[find(b, old[i])] = old[i];
        }
    }
    if (old != b->first) {
        free(old);
    }
    return true;
}

static void *allocate(size_t n_bytes) {
    blocks *b = current;
    void *block = malloc(n_bytes);
    if (b == NULL) {
        return block;
    }
    if (block == NULL || (2 * b->n_taken >= b->n_slots && !make_room(b))) {
        free(block);
        longjmp(b->failed, 1);
    }
    size_t slot = slot_of(b, block);
    while (is_block(b->slots[slot])) { /* a freed one's slot is taken again: malloc gives the same blocks again and again */
        slot = (slot + 1) & (b->n_slots - 1);
    }
    b->n_taken += b->slots[slot] == NULL;
    b->slots[slot] = block;
    b->n_alive++;
    return block;
}

static void release(void *block) {
    blocks *b = current;
    if (b != NULL && block != NULL) {
        const size_t slot = find(b, block);
        if (b->slots[slot] == block) { /* it might be older than this reading */
            b->slots[slot] = freed;
            b->n_alive--;
        }
    }
    free(block);
}

static void install(void) {
    json_set_alloc_funcs(allocate, release);
}

/* What is to be done: `text` to be read, or, where there is none, `json` to be written. */
typedef struct work {
    const char *text;
    size_t n_bytes, flags;
    json_error_t reason;
    json_t *json;
    char *written;
} work;

/* A function of its own, so that nothing it changes lies in the frame that is jumped into. */
static bool do_within(blocks *b, work *w) {
    if (setjmp(b->failed) != 0) {
        return false;
    }
    current = b;
    if (w->text != NULL) {
        w->json = json_loadb(w->text, w->n_bytes, w->flags, &w->reason);
    } else {
        w->written = json_dumps(w->json, w->flags);
    }
    return true;
}

/* False: memory ended. */
static bool do_work(work *w) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    blocks b = {.slots = b.first, .n_slots = FIRST_SLOTS};
    const bool finished = do_within(&b, w);
    current = NULL;
    for (size_t i = 0; i < b.n_slots && !finished; i++) {
        if (is_block(b.slots[i])) {
            free(b.slots[i]);
        }
    }
    if (b.slots != b.first) {
        free(b.slots);
    }
    return finished;
}

mb_status mb_json_parse(const char *text, size_t n_bytes, size_t flags, json_t **out, json_error_t *reason) {
    work w = {.text = text, .n_bytes = n_bytes, .flags = flags};
    const bool finished = do_work(&w);
    *out = finished ? w.json : NULL;
    if (reason != NULL) {
        *reason = w.reason;
    }
    return !finished ? MB_ERROR_MEMORY : *out != NULL ? MB_OK : MB_ERROR_FORMAT;
}

char *mb_json_text(const json_t *json, size_t flags) {
    work w = {.json = (json_t *)(uintptr_t)json, .flags = flags};
    return json != NULL && do_work(&w) ? w.written : NULL;
}
