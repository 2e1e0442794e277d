/* printf's formatting, without floating point: neither the kernel nor the user programs print any. */
#include "lib.h"

struct field {
  bool left;
  bool zeros;
  int width;
};

/* Writes a prefix and a text, padded to the field's width; zeros go between the two, blanks around them. */
static void put_field(void (*put)(void *, char), void *context, struct field field, const char *prefix, const char *text) {
  int padding = field.width - (int)strlen(prefix) - (int)strlen(text);
  if (!field.left && !field.zeros) {
    for (; padding > 0; padding--) put(context, ' ');
  }
  while (*prefix != 0) put(context, *prefix++);
  if (!field.left && field.zeros) {
    for (; padding > 0; padding--) put(context, '0');
  }
  while (*text != 0) put(context, *text++);
  for (; padding > 0; padding--) put(context, ' ');
}

static const char *digits(char buffer[24], unsigned long long value, unsigned base) {
  char *at = buffer + 23;
  *at = 0;
  do {
    *--at = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  return at;
}

void format(void (*put)(void *, char), void *context, const char *text, va_list arguments) {
  for (; *text != 0; text++) {
    if (*text != '%') {
      put(context, *text);
      continue;
    }
    struct field field = {false, false, 0};
    int longs = 0;
    text++;
    for (; *text == '-' || *text == '0'; text++) {
      if (*text == '-') field.left = true;
      else field.zeros = true;
    }
    for (; *text >= '0' && *text <= '9'; text++) field.width = field.width * 10 + (*text - '0');
    for (; *text == 'l'; text++) longs++;
    char buffer[24];
    switch (*text) {
      case 'd': {
        long long value = longs == 2 ? va_arg(arguments, long long)
                        : longs == 1 ? va_arg(arguments, long)
                                     : va_arg(arguments, int);
        unsigned long long magnitude = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;
        put_field(put, context, field, value < 0 ? "-" : "", digits(buffer, magnitude, 10));
        break;
      }
      case 'u':
      case 'x': {
        unsigned long long value = longs == 2 ? va_arg(arguments, unsigned long long)
                                 : longs == 1 ? va_arg(arguments, unsigned long)
                                              : va_arg(arguments, unsigned);
        put_field(put, context, field, "", digits(buffer, value, *text == 'u' ? 10 : 16));
        break;
      }
      case 'p':
        put_field(put, context, field, "0x", digits(buffer, (uintptr_t)va_arg(arguments, void *), 16));
        break;
      case 'c':
        buffer[0] = (char)va_arg(arguments, int);
        buffer[1] = 0;
        put_field(put, context, field, "", buffer);
        break;
      case 's':
        put_field(put, context, field, "", va_arg(arguments, const char *));
        break;
      case 0:
        return;
      default:
        put(context, *text);
    }
  }
}
