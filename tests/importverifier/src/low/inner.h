#include "low/low.h"
#include <vector>
