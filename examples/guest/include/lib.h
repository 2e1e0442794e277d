/* The small library that the kernel and the user programs both link, each its own copy (shared/). */
#ifndef LIB_H
#define LIB_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *left, const void *right, size_t bytes);
size_t strlen(const char *text);
int strcmp(const char *left, const char *right);

/* Copies text into a buffer of the given size, cut where it does not fit, and always ends it with a zero. */
void copy_text(char *to, const char *from, size_t size);

/*
 * printf's formatting onto a sink. Conversions: %d %u %x %c %s %p %%, with the flags '-' and '0', a width, and the
 * lengths l and ll.
 */
void format(void (*put)(void *context, char c), void *context, const char *text, va_list arguments);

#endif
