# knarr_room(NAME path SOURCES a.cc ... [DEPS rooms and libraries] [PRIVATE_DEPS ...] [TESTS a_test.cc ...]
#            [TEST_DEPS ...])
#
# A room is one folder under src/: the static library `NAME` (slashes become underscores), the test
# program `NAME_test`, a check that its door compiles by itself, and a check that it links alone.

# One small precompiled header of standard headers only, shared by every room.
file(WRITE "${CMAKE_BINARY_DIR}/pch/pch.cc" "// Carries the precompiled standard headers.\n")
add_library(knarr_pch STATIC "${CMAKE_BINARY_DIR}/pch/pch.cc")
target_precompile_headers(knarr_pch PRIVATE
  <algorithm> <array> <atomic> <chrono> <cstdint> <cstring> <deque> <expected> <functional> <map> <memory>
  <mutex> <optional> <set> <span> <string> <string_view> <unordered_map> <utility> <variant> <vector> <coroutine>)

add_custom_target(knarr_checks)
# The unit tests of all rooms: what the sanitizer builds build.
add_custom_target(knarr_unit_tests)

function(knarr_room)
  cmake_parse_arguments(ROOM "" "NAME;DOOR" "SOURCES;DEPS;PRIVATE_DEPS;TESTS;TEST_DEPS" ${ARGN})
  string(REPLACE "/" "_" target "${ROOM_NAME}")
  get_filename_component(leaf "${ROOM_NAME}" NAME)
  if(ROOM_SOURCES)
    add_library(${target} STATIC ${ROOM_SOURCES})
    set(scope PUBLIC)
    target_precompile_headers(${target} REUSE_FROM knarr_pch)
    target_link_libraries(${target} PRIVATE ${ROOM_PRIVATE_DEPS})
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope} "${CMAKE_SOURCE_DIR}/src" "${CMAKE_BINARY_DIR}/gen")
  target_link_libraries(${target} ${scope} ${ROOM_DEPS})

  # The door compiles by itself, and a program of nothing but this room links.
  if(NOT ROOM_DOOR)
    set(ROOM_DOOR "${leaf}.h")
  endif()
  if(ROOM_SOURCES AND EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${ROOM_DOOR}")
    set(check "${CMAKE_CURRENT_BINARY_DIR}/${target}_link_alone.cc")
    file(CONFIGURE OUTPUT "${check}" CONTENT "#include \"${ROOM_NAME}/${ROOM_DOOR}\"\nint main() {}\n" @ONLY)
    add_executable(${target}_link_alone EXCLUDE_FROM_ALL "${check}")
    target_link_libraries(${target}_link_alone PRIVATE -Wl,--whole-archive ${target} -Wl,--no-whole-archive)
    add_dependencies(knarr_checks ${target}_link_alone)
  endif()

  if(ROOM_TESTS)
    add_executable(${target}_test ${ROOM_TESTS})
    target_precompile_headers(${target}_test REUSE_FROM knarr_pch)
    target_link_libraries(${target}_test PRIVATE ${target} ${ROOM_TEST_DEPS} GTest::gtest GTest::gtest_main)
    add_dependencies(knarr_unit_tests ${target}_test)
    add_test(NAME ${target}_test COMMAND ${target}_test)
    set_tests_properties(${target}_test PROPERTIES LABELS unit TIMEOUT 300
      ENVIRONMENT "KNARR_SOURCE_DIR=${CMAKE_SOURCE_DIR}")
  endif()
endfunction()
