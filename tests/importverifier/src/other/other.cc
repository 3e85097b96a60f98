#include "fmt/format.h"
#include "high/high.h"
#include "low/low.h"
