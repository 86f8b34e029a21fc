/* The tokenizer alone: linked with libminibert_tokenizer and libminibert_base, and nothing else of minibert. */
#include <stdio.h>
#include <string.h>

#include "minibert/tokenizer.h"

int main(int argc, char **argv) {
    mb_error error;
    mb_tokenizer *tokenizer = NULL;
    mb_encoding encoding = {0};
    if (argc != 3 || mb_tokenizer_load(argv[1], &tokenizer, &error) != MB_OK ||
        mb_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]), &encoding, &error) != MB_OK) {
        fprintf(stderr, "%s\n", argc == 3 ? error.message : "usage: tokenizer_example VOCAB TEXT");
        return 1;
    }
    for (size_t i = 0; i < encoding.n_tokens; i++) {
        printf("%d %s %u-%u\n", encoding.ids[i], mb_tokenizer_piece(tokenizer, encoding.ids[i]), encoding.starts[i],
               encoding.ends[i]);
    }
    mb_encoding_free(&encoding);
    mb_tokenizer_free(tokenizer);
    return 0;
}
