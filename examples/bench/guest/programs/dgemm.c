/* Matrices in double precision with separate multiplications and additions. */
#include "dgemm.h"

PROGRAM("dgemm", 480);
