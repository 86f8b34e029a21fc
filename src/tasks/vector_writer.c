#include "tasks/vector_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/file.h"
#include "tasks/text_escape.h"

const char *const mb_vector_format_names[] = {"npy", "jsonl", "tsv", "word2vec", NULL};

struct mb_vector_writer {
    mb_vector_format format;
    int64_t width, n_rows;
    mb_writer *file; /* one of these two is the destination */
    FILE *stream;
    char *name;       /* of the stream, for messages */
    bool owns_stream; /* a device or a pipe that was opened here */
    FILE *spool;      /* rows of formats that begin with the number of rows */
    mb_buffer row;    /* reused */
};

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory writing vectors");
}

/* Beside the file that is being written, or where temporary files go. */
static mb_status open_spool(const char *path, FILE **out, mb_error *error) {
    const char *slash = path ? strrchr(path, '/') : NULL, *named = getenv("TMPDIR");
    const char *fallback = path ? "." : named ? named : "/tmp";
    char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(fallback);
    if (!dir) {
        return out_of_memory(error);
    }
    *out = mb_file_unnamed(dir);
    mb_status status =
        *out ? MB_OK : mb_fail(error, MB_ERROR_IO, "cannot make a temporary file in '%s': %s", dir, strerror(errno));
    free(dir);
    return status;
}

/* A file that is there and is neither a regular file nor a directory. */
static bool is_special(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

/* `path` NULL: standard output. */
static mb_status open_stream(mb_vector_writer *writer, const char *path, FILE *standard_output, mb_error *error) {
    writer->name = strdup(path ? path : "standard output");
    if (!writer->name) {
        return out_of_memory(error);
    }
    writer->stream = path ? fopen(path, "we") : standard_output;
    writer->owns_stream = path && writer->stream;
    return writer->stream ? MB_OK : mb_fail(error, MB_ERROR_IO, "cannot write '%s': %s", path, strerror(errno));
}

mb_status mb_vector_writer_open(const char *path, FILE *standard_output, mb_vector_format format, int64_t width,
                                mb_vector_writer **out, mb_error *error) {
    *out = NULL;
    mb_vector_writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        return out_of_memory(error);
    }
    *writer = (mb_vector_writer){.format = format, .width = width};
    path = path && strcmp(path, "-") != 0 ? path : NULL;
    const bool special = path && is_special(path);
    mb_status status = MB_OK;
    if (path && !special) {
        status = mb_writer_open(path, &writer->file, error);
    } else {
        status = open_stream(writer, path, standard_output, error);
    }
    path = special ? NULL : path; /* no temporary file beside a device */
    if (status == MB_OK && (format == MB_VECTOR_NPY || format == MB_VECTOR_WORD2VEC)) {
        status = open_spool(path, &writer->spool, error);
    }
    if (status != MB_OK) {
        mb_vector_writer_abort(writer);
        return status;
    }
    *out = writer;
    return MB_OK;
}

static bool write_destination(mb_vector_writer *writer, const void *bytes, size_t n_bytes) {
    if (writer->file) {
        mb_writer_write(writer->file, bytes, n_bytes); /* sticky: commit reports */
        return true;
    }
    return fwrite(bytes, 1, n_bytes, writer->stream) == n_bytes;
}

static mb_status output_failed(const mb_vector_writer *writer, mb_error *error) {
    return mb_fail(error, MB_ERROR_IO, "cannot write to %s: %s", writer->name, strerror(errno));
}

static bool append_numbers(mb_buffer *row, const float *vector, int64_t width, const char *separator) {
    for (int64_t i = 0; i < width; i++) {
        char number[32]; /* nine digits give every float back exactly */
        const int length = snprintf(number, sizeof number, "%s%.9g", i ? separator : "", (double)vector[i]);
        if (!mb_buffer_append(row, number, (size_t)length)) {
            return false;
        }
    }
    return true;
}

static bool format_row(mb_vector_writer *writer, const mb_vector_label *label, const float *vector) {
    mb_buffer *row = &writer->row;
    bool fine = true;
    switch (writer->format) {
    case MB_VECTOR_NPY:
        return mb_buffer_append(row, vector, (size_t)writer->width * sizeof *vector);
    case MB_VECTOR_JSONL:
        fine = mb_buffer_append_text(row, "{");
        if (label->is_span) {
            fine =
                fine && mb_buffer_printf(
                            row, "\"line\": %lld, \"start\": %lld, \"end\": %lld, \"byte_start\": %lld, \"byte_end\": %lld, ",
                            (long long)label->line, (long long)label->start, (long long)label->end,
                            (long long)label->byte_start, (long long)label->byte_end);
        }
        return fine && mb_buffer_append_text(row, "\"text\": ") && mb_append_json_text(row, label->text, label->n_bytes) &&
               mb_buffer_append_text(row, ", \"vector\": [") && append_numbers(row, vector, writer->width, ", ") &&
               mb_buffer_append_text(row, "]}\n");
    case MB_VECTOR_TSV:
        if (label->is_span) {
            fine = mb_buffer_printf(row, "%lld\t%lld\t%lld\t", (long long)label->line, (long long)label->start,
                                    (long long)label->end) &&
                   mb_append_word(row, label->text, label->n_bytes) && mb_buffer_append_text(row, "\t");
        }
        return fine && append_numbers(row, vector, writer->width, "\t") && mb_buffer_append_text(row, "\n");
    case MB_VECTOR_WORD2VEC:
        return mb_append_word(row, label->text, label->n_bytes) && mb_buffer_append_text(row, " ") &&
               append_numbers(row, vector, writer->width, " ") && mb_buffer_append_text(row, "\n");
    }
    return false;
}

mb_status mb_vector_writer_add(mb_vector_writer *writer, const mb_vector_label *label, const float *vector, mb_error *error) {
    mb_buffer_clear(&writer->row);
    if (!format_row(writer, label, vector)) {
        return out_of_memory(error);
    }
    writer->n_rows++;
    if (writer->spool) {
        return fwrite(writer->row.data, 1, writer->row.n_bytes, writer->spool) == writer->row.n_bytes
                   ? MB_OK
                   : mb_fail(error, MB_ERROR_IO, "cannot write a temporary file: %s", strerror(errno));
    }
    return write_destination(writer, writer->row.data, writer->row.n_bytes) ? MB_OK : output_failed(writer, error);
}

bool mb_vector_writer_streams(const mb_vector_writer *writer) {
    return !writer->spool && !writer->file;
}

mb_status mb_vector_writer_flush(mb_vector_writer *writer, mb_error *error) {
    return mb_vector_writer_streams(writer) && fflush(writer->stream) != 0 ? output_failed(writer, error) : MB_OK;
}

/* NumPy's format 1.0: "\x93NUMPY", version bytes 1 and 0, the header's length as little-endian uint16, the header as a Python
 * literal padded with spaces and ended by a line feed, so that the data begin at a multiple of 64 bytes. */
static bool append_npy_header(mb_buffer *out, int64_t n_rows, int64_t width) {
    mb_buffer header = {0};
    bool fine = mb_buffer_printf(&header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }",
                                 (long long)n_rows, (long long)width);
    while (fine && (10 + header.n_bytes + 1) % 64 != 0) {
        fine = mb_buffer_append(&header, " ", 1);
    }
    fine = fine && mb_buffer_append(&header, "\n", 1);
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(header.n_bytes & 0xFF), (unsigned char)(header.n_bytes >> 8)};
    fine = fine && mb_buffer_append(out, start, sizeof start) && mb_buffer_append(out, header.data, header.n_bytes);
    mb_buffer_free(&header);
    return fine;
}

/* The header, then the rows that waited in the temporary file. */
static mb_status write_spooled(mb_vector_writer *writer, mb_error *error) {
    mb_buffer *out = &writer->row;
    mb_buffer_clear(out);
    if (!(writer->format == MB_VECTOR_NPY
              ? append_npy_header(out, writer->n_rows, writer->width)
              : mb_buffer_printf(out, "%lld %lld\n", (long long)writer->n_rows, (long long)writer->width))) {
        return out_of_memory(error);
    }
    if (!write_destination(writer, out->data, out->n_bytes)) {
        return output_failed(writer, error);
    }
    if (fflush(writer->spool) != 0 || fseek(writer->spool, 0, SEEK_SET) != 0) {
        return mb_fail(error, MB_ERROR_IO, "cannot write a temporary file: %s", strerror(errno));
    }
    char bytes[1 << 16];
    size_t n;
    while ((n = fread(bytes, 1, sizeof bytes, writer->spool)) > 0) {
        if (!write_destination(writer, bytes, n)) {
            return output_failed(writer, error);
        }
    }
    return ferror(writer->spool) ? mb_fail(error, MB_ERROR_IO, "cannot read a temporary file back: %s", strerror(errno))
                                 : MB_OK;
}

mb_status mb_vector_writer_commit(mb_vector_writer *writer, mb_error *error) {
    mb_status status = writer->spool ? write_spooled(writer, error) : MB_OK;
    if (status == MB_OK && writer->file) {
        status = mb_writer_commit(writer->file, error);
        writer->file = NULL;
    } else if (status == MB_OK && fflush(writer->stream) != 0) {
        status = output_failed(writer, error);
    }
    mb_vector_writer_abort(writer);
    return status;
}

void mb_vector_writer_abort(mb_vector_writer *writer) {
    if (!writer) {
        return;
    }
    mb_writer_abort(writer->file);
    if (writer->spool) {
        (void)fclose(writer->spool);
    }
    if (writer->owns_stream) {
        (void)fclose(writer->stream); /* commit has flushed it */
    }
    free(writer->name);
    mb_buffer_free(&writer->row);
    free(writer);
}
