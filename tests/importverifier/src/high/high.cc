#include "low/inner.h"
#include "low/low.h"
