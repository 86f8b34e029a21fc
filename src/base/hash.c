/* XXH64 by its specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), seed 0. */
#include <string.h>

#include "base/file.h"
#include "base/wraps.h"

static const uint64_t prime1 = 0x9E3779B185EBCA87u, prime2 = 0xC2B2AE3D27D4EB4Fu, prime3 = 0x165667B19E3779F9u,
                      prime4 = 0x85EBCA77C2B2AE63u, prime5 = 0x27D4EB2F165667C5u;

MB_WRAPS static uint64_t rotate(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

static uint64_t read64(const unsigned char *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value); /* minibert runs on little-endian machines only */
    return value;
}

MB_WRAPS static uint64_t accumulate(uint64_t lane, uint64_t input) {
    return rotate(lane + input * prime2, 31) * prime1;
}

MB_WRAPS void mb_hash_begin(mb_hash *hash) {
    *hash = (mb_hash){.lane = {prime1 + prime2, prime2, 0, (uint64_t)0 - prime1}};
}

static void stripe(mb_hash *hash, const unsigned char *bytes) {
    for (int i = 0; i < 4; i++) {
        hash->lane[i] = accumulate(hash->lane[i], read64(bytes + 8 * i));
    }
}

void mb_hash_add(mb_hash *hash, const void *bytes, size_t n_bytes) {
    if (n_bytes == 0) {
        return;
    }
    const unsigned char *in = bytes;
    hash->total_bytes += n_bytes;
    if (hash->n_tail > 0) {
        size_t take = 32 - hash->n_tail < n_bytes ? 32 - hash->n_tail : n_bytes;
        memcpy(hash->tail + hash->n_tail, in, take);
        hash->n_tail += take;
        in += take;
        n_bytes -= take;
        if (hash->n_tail == 32) {
            stripe(hash, hash->tail);
            hash->n_tail = 0;
        }
    }
    for (; n_bytes >= 32; in += 32, n_bytes -= 32) {
        stripe(hash, in);
    }
    if (n_bytes > 0) {
        memcpy(hash->tail + hash->n_tail, in, n_bytes);
        hash->n_tail += n_bytes;
    }
}

MB_WRAPS uint64_t mb_hash_end(const mb_hash *hash) {
    uint64_t h;
    if (hash->total_bytes >= 32) {
        h = rotate(hash->lane[0], 1) + rotate(hash->lane[1], 7) + rotate(hash->lane[2], 12) + rotate(hash->lane[3], 18);
        for (int i = 0; i < 4; i++) {
            h = (h ^ accumulate(0, hash->lane[i])) * prime1 + prime4;
        }
    } else {
        h = prime5;
    }
    h += hash->total_bytes;
    const unsigned char *in = hash->tail, *end = hash->tail + hash->n_tail;
    for (; end - in >= 8; in += 8) {
        h = rotate(h ^ accumulate(0, read64(in)), 27) * prime1 + prime4;
    }
    if (end - in >= 4) {
        uint32_t word;
        memcpy(&word, in, sizeof word);
        h = rotate(h ^ (word * prime1), 23) * prime2 + prime3;
        in += 4;
    }
    for (; in < end; in++) {
        h = rotate(h ^ (*in * prime5), 11) * prime1;
    }
    h = (h ^ (h >> 33)) * prime2;
    h = (h ^ (h >> 29)) * prime3;
    return h ^ (h >> 32);
}

uint64_t mb_hash_bytes(const void *bytes, size_t n_bytes) {
    mb_hash hash;
    mb_hash_begin(&hash);
    mb_hash_add(&hash, bytes, n_bytes);
    return mb_hash_end(&hash);
}
