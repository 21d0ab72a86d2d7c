#include "ckv_kernels.h"
