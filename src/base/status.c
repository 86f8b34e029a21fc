#include "minibert/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *mb_status_text(mb_status status) {
    switch (status) {
#define MB_STATUS_CASE(code, text) \
    case code:                     \
        return text;
        MB_STATUS_TABLE(MB_STATUS_CASE)
#undef MB_STATUS_CASE
    }
    return "unknown status";
}

mb_status mb_fail(mb_error *error, mb_status status, const char *format, ...) {
    if (error != NULL) {
        error->status = status;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}
