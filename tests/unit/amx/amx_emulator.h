/* Runs AMX instructions on processors that have none: the illegal-instruction trap decodes and executes them. */
#ifndef MB_TESTS_AMX_EMULATOR_H
#define MB_TESTS_AMX_EMULATOR_H

/* From here on LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILESTORED and TDPBF16PS are emulated, each thread having tiles of
 * its own. Any other illegal instruction, a configuration that the processor would refuse, and a tile used without one abort.
 */
void amx_emulator_install(void);

#endif
