#include "high/high.h"
#include "low/low.h"
#include "fmt/format.h"
