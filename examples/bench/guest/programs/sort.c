/* Sorting 32-bit numbers: quicksort, heap sort, and a radix sort, each checked against the others. */
#include "bench.h"

PROGRAM("sort", 800);

#define COUNT 2048

static uint32_t source[COUNT], quick[COUNT], heap[COUNT], radix[COUNT], spare[COUNT];

static void insertion_sort(uint32_t *a, int count) {
  for (int i = 1; i < count; i++) {
    uint32_t value = a[i];
    int j = i;
    for (; j > 0 && a[j - 1] > value; j--) a[j] = a[j - 1];
    a[j] = value;
  }
}

static void quicksort(uint32_t *a, int count) {
  while (count > 16) {
    uint32_t first = a[0], middle = a[count / 2], last = a[count - 1];
    uint32_t low = first < middle ? first : middle, high = first < middle ? middle : first;
    uint32_t pivot = last < low ? low : last > high ? high : last;
    int i = 0, j = count - 1;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) {
        uint32_t swap = a[i];
        a[i++] = a[j];
        a[j--] = swap;
      }
    }
    quicksort(a, j + 1);
    a += i;
    count -= i;
  }
  insertion_sort(a, count);
}

static void sift(uint32_t *a, int at, int count) {
  uint32_t value = a[at];
  for (int child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && a[child + 1] > a[child]) child++;
    if (a[child] <= value) break;
    a[at] = a[child];
  }
  a[at] = value;
}

static void heap_sort(uint32_t *a, int count) {
  for (int at = count / 2 - 1; at >= 0; at--) sift(a, at, count);
  while (--count > 0) {
    uint32_t largest = a[0];
    a[0] = a[count];
    a[count] = largest;
    sift(a, 0, count);
  }
}

static void radix_sort(uint32_t *a, uint32_t *b, int count) {
  for (int shift = 0; shift < 32; shift += 8) {
    int start[256] = {0}, total = 0;
    for (int i = 0; i < count; i++) start[a[i] >> shift & 255]++;
    for (int i = 0; i < 256; i++) {
      int here = start[i];
      start[i] = total;
      total += here;
    }
    for (int i = 0; i < count; i++) b[start[a[i] >> shift & 255]++] = a[i];
    uint32_t *swap = a;
    a = b;
    b = swap;
  }
}

uint32_t kernel(uint32_t iterations) {
  uint32_t seed = 0xdeadbeef, sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    for (int j = 0; j < COUNT; j++) source[j] = random_next(&seed) >> (j & 15);
    for (int j = 0; j < COUNT; j++) quick[j] = heap[j] = radix[j] = source[j];
    quicksort(quick, COUNT);
    heap_sort(heap, COUNT);
    radix_sort(radix, spare, COUNT);
    for (int j = 0; j < COUNT; j++) {
      if (quick[j] != heap[j] || quick[j] != radix[j]) fail("the sorts differ");
      sum += quick[j] * (uint32_t)(j + 1);
    }
    sum = mix(sum, i);
  }
  return sum;
}
