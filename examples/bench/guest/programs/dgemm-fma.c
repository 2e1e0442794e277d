/* The same with multiplication and addition fused; the Makefile lets the compiler contract expressions here. */
#include "dgemm.h"

PROGRAM("dgemm-fma", 480);
