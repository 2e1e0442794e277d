/* Indirect calls: shapes with tables of functions, and a random walk through a table of small functions. */
#include "bench.h"

PROGRAM("indirect", 4000);

#define SHAPES 512
#define STEPS 4096

struct shape;
struct shape_class {
  uint32_t (*area)(const struct shape *);
  void (*grow)(struct shape *, uint32_t);
};
struct shape {
  const struct shape_class *class;
  uint32_t width, height;
};

static uint32_t square_area(const struct shape *s) { return s->width * s->width; }
static uint32_t box_area(const struct shape *s) { return s->width * s->height; }
static uint32_t triangle_area(const struct shape *s) { return s->width * s->height / 2; }
static uint32_t ring_area(const struct shape *s) { return 3 * (s->width * s->width ^ s->height); }
static void grow_width(struct shape *s, uint32_t by) { s->width = (s->width + by) & 0xfff; }
static void grow_height(struct shape *s, uint32_t by) { s->height = (s->height ^ by) & 0xfff; }

static const struct shape_class classes[] = {
    {square_area, grow_width}, {box_area, grow_height}, {triangle_area, grow_width}, {ring_area, grow_height}};

typedef uint32_t operation(uint32_t);
static uint32_t op_add(uint32_t x) { return x + 0x3c6ef372; }
static uint32_t op_xor(uint32_t x) { return x ^ x >> 7; }
static uint32_t op_multiply(uint32_t x) { return x * 2654435761u; }
static uint32_t op_rotate(uint32_t x) { return x << 11 | x >> 21; }
static uint32_t op_negate(uint32_t x) { return 0x1337 - x; }
static uint32_t op_swap(uint32_t x) { return x << 16 | x >> 16; }
static uint32_t op_shift(uint32_t x) { return x + (x << 3); }
static uint32_t op_invert(uint32_t x) { return ~x; }
static operation *const operations[] = {op_add,    op_xor,  op_multiply, op_rotate,
                                        op_negate, op_swap, op_shift,    op_invert};

uint32_t kernel(uint32_t iterations) {
  static struct shape shapes[SHAPES];
  uint32_t seed = 0x26535897, sum = 0, x = 1;
  for (int i = 0; i < SHAPES; i++) {
    shapes[i] = (struct shape){&classes[random_next(&seed) % 4], random_next(&seed) & 0xfff, random_next(&seed) & 0xfff};
  }
  for (uint32_t i = 0; i < iterations; i++) {
    for (int j = 0; j < SHAPES; j++) {
      struct shape *shape = &shapes[j];
      sum += shape->class->area(shape);
      shape->class->grow(shape, sum & 0xff);
    }
    for (int j = 0; j < STEPS; j++) x = operations[(x >> 5 ^ (uint32_t)j) & 7](x);
    sum = mix(sum, x);
  }
  return sum;
}
