#include "ckv_linux.h"
