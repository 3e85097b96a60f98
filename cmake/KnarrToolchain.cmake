# Compiler settings shared by every room. Clang 19 with lld is the supported toolchain
# (docs/decisions/0001-toolchain.md); ccache is used when present.

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "Knarr is built with clang-19 (got ${CMAKE_CXX_COMPILER_ID}). "
                      "Run ./test or ./up, or configure with: cmake --preset dev")
endif()

find_program(KNARR_CCACHE ccache)
if(KNARR_CCACHE)
  # pch_defines,time_macros: without them ccache refuses every call that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${KNARR_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${KNARR_CCACHE})
endif()

add_compile_options(-fno-omit-frame-pointer)
# -Wno-deprecated-declarations: libstdc++ 12 warns about its own std::stable_sort in C++23.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wconversion;-Werror;-Wno-gnu-statement-expression;-Wno-deprecated-declarations;-Xclang;-fno-pch-timestamp>")
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-fpch-instantiate-templates>")
add_link_options(-fuse-ld=lld)

set(KNARR_SANITIZE "" CACHE STRING "sanitizers for every target: address,undefined or thread or empty")
if(KNARR_SANITIZE)
  add_compile_options(-fsanitize=${KNARR_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${KNARR_SANITIZE})
endif()

# One job links at a time: two links of debug programs at once thrash a small machine.
set_property(GLOBAL PROPERTY JOB_POOLS link_pool=1)
set(CMAKE_JOB_POOL_LINK link_pool)
