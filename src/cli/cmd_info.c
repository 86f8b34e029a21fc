#include <stdio.h>

#include "cli/cli.h"
#include "tasks/info.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    (void)cli;
    mb_buffer text = {0};
    mb_status status = mb_info(options, &text, error);
    if (status == MB_OK && text.n_bytes) {
        (void)fwrite(text.data, 1, text.n_bytes, stdout);
        status = mb_cli_check_output(error);
    }
    mb_buffer_free(&text);
    return status;
}

const mb_command mb_command_info = {
    .name = "info",
    .synopsis = "DIR|FILE [--tensors]",
    .summary = "Say what a model directory, or a safetensors, shard or npy file, holds",
    .table = mb_info_option_table,
    .options_bytes = sizeof(mb_info_options),
    .run = run,
};
