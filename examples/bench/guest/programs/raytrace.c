/* Rays through spheres and a plane in single precision: square roots, divisions and branches on comparisons. */
#include "bench.h"

PROGRAM("raytrace", 90);

#define WIDTH 32
#define HEIGHT 24
#define SPHERES 9
#define BOUNCES 3

typedef struct { float x, y, z; } vector;
static struct { vector centre; float radius, shine; } spheres[SPHERES];

static vector add(vector a, vector b) { return (vector){a.x + b.x, a.y + b.y, a.z + b.z}; }
static vector scale(vector a, float by) { return (vector){a.x * by, a.y * by, a.z * by}; }
static float dot(vector a, vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static vector normalise(vector a) { return scale(a, 1.0f / __builtin_sqrtf(dot(a, a))); }

/* The nearest sphere that the ray meets, or -1. */
static int nearest(vector from, vector along, float *distance) {
  int found = -1;
  for (int i = 0; i < SPHERES; i++) {
    vector to = add(spheres[i].centre, scale(from, -1.0f));
    float middle = dot(to, along), squared = middle * middle - dot(to, to) + spheres[i].radius * spheres[i].radius;
    if (squared <= 0.0f) continue;
    float at = middle - __builtin_sqrtf(squared);
    if (at > 0.001f && at < *distance) *distance = at, found = i;
  }
  return found;
}

static float trace(vector from, vector along, vector light) {
  float brightness = 0.0f, weight = 1.0f;
  for (int bounce = 0; bounce < BOUNCES; bounce++) {
    float distance = 1000.0f, shine = 0.25f;
    int sphere = nearest(from, along, &distance);
    vector normal = {0.0f, 1.0f, 0.0f};
    if (along.y < 0.0f && (-1.0f - from.y) / along.y < distance) {
      distance = (-1.0f - from.y) / along.y;
    } else if (sphere < 0) {
      return brightness + weight * (0.5f + 0.5f * along.y);
    } else {
      normal = normalise(add(add(from, scale(along, distance)), scale(spheres[sphere].centre, -1.0f)));
      shine = spheres[sphere].shine;
    }
    from = add(from, scale(along, distance));
    float reach = 1000.0f, lit = dot(normal, light);
    if (lit > 0.0f && nearest(from, light, &reach) < 0) brightness += weight * lit * (1.0f - shine);
    along = add(along, scale(normal, -2.0f * dot(along, normal)));
    weight *= shine;
  }
  return brightness;
}

uint32_t kernel(uint32_t iterations) {
  uint32_t seed = 0x57721566, sum = 0;
  for (int i = 0; i < SPHERES; i++) {
    float numbers[5];
    for (int j = 0; j < 5; j++) numbers[j] = (float)(random_next(&seed) >> 16) / 65536.0f;
    spheres[i].centre = (vector){numbers[0] * 6 - 3, numbers[1] * 3, numbers[2] * 4 + 3};
    spheres[i].radius = 0.3f + numbers[3];
    spheres[i].shine = numbers[4];
  }
  for (uint32_t i = 0; i < iterations; i++) {
    vector light = normalise((vector){(float)(i % 7) - 3.0f, 4.0f, -2.0f});
    for (int y = 0; y < HEIGHT; y++) {
      for (int x = 0; x < WIDTH; x++) {
        vector along = {(float)(x - WIDTH / 2) / WIDTH, (float)(HEIGHT / 2 - y) / HEIGHT, 1.0f};
        float brightness = trace((vector){0.0f, 0.5f, -4.0f}, normalise(along), light);
        sum = sum * 31 + (uint32_t)(int32_t)(brightness * 255.0f);
      }
    }
  }
  return mix(sum, iterations);
}
