// The scalar table: plain C, on every machine.
#pragma STDC FP_CONTRACT OFF
#include "elementwise.h"
#include "scalar.h"
#include "table.h"

static bool always(void) { return true; }

CKV_TABLE(ckv_table_scalar, "scalar", always);

float ckv_exp(float x) { return ckv_exp_inline(x); }
