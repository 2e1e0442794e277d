/* Five bodies under gravity in double precision: multiplications, divisions and square roots in dependent chains. */
#include "bench.h"

PROGRAM("nbody", 180000);

#define BODIES 5

struct body {
  double x, y, z, vx, vy, vz, mass;
};

uint32_t kernel(uint32_t iterations) {
  static struct body bodies[BODIES];
  uint32_t seed = 0x16180339, sum = 0;
  for (int i = 0; i < BODIES; i++) {
    double numbers[7];
    for (int j = 0; j < 7; j++) numbers[j] = (double)(int32_t)random_next(&seed) / 2147483648.0;
    bodies[i] = (struct body){numbers[0] * 20, numbers[1] * 20, numbers[2] * 20, numbers[3],
                              numbers[4],      numbers[5],      1.5 + numbers[6]};
  }
  const double dt = 0.001;
  for (uint32_t step = 0; step < iterations; step++) {
    for (int i = 0; i < BODIES; i++) {
      struct body *a = &bodies[i];
      for (int j = i + 1; j < BODIES; j++) {
        struct body *b = &bodies[j];
        double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
        double squared = dx * dx + dy * dy + dz * dz + 0.01;
        double factor = dt / (squared * __builtin_sqrt(squared));
        a->vx -= dx * b->mass * factor, a->vy -= dy * b->mass * factor, a->vz -= dz * b->mass * factor;
        b->vx += dx * a->mass * factor, b->vy += dy * a->mass * factor, b->vz += dz * a->mass * factor;
      }
    }
    for (int i = 0; i < BODIES; i++) {
      struct body *a = &bodies[i];
      a->x += dt * a->vx, a->y += dt * a->vy, a->z += dt * a->vz;
    }
  }
  for (int i = 0; i < BODIES; i++) {
    sum = mix_double(mix_double(mix_double(sum, bodies[i].x), bodies[i].y), bodies[i].vz);
  }
  return sum;
}
