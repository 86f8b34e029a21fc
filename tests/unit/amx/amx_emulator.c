#include "unit/amx/amx_emulator.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "tensor/bf16.h"

/* Intel Architecture Instruction Set Extensions, chapter 3 (AMX): all six are VEX-encoded, map 0F38, W0. */

enum { N_TILES = 8, MAX_ROWS = 16, ROW_BYTES = 64 };

typedef struct tile {
    int n_rows, row_bytes;
    uint8_t rows[MAX_ROWS][ROW_BYTES];
} tile;

static _Thread_local tile tiles[N_TILES];
static _Thread_local bool configured;

static void refuse(const char *why) {
    fprintf(stderr, "amx emulator: %s\n", why);
    abort();
}

/* The registers by their numbers in instructions. */
static const int registers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

typedef struct instruction {
    int opcode, prefix, mode, reg, rm, second; /* prefix: 0 none, 2 F3, 3 F2; second: VEX.vvvv */
    int64_t address, stride;                   /* of a memory operand; stride: its index register */
    int n_bytes;
} instruction;

static int64_t register_value(const greg_t *g, int number) {
    return (int64_t)g[registers[number]];
}

static instruction decode(const uint8_t *code, const greg_t *g) {
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || code[2] & 0x84) { /* three-byte VEX, map 0F38, W0, 128 bits */
        refuse("an illegal instruction that is not AMX's");
    }
    const int high_reg = code[1] & 0x80 ? 0 : 8, high_index = code[1] & 0x40 ? 0 : 8, high_base = code[1] & 0x20 ? 0 : 8;
    instruction in = {.opcode = code[3],
                      .prefix = code[2] & 3,
                      .second = ~(code[2] >> 3) & 15,
                      .mode = code[4] >> 6,
                      .reg = (code[4] >> 3 & 7) + high_reg,
                      .rm = (code[4] & 7) + high_base,
                      .n_bytes = 5};
    if (in.mode == 3) {
        return in;
    }
    if ((code[4] & 7) == 4) {
        const uint8_t sib = code[in.n_bytes++];
        const int index = (sib >> 3 & 7) + high_index, base = (sib & 7) + high_base;
        in.stride = index == 4 ? 0 : register_value(g, index) << (sib >> 6);
        if ((sib & 7) == 5 && in.mode == 0) {
            refuse("an address without a base, which is not emulated");
        }
        in.address = register_value(g, base);
    } else if (in.mode == 0 && (code[4] & 7) == 5) { /* relative to the next instruction */
        int32_t offset;
        memcpy(&offset, code + in.n_bytes, sizeof offset);
        in.n_bytes += 4;
        in.address = (int64_t)(uintptr_t)(code + in.n_bytes) + offset;
        return in;
    } else {
        in.address = register_value(g, in.rm);
    }
    if (in.mode == 1) {
        in.address += (int8_t)code[in.n_bytes++];
    } else if (in.mode == 2) {
        int32_t offset;
        memcpy(&offset, code + in.n_bytes, sizeof offset);
        in.n_bytes += 4;
        in.address += offset;
    }
    return in;
}

static tile *tile_at(int number) {
    if (!configured || number >= N_TILES || tiles[number].n_rows == 0) {
        refuse("a tile is used that is not configured");
    }
    return &tiles[number];
}

static void configure(const uint8_t *c) {
    bool fine = c[0] == 1 && c[1] == 0;
    for (int i = 2; i < 16; i++) {
        fine = fine && c[i] == 0;
    }
    for (int i = 0; i < 16; i++) {
        uint16_t row_bytes;
        memcpy(&row_bytes, c + 16 + 2 * i, sizeof row_bytes);
        fine = fine && row_bytes <= ROW_BYTES && c[48 + i] <= MAX_ROWS && (row_bytes == 0) == (c[48 + i] == 0);
        fine = fine && (i < N_TILES || row_bytes == 0);
        if (fine && i < N_TILES) {
            tiles[i] = (tile){.n_rows = c[48 + i], .row_bytes = row_bytes};
        }
    }
    if (!fine) {
        refuse("LDTILECFG would fault");
    }
    configured = true;
}

static void move(const instruction *in, bool load) {
    tile *t = tile_at(in->reg);
    for (int i = 0; i < t->n_rows; i++) {
        uint8_t *memory = (uint8_t *)(uintptr_t)(in->address + i * in->stride);
        memcpy(load ? t->rows[i] : memory, load ? memory : t->rows[i], (size_t)t->row_bytes);
    }
}

static void numbers_of(const tile *t, float out[MAX_ROWS][ROW_BYTES / 2]) {
    for (int i = 0; i < t->n_rows; i++) {
        for (int j = 0; j < t->row_bytes / 2; j++) {
            mb_bf16 x;
            memcpy(&x, t->rows[i] + 2 * j, sizeof x);
            out[i][j] = mb_bf16_to_float(x);
        }
    }
}

static void multiply(tile *c, const tile *a, const tile *b) {
    if (c == a || c == b || a == b || c->n_rows != a->n_rows || c->row_bytes != b->row_bytes || a->row_bytes != 4 * b->n_rows) {
        refuse("TDPBF16PS would fault");
    }
    float left[MAX_ROWS][ROW_BYTES / 2], right[MAX_ROWS][ROW_BYTES / 2] = {{0}}, sums[ROW_BYTES / 4] = {0};
    numbers_of(a, left);
    numbers_of(b, right);
    for (int m = 0; m < c->n_rows; m++) {
        memcpy(sums, c->rows[m], (size_t)c->row_bytes);
        for (int k = 0; k < b->n_rows; k++) {
            for (int n = 0; n < ROW_BYTES / 4; n++) { /* whole rows, which the compiler makes vectors of */
                sums[n] += left[m][2 * k] * right[k][2 * n] + left[m][2 * k + 1] * right[k][2 * n + 1];
            }
        }
        memcpy(c->rows[m], sums, (size_t)c->row_bytes);
    }
}

static void execute(const instruction *in) {
    if (in->opcode == 0x49 && in->prefix == 0 && in->mode != 3 && in->reg == 0) {
        configure((const uint8_t *)(uintptr_t)in->address);
    } else if (in->opcode == 0x49 && in->prefix == 0 && in->mode == 3 && in->reg == 0 && in->rm == 0) {
        configured = false;
    } else if (in->opcode == 0x49 && in->prefix == 3 && in->mode == 3) {
        memset(tile_at(in->reg)->rows, 0, sizeof tiles->rows);
    } else if (in->opcode == 0x4b && in->prefix >= 2 && in->mode != 3) {
        move(in, in->prefix == 3);
    } else if (in->opcode == 0x5c && in->prefix == 2 && in->mode == 3) {
        multiply(tile_at(in->reg), tile_at(in->rm), tile_at(in->second));
    } else {
        refuse("an instruction that is not emulated");
    }
}

static void trap(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    const instruction in = decode((const uint8_t *)(uintptr_t)g[REG_RIP], g);
    execute(&in);
    g[REG_RIP] += in.n_bytes;
}

void amx_emulator_install(void) {
    struct sigaction action = {.sa_sigaction = trap, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
}
