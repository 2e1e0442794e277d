/* A mix of everyday integer code: sorting and searching a linked list, small matrices, a scanner, a bitwise CRC. */
#include "bench.h"

PROGRAM("integer-mix", 10000);

#define NODES 192
#define SIDE 16

struct node {
  struct node *next;
  int16_t key;
  uint16_t tag;
};

static struct node nodes[NODES];

static struct node *merge(struct node *a, struct node *b) {
  struct node head, *tail = &head;
  while (a && b) {
    struct node **least = a->key <= b->key ? &a : &b;
    tail = tail->next = *least;
    *least = (*least)->next;
  }
  tail->next = a ? a : b;
  return head.next;
}

static struct node *merge_sort(struct node *list) {
  if (!list || !list->next) return list;
  struct node *middle = list, *end = list->next;
  while (end && end->next) {
    middle = middle->next;
    end = end->next->next;
  }
  struct node *second = middle->next;
  middle->next = 0;
  return merge(merge_sort(list), merge_sort(second));
}

static struct node *reverse(struct node *list) {
  struct node *result = 0;
  while (list) {
    struct node *next = list->next;
    list->next = result;
    result = list;
    list = next;
  }
  return result;
}

static uint32_t lists(uint32_t *seed) {
  uint32_t sum = 0;
  for (int i = 0; i < NODES; i++) {
    nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : 0;
    nodes[i].key = (int16_t)random_next(seed);
    nodes[i].tag = (uint16_t)i;
  }
  struct node *list = reverse(merge_sort(nodes));
  for (int wanted = -30000; wanted < 30000; wanted += 6000) {
    int position = 0;
    for (struct node *at = list; at && at->key > wanted; at = at->next) position++;
    sum = mix(sum, (uint32_t)position);
  }
  for (struct node *at = list; at; at = at->next) sum = mix(sum, at->tag);
  return sum;
}

static uint32_t matrices(uint32_t *seed) {
  static int16_t a[SIDE][SIDE], b[SIDE][SIDE];
  static int32_t c[SIDE][SIDE];
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) {
      uint32_t value = random_next(seed);
      a[i][j] = (int16_t)value;
      b[i][j] = (int16_t)(value >> 16);
    }
  }
  uint32_t sum = 0;
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) {
      int32_t total = 0;
      for (int k = 0; k < SIDE; k++) {
        int32_t product = a[i][k] * b[k][j];
        total += ((product >> 2) & 0xf) * ((product >> 5) & 0x7f);
      }
      c[i][j] = total;
    }
  }
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) sum += c[i][j] > c[j][i] ? 10u : (uint32_t)c[i][j];
  }
  return sum;
}

enum state { START, SIGN, WHOLE, FRACTION, EXPONENT, EXPONENT_DIGITS, WRONG, STATES };

static enum state step(enum state state, char c) {
  int is_digit = c >= '0' && c <= '9';
  switch (state) {
    case START: return is_digit ? WHOLE : c == '+' || c == '-' ? SIGN : c == '.' ? FRACTION : WRONG;
    case SIGN: return is_digit ? WHOLE : c == '.' ? FRACTION : WRONG;
    case WHOLE: return is_digit ? WHOLE : c == '.' ? FRACTION : c == 'e' ? EXPONENT : WRONG;
    case FRACTION: return is_digit ? FRACTION : c == 'e' ? EXPONENT : WRONG;
    case EXPONENT: return is_digit || c == '-' ? EXPONENT_DIGITS : WRONG;
    case EXPONENT_DIGITS: return is_digit ? EXPONENT_DIGITS : WRONG;
    default: return WRONG;
  }
}

static uint32_t scan(uint32_t *seed) {
  static const char letters[] = "0123456789+-.e,";
  uint32_t counts[STATES] = {0}, sum = 0;
  enum state state = START;
  for (int i = 0; i < 600; i++) {
    char c = letters[random_next(seed) % (sizeof letters - 1)];
    if (c == ',' || state == WRONG) {
      counts[state]++;
      state = START;
    } else {
      state = step(state, c);
    }
  }
  for (int i = 0; i < STATES; i++) sum = mix(sum, counts[i]);
  return sum;
}

static uint16_t crc16(uint16_t crc, uint32_t value) {
  for (int i = 0; i < 32; i++, value >>= 1) {
    uint32_t bit = (value ^ crc) & 1;
    crc >>= 1;
    if (bit) crc ^= 0xa001;
  }
  return crc;
}

uint32_t kernel(uint32_t iterations) {
  uint32_t seed = 0x12345678, sum = 0;
  uint16_t crc = 0xffff;
  for (uint32_t i = 0; i < iterations; i++) {
    crc = crc16(crc, lists(&seed));
    crc = crc16(crc, matrices(&seed));
    crc = crc16(crc, scan(&seed));
    sum = mix(sum, crc);
  }
  return sum;
}
