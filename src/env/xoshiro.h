// xoshiro256**: the generator behind both environments' Random.
//
// Source: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", 2018.
#pragma once

#include <bit>
#include <cstdint>

namespace knarr::env {

// Whoever makes one fills `state` with something that is not all zero.
struct Xoshiro256 {
  uint64_t state[4];

  // Uniform 64 bits. Not for secrets.
  uint64_t next() {
    uint64_t result = std::rotl(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = std::rotl(state[3], 45);
    return result;
  }
};

}  // namespace knarr::env
