#include <vector>

#include "low/low.h"
