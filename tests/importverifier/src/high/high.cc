#include "low/low.h"
#include "low/inner.h"
