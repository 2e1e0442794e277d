/*
 * The line editor: echo, cursor and word movement by Emacs keys or arrows, and a short history. A character that is
 * added at the end is echoed alone, so commands that are piped in look as if typed; any other edit redraws the line.
 */
#include "user.h"

#define CTRL(letter) ((letter) & 31)
#define HISTORY 8
#define LINE_BYTES 160
enum { ESCAPE = 27, BACKSPACE = 8, DELETE = 127 };

struct editor {
  const char *prompt;
  char *line;
  size_t size;
  size_t length;
  size_t cursor;
  unsigned back; /* how many lines back in history */
};

static char history[HISTORY][LINE_BYTES];
static unsigned remembered;

static int next_byte(void) {
  static char input[64];
  static long count, at;
  if (at == count) {
    count = read(0, input, sizeof input);
    at = 0;
    if (count <= 0) exit(1);
  }
  return (unsigned char)input[at++];
}

static void redraw(const struct editor *editor) {
  printf("\r%s%s\033[K", editor->prompt, editor->line);
  if (editor->length > editor->cursor) printf("\033[%uD", (unsigned)(editor->length - editor->cursor));
}

static void replace(struct editor *editor, const char *text) {
  copy_text(editor->line, text, editor->size);
  editor->length = editor->cursor = strlen(editor->line);
}

static void erase(struct editor *editor, size_t from, size_t to) {
  memmove(editor->line + from, editor->line + to, editor->length - to + 1);
  editor->length -= to - from;
  editor->cursor = from;
}

static void insert(struct editor *editor, char c) {
  if (editor->length + 1 >= editor->size) return;
  memmove(editor->line + editor->cursor + 1, editor->line + editor->cursor, editor->length - editor->cursor + 1);
  editor->line[editor->cursor++] = c;
  editor->length++;
  if (editor->cursor == editor->length) write(1, &c, 1);
  else redraw(editor);
}

static size_t word_start(const struct editor *editor) {
  size_t at = editor->cursor;
  while (at > 0 && editor->line[at - 1] == ' ') at--;
  while (at > 0 && editor->line[at - 1] != ' ') at--;
  return at;
}

static void recall(struct editor *editor, int step) {
  unsigned available = remembered < HISTORY ? remembered : HISTORY;
  unsigned back = editor->back + (unsigned)step;
  if (back > available) return;
  editor->back = back;
  replace(editor, back == 0 ? "" : history[(remembered - back) % HISTORY]);
}

/* The control byte that an arrow or editing key stands for; 0 for other escape sequences. */
static int escape_sequence(void) {
  if (next_byte() != '[') return 0;
  int c = next_byte();
  if (c >= '0' && c <= '9') {
    int end = next_byte();
    while (end >= '0' && end <= ';') end = next_byte();
    return c == '3' ? CTRL('d') : 0;
  }
  switch (c) {
    case 'A':
      return CTRL('p');
    case 'B':
      return CTRL('n');
    case 'C':
      return CTRL('f');
    case 'D':
      return CTRL('b');
    case 'H':
      return CTRL('a');
    case 'F':
      return CTRL('e');
    default:
      return 0;
  }
}

static void edit(struct editor *editor, int c) {
  switch (c) {
    case BACKSPACE:
    case DELETE:
      if (editor->cursor > 0) erase(editor, editor->cursor - 1, editor->cursor);
      break;
    case CTRL('d'):
      if (editor->cursor < editor->length) erase(editor, editor->cursor, editor->cursor + 1);
      break;
    case CTRL('a'):
      editor->cursor = 0;
      break;
    case CTRL('e'):
      editor->cursor = editor->length;
      break;
    case CTRL('b'):
      if (editor->cursor > 0) editor->cursor--;
      break;
    case CTRL('f'):
      if (editor->cursor < editor->length) editor->cursor++;
      break;
    case CTRL('k'):
      erase(editor, editor->cursor, editor->length);
      break;
    case CTRL('u'):
      erase(editor, 0, editor->cursor);
      break;
    case CTRL('w'):
      erase(editor, word_start(editor), editor->cursor);
      break;
    case CTRL('p'):
      recall(editor, 1);
      break;
    case CTRL('n'):
      recall(editor, -1);
      break;
    default:
      return;
  }
  redraw(editor);
}

static void remember(const char *line) {
  if (*line == 0 || (remembered > 0 && strcmp(line, history[(remembered - 1) % HISTORY]) == 0)) return;
  copy_text(history[remembered++ % HISTORY], line, LINE_BYTES);
}

bool read_line(const char *prompt, char *line, size_t size) {
  static bool after_return; /* a line feed right after a carriage return belongs to it */
  struct editor editor = {.prompt = prompt, .line = line, .size = size};
  line[0] = 0;
  printf("%s", prompt);
  for (;;) {
    int c = next_byte();
    bool second_half = after_return && c == '\n';
    after_return = c == '\r';
    if (second_half) continue;
    if (c == '\r' || c == '\n') break;
    if (c == CTRL('d') && editor.length == 0) {
      printf("\n");
      return false;
    }
    if (c == CTRL('c')) {
      printf("^C\n%s", prompt);
      replace(&editor, "");
    } else if (c == ESCAPE) {
      edit(&editor, escape_sequence());
    } else if (c >= ' ' && c != DELETE) {
      insert(&editor, (char)c);
    } else {
      edit(&editor, c);
    }
  }
  printf("\n");
  remember(line);
  return true;
}
