/* What the agent does for a connection; see protocol.h. Each ends with its answer, or ends the process. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include <stddef.h>
#include <stdint.h>

void run_exec(void);
/* `arguments` is what follows the operation in FRAME_OPEN, and a 0. */
void run_copy_in(char *arguments, size_t length);
void run_copy_out(char *arguments, size_t length);
void run_power(const char *arguments, size_t length);
void run_clock(const char *arguments, size_t length);
void run_host_name(const char *arguments, size_t length);
void run_identity(const char *arguments, size_t length);

#endif
