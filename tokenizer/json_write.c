#include <string.h>

#include "base/json.h"
#include "tokenizer/tokenizer_internal.h"

/* All values are checked once, at the end: a NULL member makes json_object_set_new fail. */
static bool set(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) == 0;
}

static json_t *strip_accents(const mb_tokenizer_config *config) {
    return config->strip_accents < 0 ? json_null() : json_boolean(config->strip_accents);
}

static json_t *added_tokens(const mb_tokenizer *tokenizer) {
    json_t *list = json_array();
    for (size_t i = 0; i < tokenizer->n_added; i++) {
        mb_added_token token = tokenizer->added[i];
        json_t *object =
            json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)token.id, "content", tokenizer->vocab.texts[token.id],
                      "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", (int)token.is_special);
        if (json_array_append_new(list, object) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* [CLS] A [SEP] and [CLS] A [SEP] B [SEP], in Hugging Face's template notation. */
static json_t *post_processor(const mb_tokenizer *tokenizer) {
    static const char single[] = "{s:{s:s, s:i}}";
    json_t *cls = json_pack(single, "SpecialToken", "id", "[CLS]", "type_id", 0);
    json_t *text_a = json_pack(single, "Sequence", "id", "A", "type_id", 0);
    json_t *sep_a = json_pack(single, "SpecialToken", "id", "[SEP]", "type_id", 0);
    json_t *text_b = json_pack(single, "Sequence", "id", "B", "type_id", 1);
    json_t *sep_b = json_pack(single, "SpecialToken", "id", "[SEP]", "type_id", 1);
    return json_pack("{s:s, s:[O,O,O], s:[o,o,o,o,o], s:{s:{s:s, s:[i], s:[s]}, s:{s:s, s:[i], s:[s]}}}", "type",
                     "TemplateProcessing", "single", cls, text_a, sep_a, "pair", cls, text_a, sep_a, text_b, sep_b,
                     "special_tokens", "[CLS]", "id", "[CLS]", "ids", (int)tokenizer->specials[MB_SPECIAL_CLS], "tokens",
                     "[CLS]", "[SEP]", "id", "[SEP]", "ids", (int)tokenizer->specials[MB_SPECIAL_SEP], "tokens", "[SEP]");
}

static json_t *model(const mb_tokenizer *tokenizer) {
    json_t *object = json_object(), *vocab = json_object();
    bool ok = vocab != NULL;
    for (size_t id = 0; ok && id < tokenizer->vocab.n; id++) {
        ok = set(vocab, tokenizer->vocab.texts[id], json_integer((json_int_t)id));
    }
    ok = ok && set(object, "type", json_string("WordPiece")) && set(object, "unk_token", json_string("[UNK]")) &&
         set(object, "continuing_subword_prefix", json_string("##")) &&
         set(object, "max_input_chars_per_word", json_integer(tokenizer->config.max_chars_per_word));
    if (!ok) {
        json_decref(vocab);
        json_decref(object);
        return NULL;
    }
    if (!set(object, "vocab", vocab)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static mb_status save_and_free(json_t *object, bool is_whole, const char *path, mb_error *error) {
    mb_status status = is_whole ? mb_json_save(path, object, error)
                                : mb_fail(error, MB_ERROR_MEMORY, "cannot write '%s': out of memory", path);
    json_decref(object);
    return status;
}

mb_status mb_tokenizer_json_write(const mb_tokenizer *tokenizer, const char *path, mb_error *error) {
    const mb_tokenizer_config *config = &tokenizer->config;
    json_t *root = json_object();
    json_t *normalizer = json_pack("{s:s, s:b, s:b, s:o, s:b}", "type", "BertNormalizer", "clean_text", (int)config->clean_text,
                                   "handle_chinese_chars", (int)config->tokenize_chinese_chars, "strip_accents",
                                   strip_accents(config), "lowercase", (int)config->do_lower_case);
    bool ok = set(root, "version", json_string("1.0")) && set(root, "truncation", json_null()) &&
              set(root, "padding", json_null()) && set(root, "added_tokens", added_tokens(tokenizer));
    ok = set(root, "normalizer", normalizer) && ok;
    ok = ok && set(root, "pre_tokenizer", json_pack("{s:s}", "type", "BertPreTokenizer")) &&
         set(root, "post_processor", post_processor(tokenizer)) &&
         set(root, "decoder", json_pack("{s:s, s:s, s:b}", "type", "WordPiece", "prefix", "##", "cleanup", 1)) &&
         set(root, "model", model(tokenizer));
    return save_and_free(root, ok, path, error);
}

mb_status mb_tokenizer_config_write(const mb_tokenizer *tokenizer, const char *path, mb_error *error) {
    static const char *const keys[MB_N_SPECIALS] = {"pad_token", "unk_token", "cls_token", "sep_token", "mask_token"};
    const mb_tokenizer_config *config = &tokenizer->config;
    /* transformers' BertTokenizer always cleans, and reads words of up to 100 characters; only its general class takes all
     * settings from tokenizer.json. */
    bool is_bert = config->clean_text && config->max_chars_per_word == 100;
    json_t *root = json_object();
    bool ok = set(root, "tokenizer_class", json_string(is_bert ? "BertTokenizer" : "PreTrainedTokenizerFast")) &&
              set(root, "do_lower_case", json_boolean(config->do_lower_case)) &&
              set(root, "strip_accents", strip_accents(config)) &&
              set(root, "tokenize_chinese_chars", json_boolean(config->tokenize_chinese_chars)) &&
              set(root, "model_max_length", json_integer(config->model_max_length));
    if (config->compat == MB_COMPAT_GOOGLE) {
        ok = ok && set(root, "compat", json_string("google"));
    }
    for (int i = 0; i < MB_N_SPECIALS; i++) {
        ok = ok && set(root, keys[i], json_string(mb_special_texts[i]));
    }
    json_t *decoder = json_object();
    for (size_t i = 0; ok && i < tokenizer->n_added; i++) {
        mb_added_token token = tokenizer->added[i];
        char id[16];
        snprintf(id, sizeof id, "%d", (int)token.id);
        ok = set(decoder, id,
                 json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content", tokenizer->vocab.texts[token.id], "lstrip", 0,
                           "normalized", 0, "rstrip", 0, "single_word", 0, "special", (int)token.is_special));
    }
    ok = set(root, "added_tokens_decoder", decoder) && ok;
    return save_and_free(root, ok, path, error);
}
