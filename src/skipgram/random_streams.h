/* The streams of random numbers (base/rng.h) that Skip-Gram uses, beside those of the Transformer. */
#ifndef MB_SKIPGRAM_RANDOM_STREAMS_H
#define MB_SKIPGRAM_RANDOM_STREAMS_H

enum {
    MB_STREAM_SKIPGRAM_TEXT = 64,  /* a range of the text: windows, sub-sampling, negatives */
    MB_STREAM_SKIPGRAM_INIT,       /* first vectors: a = row */
    MB_STREAM_SKIPGRAM_PROJECTION, /* of vectors to another width: a = row, b = column */
    MB_STREAM_SENSES,              /* first centroids of clusters: a = start, b = centroid */
};

#endif
